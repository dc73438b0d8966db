//! The simple way: URLs in environment variables, without any file. Discord's, Slack's and Telegram's are recognised.

use alerts::{EventType, SecretText};

/// The variables and what each asks for; none: everything.
const VARIABLES: [(&str, &[EventType]); 6] = [
    (
        "WEBHOOKS_CASCADE",
        &[EventType::LiquidationCascade, EventType::MarketCascade, EventType::SupportZoneTouched, EventType::OiShock],
    ),
    ("WEBHOOKS_FUNDING", &[EventType::FundingAnomaly, EventType::FundingReversal, EventType::FundingSpread]),
    ("WEBHOOKS_VOLATILITY", &[EventType::VolatilityRegimeChange]),
    ("WEBHOOKS_CORRELATION", &[EventType::CorrelationBreak, EventType::LeaderChange]),
    ("WEBHOOKS_REGIME", &[EventType::RegimeChange, EventType::RegimeConfirmed, EventType::ModelDrift]),
    ("WEBHOOKS_ALL", &[]),
];
/// Addresses in the own network that may be posted to.
const ALLOW: &str = "WEBHOOKS_ALLOW_ADDRESSES";

/// A receiver by environment variable.
#[derive(Debug)]
pub struct Hook {
    /// `webhooks_cascade`, or `webhooks_cascade_2` for the second URL.
    pub name: String,
    /// The variable.
    pub variable: &'static str,
    /// Where to.
    pub url: SecretText,
    /// Empty: all.
    pub event_types: Vec<EventType>,
}

/// What the environment asks for.
#[derive(Debug, Default)]
pub struct Environment {
    /// Receivers.
    pub hooks: Vec<Hook>,
    /// As `alerts.allow_addresses`.
    pub allow_addresses: Vec<String>,
}

/// From this process's environment.
#[must_use]
pub fn from_process() -> Environment {
    read(|name| std::env::var(name).ok())
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Environment {
    let parts =
        |text: String| text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let mut hooks = Vec::new();
    for (name, event_types) in VARIABLES {
        let urls = variable(name).map(parts).unwrap_or_default();
        for (n, url) in urls.iter().enumerate().filter_map(|(n, url)| Some((n, SecretText::literal(url).ok()?))) {
            let lower = name.to_lowercase();
            let channel = if n == 0 { lower } else { format!("{lower}_{}", n + 1) };
            hooks.push(Hook { name: channel, variable: name, url, event_types: event_types.to_vec() });
        }
    }
    Environment { hooks, allow_addresses: variable(ALLOW).map(parts).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_hold_urls_with_commas_between_them() {
        let found = read(|name| match name {
            "WEBHOOKS_CASCADE" => Some(" https://a.example/1, ,https://b.example/2,".into()),
            "WEBHOOKS_ALL" => Some("https://c.example/3".into()),
            "WEBHOOKS_ALLOW_ADDRESSES" => Some("127.0.0.0/8".into()),
            "WEBHOOKS_FUNDING" => Some(String::new()),
            _ => None,
        });
        let names: Vec<_> =
            found.hooks.iter().map(|hook| (hook.name.as_str(), hook.url.expose(), hook.event_types.len())).collect();
        assert_eq!(
            names,
            [
                ("webhooks_cascade", "https://a.example/1", 4),
                ("webhooks_cascade_2", "https://b.example/2", 4),
                ("webhooks_all", "https://c.example/3", 0)
            ]
        );
        assert_eq!(found.allow_addresses, ["127.0.0.0/8"]);
    }
}
