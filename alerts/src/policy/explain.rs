//! Why an alert would be told, or not: what the policy would do with it, without doing it.

use super::Policy;
use super::state::{Known, Place, Seat};
use crate::alert::Alert;

/// What would become of an alert that is pushed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Something about the alert itself, in words: it ended before, it is a correction. May be empty.
    pub remark: String,
    /// Every route, in order.
    pub routes: Vec<RouteExplained>,
}

/// What a route would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteExplained {
    /// The route's name.
    pub route: String,
    /// What the alert's group has in common; empty where the route does not ask for the alert.
    pub group: String,
    /// The channels that would be told.
    pub channels: Vec<String>,
    /// When.
    pub when: When,
}

/// When a route would tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// When the group's wait or interval ends, UTC ms.
    At(i64),
    /// In the digest when quiet hours end, UTC ms.
    Held(i64),
    /// When this mutes it no more, if it still fires.
    Muted(String),
    /// Not at all, because of this.
    Never(String),
}

impl Policy {
    /// What would become of the alert if it were pushed now: for `alerts route`. A resolved alert is taken to end now.
    #[must_use]
    pub fn explain(&self, alert: &Alert, now_ms: i64) -> Explanation {
        let before = self.known.get(alert.id());
        let remark = if self.ended.contains_key(alert.id()) || before.is_some_and(|known| !known.is_firing()) {
            "it ended before: pushed again it is ignored"
        } else if alert.is_correction && alert.is_firing() {
            "it is a correction: it is remembered, not told"
        } else if before.is_none() && !alert.is_firing() {
            "it is over and was never told: nobody is told"
        } else {
            ""
        };
        let mut known = before.cloned().unwrap_or_else(|| Box::new(Known::new(alert.clone(), now_ms)));
        known.ended_as = (!alert.is_firing()).then(|| known.severity_known());
        known.alert = alert.clone();
        known.ended_at = (!alert.is_firing()).then_some(now_ms);
        let mut last = None;
        let mut routes = Vec::new();
        for (index, route) in self.plan.routes[..self.plan.leftovers()].iter().enumerate() {
            let why_not = match (last, route.matcher.mismatch(alert)) {
                _ if !remark.is_empty() => Some(remark.to_owned()),
                (_, Some(mismatch)) if alert.is_firing() => Some(mismatch.to_string()),
                (Some(last), _) if alert.is_firing() => Some(format!("route `{last}` is the last that it takes")),
                _ => None,
            };
            routes.push(match why_not {
                Some(why) => never(&route.name, why),
                None => self.explain_route(&known, index, now_ms),
            });
            if route.is_last && last.is_none() && route.matcher.matches(alert) {
                last = Some(&route.name);
            }
        }
        Explanation { remark: remark.to_owned(), routes }
    }

    fn explain_route(&self, known: &Known, index: usize, now: i64) -> RouteExplained {
        let route = &self.plan.routes[index];
        let key = self.plan.key(index, &known.alert);
        let group = self.plan.label(index, &key, &known.alert);
        let is_matching = known.is_firing();
        let new = Seat { key, is_matching, place: Place::Idle, escalated_at: None };
        let seat = known.seats.get(&route.name).map_or(new, |seat| Seat { is_matching, ..(**seat).clone() });
        let channels = self.plan.channels_of(index, &seat);
        let news = channels.into_iter().filter(|channel| self.plan.has_news(known, index, &seat, channel));
        let channels: Vec<String> = news.map(str::to_owned).collect();
        if channels.is_empty() {
            return never(&route.name, "its channels know it already, or need not".into());
        }
        RouteExplained { route: route.name.clone(), group, channels, when: self.when(known, index, now) }
    }
}

fn never(route: &str, why: String) -> RouteExplained {
    RouteExplained { route: route.to_owned(), group: String::new(), channels: Vec::new(), when: When::Never(why) }
}
