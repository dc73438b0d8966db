//! View `drift`: does the active model still fit the bars that it speaks of?
//!
//! The mean surprise of the last bars of the model (as many as its training blocks had) against those blocks. Surprises are summed as
//! integers (a billionth of a nat), so that what is added and later taken away leaves nothing behind. Bars count once the model speaks:
//! after a promotion the window has to fill again. A row exists where the window is full.
//!
//! Beside it, over the same bars: how far the features lie from those of the training rows ([`divergence`]). Reported only.
//!
//! Drifting: the last [3] scores are above [0.5]. The mean of 500 bars moves slowly, so this needs no hysteresis and no memory.

mod divergence;

use std::collections::VecDeque;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;

use crate::config::Config;
use crate::model::{Change, Clock, Drift, EpisodeKind, InstrumentId, MINUTE_MS, ModelId, Real, Regime, Timeframe};
use crate::models::Model;
use crate::operators::{Clocks, KnownAt, NEVER, per_quantum};
use crate::regime_episodes::{Seen, Sighting};
use crate::standing::Standing;
use divergence::Sums;

/// Nats to billionths.
const NANO: f64 = 1e9;
/// A z of this is a drift score of one.
const FULL_SCORE: f64 = 6.0;
/// A model whose training blocks were longer is not watched.
const BLOCK_MAX: usize = 10_000;

/// How surprised a model was by one bar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Surprise {
    instrument: InstrumentId,
    timeframe: Timeframe,
    ts: i64,
    /// Billionths of a nat.
    nanonats: i64,
    /// The bar's features as the model reads them; all are missing if it was not standardised.
    features: divergence::Row,
    fit: Fit,
}

/// A model and what it is measured against ([`hmm::DriftReference`], comparable).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
struct Fit {
    model: ModelId,
    /// 0: it has no reference.
    block: usize,
    mean: Real,
    deviation: Real,
}

impl Surprise {
    /// `features`: of the same bar, as the model reads them.
    pub(crate) fn new(row: &Regime, model: &Arc<Model>, features: &[f64]) -> Self {
        let reference = model.drift.filter(|reference| reference.block <= BLOCK_MAX && reference.deviation > 0.0);
        let (block, mean, deviation) = reference.map_or((0, 0.0, 1.0), |r| (r.block, r.mean, r.deviation));
        let fit = Fit { model: row.model.clone(), block, mean: Real(mean), deviation: Real(deviation) };
        let Regime { instrument, timeframe, ts, surprise, .. } = *row;
        let features = divergence::row_of(if model.is_standardised() { features } else { &[] });
        // A surprise beyond 9e9 nats counts as 9e9.
        Self { instrument, timeframe, ts, nanonats: (surprise.0 * NANO).round() as i64, features, fit }
    }
}

/// The view, and what [`crate::regime_episodes`] starts from.
pub struct Drifts<'scope> {
    /// View `drift`.
    pub drift: VecCollection<'scope, KnownAt, Drift, isize>,
    /// Whether models drifted, bar by bar.
    pub sightings: VecCollection<'scope, KnownAt, Sighting, isize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Output {
    Drift(Drift),
    Seen(Sighting),
}

/// Maintains the drift of all active models.
pub fn drift<'scope>(
    surprises: VecCollection<'scope, KnownAt, Surprise, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> Drifts<'scope> {
    let limits = Limits {
        score: config.regimes.drift_score,
        bars: config.regimes.drift_bars.max(1),
        horizon_ms: config.correction_horizon_ms + MINUTE_MS,
    };
    let logic = move |tracks: &mut Tracks,
                      _known_at,
                      mut rows: Vec<Change<Surprise>>,
                      _: &[Clock],
                      changes: &mut Vec<(Output, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        rows.sort_unstable_by_key(|(row, _, diff)| (row.instrument, row.timeframe, *diff));
        for rows in rows.chunk_by(|a, b| (a.0.instrument, a.0.timeframe) == (b.0.instrument, b.0.timeframe)) {
            let key = (rows[0].0.instrument, rows[0].0.timeframe);
            let track = tracks.entry(key).or_default();
            rows.iter().for_each(|(row, _, diff)| track.apply(row, *diff));
            let from = rows.iter().map(|(row, _, _)| row.ts).min().unwrap_or(NEVER);
            track.make_rows(key, from, &limits, changes);
            track.forget(&limits);
        }
    };
    let all = per_quantum(surprises.inner, clocks, "drift", Tracks::default(), logic);
    Drifts {
        drift: all.clone().flat_map(|output| if let Output::Drift(row) = output { Some(row) } else { None }),
        sightings: all.flat_map(|output| if let Output::Seen(row) = output { Some(row) } else { None }),
    }
}

type Tracks = FxHashMap<(InstrumentId, Timeframe), Track>;

struct Limits {
    score: f64,
    bars: usize,
    horizon_ms: i64,
}

/// One instrument's surprises of one time frame, in order of bars.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Track {
    bars: VecDeque<Bar>,
    /// Of the same bars.
    features: divergence::Rows,
    /// The models that spoke of them.
    fits: Vec<Fit>,
    /// Of the features of the bars between two, by their openings, the last of which had a row: the next row's are nearly the same.
    sums: Option<(i64, i64, Sums)>,
    drift: Standing<Drift>,
    seen: Standing<Sighting>,
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Bar {
    ts: i64,
    nanonats: i64,
    /// Which of the track's models.
    fit: u32,
}

