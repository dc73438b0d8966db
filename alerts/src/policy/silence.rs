//! Silences: what nobody wants to hear of for a while. A silence mutes, it does not resolve.

use serde::{Deserialize, Serialize};

use super::matcher::Matcher;

/// So many silences are kept.
pub const SILENCES_MAX: usize = 1_000;

/// Mutes what matches while it lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Chosen by the caller; the same id again replaces it.
    pub id: String,
    /// What is muted.
    pub matcher: Matcher,
    /// From when, UTC ms.
    pub from: i64,
    /// Until when (exclusive), UTC ms.
    pub until: i64,
    /// Who.
    pub author: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

impl Silence {
    pub(super) fn lasts(&self, now: i64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// Why a silence is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No id.
    #[error("silence without an id: give it one")]
    NoId,
    /// It would never be in force.
    #[error("silence `{id}` ends at {until}, which is not after {after}: choose a later end")]
    Over {
        /// Its id.
        id: String,
        /// Its end, UTC ms.
        until: i64,
        /// The later of its begin and now, UTC ms.
        after: i64,
    },
    /// Too many.
    #[error("silence `{0}` is one too many: {SILENCES_MAX} are kept, end some first")]
    TooMany(String),
}
