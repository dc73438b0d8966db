//! Views `funding` and `funding_anomalies`: funding rates, how unusual they are, and the episodes in which they are.
//!
//! Two series, never mixed. The predicted one is judged each minute in which the instrument was quoted, the settled one each
//! settlement against settlements. Before an instrument's first predicted rate its settlements make the episodes, after it the
//! predicted rates do. Rates are compared per 8 h, so that a change of interval is no change of rate.
//!
//! An episode's onset is the end of the minute (or the settlement) that began it. Its figures are those of its onset.

mod episodes;
mod machine;
mod scores;
mod series;
mod settled;

use differential_dataflow::VecCollection;

use crate::by_time::ByTime;
use crate::config::{Config, Funding as Settings};
use crate::keeping::ById;
use crate::model::{AnomalyKind, Change, Clock, FundingAnomaly, FundingKind, FundingRow, InstrumentId, MINUTE_MS, Paid};
use crate::operators::{Clocks, KnownAt, per_quantum, replace};
use crate::quotes::RateSample;

pub(crate) use episodes::Episodes;
pub(crate) use scores::per_8h;
pub(crate) use series::Series;
use settled::Settled;

const KINDS: [AnomalyKind; 3] = [AnomalyKind::Anomaly, AnomalyKind::Reversal, AnomalyKind::Deviation];

/// Both views.
pub struct Funding<'scope> {
    /// Rates with their scores.
    pub rows: VecCollection<'scope, KnownAt, FundingRow, isize>,
    /// Episodes.
    pub anomalies: VecCollection<'scope, KnownAt, FundingAnomaly, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Rate(FundingRow),
    Anomaly(FundingAnomaly),
}

/// Maintains both views for all instruments.
pub fn funding<'scope>(
    rates: VecCollection<'scope, KnownAt, RateSample, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> Funding<'scope> {
    let settings = config.funding;
    let horizon_minutes = config.correction_horizon_ms / MINUTE_MS + 1;
    let logic = move |by_instrument: &mut ById<Rates>,
                      _known_at,
                      mut samples: Vec<Change<RateSample>>,
                      _: &[Clock],
                      changes: &mut Vec<(Row, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        samples.sort_unstable_by_key(|(sample, _, diff)| (sample.instrument, *diff, sample.kind, sample.ts));
        for samples in samples.chunk_by(|a, b| a.0.instrument == b.0.instrument) {
            let id = samples[0].0.instrument;
            let rates = by_instrument.entry(id).or_insert_with(|| Rates::new(id, horizon_minutes));
            for (sample, _, diff) in samples {
                if sample.kind == FundingKind::Predicted && rates.series.is_due_before(sample.ts.div_euclid(MINUTE_MS)) {
                    rates.report_predicted(&settings, horizon_minutes, changes);
                }
                rates.apply(*sample, *diff, changes);
            }
            rates.report(&settings, horizon_minutes, changes);
        }
    };
    let rows = per_quantum(rates.inner, clocks, "funding", ById::default(), logic);
    Funding {
        rows: rows.clone().flat_map(|row| if let Row::Rate(row) = row { Some(row) } else { None }),
        anomalies: rows.flat_map(|row| if let Row::Anomaly(row) = row { Some(row) } else { None }),
    }
}

/// One instrument's rates.
#[derive(serde::Serialize, serde::Deserialize)]
struct Rates {
    series: Series,
    /// The predicted rates that may still be corrected, by minute, with the rows that are out.
    recent: ByTime<(Option<RateSample>, Option<FundingRow>)>,
    episodes: Episodes,
    settled: Settled,
    settled_episodes: Episodes,
    /// The minute of the first predicted rate.
    predicted_from: Option<i64>,
    predicted_from_told: Option<i64>,
}

impl Rates {
    fn new(instrument: InstrumentId, horizon_minutes: i64) -> Self {
        Self {
            series: Series::new(horizon_minutes),
            recent: ByTime::default(),
            episodes: Episodes::new(instrument, &KINDS),
            settled: Settled::default(),
            settled_episodes: Episodes::new(instrument, &KINDS),
            predicted_from: None,
            predicted_from_told: None,
        }
    }

    fn apply(&mut self, sample: RateSample, diff: isize, changes: &mut Vec<(Row, isize)>) {
        let minute = sample.ts.div_euclid(MINUTE_MS);
        match (sample.kind, diff > 0) {
            (FundingKind::Predicted, is_new) => {
                let sample = is_new.then_some(sample);
                self.series.set(minute, sample.map(|sample| per_8h(sample.rate, sample.interval_hours)));
                self.recent.get_or_insert_with(minute, Default::default).0 = sample;
                if is_new {
                    self.predicted_from = Some(self.predicted_from.map_or(minute, |from| from.min(minute)));
                }
            }
            (FundingKind::Settled, true) => self.settled.insert(sample),
            (FundingKind::Settled, false) => changes.extend(self.settled.remove(sample.ts).map(|row| (Row::Rate(row), -1))),
        }
    }

    fn report(&mut self, settings: &Settings, horizon_minutes: i64, changes: &mut Vec<(Row, isize)>) {
        self.report_predicted(settings, horizon_minutes, changes);
        self.report_settled(settings, changes);
    }

    fn report_predicted(&mut self, settings: &Settings, horizon_minutes: i64, changes: &mut Vec<(Row, isize)>) {
        let said = self.series.judge(settings);
        for &(minute, said) in &said {
            let end = (minute + 1) * MINUTE_MS;
            self.episodes.set(end, said.map(|(verdict, state)| (Some(verdict), state)));
            let Some((sample, out)) = self.recent.get_mut(minute) else { continue };
            let row = sample.zip(said).map(|(sample, (verdict, _))| {
                let RateSample { instrument, kind, ts, rate, interval_hours } = sample;
                FundingRow { instrument, kind, ts, rate, interval_hours, scores: verdict.scores, paid: Paid::default() }
            });
            replace(std::mem::replace(out, row), row, Row::Rate, changes);
        }
        if said.is_empty() {
            return;
        }
        self.episodes.report(Row::Anomaly, changes);
        let limit = self.series.end() - 1 - horizon_minutes;
        self.recent.forget_before(limit);
        self.episodes.settle((limit + 1) * MINUTE_MS);
    }

    fn report_settled(&mut self, settings: &Settings, changes: &mut Vec<(Row, isize)>) {
        let rows = self.settled.judge(settings);
        if rows.is_none() && self.predicted_from == self.predicted_from_told {
            return;
        }
        self.predicted_from_told = self.predicted_from;
        for (old, new) in rows.into_iter().flatten() {
            replace(old, Some(new), Row::Rate, changes);
        }
        let predicted_from = self.predicted_from.map(|minute| minute * MINUTE_MS);
        self.settled_episodes.settle(self.settled.first().unwrap_or(i64::MIN));
        self.settled_episodes.clear();
        for (ts, verdict, state) in self.settled.said_before(predicted_from.unwrap_or(i64::MAX)) {
            self.settled_episodes.set(ts, Some((Some(verdict), state)));
        }
        // What still goes on when the first predicted rate is heard is over with it.
        if let Some(ts) = predicted_from {
            self.settled_episodes.set(ts, Some((None, Default::default())));
        }
        self.settled_episodes.report(Row::Anomaly, changes);
    }
}
