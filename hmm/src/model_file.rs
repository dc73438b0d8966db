//! Models on disk: JSON with a version, so that a file outlives the program that wrote it.
//!
//! Version 1. Everything that inference needs travels along: feature names in order, the training scaling, the range and a
//! hash of the training rows. Numbers come back with the same bits. An unknown version is refused by name; unknown fields of
//! a known version are ignored, missing optional ones are absent.

use crate::drift::DriftReference;
use crate::error::HmmError;
use crate::labels::StateLabel;
use crate::model::{Covariance, Emission, Hmm};
use crate::scaling::Scaling;
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// The newest version that this crate reads, and the one it writes.
pub const VERSION: u64 = 1;

/// The rows that a model was fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Time of the first row, in milliseconds since 1970.
    pub from_ms: i64,
    /// Time of the last row.
    pub to_ms: i64,
    /// Number of rows.
    pub rows: u64,
    /// [`fingerprint`] of the rows, or a hash of the caller's own.
    pub hash: String,
    /// Log-likelihood of the fit.
    pub log_likelihood: f64,
}

/// A model with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The model.
    pub model: Hmm,
    /// Feature names, one per dimension.
    pub features: Vec<String>,
    /// Standardisation, if any.
    pub scaling: Option<Scaling>,
    /// Where it comes from, if known.
    pub training: Option<Training>,
    /// One label per state, if given: labels belong to a model, not to a market.
    pub labels: Option<Vec<StateLabel>>,
    /// The training rows' surprise, which drift is measured against.
    pub drift: Option<DriftReference>,
}

#[derive(Serialize, Deserialize)]
struct Version1 {
    version: u64,
    features: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaling: Option<Scaling>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training: Option<Training>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<StateLabel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drift: Option<DriftReference>,
    start: Vec<f64>,
    transition: Vec<Vec<f64>>,
    means: Vec<Vec<f64>>,
    covariance: CovarianceFile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    degrees_of_freedom: Option<Vec<f64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CovarianceFile {
    Diagonal(Vec<Vec<f64>>),
    Full(Vec<Vec<Vec<f64>>>),
    Tied(Vec<Vec<f64>>),
}

#[derive(Deserialize)]
struct OnlyVersion {
    version: u64,
}

impl ModelFile {
    /// The file's text.
    pub fn to_json(&self) -> Result<String, HmmError> {
        let emission = self.model.emission();
        let covariance = match &emission.covariance {
            Covariance::Diagonal(v) => CovarianceFile::Diagonal(rows(v.view())),
            Covariance::Full(m) => CovarianceFile::Full(m.axis_iter(Axis(0)).map(rows).collect()),
            Covariance::Tied(m) => CovarianceFile::Tied(rows(m.view())),
        };
        let file = Version1 {
            version: VERSION,
            features: self.features.clone(),
            scaling: self.scaling.clone(),
            training: self.training.clone(),
            labels: self.labels.clone(),
            drift: self.drift,
            start: self.model.start().to_vec(),
            transition: rows(self.model.transition()),
            means: rows(emission.means.view()),
            covariance,
            degrees_of_freedom: emission.degrees_of_freedom.as_ref().map(|v| v.to_vec()),
        };
        serde_json::to_string_pretty(&file).map_err(|e| HmmError::File(e.to_string()))
    }

    /// Reads a file's text, and checks the model as [`Hmm::new`] does.
    pub fn from_json(text: &str) -> Result<Self, HmmError> {
        let refuse = |e: serde_json::Error| HmmError::File(e.to_string());
        let OnlyVersion { version: found } = serde_json::from_str(text).map_err(refuse)?;
        if found != VERSION {
            return Err(HmmError::UnknownVersion { found, supported: VERSION });
        }
        let file: Version1 = serde_json::from_str(text).map_err(refuse)?;
        let covariance = match file.covariance {
            CovarianceFile::Diagonal(v) => Covariance::Diagonal(array("variances", v)?),
            CovarianceFile::Tied(m) => Covariance::Tied(array("covariance", m)?),
            CovarianceFile::Full(all) => {
                let parts = all.into_iter().map(|m| array("covariance", m)).collect::<Result<Vec<_>, _>>()?;
                let (d, k) = (parts.first().map_or(0, |m| m.nrows()), parts.len());
                if let Some(odd) = parts.iter().find(|m| m.dim() != (d, d)) {
                    return Err(HmmError::Shape { what: "covariance", expected: d * d, found: odd.len() });
                }
                Covariance::Full(Array3::from_shape_fn((k, d, d), |(s, i, j)| parts[s][[i, j]]))
            }
        };
        let emission = Emission {
            means: array("means", file.means)?,
            covariance,
            degrees_of_freedom: file.degrees_of_freedom.map(Array1::from),
        };
        let model = Hmm::new(file.start.into(), array("transition", file.transition)?, emission)?;
        let (expected, found) = (model.dims(), file.features.len());
        if expected != found {
            return Err(HmmError::Shape { what: "features", expected, found });
        }
        if let Some(found) = file.scaling.as_ref().map(|s| s.mean.len().max(s.deviation.len())).filter(|n| *n != expected) {
            return Err(HmmError::Shape { what: "scaling", expected, found });
        }
        if let Some(found) = file.labels.as_ref().map(Vec::len).filter(|n| *n != model.states()) {
            return Err(HmmError::Shape { what: "labels", expected: model.states(), found });
        }
        let (features, scaling, training) = (file.features, file.scaling, file.training);
        Ok(ModelFile { model, features, scaling, training, labels: file.labels, drift: file.drift })
    }

    /// The model in the features' own units: rows go in as they are, and log-likelihoods compare with those of other models.
    pub fn in_feature_units(&self) -> Result<Hmm, HmmError> {
        match &self.scaling {
            Some(scaling) => self.model.unscaled(scaling),
            None => Ok(self.model.clone()),
        }
    }
}

/// FNV-1a (64 bit) over the rows' bits, as "fnv1a64:…": tells training sets apart; no defence against forgery.
pub fn fingerprint(rows: ArrayView2<'_, f64>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let bytes = [rows.nrows() as u64, rows.ncols() as u64].into_iter().chain(rows.iter().map(|v| v.to_bits()));
    for byte in bytes.flat_map(u64::to_le_bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("fnv1a64:{hash:016x}")
}

fn rows(matrix: ArrayView2<'_, f64>) -> Vec<Vec<f64>> {
    matrix.outer_iter().map(|row| row.to_vec()).collect()
}

fn array(what: &'static str, rows: Vec<Vec<f64>>) -> Result<Array2<f64>, HmmError> {
    let width = rows.first().map_or(0, Vec::len);
    let (expected, found) = (rows.len() * width, rows.iter().map(Vec::len).sum());
    if rows.iter().any(|r| r.len() != width) {
        return Err(HmmError::Shape { what, expected, found });
    }
    Array2::from_shape_vec((rows.len(), width), rows.concat()).map_err(|_| HmmError::Shape { what, expected, found })
}
