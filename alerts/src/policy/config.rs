//! What people set: routes, inhibitions, quiet hours. Durations are milliseconds, times of day are `HH:MM`.
//!
//! [`PolicyConfig::errors`] finds all that is wrong at once, so that one edit mends it.

use chrono::NaiveTime;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::matcher::Matcher;
use crate::alert::Alert;
use crate::event::{EventType, Severity};

/// What people set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Tried in this order; an alert takes every route that matches, up to and with one that `is_last`.
    pub routes: Vec<Route>,
    /// What mutes what. Unset: a market-wide cascade mutes the cascades and open interest shocks of single symbols.
    pub inhibitions: Vec<Inhibition>,
    /// When routes that name them hold back what can wait.
    pub quiet_hours: Vec<QuietHours>,
}

/// Which alerts are told to which channels, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Unique; state is kept by it, so a renamed route is a new one.
    pub name: String,
    /// Names of channels.
    pub channels: Vec<String>,
    /// Which alerts; unset: all.
    #[serde(default)]
    pub matcher: Matcher,
    /// Alerts that have all of these in common are told together. Empty: each by itself, and nothing is collected.
    #[serde(default)]
    pub group_by: Vec<GroupBy>,
    /// The first of a group waits so long for others. 0: it goes at once. CRITICAL never waits.
    #[serde(default)]
    pub group_wait_ms: i64,
    /// Changes of a group that come sooner than this after its last notice are collected. CRITICAL never waits.
    #[serde(default = "one_minute")]
    pub group_interval_ms: i64,
    /// What still fires and nobody acknowledged is told again after so long. Unset: never.
    #[serde(default)]
    pub repeat_ms: Option<i64>,
    /// Whether the end is told.
    #[serde(default = "yes")]
    pub tells_resolved: bool,
    /// Who is told when nobody acknowledges.
    #[serde(default)]
    pub escalation: Option<Escalation>,
    /// Names of quiet hours.
    #[serde(default)]
    pub quiet_hours: Vec<String>,
    /// An alert that takes this route takes none after it.
    #[serde(default)]
    pub is_last: bool,
}

impl Route {
    /// Everything to these channels, each alert by itself: what a route is where nothing else is set.
    #[must_use]
    pub fn new(name: &str, channels: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            channels: channels.to_vec(),
            matcher: Matcher::default(),
            group_by: Vec::new(),
            group_wait_ms: 0,
            group_interval_ms: one_minute(),
            repeat_ms: None,
            tells_resolved: yes(),
            escalation: None,
            quiet_hours: Vec::new(),
            is_last: false,
        }
    }
}

/// Who is told when nobody acknowledges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// So long after the first telling (the end of a snooze, the growth of what was acknowledged).
    pub after_ms: i64,
    /// Names of channels. From then on they are told of the alert what the route's own channels are told.
    pub channels: Vec<String>,
}

/// What alerts of a group have in common. Written `type`, `symbol`, `venue`, `rule`, `severity`, `label:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum GroupBy {
    /// The event's type.
    EventType,
    /// The symbol.
    Symbol,
    /// The venue.
    Venue,
    /// The rules that asked for it.
    Rule,
    /// The severity. What grows graver goes over to another group.
    Severity,
    /// A label's value; an alert without the label has the empty value.
    Label(String),
}

impl GroupBy {
    /// The alert's value.
    #[must_use]
    pub fn value(&self, alert: &Alert) -> String {
        let event = &alert.event;
        match self {
            Self::EventType => event.event_type.as_str().to_owned(),
            Self::Symbol => event.symbol.clone(),
            Self::Venue => event.venue.clone(),
            Self::Rule => alert.rules.join(","),
            Self::Severity => event.severity.as_str().to_owned(),
            Self::Label(name) => alert.labels.get(name).cloned().unwrap_or_default(),
        }
    }
}

impl TryFrom<String> for GroupBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "type" => Self::EventType,
            "symbol" => Self::Symbol,
            "venue" => Self::Venue,
            "rule" => Self::Rule,
            "severity" => Self::Severity,
            _ => match text.strip_prefix("label:") {
                Some(name) if !name.is_empty() => Self::Label(name.to_owned()),
                _ => return Err(format!("group by `{text}`: write type, symbol, venue, rule, severity or label:NAME")),
            },
        })
    }
}

impl From<GroupBy> for String {
    fn from(by: GroupBy) -> Self {
        match by {
            GroupBy::EventType => "type".into(),
            GroupBy::Symbol => "symbol".into(),
            GroupBy::Venue => "venue".into(),
            GroupBy::Rule => "rule".into(),
            GroupBy::Severity => "severity".into(),
            GroupBy::Label(name) => format!("label:{name}"),
        }
    }
}

/// While a source fires, its targets are muted: not told, and told when it is over if they still fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// Unique.
    pub name: String,
    /// What mutes. An alert that is both source and target is not muted by its like.
    pub source: Matcher,
    /// What is muted.
    pub target: Matcher,
    /// Only targets that have these in common with the source. Empty: all targets.
    #[serde(default)]
    pub equal: Vec<GroupBy>,
    /// Targets stay muted for so long after the last source ended.
    #[serde(default)]
    pub hold_ms: i64,
}

/// Hours of the day in which what can wait is held back, to be told as one digest when they end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// Unique.
    pub name: String,
    /// As in the IANA database: `Europe/Berlin`.
    pub time_zone: String,
    /// Days on which they begin; unset: every day.
    #[serde(default)]
    pub days: Vec<Day>,
    /// Begin, local time: `22:00`.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    #[schemars(with = "String")]
    pub from: NaiveTime,
    /// End, local time: `07:00`. Not after `from`: on the next day; the same as `from`: a whole day.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    #[schemars(with = "String")]
    pub to: NaiveTime,
    /// What is so grave is told all the same.
    #[serde(default = "critical")]
    #[schemars(with = "String")]
    pub lets_through: Severity,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Day> for chrono::Weekday {
    fn from(day: Day) -> Self {
        match day {
            Day::Mon => Self::Mon,
            Day::Tue => Self::Tue,
            Day::Wed => Self::Wed,
            Day::Thu => Self::Thu,
            Day::Fri => Self::Fri,
            Day::Sat => Self::Sat,
            Day::Sun => Self::Sun,
        }
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        let of = |event_types: Vec<EventType>| Matcher { event_types, ..Matcher::default() };
        let market = Inhibition {
            name: "market_cascade".into(),
            source: of(vec![EventType::MarketCascade]),
            target: of(vec![EventType::LiquidationCascade, EventType::OiShock]),
            equal: Vec::new(),
            hold_ms: 0,
        };
        Self { routes: Vec::new(), inhibitions: vec![market], quiet_hours: Vec::new() }
    }
}

const fn one_minute() -> i64 {
    60_000
}

const fn yes() -> bool {
    true
}

const fn critical() -> Severity {
    Severity::Critical
}

fn write_time<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%H:%M"))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    NaiveTime::parse_from_str(&text, "%H:%M")
        .map_err(|_| serde::de::Error::custom(format!("`{text}` is no time of day: write it as 22:00 (midnight is 00:00)")))
}
