//! One fit: rows of features become a model file and the figures by which it is judged.
//!
//! The last fifth of the rows is held out first: a model of the rows before it is scored on them (log-likelihood per bar, decided switches).
//! Then the model that is kept is fitted to all rows. It goes on from the model before it where there is one, otherwise from the
//! one that was scored, so that the score speaks of it. The model before it may have seen the held-out rows; then the scored fit is a fresh one.
//! Everything random is seeded: the same rows and settings give the same bytes.

use dataflows::model::{DAY_MS, Timeframe};
use hmm::ndarray::s;
use hmm::{
    CovarianceKind, DRIFT_BLOCK, DegreesOfFreedom, DriftReference, FitConfig, Hmm, HmmError, ModelFile, Observations, Scaling,
    StateLabel, Training, TransitionPrior, WalkForward, fingerprint, label_states,
};

use super::{Rows, TrainingError};
use crate::model_dir::{Against, Evaluation};

/// A fit needs as many bars as this for each parameter.
pub const BARS_PER_PARAMETER: usize = 10;
/// Nats per bar by which a fresh fit must beat the one that goes on from the model before.
const CONTINUITY: f64 = 0.01;
/// Degrees of freedom of Student-t emissions.
const STUDENT: f64 = 5.0;

/// The shape of the distribution in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emissions {
    /// Normal.
    Gaussian,
    /// Student-t with 5 degrees of freedom: one wild bar doesn't end a regime.
    Student,
}

/// What is fitted, and how it is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Names out of the view `features`.
    pub features: Vec<String>,
    /// K.
    pub states: usize,
    /// Shape of covariances.
    pub covariance: CovarianceKind,
    /// Shape of emissions.
    pub emissions: Emissions,
    /// Pseudo-counts of staying, added to every state.
    pub sticky: f64,
    /// Starts of the fit.
    pub starts: usize,
    /// Of everything random.
    pub seed: u64,
    /// Share of the rows, the last ones, that are held out for the score.
    pub held_out: f64,
    /// Schmitt trigger: a state is entered at this probability.
    pub enter: f64,
    /// Schmitt trigger: below this it is held without conviction.
    pub leave: f64,
}

impl Settings {
    /// What was found to keep its meaning across refits on recorded 4h bars: three states, Student-t, diagonal, sticky.
    #[must_use]
    pub fn new(features: Vec<String>) -> Self {
        Self {
            features,
            states: 3,
            covariance: CovarianceKind::Diagonal,
            emissions: Emissions::Student,
            sticky: 20.0,
            starts: 10,
            seed: 0,
            held_out: 0.2,
            enter: 0.8,
            leave: 0.5,
        }
    }

    /// As the fit is told.
    #[must_use]
    pub fn config(&self) -> FitConfig {
        FitConfig {
            covariance: self.covariance,
            degrees_of_freedom: match self.emissions {
                Emissions::Gaussian => DegreesOfFreedom::Gaussian,
                Emissions::Student => DegreesOfFreedom::Fixed(STUDENT),
            },
            transition_prior: (self.sticky > 0.0).then_some(TransitionPrior { every: 0.0, stay: self.sticky }),
            starts: self.starts,
            seed: self.seed,
            ..FitConfig::new(self.states)
        }
    }

    /// Free parameters of such a model.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let (k, d) = (self.states, self.features.len());
        let spread = match self.covariance {
            CovarianceKind::Diagonal => k * d,
            CovarianceKind::Full => k * d * (d + 1) / 2,
            CovarianceKind::Tied => d * (d + 1) / 2,
        };
        (k * k).saturating_sub(1) + k * d + spread
    }

    /// The trigger and the continuity, for `train` rows and `test` after them.
    #[must_use]
    pub fn walk(&self, train: usize, test: usize) -> WalkForward {
        WalkForward { continuity: Some(CONTINUITY), enter: self.enter, leave: self.leave, ..WalkForward::new(train, test) }
    }

    fn covariance_name(&self) -> &'static str {
        match self.covariance {
            CovarianceKind::Diagonal => "diagonal",
            CovarianceKind::Full => "full",
            CovarianceKind::Tied => "tied",
        }
    }
}

impl Emissions {
    fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Student => "t",
        }
    }
}

/// A model to go on from or to be compared with.
#[derive(Clone, Debug)]
pub struct Known {
    /// `btc-4h.v3`.
    pub name: String,
    /// The file.
    pub file: ModelFile,
}

/// What a fit gives.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Ready to be written.
    pub file: ModelFile,
    /// Its figures.
    pub evaluation: Evaluation,
}

/// Fits a model to all rows, having scored one on the last of them. `active` is the model that speaks of them today: the fit goes on
/// from it, and is compared with it on rows that neither has seen.
///
/// # Errors
/// Too few rows for the parameters, or what the fit says.
pub fn fit(rows: &Rows, settings: &Settings, active: Option<&Known>) -> Result<Fitted, TrainingError> {
    let (bars, parameters) = (rows.len(), settings.parameters());
    let needed = BARS_PER_PARAMETER * parameters;
    if bars < needed {
        return Err(TrainingError::TooFewBars { target: rows.target.clone(), bars, parameters, needed });
    }
    try_fit(rows, settings, active).map_err(|source| TrainingError::Fit {
        target: rows.target.clone(),
        states: settings.states,
        bars,
        source,
    })
}

