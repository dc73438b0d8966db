//! Gaps heal: what was missed is asked of the venue's REST, and enters as frames like everything else.
//!
//! One task a feed. It is told of each gap that ended, waits until the venue has the final answer (a minute is asked for
//! once it is over), asks source by source and symbol by symbol ([`heal`]), and tells the gap a third time, with how well
//! it was recovered. Print by print for gaps of up to 15 minutes where the venue gives prints by id, else minute by minute,
//! at most `backfill_minutes_max` back. Live frames never wait for it: it is told through a bounded channel without
//! waiting, and asks one question at a time under the venue's budget, where polls come first because they cost less.
//!
//! What an earlier run left unfilled ([`Unhealed`]) is taken in once the venue has told its time, as far as there is room
//! beside this run's own gaps.
//!
//! Limits: [`queue::JOBS_MAX`] gaps wait, what comes beyond stays `none` and is logged; a question is asked
//! [`heal::TRIES_MAX`] times; a gap whose filling is cut off by the program's end stays `none` until a run goes on from its
//! journal.

mod heal;
mod plan;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::heal::Healer;
use self::queue::{JOBS_MAX, Job, Queue};
use super::ask::Asker;
use super::earlier::Unhealed;
use super::gaps::Told;
use super::history::Recovered;
use super::{FeedOutput, Shared};
use crate::clock;
use crate::store::edge::FeedGap;

/// Gaps that were told and not taken in yet.
pub(super) const TOLD_MAX: usize = 1_024;
/// How often it is looked whether something is due.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fills gaps until `stop`: those that are told, and those that an earlier run left.
pub(super) async fn run(
    shared: Arc<Shared>,
    asker: Asker,
    told: mpsc::Receiver<Told>,
    unhealed: Unhealed,
    stop: CancellationToken,
) {
    let healer = Healer::new(shared.clone(), asker);
    let mut backfill = Backfill { shared, told, unhealed, queue: Queue::default(), healer };
    let _ = stop.run_until_cancelled(backfill.run()).await;
}

struct Backfill {
    shared: Arc<Shared>,
    told: mpsc::Receiver<Told>,
    unhealed: Unhealed,
    queue: Queue,
    healer: Healer,
}

impl Backfill {
    async fn run(&mut self) {
        loop {
            while let Ok(told) = self.told.try_recv() {
                self.take(told);
            }
            self.take_unhealed();
            let now_ms = self.shared.venue_clock.now_ms();
            let healer = &self.healer;
            if let Some(job) = self.queue.take_due(now_ms, |job| healer.due_ms(job)) {
                let recovered = self.healer.heal(&job).await;
                self.tell(job, recovered).await;
                continue;
            }
            let is_idle = self.queue.is_empty() && self.unhealed.is_empty();
            let look = async { if is_idle { std::future::pending().await } else { tokio::time::sleep(LOOK_EVERY).await } };
            tokio::select! {
                told = self.told.recv() => match told {
                    Some(told) => self.take(told),
                    None => return,
                },
                () = look => {}
            }
        }
    }

    /// An earlier run's gaps have our clock's times: without the venue's they might be asked for at the wrong place.
    fn take_unhealed(&mut self) {
        if self.shared.venue_clock.is_known() {
            while self.queue.len() < JOBS_MAX / 2
                && let Some(told) = self.unhealed.next()
            {
                self.take(told);
            }
        }
    }

    /// A gap ended. Many hold nothing that the venue still has.
    fn take(&mut self, told: Told) {
        let Told { row, missed: Some(missed) } = told else { return };
        let span = plan::span(&missed, self.shared.venue_clock.now_ms() - clock::now_ms());
        let job = Job { kind: row.stream.clone(), symbols: missed.symbols, span, rows: vec![row] };
        if self.healer.has_cure(&job) && !self.queue.push(job.clone()) {
            let (venue, stream) = (self.shared.venue, job.kind);
            tracing::warn!(%venue, stream, from_ms = span.from_ms, to_ms = span.to_ms, "a gap stays unfilled: too many wait");
        }
    }

