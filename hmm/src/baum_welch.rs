//! Baum–Welch: EM from many starts, the best kept.
//!
//! Every start runs a few iterations; the most promising run to the end. The objective is the log-likelihood plus the log
//! priors. It never falls: a step that would lower it by more than rounding is not taken. A state that lost its rows is put
//! on rows that the others explain badly, which may cost objective at first: the model before is kept and wins if better.

use crate::config::FitConfig;
use crate::em::{Em, Run};
use crate::error::HmmError;
use crate::model::Hmm;
use crate::observations::Observations;
use crate::start;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A state that was placed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reseed {
    /// Index into [`Fit::history`] of the first entry after it.
    pub iteration: usize,
    /// The state.
    pub state: usize,
}

/// A fitted model and how it came about.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The model.
    pub model: Hmm,
    /// log p(observations | model).
    pub log_likelihood: f64,
    /// Objective before each M-step, and at last that of the model. It never falls, save at a [`Reseed`].
    pub history: Vec<f64>,
    /// Whether the gain fell below the tolerance (rather than the iterations running out).
    pub converged: bool,
    /// States that were placed anew on the way.
    pub reseeded: Vec<Reseed>,
    /// States whose covariance stands on the floor, and states with less than half a row: look twice before using them.
    pub degenerate: Vec<usize>,
    /// Expected rows per state.
    pub weights: Vec<f64>,
    /// Objective that each start reached (those that were cut short included).
    pub starts: Vec<f64>,
}

impl Fit {
    /// Objective of the model: log-likelihood plus log priors.
    pub fn objective(&self) -> f64 {
        self.history.last().copied().unwrap_or(f64::NEG_INFINITY)
    }
}

impl FitConfig {
    /// Fits from this many starts and keeps the best.
    pub fn fit(&self, observations: &Observations<'_>) -> Result<Fit, HmmError> {
        self.check()?;
        let em = Em::new(self, observations)?;
        let mut begun = Vec::new();
        let mut last = None;
        for index in 0..self.starts {
            let seed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64);
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            match start::model(self, observations, &em.scale, index, &mut rng) {
                Ok(model) => begun.push((model, rng)),
                Err(refusal) => last = Some(refusal),
            }
        }
        let (mut runs, refusal) = em.begin(begun, self.short_iterations.min(self.iterations));
        last = refusal.or(last);
        last = em.advance(&mut runs).or(last);
        let starts = runs.iter().map(Run::objective).collect();
        runs.sort_by(|a, b| b.objective().total_cmp(&a.objective()));
        runs.truncate(self.survivors);
        runs.iter_mut().for_each(|run| run.extend(self.iterations));
        last = em.advance(&mut runs).or(last);
        let best = runs.into_iter().max_by(|a, b| a.objective().total_cmp(&b.objective()));
        let last = last.map_or_else(String::new, |refusal| refusal.to_string());
        best.map(|run| Fit { starts, ..run.into_fit() }).ok_or(HmmError::NoFit { starts: self.starts, last })
    }

    /// Fits again on later rows. The fit that goes on from `previous` is kept unless a fresh one is better by `margin` nats per
    /// row: likelihoods of market data have several summits of nearly one height, and a refit that jumps between them changes
    /// what its states mean for nothing. A margin of 0 keeps the best; .01 suits market data.
    pub fn refit(&self, previous: &Hmm, observations: &Observations<'_>, margin: f64) -> Result<Fit, HmmError> {
        if !(margin >= 0.0 && margin.is_finite()) {
            return Err(HmmError::Setting { what: "refit margin", value: margin, range: "zero or more and finite" });
        }
        let fresh = self.fit(observations);
        let Ok(continued) = self.fit_from(previous, observations) else { return fresh };
        let Ok(fresh) = fresh else { return Ok(continued) };
        let enough = continued.objective() + margin * observations.len() as f64;
        Ok(if fresh.objective() > enough { fresh } else { continued })
    }

    /// Fits from one given model; its states, covariance shape and emission family are kept whatever the settings say.
    pub fn fit_from(&self, model: &Hmm, observations: &Observations<'_>) -> Result<Fit, HmmError> {
        self.check()?;
        let config = FitConfig { states: model.states(), ..self.clone() };
        observations.check_dims(model.dims())?;
        let rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let em = Em::new(&config, observations)?;
        let (mut runs, refusal) = em.begin(vec![(model.clone(), rng)], self.iterations);
        let refusal = em.advance(&mut runs).or(refusal);
        match (runs.pop(), refusal) {
            (Some(run), _) => Ok(Fit { starts: vec![run.objective()], ..run.into_fit() }),
            (None, Some(refusal)) => Err(refusal),
            (None, None) => Err(HmmError::NoFit { starts: 1, last: String::new() }),
        }
    }
}
