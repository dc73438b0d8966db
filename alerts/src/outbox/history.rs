//! What became of notices, for people and for `alerts history`: read from the file, also while a run has it open.

use std::path::Path;

use rusqlite::params;
use serde::Serialize;

use super::{OutboxError, failed, from_json, schema};
use crate::notice::Notice;

/// Which notices are asked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this channel.
    pub channel: Option<String>,
    /// In this state: `waiting`, `late`, `bundled`, `delivered`, `failed`.
    pub state: Option<String>,
    /// Those whose id, or whose only alert's id, begins with this.
    pub id: Option<String>,
    /// Decided at or after this, UTC ms.
    pub since_ms: i64,
    /// At most so many, newest first.
    pub limit: usize,
}

/// A notice with its fate.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The notice's id.
    pub id: String,
    /// Its channel.
    pub channel: String,
    /// Why it was sent.
    pub kind: String,
    /// `waiting`, `late`, `bundled`, `delivered`, `failed`.
    pub state: String,
    /// The id of the digest that it went out in.
    pub digest: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// The receiver's last answer; 0: none.
    pub http_status: u16,
    /// Why it was not delivered.
    pub reason: String,
    /// UTC ms.
    pub decided_at: i64,
    /// UTC ms.
    pub finished_at: Option<i64>,
    /// Its first alert's title; of several, how many.
    pub title: String,
}

/// The newest notices and what became of them; none where there is no file.
///
/// # Errors
/// If the file can't be read.
pub fn history(path: &Path, filter: &Filter) -> Result<Vec<Entry>, OutboxError> {
    const SQL: &str = "SELECT n.id, n.channel, n.kind, n.state, d.id, n.attempts, n.http_status, n.reason, n.decided_at, n.finished_at, n.body
        FROM notices AS n LEFT JOIN notices AS d ON d.seq = n.bundle
        WHERE (?1 IS NULL OR n.channel = ?1) AND (?2 IS NULL OR n.state = ?2) AND n.decided_at >= ?3
        AND (?5 IS NULL OR substr(n.id, 1, length(?5)) = ?5 OR substr(n.subject, 1, length(?5)) = ?5) ORDER BY n.seq DESC LIMIT ?4";
    let Some(db) = schema::open_to_read(path)? else { return Ok(Vec::new()) };
    let what = failed("read the history");
    let mut statement = db.prepare(SQL).map_err(&what)?;
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![filter.channel, filter.state, filter.since_ms, limit, filter.id], |row| {
        let entry = Entry {
            id: row.get(0)?,
            channel: row.get(1)?,
            kind: row.get(2)?,
            state: row.get(3)?,
            digest: row.get(4)?,
            attempts: row.get(5)?,
            http_status: row.get(6)?,
            reason: row.get(7)?,
            decided_at: row.get(8)?,
            finished_at: row.get(9)?,
            title: String::new(),
        };
        Ok((entry, row.get::<_, String>(10)?))
    });
    let rows: Vec<(Entry, String)> = rows.and_then(Iterator::collect).map_err(&what)?;
    rows.into_iter().map(|(entry, body)| Ok(Entry { title: title(&from_json("notice", &body)?), ..entry })).collect()
}

fn title(notice: &Notice) -> String {
    match notice.alerts.as_slice() {
        [] => notice.remark.clone(),
        [alert] if notice.total() == 1 => alert.event.title.clone(),
        _ => format!("{} alerts", notice.total()),
    }
}
