//! View `features`: what models read, a row for each closed bar.
//!
//! Of the bars:
//! - `log_return`: ln(close / close before). None across a missing bar.
//! - `trend_24`: the return over 24 bars / (the deviation of the last 72 returns × √24).
//! - `log_volatility_14`, `volatility_14`: root mean square of the last 14 returns, and its logarithm.
//! - `rsi_14`, `adx_14`: Wilder's, over the bars that are there.
//! - `volume_z_50`: the bar's volume against the mean and deviation of the last 50, itself included.
//! - `taker_imbalance`: (bought − sold by takers) / volume.
//!
//! Of what flowed beside them ([`flows`]):
//! - `log_liquidated_long_usd`, `log_liquidated_short_usd`: ln(1 + what was liquidated of that side in [open, close), in USD).
//! - `oi_change`: of open interest in base units from the bar's opening to its end, as a fraction.
//! - `funding_z_score`: the predicted funding rate against its 30 days, at the bar's last minute.
//!
//! A window needs four fifths of its returns (or bars), else the feature is absent: a missing bar costs little, an outage makes a
//! warm-up. Finite memory: Wilder's recursions start afresh at each UTC midnight (frames over 1h: at the first of the month)
//! from the [`WARM_UP_BARS`] before it. A corrected bar corrects every row that depends on it; what else is corrected, the rows of its bars.

mod flows;
mod heard;
mod series;
mod wilder;

use std::sync::Arc;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, VecCollection};
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Filter, Map};

use crate::config::Config;
use crate::keeping::{Kept, Load, Save};
use crate::minutes::Known;
use crate::model::{
    Bar, Clock, Features, FundingKind, FundingRow, InstrumentId, Instruments, Liquidation, MINUTE_MS, Real, Timeframe, Venue,
};
use crate::operators::{Clocks, KnownAt, Watermarks, per_quantum};
use crate::quotes::InterestSample;
use flows::{FLOWS, Flows, Kind};
use heard::Heard;
use series::Series;

/// Bars before an anchor from which recursions start (L in ANALYTICS.md): what came before weighs (13/14)^256 < 1e-8.
pub const WARM_UP_BARS: i64 = 256;
/// A stretch of missing bars after which nothing before it counts any more: longer than a day of minutes and their warm-up.
const FORGET_BARS: i64 = 4_096;

/// What features are made of. Each instrument's on one worker.
pub struct Inputs<'scope> {
    /// Closed bars.
    pub closed: VecCollection<'scope, KnownAt, Bar, isize>,
    /// Liquidations, each once.
    pub liquidations: StreamVec<'scope, KnownAt, Liquidation>,
    /// Open interest by the minute.
    pub interest: VecCollection<'scope, KnownAt, InterestSample, isize>,
    /// View `funding`.
    pub funding: VecCollection<'scope, KnownAt, FundingRow, isize>,
}

impl<'scope> Inputs<'scope> {
    /// Where there are bars and nothing else.
    #[must_use]
    pub fn bars_alone(closed: VecCollection<'scope, KnownAt, Bar, isize>) -> Self {
        let scope = closed.inner.scope();
        Self { liquidations: empty(scope), interest: empty(scope).as_collection(), funding: empty(scope).as_collection(), closed }
    }
}

#[derive(Clone)]
enum Input {
    Bar(Bar, isize),
    Liquidation(Liquidation),
    Sample(Sample, isize),
}

/// What a minute said at its end. Key: instrument, kind, minute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    instrument: InstrumentId,
    kind: Kind,
    minute: i64,
    value: Option<Real>,
}

impl Sample {
    fn of_interest(sample: &InterestSample) -> Self {
        let value = Some(Real(sample.base.to_f64()));
        Self { instrument: sample.instrument, kind: Kind::Interest, minute: sample.ts.div_euclid(MINUTE_MS), value }
    }

    fn of_funding(row: &FundingRow) -> Option<Self> {
        let (minute, value) = (row.ts.div_euclid(MINUTE_MS), row.scores.z_30d);
        (row.kind == FundingKind::Predicted).then_some(Self { instrument: row.instrument, kind: Kind::Funding, minute, value })
    }
}

/// Maintains the features of all instruments on the configured time frames.
pub fn features<'scope>(
    inputs: Inputs<'scope>,
    clocks: Clocks<'scope>,
    config: &Config,
    names: Arc<Instruments>,
) -> VecCollection<'scope, KnownAt, Features, isize> {
    let timeframes: Arc<[Timeframe]> = config.features_timeframes.as_slice().into();
    let (wanted, is_wanted) = (Arc::clone(&timeframes), !timeframes.is_empty());
    let bars = inputs.closed.inner.filter(move |(bar, _, _)| wanted.contains(&bar.timeframe));
    let bars = bars.map(|(bar, _, diff)| Input::Bar(bar, diff));
    let liquidations = inputs.liquidations.filter(move |_| is_wanted).map(Input::Liquidation);
    let interest = inputs.interest.inner.filter(move |_| is_wanted);
    let interest = interest.map(|(sample, _, diff)| Input::Sample(Sample::of_interest(&sample), diff));
    let funding = inputs.funding.inner.filter(move |_| is_wanted);
    let funding = funding.flat_map(|(row, _, diff)| Sample::of_funding(&row).map(|sample| Input::Sample(sample, diff)));
    let input = bars.concat(liquidations).concat(interest).concat(funding);
    let state = State::new(config, timeframes, names);
    per_quantum(input, clocks, "features", state, |state, _known_at, input, clocks, changes| {
        state.quantum(input, clocks, changes);
    })
}

