//! What is unusual about funding. Rates are per 8 hours, beside them what a year of it would cost.

use super::push;
use crate::message::Field;
use crate::message::row::Row;
use crate::message::section::Words;

/// Intervals of 8 hours in a year.
const INTERVALS_PER_YEAR: f64 = 3.0 * 365.0;

pub(super) fn anomaly(row: Row<'_>) -> Words {
    let meaning = match sign(row) {
        Some(true) => {
            "Longs pay shorts, at a rate that is unusual for this symbol: holding a long costs more, a sign that longs are crowded."
        }
        Some(false) => {
            "Shorts pay longs, at a rate that is unusual for this symbol: holding a short costs more, a sign that shorts are crowded."
        }
        None => "The rate is unusual for this symbol.",
    };
    let what = rate(row).map_or_else(|| "unusual funding".to_owned(), |rate| format!("unusual funding, {rate} per 8 h"));
    Words { what, text: with_reasons(row, meaning), fields: fields(row, "Funding rate") }
}

pub(super) fn reversal(row: Row<'_>) -> Words {
    let (turned, meaning) = match sign(row) {
        Some(true) => {
            ("funding turned positive", "Longs now pay shorts, the other way round than before: the crowded side has changed.")
        }
        Some(false) => {
            ("funding turned negative", "Shorts now pay longs, the other way round than before: the crowded side has changed.")
        }
        None => ("funding changed its side", "The other side pays now."),
    };
    let what = rate(row).map_or_else(|| turned.to_owned(), |rate| format!("{turned}, {rate} per 8 h"));
    Words { what, text: with_reasons(row, meaning), fields: fields(row, "Funding rate") }
}

pub(super) fn spread(row: Row<'_>) -> Words {
    let meaning =
        "The same position costs or earns a different amount by venue: positions tend to move between them until that is gone.";
    let size = row.number("funding_rate").map(|rate| format!("{:.4} %", rate * 100.0));
    let what = size.map_or_else(
        || "funding differs between venues".to_owned(),
        |size| format!("funding differs by {size} per 8 h between venues"),
    );
    Words { what, text: with_reasons(row, meaning), fields: fields(row, "Highest minus lowest") }
}

/// Whether longs pay.
fn sign(row: Row<'_>) -> Option<bool> {
    row.number("funding_rate").filter(|rate| *rate != 0.0).map(|rate| rate > 0.0)
}

/// Four decimals of a per cent, as venues show it.
fn rate(row: Row<'_>) -> Option<String> {
    row.number("funding_rate").map(|rate| format!("{:+.4} %", rate * 100.0))
}

fn with_reasons(row: Row<'_>, meaning: &str) -> String {
    if row.is_resolved() {
        return "This is over; the figures are those of its onset.".to_owned();
    }
    let reasons = row.texts("reasons");
    if reasons.is_empty() { meaning.to_owned() } else { format!("{meaning} {}.", reasons.join(". ").trim_end_matches('.')) }
}

fn fields(row: Row<'_>, name: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let a_year = row.number("funding_rate").map(|rate| format!("{:+.1} %", rate * INTERVALS_PER_YEAR * 100.0));
    let both = rate(row).zip(a_year).map(|(rate, a_year)| format!("{rate} per 8 h ({a_year} a year) at the onset"));
    push(&mut fields, name, both);
    push(&mut fields, "z-score", row.number("funding_z_score").map(|z| format!("{z:+.1} against 30 days")));
    push(&mut fields, "Anomaly score", row.number("anomaly_score").map(|score| format!("{score:.2}")));
    fields
}
