//! Baum–Welch: EM from many starts, the best kept.
//!
//! Every start runs a few iterations; the most promising run to the end. The objective is the log-likelihood plus the log
//! priors. It never falls: a step that would lower it by more than rounding is not taken. A state that lost its rows is put
//! on rows that the others explain badly, which may cost objective at first: the model before is kept and wins if better.

use crate::config::{DegreesOfFreedom, FitConfig};
use crate::emission::StateDensity;
use crate::error::HmmError;
use crate::forward_backward::{Workspace, e_step};
use crate::kernel::Kernel;
use crate::log_space::log_sum_exp;
use crate::m_step::{Scale, log_prior, m_step};
use crate::model::{Covariance, Hmm};
use crate::observations::Observations;
use crate::start;
use crate::statistics::Statistics;
use ndarray::{Array1, Array2, Array3};
use rand::{RngExt, SeedableRng};
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

/// A state with fewer expected rows is degenerate.
const WEIGHT_MIN: f64 = 0.5;

impl FitConfig {
    /// Fits from this many starts and keeps the best.
    pub fn fit(&self, observations: &Observations<'_>) -> Result<Fit, HmmError> {
        self.check()?;
        let em = Em::new(self, observations)?;
        let mut runs = Vec::new();
        let mut last = String::new();
        for index in 0..self.starts {
            let mut rng =
                Xoshiro256PlusPlus::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64));
            let begun = start::model(self, observations, &em.scale, index, &mut rng);
            match begun.and_then(|model| em.run(&model, self.short_iterations.min(self.iterations), self.reseeds, rng)) {
                Ok(run) => runs.push(run),
                Err(refusal) => last = refusal.to_string(),
            }
        }
        let starts = runs.iter().map(Fit::objective).collect();
        runs.sort_by(|a, b| b.objective().total_cmp(&a.objective()));
        runs.truncate(self.survivors);
        let finished = runs.into_iter().map(|run| em.finish(run, self.iterations)).collect::<Result<Vec<Fit>, _>>()?;
        let best = finished.into_iter().max_by(|a, b| a.objective().total_cmp(&b.objective()));
        best.map(|fit| Fit { starts, ..fit }).ok_or(HmmError::NoFit { starts: self.starts, last })
    }

    /// Fits from one given model; its states, covariance shape and emission family are kept whatever the settings say.
    pub fn fit_from(&self, model: &Hmm, observations: &Observations<'_>) -> Result<Fit, HmmError> {
        self.check()?;
        let config = FitConfig { states: model.states(), ..self.clone() };
        observations.check_dims(model.dims())?;
        let rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let fit = Em::new(&config, observations)?.run(model, self.iterations, self.reseeds, rng)?;
        Ok(Fit { starts: vec![fit.objective()], ..fit })
    }
}

/// One data set and one way to fit it.
struct Em<'a, 'o> {
    config: &'a FitConfig,
    observations: &'a Observations<'o>,
    scale: Scale,
}

/// A model with its E-step.
struct Point {
    model: Hmm,
    statistics: Statistics,
    objective: f64,
}

impl<'a, 'o> Em<'a, 'o> {
    fn new(config: &'a FitConfig, observations: &'a Observations<'o>) -> Result<Self, HmmError> {
        let present = |row: &[f64]| row.iter().any(|x| !x.is_nan());
        let rows = observations.flat().chunks_exact(observations.dims()).filter(|row| present(row)).count();
        if rows < config.states {
            return Err(HmmError::TooFewRows { rows, states: config.states });
        }
        Ok(Em { config, observations, scale: Scale::of(observations) })
    }

    fn point(&self, model: Hmm, workspace: &mut Workspace, statistics: &mut Statistics) -> Result<Point, HmmError> {
        let mut kernel = Kernel::new(&model)?;
        kernel.fits_dof = matches!(self.config.degrees_of_freedom, DegreesOfFreedom::Fitted { .. });
        e_step(&kernel, self.observations, workspace, statistics)?;
        let objective = statistics.log_likelihood + log_prior(&model, self.config, &self.scale);
        Ok(Point { model, statistics: statistics.clone(), objective })
    }

    fn run(&self, model: &Hmm, iterations: usize, reseeds: usize, mut rng: Xoshiro256PlusPlus) -> Result<Fit, HmmError> {
        let kernel = Kernel::new(model)?;
        let mut workspace = Workspace::new(&kernel);
        let mut buffer = Statistics::new(kernel.states, kernel.dims, kernel.full);
        let mut now = self.point(model.clone(), &mut workspace, &mut buffer)?;
        let mut history = vec![now.objective];
        let (mut converged, mut floored, mut reseeded) = (false, Vec::new(), Vec::new());
        // The model before the latest reseed, with its history.
        let mut fallback: Option<(Point, Vec<f64>)> = None;
        for _ in 0..iterations {
            let dead = (0..kernel.states).find(|&s| now.statistics.weight[s] < WEIGHT_MIN);
            if let (Some(state), true) = (dead, reseeded.len() < reseeds) {
                let fresh = self.place_anew(&now, state, &mut rng)?;
                reseeded.push(Reseed { iteration: history.len(), state });
                let next = self.point(fresh, &mut workspace, &mut buffer)?;
                let before = std::mem::replace(&mut now, next);
                if fallback.as_ref().is_none_or(|(point, _)| point.objective < before.objective) {
                    fallback = Some((before, history.clone()));
                }
                history.push(now.objective);
                continue;
            }
            let update = m_step(&now.model, &now.statistics, self.config, &self.scale)?;
            let next = self.point(update.model, &mut workspace, &mut buffer)?;
            let gain = next.objective - now.objective;
            if !(gain >= -1e-10 * (1.0 + now.objective.abs())) {
                break;
            }
            floored = update.floored;
            let rows = self.observations.len() as f64;
            if self.config.tolerance > 0.0 && gain < self.config.tolerance * rows {
                converged = true;
                if gain > 0.0 {
                    now = next;
                    history.push(now.objective);
                }
                break;
            }
            now = next;
            history.push(now.objective);
        }
        if let Some((point, before)) = fallback.filter(|(point, _)| point.objective > now.objective) {
            (now, history, converged) = (point, before, false);
        }
        Ok(self.fit(now, history, converged, floored, reseeded))
    }

