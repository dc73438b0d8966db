//! A checked configuration, ready to be asked.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::check::{ConfigError, ConfigErrors};
use super::config::{Inhibition, PolicyConfig, Route};
use super::inhibit::values;
use super::quiet::Quiet;
use super::state::{Known, Seat};
use crate::alert::Alert;
use crate::event::Severity;

/// The name of the route that tells the ends of what routes told that are there no more. No configured route has it.
const LEFTOVERS: &str = "";

/// A checked configuration.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// As configured, and one after them that matches nothing: see [`Plan::leftovers`].
    pub routes: Vec<Route>,
    pub inhibitions: Vec<Inhibition>,
    quiet: Vec<Vec<Quiet>>,
    /// Every channel that a route names.
    pub channels: BTreeSet<String>,
    /// Changes with the configuration.
    pub fingerprint: String,
}

impl Plan {
    pub fn new(config: PolicyConfig) -> Result<Self, ConfigErrors> {
        config.check()?;
        let json = serde_json::to_vec(&config).map_err(|error| unwritable(&error))?;
        let fingerprint = Sha256::digest(json)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let PolicyConfig { mut routes, inhibitions, quiet_hours } = config;
        let quiet_of = |route: &Route| {
            let named = |name: &String| quiet_hours.iter().find(|hours| hours.name == *name).and_then(Quiet::of);
            route.quiet_hours.iter().filter_map(named).collect()
        };
        let quiet = routes.iter().map(quiet_of).chain([Vec::new()]).collect();
        let named = |route: &Route| {
            let escalation = route.escalation.iter().flat_map(|escalation| escalation.channels.clone());
            route.channels.iter().cloned().chain(escalation).collect::<Vec<_>>()
        };
        let channels: BTreeSet<String> = routes.iter().flat_map(named).collect();
        routes.push(leftovers(&channels.iter().cloned().collect::<Vec<_>>()));
        Ok(Self { routes, inhibitions, quiet, channels, fingerprint })
    }

    /// The index of the route that only tells ends.
    pub fn leftovers(&self) -> usize {
        self.routes.len() - 1
    }

    pub fn route(&self, name: &str) -> Option<usize> {
        self.routes.iter().position(|route| route.name == name)
    }

    /// The routes that the alert takes, in order.
    pub fn matching(&self, alert: &Alert) -> Vec<usize> {
        let mut taken = Vec::new();
        for (index, route) in self.routes[..self.leftovers()].iter().enumerate() {
            if route.matcher.matches(alert) {
                taken.push(index);
                if route.is_last {
                    break;
                }
            }
        }
        taken
    }

    /// The key of the alert's group.
    pub fn key(&self, route: usize, alert: &Alert) -> String {
        let by = &self.routes[route].group_by;
        if by.is_empty() { alert.id().to_owned() } else { values(by, alert) }
    }

    /// What the group's alerts have in common, for people.
    pub fn label(&self, route: usize, key: &str, alert: &Alert) -> String {
        if !self.routes[route].group_by.is_empty() {
            return key.split(super::state::PART).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        }
        format!("{} {}", alert.event.event_type.as_str(), alert.event.symbol).trim_end().to_owned()
    }

    /// The channels that the route tells of the alert, each once.
    pub fn channels_of<'a>(&'a self, route: usize, seat: &Seat) -> Vec<&'a str> {
        let route = &self.routes[route];
        let escalated = route.escalation.as_ref().filter(|_| seat.escalated_at.is_some());
        let mut channels: Vec<&str> = Vec::new();
        for channel in route.channels.iter().chain(escalated.iter().flat_map(|escalation| &escalation.channels)) {
            if !channels.contains(&channel.as_str()) {
                channels.push(channel);
            }
        }
        channels
    }

    /// The route that tells the channel that the alert is over.
    pub fn resolver(&self, known: &Known, channel: &str) -> Option<usize> {
        let tells = |(index, route): &(usize, &Route)| {
            let seat = known.seats.get(&route.name).filter(|_| route.tells_resolved);
            seat.is_some_and(|seat| self.channels_of(*index, seat).contains(&channel))
        };
        self.routes.iter().enumerate().find(tells).map(|(index, _)| index)
    }

    /// Whether there is something that the route has to tell the channel about the alert, mutes and hours aside.
    pub fn has_news(&self, known: &Known, route: usize, seat: &Seat, channel: &str) -> bool {
        match known.told.get(channel) {
            None => known.is_live() && seat.is_matching,
            Some(told) if known.is_live() => seat.is_matching && known.alert.event.severity > told.severity,
            Some(told) => !known.is_firing() && !told.is_over && self.resolver(known, channel) == Some(route),
        }
    }

    /// When the route's quiet hours end that hold back what is so grave; `None`: it is told now.
    pub fn held_until(&self, route: usize, severity: Severity, now: i64) -> Option<i64> {
        self.quiet[route].iter().filter(|quiet| severity < quiet.lets_through).filter_map(|quiet| quiet.end(now)).max()
    }

    /// The names of the route's quiet hours.
    pub fn quiet_names(&self, route: usize) -> impl Iterator<Item = &str> {
        self.quiet[route].iter().map(|quiet| quiet.name.as_str())
    }
}

fn leftovers(channels: &[String]) -> Route {
    Route { group_interval_ms: 0, ..Route::new(LEFTOVERS, channels) }
}

fn unwritable(error: &serde_json::Error) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { place: "policy".into(), reason: format!("can't be written as JSON: {error}") }])
}
