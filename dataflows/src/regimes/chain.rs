//! A model at work on one instrument's bars: filter, fixed-lag smoother, Viterbi and Schmitt trigger, step by step.
//!
//! A chain begins afresh at each anchor, some bars before it, from the model's stationary distribution, so that what it says of a
//! bar depends on a bounded stretch of bars only. It begins with the first bar that the model can read; later, a bar without any of the
//! model's features is a step of time without news.

use std::sync::Arc;

use hmm::ndarray::ArrayView2;
use hmm::{FixedLag, HmmError, OnlineViterbi, SchmittTrigger, Window, WindowInference, entropy};

use super::series::Series;
use crate::anchors::anchor_of;
use crate::config::Regimes as Settings;
use crate::model::{InstrumentId, Real, Regime, Timeframe};
use crate::models::Model;

/// A model with what is the same for all instruments.
pub(super) struct Prepared {
    pub model: Arc<Model>,
    /// A, row by row.
    transition: Box<[f64]>,
    smoother: FixedLag,
    path: OnlineViterbi,
    window: WindowInference,
    trigger: SchmittTrigger,
}

impl Prepared {
    pub fn new(model: Arc<Model>, settings: &Settings) -> Result<Self, HmmError> {
        Ok(Self {
            transition: model.hmm.transition().iter().copied().collect(),
            smoother: FixedLag::new(&model.hmm, settings.lag)?,
            path: OnlineViterbi::new(&model.hmm, 0)?,
            window: WindowInference::new(&model.hmm)?,
            trigger: SchmittTrigger::new(settings.enter, settings.leave)?,
            model,
        })
    }

    /// A row as the model reads it; false: it can't, because all is missing or a value is no observation.
    fn read(&self, series: &Series, at: usize, row: &mut Vec<f64>) -> bool {
        row.clear();
        row.extend(self.model.columns.iter().map(|&column| series.value(at, column)));
        self.model.standardise(row);
        let is_observation = |x: f64| x.abs() <= 1e100;
        if row.iter().any(|&x| is_observation(x)) && row.iter().all(|&x| x.is_nan() || is_observation(x)) {
            return true;
        }
        row.fill(f64::NAN);
        false
    }

    /// The window of `bars` rows that ends with row `at`. `None`: there are fewer, or more than a fifth can't be read.
    pub fn infer_window(&self, series: &Series, at: usize, bars: usize) -> Option<Window> {
        let first = (at + 1).checked_sub(bars)?;
        let columns = self.model.columns.len();
        let (mut rows, mut row, mut missing) = (Vec::with_capacity(bars * columns), Vec::new(), 0);
        for at in first..=at {
            missing += usize::from(!self.read(series, at, &mut row));
            rows.extend_from_slice(&row);
        }
        if missing * 5 > bars {
            return None;
        }
        let rows = ArrayView2::from_shape((bars, columns), &rows).ok()?;
        // The workspace inside is scratch; a clone is a tenth of the inference and keeps the model shareable.
        self.window.clone().infer(rows).ok()
    }
}

/// A model on one instrument's bars.
pub(super) struct Chain {
    pub prepared: Arc<Prepared>,
    anchor: i64,
    /// The last bar that was taken in, by its opening. `None`: begin anew.
    last: Option<i64>,
    has_begun: bool,
    smoother: FixedLag,
    path: OnlineViterbi,
    trigger: SchmittTrigger,
    row: Vec<f64>,
}

impl Chain {
    pub fn new(prepared: Arc<Prepared>) -> Self {
        let (smoother, path, trigger) = (prepared.smoother.clone(), prepared.path.clone(), prepared.trigger.clone());
        Self { anchor: 0, last: None, has_begun: false, smoother, path, trigger, row: Vec::new(), prepared }
    }

    /// The last bar that was taken in.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    /// The features of that bar as the model reads them. NaN: missing.
    pub fn features(&self) -> &[f64] {
        &self.row
    }

    /// What was taken in from `ts` on is no longer true.
    pub fn doubt(&mut self, ts: i64) {
        self.last = self.last.filter(|&last| last < ts);
    }

