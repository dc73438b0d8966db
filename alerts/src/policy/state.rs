//! What is remembered of an alert, and the keys of the rows that keep it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::chart::Chart;
use crate::event::Severity;

/// The key of a row of state: a table, `:` and the key in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateKey(String);

/// Separates the parts of a key. Names of the configuration have no control characters.
pub(super) const PART: char = '\u{1f}';

impl StateKey {
    /// As it was stored.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// To be stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of(table: Table, key: &str) -> Self {
        Self(format!("{}:{key}", table.as_str()))
    }

    pub(super) fn parts(&self) -> Option<(Table, &str)> {
        let (table, key) = self.0.split_once(':')?;
        Some((Table::ALL.into_iter().find(|t| t.as_str() == table)?, key))
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// A firing alert, or one whose end is still to be told.
    Alert,
    /// When an alert ended that is done with.
    Ended,
    /// When a group was told, and when it will be.
    Group,
    /// Until when an ended source still mutes.
    Hold,
    /// A silence.
    Silence,
    /// The configuration's fingerprint.
    Config,
}

impl Table {
    const ALL: [Self; 6] = [Self::Alert, Self::Ended, Self::Group, Self::Hold, Self::Silence, Self::Config];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Ended => "ended",
            Self::Group => "group",
            Self::Hold => "hold",
            Self::Silence => "silence",
            Self::Config => "config",
        }
    }
}

/// An alert that fires, or whose end is still to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    pub alert: Alert,
    /// When it was first pushed.
    pub since: i64,
    /// When its end was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// How grave it was to those who were told, when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_as: Option<Severity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Ack>,
    /// Since when it has waited for somebody to acknowledge it: its first telling, or a later reason to look again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_from: Option<i64>,
    /// By channel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, Told>,
    /// By route.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seats: BTreeMap<String, Box<Seat>>,
}

/// Somebody looks after an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who.
    pub by: String,
    /// Since when, UTC ms.
    pub at: i64,
    /// Until when (a snooze); unset: until it is over or grows graver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// How grave it was.
    pub severity: Severity,
}

/// What a channel was told of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The gravest that it was told.
    pub severity: Severity,
    /// Last.
    pub at: i64,
    /// Its end was told, or is not to be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_over: bool,
}

/// An alert's place in a route's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    /// The group's key.
    pub key: String,
    /// Whether the route still asks for it. If not, only its end is told.
    pub is_matching: bool,
    pub place: Place,
    /// When the route last escalated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<i64>,
}

/// Whether there is something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// No.
    Idle,
    /// With the group's next notice.
    Pending,
    /// When no silence and no inhibition mutes it any more.
    Muted,
    /// When the quiet hours end.
    Held,
}

impl Known {
    pub fn is_firing(&self) -> bool {
        self.ended_at.is_none()
    }

    /// It fires and people are to know it.
    pub fn is_live(&self) -> bool {
        self.is_firing() && !self.alert.is_correction
    }

    pub fn is_acked(&self, now: i64) -> bool {
        self.ack.as_ref().is_some_and(|ack| ack.until.is_none_or(|until| now < until))
    }

    /// When a snooze ended, or will.
    pub fn snoozed_until(&self) -> Option<i64> {
        self.ack.as_ref().and_then(|ack| ack.until)
    }

    /// What quiet hours go by: how grave it is; when it is over, how grave it was.
    pub fn severity_to_judge(&self) -> Severity {
        self.ended_as.unwrap_or(self.alert.event.severity)
    }

    /// The gravest that anybody was told, or that it is.
    pub fn severity_known(&self) -> Severity {
        self.told.values().map(|told| told.severity).max().unwrap_or(self.alert.event.severity)
    }

    /// A figure that JSON can't write would make the row unreadable, so a chart with one goes.
    pub fn new(mut alert: Alert, now: i64) -> Self {
        alert.chart = alert.chart.filter(is_finite);
        let (told, seats) = (BTreeMap::new(), BTreeMap::new());
        Self { alert, since: now, ended_at: None, ended_as: None, ack: None, waits_from: None, told, seats }
    }
}

pub(super) fn is_finite(chart: &Chart) -> bool {
    let all = |values: &[f64]| values.iter().all(|v| v.is_finite());
    match chart {
        Chart::Liquidations { close, long_usd, short_usd, .. } => all(close) && all(long_usd) && all(short_usd),
        Chart::Regimes { probabilities, .. } => probabilities.iter().all(|series| all(series)),
        Chart::Line { values, threshold, .. } => all(values) && threshold.is_none_or(f64::is_finite),
    }
}
