//! What each model is used for in the end, by all entries: the rows of the view `models`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use dataflows::models::Status;
use hmm::CovarianceKind;
use serde::Serialize;

use super::promotion::active;
use super::{Entry, Listing, read_file};

/// View `models`: a version of a model for one symbol and time frame. Key: name, version, symbol, timeframe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Canonical symbol.
    pub symbol: String,
    /// Of which bars.
    pub timeframe: String,
    /// `candidate`, `active` or `retired` (another took its place).
    pub status: &'static str,
    /// The opening of the first bar that it spoke of when it last took over, UTC ms; `None` if it never did.
    pub active_from: Option<i64>,
    /// The first training bar's opening, UTC ms.
    pub trained_from: Option<i64>,
    /// The last one's.
    pub trained_to: Option<i64>,
    /// Training bars.
    pub bars: Option<u64>,
    /// K.
    pub states: u32,
    /// `diagonal`, `full` or `tied`.
    pub covariance: String,
    /// `gaussian` or `t`.
    pub emissions: String,
    /// What it reads.
    pub features: Vec<String>,
    /// Labels of the states.
    pub labels: Vec<String>,
    /// Of the training bars, nats.
    pub log_likelihood: Option<f64>,
    /// Schwarz's criterion.
    pub bic: Option<f64>,
    /// Of held-out bars, nats.
    pub oos_log_likelihood_per_bar: Option<f64>,
    /// Changes of the decided regime on them.
    pub switches_per_year: Option<f64>,
}

/// Every version for every symbol, by symbol and time frame, in the order in which they were first listed. A model that training didn't make is described
/// by its file.
///
/// # Errors
/// If such a file can't be read.
pub fn of(dir: &Path, listing: &Listing) -> anyhow::Result<Vec<Standing>> {
    // By target: what speaks of one is nothing to another, and there may be thousands.
    let mut targets: BTreeMap<(&str, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in &listing.releases {
        for symbol in &entry.symbols {
            targets.entry((symbol, &entry.timeframe)).or_default().push(entry);
        }
    }
    let mut all = Vec::new();
    for ((symbol, _), entries) in targets {
        let listing = Listing { releases: entries.into_iter().cloned().collect() };
        let mut seen = HashSet::new();
        for entry in &listing.releases {
            if seen.insert((&entry.model, entry.version)) {
                all.push(one(dir, &listing, entry, symbol)?);
            }
        }
    }
    Ok(all)
}

fn one(dir: &Path, listing: &Listing, first: &Entry, symbol: &str) -> anyhow::Result<Standing> {
    let same = |e: &&Entry| {
        (&e.model, e.version, &e.timeframe) == (&first.model, first.version, &first.timeframe)
            && e.symbols.iter().any(|s| s == symbol)
    };
    let took_over = listing.releases.iter().filter(same).filter(|e| e.status == Status::Active).map(|e| e.active_from).max();
    let is_retired = listing.releases.iter().filter(same).any(|e| e.status == Status::Retired);
    let speaks = active(listing, symbol, &first.timeframe).is_some_and(|entry| entry.id() == first.id());
    let status = match (speaks, took_over.is_some() || is_retired) {
        (true, _) => "active",
        (false, true) => "retired",
        (false, false) => "candidate",
    };
    let row = Standing {
        model: first.model.clone(),
        version: first.version,
        symbol: symbol.to_owned(),
        timeframe: first.timeframe.clone(),
        status,
        active_from: took_over,
        ..described(dir, first)?
    };
    Ok(row)
}

fn described(dir: &Path, entry: &Entry) -> anyhow::Result<Standing> {
    let blank = |states: u32, covariance: &str, emissions: &str| Standing {
        model: String::new(),
        version: 0,
        symbol: String::new(),
        timeframe: String::new(),
        status: "",
        active_from: None,
        trained_from: None,
        trained_to: None,
        bars: None,
        states,
        covariance: covariance.to_owned(),
        emissions: emissions.to_owned(),
        features: Vec::new(),
        labels: Vec::new(),
        log_likelihood: None,
        bic: None,
        oos_log_likelihood_per_bar: None,
        switches_per_year: None,
    };
    if let Some(figures) = &entry.evaluation {
        return Ok(Standing {
            trained_from: Some(figures.trained_from),
            trained_to: Some(figures.trained_to),
            bars: Some(figures.bars),
            features: figures.features.clone(),
            labels: figures.labels.clone(),
            log_likelihood: Some(figures.log_likelihood),
            bic: Some(figures.bic),
            oos_log_likelihood_per_bar: Some(figures.oos_log_likelihood_per_bar),
            switches_per_year: Some(figures.switches_per_year),
            ..blank(figures.states, &figures.covariance, &figures.emissions)
        });
    }
    let file = read_file(dir, &entry.id())?;
    let emission = file.model.emission();
    let covariance = match emission.covariance.kind() {
        CovarianceKind::Diagonal => "diagonal",
        CovarianceKind::Full => "full",
        CovarianceKind::Tied => "tied",
    };
    let emissions = if emission.degrees_of_freedom.is_some() { "t" } else { "gaussian" };
    let training = file.training.as_ref();
    Ok(Standing {
        trained_from: training.map(|training| training.from_ms),
        trained_to: training.map(|training| training.to_ms),
        bars: training.map(|training| training.rows),
        log_likelihood: training.map(|training| training.log_likelihood),
        features: file.features.clone(),
        labels: file.labels.iter().flatten().map(|state| state.label.name().to_owned()).collect(),
        ..blank(file.model.states() as u32, covariance, emissions)
    })
}
