//! A notice: what is sent to one channel in one message, once it is decided.
//!
//! The policy decides notices, the outbox keeps them until they are delivered, a [`crate::channels::Channel`] words
//! and sends them. The id is fixed when the notice is decided and is the same on every attempt, also after a restart.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::alert::Alert;
use crate::event::{EventType, Severity, Status};

/// So many alerts stand in a notice by name; more are only counted.
pub const NAMED_MAX: usize = 20;

/// Why a notice is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Something began, grew graver or is over.
    News,
    /// It still goes on (repeat interval).
    Reminder,
    /// Nobody acknowledged it in time.
    Escalation,
    /// Many alerts in one message, because the channel can't take them one by one.
    Digest,
    /// Alerts that could not be delivered while they mattered, in one message marked late.
    LateDigest,
    /// A test by hand: says so, and means nothing.
    Drill,
    /// Another channel doesn't work.
    Trouble,
}

impl NoticeKind {
    /// As JSON and SQL write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::News => "news",
            Self::Reminder => "reminder",
            Self::Escalation => "escalation",
            Self::Digest => "digest",
            Self::LateDigest => "late_digest",
            Self::Drill => "drill",
            Self::Trouble => "trouble",
        }
    }
}

/// How many alerts of a kind a notice speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Count {
    /// Of which type.
    pub event_type: EventType,
    /// How grave.
    pub severity: Severity,
    /// Firing or resolved.
    pub status: Status,
    /// How many.
    pub count: u64,
}

/// What is sent to one channel in one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable; no `.` in it. The `webhook-id`, and what a receiver de-duplicates by.
    pub id: String,
    /// The channel's name.
    pub channel: String,
    /// Why it is sent.
    pub kind: NoticeKind,
    /// It goes before what is not, and is not held back for a digest.
    pub is_urgent: bool,
    /// What its alerts have in common, for people: `LIQUIDATION_CASCADE BTC-USDT-PERP`. Empty: nothing.
    pub group: String,
    /// The alerts by name, at most [`NAMED_MAX`], gravest and newest first. Empty only for [`NoticeKind::Trouble`].
    pub alerts: Vec<Alert>,
    /// Over all alerts that it speaks of, those without a name included.
    pub counts: Vec<Count>,
    /// A sentence in front of the alerts: why it is late, what a drill is, which channel failed. May be empty.
    pub remark: String,
    /// When it was decided, UTC ms.
    pub decided_at: i64,
}

impl Notice {
    /// How many alerts it speaks of.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.count).sum()
    }

    /// The gravest of its alerts.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.counts.iter().map(|count| count.severity).max().unwrap_or(Severity::Info)
    }

    /// Resolved only if all of them are.
    #[must_use]
    pub fn status(&self) -> Status {
        let is_over = !self.counts.is_empty() && self.counts.iter().all(|count| count.status == Status::Resolved);
        if is_over { Status::Resolved } else { Status::Firing }
    }
}

/// The counts of some alerts, sorted.
#[must_use]
pub fn count<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> Vec<Count> {
    let mut by = std::collections::BTreeMap::new();
    for alert in alerts {
        let event = &alert.event;
        *by.entry((event.event_type, event.severity, event.status)).or_insert(0u64) += 1;
    }
    by.into_iter().map(|((event_type, severity, status), count)| Count { event_type, severity, status, count }).collect()
}

/// The id of a notice of one alert's news: the event's id, `_`, its status; when it is told again because it grew graver, `_` and
/// the severity too, so that a receiver that de-duplicates does not drop the graver one.
#[must_use]
pub fn news_id(alert: &Alert, is_told_again: bool) -> String {
    let event = &alert.event;
    let mut id = format!("{}_{}", event.id, event.status.as_str());
    if is_told_again && alert.is_firing() {
        id.push('_');
        id.push_str(&event.severity.as_str().to_lowercase());
    }
    id
}

/// The id of any other notice: `ntc_` and 128 bits of SHA-256 over what makes it this one, in hex.
#[must_use]
pub fn notice_id(kind: NoticeKind, parts: &[&str], at: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{kind:?}"));
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(at.to_le_bytes());
    hash.finalize()[..16].iter().fold("ntc_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}
