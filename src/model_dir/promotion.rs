//! Which version speaks: promotion within bounds, and going back.
//!
//! A candidate is judged by the figures of its fit: bars that were held out, the model active at that time scored on the same bars, and only
//! bars that neither was fitted to. Nothing is fitted or scored here, so a decision can be read off `models.json` for ever.

use std::fmt;
use std::path::Path;

use dataflows::model::Timeframe;
use dataflows::models::Status;
use serde::Serialize;

use super::shelf::{self, ShelfError};
use super::{Entry, Listing};

/// What a candidate must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Out-of-sample log-likelihood per bar may be lower than the active model's by so many nats.
    pub loss_per_bar_max: f64,
    /// On at least so many bars that neither was fitted to.
    pub bars_min: u64,
    /// Changes of the decided regime per 1,000 held-out bars.
    pub switches_per_1000_bars_max: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { loss_per_bar_max: 0.02, bars_min: 40, switches_per_1000_bars_max: 100.0 }
    }
}

/// Why a version isn't made the active one.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    /// It isn't listed.
    #[error("{model}.v{version} is not listed in models.json; {}", versions(known))]
    Unknown {
        /// Name asked for.
        model: String,
        /// Version asked for.
        version: u32,
        /// Versions of that name.
        known: Vec<u32>,
    },
    /// It speaks already.
    #[error("{0} is active already")]
    Active(String),
    /// Its figures are out of bounds.
    #[error("{model} is not promoted: {}; --force promotes it all the same", list(reasons))]
    OutOfBounds {
        /// Which.
        model: String,
        /// Each with its figure and its bound.
        reasons: Vec<Reason>,
    },
    /// The takeover would lie before the last one.
    #[error("{model} can't take over at {at}: {active} does from {from} on (UTC ms); take a later time")]
    TooEarly {
        /// Which.
        model: String,
        /// Asked for.
        at: i64,
        /// The active one.
        active: String,
        /// Since when.
        from: i64,
    },
    /// Nothing to go back to.
    #[error("{0} has no version before the active one; nothing is changed")]
    NothingBefore(String),
    /// No version speaks.
    #[error("no version of {0} is active; promote one first")]
    NoneActive(String),
    /// The directory.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// One bound that isn't kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Reason {
    /// Nothing is known of it.
    NoFigures,
    /// It wasn't compared with the model that speaks now.
    NotCompared {
        /// The active one.
        active: String,
        /// Whom it was compared with.
        with: Option<String>,
    },
    /// Too few bars that neither has seen.
    FewBars {
        /// Found.
        bars: u64,
        /// Bound.
        least: u64,
    },
    /// It explains new bars worse.
    Worse {
        /// Its log-likelihood per bar.
        own: f64,
        /// The active model's.
        active: f64,
        /// Bound on the difference.
        loss_max: f64,
    },
    /// Some of its states are none.
    Degenerate {
        /// How many.
        states: u32,
    },
    /// It changes its mind too often.
    Restless {
        /// Per 1,000 bars.
        switches: f64,
        /// Bound.
        most: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFigures => f.write_str("models.json holds no figures of it (it was not made by training)"),
            Self::NotCompared { active, with: None } => {
                write!(f, "it was not compared with {active}, which is active; fit again")
            }
            Self::NotCompared { active, with: Some(with) } => {
                write!(f, "it was compared with {with}, and {active} is active; fit again")
            }
            Self::FewBars { bars, least } => {
                write!(f, "{bars} bars that neither model was fitted to, at least {least} are asked for")
            }
            Self::Worse { own, active, loss_max } => write!(
                f,
                "log-likelihood per new bar {own:.4}, the active model's {active:.4}: {:.4} lower, at most {loss_max:.4} is allowed",
                active - own
            ),
            Self::Degenerate { states } => write!(f, "{states} of its states died or shrank to a point; fit fewer states"),
            Self::Restless { switches, most } => {
                write!(f, "{switches:.1} switches per 1,000 bars, at most {most:.1} are allowed")
            }
        }
    }
}

