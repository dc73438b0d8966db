//! What is wrong with a configuration: everything at once, each with its place and what to do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::config::{PolicyConfig, Route};

/// Nothing shorter is repeated or escalated: it would be a flood of our own making.
pub const REPEAT_MS_MIN: i64 = 1_000;
/// No wait, interval or hold is longer: 31 days.
pub const DURATION_MS_MAX: i64 = 31 * 24 * 3_600_000;

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: `routes.desk.repeat_ms`.
    pub place: String,
    /// What is wrong and what to do.
    pub reason: String,
}

/// All faults of a configuration; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "; " };
            write!(f, "{gap}{}: {}", error.place, error.reason)?;
        }
        Ok(())
    }
}

impl PolicyConfig {
    /// All that is wrong.
    ///
    /// # Errors
    /// Names that are empty, twice or unknown, durations out of bounds, unknown time zones, routes without channels.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = Errors::default();
        errors.names("routes", self.routes.iter().map(|r| r.name.as_str()));
        errors.names("inhibitions", self.inhibitions.iter().map(|i| i.name.as_str()));
        errors.names("quiet_hours", self.quiet_hours.iter().map(|q| q.name.as_str()));
        for route in &self.routes {
            self.check_route(route, &mut errors);
        }
        for inhibition in &self.inhibitions {
            errors.duration(format!("inhibitions.{}.hold_ms", inhibition.name), inhibition.hold_ms, 0);
        }
        for quiet in &self.quiet_hours {
            if chrono_tz::Tz::from_str(&quiet.time_zone).is_err() {
                let reason =
                    format!("`{}` is no time zone: write it as in the IANA database, like Europe/Berlin", quiet.time_zone);
                errors.push(format!("quiet_hours.{}.time_zone", quiet.name), reason);
            }
        }
        if errors.0.is_empty() { Ok(()) } else { Err(ConfigErrors(errors.0)) }
    }

    fn check_route(&self, route: &Route, errors: &mut Errors) {
        let at = |field: &str| format!("routes.{}.{field}", route.name);
        errors.channels(at("channels"), &route.channels);
        errors.duration(at("group_wait_ms"), route.group_wait_ms, 0);
        errors.duration(at("group_interval_ms"), route.group_interval_ms, 0);
        if let Some(repeat) = route.repeat_ms {
            errors.duration(at("repeat_ms"), repeat, REPEAT_MS_MIN);
        }
        if let Some(escalation) = &route.escalation {
            errors.duration(at("escalation.after_ms"), escalation.after_ms, REPEAT_MS_MIN);
            errors.channels(at("escalation.channels"), &escalation.channels);
        }
        for name in route.quiet_hours.iter().filter(|name| self.quiet_hours.iter().all(|quiet| quiet.name != **name)) {
            let known: Vec<&str> = self.quiet_hours.iter().map(|quiet| quiet.name.as_str()).collect();
            let known = if known.is_empty() { "there are none".into() } else { format!("there are {}", known.join(", ")) };
            errors.push(at("quiet_hours"), format!("quiet hours `{name}` are not defined: {known}"));
        }
    }
}

#[derive(Default)]
struct Errors(Vec<ConfigError>);

impl Errors {
    fn push(&mut self, place: String, reason: String) {
        self.0.push(ConfigError { place, reason });
    }

    fn names<'a>(&mut self, place: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (i, name) in names.enumerate() {
            if name.is_empty() {
                self.push(format!("{place}[{i}].name"), "the name is empty: give it one, state is kept by it".into());
            } else if name.chars().any(char::is_control) {
                self.push(format!("{place}[{i}].name"), "the name has control characters: leave them out".into());
            } else if !seen.insert(name) {
                self.push(format!("{place}.{name}"), "the name is there twice: rename one".into());
            }
        }
    }

    fn channels(&mut self, place: String, channels: &[String]) {
        if channels.is_empty() || channels.iter().any(String::is_empty) {
            self.push(place, "no channel, or one without a name: name at least one".into());
        }
    }

    fn duration(&mut self, place: String, ms: i64, min: i64) {
        if !(min..=DURATION_MS_MAX).contains(&ms) {
            self.push(place, format!("{ms} ms is out of bounds: write {min} to {DURATION_MS_MAX} (31 days)"));
        }
    }
}
