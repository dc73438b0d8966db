//! What is to be sent now: slots, order, digests.

use rusqlite::{OptionalExtension, params};

use super::{Dispatch, MINUTE, Outbox, OutboxError, failed, from_json};
use crate::event::Status;
use crate::notice::{Count, NAMED_MAX, Notice, NoticeKind, notice_id};

/// A digest speaks of so many notices at most.
const DIGEST_MAX: usize = 20_000;
/// What isn't urgent takes any slot after it has waited for so long.
const PATIENCE: i64 = MINUTE;
/// Notices are sorted out by age so often.
const SORT_EVERY: i64 = 1_000;
/// Candidates that are looked at for one slot; those under way are among them.
const LOOK_MAX: usize = 64;

struct Candidate {
    seq: i64,
    body: String,
}

impl Outbox {
    /// What is to be sent at `now_ms`, all channels together. Digests are made here, and kept like everything that is decided.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub fn take(&mut self, now_ms: i64) -> Result<Vec<Dispatch>, OutboxError> {
        let names: Vec<String> = self.lines.keys().cloned().collect();
        let mut all = Vec::new();
        for name in names {
            if self.lines.get(&name).is_some_and(|channel| now_ms >= channel.sorted_at.saturating_add(SORT_EVERY)) {
                self.grow_old(&name, now_ms)?;
            }
            while let Some(dispatch) = self.take_one(&name, now_ms)? {
                all.push(dispatch);
            }
        }
        Ok(all)
    }

    /// When [`Self::take`] may have something to say again. `None`: not before something happens.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn next_due(&self, now_ms: i64) -> Result<Option<i64>, OutboxError> {
        let mut next: Option<i64> = None;
        for (name, channel) in &self.lines {
            if channel.health.disabled.is_some() || channel.in_flight.len() >= self.room(name) {
                continue; // what is under way comes back and asks again
            }
            for is_urgent in [true, false] {
                let late = if is_urgent { None } else { self.late_due(name)? };
                for due in self.first_due(name, is_urgent)?.into_iter().chain(late) {
                    let slot = channel.pacer.next_slot(is_urgent, now_ms.max(due)).max(channel.rest_until);
                    next = Some(next.map_or(slot, |next| next.min(slot)));
                }
            }
        }
        Ok(next)
    }

    /// How many notices wait in channels that are not disabled.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn waiting(&self) -> Result<usize, OutboxError> {
        let mut waiting = 0;
        for name in self.lines.iter().filter(|(_, channel)| channel.health.disabled.is_none()).map(|(name, _)| name) {
            let sql = "SELECT count(*) FROM notices WHERE channel = ?1 AND state IN ('waiting', 'late')";
            let counted = self.db.prepare_cached(sql).and_then(|mut s| s.query_row([name], |row| row.get::<_, i64>(0)));
            waiting += counted.map_err(failed("count what waits"))? as usize;
        }
        Ok(waiting)
    }

    /// The earliest time at which a notice of this lane may go out: one that isn't under way and has no elder one about the same alert
    /// before it. Were it one of those, whoever asks would be told "now" again and again.
    fn first_due(&self, name: &str, is_urgent: bool) -> Result<Option<i64>, OutboxError> {
        const SQL: &str = "SELECT seq, due_at FROM notices AS n WHERE channel = ?1 AND state = 'waiting' AND is_urgent = ?2
            AND NOT EXISTS (SELECT 1 FROM notices AS e WHERE e.channel = n.channel AND e.subject = n.subject AND e.seq < n.seq AND e.state = 'waiting')
            ORDER BY due_at, seq LIMIT ?3";
        let Some(channel) = self.lines.get(name) else { return Ok(None) };
        let what = failed("look for what is due");
        let mut statement = self.db.prepare_cached(SQL).map_err(&what)?;
        let most = channel.in_flight.len() as i64 + 1;
        let mut rows = statement.query(params![name, is_urgent, most]).map_err(&what)?;
        while let Some(row) = rows.next().map_err(&what)? {
            let seq: i64 = row.get(0).map_err(&what)?;
            if !channel.in_flight.contains_key(&seq) {
                return row.get(1).map(Some).map_err(&what);
            }
        }
        Ok(None)
    }

    /// The earliest time of what is late, if a digest of it may go out as soon as there is a slot.
    fn late_due(&self, name: &str) -> Result<Option<i64>, OutboxError> {
        if !self.may_tell_late(name)? {
            return Ok(None);
        }
        let sql = "SELECT min(due_at) FROM notices WHERE channel = ?1 AND state = 'late' AND is_urgent IN (0, 1)";
        let due = self.db.prepare_cached(sql).and_then(|mut s| s.query_row([name], |row| row.get(0)));
        due.map_err(failed("look for what is late"))
    }

    /// Only where the channel works, or nothing else is there to find that out with.
    fn may_tell_late(&self, name: &str) -> Result<bool, OutboxError> {
        let Some(channel) = self.lines.get(name) else { return Ok(false) };
        Ok(channel.in_flight.is_empty() && (channel.failures == 0 || !self.has_waiting(name)?))
    }

    /// So many attempts at the same time: one while it is being found out whether the channel works again.
    fn room(&self, name: &str) -> usize {
        let Some(channel) = self.lines.get(name) else { return 0 };
        if channel.failures > 0 { 1 } else { channel.line.pace.in_flight_max.max(1) }
    }

    fn take_one(&mut self, name: &str, now_ms: i64) -> Result<Option<Dispatch>, OutboxError> {
        let Some(channel) = self.lines.get(name) else { return Ok(None) };
        let is_resting = channel.rest_until > now_ms || channel.health.disabled.is_some();
        if is_resting || channel.in_flight.len() >= self.room(name) {
            return Ok(None);
        }
        let mut found = None;
        if channel.pacer.next_slot(true, now_ms) <= now_ms {
            found = self.next_of(name, true, now_ms)?;
            if found.is_none() && self.may_take_usual(name, now_ms)? {
                found = self.next_of(name, false, now_ms)?;
                if found.is_none() {
                    found = self.late_digest(name, now_ms)?;
                }
            }
        }
        let Some(candidate) = found else { return Ok(None) };
        let mut notice: Notice = from_json("notice", &candidate.body)?;
        self.add_chart(&mut notice)?;
        // Kept before it is sent: what may have arrived is never told again under another id.
        let tried = self
            .db
            .prepare_cached("UPDATE notices SET attempts = attempts + 1 WHERE seq = ?1")
            .and_then(|mut s| s.execute([candidate.seq]));
        tried.map_err(failed("write down an attempt"))?;
        if let Some(channel) = self.lines.get_mut(name) {
            channel.pacer.sent(now_ms);
            channel.in_flight.insert(candidate.seq, now_ms);
        }
        Ok(Some(Dispatch { seq: candidate.seq, notice }))
    }

    /// Whether what isn't urgent may have the slot.
    fn may_take_usual(&self, name: &str, now_ms: i64) -> Result<bool, OutboxError> {
        let Some(channel) = self.lines.get(name) else { return Ok(false) };
        let is_free = channel.pacer.next_slot(false, now_ms) <= now_ms;
        if is_free {
            return Ok(true);
        }
        let due = match self.first_due(name, false)? {
            Some(due) => Some(due),
            None => self.late_due(name)?,
        };
        Ok(due.is_some_and(|due| due.saturating_add(PATIENCE) <= now_ms))
    }

    /// The next notice of a lane, or a digest of all that wait there.
    fn next_of(&mut self, name: &str, is_urgent: bool, now_ms: i64) -> Result<Option<Candidate>, OutboxError> {
        let Some(channel) = self.lines.get(name) else { return Ok(None) };
        if let Some(most) = channel.line.pace.digest_above {
            const SQL: &str =
                "SELECT count(*) FROM (SELECT 1 FROM notices WHERE channel = ?1 AND state = 'waiting' AND is_urgent = ?2
                AND attempts = 0 AND due_at <= ?3 AND kind IN ('news', 'reminder', 'escalation') LIMIT ?4)";
            let counted = self.db.prepare_cached(SQL).and_then(|mut s| {
                s.query_row(params![name, is_urgent, now_ms, (most + 1 + channel.in_flight.len()) as i64], |row| {
                    row.get::<_, i64>(0)
                })
            });
            if counted.map_err(failed("count what waits"))? as usize > most + channel.in_flight.len() {
                return self.digest(name, is_urgent, now_ms).map(Some);
            }
        }
        self.next_single(name, is_urgent, now_ms)
    }

    /// The first that is due, isn't under way and has no elder one about the same alert before it.
    fn next_single(&self, name: &str, is_urgent: bool, now_ms: i64) -> Result<Option<Candidate>, OutboxError> {
        const SQL: &str = "SELECT seq, body FROM notices AS n
            WHERE channel = ?1 AND state = 'waiting' AND is_urgent = ?2 AND due_at <= ?3
            AND NOT EXISTS (SELECT 1 FROM notices AS e WHERE e.channel = n.channel AND e.subject = n.subject AND e.seq < n.seq AND e.state = 'waiting')
            ORDER BY due_at, seq LIMIT ?4";
        let Some(channel) = self.lines.get(name) else { return Ok(None) };
        let what = failed("look for what is due");
        let mut statement = self.db.prepare_cached(SQL).map_err(&what)?;
        let mut rows = statement.query(params![name, is_urgent, now_ms, LOOK_MAX as i64]).map_err(&what)?;
        while let Some(row) = rows.next().map_err(&what)? {
            let seq: i64 = row.get(0).map_err(&what)?;
            if !channel.in_flight.contains_key(&seq) {
                return Ok(Some(Candidate { seq, body: row.get(1).map_err(&what)? }));
            }
        }
        Ok(None)
    }

    /// One notice for all that wait in a lane and were never tried: one that was may have arrived under its own id.
    fn digest(&mut self, name: &str, is_urgent: bool, now_ms: i64) -> Result<Candidate, OutboxError> {
        let chosen = "state = 'waiting' AND attempts = 0 AND kind IN ('news', 'reminder', 'escalation')";
        let notice = self.bundle_of(name, chosen, NoticeKind::Digest, Some(is_urgent), now_ms)?;
        self.bundle(name, chosen, &notice, Some(is_urgent), now_ms)
    }

    /// One notice, marked late, for all that were not delivered while they mattered.
    fn late_digest(&mut self, name: &str, now_ms: i64) -> Result<Option<Candidate>, OutboxError> {
        if !self.may_tell_late(name)? {
            return Ok(None);
        }
        let notice = self.bundle_of(name, "state = 'late'", NoticeKind::LateDigest, None, now_ms)?;
        if notice.counts.is_empty() {
            return Ok(None);
        }
        self.bundle(name, "state = 'late'", &notice, None, now_ms).map(Some)
    }

    fn has_waiting(&self, name: &str) -> Result<bool, OutboxError> {
        let sql = "SELECT 1 FROM notices WHERE channel = ?1 AND state = 'waiting' LIMIT 1";
        let found = self.db.prepare_cached(sql).and_then(|mut s| s.exists([name]));
        found.map_err(failed("look for what waits"))
    }

    /// The digest's text: counts over all of them, the gravest and newest by name.
    fn bundle_of(
        &self,
        name: &str,
        chosen: &str,
        kind: NoticeKind,
        is_urgent: Option<bool>,
        now_ms: i64,
    ) -> Result<Notice, OutboxError> {
        let what = failed("make a digest");
        let filter = format!(
            "channel = ?1 AND {chosen} AND (?2 IS NULL OR is_urgent = ?2) AND due_at <= ?3 AND seq NOT IN ({})",
            self.under_way(name)
        );
        let mut counts = std::collections::BTreeMap::new();
        let (mut first, mut last) = (None, 0);
        let sql = format!("SELECT counts, seq, decided_at FROM notices WHERE {filter} ORDER BY seq LIMIT {DIGEST_MAX}");
        let mut statement = self.db.prepare(&sql).map_err(&what)?;
        let mut rows = statement.query(params![name, is_urgent, now_ms]).map_err(&what)?;
        while let Some(row) = rows.next().map_err(&what)? {
            for count in from_json::<Vec<Count>>("count", row.get_ref(0).and_then(|v| Ok(v.as_str()?)).map_err(&what)?)? {
                *counts.entry((count.event_type, count.severity, count.status)).or_insert(0u64) += count.count;
            }
            last = row.get(1).map_err(&what)?;
            first.get_or_insert((last, row.get::<_, i64>(2).map_err(&what)?));
        }
        let sql = format!(
            "SELECT body FROM notices WHERE {filter} AND seq <= {last} ORDER BY severity DESC, seq DESC LIMIT {NAMED_MAX}"
        );
        let mut statement = self.db.prepare(&sql).map_err(&what)?;
        let mut rows = statement.query(params![name, is_urgent, now_ms]).map_err(&what)?;
        let mut alerts = Vec::new();
        while let Some(row) = rows.next().map_err(&what)? {
            let body: String = row.get(0).map_err(&what)?;
            alerts.extend(from_json::<Notice>("notice", &body)?.alerts);
        }
        alerts.truncate(NAMED_MAX);
        let (from, since) = first.unwrap_or((0, now_ms));
        let counts: Vec<Count> = counts
            .into_iter()
            .map(|((event_type, severity, status), count)| Count { event_type, severity, status, count })
            .collect();
        let is_critical = counts.iter().any(|c| c.severity == crate::event::Severity::Critical && c.status == Status::Firing);
        Ok(Notice {
            id: notice_id(kind, &[name, &from.to_string(), &last.to_string()], since),
            channel: name.to_owned(),
            kind,
            is_urgent: is_urgent.unwrap_or(false) && is_critical,
            group: String::new(),
            alerts,
            counts,
            remark: String::new(),
            decided_at: now_ms,
        })
    }

    /// Keeps the digest, and its members as part of it.
    fn bundle(
        &self,
        name: &str,
        chosen: &str,
        notice: &Notice,
        is_urgent: Option<bool>,
        now_ms: i64,
    ) -> Result<Candidate, OutboxError> {
        let Some(seq) = self.insert(notice)? else {
            let reason = format!("the digest {} is there twice", notice.id);
            return Err(OutboxError::Content { what: "digest", reason });
        };
        let sql = format!(
            "UPDATE notices SET state = 'bundled', bundle = ?4 WHERE seq IN (SELECT seq FROM notices WHERE channel = ?1 AND {chosen}
             AND (?2 IS NULL OR is_urgent = ?2) AND due_at <= ?3 AND seq NOT IN ({}) AND seq < ?4 ORDER BY seq LIMIT {DIGEST_MAX})",
            self.under_way(name)
        );
        let bundled = self.db.prepare(&sql).and_then(|mut s| s.execute(params![name, is_urgent, now_ms, seq]));
        bundled.map_err(failed("make a digest"))?;
        let body =
            self.db.prepare_cached("SELECT body FROM notices WHERE seq = ?1").and_then(|mut s| s.query_row([seq], |r| r.get(0)));
        Ok(Candidate { seq, body: body.map_err(failed("make a digest"))? })
    }

    fn under_way(&self, name: &str) -> String {
        let in_flight = self.lines.get(name).map(|channel| channel.in_flight.keys().map(i64::to_string).collect::<Vec<_>>());
        in_flight.unwrap_or_default().join(",")
    }

    fn add_chart(&self, notice: &mut Notice) -> Result<(), OutboxError> {
        if let [alert] = notice.alerts.as_mut_slice() {
            let sql = "SELECT body FROM charts WHERE alert = ?1";
            let found =
                self.db.prepare_cached(sql).and_then(|mut s| s.query_row([alert.id()], |row| row.get::<_, String>(0)).optional());
            alert.chart = found.map_err(failed("read a chart"))?.map(|body| from_json("chart", &body)).transpose()?;
        }
        Ok(())
    }

    /// What is too old to be told by itself becomes late; what is too much, or late for days, is given up.
    fn grow_old(&mut self, name: &str, now_ms: i64) -> Result<(), OutboxError> {
        let what = failed("sort out what is late");
        let in_flight = self.under_way(name);
        let sql = format!(
            "UPDATE notices SET state = 'late', due_at = decided_at WHERE channel = ?1 AND state = 'waiting' AND decided_at < ?2
             AND kind IN ('news', 'reminder', 'escalation', 'digest') AND seq NOT IN ({in_flight})"
        );
        let late = now_ms - self.limits.age_max_ms;
        self.db.prepare(&sql).and_then(|mut s| s.execute(params![name, late])).map_err(&what)?;
        let sql = format!(
            "UPDATE notices SET state = 'failed', finished_at = ?3, reason = 'it could not be delivered within its time' || CASE reason WHEN '' THEN '' ELSE ': ' || reason END
             WHERE channel = ?1 AND state IN ('waiting', 'late') AND decided_at < ?2 AND seq NOT IN ({in_flight})"
        );
        let given_up = now_ms - self.limits.disable_after_ms;
        self.db.prepare(&sql).and_then(|mut s| s.execute(params![name, given_up, now_ms])).map_err(&what)?;
        if let Some(channel) = self.lines.get_mut(name) {
            channel.sorted_at = now_ms;
        }
        self.shed(name, now_ms)
    }

    /// Beyond the channel's bound the oldest that aren't urgent are given up.
    fn shed(&self, name: &str, now_ms: i64) -> Result<(), OutboxError> {
        let what = failed("bound what waits");
        let sql = "SELECT count(*) FROM notices WHERE channel = ?1 AND state IN ('waiting', 'late')";
        let waiting: i64 = self.db.prepare_cached(sql).and_then(|mut s| s.query_row([name], |row| row.get(0))).map_err(&what)?;
        let over = waiting.saturating_sub(i64::try_from(self.limits.waiting_max).unwrap_or(i64::MAX));
        if over > 0 {
            let sql = format!(
                "UPDATE notices SET state = 'failed', finished_at = ?2, reason = 'more than {} notices waited in this channel' WHERE seq IN
                 (SELECT seq FROM notices WHERE channel = ?1 AND state IN ('waiting', 'late') AND seq NOT IN ({}) ORDER BY is_urgent, seq LIMIT ?3)",
                self.limits.waiting_max,
                self.under_way(name)
            );
            self.db.execute(&sql, params![name, now_ms, over]).map_err(&what)?;
        }
        Ok(())
    }
}
