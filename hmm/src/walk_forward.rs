//! Walk-forward evaluation: fit on the past, test on what came next, advance, and compare each fit with the one before.
//!
//! Per fold: log-likelihood per test row given all rows before it, decided switches on the test rows (filter and Schmitt
//! trigger, as live), Viterbi switches, labels. Between consecutive fits: both decode the rows that the newer one was trained
//! on (most of which the older one has seen, the last of which it hasn't); the share of rows on which they agree, states matched
//! by their emissions, and how many rows one calls Bull and the other Bear.
//!
//! With [`WalkForward::continuity`] each fit may go on from the one before ([`FitConfig::refit`]), as in live use. Without it
//! folds don't depend on each other: [`WalkForward::evaluate`] may run on several threads, and [`WalkForward::compare`] after.
//! Every fold is fitted on rows standardised by its own training rows; models are given back in the features' own units.

use crate::config::FitConfig;
use crate::error::HmmError;
use crate::filter::Filter;
use crate::labels::{StateLabel, Vote, label_states};
use crate::model::Hmm;
use crate::observations::Observations;
use crate::scaling::Scaling;
use crate::schmitt::SchmittTrigger;
use ndarray::{ArrayView2, s};
use std::ops::Range;

/// A state is held with conviction from this probability on: where the trigger enters one.
pub const CONVICTION: f64 = 0.8;

/// How to walk.
#[derive(Debug, Clone, PartialEq)]
pub struct WalkForward {
    /// Rows to fit on.
    pub train: usize,
    /// Rows to test on.
    pub test: usize,
    /// Rows from one fold to the next; the same as `test` counts each row once.
    pub advance: usize,
    /// Whether a last fold with fewer test rows counts.
    pub partial: bool,
    /// Nats per row by which a fresh fit must beat the one that goes on from the last; `None`: every fit is fresh.
    pub continuity: Option<f64>,
    /// Schmitt trigger: a state is entered at this probability.
    pub enter: f64,
    /// Schmitt trigger: below this it is held without conviction.
    pub leave: f64,
}

/// The rows of one fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldRows {
    /// Fitted on.
    pub train: Range<usize>,
    /// Tested on: the rows after.
    pub test: Range<usize>,
}

/// One fold, fitted and tested.
#[derive(Debug, Clone)]
pub struct EvaluatedFold {
    /// Its rows.
    pub rows: FoldRows,
    /// The model, in the features' own units; filters and labels are for rows as they are.
    pub model: Hmm,
    /// What the training rows were standardised by for the fit.
    pub scaling: Scaling,
    /// Labels of its states, by the returns of the training rows.
    pub labels: Vec<StateLabel>,
    /// log p(test rows | rows before) per row.
    pub log_likelihood_per_row: f64,
    /// log p(training rows) per row.
    pub training_log_likelihood_per_row: f64,
    /// Changes of the decided state on the test rows.
    pub switches: usize,
    /// Changes of state on the most probable path of training and test rows, those on the test rows counted.
    pub path_switches: usize,
    /// With the fit before; absent for the first.
    pub agreement: Option<Agreement>,
}

/// How two fits decode the same rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Rows decoded by both.
    pub rows: usize,
    /// Share on which they are in the same state, after matching.
    pub states: f64,
    /// Share on which they vote alike; labels by volatility (which don't vote) count as alike by name.
    pub votes: f64,
    /// Rows that one's path calls Bull and the other's Bear: mostly a change that one dates a few rows later.
    pub contradictions: usize,
    /// Rows that one holds for Bull and the other for Bear, each with a smoothed probability of [`CONVICTION`].
    pub firm_contradictions: usize,
    /// Matched states that one calls Bull and the other Bear: a change of meaning, not of timing.
    pub opposed_states: usize,
}

impl WalkForward {
    /// Train, test, advance by the test rows; refits keep continuity at .01 nats per row; trigger at .8 and .5.
    pub fn new(train: usize, test: usize) -> Self {
        WalkForward { train, test, advance: test, partial: false, continuity: Some(0.01), enter: 0.8, leave: 0.5 }
    }

