//! The outbox: notices on disk from before they are "decided" until they are delivered, given up or read by a person.
//!
//! It has no thread, no clock and no socket: [`Outbox::decide`] puts notices in, [`Outbox::take`] says what to send now,
//! [`Outbox::finish`] takes in how that went. The caller wraps these in [`Outbox::begin`] and [`Outbox::commit`] and sends only after the commit, so
//! a kill at any point loses nothing and at worst repeats what was under way, under the same id.
//!
//! - **Pace**: a channel's [`Pacer`] and the receiver's own wishes decide when a slot is free. What is urgent goes first.
//! - **Digests**: where more notices wait for a slot than [`Pace::digest_above`], all of them go into one. No alert is dropped: the digest counts each.
//! - **Retries**: a notice's own pauses grow by [`Limits::schedule`]; a channel that fails twice in a row rests likewise and is then tried with one notice.
//! - **Age**: what was not delivered within [`Limits::age_max_ms`] goes into one digest marked late, once the channel works again.
//! - **Dead letters**: what won't work stays as `failed`, with its reason, for [`Limits::retention_ms`], and can be sent again by hand.
//! - **Disabling**: a receiver that wants nothing more, or has failed for [`Limits::disable_after_ms`], gets nothing more; another channel is told.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::channels::Pace;
use crate::notice::Notice;
use crate::pace::Pacer;

mod finish;
mod history;
mod look;
mod orders;
mod schema;
mod take;

pub use finish::{Attempt, AttemptResult};
pub use history::{Entry, Filter, history};
pub use look::{ChannelState, Look, is_open, is_order_waiting, look};
pub use orders::{Order, leave_order};

/// The outbox's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An alert that was not delivered within this is late.
    pub age_max_ms: i64,
    /// Pauses after the first, second, … attempt, ±20 %; the last one repeats.
    pub schedule_ms: Vec<i64>,
    /// Most notices that wait in a channel; the oldest that aren't urgent fail beyond it.
    pub waiting_max: u64,
    /// What is finished is kept for so long.
    pub retention_ms: i64,
    /// Another channel is told of one that has failed for so long, or four times in a row.
    pub trouble_after_ms: i64,
    /// A channel that has done nothing but fail for so long is disabled.
    pub disable_after_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            age_max_ms: 30 * MINUTE,
            schedule_ms: [5, 15, 60, 180, 300].map(|s| s * 1_000).to_vec(),
            waiting_max: 50_000,
            retention_ms: 7 * 24 * 60 * MINUTE,
            trouble_after_ms: 10 * MINUTE,
            disable_after_ms: 5 * 24 * 60 * MINUTE,
        }
    }
}

const MINUTE: i64 = 60_000;

/// A channel as the outbox knows it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: &'static str,
    /// How fast it may be used.
    pub pace: Pace,
    /// Changes with the receiver's address: a channel that was disabled is tried again under another one.
    pub fingerprint: String,
}

/// Why the outbox can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OutboxError {
    #[error("open the outbox {path}: {source}; check the directory, its permissions and the disk")]
    Open { path: String, source: rusqlite::Error },
    #[error("open the outbox {path}: it has version {version} and this program reads up to {known}; take the newer program")]
    Version { path: String, version: i64, known: i64 },
    #[error("{what} in the outbox: {source}; check the disk's free space")]
    Database { what: &'static str, source: rusqlite::Error },
    #[error("read a {what} of the outbox: {reason}; the file was changed by something else")]
    Content { what: &'static str, reason: String },
}

pub(super) fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> OutboxError {
    move |source| OutboxError::Database { what, source }
}

/// The outbox.
pub struct Outbox {
    db: Connection,
    lines: BTreeMap<String, Channel>,
    /// What is still under way in channels that were taken out.
    leaving: BTreeMap<String, BTreeMap<i64, i64>>,
    limits: Limits,
    cleaned_at: i64,
    /// The channels as they were when the transaction began.
    before: Option<BTreeMap<String, Channel>>,
}

/// A channel at work.
#[derive(Clone)]
struct Channel {
    line: Line,
    pacer: Pacer,
    /// By the notice's number: what is under way.
    in_flight: BTreeMap<i64, i64>,
    /// Attempts in a row that got no usable answer.
    failures: u32,
    /// After failures, nothing is tried before.
    rest_until: i64,
    /// When its notices were last sorted out by age.
    sorted_at: i64,
    health: Health,
}

/// What outlives a restart of a channel's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Health {
    fingerprint: String,
    /// The first failure since the last success.
    failing_since: Option<i64>,
    /// Another channel was told.
    is_told: bool,
    /// Why nothing is sent any more.
    disabled: Option<String>,
}

