//! Changes of volatility regime.

use super::push;
use crate::facts::words::percent;
use crate::message::row::Row;
use crate::message::section::Words;

/// From the calmest.
const REGIMES: [&str; 4] = ["STABLE", "HIGH_VOL", "EXPLOSIVE", "EXTREME"];

pub(super) fn change(row: Row<'_>) -> Words {
    let (from, to) = (row.text("from").unwrap_or("none"), row.text("to").unwrap_or("none"));
    let rank = |regime: &str| REGIMES.iter().position(|known| *known == regime);
    let direction = match rank(from).zip(rank(to)) {
        Some((from, to)) if to > from => " up",
        Some((from, to)) if to < from => " down",
        _ => "",
    };
    let used = row.number("volatility_per_day").map(percent);
    let a_day = used.as_ref().map_or(String::new(), |used| format!(", {used} per day"));
    let mut text = match direction {
        " up" => "The price swings more than before.",
        " down" => "The price swings less than before.",
        _ => "The size of the price's swings has changed.",
    }
    .to_owned();
    if let Some(used) = &used {
        text.push_str(&format!(" At this volatility about two days of three end within ±{used} of where they began."));
    }
    if row.is_resolved() {
        text = "A correction took the change back.".to_owned();
    }
    let mut fields = Vec::new();
    push(&mut fields, "Regime", Some(format!("{from} → {to}")));
    let a_year = row.number("volatility_per_day").map(|used| format!("{:.0} %", used * 365f64.sqrt() * 100.0));
    let both = used.zip(a_year).map(|(a_day, a_year)| format!("{a_day} per day ({a_year} a year)"));
    push(&mut fields, "Volatility, 24 h", both);
    push(&mut fields, "Close to close", row.number("close_to_close").map(|value| format!("{} per day", percent(value))));
    push(&mut fields, "Parkinson", row.number("parkinson").map(|value| format!("{} per day", percent(value))));
    let multiplier = row.number("risk_multiplier_before").zip(row.number("risk_multiplier"));
    push(&mut fields, "Risk multiplier", multiplier.map(|(before, now)| format!("{before:.1} → {now:.1}")));
    Words { what: format!("volatility{direction}, {from} → {to}{a_day}"), text, fields }
}
