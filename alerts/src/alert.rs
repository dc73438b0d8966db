//! An alert: an event that rules asked for, with what rules say of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chart::Chart;
use crate::event::{Event, Status};

/// An event that at least one rule asked for. Its id is the event's: however many rules ask for it, people are told once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What happened. Its severity is the highest that a rule gives it.
    pub event: Event,
    /// The rules that asked for it, sorted.
    pub rules: Vec<String>,
    /// The rules' labels; of two rules that set the same one, the later name wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What happened before, to be drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
    /// It speaks of what was over, or is corrected, before we knew of it: it may resolve or annotate, never page.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_correction: bool,
}

impl Alert {
    /// The alert's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.event.id
    }

    /// Whether it is true now.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.event.status == Status::Firing
    }
}
