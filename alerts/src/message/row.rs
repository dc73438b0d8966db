//! An event's data as numbers and texts, each of which may be missing.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::{Field, one_line};
use crate::event::{Event, Status};
use crate::facts::words::{duration, usd};

/// An event, read by its template.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) event: &'a Event,
}

impl<'a> Row<'a> {
    pub(super) fn is_resolved(self) -> bool {
        self.event.status == Status::Resolved
    }

    pub(super) fn number(self, key: &str) -> Option<f64> {
        self.event.data.get(key)?.as_f64()
    }

    pub(super) fn count(self, key: &str) -> Option<u64> {
        self.event.data.get(key)?.as_u64()
    }

    pub(super) fn text(self, key: &str) -> Option<&'a str> {
        self.event.data.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        self.event.data.get(key)?.as_bool()
    }

    pub(super) fn texts(self, key: &str) -> Vec<&'a str> {
        self.event.data.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(super) fn usd(self, key: &str) -> Option<String> {
        self.number(key).map(usd)
    }

    fn time(self, key: &str) -> Option<i64> {
        Some(DateTime::parse_from_rfc3339(self.text(key)?).ok()?.timestamp_millis())
    }

    /// When it began, UTC ms. `None`: it is over, and when it began is not kept (a change that a correction took back).
    pub(super) fn onset(self) -> Option<i64> {
        self.time("onset").or_else(|| (!self.is_resolved()).then_some(self.event.timestamp))
    }

    /// When it ended, UTC ms; of a cascade when it was last active: the quiet after it that proves its end is no part of it.
    fn end(self) -> i64 {
        let end = self.time("ended_at").map(|ended_at| self.time("last_active").unwrap_or(ended_at));
        end.unwrap_or(self.event.timestamp)
    }

    /// How long it lasted, once it is over.
    pub(super) fn lasted(self) -> Option<String> {
        let onset = self.onset().filter(|_| self.is_resolved())?;
        Some(duration(self.end().saturating_sub(onset)))
    }

    /// Since when, or from when to when.
    pub(super) fn period(self) -> Field {
        match (self.onset(), self.lasted()) {
            (Some(onset), Some(lasted)) => field("Lasted", format!("{lasted}, {} to {}", utc(onset), utc(self.end()))),
            (Some(onset), None) => field("Since", utc(onset)),
            (None, _) => field("Over since", utc(self.event.timestamp)),
        }
    }
}

/// A field of one line.
pub(super) fn field(name: &str, value: impl AsRef<str>) -> Field {
    Field { name: one_line(name), value: one_line(value.as_ref()) }
}

/// `2024-08-08T00:00:00Z`: to the second.
pub(super) fn utc(ms: i64) -> String {
    const YEAR_9999_END: i64 = 253_402_300_799_999;
    let time = DateTime::<Utc>::from_timestamp_millis(ms.clamp(-YEAR_9999_END / 4, YEAR_9999_END)).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
