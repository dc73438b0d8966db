//! How refits would have done: train, test, advance, each refit beside the one before it.

use dataflows::model::DAY_MS;
use hmm::{EvaluatedFold, HmmError};
use serde::Serialize;

use super::{BARS_PER_PARAMETER, Rows, Settings, TrainingError, bars_per_year};

/// One refit.
#[derive(Clone, Debug, Serialize)]
pub struct Refit {
    /// Symbol and time frame.
    pub target: String,
    /// First and last training bar, by their openings, UTC ms.
    pub train: [i64; 2],
    /// First and last bar of the test.
    pub test: [i64; 2],
    /// Nats per training bar.
    pub log_likelihood_per_bar: f64,
    /// Nats per bar of the test, given those before.
    pub oos_log_likelihood_per_bar: f64,
    /// Changes of the decided state on the test, a year.
    pub switches_per_year: f64,
    /// Labels of the states.
    pub labels: Vec<String>,
    /// With the refit before, on the bars that this one was fitted to; `None` for the first.
    pub agreement: Option<Agreement>,
}

/// Two refits on the same bars.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Agreement {
    /// Bars.
    pub bars: u64,
    /// Share of bars in the same state.
    pub states: f64,
    /// Share of bars with the same vote.
    pub votes: f64,
    /// States that one calls Bull and the other Bear.
    pub opposed_states: u64,
    /// Bars that one holds for Bull and the other for Bear, both with conviction.
    pub firm_contradictions: u64,
    /// Bars that one's most probable path calls Bull and the other's Bear.
    pub contradictions: u64,
}

/// All refits of one or more symbols.
#[derive(Clone, Debug, Serialize)]
pub struct Walked {
    /// In order of symbol and time.
    pub refits: Vec<Refit>,
    /// Median share of bars in the same state.
    pub median_agreement: Option<f64>,
    /// Out-of-sample nats per bar, mean over refits.
    pub oos_log_likelihood_per_bar: Option<f64>,
    /// States that changed between Bull and Bear.
    pub opposed_states: u64,
    /// Bars held for opposite regimes with conviction.
    pub firm_contradictions: u64,
    /// Bars on opposite paths.
    pub contradictions: u64,
    /// Bars compared.
    pub bars: u64,
}

/// Walks over all rows. `train_ms` and `step_ms` are spans of market time.
///
/// # Errors
/// Training spans too short for the parameters, no room for a test, or what a fit says.
pub fn walk(rows: &Rows, settings: &Settings, train_ms: i64, step_ms: i64) -> Result<Vec<Refit>, TrainingError> {
    let bar_ms = rows.timeframe.ms();
    let [train, step] = [train_ms, step_ms].map(|span| usize::try_from(span / bar_ms).unwrap_or(0).max(1));
    let (parameters, target) = (settings.parameters(), rows.target.clone());
    let needed = BARS_PER_PARAMETER * parameters;
    if train < needed {
        return Err(TrainingError::TooFewBars { target, bars: train, parameters, needed });
    }
    if rows.len() < train + step {
        return Err(TrainingError::TooShortToWalk {
            target,
            bars: rows.len(),
            days: (train_ms + step_ms) / DAY_MS,
            needed: train + step,
        });
    }
    let failed =
        |source: HmmError| TrainingError::Fit { target: rows.target.clone(), states: settings.states, bars: train, source };
    let walk = settings.walk(train, step);
    let folds = walk.run(&settings.config(), rows.values.view(), &rows.returns, |_| {}).map_err(failed)?;
    Ok(folds.iter().map(|fold| refit(rows, fold)).collect())
}

fn refit(rows: &Rows, fold: &EvaluatedFold) -> Refit {
    let ends = |range: &std::ops::Range<usize>| [rows.ts[range.start], rows.ts[range.end - 1]];
    Refit {
        target: rows.target.clone(),
        train: ends(&fold.rows.train),
        test: ends(&fold.rows.test),
        log_likelihood_per_bar: fold.training_log_likelihood_per_row,
        oos_log_likelihood_per_bar: fold.log_likelihood_per_row,
        switches_per_year: fold.switches as f64 / fold.rows.test.len() as f64 * bars_per_year(rows.timeframe),
        labels: fold.labels.iter().map(|state| state.label.name().to_owned()).collect(),
        agreement: fold.agreement.map(|agreement| Agreement {
            bars: agreement.rows as u64,
            states: agreement.states,
            votes: agreement.votes,
            opposed_states: agreement.opposed_states as u64,
            firm_contradictions: agreement.firm_contradictions as u64,
            contradictions: agreement.contradictions as u64,
        }),
    }
}

impl Walked {
    /// Sums up.
    #[must_use]
    pub fn of(refits: Vec<Refit>) -> Self {
        let agreements: Vec<Agreement> = refits.iter().filter_map(|refit| refit.agreement).collect();
        let mut shares: Vec<f64> = agreements.iter().map(|agreement| agreement.states).collect();
        shares.sort_by(f64::total_cmp);
        let sum = |of: fn(&Agreement) -> u64| agreements.iter().map(of).sum();
        let oos: f64 = refits.iter().map(|refit| refit.oos_log_likelihood_per_bar).sum();
        Self {
            median_agreement: shares.get(shares.len() / 2).copied(),
            oos_log_likelihood_per_bar: (!refits.is_empty()).then(|| oos / refits.len() as f64),
            opposed_states: sum(|agreement| agreement.opposed_states),
            firm_contradictions: sum(|agreement| agreement.firm_contradictions),
            contradictions: sum(|agreement| agreement.contradictions),
            bars: sum(|agreement| agreement.bars),
            refits,
        }
    }
}
