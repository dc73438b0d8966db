//! The outbox on disk: one SQLite file, so that other processes can read it, and leave orders in it, while a run has it open.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::OutboxError;

/// Raised with every change that an older program could not read.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS notices(
    seq INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,        -- id of its alert; of several alerts: its own id
    kind TEXT NOT NULL,
    is_urgent INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    counts TEXT NOT NULL,         -- JSON
    body TEXT NOT NULL,           -- JSON of the notice, without charts
    decided_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    state TEXT NOT NULL,          -- waiting, late, bundled, delivered, failed
    bundle INTEGER,               -- the digest that it went out in
    attempts INTEGER NOT NULL DEFAULT 0,
    finished_at INTEGER,
    http_status INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE(channel, id)
);
CREATE INDEX IF NOT EXISTS notices_open ON notices(channel, state, is_urgent, due_at, seq);
CREATE INDEX IF NOT EXISTS notices_age ON notices(channel, state, decided_at);
CREATE INDEX IF NOT EXISTS notices_subject ON notices(channel, subject, seq) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS notices_bundle ON notices(bundle) WHERE bundle IS NOT NULL;
CREATE INDEX IF NOT EXISTS notices_finished ON notices(finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS charts(alert TEXT PRIMARY KEY, body TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS policy(key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS channels(name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders(seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
";

/// Opens the file, makes it where it isn't there, and refuses what a later version wrote.
pub(super) fn open(path: &Path) -> Result<Connection, OutboxError> {
    let fail = |source| OutboxError::Open { path: path.display().to_string(), source };
    let db = Connection::open(path).map_err(fail)?;
    set_up(&db).map_err(fail)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    if version > VERSION {
        return Err(OutboxError::Version { path: path.display().to_string(), version, known: VERSION });
    }
    db.execute_batch(TABLES).map_err(fail)?;
    // Not where it is so already: a full disk can be read.
    if version != VERSION {
        db.pragma_update(None, "user_version", VERSION).map_err(fail)?;
    }
    Ok(db)
}

/// Opens the file for looking at it. `None`: there is none.
pub(super) fn open_to_read(path: &Path) -> Result<Option<Connection>, OutboxError> {
    if !path.exists() {
        return Ok(None);
    }
    let fail = |source| OutboxError::Open { path: path.display().to_string(), source };
    let db =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(fail)?;
    db.busy_timeout(BUSY).map_err(fail)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    if version > VERSION {
        return Err(OutboxError::Version { path: path.display().to_string(), version, known: VERSION });
    }
    Ok(Some(db))
}

const BUSY: Duration = Duration::from_secs(5);

fn set_up(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY)?;
    // Readers don't wait for the writer; FULL is what makes a commit outlive the machine's power, not just the process.
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "journal_size_limit", 16 * 1_024 * 1_024)?;
    db.pragma_update(None, "cache_size", -4_096)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}
