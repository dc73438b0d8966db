//! A directory of models: `NAME.vN.json` ([`hmm::ModelFile`]) and `models.json`, which says what each is used for.
//!
//! ```json
//! { "releases": [
//!     { "model": "btc-4h", "version": 3, "symbols": ["BTC-USDT-PERP"], "timeframe": "4h",
//!       "status": "active", "active_from": 1760227200000 }
//! ] }
//! ```
//!
//! `status` is `candidate`, `active` or `retired`; `active_from` (UTC ms, 0 if left out) is the opening of the first bar for which it
//! holds. Entries are never taken out, only added: going back to an older version is a new entry of that version, so that a
//! replay says of each bar what was said of it live. A file that no entry names is not read.
//!
//! [`shelf`] writes (two processes at once lose nothing), [`promotion`] decides which version speaks, [`standing`] sums up. An entry that training made
//! holds its figures (`evaluation`), which promotion is decided by.

pub mod promotion;
pub mod shelf;
pub mod standing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use dataflows::model::{ModelId, Timeframe};
use dataflows::models::{Model, Release, Status};
use serde::{Deserialize, Serialize};
use standing::Standing;

/// The file that says what each model is used for.
pub const MODELS_FILE: &str = "models.json";

/// What `models.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// In any order.
    pub releases: Vec<Entry>,
}

/// What a model is used for, from when on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Canonical symbols, each on all venues.
    pub symbols: Vec<String>,
    /// `1m` … `1w`.
    pub timeframe: String,
    /// What it is.
    pub status: Status,
    /// Of bars that open from here on, UTC ms.
    #[serde(default)]
    pub active_from: i64,
    /// How good it is, where training made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

/// A model's figures, in the features' own units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Bars that it was fitted to.
    pub bars: u64,
    /// K.
    pub states: u32,
    /// `diagonal`, `full` or `tied`.
    pub covariance: String,
    /// `gaussian` or `t`.
    pub emissions: String,
    /// What it reads.
    pub features: Vec<String>,
    /// The first training bar's opening, UTC ms.
    pub trained_from: i64,
    /// The last one's.
    pub trained_to: i64,
    /// Of the training bars.
    pub log_likelihood: f64,
    /// Schwarz's criterion of them.
    pub bic: f64,
    /// Bars that were held out for the figures that follow, which are of a model fitted to the bars before them.
    pub oos_bars: u64,
    /// log p(bar | bars before), nats.
    pub oos_log_likelihood_per_bar: f64,
    /// Changes of the decided state.
    pub oos_switches: u64,
    /// The same, a year of 365 days.
    pub switches_per_year: f64,
    /// Labels of the states.
    pub labels: Vec<String>,
    /// States that died or shrank to a point: fewer would have done.
    #[serde(default)]
    pub degenerate_states: u32,
    /// Beside the model that was active when it was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// Two models on the same bars, which neither was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// The other: `btc-4h.v3`.
    pub model: String,
    /// Bars.
    pub bars: u64,
    /// The other's log-likelihood per bar, nats.
    pub log_likelihood_per_bar: f64,
    /// This one's (fitted to the bars before the held-out ones).
    pub own_log_likelihood_per_bar: f64,
}

impl Entry {
    /// Its model.
    #[must_use]
    pub fn id(&self) -> ModelId {
        ModelId { name: self.model.as_str().into(), version: self.version }
    }
}

/// The path of a model's file.
#[must_use]
pub fn path_of(dir: &Path, id: &ModelId) -> PathBuf {
    dir.join(format!("{id}.json"))
}

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// For the dataflow.
    pub releases: Vec<Release>,
    /// For the view `models`.
    pub standings: Vec<Standing>,
}

/// Reads a directory.
///
/// # Errors
/// If `models.json` or a model that it names can't be read, or names a time frame that isn't.
pub fn load(dir: &Path) -> anyhow::Result<Models> {
    of_listing(dir, &read_listing(dir)?)
}

/// What a listing that has been read says.
///
/// # Errors
/// As [`load`].
pub fn of_listing(dir: &Path, listing: &Listing) -> anyhow::Result<Models> {
    Ok(Models { releases: releases(dir, &listing.releases)?, standings: standing::of(dir, listing)? })
}

