//! Models as data: which hidden Markov model speaks of which bars, and from when.
//!
//! A [`Release`] says that a version of a model is a candidate, active or retired for one symbol and time frame from a bar on. The views
//! follow from the set of all releases, not from when they were heard of: an active model takes over at the first bar that opens at or
//! after `active_from`, and relabels none before it. It never speaks of a bar of its own training range. Going back to an
//! older version is a release of that version with a later `active_from`.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hmm::{Hmm, Label, ModelFile, Scaling};
use serde::{Deserialize, Serialize};

use crate::model::{FEATURES, ModelId, Real, Timeframe};

/// More states than this are refused: rows hold one number per state and step ahead.
pub const STATES_MAX: usize = 16;

/// Why a model can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Its file can't be read.
    #[error("model {id}: {source}")]
    File {
        /// Which model.
        id: ModelId,
        /// What the file's reader says.
        source: hmm::HmmError,
    },
    /// It reads what nobody computes.
    #[error("model {id} reads the feature `{name}`; known are {}", FEATURES.join(", "))]
    Feature {
        /// Which model.
        id: ModelId,
        /// The feature.
        name: String,
    },
    /// Too many states.
    #[error("model {id} has {states} states; at most {STATES_MAX} are supported")]
    States {
        /// Which model.
        id: ModelId,
        /// How many.
        states: usize,
    },
}

/// A model, checked and ready to be copied into chains. Its text travels with it.
#[derive(Debug)]
pub struct Model {
    /// Its name and version.
    pub id: ModelId,
    /// Where the features that it reads are in a row of [`crate::model::Features`].
    pub columns: Box<[usize]>,
    /// The parameters, started from the stationary distribution: a chain that restarts knows nothing of before.
    pub hmm: Hmm,
    /// The labels of its states; empty if it has none.
    pub labels: Box<[Label]>,
    /// Expected bars that each state lasts; `None`: for ever.
    pub durations: Box<[Option<Real>]>,
    /// What its drift is measured against.
    pub drift: Option<hmm::DriftReference>,
    /// The opening of the last bar that it was trained on, UTC ms.
    pub trained_to: Option<i64>,
    scaling: Option<Scaling>,
    text: Arc<str>,
}

impl Model {
    /// Reads the text of an [`hmm::ModelFile`].
    ///
    /// # Errors
    /// If it is none, or has more states than [`STATES_MAX`].
    pub fn from_json(id: ModelId, text: &str) -> Result<Self, ModelError> {
        let file = ModelFile::from_json(text).and_then(|file| Ok((file.model.started_stationary()?, file)));
        let (hmm, file) = match file {
            Ok(read) => read,
            Err(source) => return Err(ModelError::File { id, source }),
        };
        let states = hmm.states();
        if states > STATES_MAX {
            return Err(ModelError::States { id, states });
        }
        let column = |name: &String| match FEATURES.iter().position(|known| known == name) {
            Some(column) => Ok(column),
            None => Err(ModelError::Feature { id: id.clone(), name: name.clone() }),
        };
        let columns = file.features.iter().map(column).collect::<Result<_, _>>()?;
        let durations = hmm.expected_durations();
        Ok(Self {
            id,
            durations: durations.iter().map(|bars| bars.is_finite().then_some(Real(*bars))).collect(),
            labels: file.labels.iter().flatten().map(|state| state.label).collect(),
            columns,
            hmm,
            drift: file.drift,
            trained_to: file.training.map(|training| training.to_ms),
            scaling: file.scaling,
            text: text.into(),
        })
    }

    /// A state's label.
    #[must_use]
    pub fn label(&self, state: usize) -> Option<Label> {
        self.labels.get(state).copied()
    }

    /// Whether it standardises what it reads, so that the training rows have mean 0 and variance 1.
    #[must_use]
    pub fn is_standardised(&self) -> bool {
        self.scaling.is_some()
    }

    /// Standardises a row as the training rows were.
    pub fn standardise(&self, row: &mut [f64]) {
        if let Some(scaling) = &self.scaling {
            scaling.apply(row);
        }
    }
}

/// What a release makes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It infers beside the active one, and is not heard.
    Candidate,
    /// It speaks no longer, and infers no longer.
    Retired,
    /// It speaks.
    Active,
}

/// A model's place: from when on it is what for one symbol and time frame. Equal and ordered by all but the model's parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct Release {
    /// Canonical symbol, on all venues: `BTC-USDT-PERP`.
    pub symbol: Arc<str>,
    /// Of which bars.
    pub timeframe: Timeframe,
    /// Bars that open from here on, UTC ms.
    pub active_from: i64,
    /// What the model is from then on.
    pub status: Status,
    /// The model.
    pub model: Arc<Model>,
}

impl Release {
    /// The first instant whose bars it may speak of: after the takeover, and after its training range.
    #[must_use]
    pub fn from(&self) -> i64 {
        self.model.trained_to.map_or(self.active_from, |trained_to| self.active_from.max(trained_to.saturating_add(1)))
    }

    fn order(&self) -> (i64, Status, u32, &str, &str, Timeframe) {
        let ModelId { name, version } = &self.model.id;
        (self.from(), self.status, *version, name, &self.symbol, self.timeframe)
    }
}

impl PartialEq for Release {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}
impl Eq for Release {}
impl PartialOrd for Release {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Release {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}
impl Hash for Release {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.order().hash(state);
    }
}

/// A release as it travels between workers of several processes.
#[derive(Serialize, Deserialize)]
struct Record {
    symbol: Arc<str>,
    timeframe: Timeframe,
    active_from: i64,
    status: Status,
    id: ModelId,
    text: Arc<str>,
}

impl From<Release> for Record {
    fn from(release: Release) -> Self {
        let Release { symbol, timeframe, active_from, status, model } = release;
        Self { symbol, timeframe, active_from, status, id: model.id.clone(), text: Arc::clone(&model.text) }
    }
}

impl TryFrom<Record> for Release {
    type Error = ModelError;

    fn try_from(record: Record) -> Result<Self, ModelError> {
        let Record { symbol, timeframe, active_from, status, id, text } = record;
        Ok(Self { symbol, timeframe, active_from, status, model: Arc::new(Model::from_json(id, &text)?) })
    }
}
