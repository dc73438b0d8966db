//! What a fit is asked for, with defaults that suit market data of any scale.

use crate::error::HmmError;
use crate::model::CovarianceKind;

/// Gaussian emissions, or Student-t with ν given or fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DegreesOfFreedom {
    /// Gaussian emissions.
    Gaussian,
    /// Student-t with this ν in every state.
    Fixed(f64),
    /// Student-t with ν estimated.
    Fitted {
        /// Where the iteration begins.
        start: f64,
        /// Lower bound; above 2 the covariance exists.
        least: f64,
        /// Upper bound; at 200 it is a Gaussian for all purposes.
        most: f64,
        /// One ν for all states rather than one each.
        shared: bool,
    },
}

impl DegreesOfFreedom {
    /// ν per state, started at 5, within [2.05, 200].
    pub const FITTED: DegreesOfFreedom = DegreesOfFreedom::Fitted { start: 5.0, least: 2.05, most: 200.0, shared: false };

    pub(crate) fn start(self) -> Option<f64> {
        match self {
            DegreesOfFreedom::Gaussian => None,
            DegreesOfFreedom::Fixed(dof) => Some(dof),
            DegreesOfFreedom::Fitted { start, .. } => Some(start),
        }
    }
}

/// A Dirichlet prior on every row of A, as counts added to the expected ones (0 is flat).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransitionPrior {
    /// Added to every transition.
    pub every: f64,
    /// Added to staying, on top: the stickiness of Fox et al. (2011).
    pub stay: f64,
}

/// A prior on covariances: as if `pseudo_rows` rows of covariance `relative_scale` · (the data's variances) had been seen.
///
/// Inverse gamma per variance for diagonal models, inverse Wishart for full and tied ones, in the parametrisation whose mode
/// update is (scatter + pseudo_rows · target) / (weight + pseudo_rows).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CovariancePrior {
    /// Weight of the prior in rows.
    pub pseudo_rows: f64,
    /// Its variances as a share of the data's.
    pub relative_scale: f64,
}

/// Settings of a fit. `FitConfig::new(states)` is plain maximum likelihood with ten starts; change what differs.
#[derive(Debug, Clone, PartialEq)]
pub struct FitConfig {
    /// K.
    pub states: usize,
    /// Shape of the covariances.
    pub covariance: CovarianceKind,
    /// Gaussian or Student-t.
    pub degrees_of_freedom: DegreesOfFreedom,
    /// Starts tried; each runs `short_iterations`, then the best `survivors` run on.
    pub starts: usize,
    /// Iterations of every start before the best are picked.
    pub short_iterations: usize,
    /// Starts that run to the end.
    pub survivors: usize,
    /// A gain per row below this ends the fit; 0 runs all iterations.
    pub tolerance: f64,
    /// Iterations at most.
    pub iterations: usize,
    /// Least variance in any direction, as a share of the data's variances.
    pub covariance_floor: f64,
    /// Prior on A; off by default.
    pub transition_prior: Option<TransitionPrior>,
    /// Prior on covariances; off by default.
    pub covariance_prior: Option<CovariancePrior>,
    /// Whether the first row's state has the chain's stationary distribution, rather than a start of its own.
    pub stationary_start: bool,
    /// How often, per start, states that lost their rows are placed anew.
    pub reseeds: usize,
    /// Seed of everything random; the same seed gives the same fit.
    pub seed: u64,
}

impl FitConfig {
    /// Maximum likelihood, full covariances, Gaussian, ten starts.
    pub fn new(states: usize) -> Self {
        FitConfig {
            states,
            covariance: CovarianceKind::Full,
            degrees_of_freedom: DegreesOfFreedom::Gaussian,
            starts: 10,
            short_iterations: 20,
            survivors: 3,
            tolerance: 1e-6,
            iterations: 200,
            covariance_floor: 1e-6,
            transition_prior: None,
            covariance_prior: None,
            stationary_start: false,
            reseeds: 2,
            seed: 0,
        }
    }

    /// Pseudo-counts of a transition.
    pub(crate) fn transition_count(&self, from: usize, to: usize) -> f64 {
        self.transition_prior.map_or(0.0, |p| p.every + if from == to { p.stay } else { 0.0 })
    }

    pub(crate) fn check(&self) -> Result<(), HmmError> {
        if self.states == 0 {
            return Err(HmmError::Empty { what: "the list of states" });
        }
        let within = |what, value: f64, range, ok: bool| if ok { Ok(()) } else { Err(HmmError::Setting { what, value, range }) };
        let not_negative = |what, value: f64| within(what, value, "zero or more and finite", value >= 0.0 && value.is_finite());
        within("starts", self.starts as f64, "at least 1", self.starts > 0)?;
        within("survivors", self.survivors as f64, "at least 1", self.survivors > 0)?;
        not_negative("tolerance", self.tolerance)?;
        let floor = self.covariance_floor;
        within("covariance_floor", floor, "above 0 and at most 1", floor > 0.0 && floor <= 1.0)?;
        if let Some(prior) = self.transition_prior {
            not_negative("transition_prior.every", prior.every)?;
            not_negative("transition_prior.stay", prior.stay)?;
        }
        if let Some(prior) = self.covariance_prior {
            not_negative("covariance_prior.pseudo_rows", prior.pseudo_rows)?;
            let scale = prior.relative_scale;
            within("covariance_prior.relative_scale", scale, "positive and finite", scale > 0.0 && scale.is_finite())?;
        }
        match self.degrees_of_freedom {
            DegreesOfFreedom::Gaussian => Ok(()),
            DegreesOfFreedom::Fixed(dof) => {
                within("degrees_of_freedom", dof, "positive and finite", dof > 0.0 && dof.is_finite())
            }
            DegreesOfFreedom::Fitted { start, least, most, .. } => {
                let ordered = least > 0.0 && least <= start && start <= most && most <= 1e4;
                within("degrees_of_freedom.start", start, "between its bounds, which lie in (0, 10000]", ordered)
            }
        }
    }
}