    /// Takes in all up to row `at` that hasn't been. The surprise at row `at`; `None`: the model can't read it.
    pub fn run_to(&mut self, series: &Series, at: usize, timeframe: Timeframe, warm_up: usize) -> Option<f64> {
        let anchor = anchor_of(timeframe, series.ts(at));
        let before = at.checked_sub(1).map(|before| series.ts(before));
        if self.last.is_some() && self.last == before && self.anchor == anchor {
            return self.step(series, at);
        }
        self.smoother.clone_from(&self.prepared.smoother);
        self.path.clone_from(&self.prepared.path);
        self.trigger.clone_from(&self.prepared.trigger);
        (self.anchor, self.has_begun) = (anchor, false);
        let first = series.place(anchor - warm_up as i64 * timeframe.ms());
        (first..=at).map(|at| self.step(series, at)).last().flatten()
    }

    fn step(&mut self, series: &Series, at: usize) -> Option<f64> {
        self.last = Some(series.ts(at));
        let is_readable = self.prepared.read(series, at, &mut self.row);
        if !is_readable && !self.has_begun {
            return None;
        }
        self.has_begun = true;
        // A bar that no state explains is as good as none: the filter stays where it is.
        let log_density = self.smoother.step(&self.row).ok().filter(|_| is_readable);
        let _ = self.path.step(&self.row);
        let surprise = log_density.filter(|log_density| log_density.is_finite()).map(|log_density| -log_density)?;
        let mut probabilities = [0.0; crate::models::STATES_MAX];
        let probabilities = &mut probabilities[..self.smoother.filter().states()];
        self.smoother.filter().probabilities_into(probabilities);
        self.trigger.step(probabilities);
        Some(surprise)
    }

    /// What the model says of the bar that was taken in last.
    pub fn row(&self, instrument: InstrumentId, timeframe: Timeframe, surprise: f64, settings: &Settings) -> Option<Regime> {
        let (model, filter) = (&self.prepared.model, self.smoother.filter());
        let probabilities = filter.probabilities();
        let top = most_probable(&probabilities);
        let decided = self.trigger.state();
        let speaks_of = decided.unwrap_or(top);
        let mut smoothed = vec![0.0; probabilities.len()];
        let is_smoothed = self.smoother.smoothed_into(settings.lag, &mut smoothed);
        let viterbi_state = self.path.back(0)?;
        Some(Regime {
            instrument,
            timeframe,
            ts: self.last?,
            model: model.id.clone(),
            state: decided.map(|state| state as u8),
            label: decided.and_then(|state| model.label(state)),
            firm: decided.is_some_and(|state| probabilities[state] >= settings.leave),
            probability: Real(probabilities[speaks_of]),
            smoothed: if is_smoothed { reals(&smoothed) } else { Arc::default() },
            viterbi_state: viterbi_state as u8,
            viterbi_label: model.label(viterbi_state),
            surprise: Real(surprise),
            forecast: self.forecast(&probabilities, settings.forecast_bars),
            expected_duration_bars: model.durations[speaks_of],
            entropy: Real(entropy(&probabilities).max(0.0)),
            probabilities: reals(&probabilities),
        })
    }

    fn forecast(&self, now: &[f64], bars: usize) -> Arc<[Real]> {
        let states = now.len();
        let mut ahead: Vec<Real> = Vec::with_capacity(states * bars);
        for h in 0..bars {
            for to in 0..states {
                let from = |state: usize| if h == 0 { now[state] } else { ahead[(h - 1) * states + state].0 };
                let sum = (0..states).map(|state| from(state) * self.prepared.transition[state * states + to]).sum();
                ahead.push(Real(sum));
            }
        }
        ahead.into()
    }
}

/// The first of the largest.
pub(super) fn most_probable(probabilities: &[f64]) -> usize {
    (1..probabilities.len()).fold(0, |top, state| if probabilities[state] > probabilities[top] { state } else { top })
}

pub(super) fn reals<C: FromIterator<Real>>(values: &[f64]) -> C {
    values.iter().copied().map(Real).collect()
}