    /// The third row of each gap.
    async fn tell(&self, job: Job, recovered: Recovered) {
        let (venue, gaps, symbols, seconds) =
            (self.shared.venue, job.rows.len(), job.symbols.len(), (job.span.to_ms - job.span.from_ms) / 1_000);
        tracing::info!(%venue, stream = job.kind, recovered = recovered.as_str(), gaps, symbols, seconds, "gaps were back-filled");
        for row in job.rows {
            let known_at = u64::try_from(clock::now_ms()).unwrap_or(0).max(row.known_at + 1);
            let row = FeedGap { recovered, known_at, ..row };
            self.shared.send(FeedOutput::Gap(row)).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dataflows::model::{MINUTE_MS, Venue};
    use tokio::time::Instant;

    use super::*;
    use crate::config::Feed;
    use crate::feeds::live::{Tempo, session};

    fn gap(stream: &str, from_ts: i64, to_ts: i64) -> FeedGap {
        FeedGap {
            venue: Venue::BinanceUsdm.to_string(),
            stream: stream.into(),
            symbol: "BTCUSDT".into(),
            from_ts,
            to_ts: Some(to_ts),
            recovered: Recovered::None,
            cause: "disconnect".into(),
            known_at: 0,
        }
    }

    /// A back-fill that asks nobody, with these gaps of an earlier run.
    fn backfill(gaps: Vec<FeedGap>) -> (Backfill, mpsc::Sender<Told>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let session = session::of(Venue::BinanceUsdm).unwrap();
        let (out, _) = mpsc::channel(1);
        let shared = Shared::new(Tempo::default(), session, Feed::default(), None, None, out, CancellationToken::new());
        let shared = Arc::new(shared);
        let asker = Asker::new(shared.clone(), "http://127.0.0.1:1".into()).unwrap();
        let listened = ["aggTrades", "liquidations"].map(|kind| (kind.to_owned(), "BTCUSDT".to_owned())).to_vec();
        let (sender, told) = mpsc::channel(1);
        let (unhealed, healer) = (Unhealed::new(gaps, listened), Healer::new(shared.clone(), asker));
        (Backfill { shared, told, unhealed, queue: Queue::default(), healer }, sender)
    }

    #[test]
    fn an_earlier_runs_gap_is_a_job_once_the_venue_has_told_its_time() {
        let now_ms = clock::now_ms();
        let (from, to) = (now_ms - 90_000, now_ms - 80_000);
        let gaps = ["liquidations", "aggTrades", "klines"].map(|stream| gap(stream, from, to)).to_vec();
        let (mut backfill, _told) = backfill(gaps.clone());
        backfill.take_unhealed();
        assert!(backfill.queue.is_empty() && !backfill.unhealed.is_empty());
        let event_ms = now_ms - 1_000_000;
        backfill.shared.venue_clock.heard(event_ms, Instant::now());
        backfill.take_unhealed();
        let job = backfill.queue.take_due(i64::MAX, |_| 0).unwrap();
        assert_eq!((&*job.kind, &job.symbols[..], &job.rows[..]), ("aggTrades", &["BTCUSDT".to_owned()][..], &gaps[1..2]));
        assert_eq!(job.span.to_ms - job.span.from_ms, 10_000);
        let off_ms = job.span.to_ms - (event_ms - 80_000);
        assert!(off_ms.abs() < 5_000, "{off_ms} ms: in the venue's time");
        // No venue has liquidations, and klines aren't listened to.
        assert!(backfill.queue.is_empty() && backfill.unhealed.is_empty());
    }

    #[test]
    fn an_earlier_runs_gaps_leave_room_for_new_ones() {
        let now_ms = clock::now_ms();
        let gaps = (0..1_000).map(|n| gap("aggTrades", now_ms - n * 5 * MINUTE_MS - 1_000, now_ms - n * 5 * MINUTE_MS)).collect();
        let (mut backfill, _told) = backfill(gaps);
        backfill.shared.venue_clock.heard(now_ms, Instant::now());
        backfill.take_unhealed();
        assert_eq!(backfill.queue.len(), JOBS_MAX / 2);
        backfill.queue.take_due(i64::MAX, |_| 0).unwrap();
        backfill.take_unhealed();
        assert_eq!((backfill.queue.len(), backfill.unhealed.count()), (JOBS_MAX / 2, 1_000 - JOBS_MAX / 2 - 1));
    }
}
