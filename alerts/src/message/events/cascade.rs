//! Liquidation cascades of a symbol and of the market, and open interest that confirms one.

use super::push;
use crate::facts::words::percent;
use crate::message::Field;
use crate::message::row::{Row, field};
use crate::message::section::Words;

/// Assets named in a title.
const NAMED_MAX: usize = 3;

pub(super) fn liquidation(row: Row<'_>) -> Words {
    let mut what = kind(row).to_owned();
    for part in [row.usd("total_liquidated_usd"), multiple(row)].into_iter().flatten() {
        what.push_str(&format!(", {part}"));
    }
    let mut text = meaning(row).to_owned();
    if let (Some(true), Some(ratio)) = (row.flag("self_feeding"), row.number("branching_ratio")) {
        let (feeds, begets) = if row.is_resolved() { ("fed", "begot") } else { ("feeds", "begets") };
        text.push_str(&format!(" It {feeds} itself: each liquidation {begets} {ratio:.2} more."));
    }
    text.push_str(incomplete(row));

    let mut fields = sizes(row);
    if !row.is_resolved() {
        let window = row.text("window").map_or(String::new(), |window| format!(" over {window}"));
        push(&mut fields, "Velocity", row.usd("velocity_usd_per_hour").map(|velocity| format!("{velocity}/h{window}")));
    }
    let times = multiple(row).map_or(String::new(), |times| format!(", {times}"));
    push(&mut fields, "Peak velocity", row.usd("peak_velocity_usd_per_hour").map(|peak| format!("{peak}/h{times}")));
    let from = match row.text("critical_from") {
        Some("adaptive") => ", from the symbol's own past",
        Some("absolute") => ", from the configuration",
        _ => "",
    };
    push(&mut fields, "Critical velocity", row.usd("critical_usd_per_hour").map(|critical| format!("{critical}/h{from}")));
    let moved =
        row.number("price_move_bps").map(|bps| format!("{:+.2} % ({bps:+.0} bps) from the onset to its extreme", bps / 100.0));
    push(&mut fields, "Price move", moved);
    push(&mut fields, "Self-feeding", self_feeding(row));
    Words { what, text, fields }
}

pub(super) fn market(row: Row<'_>) -> Words {
    let assets = row.texts("assets");
    let (named, others) = assets.split_at(assets.len().min(NAMED_MAX));
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let mut what = format!("{} of {} assets", kind(row), assets.len());
    if let Some(total) = row.usd("total_liquidated_usd") {
        what.push_str(&format!(", {total}"));
    }
    if !named.is_empty() {
        what.push_str(&format!(" ({}{others})", named.join(", ")));
    }
    let mut text = meaning(row).to_owned();
    if !row.is_resolved() {
        text.push_str(" It is not one asset alone: leverage is coming out of the market as a whole.");
    }
    text.push_str(incomplete(row));

    let mut fields = sizes(row);
    let largest = row.text("largest_asset").zip(row.usd("largest_notional_usd"));
    push(&mut fields, "Largest", largest.map(|(asset, notional)| format!("{asset}, {notional}")));
    push(&mut fields, "Cascades", row.count("cascades").map(|cascades| format!("{cascades} of 5 minutes")));
    push(&mut fields, "Assets", (!assets.is_empty()).then(|| format!("{}{others}", named.join(", "))));
    Words { what, text, fields }
}

pub(super) fn oi_shock(row: Row<'_>) -> Words {
    let change = row.number("change_5m");
    let fall = change.map_or(String::new(), |change| format!(" {}", percent(change.abs())));
    let mut fields = Vec::new();
    push(&mut fields, "Open interest", change.map(|change| format!("{:+.2} % in 5 min", change * 100.0)));
    push(&mut fields, "Cascade", row.text("cascade_id").map(str::to_owned));
    Words {
        what: format!("open interest fell{fall} in 5 min during a cascade"),
        text:
            "Positions are being closed rather than opened: the cascade is forcing traders out of the market, which confirms it."
                .into(),
        fields,
    }
}

fn kind(row: Row<'_>) -> &'static str {
    match row.text("side_bias") {
        Some("LONG") => "long liquidation cascade",
        Some("SHORT") => "short liquidation cascade",
        Some("BALANCED") => "two-sided liquidation cascade",
        _ => "liquidation cascade",
    }
}

fn meaning(row: Row<'_>) -> &'static str {
    match (row.text("side_bias"), row.is_resolved()) {
        (Some("LONG"), false) => {
            "Longs are being force-closed: forced selling at market tends to push the price down, towards the next longs' liquidation prices."
        }
        (Some("SHORT"), false) => {
            "Shorts are being force-closed: forced buying at market tends to push the price up, towards the next shorts' liquidation prices."
        }
        (Some("BALANCED"), false) => {
            "Longs and shorts are being force-closed at once: forced orders go both ways, and the price tends to swing."
        }
        (_, false) => "Positions are being force-closed at market.",
        (Some("LONG"), true) => "The forced selling of longs is back below the critical velocity.",
        (Some("SHORT"), true) => "The forced buying by shorts is back below the critical velocity.",
        (_, true) => "Forced closing is back below the critical velocity.",
    }
}

fn sizes(row: Row<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    let count =
        row.count("count").map_or(String::new(), |count| format!(" in {count} liquidation{}", if count == 1 { "" } else { "s" }));
    push(&mut fields, "Liquidated", row.usd("total_liquidated_usd").map(|total| format!("{total}{count}")));
    if let (Some(long), Some(short)) = (row.number("long_notional_usd"), row.number("short_notional_usd")) {
        let share =
            |part: f64| if long + short > 0.0 { format!(" ({:.0} %)", part / (long + short) * 100.0) } else { String::new() };
        let side = |key, part| Some(format!("{}{}", row.usd(key)?, share(part)));
        if let (Some(long), Some(short)) = (side("long_notional_usd", long), side("short_notional_usd", short)) {
            fields.push(field("Longs / shorts", format!("{long} / {short}")));
        }
    }
    fields
}

fn multiple(row: Row<'_>) -> Option<String> {
    row.number("severity").map(|severity| format!("{severity:.2}× critical"))
}

fn self_feeding(row: Row<'_>) -> Option<String> {
    match (row.flag("self_feeding")?, row.number("branching_ratio")) {
        (true, Some(ratio)) => Some(format!("yes, branching ratio {ratio:.2}")),
        (true, None) => Some("yes".to_owned()),
        (false, Some(ratio)) => Some(format!("no, branching ratio {ratio:.2}")),
        (false, None) => Some("too few liquidations to tell".to_owned()),
    }
}

/// What to add where the feed leaves liquidations out.
pub(super) fn incomplete(row: Row<'_>) -> &'static str {
    match row.text("coverage") {
        Some("full") | None => "",
        Some("sampled_1s") => " The venue reports at most one liquidation a second: the true size is larger.",
        Some(_) => " Not every liquidation is reported: the true size is larger.",
    }
}
