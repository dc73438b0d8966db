//! From episodes to events: what has begun, grown graver or is over, in the words of the `alerts` crate.
//!
//! Which of them are alerts is for [`crate::rules`] to say.

use std::collections::BTreeMap;

use alerts::{Event, FeedGapFacts, Status};
use dataflows::model::{Change, Changes, Coverage, Instruments, Severity};

use crate::store::edge::{AlertRow, EdgeRow};

mod correlation;
mod funding;
mod liquidations;
mod regimes;
mod support_zones;
mod volatility;

/// A view's row that speaks of an episode: something that begins, may grow graver, and ends.
pub trait Announced {
    /// When it began, event time, UTC ms.
    fn onset(&self) -> i64;
    /// What it tells as of now: firing while it has no end, then resolved, under one id. `None`: it is not worth telling, or `names` lacks its instrument.
    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event>;
}

/// Events by id and diff, with their onset.
pub(crate) type Rows = BTreeMap<(String, isize), (Event, i64)>;

/// Whether some of a quantum's changes are of episodes.
pub(crate) fn speaks(changes: &[Changes]) -> bool {
    changes.iter().any(|changes| {
        matches!(
            changes,
            Changes::Cascades(_)
                | Changes::MarketCascades(_)
                | Changes::VolatilityRegimes(_)
                | Changes::ZoneTouches(_)
                | Changes::FundingAnomalies(_)
                | Changes::OiShocks(_)
                | Changes::RegimeEpisodes(_)
                | Changes::CorrelationBreaks(_)
                | Changes::Leaders(_)
        )
    })
}

/// What a quantum's changes say of episodes.
pub(crate) fn episodes(changes: &[Changes], instruments: &Instruments, known_at: i64) -> Rows {
    let mut rows = Rows::new();
    for changes in changes {
        match changes {
            Changes::Cascades(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::MarketCascades(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::VolatilityRegimes(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::ZoneTouches(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::FundingAnomalies(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::OiShocks(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::RegimeEpisodes(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::CorrelationBreaks(changes) => tell(changes, instruments, known_at, &mut rows),
            Changes::Leaders(changes) => tell(changes, instruments, known_at, &mut rows),
            _ => {} // not an episode
        }
    }
    rows
}

fn tell<R: Announced>(changes: &[Change<R>], instruments: &Instruments, known_at: i64, rows: &mut Rows) {
    for (row, _, diff) in changes {
        let event = row.event(instruments, known_at);
        rows.extend(event.map(|event| ((event.id.clone(), *diff), (event, row.onset()))));
    }
}

/// Gaps of the feeds, as episodes: open while nothing is heard.
pub(crate) fn gaps(edge: &[EdgeRow], known_at: i64, rows: &mut Rows) {
    for gap in edge.iter().filter_map(|row| if let EdgeRow::Gap(gap) = row { Some(gap) } else { None }) {
        let event = Event::feed_gap(FeedGapFacts {
            venue: gap.venue.clone(),
            stream: gap.stream.clone(),
            symbol: gap.symbol.clone(),
            from_ms: gap.from_ts,
            to_ms: gap.to_ts,
            cause: gap.cause.clone(),
            known_at_ms: known_at,
        });
        rows.insert((event.id.clone(), 1), (event, gap.from_ts));
    }
}

fn severity(severity: Severity) -> alerts::Severity {
    match severity {
        Severity::Info => alerts::Severity::Info,
        Severity::Warning => alerts::Severity::Warning,
        Severity::Critical => alerts::Severity::Critical,
    }
}

fn coverage(coverage: Coverage) -> alerts::Coverage {
    match coverage {
        Coverage::Full => alerts::Coverage::Full,
        Coverage::Sampled1s => alerts::Coverage::Sampled1s,
        Coverage::Partial => alerts::Coverage::Partial,
    }
}

pub(crate) fn to_row(event: &Event, onset: i64, known_at: u64, diff: isize) -> AlertRow {
    AlertRow {
        id: event.id.clone(),
        event_type: event.event_type.as_str().to_owned(),
        status: event.status.as_str().to_owned(),
        severity: event.severity.as_str().to_owned(),
        symbol: event.symbol.clone(),
        venue: event.venue.clone(),
        onset,
        resolved_at: (event.status == Status::Resolved).then_some(event.timestamp),
        title: event.title.clone(),
        description: event.description.clone(),
        data: serde_json::Value::Object(event.data.clone()).to_string(),
        known_at,
        diff: if diff > 0 { 1 } else { -1 },
    }
}
