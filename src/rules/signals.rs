//! What a rule can watch: the numbers of a view's rows, by the names that SQL knows them by.

use std::collections::BTreeMap;

use dataflows::model::{Change, Changes, Instruments};
use serde_json::Value;

use crate::store::rows::{self, Stored};
use crate::store::views;

/// Views whose rows are single happenings, or so many that a rule on them would watch nothing in particular.
const NOT_WATCHABLE: [&str; 12] = [
    "liquidations",
    "late_events",
    "rejected_frames",
    "feed_gaps",
    "deliveries",
    "alerts",
    "models",
    "correlations",
    "lead_lag",
    "cascades",
    "market_cascades",
    "support_zones",
];

/// The views that a rule can name: those whose rows are numbers at a time.
pub(super) fn watchable() -> impl Iterator<Item = &'static str> {
    let has_ts = |view: &&views::View| view.key.contains(&"ts");
    views::VIEWS.iter().filter(has_ts).map(|view| view.name).filter(|name| !NOT_WATCHABLE.contains(name))
}

/// What a rule can compare of a view: its columns but for those that say whose and when. Empty: there is no such view.
pub(super) fn columns(view: &str) -> Vec<&'static str> {
    macro_rules! names {
        ($($view:ident: $kind:ident($row:ty),)*) => {
            match view {
                $(stringify!($view) => <<$row as Stored>::Stored as clickhouse::Row>::COLUMN_NAMES,)*
                _ => &[],
            }
        };
    }
    let names: &'static [&'static str] = dataflows::for_each_view!(names);
    let key = views::named(view).map_or(&[][..], |view| view.key);
    let is_figure = |name: &&str| !key.contains(name) && !matches!(*name, "ts" | "known_at" | "diff");
    names.iter().copied().filter(is_figure).collect()
}

/// A row as rules see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Signal {
    pub view: &'static str,
    pub venue: String,
    pub symbol: String,
    /// What else makes the row the same row, but for its time: `timeframe`, `window`, `horizon`.
    pub rest: BTreeMap<String, String>,
    pub ts: i64,
    pub values: BTreeMap<String, f64>,
}

impl Signal {
    /// Whose numbers these are, over time.
    pub fn line(&self) -> Line {
        Line { view: self.view, venue: self.venue.clone(), symbol: self.symbol.clone(), rest: self.rest.clone() }
    }
}

/// A view's row but for its time: what a rule has one state for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Line {
    pub view: &'static str,
    pub venue: String,
    pub symbol: String,
    pub rest: BTreeMap<String, String>,
}

/// The rows, with their diffs, that `wants` asks for by view and by whether they are taken back (−1) or said (+1).
pub(super) fn signals(
    changes: &Changes,
    instruments: &Instruments,
    wants: impl Fn(&str, isize) -> bool,
    found: &mut Vec<(Signal, isize)>,
) {
    macro_rules! project {
        ($($view:ident: $kind:ident($row:ty),)*) => {
            match changes {
                $(Changes::$kind(rows) => {
                    let view = stringify!($view);
                    let [taken, given] = [-1, 1].map(|diff| wants(view, diff));
                    if taken || given {
                        project::<$row>(view, rows, |diff| if diff > 0 { given } else { taken }, instruments, found);
                    }
                },)*
            }
        };
    }
    dataflows::for_each_view!(project);
}

fn project<R: Stored>(
    view: &'static str,
    rows: &[Change<R>],
    wants: impl Fn(isize) -> bool,
    instruments: &Instruments,
    found: &mut Vec<(Signal, isize)>,
) {
    let Some(key) = views::named(view).map(|view| view.key) else { return };
    // An instrument is known before a row names it; the store would refuse the row, and say so.
    let Ok(names) = rows::names(rows, instruments) else { return };
    for (row, _, diff) in rows.iter().filter(|(_, _, diff)| wants(*diff)) {
        let Some(Ok(Value::Object(columns))) = row.stored(0, 1, &names).map(serde_json::to_value) else { continue };
        let Some(ts) = columns.get("ts").and_then(Value::as_i64) else { continue };
        let mut signal =
            Signal { view, venue: String::new(), symbol: String::new(), rest: BTreeMap::new(), ts, values: BTreeMap::new() };
        for (name, value) in columns {
            match (name.as_str(), value) {
                ("ts" | "known_at" | "diff", _) => {}
                ("venue", Value::String(text)) => signal.venue = text,
                ("symbol", Value::String(text)) => signal.symbol = text,
                (_, Value::String(text)) if key.contains(&name.as_str()) => drop(signal.rest.insert(name, text)),
                (_, Value::Number(number)) => drop(number.as_f64().map(|number| signal.values.insert(name, number))),
                _ => {}
            }
        }
        found.push((signal, *diff));
    }
}
