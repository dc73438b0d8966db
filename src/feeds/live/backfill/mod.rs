//! Gaps heal: what was missed is asked of the venue's REST, and enters as frames like everything else.
//!
//! One task a feed. It is told of each gap that ended, waits until the venue has the final answer (a minute is asked for
//! once it is over), asks source by source and symbol by symbol ([`heal`]), and tells the gap a third time, with how well
//! it was recovered. Print by print for gaps of up to 15 minutes where the venue gives prints by id, else minute by minute,
//! at most `backfill_minutes_max` back. Live frames never wait for it: it is told through a bounded channel without
//! waiting, and asks one question at a time under the venue's budget, where polls come first because they cost less.
//!
//! Limits: [`queue::JOBS_MAX`] gaps wait, what comes beyond stays `none` and is logged; a question is asked
//! [`heal::TRIES_MAX`] times; a gap whose filling is cut off by the program's end stays `none`.

mod heal;
mod plan;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::heal::Healer;
use self::queue::{Job, Queue};
use super::ask::Asker;
use super::gaps::Told;
use super::history::Recovered;
use super::{FeedOutput, Shared};
use crate::clock;
use crate::store::edge::FeedGap;

/// Gaps that were told and not taken in yet.
pub(super) const TOLD_MAX: usize = 1_024;
/// How often it is looked whether something is due.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fills gaps until `stop`.
pub(super) async fn run(shared: Arc<Shared>, asker: Asker, told: mpsc::Receiver<Told>, stop: CancellationToken) {
    let mut backfill = Backfill { healer: Healer::new(shared.clone(), asker), shared, told, queue: Queue::default() };
    let _ = stop.run_until_cancelled(backfill.run()).await;
}

struct Backfill {
    shared: Arc<Shared>,
    told: mpsc::Receiver<Told>,
    queue: Queue,
    healer: Healer,
}

impl Backfill {
    async fn run(&mut self) {
        loop {
            while let Ok(told) = self.told.try_recv() {
                self.take(told);
            }
            let now_ms = self.shared.venue_clock.now_ms();
            let healer = &self.healer;
            if let Some(job) = self.queue.take_due(now_ms, |job| healer.due_ms(job)) {
                let recovered = self.healer.heal(&job).await;
                self.tell(job, recovered).await;
                continue;
            }
            let look =
                async { if self.queue.is_empty() { std::future::pending().await } else { tokio::time::sleep(LOOK_EVERY).await } };
            tokio::select! {
                told = self.told.recv() => match told {
                    Some(told) => self.take(told),
                    None => return,
                },
                () = look => {}
            }
        }
    }

    /// A gap ended. Many hold nothing that the venue still has.
    fn take(&mut self, told: Told) {
        let Told { row, missed: Some(missed) } = told else { return };
        let span = plan::span(&missed, self.shared.venue_clock.now_ms());
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
