//! Why a rule asks for an event, or not: for people, and for the view itself, so that both say the same.
//!
//! Hold and cooldown are not part of it: they depend on what happened before.

use std::fmt;

use alerts::{Alert, Chart, Event, EventType, Severity};
use serde_json::Value;

use super::signals::Line;
use super::thresholds::{self, Spell};
use super::{Comparison, Rule, Rules};

/// The first of a rule's conditions that an event does not meet.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch<'a> {
    /// The rule watches a number of this view, not episodes.
    Watches(&'a str),
    /// It is a number's alert, of another rule.
    OtherRule,
    /// Another type.
    EventType(EventType),
    /// Not grave enough.
    Severity(Severity, Severity),
    /// Another symbol.
    Symbol(&'a str),
    /// Another venue.
    Venue(&'a str),
    /// Another value of this in its data, or none.
    Only(&'a str, Option<&'a Value>),
    /// Its number is not out of bounds, or not there: column, value, comparison, bound.
    Number(&'a str, Option<f64>, Comparison, f64),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watches(view) => write!(f, "it watches a number of `{view}`, no episodes"),
            Self::OtherRule => f.write_str("it is the alert of another rule on a number"),
            Self::EventType(is) => write!(f, "its type is {}", is.as_str()),
            Self::Severity(is, least) => write!(f, "its severity is {}, below {}", is.as_str(), least.as_str()),
            Self::Symbol("") => f.write_str("it is of no symbol"),
            Self::Symbol(is) => write!(f, "its symbol is {is}"),
            Self::Venue("") => f.write_str("it is of no venue"),
            Self::Venue(is) => write!(f, "its venue is {is}"),
            Self::Only(name, None) => write!(f, "its data has no `{name}`"),
            Self::Only(name, Some(is)) => write!(f, "its {name} is {is}"),
            Self::Number(column, None, ..) => write!(f, "its data has no number `{column}`"),
            Self::Number(column, Some(is), comparison, bound) => {
                write!(f, "its {column} is {is}, not {} {bound}", comparison.as_str())
            }
        }
    }
}

impl Rule {
    /// Why the rule does not ask for the event; `None`: it does, hold and cooldown aside.
    #[must_use]
    pub fn mismatch<'a>(&'a self, event: &'a Event) -> Option<Mismatch<'a>> {
        if event.event_type == EventType::Threshold {
            let is_own = self.is_threshold() && event.data.get("rule").and_then(Value::as_str) == Some(&self.name);
            return (!is_own).then_some(Mismatch::OtherRule);
        }
        if let Some(view) = &self.view {
            return Some(Mismatch::Watches(view));
        }
        if !self.event_types.is_empty() && !self.event_types.contains(&event.event_type) {
            return Some(Mismatch::EventType(event.event_type));
        }
        if let Some(least) = self.severity_min.filter(|least| event.severity < *least) {
            return Some(Mismatch::Severity(event.severity, least));
        }
        if !self.speaks_of(&event.symbol, &event.venue) {
            let is_symbol = !self.speaks_of_symbol(&event.symbol);
            return Some(if is_symbol { Mismatch::Symbol(&event.symbol) } else { Mismatch::Venue(&event.venue) });
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_other = |name: &str, value: &str| event.data.get(name).is_none_or(|is| text(is) != value);
        if let Some((name, _)) = self.only.iter().find(|(name, value)| is_other(name, value)) {
            return Some(Mismatch::Only(name, event.data.get(name)));
        }
        let (fire, column) = (self.fire?, self.column.as_deref().unwrap_or_default());
        let value = event.data.get(column).and_then(Value::as_f64);
        let is_beyond = value.is_some_and(|value| self.comparison.is_beyond(value, fire));
        (!is_beyond).then_some(Mismatch::Number(column, value, self.comparison, fire))
    }

    /// An alert of this rule on a number, as it would be told of that symbol now. `None`: it watches none, or not of that symbol.
    #[must_use]
    pub fn example(&self, symbol: &str, venue: &str, now_ms: i64) -> Option<(Event, Chart)> {
        const POINTS: i64 = 60;
        let view = super::signals::watchable().find(|view| Some(*view) == self.view.as_deref())?;
        let fire = self.fire.filter(|_| self.speaks_of(symbol, venue))?;
        let whose = |name: &str, is: &str| self.only.get(name).is_none_or(|wanted| wanted == is);
        if !whose("symbol", symbol) || !whose("venue", venue) {
            return None;
        }
        let rest = self.only.iter().filter(|(name, _)| !matches!(name.as_str(), "symbol" | "venue"));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        let line = Line { view, venue: venue.to_owned(), symbol: symbol.to_owned(), rest };
        // From well within to a tenth beyond.
        let step = if fire == 0.0 { 1.0 } else { fire.abs() };
        let away = if self.comparison == Comparison::Below { -step } else { step };
        let at = |n: i64| fire + away * (0.1 - 0.6 * ((POINTS - n) as f64 / POINTS as f64));
        let minute = now_ms - now_ms.rem_euclid(60_000);
        let chart = Chart::Line {
            ts: (1..=POINTS).map(|n| minute - (POINTS - n) * 60_000).collect(),
            name: self.column.clone().unwrap_or_default(),
            values: (1..=POINTS).map(at).collect(),
            threshold: Some(fire),
        };
        let spell = Spell { onset: minute, ended: None, value: at(POINTS), extreme: at(POINTS) };
        Some((thresholds::event(self, &line, spell, now_ms), chart))
    }
}

impl Rules {
    /// The alert that an event is by these rules, hold and cooldown aside. `None`: no rule asks for it.
    #[must_use]
    pub fn alert(&self, event: &Event) -> Option<Alert> {
        alert(self.0.iter().filter(|rule| rule.mismatch(event).is_none()), event)
    }
}

/// What the rules that ask for an event make of it: the highest severity, the labels of all.
pub(super) fn alert<'a>(asking: impl Iterator<Item = &'a Rule>, event: &Event) -> Option<Alert> {
    let mut asking: Vec<&Rule> = asking.collect();
    asking.sort_by(|a, b| a.name.cmp(&b.name));
    let severity: Severity = asking.iter().map(|rule| rule.severity.unwrap_or(event.severity)).max()?;
    let labels = asking.iter().flat_map(|rule| rule.labels.clone()).collect();
    let rules = asking.iter().map(|rule| rule.name.clone()).collect();
    Some(Alert { event: Event { severity, ..event.clone() }, rules, labels, chart: None, is_correction: false })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alerts::{Status, event_id};
    use serde_json::json;

    use super::*;

    fn event(event_type: EventType, data: Value) -> Event {
        Event {
            id: event_id(event_type, &[], 0),
            event_type,
            status: Status::Firing,
            timestamp: 0,
            known_at: 0,
            symbol: "BTC-USDT-PERP".into(),
            venue: "binance-usdm".into(),
            severity: Severity::Warning,
            title: String::new(),
            description: String::new(),
            source: "cascades".into(),
            data: data.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn what_a_rule_refuses_an_event_for() {
        let check = |rule: &str, why: &str| {
            let rule: Rule = toml::from_str(rule).unwrap();
            let event = event(EventType::LiquidationCascade, json!({"window": "5m", "count": 7, "velocity": 9e6}));
            assert_eq!(rule.mismatch(&event).map(|why| why.to_string()).unwrap_or_default(), why, "{rule:?}");
        };
        check("", "");
        check("event_types = ['OI_SHOCK']", "its type is LIQUIDATION_CASCADE");
        check("event_types = ['OI_SHOCK', 'LIQUIDATION_CASCADE']", "");
        check("severity_min = 'CRITICAL'", "its severity is WARNING, below CRITICAL");
        check("symbols = ['ETH-*', 'SOL-*']", "its symbol is BTC-USDT-PERP");
        check("symbols = ['btc-*']\nvenues = ['bybit-*']", "its venue is binance-usdm");
        check("only = { window = '1h' }", "its window is \"5m\"");
        check("only = { window = '5m', count = '7' }", "");
        check("only = { horizon = '1h' }", "its data has no `horizon`");
        check("column = 'velocity'\nfire = 1e7", "its velocity is 9000000, not above 10000000");
        check("column = 'velocity'\nfire = 8e6", "");
        check("column = 'speed'\nfire = 8e6", "its data has no number `speed`");
        check("view = 'funding'\ncolumn = 'rate'\nfire = 1", "it watches a number of `funding`, no episodes");
    }

    #[test]
    fn a_number_s_example_is_its_own_rule_s_alone() {
        let rule = |name: &str, more: &str| -> Rule {
            toml::from_str(&format!("name = '{name}'\nview = 'funding'\ncolumn = 'z_30d'\n{more}")).unwrap()
        };
        let rules = Rules(vec![rule("a", "fire = 4.0\nlabels = { x = '1' }"), rule("b", "fire = 5.0"), Rule::default()]);
        let (event, chart) = rules.0[0].example("BTC-USDT-PERP", "binance-usdm", 1_723_075_212_345).unwrap();
        let alert = rules.alert(&event).unwrap();
        assert_eq!((alert.rules, alert.labels.len()), (vec!["a".to_owned()], 1));
        assert!(event.data["value"].as_f64().unwrap() > 4.0);
        let Chart::Line { ts, values, threshold, .. } = chart else { panic!("{chart:?}") };
        assert!(ts.len() == values.len() && threshold == Some(4.0) && values[0] < 4.0);
        for (more, is_beyond) in [("fire = -3.0\ncomparison = 'below'", -3.0), ("fire = 0.0\ncomparison = 'below'", 0.0)] {
            let (event, _) = rule("c", more).example("BTC", "v", 0).unwrap();
            assert!(event.data["value"].as_f64().unwrap() < is_beyond, "{more}");
        }
        assert_eq!(rule("d", "fire = 1.0\nsymbols = ['ETH-*']").example("BTC-USDT-PERP", "v", 0), None);
        assert_eq!(Rule::default().example("BTC-USDT-PERP", "v", 0), None);
    }
}
