//! Pairs that no longer move together, and who moves first.

use super::push;
use crate::message::row::Row;
use crate::message::section::Words;

pub(super) fn broken(row: Row<'_>) -> Words {
    let r = row.number("return_correlation");
    let usual = row.number("baseline_correlation");
    let horizon = row.text("horizon").map_or(String::new(), |horizon| format!(" over {horizon}"));
    let mut what = "moved apart".to_owned();
    if let Some(r) = r {
        what.push_str(&format!(", correlation {r:.2}{horizon}"));
    }
    if let Some(usual) = usual {
        what.push_str(&format!(", usually {usual:.2}"));
    }
    let mut text = match row.is_resolved() {
        false => "Their returns no longer go together as they did: a hedge of one with the other protects less than it used to.",
        true => "Their returns go together again.",
    }
    .to_owned();
    if !row.is_resolved() && row.text("signal") == Some("POTENTIAL_PAIR_TRADE") {
        text.push_str(" Potential pair trade: the two used to move together.");
    }
    if usual.is_none() {
        text.push_str(" There is no month of history to compare it with.");
    }
    let mut fields = Vec::new();
    push(&mut fields, "Correlation", r.map(|r| format!("{r:.2}{horizon} at the onset")));
    let deviations = row.number("delta_z").map_or(String::new(), |delta| format!(", then {delta:+.1} deviations from it"));
    push(&mut fields, "Usual", usual.map(|usual| format!("{usual:.2}{deviations}")));
    push(&mut fields, "Strength", row.number("divergence_strength").map(|strength| format!("{strength:.2}")));
    Words { what, text, fields }
}

pub(super) fn leader(row: Row<'_>) -> Words {
    let before = row.text("before");
    let leader = row.text("leader").unwrap_or(&row.event.symbol);
    let mut fields = Vec::new();
    push(&mut fields, "Leader", Some(before.map_or_else(|| leader.to_owned(), |before| format!("{before} → {leader}"))));
    let score = row.number("score").map(|score| format!("leads {score:+.0} more of the compared symbols than lead it"));
    push(&mut fields, "Score", score);
    Words {
        what: before.map_or_else(|| "now moves first".to_owned(), |before| format!("now moves first, instead of {before}")),
        text: match row.is_resolved() {
            false => format!("A move tends to show in {leader} first, and in the others fractions of a second later."),
            true => "Another symbol moves first now.".to_owned(),
        },
        fields,
    }
}
