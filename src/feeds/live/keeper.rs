//! Keeps one planned connection alive: reconnects after a pause, replaces it before the venue does.
//!
//! At most two connections at a time: the current one, and during a rotation its replacement. The old one is closed only
//! after the new one delivers and both have run together for a while; what both delivered is de-duplicated behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::live;
use super::end::{End, Ended, News};
use super::gaps::{Ledger, lock};
use super::plan::ConnectionPlan;
use super::{Shared, State};
use crate::clock;

/// A replacement that delivers nothing for so long is given up.
const REPLACEMENT_MAX: Duration = Duration::from_secs(120);
/// Rotations are brought forward by up to this share of their age, so that connections don't rotate together.
const ROTATION_JITTER: f64 = 0.05;

enum Note {
    News(u64, News),
    Ended(u64, Ended),
}

struct Running {
    number: u64,
    name: String,
    stop: CancellationToken,
    delivering: bool,
    rotate_at: Instant,
    /// Of a replacement: when the old connection may go.
    overlapped_at: Option<Instant>,
    give_up_at: Instant,
}

/// Keeps connection number `index` of the plan alive until `stop`.
pub async fn keep(shared: Arc<Shared>, plan: Arc<ConnectionPlan>, index: usize, stop: CancellationToken) {
    let (notes_in, mut notes) = mpsc::channel(64);
    let ledger = Arc::new(Mutex::new(Ledger::new(shared.venue, &plan.streams, clock::now_ms())));
    if let Some(since_ms) = shared.since_ms {
        // Several connections carry streams of one kind, and a row's key names no connection: a millisecond tells them apart.
        let (since_ms, mut gaps) = (since_ms + index as i64, Vec::new());
        lock(&ledger).restarted(since_ms, clock::now_ms(), &mut gaps);
        shared.gaps(gaps).await;
    }
    let ms = Duration::from_millis;
    let seed = clock::now_ns().unsigned_abs() ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let cfg = &shared.cfg;
    let backoff = Backoff::new(ms(cfg.backoff_ms_min), ms(cfg.backoff_ms_max), ms(cfg.healthy_after_ms), seed);
    let mut keeper = Keeper {
        backoff,
        rng: StdRng::seed_from_u64(seed ^ 1),
        index,
        started: 0,
        current: None,
        replacement: None,
        start_at: Instant::now(),
        notes: notes_in,
        stop: stop.clone(),
        shared,
        plan,
        ledger,
    };
    loop {
        let wake = keeper.wake_at();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(note) = notes.recv() => if keeper.note(note).await.is_break() { break },
            () = sleep_until(wake) => keeper.act().await,
        }
    }
    // The connections were told to stop with us. Each says so when it has handed on its last frames.
    let mut open = usize::from(keeper.current.is_some()) + usize::from(keeper.replacement.is_some());
    while open > 0 {
        match timeout(Duration::from_millis(1_800), notes.recv()).await {
            Ok(Some(Note::Ended(..))) => open -= 1,
            Ok(Some(Note::News(..))) => {}
            _ => break,
        }
    }
}

struct Keeper {
    shared: Arc<Shared>,
    plan: Arc<ConnectionPlan>,
    ledger: Arc<Mutex<Ledger>>,
    backoff: Backoff,
    rng: StdRng,
    index: usize,
    started: u64,
    current: Option<Running>,
    replacement: Option<Running>,
    /// When the next connection may be made, while there is none.
    start_at: Instant,
    notes: mpsc::Sender<Note>,
    stop: CancellationToken,
}

impl Keeper {
    fn wake_at(&self) -> Instant {
        match (&self.current, &self.replacement) {
            (None, _) => self.start_at,
            (Some(current), None) => current.rotate_at,
            (Some(_), Some(new)) => new.overlapped_at.unwrap_or(new.give_up_at),
        }
    }

    /// Does what is due.
    async fn act(&mut self) {
        let now = Instant::now();
        if now < self.wake_at() {
            return;
        }
        match (&mut self.current, &mut self.replacement) {
            (None, _) => self.current = Some(self.start()),
            (Some(current), None) if current.delivering => {
                let name = current.name.clone();
                self.shared.status(&name, State::Rotating).await;
                self.replacement = Some(self.start());
            }
            // A connection that doesn't deliver is the watchdog's and the ack timeout's business, not the rotation's.
            (Some(current), None) => current.rotate_at = now + Duration::from_secs(1),
            (Some(current), Some(new)) if new.overlapped_at.is_some() => {
                current.stop.cancel();
                let name = new.name.clone();
                self.current = self.replacement.take();
                self.shared.status(&name, State::Rotated).await;
            }
            (Some(_), Some(new)) => new.stop.cancel(),
        }
    }