/// The rows of one instrument's closed bars of one time frame, oldest first; bars may be missing, none may be twice. What flowed beside them
/// is not known.
#[must_use]
pub fn of_bars(bars: &[Bar]) -> Vec<Features> {
    let Some(first) = bars.first() else { return Vec::new() };
    let mut series = Series::new(first.timeframe, 0);
    let mut changes = Vec::new();
    for bar in bars {
        series.apply(bar, 1);
        series.make_rows(first.instrument, |_| [Known::default(); FLOWS], &mut changes);
    }
    changes.into_iter().map(|(row, _)| row).collect()
}

struct State {
    horizon_ms: i64,
    timeframes: Arc<[Timeframe]>,
    names: Arc<Instruments>,
    watermarks: Watermarks,
    heard: Heard,
    by_instrument: FxHashMap<InstrumentId, Instrument>,
    /// Instruments of this quantum.
    touched: Vec<InstrumentId>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Instrument {
    venue: Venue,
    /// By time frame.
    series: Box<[Series]>,
    flows: Flows,
    is_touched: bool,
}

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&(&self.watermarks, &self.heard));
        self.by_instrument.save(save);
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        if let Some(shared) = load.shared()? {
            (self.watermarks, self.heard) = shared;
        }
        self.by_instrument.load(load)
    }
}

impl State {
    fn new(config: &Config, timeframes: Arc<[Timeframe]>, names: Arc<Instruments>) -> Self {
        Self {
            horizon_ms: config.correction_horizon_ms,
            names,
            watermarks: Watermarks::new(config.lateness_ms),
            heard: Heard::new(&timeframes),
            by_instrument: FxHashMap::default(),
            touched: Vec::new(),
            timeframes,
        }
    }

    fn quantum(&mut self, input: Vec<Input>, clocks: &[Clock], changes: &mut Vec<(Features, isize)>) {
        self.hear(clocks);
        let (mut bars, mut samples) = (Vec::new(), Vec::new());
        for input in input {
            match input {
                Input::Bar(bar, diff) => bars.push((bar, diff)),
                Input::Sample(sample, diff) => samples.push((sample, diff)),
                Input::Liquidation(event) => {
                    if let Some(Instrument { flows, series, .. }) = self.touch(event.instrument) {
                        flows.liquidate(&event, series);
                    }
                }
            }
        }
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        bars.sort_unstable_by_key(|(bar, diff)| (bar.instrument, bar.timeframe, *diff));
        for (bar, diff) in &bars {
            let frame = self.timeframes.iter().position(|&timeframe| timeframe == bar.timeframe);
            if let Some((frame, instrument)) = frame.zip(self.touch(bar.instrument)) {
                instrument.series[frame].apply(bar, *diff);
            }
        }
        // A row may be corrected more than once in a quantum: what counts is what is left.
        consolidate(&mut samples);
        for samples in samples.chunk_by(|(a, _), (b, _)| (a.instrument, a.kind, a.minute) == (b.instrument, b.kind, b.minute)) {
            let Sample { instrument, kind, minute, .. } = samples[0].0;
            let now = samples.iter().find(|(_, diff)| *diff > 0).map(|(sample, _)| sample.value);
            if let Some(Instrument { flows, series, .. }) = self.touch(instrument) {
                flows.set(kind, minute, now, series);
            }
        }
        self.watermarks.advance(clocks);
        self.make_rows(changes);
    }

    /// Where a bar counts as heard only now, though it was closed long ago.
    fn hear(&mut self, clocks: &[Clock]) {
        for (venue, frame, open_ts) in self.heard.hear(clocks, &self.watermarks, self.horizon_ms) {
            for (id, instrument) in self.by_instrument.iter_mut().filter(|(_, instrument)| instrument.venue == venue) {
                instrument.series[frame].doubt_flows(open_ts);
                if !std::mem::replace(&mut instrument.is_touched, true) {
                    self.touched.push(*id);
                }
            }
        }
    }

    fn touch(&mut self, id: InstrumentId) -> Option<&mut Instrument> {
        if !self.by_instrument.contains_key(&id) {
            let venue = self.names.get(id)?.venue;
            let series = self.timeframes.iter().map(|&timeframe| Series::new(timeframe, self.horizon_ms)).collect();
            let flows = Flows::new(&self.timeframes);
            self.by_instrument.insert(id, Instrument { venue, series, flows, is_touched: false });
        }
        let instrument = self.by_instrument.get_mut(&id)?;
        if !std::mem::replace(&mut instrument.is_touched, true) {
            self.touched.push(id);
        }
        Some(instrument)
    }

    fn make_rows(&mut self, changes: &mut Vec<(Features, isize)>) {
        for id in self.touched.drain(..) {
            let Some(Instrument { venue, series, flows, is_touched }) = self.by_instrument.get_mut(&id) else { continue };
            *is_touched = false;
            for (frame, series) in series.iter_mut().enumerate().filter(|(_, series)| series.is_dirty()) {
                let heard = |open_ts| self.heard.is_heard(*venue, frame, open_ts);
                series.make_rows(id, |open_ts| flows.beside(frame, open_ts, heard(open_ts)), changes);
            }
            flows.forget_before(self.watermarks.reach(*venue, self.horizon_ms));
        }
        self.heard.forget(&self.watermarks, self.horizon_ms);
    }
}
