//! Returns of the price to a zone in which much was liquidated.

use super::{cascade, push};
use crate::facts::words::price;
use crate::message::row::Row;
use crate::message::section::Words;

pub(super) fn touched(row: Row<'_>) -> Words {
    let (whose, meaning) = match row.text("side") {
        Some("LONG") => (
            "long",
            "Longs were force-closed in this range, and somebody bought from them there: such a range is watched as support.",
        ),
        Some("SHORT") => (
            "short",
            "Shorts were force-closed in this range, and somebody sold to them there: such a range is watched as resistance.",
        ),
        _ => ("", "Positions were force-closed in this range."),
    };
    let meaning = if row.is_resolved() { "The price has left the range again." } else { meaning };
    let ends = row.number("price_low").zip(row.number("price_high"));
    let range = ends.map(|(low, high)| format!("{}–{}", price(low), price(high)));
    let verb = if row.is_resolved() { "left a" } else { "back in a" };
    let zone = format!("{verb} {whose} liquidation zone").replace("  ", " ");
    let mut fields = Vec::new();
    let width = ends
        .filter(|(low, high)| *low > 0.0 && high >= low)
        .map(|(low, high)| format!(" ({:.2} % wide)", (high / low - 1.0) * 100.0));
    push(&mut fields, "Zone", range.as_ref().map(|range| format!("{range}{}", width.unwrap_or_default())));
    push(&mut fields, "Liquidated there", row.usd("notional_usd"));
    push(&mut fields, "Rank", row.count("rank").map(|rank| format!("number {rank} of the symbol's {whose} zones by size")));
    push(&mut fields, "Return", row.count("touches").map(|touches| format!("number {touches} within the window")));
    Words {
        what: range.map_or_else(|| zone.clone(), |range| format!("{zone}, {range}")),
        text: format!("{meaning}{}", cascade::incomplete(row)),
        fields,
    }
}