    fn start(&mut self) -> Running {
        let number = self.started;
        self.started += 1;
        let name = format!("{}-{}.{number}", self.plan.route, self.index);
        let stop = self.stop.child_token();
        let (news_in, mut news) = mpsc::channel(8);
        let life =
            tokio::spawn(live(self.shared.clone(), self.plan.clone(), self.ledger.clone(), name.clone(), news_in, stop.clone()));
        let notes = self.notes.clone();
        tokio::spawn(async move {
            while let Some(news) = news.recv().await {
                let _ = notes.send(Note::News(number, news)).await;
            }
            let crashed = |error: tokio::task::JoinError| Ended { end: End::Crashed(error.to_string()), healthy: Duration::ZERO };
            let ended = life.await.unwrap_or_else(crashed);
            let _ = notes.send(Note::Ended(number, ended)).await;
        });
        let now = Instant::now();
        let age = Duration::from_millis(self.shared.cfg.rotate_after_ms.max(1));
        let rotate_at = now + age.mul_f64(1.0 - self.rng.random_range(0.0..=ROTATION_JITTER));
        Running { number, name, stop, delivering: false, rotate_at, overlapped_at: None, give_up_at: now + REPLACEMENT_MAX }
    }

    async fn note(&mut self, note: Note) -> std::ops::ControlFlow<()> {
        match note {
            Note::News(number, News::Delivering) => self.delivers(number),
            Note::News(number, News::Leaving) => {
                if let Some(current) = self.current.as_mut().filter(|running| running.number == number) {
                    current.rotate_at = Instant::now();
                }
            }
            Note::Ended(number, Ended { end: End::Unwanted, .. }) => {
                self.current.take_if(|running| running.number == number);
                self.replacement.take_if(|running| running.number == number);
                self.shared.unwanted.cancel();
                return std::ops::ControlFlow::Break(());
            }
            Note::Ended(number, ended) => self.ended(number, ended).await,
        }
        std::ops::ControlFlow::Continue(())
    }

    fn delivers(&mut self, number: u64) {
        let overlap = Duration::from_millis(self.shared.cfg.rotate_overlap_ms);
        if let Some(current) = self.current.as_mut().filter(|running| running.number == number) {
            current.delivering = true;
        }
        if let Some(new) = self.replacement.as_mut().filter(|running| running.number == number) {
            new.delivering = true;
            new.overlapped_at = Some(Instant::now() + overlap);
        }
    }

    async fn ended(&mut self, number: u64, ended: Ended) {
        let Ended { end, healthy } = ended;
        let is = |running: &Option<Running>| running.as_ref().is_some_and(|running| running.number == number);
        if is(&self.replacement) {
            self.replacement = None;
            let pause = self.backoff.pause(Duration::ZERO);
            if let Some(current) = self.current.as_mut() {
                current.rotate_at = Instant::now() + pause;
                let name = current.name.clone();
                self.lost(&name, &end, pause).await;
            }
        } else if is(&self.current) {
            let name = self.current.take().map_or_else(String::new, |running| running.name);
            let replaced = self.replacement.as_ref().is_some_and(|new| new.delivering);
            if !replaced {
                let mut rows = Vec::new();
                lock(&self.ledger).lost(end.cause(), clock::now_ms(), &mut rows);
                self.shared.gaps(rows).await;
            }
            self.current = self.replacement.take();
            if let Some(current) = self.current.as_mut() {
                current.overlapped_at = None;
                self.lost(&name, &end, Duration::ZERO).await;
                return;
            }
            let asked = if let End::Rejected { retry_after: Some(pause), .. } = &end { *pause } else { Duration::ZERO };
            let pause = self.backoff.pause(healthy).max(asked);
            self.start_at = Instant::now() + pause;
            self.lost(&name, &end, pause).await;
        }
    }

    async fn lost(&self, name: &str, end: &End, pause: Duration) {
        let retry_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(venue = %self.shared.venue, connection = name, cause = end.cause(), detail = %end, retry_in_ms, "a connection ended");
        self.shared.status(name, State::Lost { end: end.clone(), retry_in_ms }).await;
    }
}
