//! Runs of EM, one by one or side by side.
//!
//! A run proposes a model, is told its E-step, and proposes the next, until it has converged or used up its iterations. Runs
//! don't know who evaluates their proposals: several at once share the lanes ([`crate::together`]), one or two take turns.

use crate::baum_welch::{Fit, Reseed};
use crate::config::{DegreesOfFreedom, FitConfig};
use crate::error::HmmError;
use crate::forward_backward::{self, Workspace};
use crate::kernel::Kernel;
use crate::m_step::{Scale, log_prior, m_step};
use crate::model::Hmm;
use crate::observations::Observations;
use crate::reseed::place_anew;
use crate::statistics::Statistics;
use crate::together::Together;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A state with fewer expected rows is degenerate.
const WEIGHT_MIN: f64 = 0.5;

/// One data set and one way to fit it.
pub(crate) struct Em<'a, 'o> {
    config: &'a FitConfig,
    observations: &'a Observations<'o>,
    pub scale: Scale,
}

/// A model with its E-step.
struct Point {
    model: Hmm,
    statistics: Statistics,
    objective: f64,
}

/// What a proposal is.
enum Proposal {
    Update { floored: Vec<usize> },
    Reseed { state: usize },
}

/// One start on its way.
pub(crate) struct Run {
    now: Point,
    history: Vec<f64>,
    converged: bool,
    stopped: bool,
    /// Iterations (M-steps and reseeds) done and allowed.
    done: usize,
    allowed: usize,
    floored: Vec<usize>,
    reseeded: Vec<Reseed>,
    /// The model before the latest reseed, with its history: it wins if better.
    fallback: Option<(Point, Vec<f64>)>,
    rng: Xoshiro256PlusPlus,
}

impl<'a, 'o> Em<'a, 'o> {
    pub(crate) fn new(config: &'a FitConfig, observations: &'a Observations<'o>) -> Result<Self, HmmError> {
        let present = |row: &[f64]| row.iter().any(|x| !x.is_nan());
        let rows = observations.flat().chunks_exact(observations.dims()).filter(|row| present(row)).count();
        if rows < config.states {
            return Err(HmmError::TooFewRows { rows, states: config.states });
        }
        Ok(Em { config, observations, scale: Scale::of(observations) })
    }

    /// Runs from the given models, evaluated once; a start that is refused is left out, and the last refusal told.
    pub(crate) fn begin(&self, models: Vec<(Hmm, Xoshiro256PlusPlus)>, allowed: usize) -> (Vec<Run>, Option<HmmError>) {
        let (mut models, rngs): (Vec<Hmm>, Vec<Xoshiro256PlusPlus>) = models.into_iter().unzip();
        if self.config.stationary_start {
            models.iter_mut().for_each(|model| *model = model.started_stationary().unwrap_or_else(|_| model.clone()));
        }
        let mut points = Vec::with_capacity(models.len());
        let mut engine = Engine::default();
        for some in models.chunks(Together::at_once()) {
            points.extend(engine.evaluate(self, some.to_vec()));
        }
        let mut refusal = None;
        let begun = |(point, rng): (Result<Point, HmmError>, _)| match point {
            Ok(now) => Some(Run {
                history: vec![now.objective],
                now,
                converged: false,
                stopped: false,
                done: 0,
                allowed,
                floored: Vec::new(),
                reseeded: Vec::new(),
                fallback: None,
                rng,
            }),
            Err(e) => {
                refusal = Some(e);
                None
            }
        };
        (points.into_iter().zip(rngs).filter_map(begun).collect(), refusal)
    }

    /// Takes all runs to their ends, batch by batch. A run that is refused on the way is dropped; the last refusal is told.
    pub(crate) fn advance(&self, runs: &mut Vec<Run>) -> Option<HmmError> {
        let mut engine = Engine::default();
        let mut refusal = None;
        let mut refused = vec![false; runs.len()];
        for (some, refused) in runs.chunks_mut(Together::at_once()).zip(refused.chunks_mut(Together::at_once())) {
            loop {
                let (mut models, mut proposals) = (Vec::new(), Vec::new());
                for (n, run) in some.iter_mut().enumerate() {
                    if refused[n] {
                        continue;
                    }
                    match run.propose(self) {
                        Ok(Some((model, proposal))) => {
                            models.push(model);
                            proposals.push((n, proposal));
                        }
                        Ok(None) => {}
                        Err(e) => (refused[n], refusal) = (true, Some(e)),
                    }
                }
                if models.is_empty() {
                    break;
                }
                for ((n, proposal), point) in proposals.into_iter().zip(engine.evaluate(self, models)) {
                    match point {
                        Ok(point) => some[n].accept(self, point, proposal),
                        Err(e) => (refused[n], refusal) = (true, Some(e)),
                    }
                }
            }
        }
        let mut at = 0..;
        runs.retain(|_| at.next().is_none_or(|n: usize| !refused[n]));
        refusal
    }

