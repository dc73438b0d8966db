//! How many states, which emissions: AIC, BIC, and what matters more, likelihood on rows that the fit hasn't seen.
//!
//! AIC and BIC choose too many states on market data (arXiv 1701.08673); the out-of-sample log-likelihood per row beside them
//! is the better judge.

use crate::baum_welch::Fit;
use crate::config::{DegreesOfFreedom, FitConfig};
use crate::error::HmmError;
use crate::model::Hmm;
use crate::observations::Observations;
use ndarray::{ArrayView2, Axis, concatenate, s};

/// One model tested on rows that it hasn't seen.
#[derive(Debug, Clone)]
pub struct Fold {
    /// The model, fitted on the training rows.
    pub model: Hmm,
    /// First test row.
    pub from: usize,
    /// One past the last test row.
    pub to: usize,
    /// log p(test rows | training rows) per row.
    pub log_likelihood_per_row: f64,
}

/// Mean of the folds' likelihoods per row, each row counted once.
pub fn per_row(folds: &[Fold]) -> f64 {
    let rows: usize = folds.iter().map(|f| f.to - f.from).sum();
    folds.iter().map(|f| f.log_likelihood_per_row * (f.to - f.from) as f64).sum::<f64>() / rows as f64
}

impl Fit {
    /// Akaike's criterion, −2 log L + 2 p: the less the better.
    pub fn aic(&self, config: &FitConfig) -> f64 {
        2.0 * self.parameters(config) - 2.0 * self.log_likelihood
    }

    /// Schwarz's criterion, −2 log L + p ln T.
    pub fn bic(&self, config: &FitConfig, rows: usize) -> f64 {
        self.parameters(config) * (rows as f64).ln() - 2.0 * self.log_likelihood
    }

    fn parameters(&self, config: &FitConfig) -> f64 {
        let (fitted, shared) = match config.degrees_of_freedom {
            DegreesOfFreedom::Fitted { shared, .. } => (true, shared),
            _ => (false, false),
        };
        let count = self.model.parameters(fitted) as f64;
        let one_less_each = (self.model.states() - 1) as f64;
        count - [shared, config.stationary_start].into_iter().filter(|tied| *tied).count() as f64 * one_less_each
    }
}

impl FitConfig {
    /// Walk forward over one sequence: fit on `train` rows, test on the next `test`, advance by `test`. A test row is scored
    /// given all rows of its fold before it. The last fold may be shorter.
    pub fn walk_forward(&self, rows: ArrayView2<'_, f64>, train: usize, test: usize) -> Result<Vec<Fold>, HmmError> {
        let range = "at least 1";
        if train == 0 || test == 0 {
            return Err(HmmError::Setting { what: "train and test rows", value: 0.0, range });
        }
        let mut folds = Vec::new();
        let mut from = train;
        while from < rows.nrows() {
            let to = (from + test).min(rows.nrows());
            let seen = Observations::new(rows.slice(s![from - train..from, ..]))?;
            let all = Observations::new(rows.slice(s![from - train..to, ..]))?;
            let model = self.fit(&seen)?.model;
            let gained = model.log_likelihood(&all)? - model.log_likelihood(&seen)?;
            folds.push(Fold { model, from, to, log_likelihood_per_row: gained / (to - from) as f64 });
            from = to;
        }
        Ok(folds)
    }

    /// Cross-validation over one sequence cut into `folds` blocks: each is scored by a model fitted on the others, as a
    /// sequence of its own (from the stationary distribution where there is one).
    pub fn cross_validate(&self, rows: ArrayView2<'_, f64>, folds: usize) -> Result<Vec<Fold>, HmmError> {
        let count = rows.nrows();
        if folds < 2 || folds > count {
            let value = folds as f64;
            return Err(HmmError::Setting { what: "folds", value, range: "at least 2 and at most the number of rows" });
        }
        let cut = |n: usize| n * count / folds;
        let mut out = Vec::with_capacity(folds);
        for n in 0..folds {
            let (from, to) = (cut(n), cut(n + 1));
            let parts = [rows.slice(s![..from, ..]), rows.slice(s![to.., ..])];
            let joined = concatenate(Axis(0), &parts).map_err(|_| HmmError::Shape {
                what: "training rows",
                expected: count,
                found: from,
            })?;
            let lengths: Vec<usize> = [from, count - to].into_iter().filter(|l| *l > 0).collect();
            let model = self.fit(&Observations::sequences(joined.view(), &lengths)?)?.model;
            let start = model.stationary().unwrap_or_else(|_| model.start().to_owned());
            let scored = Hmm::new(start, model.transition().to_owned(), model.emission().clone())?;
            let test = Observations::new(rows.slice(s![from..to, ..]))?;
            let log_likelihood_per_row = scored.log_likelihood(&test)? / (to - from) as f64;
            out.push(Fold { model, from, to, log_likelihood_per_row });
        }
        Ok(out)
    }
}