fn try_fit(rows: &Rows, settings: &Settings, active: Option<&Known>) -> Result<Fitted, HmmError> {
    let config = settings.config();
    let comparable = active.filter(|known| known.file.features == settings.features);
    let active = comparable.filter(|known| is_alike(&known.file, settings));
    let before = active.map(|known| known.file.in_feature_units()).transpose()?;

    let held_out = ((rows.len() as f64 * settings.held_out) as usize).clamp(1, rows.len() / 2);
    let split = rows.len() - held_out;
    let walk = settings.walk(split, held_out);
    let fold = hmm::FoldRows { train: 0..split, test: split..rows.len() };
    let has_not_seen = |file: &ModelFile| file.training.as_ref().is_some_and(|training| training.to_ms < rows.ts[split]);
    let goes_on = before.as_ref().filter(|_| active.is_some_and(|known| has_not_seen(&known.file)));
    let scored = walk.evaluate(&config, rows.values.view(), &rows.returns, &fold, goes_on)?;

    let against = comparable.map(|known| compare(known, &scored.model, rows, split, &walk)).transpose()?;

    let (file, degenerate_states) = kept(rows, settings, before.as_ref(), &scored.model)?;
    let log_likelihood = file.training.as_ref().map_or(f64::NAN, |training| training.log_likelihood);
    let evaluation = Evaluation {
        bars: rows.len() as u64,
        states: settings.states as u32,
        covariance: settings.covariance_name().to_owned(),
        emissions: settings.emissions.name().to_owned(),
        features: settings.features.clone(),
        trained_from: rows.ts[0],
        trained_to: rows.ts[rows.len() - 1],
        log_likelihood,
        bic: settings.parameters() as f64 * (rows.len() as f64).ln() - 2.0 * log_likelihood,
        oos_bars: held_out as u64,
        oos_log_likelihood_per_bar: scored.log_likelihood_per_row,
        oos_switches: scored.switches as u64,
        switches_per_year: scored.switches as f64 / held_out as f64 * bars_per_year(rows.timeframe),
        labels: file.labels.iter().flatten().map(|state| state.label.name().to_owned()).collect(),
        degenerate_states,
        against,
    };
    Ok(Fitted { file, evaluation })
}

/// The model that is kept, of all rows, and how many of its states are degenerate. `before` and `scored` are in the features' own units.
fn kept(rows: &Rows, settings: &Settings, before: Option<&Hmm>, scored: &Hmm) -> Result<(ModelFile, u32), HmmError> {
    let config = settings.config();
    let observations = Observations::new(rows.values.view())?;
    let scaling = Scaling::of(&observations);
    let before = before.map(|before| before.scaled(&scaling)).transpose()?;
    let standardised = scaling.applied(rows.values.view())?;
    let standardised = Observations::new(standardised.view())?;
    let fitted = match &before {
        Some(before) => config.refit(before, &standardised, CONTINUITY)?,
        None => config.fit_from(&scored.scaled(&scaling)?, &standardised)?,
    };
    let model = named(fitted.model, before.as_ref(), rows, &standardised)?;
    let labels = labels(&model, &rows.returns, &standardised)?;
    let training = Training {
        from_ms: rows.ts[0],
        to_ms: rows.ts[rows.len() - 1],
        rows: rows.len() as u64,
        hash: fingerprint(rows.values.view()),
        log_likelihood: model.unscaled(&scaling)?.log_likelihood(&observations)?,
    };
    let drift = DriftReference::of(&model.surprises(&standardised)?, DRIFT_BLOCK);
    let (features, scaling, training, labels) = (settings.features.clone(), Some(scaling), Some(training), Some(labels));
    Ok((ModelFile { model, features, scaling, training, labels, drift }, fitted.degenerate.len() as u32))
}

/// Continuity needs the same shape. (Likelihoods compare between all models that read the same features.)
fn is_alike(file: &ModelFile, settings: &Settings) -> bool {
    let emission = file.model.emission();
    file.model.states() == settings.states
        && emission.covariance.kind() == settings.covariance
        && emission.degrees_of_freedom.is_some() == (settings.emissions == Emissions::Student)
}

/// States keep the places of those that they match in the model before; a first model's rise by mean return.
fn named(model: Hmm, before: Option<&Hmm>, rows: &Rows, observations: &Observations<'_>) -> Result<Hmm, HmmError> {
    let order = match before {
        Some(before) => before.matching(&model)?,
        None => {
            let means: Vec<f64> = labels(&model, &rows.returns, observations)?.iter().map(|state| state.mean_return).collect();
            let mut order: Vec<usize> = (0..means.len()).collect();
            order.sort_by(|&a, &b| means[a].total_cmp(&means[b]));
            order
        }
    };
    model.reordered(&order)
}

fn labels(model: &Hmm, returns: &[f64], observations: &Observations<'_>) -> Result<Vec<StateLabel>, HmmError> {
    label_states(returns, model.smoothed(observations)?.probabilities.view())
}

/// Both on the held-out bars that open after the active model's training: neither has seen them.
fn compare(known: &Known, scored: &Hmm, rows: &Rows, split: usize, walk: &WalkForward) -> Result<Against, HmmError> {
    let trained_to = known.file.training.as_ref().map_or(i64::MAX, |training| training.to_ms);
    let first = rows.ts.partition_point(|&ts| ts <= trained_to).max(split);
    let bars = rows.len() - first;
    let all = Observations::new(rows.values.slice(s![.., ..]))?;
    let per_bar = |model: &Hmm| -> Result<f64, HmmError> {
        let (log_likelihood, _) = walk.live(model, &all, first)?;
        Ok(if bars > 0 { log_likelihood / bars as f64 } else { 0.0 })
    };
    Ok(Against {
        model: known.name.clone(),
        bars: bars as u64,
        log_likelihood_per_bar: per_bar(&known.file.in_feature_units()?)?,
        own_log_likelihood_per_bar: per_bar(scored)?,
    })
}

/// Bars of a year of 365 days.
#[must_use]
pub fn bars_per_year(timeframe: Timeframe) -> f64 {
    (365 * DAY_MS) as f64 / timeframe.ms() as f64
}