impl Track {
    fn apply(&mut self, row: &Surprise, diff: isize) {
        let at = self.bars.partition_point(|bar| bar.ts < row.ts);
        let is_there = self.bars.get(at).is_some_and(|bar| bar.ts == row.ts);
        self.sums = self.sums.take().filter(|(_, last, _)| *last < row.ts);
        if diff < 0 {
            if is_there {
                self.bars.remove(at);
                self.features.remove(at);
            }
            return;
        }
        let known = self.fits.iter().position(|fit| *fit == row.fit);
        let fit = known.unwrap_or_else(|| {
            self.fits.push(row.fit.clone());
            self.fits.len() - 1
        });
        let bar = Bar { ts: row.ts, nanonats: row.nanonats, fit: fit as u32 };
        if is_there {
            self.bars[at] = bar;
            self.features.set(at, &row.features);
        } else {
            self.bars.insert(at, bar);
            self.features.insert(at, &row.features);
        }
    }

    fn make_rows(&mut self, key: (InstrumentId, Timeframe), from: i64, limits: &Limits, changes: &mut Vec<(Output, isize)>) {
        let (instrument, timeframe) = key;
        let (mut rows, mut seen) = (Vec::new(), Vec::new());
        for at in self.bars.partition_point(|bar| bar.ts < from)..self.bars.len() {
            let row = self.row(key, at, limits);
            let (ts, kind) = (self.bars[at].ts + timeframe.ms(), EpisodeKind::Drift);
            let drifting = row.as_ref().filter(|row| row.drifting);
            let seen_now = drifting.map(|row| Seen { regime: None, model: Some(row.model.clone()), strength: row.drift_score });
            seen.push((ts, Sighting { kind, instrument, timeframe: Some(timeframe), ts, seen: seen_now }));
            rows.extend(row.map(|row| (row.ts, row)));
        }
        self.drift.become_from(from, rows, Output::Drift, changes);
        self.seen.become_from(from + timeframe.ms(), seen, Output::Seen, changes);
    }

    fn row(&mut self, (instrument, timeframe): (InstrumentId, Timeframe), at: usize, limits: &Limits) -> Option<Drift> {
        let Bar { ts, fit, .. } = self.bars[at];
        let Fit { model, block, mean, deviation } = &self.fits[fit as usize];
        let wanted = block + limits.bars - 1;
        // The model's own bars, back from this one, as far as they matter.
        let own = (0..=at).rev().map(|at| self.bars[at]).take(wanted).take_while(|bar| bar.fit == fit).count();
        if *block == 0 || own < *block {
            return None;
        }
        let sum_from = |first: usize| (first..first + block).map(|at| i128::from(self.bars[at].nanonats)).sum::<i128>();
        let mut sum = sum_from(at + 1 - block);
        let z = |sum: i128| (sum as f64 / NANO / *block as f64 - mean.0) / deviation.0;
        let score = |sum: i128| z(sum).max(0.0) / FULL_SCORE;
        let (surprise_z, drift_score) = (Real(z(sum)), Real(score(sum)));
        let mut drifting = own == wanted && drift_score.0 > limits.score;
        for back in 1..limits.bars.min(own + 1 - block) {
            let (leaves, enters) = (self.bars[at + 1 - back], self.bars[at + 1 - back - block]);
            sum += i128::from(enters.nanonats) - i128::from(leaves.nanonats);
            drifting &= score(sum) > limits.score;
        }
        let (model, block) = (model.clone(), *block);
        let symmetric_kl = self.divergence(at, block).map(Real);
        Some(Drift { instrument, timeframe, ts, model, surprise_z, drift_score, symmetric_kl, drifting })
    }

    /// Of the `block` bars up to `at`.
    fn divergence(&mut self, at: usize, block: usize) -> Option<f64> {
        let (first, last) = (self.bars[at + 1 - block].ts, self.bars[at].ts);
        let slides =
            |&(from, to, _): &(i64, i64, Sums)| at >= block && from == self.bars[at - block].ts && to == self.bars[at - 1].ts;
        let sums = match self.sums.take().filter(slides) {
            Some((_, _, mut sums)) => {
                sums.slide(&self.features, at - block, at);
                sums
            }
            None => Sums::of(&self.features, at + 1 - block..at + 1),
        };
        let divergence = sums.divergence(block);
        self.sums = Some((first, last, sums));
        divergence
    }

    fn forget(&mut self, limits: &Limits) {
        let Some(newest) = self.bars.back().map(|bar| bar.ts) else { return };
        let limit = newest - limits.horizon_ms;
        self.drift.forget_before(limit);
        self.seen.forget_before(limit);
        let longest = self.fits.iter().map(|fit| fit.block).max().unwrap_or(0) + limits.bars;
        let needless = self.bars.partition_point(|bar| bar.ts < limit).saturating_sub(longest);
        self.bars.drain(..needless);
        self.features.forget_first(needless);
        if self.fits.len() > 1 && self.bars.iter().all(|bar| bar.fit == self.bars[0].fit) {
            self.fits = vec![self.fits.swap_remove(self.bars[0].fit as usize)];
            self.bars.iter_mut().for_each(|bar| bar.fit = 0);
        }
    }
}
