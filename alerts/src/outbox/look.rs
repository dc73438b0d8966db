//! What an outbox knows beside its notices, for people: read from the file, also while a run has it open. Nothing is written, not even where there is no file.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::{Health, Order, OutboxError, failed, from_json, schema};

/// The policy's state, the channels' and what was ordered, all of one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The policy's rows, for [`crate::policy::Policy::restore`].
    pub policy: Vec<(String, String)>,
    /// Channels that have failed, by name. Of others there is nothing to say.
    pub channels: Vec<ChannelState>,
    /// Orders that nobody has taken yet, the eldest first. One of a later version is left out.
    pub orders: Vec<Order>,
}

/// How a channel fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Its name.
    pub name: String,
    /// The first failure since the last success, UTC ms.
    pub failing_since: Option<i64>,
    /// Why nothing is sent any more.
    pub disabled: Option<String>,
}

/// Looks into the outbox at `path`. `None`: there is no file.
///
/// # Errors
/// If the file can't be read, or comes from a later version.
pub fn look(path: &Path) -> Result<Option<Look>, OutboxError> {
    let Some(db) = schema::open_to_read(path)? else { return Ok(None) };
    let what = failed("look into the state");
    db.execute_batch("BEGIN").map_err(&what)?;
    let pairs = |sql: &str| -> Result<Vec<(String, String)>, OutboxError> {
        let mut statement = db.prepare(sql).map_err(&what)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(&what)
    };
    let channels = pairs("SELECT name, body FROM channels ORDER BY name")?;
    let channels = channels.into_iter().map(|(name, body)| {
        let Health { failing_since, disabled, .. } = from_json("channel's state", &body)?;
        Ok(ChannelState { name, failing_since, disabled })
    });
    let orders = pairs("SELECT '', body FROM orders ORDER BY seq")?;
    Ok(Some(Look {
        policy: pairs("SELECT key, body FROM policy ORDER BY key")?,
        channels: channels.collect::<Result<_, OutboxError>>()?,
        orders: orders.iter().filter_map(|(_, body)| from_json("order", body).ok()).collect(),
    }))
}

/// Whether an order of this number ([`super::leave_order`]) still waits to be taken.
///
/// # Errors
/// If the file can't be read.
pub fn is_order_waiting(path: &Path, order: i64) -> Result<bool, OutboxError> {
    let Some(db) = schema::open_to_read(path)? else { return Ok(false) };
    exists(&db, order).map_err(failed("look for an order"))
}

fn exists(db: &Connection, order: i64) -> rusqlite::Result<bool> {
    db.prepare("SELECT 1 FROM orders WHERE seq = ?1")?.exists(params![order])
}

/// Whether another process seems to have the file open: the last one that closes it removes what stands beside it.
#[must_use]
pub fn is_open(path: &Path) -> bool {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    PathBuf::from(beside).exists()
}