/// What entries say to the dataflow.
///
/// # Errors
/// If a model that they name can't be read, or they name a time frame that isn't.
pub fn releases(dir: &Path, entries: &[Entry]) -> anyhow::Result<Vec<Release>> {
    let path = dir.join(MODELS_FILE);
    let mut models: HashMap<ModelId, Arc<Model>> = HashMap::new();
    let mut releases = Vec::new();
    for entry in entries {
        let id = entry.id();
        let Some(timeframe) = Timeframe::from_name(&entry.timeframe) else {
            anyhow::bail!(
                "{}: the time frame of {id} is `{}`; write 1m, 5m, 15m, 1h, 4h, 1d or 1w",
                path.display(),
                entry.timeframe
            );
        };
        let model = match models.get(&id) {
            Some(model) => Arc::clone(model),
            None => {
                let model = Arc::new(read(dir, &id)?);
                models.insert(id, Arc::clone(&model));
                model
            }
        };
        releases.extend(entry.symbols.iter().map(|symbol| Release {
            symbol: symbol.as_str().into(),
            timeframe,
            active_from: entry.active_from,
            status: entry.status,
            model: Arc::clone(&model),
        }));
    }
    Ok(releases)
}

/// Reads `models.json` alone.
///
/// # Errors
/// If it can't be read.
pub fn read_listing(dir: &Path) -> anyhow::Result<Listing> {
    let path = dir.join(MODELS_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// Reads a model's file.
///
/// # Errors
/// If there is none, or it holds something else.
pub fn read_file(dir: &Path, id: &ModelId) -> anyhow::Result<hmm::ModelFile> {
    let path = path_of(dir, id);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    hmm::ModelFile::from_json(&text).with_context(|| format!("reading {}", path.display()))
}

fn read(dir: &Path, id: &ModelId) -> anyhow::Result<Model> {
    let path = path_of(dir, id);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}, which {MODELS_FILE} names", path.display()))?;
    Ok(Model::from_json(id.clone(), &text)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use hmm::ndarray::{Array2, arr2};
    use hmm::{Covariance, Emission, Hmm, ModelFile};

    fn model() -> ModelFile {
        let emission = Emission::gaussian(arr2(&[[-1.0], [1.0]]), Covariance::Diagonal(Array2::ones((2, 1))));
        ModelFile {
            model: Hmm::new(vec![0.5, 0.5].into(), arr2(&[[0.9, 0.1], [0.1, 0.9]]), emission).unwrap(),
            features: vec!["rsi_14".to_owned()],
            scaling: None,
            training: None,
            labels: None,
            drift: None,
        }
    }

    #[test]
    fn an_entry_is_a_release_for_each_of_its_symbols() {
        let dir = tempfile::tempdir().unwrap();
        let entry = Entry {
            model: "majors-4h".into(),
            version: 3,
            symbols: vec!["BTC-USDT-PERP".into(), "ETH-USDT-PERP".into()],
            timeframe: "4h".into(),
            status: Status::Active,
            active_from: 1_760_227_200_000,
            evaluation: None,
        };
        let listing = |entry: &Entry| serde_json::to_string(&Listing { releases: vec![entry.clone()] }).unwrap();
        std::fs::write(dir.path().join(MODELS_FILE), listing(&entry)).unwrap();
        let missing = load(dir.path()).unwrap_err();
        assert!(format!("{missing:#}").contains("majors-4h.v3.json, which models.json names"), "{missing:#}");

        std::fs::write(dir.path().join("majors-4h.v3.json"), model().to_json().unwrap()).unwrap();
        let releases = load(dir.path()).unwrap().releases;
        let said: Vec<_> = releases.iter().map(|r| (&*r.symbol, r.timeframe, r.active_from, r.model.id.to_string())).collect();
        let from = 1_760_227_200_000;
        let of = |symbol| (symbol, Timeframe::H4, from, "majors-4h.v3".to_owned());
        assert_eq!(said, [of("BTC-USDT-PERP"), of("ETH-USDT-PERP")]);

        let weekly = Entry { timeframe: "2h".into(), ..entry };
        std::fs::write(dir.path().join(MODELS_FILE), listing(&weekly)).unwrap();
        assert!(format!("{:#}", load(dir.path()).unwrap_err()).contains("`2h`; write 1m"));
    }

    #[test]
    fn a_model_of_unknown_features_is_refused_by_name() {
        let text = ModelFile { features: vec!["moon_phase".to_owned()], ..model() }.to_json().unwrap();
        let error = Model::from_json(ModelId { name: "x".into(), version: 1 }, &text).unwrap_err().to_string();
        assert!(error.starts_with("model x.v1 reads the feature `moon_phase`; known are log_return"), "{error}");
    }
}
