//! Orders: what a person says on the command line, left in the outbox's file for the run that has it open, or for the next one.

use std::path::Path;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Outbox, OutboxError, failed, from_json, json, schema};

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Mute what matches for a while. The body is the policy's silence, as JSON.
    Silence {
        /// The silence.
        silence: serde_json::Value,
    },
    /// End a silence.
    Unsilence {
        /// Its id.
        id: String,
    },
    /// Somebody looks after it: no reminders, no escalation.
    Ack {
        /// An alert's id, or a prefix of it that names one.
        id: String,
        /// Who.
        by: String,
        /// For so long; `None`: until it is over.
        for_ms: Option<i64>,
    },
    /// Take an acknowledgement back.
    Unack {
        /// An alert's id.
        id: String,
    },
    /// Send dead letters again.
    Replay {
        /// Which; empty: all failed ones since then.
        ids: Vec<String>,
        /// Only of this channel.
        channel: Option<String>,
        /// Decided at or after this, UTC ms.
        since_ms: i64,
    },
    /// Try a disabled channel again.
    Enable {
        /// Its name.
        channel: String,
    },
}

/// Leaves an order in the outbox at `path`; whoever has it open takes it within a second. Answers its number.
///
/// # Errors
/// If the file can't be opened or written.
pub fn leave_order(path: &Path, order: &Order, now_ms: i64) -> Result<i64, OutboxError> {
    let db = schema::open(path)?;
    let body = json("order", order)?;
    db.execute("INSERT INTO orders(at, body) VALUES (?1, ?2)", params![now_ms, body]).map_err(failed("leave an order"))?;
    Ok(db.last_insert_rowid())
}

impl Outbox {
    /// Takes the orders that were left, in order, out of the file. One that can't be read (a later version's) is given as its reason.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub fn take_orders(&mut self) -> Result<Vec<Result<Order, OutboxError>>, OutboxError> {
        let what = failed("take orders");
        let bodies: Vec<String> = {
            let mut statement = self.db.prepare_cached("SELECT body FROM orders ORDER BY seq").map_err(&what)?;
            let rows = statement.query_map([], |row| row.get(0)).map_err(&what)?;
            rows.collect::<Result<_, _>>().map_err(&what)?
        };
        if !bodies.is_empty() {
            self.db.execute("DELETE FROM orders", []).map_err(&what)?;
        }
        Ok(bodies.iter().map(|body| from_json("order", body)).collect())
    }

    /// Changes when another process has written to the file: cheap to ask.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn data_version(&self) -> Result<i64, OutboxError> {
        self.db.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(failed("ask for changes"))
    }
}
