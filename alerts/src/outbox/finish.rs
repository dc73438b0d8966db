//! How an attempt went, and what follows from it: a record, another attempt, a dead letter, a rest, an end.

use rusqlite::params;

use super::{Outbox, OutboxError, failed, json};
use crate::channels::{Outcome, Verdict};
use crate::notice::{Notice, NoticeKind, notice_id};

/// So many failures in a row are told at once.
const TROUBLE_AFTER_FAILURES: u32 = 4;
/// A receiver's wish for a pause is heard up to here; longer ones are heard as this.
const PAUSE_MAX: i64 = 3_600_000;

/// The record of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The notice's id.
    pub notice_id: String,
    /// The ids of the notices that went out in it: its own, or those of a digest's members once their fate is known.
    pub ids: Vec<String>,
    /// The channel's name.
    pub channel: String,
    /// From 1.
    pub attempt: u32,
    /// When it began, UTC ms.
    pub sent_at_ms: i64,
    /// How it went.
    pub result: AttemptResult,
    /// The receiver's answer; 0: none came.
    pub http_status: u16,
    /// From the decision to the attempt's end, waits between attempts included.
    pub latency_ms: f64,
    /// Why it was not delivered.
    pub reason: String,
}

/// How an attempt went, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver has it.
    Delivered,
    /// It will be tried again.
    Retry,
    /// It will not be tried again: a dead letter.
    Failed,
    /// Nor will anything else on this channel.
    Gone,
}

impl AttemptResult {
    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

impl Outbox {
    /// Takes in how an attempt went. `None`: no such notice was under way.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub fn finish(&mut self, name: &str, seq: i64, outcome: &Outcome, now_ms: i64) -> Result<Option<Attempt>, OutboxError> {
        let in_flight = self.lines.get_mut(name).map(|channel| &mut channel.in_flight).or_else(|| self.leaving.get_mut(name));
        let Some(sent_at_ms) = in_flight.and_then(|in_flight| in_flight.remove(&seq)) else { return Ok(None) };
        let kind = self.lines.get(name).map(|channel| channel.line.kind);
        if let (Some(pause), Some(kind)) = (outcome.pause, kind) {
            let until = now_ms + i64::try_from(pause.length.as_millis()).unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
            let meant =
                self.lines.values_mut().filter(|other| other.line.name == name || (pause.is_for_kind && other.line.kind == kind));
            meant.for_each(|channel| channel.pacer.pause(until));
        }
        let (id, attempts, decided_at) = self.tried(seq, outcome)?;
        let result = match outcome.verdict {
            Verdict::Delivered => AttemptResult::Delivered,
            Verdict::Retry => AttemptResult::Retry,
            Verdict::Failed => AttemptResult::Failed,
            Verdict::Gone => AttemptResult::Gone,
        };
        let ids = match result {
            AttemptResult::Retry => {
                self.put_off(seq, &id, attempts, outcome, now_ms)?;
                vec![id.clone()]
            }
            AttemptResult::Delivered => self.close(seq, "delivered", "", now_ms)?,
            AttemptResult::Failed | AttemptResult::Gone => self.close(seq, "failed", &outcome.reason, now_ms)?,
        };
        self.judge_channel(name, outcome, now_ms)?;
        Ok(Some(Attempt {
            notice_id: id,
            ids,
            channel: name.to_owned(),
            attempt: attempts,
            sent_at_ms,
            result,
            http_status: outcome.http_status,
            latency_ms: (now_ms - decided_at) as f64,
            reason: outcome.reason.clone(),
        }))
    }