    /// The folds that `rows` rows give; none where they are too few.
    pub fn folds(&self, rows: usize) -> Result<Vec<FoldRows>, HmmError> {
        for (what, value) in [("train", self.train), ("test", self.test), ("advance", self.advance)] {
            if value == 0 {
                return Err(HmmError::Setting { what, value: 0.0, range: "at least 1 row" });
            }
        }
        let fold = |n: usize| {
            let from = n * self.advance;
            let split = from.checked_add(self.train)?;
            let end = if self.partial { rows.min(split.checked_add(self.test)?) } else { split.checked_add(self.test)? };
            (split < end && end <= rows).then_some(FoldRows { train: from..split, test: split..end })
        };
        Ok((0..).map_while(fold).collect())
    }

    /// Fits and tests one fold. `returns` are the rows' returns, by which states are labelled (they may be a feature as well);
    /// `previous` is the fit before (in the features' own units), where there is one to go on from.
    pub fn evaluate(
        &self,
        config: &FitConfig,
        rows: ArrayView2<'_, f64>,
        returns: &[f64],
        fold: &FoldRows,
        previous: Option<&Hmm>,
    ) -> Result<EvaluatedFold, HmmError> {
        check_returns(rows, returns)?;
        let (from, split, end) = (fold.train.start, fold.train.end, fold.test.end);
        let seen = Observations::new(rows.slice(s![from..split, ..]))?;
        let all = Observations::new(rows.slice(s![from..end, ..]))?;
        let scaling = Scaling::of(&seen);
        let standardised = scaling.applied(rows.slice(s![from..split, ..]))?;
        let standardised = Observations::new(standardised.view())?;
        let fit = match (self.continuity, previous) {
            (Some(margin), Some(previous)) => config.refit(&previous.scaled(&scaling)?, &standardised, margin)?,
            _ => config.fit(&standardised)?,
        };
        let model = fit.model.unscaled(&scaling)?;
        let smoothed = model.smoothed(&seen)?;
        let labels = label_states(&returns[from..split], smoothed.probabilities.view())?;
        let path = model.viterbi(&all)?.states;
        let path_switches = path[split - from - 1..].windows(2).filter(|w| w[0] != w[1]).count();
        let (tested, switches) = self.live(&model, &all, split - from)?;
        Ok(EvaluatedFold {
            rows: fold.clone(),
            labels,
            log_likelihood_per_row: tested / fold.test.len() as f64,
            training_log_likelihood_per_row: smoothed.log_likelihood / fold.train.len() as f64,
            switches,
            path_switches,
            agreement: None,
            scaling,
            model,
        })
    }

    /// The filter and the trigger over all rows, as live: log density and decided switches of those after the first `warm_up`.
    pub fn live(&self, model: &Hmm, rows: &Observations<'_>, warm_up: usize) -> Result<(f64, usize), HmmError> {
        let (mut filter, mut trigger) = (Filter::new(model)?, SchmittTrigger::new(self.enter, self.leave)?);
        let mut probabilities = vec![0.0; model.states()];
        let (mut sum, mut switches) = (0.0, 0);
        for (t, row) in rows.each().flat_map(|s| (0..s.len()).map(move |t| s.row(t))).enumerate() {
            let log_density = filter.step(row)?;
            filter.probabilities_into(&mut probabilities);
            let before = trigger.state();
            let entered = trigger.step(&probabilities).is_some_and(|d| d.entered);
            if t >= warm_up {
                sum += log_density;
                switches += usize::from(entered && before.is_some());
            }
        }
        Ok((sum, switches))
    }

    /// Compares every fold with the one before it, and fills in [`EvaluatedFold::agreement`].
    pub fn compare(rows: ArrayView2<'_, f64>, folds: &mut [EvaluatedFold]) -> Result<(), HmmError> {
        for n in 1..folds.len() {
            let (before, after) = folds.split_at_mut(n);
            let (older, newer) = (&before[n - 1], &mut after[0]);
            let same = Observations::new(rows.slice(s![newer.rows.train.clone(), ..]))?;
            newer.agreement = Some(agreement((&older.model, &older.labels), (&newer.model, &newer.labels), &same)?);
        }
        Ok(())
    }