/// What is to be sent now.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Names it in [`Outbox::finish`].
    pub seq: i64,
    /// What.
    pub notice: Notice,
}

impl Outbox {
    /// Opens the file and goes on where the last process stopped: what was under way then is sent again, under the same ids.
    ///
    /// # Errors
    /// If the file can't be opened, is damaged or comes from a later version.
    pub fn open(path: &Path, lines: Vec<Line>, limits: Limits) -> Result<Self, OutboxError> {
        let db = schema::open(path)?;
        let (lines_now, leaving) = (BTreeMap::new(), BTreeMap::new());
        let mut outbox = Self { db, lines: lines_now, leaving, limits, cleaned_at: i64::MIN, before: None };
        outbox.set_lines(lines)?;
        Ok(outbox)
    }

    /// Opens the file anew after an error. What is under way, and each channel's pace, stay as they are.
    ///
    /// # Errors
    /// If the file can't be opened; nothing has changed then.
    pub fn reconnect(&mut self, path: &Path) -> Result<(), OutboxError> {
        self.db = schema::open(path)?;
        Ok(())
    }

    /// Takes another set of channels. Those that stay keep their pace and their state.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn set_lines(&mut self, lines: Vec<Line>) -> Result<(), OutboxError> {
        let mut before = std::mem::take(&mut self.lines);
        for line in lines {
            let channel = match before.remove(&line.name) {
                Some(channel) if channel.line.fingerprint == line.fingerprint && channel.line.pace == line.pace => channel,
                old => {
                    let mut health: Health = self.health(&line.name)?;
                    if health.fingerprint != line.fingerprint {
                        health = Health { fingerprint: line.fingerprint.clone(), ..Health::default() };
                    }
                    let in_flight = old.map(|channel| channel.in_flight).or_else(|| self.leaving.remove(&line.name));
                    let in_flight = in_flight.unwrap_or_default();
                    Channel {
                        pacer: Pacer::new(&line.pace),
                        in_flight,
                        failures: 0,
                        rest_until: i64::MIN,
                        sorted_at: i64::MIN,
                        health,
                        line,
                    }
                }
            };
            self.lines.insert(channel.line.name.clone(), channel);
        }
        let under_way = before.into_values().filter(|channel| !channel.in_flight.is_empty());
        self.leaving.extend(under_way.map(|channel| (channel.line.name, channel.in_flight)));
        Ok(())
    }

    /// Begins a transaction. Everything until [`Self::commit`] is kept together or not at all.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn begin(&mut self) -> Result<(), OutboxError> {
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(failed("begin a transaction"))?;
        self.before = Some(self.lines.clone());
        Ok(())
    }

    /// Makes everything since [`Self::begin`] durable (fsync).
    ///
    /// # Errors
    /// If the disk refuses; nothing since [`Self::begin`] is kept then, and nothing of it may be sent.
    pub fn commit(&mut self) -> Result<(), OutboxError> {
        let committed = self.db.execute_batch("COMMIT");
        if let Err(source) = committed {
            self.roll_back();
            return Err(OutboxError::Database { what: "commit", source });
        }
        self.before = None;
        Ok(())
    }

    /// Drops everything since [`Self::begin`].
    pub fn roll_back(&mut self) {
        let _ = self.db.execute_batch("ROLLBACK"); // without a transaction there is nothing to drop
        self.lines = self.before.take().unwrap_or_else(|| std::mem::take(&mut self.lines));
    }

    /// Keeps notices for their channels. One that is there already, by channel and id, is kept once; one for a channel that isn't
    /// configured any more is a dead letter at once.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn decide(&mut self, notices: &[Notice]) -> Result<(), OutboxError> {
        for notice in notices {
            self.insert(notice)?;
            if let Some(channel) = self.lines.get(&notice.channel) {
                if let Some(reason) = channel.health.disabled.clone() {
                    self.bury(&notice.channel, &notice.id, &format!("the channel is disabled: {reason}"), notice.decided_at)?;
                }
            } else {
                self.bury(&notice.channel, &notice.id, "there is no such channel in the configuration", notice.decided_at)?;
            }
        }
        Ok(())
    }

    fn insert(&self, notice: &Notice) -> Result<Option<i64>, OutboxError> {
        const SQL: &str = "INSERT OR IGNORE INTO notices(channel, id, subject, kind, is_urgent, severity, counts, body, decided_at, due_at, state)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 'waiting')";
        let subject = match notice.alerts.as_slice() {
            [alert] => alert.id(),
            _ => &notice.id,
        };
        let mut kept = notice.clone();
        for alert in &mut kept.alerts {
            if let Some(chart) = alert.chart.take() {
                let body = json("chart", &chart)?;
                let sql = "INSERT OR REPLACE INTO charts(alert, body, at) VALUES (?1, ?2, ?3)";
                let mut statement = self.db.prepare_cached(sql).map_err(failed("keep a chart"))?;
                statement.execute(params![alert.id(), body, notice.decided_at]).map_err(failed("keep a chart"))?;
            }
        }
        let (counts, body) = (json("count", &kept.counts)?, json("notice", &kept)?);
        let mut statement = self.db.prepare_cached(SQL).map_err(failed("keep a notice"))?;
        let row = params![
            notice.channel,
            notice.id,
            subject,
            notice.kind.as_str(),
            notice.is_urgent,
            notice.severity() as i64,
            counts,
            body,
            notice.decided_at
        ];
        let is_new = statement.execute(row).map_err(failed("keep a notice"))? > 0;
        Ok(is_new.then(|| self.db.last_insert_rowid()))
    }

    fn bury(&self, channel: &str, id: &str, reason: &str, now_ms: i64) -> Result<(), OutboxError> {
        const SQL: &str = "UPDATE notices SET state = 'failed', reason = ?3, finished_at = ?4 WHERE channel = ?1 AND id = ?2 AND state = 'waiting'";
        let mut statement = self.db.prepare_cached(SQL).map_err(failed("give up a notice"))?;
        statement.execute(params![channel, id, reason, now_ms]).map_err(failed("give up a notice"))?;
        Ok(())
    }

    /// The policy's state as it was kept.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn policy_rows(&self) -> Result<Vec<(String, String)>, OutboxError> {
        let what = failed("read the policy's state");
        let mut statement = self.db.prepare("SELECT key, body FROM policy ORDER BY key").map_err(&what)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(&what)
    }

    /// Keeps changes of the policy's state; `None` removes.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn keep_policy(&mut self, changes: impl IntoIterator<Item = (String, Option<String>)>) -> Result<(), OutboxError> {
        let what = failed("keep the policy's state");
        for (key, body) in changes {
            match body {
                Some(body) => {
                    let sql = "INSERT OR REPLACE INTO policy(key, body) VALUES (?1, ?2)";
                    self.db.prepare_cached(sql).and_then(|mut s| s.execute(params![key, body])).map_err(&what)?
                }
                None => self
                    .db
                    .prepare_cached("DELETE FROM policy WHERE key = ?1")
                    .and_then(|mut s| s.execute([key]))
                    .map_err(&what)?,
            };
        }
        Ok(())
    }

    fn health(&self, name: &str) -> Result<Health, OutboxError> {
        let what = failed("read a channel's state");
        let mut statement = self.db.prepare_cached("SELECT body FROM channels WHERE name = ?1").map_err(&what)?;
        let mut rows = statement.query([name]).map_err(&what)?;
        let Some(row) = rows.next().map_err(&what)? else { return Ok(Health::default()) };
        let body: String = row.get(0).map_err(&what)?;
        from_json("channel's state", &body)
    }

    fn keep_health(&self, name: &str, health: &Health) -> Result<(), OutboxError> {
        let body = json("channel's state", health)?;
        let sql = "INSERT OR REPLACE INTO channels(name, body) VALUES (?1, ?2)";
        let kept = self.db.prepare_cached(sql).and_then(|mut s| s.execute(params![name, body]));
        kept.map(drop).map_err(failed("keep a channel's state"))
    }

    /// Forgets what is finished and old, once an hour.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn clean(&mut self, now_ms: i64) -> Result<(), OutboxError> {
        if now_ms < self.cleaned_at.saturating_add(60 * MINUTE) {
            return Ok(());
        }
        self.cleaned_at = now_ms;
        let limit = now_ms - self.limits.retention_ms;
        let what = failed("forget what is old");
        self.db.execute("DELETE FROM notices WHERE finished_at < ?1", [limit]).map_err(&what)?;
        self.db.execute("DELETE FROM charts WHERE at < ?1", [now_ms - 24 * 60 * MINUTE]).map_err(&what)?;
        Ok(())
    }
}

fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String, OutboxError> {
    serde_json::to_string(value).map_err(|e| OutboxError::Content { what, reason: e.to_string() })
}

fn from_json<T: for<'de> Deserialize<'de>>(what: &'static str, text: &str) -> Result<T, OutboxError> {
    serde_json::from_str(text).map_err(|e| OutboxError::Content { what, reason: e.to_string() })
}