fn list(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn versions(known: &[u32]) -> String {
    match known {
        [] => "no version of that name is".to_owned(),
        known => format!("there are versions {}", known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// The entries that make a model active for a symbol and time frame, in the order of their takeovers.
fn takeovers<'a>(listing: &'a Listing, is_meant: impl Fn(&Entry) -> bool + 'a) -> Vec<&'a Entry> {
    let mut all: Vec<&Entry> = listing.releases.iter().filter(|e| e.status == Status::Active && is_meant(e)).collect();
    all.sort_by_key(|entry| entry.active_from); // stable: of two at once the later entry counts
    all
}

/// The model that speaks of a symbol and time frame last.
#[must_use]
pub fn active<'a>(listing: &'a Listing, symbol: &str, timeframe: &str) -> Option<&'a Entry> {
    let symbol = symbol.to_owned();
    let timeframe = timeframe.to_owned();
    let entry = takeovers(listing, move |e| e.timeframe == timeframe && e.symbols.contains(&symbol)).pop()?;
    let same = |e: &&Entry| (&e.model, e.version, &e.timeframe) == (&entry.model, entry.version, &entry.timeframe);
    let retired = listing.releases.iter().filter(same).any(|e| e.status == Status::Retired && e.active_from >= entry.active_from);
    (!retired).then_some(entry)
}

/// What speaks against a candidate; nothing: it may be promoted.
#[must_use]
pub fn reasons_against(listing: &Listing, candidate: &Entry, bounds: &Bounds) -> Vec<Reason> {
    let Some(figures) = &candidate.evaluation else { return vec![Reason::NoFigures] };
    let mut reasons = Vec::new();
    let switches = figures.oos_switches as f64 * 1_000.0 / figures.oos_bars.max(1) as f64;
    let most = bounds.switches_per_1000_bars_max;
    if switches > most {
        reasons.push(Reason::Restless { switches, most });
    }
    if figures.degenerate_states > 0 {
        reasons.push(Reason::Degenerate { states: figures.degenerate_states });
    }
    let mut speaking: Vec<&Entry> =
        candidate.symbols.iter().filter_map(|symbol| active(listing, symbol, &candidate.timeframe)).collect();
    speaking.dedup_by_key(|entry| entry.id());
    for entry in speaking {
        let active = entry.id().to_string();
        let (bars, least) = (figures.against.as_ref().map_or(0, |against| against.bars), bounds.bars_min);
        match &figures.against {
            Some(against) if against.model == active && bars < least => reasons.push(Reason::FewBars { bars, least }),
            Some(against) if against.model == active => {
                let (own, active) = (against.own_log_likelihood_per_bar, against.log_likelihood_per_bar);
                let loss_max = bounds.loss_per_bar_max;
                let is_good_enough = own >= active - loss_max; // no NaN is
                if !is_good_enough {
                    reasons.push(Reason::Worse { own, active, loss_max });
                }
            }
            other => {
                let with = other.as_ref().map(|against| against.model.clone());
                reasons.push(Reason::NotCompared { active, with });
            }
        }
    }
    reasons
}

/// The opening of the first bar of `timeframe` that opens at or after `at`.
#[must_use]
pub fn next_opening(timeframe: &str, at: i64) -> i64 {
    Timeframe::from_name(timeframe).map_or(at, |timeframe| {
        let open = timeframe.open_of(at);
        if open == at { at } else { open + timeframe.ms() }
    })
}

/// Makes a version the active one of what it was fitted for, from the first bar on that opens at or after `at`. `bounds`: `None`
/// asks for nothing. Gives the entry added.
///
/// # Errors
/// If it is unknown, out of bounds, or too early.
pub fn promote(dir: &Path, model: &str, version: u32, at: i64, bounds: Option<&Bounds>) -> Result<Entry, PromotionError> {
    let added = shelf::change(dir, |listing| {
        let of_name = || listing.releases.iter().filter(|entry| entry.model == model);
        let candidate = of_name().rfind(|entry| entry.version == version && entry.evaluation.is_some());
        let candidate = candidate.or_else(|| of_name().rfind(|entry| entry.version == version));
        let Some(candidate) = candidate else {
            let mut known: Vec<u32> = of_name().map(|entry| entry.version).collect();
            known.sort_unstable();
            known.dedup();
            return Err(PromotionError::Unknown { model: model.to_owned(), version, known });
        };
        let speaks = |symbol: &String| active(listing, symbol, &candidate.timeframe).is_some_and(|e| e.id() == candidate.id());
        if candidate.symbols.iter().all(speaks) {
            return Err(PromotionError::Active(candidate.id().to_string()));
        }
        let reasons = bounds.map_or_else(Vec::new, |bounds| reasons_against(listing, candidate, bounds));
        if !reasons.is_empty() {
            return Err(PromotionError::OutOfBounds { model: candidate.id().to_string(), reasons });
        }
        Ok(vec![taking_over(listing, candidate, at)?])
    })?;
    added.into_iter().next().ok_or_else(|| PromotionError::NoneActive(model.to_owned()))
}

/// Goes back to the version that was active before the one that is. Gives the entry added.
///
/// # Errors
/// If none is active or none was before.
pub fn roll_back(dir: &Path, model: &str, at: i64) -> Result<Entry, PromotionError> {
    let added = shelf::change(dir, |listing| {
        let of_name = takeovers(listing, |entry| entry.model == model);
        let now = of_name.last().ok_or_else(|| PromotionError::NoneActive(model.to_owned()))?;
        // Before the active version was first heard: going back twice goes back two versions.
        let first = of_name.iter().position(|entry| entry.version == now.version).unwrap_or(0);
        let before = of_name[..first].last().ok_or_else(|| PromotionError::NothingBefore(model.to_owned()))?;
        Ok::<_, PromotionError>(vec![taking_over(listing, before, at)?])
    })?;
    added.into_iter().next().ok_or_else(|| PromotionError::NoneActive(model.to_owned()))
}

/// The entry by which a version takes over.
fn taking_over(listing: &Listing, version: &Entry, at: i64) -> Result<Entry, PromotionError> {
    let trained_to = version.evaluation.as_ref().map_or(i64::MIN, |figures| figures.trained_to);
    let active_from = next_opening(&version.timeframe, at.max(trained_to.saturating_add(1)));
    for symbol in &version.symbols {
        if let Some(active) = active(listing, symbol, &version.timeframe).filter(|active| active.active_from >= active_from) {
            let (model, from) = (version.id().to_string(), active.active_from);
            return Err(PromotionError::TooEarly { model, at: active_from, active: active.id().to_string(), from });
        }
    }
    Ok(Entry { status: Status::Active, active_from, ..version.clone() })
}