    fn point(&self, model: Hmm, statistics: Statistics) -> Point {
        let objective = statistics.log_likelihood + log_prior(&model, self.config, &self.scale);
        Point { model, statistics, objective }
    }
}

impl Run {
    pub(crate) fn objective(&self) -> f64 {
        self.fallback.as_ref().map_or(self.now.objective, |(point, _)| point.objective.max(self.now.objective))
    }

    /// Allows more iterations to a run that hasn't converged.
    pub(crate) fn extend(&mut self, allowed: usize) {
        self.allowed = allowed;
    }

    fn propose(&mut self, em: &Em<'_, '_>) -> Result<Option<(Hmm, Proposal)>, HmmError> {
        if self.converged || self.stopped || self.done >= self.allowed {
            return Ok(None);
        }
        self.done += 1;
        let weights = &self.now.statistics.weight;
        let dead = weights.iter().position(|w| *w < WEIGHT_MIN);
        if let Some(state) = dead.filter(|_| self.reseeded.len() < em.config.reseeds) {
            let mut model = place_anew(&self.now.model, weights, state, em.observations, &em.scale, &mut self.rng)?;
            if em.config.stationary_start {
                model = model.started_stationary()?;
            }
            return Ok(Some((model, Proposal::Reseed { state })));
        }
        let update = m_step(&self.now.model, &self.now.statistics, em.config, &em.scale)?;
        Ok(Some((update.model, Proposal::Update { floored: update.floored })))
    }

    fn accept(&mut self, em: &Em<'_, '_>, next: Point, proposal: Proposal) {
        match proposal {
            Proposal::Reseed { state } => {
                self.reseeded.push(Reseed { iteration: self.history.len(), state });
                let before = std::mem::replace(&mut self.now, next);
                if self.fallback.as_ref().is_none_or(|(point, _)| point.objective < before.objective) {
                    self.fallback = Some((before, self.history.clone()));
                }
            }
            Proposal::Update { floored } => {
                let gain = next.objective - self.now.objective;
                // Beyond rounding the objective can't fall; if it does, the step isn't taken.
                self.stopped = !(gain >= -1e-10 * (1.0 + self.now.objective.abs()));
                let enough = em.config.tolerance * em.observations.len() as f64;
                self.converged = !self.stopped && em.config.tolerance > 0.0 && gain < enough;
                if self.stopped || (self.converged && gain <= 0.0) {
                    return;
                }
                self.floored = floored;
                self.now = next;
            }
        }
        self.history.push(self.now.objective);
    }

    pub(crate) fn into_fit(mut self) -> Fit {
        if let Some((point, before)) = self.fallback.take().filter(|(point, _)| point.objective > self.now.objective) {
            self.reseeded.retain(|r| r.iteration < before.len());
            (self.now, self.history, self.converged) = (point, before, false);
        }
        let weights = self.now.statistics.weight;
        let mut degenerate = self.floored;
        degenerate.extend((0..weights.len()).filter(|&s| weights[s] < WEIGHT_MIN));
        degenerate.sort_unstable();
        degenerate.dedup();
        Fit {
            model: self.now.model,
            log_likelihood: self.now.statistics.log_likelihood,
            history: self.history,
            converged: self.converged,
            reseeded: self.reseeded,
            degenerate,
            weights,
            starts: Vec::new(),
        }
    }
}

/// E-steps, and the memory that they reuse.
#[derive(Default)]
struct Engine {
    single: Option<(Workspace, Statistics)>,
    together: Together,
}

impl Engine {
    /// Evaluates models of one shape, as many as go together.
    fn evaluate(&mut self, em: &Em<'_, '_>, models: Vec<Hmm>) -> Vec<Result<Point, HmmError>> {
        let fits_dof = matches!(em.config.degrees_of_freedom, DegreesOfFreedom::Fitted { .. });
        let kernel = |model: &Hmm| -> Result<Kernel, HmmError> {
            let mut kernel = Kernel::new(model)?;
            kernel.fits_dof = fits_dof;
            Ok(kernel)
        };
        let kernels: Vec<Result<Kernel, HmmError>> = models.iter().map(kernel).collect();
        let good = kernels.iter().map(Result::as_ref).collect::<Result<Vec<&Kernel>, _>>();
        if let Some(all) = good.ok().and_then(|kernels| self.together.e_step(&kernels, em.observations)) {
            return models.into_iter().zip(all).map(|(model, statistics)| Ok(em.point(model, statistics))).collect();
        }
        let each = models.into_iter().zip(kernels);
        each.map(|(model, kernel)| kernel.and_then(|kernel| self.evaluate_one(em, model, &kernel))).collect()
    }

    fn evaluate_one(&mut self, em: &Em<'_, '_>, model: Hmm, kernel: &Kernel) -> Result<Point, HmmError> {
        let (workspace, statistics) =
            self.single.get_or_insert_with(|| (Workspace::new(kernel), Statistics::new(kernel.states, kernel.dims, kernel.full)));
        forward_backward::e_step(kernel, em.observations, workspace, statistics)?;
        Ok(em.point(model, statistics.clone()))
    }
}
