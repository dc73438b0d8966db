//! Walks the log and writes each frame to those who subscribed to its stream.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dataflows::model::Venue;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fault::{How, Kind};
use super::log::Line;
use super::protocol::{dressed, stream_of};
use super::server::{Client, MockVenue, locked};
use super::wire::Op;
use super::{Report, Speed};
use crate::frames::Direction;

/// So many frames at most wait in a buffer of ours when playing at full speed.
const FLUSH_EVERY: u64 = 128;

/// What became of a frame at one client.
#[derive(PartialEq)]
enum Fate {
    Sent,
    Withheld,
    /// The client is gone, and the frame is still to be delivered.
    Gone,
}

struct Frame {
    recv_ns: i64,
    venue: Venue,
    key: String,
    payload: String,
}

/// Plays until the log ends; then, with `once`, closes; else until it is stopped.
pub async fn play(venue: &Arc<MockVenue>, mut lines: mpsc::Receiver<Line>) -> Report {
    let mut playback = Playback {
        venue: venue.clone(),
        report: Report::default(),
        clock: None,
        rng: StdRng::seed_from_u64(venue.config.seed),
        last: HashMap::new(),
        played: 0,
        losing: false,
    };
    let all = async {
        playback.walk(&mut lines).await;
        playback.flush().await;
        if playback.venue.config.once {
            playback.close().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let _ = venue.stop.run_until_cancelled(all).await;
    playback.report.connections = venue.connections.load(Ordering::Relaxed);
    playback.report.pongs = venue.pongs.load(Ordering::Relaxed);
    playback.report.about_the_past = venue.rest.about_the_past.load(Ordering::Relaxed);
    playback.report.faults = venue.hits();
    playback.report
}

struct Playback {
    venue: Arc<MockVenue>,
    report: Report,
    /// The recorded time of the first frame, and when it was played.
    clock: Option<(i64, Instant)>,
    rng: StdRng,
    /// Each stream's last frame, for `stale-first`.
    last: HashMap<String, String>,
    played: u64,
    /// A `drop` with `lose` struck: who is gone is not waited for.
    losing: bool,
}

impl Playback {
    async fn walk(&mut self, lines: &mut mpsc::Receiver<Line>) {
        let within = self.venue.config.faults.iter().find_map(|fault| match fault.kind {
            Kind::Reorder { within } => Some(within),
            _ => None,
        });
        let mut window = Vec::new();
        let mut started = false;
        while let Some(line) = lines.recv().await {
            let Some(frame) = self.sort(line).await else { continue };
            if !std::mem::replace(&mut started, true) {
                self.wait_for_subscriptions().await;
            }
            window.push(frame);
            if window.len() >= within.unwrap_or(1) {
                self.play_window(&mut window).await;
            }
        }
        self.play_window(&mut window).await;
    }

    /// A frame of data, or it is dealt with here.
    async fn sort(&mut self, line: Line) -> Option<Frame> {
        match line {
            Line::Frame { recv_ns, venue, direction: Direction::In, payload } => {
                let key = stream_of(venue, &payload);
                self.report.no_stream += u64::from(key.is_none());
                return key.map(|key| Frame { recv_ns, venue, key, payload });
            }
            Line::Frame { direction: Direction::Http, payload, .. } => {
                self.flush().await;
                let passed = self.venue.rest.pass(&payload, self.venue.config.patience).await;
                *(if passed { &mut self.report.http } else { &mut self.report.http_unasked }) += 1;
            }
            Line::Frame { .. } => self.report.out += 1,
            Line::Malformed => self.report.malformed += 1,
            Line::Failed(error) => self.report.failed = Some(error),
        }
        None
    }

    async fn wait_for_subscriptions(&self) {
        loop {
            let changed = self.venue.changed.notified();
            let (streams, last) = self.venue.subscriptions();
            let rest = match (self.venue.config.wait_for_subscriptions, last) {
                (Some(wanted), _) if streams >= wanted => return,
                (None, Some(last)) => {
                    let settled = last + self.venue.config.settle;
                    if Instant::now() >= settled && streams > 0 {
                        return;
                    }
                    settled.saturating_duration_since(Instant::now()).max(Duration::from_millis(5))
                }
                _ => Duration::from_secs(3_600),
            };
            let _ = timeout(rest, changed).await;
        }
    }

    async fn play_window(&mut self, window: &mut Vec<Frame>) {
        if window.len() > 1 {
            window.shuffle(&mut self.rng);
        }
        for frame in window.drain(..) {
            self.pace(frame.recv_ns).await;
            self.play(&frame).await;
            self.venue.rest.archive.pass(frame.venue, &frame.key, &frame.payload);
            self.played += 1;
            if self.played.is_multiple_of(FLUSH_EVERY) {
                self.flush().await;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for the frame's time.
    async fn pace(&mut self, recv_ns: i64) {
        let Speed::Times(speed) = self.venue.config.speed else { return };
        let (first_ns, first) = *self.clock.get_or_insert((recv_ns, Instant::now()));
        let burst = self.venue.config.faults.iter().any(|fault| match fault.kind {
            Kind::Burst { frames, after } => (after..after.saturating_add(frames)).contains(&self.played),
            _ => false,
        });
        let offset = Duration::from_nanos(u64::try_from(recv_ns.saturating_sub(first_ns)).unwrap_or(0)).div_f64(speed);
        let at = first + offset;
        if !burst && at > Instant::now() {
            self.flush().await;
            sleep_until(at).await;
        }
    }

    async fn play(&mut self, frame: &Frame) {
        let venue = self.venue.clone();
        loop {
            let changed = venue.changed.notified();
            let clients = self.venue.subscribers(frame.venue, &frame.key);
            if clients.is_empty() {
                if !self.venue.is_awaited(&frame.key) {
                    self.report.unsubscribed += 1;
                    return;
                }
                let before = Instant::now();
                self.flush().await;
                if self.losing || timeout(self.venue.config.patience, changed).await.is_err() {
                    self.report.lost += 1;
                    if !self.losing {
                        self.venue.give_up(&frame.key);
                    }
                    return;
                }
                // The recorded clock stood still meanwhile.
                self.clock = self.clock.map(|(ns, at)| (ns, at + before.elapsed()));
                continue;
            }
            let mut fates = Vec::with_capacity(clients.len());
            for client in clients {
                let fate = self.deliver(&client, frame).await.unwrap_or(Fate::Gone);
                if fate == Fate::Gone {
                    self.venue.forget(&client);
                }
                fates.push(fate);
            }
            if fates.contains(&Fate::Sent) {
                self.report.sent += 1;
                self.last.insert(frame.key.clone(), frame.payload.clone());
                return;
            }
            if fates.contains(&Fate::Withheld) {
                self.report.withheld += 1;
                return;
            }
        }
    }

    async fn deliver(&mut self, client: &Client, frame: &Frame) -> io::Result<Fate> {
        let text = dressed(&client.route, &frame.key, &frame.payload);
        let sent = client.sent.load(Ordering::Relaxed);
        let of_stream = locked(&client.by_stream).get(&frame.key).copied().unwrap_or(0);
        let venue = self.venue.clone();
        let mut wire = client.wire.lock().await;
        let mut copies = 1;
        for (n, fault) in venue.config.faults.iter().enumerate() {
            match &fault.kind {
                Kind::Drop { after, how, lose } if sent >= *after && venue.strikes(n, client) => {
                    self.losing |= lose;
                    match how {
                        How::Close => wire.close(1001, "going away").await?,
                        How::Reset => wire.reset().await?,
                        How::Cut => wire.cut(text.as_bytes()).await?,
                    }
                    if *how != How::Close {
                        client.stop.cancel();
                    }
                    return Ok(Fate::Gone);
                }
                Kind::HalfOpen { after } if sent >= *after && venue.strikes(n, client) => {
                    wire.flush().await?;
                    client.mute.store(true, Ordering::Relaxed);
                    return Ok(Fate::Gone);
                }
                Kind::Oversize { after, bytes } if sent >= *after && venue.strikes(n, client) => {
                    wire.now(Op::Text, &vec![b'x'; *bytes]).await?;
                    return Ok(Fate::Gone);
                }
                Kind::Silent { stream, after } if frame.key == *stream && of_stream >= *after && venue.strikes(n, client) => {
                    return Ok(Fate::Withheld);
                }
                Kind::Garbage { every } if (sent + 1).is_multiple_of(*every) => {
                    let cut = text.floor_char_boundary(text.len() / 2);
                    wire.frame(Op::Text, &text.as_bytes()[..cut]).await?;
                }
                Kind::StaleFirst if of_stream == 0 => {
                    if let Some(stale) = self.last.get(&frame.key) {
                        wire.frame(Op::Text, dressed(&client.route, &frame.key, stale).as_bytes()).await?;
                    }
                }
                Kind::Duplicate { percent } if self.rng.random_range(0..100) < *percent => copies = 2,
                _ => {}
            }
        }
        for _ in 0..copies {
            wire.frame(Op::Text, text.as_bytes()).await?;
        }
        client.sent.fetch_add(1, Ordering::Relaxed);
        *locked(&client.by_stream).entry(frame.key.clone()).or_default() += 1;
        Ok(Fate::Sent)
    }

    async fn flush(&self) {
        for client in self.venue.clients() {
            let flushed = client.wire.lock().await.flush().await;
            if flushed.is_err() {
                self.venue.forget(&client);
            }
        }
    }

    /// Says goodbye and waits until the clients have left.
    async fn close(&self) {
        for client in self.venue.clients() {
            let _ = client.wire.lock().await.close(1000, "the end").await;
        }
        let left = async {
            while !self.venue.clients().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(Duration::from_secs(2), left).await;
    }
}
