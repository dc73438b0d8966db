//! Regimes by hidden Markov models: changes, confirmations over time frames, models that no longer fit.

use super::push;
use crate::facts::words::percent;
use crate::message::row::Row;
use crate::message::section::Words;

pub(super) fn change(row: Row<'_>) -> Words {
    let (from, to) = (row.text("from").unwrap_or("none"), row.text("to").unwrap_or("none"));
    let sure = row.number("strength").map(percent);
    let mut fields = Vec::new();
    push(&mut fields, "Regime", Some(format!("{from} → {to}")));
    push(&mut fields, "Probability", sure.as_ref().map(|sure| format!("{sure} at the onset")));
    push(&mut fields, "Model", row.text("model").map(str::to_owned));
    push(&mut fields, "Time frame", row.text("timeframe").map(str::to_owned));
    let of = row.text("timeframe").map_or(String::new(), |timeframe| format!("{timeframe} "));
    Words { what: format!("{of}regime {from} → {to}"), text: meaning(row, to), fields }
}

pub(super) fn confirmed(row: Row<'_>) -> Words {
    let to = row.text("to").unwrap_or("none");
    let mut fields = Vec::new();
    push(&mut fields, "Regime", Some(to.to_owned()));
    push(&mut fields, "Agreement", row.number("strength").map(|share| format!("{} of the time frames' weight", percent(share))));
    Words {
        what: format!("{to} confirmed by its time frames"),
        text: match row.is_resolved() {
            false => format!("Short and long time frames agree. {}", meaning(row, to)),
            true => "The time frames no longer agree.".to_owned(),
        },
        fields,
    }
}

pub(super) fn drift(row: Row<'_>) -> Words {
    let model = row.text("model").unwrap_or("the model");
    let of = row.text("timeframe").map_or(String::new(), |timeframe| format!("{timeframe} "));
    let mut fields = Vec::new();
    push(&mut fields, "Drift score", row.number("strength").map(|score| format!("{score:.2} at the onset")));
    push(&mut fields, "Model", row.text("model").map(str::to_owned));
    push(&mut fields, "Time frame", row.text("timeframe").map(str::to_owned));
    Words {
        what: format!("{of}model {model} no longer fits"),
        text: match row.is_resolved() {
            false => "Recent bars surprise it far more than those it was trained on: what it says of regimes is less reliable until it is refitted.",
            true => "Recent bars no longer surprise it more than those it was trained on.",
        }
        .to_owned(),
        fields,
    }
}

fn meaning(row: Row<'_>, to: &str) -> String {
    if row.is_resolved() {
        return "This regime is over.".to_owned();
    }
    match to {
        "BULL" | "STRONG_BULL" => "Recent returns look like those of rising markets.",
        "BEAR" | "STRONG_BEAR" => "Recent returns look like those of falling markets.",
        "CHOP" => "Recent returns look like those of markets without direction.",
        "CALM" => "Recent returns look like those of quiet markets.",
        "TURBULENT" => "Recent returns look like those of turbulent markets.",
        _ => "Recent returns look like those of another regime than before.",
    }
    .to_owned()
}