    /// Writes the attempt down: (id, attempts so far, decided at).
    fn tried(&self, seq: i64, outcome: &Outcome) -> Result<(String, u32, i64), OutboxError> {
        const SQL: &str = "UPDATE notices SET http_status = ?2, reason = ?3 WHERE seq = ?1 RETURNING id, attempts, decided_at";
        let what = failed("write down an attempt");
        let mut statement = self.db.prepare_cached(SQL).map_err(&what)?;
        let row = params![seq, outcome.http_status, outcome.reason];
        statement.query_row(row, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(&what)
    }

    fn put_off(&self, seq: i64, id: &str, attempts: u32, outcome: &Outcome, now_ms: i64) -> Result<(), OutboxError> {
        let asked_for =
            outcome.pause.map_or(0, |pause| i64::try_from(pause.length.as_millis()).unwrap_or(PAUSE_MAX).min(PAUSE_MAX));
        // An answer that only asks for a pause says when to come back; nothing is gained by waiting longer.
        let own = if outcome.pause.is_some() && outcome.http_status == 429 { 0 } else { self.pause(id, attempts) };
        let sql = "UPDATE notices SET due_at = ?2 WHERE seq = ?1";
        let put_off = self.db.prepare_cached(sql).and_then(|mut s| s.execute(params![seq, now_ms + own.max(asked_for)]));
        put_off.map(drop).map_err(failed("put off a notice"))
    }

    /// The pause after the n-th attempt, ±20 % by notice and attempt: spread out, and the same when it is run again.
    fn pause(&self, id: &str, attempts: u32) -> i64 {
        let schedule = &self.limits.schedule_ms;
        let step = (attempts.max(1) as usize - 1).min(schedule.len().saturating_sub(1));
        let base = schedule.get(step).copied().unwrap_or(60_000);
        let bytes = id.bytes().chain(attempts.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        (base as f64 * (0.8 + 0.4 * (hash >> 11) as f64 / (1u64 << 53) as f64)) as i64
    }

    /// Its fate is known, and that of all that went out in it: their ids, or its own.
    fn close(&self, seq: i64, state: &str, reason: &str, now_ms: i64) -> Result<Vec<String>, OutboxError> {
        const SQL: &str = "WITH RECURSIVE members(seq) AS (SELECT ?1 UNION SELECT n.seq FROM notices AS n JOIN members AS m ON n.bundle = m.seq)
            UPDATE notices SET state = ?2, finished_at = ?4, reason = CASE seq WHEN ?1 THEN reason ELSE ?3 END WHERE seq IN members RETURNING seq, kind, id";
        let what = failed("close a notice");
        let mut statement = self.db.prepare_cached(SQL).map_err(&what)?;
        let rows = statement.query_map(params![seq, state, reason, now_ms], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let rows: Vec<(i64, String, String)> = rows.and_then(Iterator::collect).map_err(&what)?;
        let is_alone = rows.len() == 1;
        let told = rows.into_iter().filter(|(_, kind, _)| is_alone || !kind.ends_with("digest"));
        Ok(told.map(|(_, _, id)| id).collect())
    }

    fn judge_channel(&mut self, name: &str, outcome: &Outcome, now_ms: i64) -> Result<(), OutboxError> {
        let limits = self.limits.clone();
        let Some(channel) = self.lines.get_mut(name) else { return Ok(()) };
        let before = channel.health.clone();
        // Who asks for a pause is there; who refuses one notice may take the next.
        let is_absent = outcome.verdict == Verdict::Retry && outcome.http_status != 429;
        if outcome.verdict == Verdict::Delivered {
            channel.failures = 0;
            channel.rest_until = i64::MIN;
            (channel.health.failing_since, channel.health.is_told) = (None, false);
        } else if outcome.http_status != 429 {
            channel.health.failing_since.get_or_insert(now_ms);
        }
        if is_absent {
            channel.failures += 1;
            let rest = (channel.failures as usize)
                .checked_sub(2)
                .and_then(|step| limits.schedule_ms.get(step).or(limits.schedule_ms.last()));
            channel.rest_until = rest.map_or(channel.rest_until, |rest| now_ms + rest);
        }
        let since = channel.health.failing_since;
        if outcome.verdict == Verdict::Gone {
            channel.health.disabled = Some(outcome.reason.clone());
        } else if since.is_some_and(|since| now_ms - since >= limits.disable_after_ms) {
            channel.health.disabled = Some(format!("nothing was delivered for days; last: {}", outcome.reason));
        }
        let is_trouble = channel.health.disabled.is_some()
            || channel.failures >= TROUBLE_AFTER_FAILURES
            || since.is_some_and(|since| now_ms - since >= limits.trouble_after_ms);
        let tells = is_trouble && (!channel.health.is_told || channel.health.disabled != before.disabled);
        channel.health.is_told |= is_trouble;
        let health = channel.health.clone();
        if health != before {
            self.keep_health(name, &health)?;
        }
        if health.disabled.is_some() && before.disabled.is_none() {
            self.bury_all(name, &format!("the channel is disabled: {}", outcome.reason), now_ms)?;
        }
        let remark = match (&health.disabled, tells, before.is_told && before.failing_since.is_some() && since.is_none()) {
            (Some(reason), true, _) => format!(
                "channel {name} is disabled and gets nothing more: {reason}. Mend it, then `regimeflow alerts enable {name}`"
            ),
            (None, true, _) => format!(
                "channel {name} does not take messages: {}. It is tried again; what it misses comes in one digest",
                outcome.reason
            ),
            (_, _, true) => format!("channel {name} takes messages again"),
            _ => return Ok(()),
        };
        self.tell_of_trouble(name, remark, now_ms)
    }

    /// Tells the first other channel that works.
    fn tell_of_trouble(&mut self, name: &str, remark: String, now_ms: i64) -> Result<(), OutboxError> {
        let works = |channel: &&super::Channel| {
            channel.line.name != name && channel.health.disabled.is_none() && channel.health.failing_since.is_none()
        };
        let Some(other) = self.lines.values().find(works).map(|channel| channel.line.name.clone()) else { return Ok(()) };
        let notice = Notice {
            id: notice_id(NoticeKind::Trouble, &[name, &other, &remark], now_ms),
            channel: other,
            kind: NoticeKind::Trouble,
            is_urgent: false,
            group: String::new(),
            alerts: Vec::new(),
            counts: Vec::new(),
            remark,
            decided_at: now_ms,
        };
        self.insert(&notice).map(drop)
    }

    fn bury_all(&self, name: &str, reason: &str, now_ms: i64) -> Result<(), OutboxError> {
        const SQL: &str = "UPDATE notices SET state = 'failed', reason = ?2, finished_at = ?3 WHERE channel = ?1 AND state IN ('waiting', 'late', 'bundled')";
        let buried = self.db.prepare_cached(SQL).and_then(|mut s| s.execute(params![name, reason, now_ms]));
        buried.map(drop).map_err(failed("give up a channel's notices"))
    }

    /// Tries a disabled channel again. `false`: it isn't disabled, or not there.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn enable(&mut self, name: &str) -> Result<bool, OutboxError> {
        let Some(channel) = self.lines.get_mut(name) else { return Ok(false) };
        let was_disabled = channel.health.disabled.take().is_some();
        (channel.health.failing_since, channel.health.is_told, channel.failures, channel.rest_until) = (None, false, 0, i64::MIN);
        let health = channel.health.clone();
        self.keep_health(name, &health)?;
        Ok(was_disabled)
    }

    /// Sends dead letters again, under their own ids: those of the ids, or all since `since_ms`. Answers how many.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn replay(&mut self, ids: &[String], channel: Option<&str>, since_ms: i64, now_ms: i64) -> Result<usize, OutboxError> {
        // A digest's members are told by the digest.
        const SQL: &str = "UPDATE notices SET state = 'waiting', attempts = 0, due_at = ?4, decided_at = ?4, finished_at = NULL, reason = '', bundle = NULL
            WHERE (?1 IS NULL OR channel = ?1) AND finished_at IS NOT NULL
            AND (CASE WHEN ?2 = '[]' THEN state = 'failed' AND kind NOT IN ('digest', 'late_digest') AND decided_at >= ?3
                 ELSE id IN (SELECT value FROM json_each(?2)) OR subject IN (SELECT value FROM json_each(?2)) END)";
        let ids = json("list of ids", &ids)?;
        self.db.execute(SQL, params![channel, ids, since_ms, now_ms]).map_err(failed("send dead letters again"))
    }
}