    /// All folds one after the other, compared; `done` hears of each as it is fitted (for a progress bar).
    pub fn run(
        &self,
        config: &FitConfig,
        rows: ArrayView2<'_, f64>,
        returns: &[f64],
        mut done: impl FnMut(&EvaluatedFold),
    ) -> Result<Vec<EvaluatedFold>, HmmError> {
        let mut folds: Vec<EvaluatedFold> = Vec::new();
        for fold in self.folds(rows.nrows())? {
            let fold = self.evaluate(config, rows, returns, &fold, folds.last().map(|fold| &fold.model))?;
            done(&fold);
            folds.push(fold);
        }
        Self::compare(rows, &mut folds)?;
        Ok(folds)
    }
}

/// How two labelled models, in the same units, decode the same rows. Both begin from their stationary distributions, as inference
/// does: a fitted start is nearly always one state for certain, and says nothing of the rows.
pub fn agreement(
    older: (&Hmm, &[StateLabel]),
    newer: (&Hmm, &[StateLabel]),
    rows: &Observations<'_>,
) -> Result<Agreement, HmmError> {
    let order = older.0.matching(newer.0)?;
    for (model, labels) in [older, newer] {
        let (expected, found) = (model.states(), labels.len());
        if expected != found {
            return Err(HmmError::Shape { what: "labels", expected, found });
        }
    }
    let (first, second) = (Decoded::of(older.0, older.1, rows)?, Decoded::of(newer.0, newer.1, rows)?);
    let opposed = |one: Option<Vote>, other: Option<Vote>| {
        matches!((one, other), (Some(Vote::Bull), Some(Vote::Bear)) | (Some(Vote::Bear), Some(Vote::Bull)))
    };
    let (mut states, mut votes) = (0usize, 0usize);
    for (&a, &b) in first.path.iter().zip(&second.path) {
        states += usize::from(order[a] == b);
        let (one, other) = (older.1[a].label, newer.1[b].label);
        votes += usize::from(if one.vote().is_some() { one.vote() == other.vote() } else { one == other });
    }
    let vote = |labels: &[StateLabel], state: usize| labels[state].label.vote();
    let paths = first.path.iter().zip(&second.path);
    let contradictions = paths.filter(|(a, b)| opposed(vote(older.1, **a), vote(newer.1, **b))).count();
    let firm_contradictions = first.held.iter().zip(&second.held).filter(|(a, b)| opposed(**a, **b)).count();
    let opposed_states = order.iter().enumerate().filter(|(a, b)| opposed(vote(older.1, *a), vote(newer.1, **b))).count();
    let count = first.path.len();
    let share = |n: usize| n as f64 / count as f64;
    let (states, votes) = (share(states), share(votes));
    Ok(Agreement { rows: count, states, votes, contradictions, firm_contradictions, opposed_states })
}

/// The most probable path, and what is held with conviction at each row.
struct Decoded {
    path: Vec<usize>,
    held: Vec<Option<Vote>>,
}

impl Decoded {
    fn of(model: &Hmm, labels: &[StateLabel], rows: &Observations<'_>) -> Result<Self, HmmError> {
        let model = model.started_stationary().unwrap_or_else(|_| model.clone());
        let held = |row: ndarray::ArrayView1<'_, f64>| {
            let state = row.iter().position(|&probability| probability >= CONVICTION)?;
            labels[state].label.vote()
        };
        let smoothed = model.smoothed(rows)?.probabilities;
        Ok(Self { path: model.viterbi(rows)?.states, held: smoothed.outer_iter().map(held).collect() })
    }
}

fn check_returns(rows: ArrayView2<'_, f64>, returns: &[f64]) -> Result<(), HmmError> {
    let (expected, found) = (rows.nrows(), returns.len());
    if expected == found { Ok(()) } else { Err(HmmError::Shape { what: "returns", expected, found }) }
}
