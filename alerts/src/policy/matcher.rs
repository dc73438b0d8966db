//! Which alerts are meant: the same form in routes, silences, inhibitions and acknowledgements.
//!
//! Every list that is set must be met by one of its entries, every label by its glob; what is empty asks for nothing, so an
//! empty matcher means all alerts. Globs know `*` and `?` only and do not tell upper from lower case.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::event::{EventType, Severity};

/// Which alerts are meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Matcher {
    /// Any of these types: `["LIQUIDATION_CASCADE"]`.
    #[schemars(with = "Vec<String>")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<EventType>,
    /// Any of these symbols, as globs: `["BTC-*", "ETH-USDT-PERP"]`. A pair is one text: `BTC-USDT-PERP/ETH-USDT-PERP`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Any of these venues, as globs: `["binance-*"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub venues: Vec<String>,
    /// At least so grave: `"WARNING"`.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity_min: Option<Severity>,
    /// One of the alert's rules is one of these, as globs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Each label has this value, as a glob. A label that the alert lacks has the empty value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The first of a matcher's conditions that an alert does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// Another type.
    EventType(EventType),
    /// Another symbol.
    Symbol(&'a str),
    /// Another venue.
    Venue(&'a str),
    /// Not grave enough.
    Severity(Severity, Severity),
    /// None of its rules.
    Rule,
    /// Another value of this label.
    Label(&'a str),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventType(is) => write!(f, "its type is {}", is.as_str()),
            Self::Symbol(is) => write!(f, "its symbol is {is}"),
            Self::Venue(is) => write!(f, "its venue is {is}"),
            Self::Severity(is, min) => write!(f, "its severity is {}, below {}", is.as_str(), min.as_str()),
            Self::Rule => f.write_str("none of its rules is asked for"),
            Self::Label(name) => write!(f, "its label `{name}` has another value"),
        }
    }
}

impl Matcher {
    /// Whether the alert is meant.
    #[must_use]
    pub fn matches(&self, alert: &Alert) -> bool {
        self.mismatch(alert).is_none()
    }

    /// Why the alert is not meant; `None`: it is.
    #[must_use]
    pub fn mismatch<'a>(&'a self, alert: &'a Alert) -> Option<Mismatch<'a>> {
        let event = &alert.event;
        let any = |globs: &[String], text: &str| globs.is_empty() || globs.iter().any(|glob| glob_matches(glob, text));
        if !self.event_types.is_empty() && !self.event_types.contains(&event.event_type) {
            return Some(Mismatch::EventType(event.event_type));
        }
        if let Some(min) = self.severity_min.filter(|min| event.severity < *min) {
            return Some(Mismatch::Severity(event.severity, min));
        }
        if !any(&self.symbols, &event.symbol) {
            return Some(Mismatch::Symbol(&event.symbol));
        }
        if !any(&self.venues, &event.venue) {
            return Some(Mismatch::Venue(&event.venue));
        }
        if !self.rules.is_empty() && !alert.rules.iter().any(|rule| any(&self.rules, rule)) {
            return Some(Mismatch::Rule);
        }
        let value = |name: &str| alert.labels.get(name).map_or("", String::as_str);
        self.labels.iter().find(|(name, glob)| !glob_matches(glob, value(name))).map(|(name, _)| Mismatch::Label(name))
    }
}

/// Whether a glob of `*` (any text, also none) and `?` (one character) covers the whole text. Time: at most the product of
/// the lengths, whatever the glob.
#[must_use]
pub fn glob_matches(glob: &str, text: &str) -> bool {
    // Only the last `*` has to be tried again: what an earlier one took can always be left to a later one.
    let (mut rest, mut left) = (glob, text);
    let mut again: Option<(&str, &str)> = None;
    loop {
        let mut ahead = rest.chars();
        match (ahead.next(), left.chars().next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                rest = ahead.as_str();
                again = Some((rest, left));
            }
            (Some(want), Some(is)) if want == '?' || want.eq_ignore_ascii_case(&is) => {
                rest = ahead.as_str();
                left = &left[is.len_utf8()..];
            }
            _ => {
                let Some((after_star, from)) = again else { return false };
                let mut taken = from.chars();
                if taken.next().is_none() {
                    return false;
                }
                rest = after_star;
                left = taken.as_str();
                again = Some((after_star, left));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs_by_example() {
        for (glob, text, is_match) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "BTC-USDT-PERP", true),
            ("BTC-*", "BTC-USDT-PERP", true),
            ("btc-*", "BTC-USDT-PERP", true),
            ("BTC-*", "WBTC-USDT-PERP", false),
            ("*-PERP", "BTC-USDT-PERP", true),
            ("*-PERP", "BTC-USDT-PERP/ETH-USDT-PERP", true),
            ("*-USD?-*", "BTC-USDC-PERP", true),
            ("*-USD?-*", "BTC-USD-PERP", false),
            ("?", "ß", true),
            ("a*a*b", "aaab", true),
            ("a*a*b", "aaa", false),
            ("[AB]*", "A", false),
            ("*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(glob_matches(glob, text), is_match, "{glob:?} on {text:?}");
        }
    }

    /// The definition, slow.
    fn oracle(glob: &[char], text: &[char]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => oracle(&glob[1..], text) || (!text.is_empty() && oracle(glob, &text[1..])),
            (Some(want), Some(is)) if *want == '?' || want.eq_ignore_ascii_case(is) => oracle(&glob[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]
        #[test]
        fn globs_are_as_defined(glob in "[ab*?ü]{0,8}", text in "[abBü]{0,8}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob_matches(&glob, &text), oracle(&chars(&glob), &chars(&text)));
        }
    }

    #[test]
    fn a_matcher_reads_from_toml_and_refuses_what_it_does_not_know() {
        let read: Matcher = toml::from_str("symbols = ['BTC-*']\nseverity_min = 'WARNING'\nlabels = { desk = 'macro' }").unwrap();
        assert_eq!((read.symbols.len(), read.severity_min), (1, Some(Severity::Warning)));
        let error = toml::from_str::<Matcher>("symbol = ['BTC-*']").unwrap_err().to_string();
        assert!(error.contains("unknown field `symbol`"), "{error}");
    }
}