    fn fit(&self, point: Point, history: Vec<f64>, converged: bool, floored: Vec<usize>, reseeded: Vec<Reseed>) -> Fit {
        let weights = point.statistics.weight.clone();
        let mut degenerate = floored;
        degenerate.extend((0..weights.len()).filter(|&s| weights[s] < WEIGHT_MIN));
        degenerate.sort_unstable();
        degenerate.dedup();
        let log_likelihood = point.statistics.log_likelihood;
        Fit { model: point.model, log_likelihood, history, converged, reseeded, degenerate, weights, starts: Vec::new() }
    }

    /// Runs a start on to the end.
    fn finish(&self, run: Fit, iterations: usize) -> Result<Fit, HmmError> {
        if run.converged || run.history.len() > iterations {
            return Ok(run);
        }
        let rng = Xoshiro256PlusPlus::seed_from_u64(self.config.seed);
        let left = self.config.reseeds.saturating_sub(run.reseeded.len());
        let rest = self.run(&run.model, iterations - (run.history.len() - 1), left, rng)?;
        let offset = run.history.len() - 1;
        let later = rest.reseeded.iter().map(|r| Reseed { iteration: r.iteration + offset, ..*r });
        Ok(Fit {
            history: run.history[..offset].iter().chain(&rest.history).copied().collect(),
            reseeded: run.reseeded.iter().copied().chain(later).collect(),
            ..rest
        })
    }

    /// Puts a state on a row that the model explains badly, with the data's own spread.
    fn place_anew(&self, point: &Point, state: usize, rng: &mut Xoshiro256PlusPlus) -> Result<Hmm, HmmError> {
        let (model, d) = (&point.model, point.model.dims());
        let densities = StateDensity::all(model.emission())?;
        let total: f64 = point.statistics.weight.iter().sum();
        let share = |s: usize| (point.statistics.weight[s] / total).max(1e-300).ln();
        let surprise = |row: &[f64]| -log_sum_exp(densities.iter().enumerate().map(|(s, p)| share(s) + p.log_density(row)));
        let rows = self.observations.flat().chunks_exact(d);
        let mut ranked: Vec<(f64, usize)> = rows.map(surprise).zip(0..).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (_, chosen) = ranked[rng.random_range(0..ranked.len().div_ceil(10))];
        let row = &self.observations.flat()[chosen * d..(chosen + 1) * d];
        let mut emission = model.emission().clone();
        (0..d).for_each(|i| emission.means[[state, i]] = if row[i].is_nan() { self.scale.mean[i] } else { row[i] });
        let variance = |i: usize, j: usize| if i == j { 0.5 * self.scale.variance[i] } else { 0.0 };
        emission.covariance = match emission.covariance {
            Covariance::Diagonal(mut v) => {
                v.row_mut(state).iter_mut().enumerate().for_each(|(i, v)| *v = variance(i, i));
                Covariance::Diagonal(v)
            }
            Covariance::Full(mut m) => {
                m.index_axis_mut(ndarray::Axis(0), state).indexed_iter_mut().for_each(|((i, j), v)| *v = variance(i, j));
                Covariance::Full(m)
            }
            tied => tied,
        };
        let k = model.states() as f64;
        let start = Array1::from_shape_fn(model.states(), |s| 0.9 * model.start()[s] + 0.1 / k);
        let mixed = |i: usize, j: usize| 0.95 * model.transition()[[i, j]] + 0.05 / k;
        let stay = |j: usize| if j == state { 0.9 + 0.1 / k } else { 0.1 / k };
        let side = (model.states(), model.states());
        let transition = Array2::from_shape_fn(side, |(i, j)| if i == state { stay(j) } else { mixed(i, j) });
        Hmm::new(start, transition, emission)
    }
}

/// Covariances of one shape from D × D matrices per state (tied: their mean).
pub(crate) fn covariance_of(kind: crate::model::CovarianceKind, matrices: &[Vec<f64>], dims: usize) -> Covariance {
    let k = matrices.len();
    match kind {
        crate::model::CovarianceKind::Diagonal => {
            Covariance::Diagonal(Array2::from_shape_fn((k, dims), |(s, i)| matrices[s][i * dims + i]))
        }
        crate::model::CovarianceKind::Full => {
            Covariance::Full(Array3::from_shape_fn((k, dims, dims), |(s, i, j)| matrices[s][i * dims + j]))
        }
        crate::model::CovarianceKind::Tied => Covariance::Tied(Array2::from_shape_fn((dims, dims), |(i, j)| {
            matrices.iter().map(|m| m[i * dims + j]).sum::<f64>() / k as f64
        })),
    }
}
