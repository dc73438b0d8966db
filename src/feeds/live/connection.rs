//! One socket's life: connect, subscribe, read until something ends it. Whatever that is has a name ([`End`]).
//!
//! Frames go on unread but for their stream's name. Tungstenite answers the venue's pings with its next read, which
//! follows at once. Where the queue behind is full we stop reading, so the socket's own window pushes back; that pause is
//! not counted as the venue's silence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::CancellationToken;

use super::batch::Collector;
use super::bucket::{TokenBucket, retry_after};
use super::end::{End, Ended, News};
use super::gaps::{Ledger, Moment, lock};
use super::plan::ConnectionPlan;
use super::session::{Class, Rate};
use super::subscription::{Answer, Subscriptions};
use super::watchdog::{Alarm, Watchdog};
use super::{FeedOutput, Shared, Silent, State};
use crate::clock;
use crate::frames::{Direction, FRAME_BYTES_MAX, FrameBatch};

/// How often timeouts are looked at.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// A stream that stays silent through so many connections in a row no longer costs the others theirs.
const SILENT_RECONNECTS_MAX: u32 = 3;
/// A 418 or 403 without Retry-After: Binance bans for two minutes at least, Bybit asks for ten.
const BAN: Duration = Duration::from_secs(600);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Lives one life of a connection.
pub async fn live(
    shared: Arc<Shared>,
    plan: Arc<ConnectionPlan>,
    ledger: Arc<Mutex<Ledger>>,
    name: String,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
) -> Ended {
    let never = |end| Ended { end, healthy: Duration::ZERO };
    let socket = tokio::select! {
        () = stop.cancelled() => return never(End::Stopped),
        connected = connect(&shared, &plan.url) => match connected {
            Ok(socket) => socket,
            Err(end) => return never(end),
        },
    };
    shared.status(&name, State::Connected).await;
    let mut connection = Connection::new(shared, plan, ledger, name, news, socket);
    let end = connection.run(&stop).await;
    connection.finish(&end, &stop).await;
    let healthy = connection.data.map_or(Duration::ZERO, |(first, last)| last - first);
    Ended { end, healthy }
}

async fn connect(shared: &Shared, url: &str) -> Result<Socket, End> {
    shared.ws_host.permit(1).await;
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
        .max_write_buffer_size(1 << 20);
    let attempt = timeout(shared.tempo.handshake_max, connect_async_with_config(url, Some(config), true)).await;
    match attempt {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(response))) => {
            let status = response.status().as_u16();
            let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let retry_after = retry_after(status, header, BAN, clock::now_ms());
            if let Some(pause) = retry_after {
                shared.ws_host.stay_away(pause);
            }
            Err(End::Rejected { status, retry_after })
        }
        Ok(Err(error)) => Err(End::Unreachable(error.to_string())),
        Err(_) => Err(End::Unreachable(format!("no answer in {} ms", shared.tempo.handshake_max.as_millis()))),
    }
}

struct Connection {
    shared: Arc<Shared>,
    plan: Arc<ConnectionPlan>,
    ledger: Arc<Mutex<Ledger>>,
    name: String,
    news: mpsc::Sender<News>,
    socket: Socket,
    numbers: HashMap<String, usize>,
    subscriptions: Subscriptions,
    watchdog: Watchdog,
    collector: Collector,
    messages: TokenBucket,
    next_id: u64,
    since_ms: i64,
    /// First and last frame of data.
    data: Option<(Instant, Instant)>,
    /// Anything at all came.
    last_read: Instant,
    last_ping: Instant,
    pong_due: Option<Instant>,
    pings_when_idle: bool,
    delivering: bool,
}

impl Connection {
    fn new(
        shared: Arc<Shared>,
        plan: Arc<ConnectionPlan>,
        ledger: Arc<Mutex<Ledger>>,
        name: String,
        news: mpsc::Sender<News>,
        socket: Socket,
    ) -> Self {
        let now = Instant::now();
        let Rate(capacity, period) = shared.session.client_messages();
        Self {
            numbers: plan.streams.iter().enumerate().map(|(n, stream)| (stream.key.clone(), n)).collect(),
            subscriptions: Subscriptions::new(plan.streams.len(), shared.session.subscribe_max()),
            watchdog: Watchdog::new(plan.streams.iter().map(|stream| stream.silence)),
            collector: Collector::new(shared.venue, shared.tempo.quantum, shared.numbers.clone()),
            messages: TokenBucket::new(capacity, period, now),
            next_id: 1,
            since_ms: clock::now_ms(),
            data: None,
            last_read: now,
            last_ping: now,
            pong_due: None,
            pings_when_idle: shared.session.ping(0).is_none(),
            delivering: false,
            shared,
            plan,
            ledger,
            name,
            news,
            socket,
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> End {
        let mut check_at = Instant::now();
        loop {
            let now = Instant::now();
            let done = async {
                if now >= check_at {
                    check_at = now + CHECK_EVERY;
                    self.check(now, stop).await?;
                }
                let batch = self.collector.take_if_due(now);
                self.hand_on(batch, stop).await
            };
            if let Err(end) = done.await {
                return end;
            }
            let wake = self.collector.due().map_or(check_at, |due| due.min(check_at));
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                message = self.socket.next() => {
                    if let Err(end) = self.read(message).await {
                        return end;
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// What is left to do when it is over: the last frames go on, the venue is told.
    async fn finish(&mut self, end: &End, stop: &CancellationToken) {
        let last = self.collector.take();
        let _ = self.hand_on(last, stop).await;
        if !matches!(end, End::Broken(_)) {
            let _ = timeout(Duration::from_millis(300), self.socket.close(None)).await;
        }
    }

    async fn read(&mut self, message: Option<Result<Message, WsError>>) -> Result<(), End> {
        let now = Instant::now();
        self.last_read = now;
        if self.pings_when_idle {
            // Whatever comes proves the socket alive.
            self.pong_due = None;
        }
        match message {
            Some(Ok(Message::Text(text))) => self.text(text.as_str(), now).await,
            Some(Ok(Message::Binary(bytes))) => {
                self.collector.push(&bytes, Direction::In, clock::now_ns(), now);
                Ok(())
            }
            Some(Ok(Message::Pong(_))) => {
                self.pong_due = None;
                Ok(())
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(frame))) => {
                // One more read sends our half of the closing handshake.
                let _ = timeout(Duration::from_millis(200), self.socket.next()).await;
                let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                Err(End::Closed { code, reason })
            }
            Some(Err(WsError::Capacity(CapacityError::MessageTooLong { size, .. }))) => {
                let excerpt = format!("{size} bytes on {}", self.name).into_bytes();
                self.collector.refuse("frame over 1 MiB", clock::now_ns(), excerpt, now);
                Err(End::Oversize { size })
            }
            Some(Err(WsError::Utf8(what))) => {
                let excerpt = format!("{what}, on {}", self.name).into_bytes();
                self.collector.refuse("frame is not UTF-8", clock::now_ns(), excerpt, now);
                Err(End::Broken(format!("a text frame is not UTF-8: {what}")))
            }
            Some(Err(error)) => Err(End::Broken(error.to_string())),
            None => Err(End::Broken("the stream ended".into())),
        }
    }

    async fn text(&mut self, text: &str, now: Instant) -> Result<(), End> {
        let recv_ns = clock::now_ns();
        let shared = self.shared.clone();
        self.collector.push(text.as_bytes(), Direction::In, recv_ns, now);
        match shared.session.classify(text) {
            Class::Data(key) => {
                let venue = shared.session.event_ms(text);
                self.data(key, Moment { ours: recv_ns / 1_000_000, venue }, now).await
            }
            Class::Ack { id, refused } => self.acknowledged(id, refused, now).await,
            Class::Pong => {
                self.pong_due = None;
                Ok(())
            }
            Class::Leaving => {
                let _ = self.news.try_send(News::Leaving);
                Ok(())
            }
            Class::Other => Ok(()),
        }
    }

    async fn data(&mut self, key: &str, at: Moment, now: Instant) -> Result<(), End> {
        let Some(&stream) = self.numbers.get(key) else { return Ok(()) };
        self.watchdog.heard(stream, now);
        if let Some(event_ms) = at.venue {
            self.shared.venue_clock.heard(event_ms, now);
        }
        self.data = Some((self.data.map_or(now, |(first, _)| first), now));
        let settled = self.subscriptions.settled();
        let mut gaps = Vec::new();
        lock(&self.ledger).heard(stream, at, settled, &mut gaps);
        self.shared.gaps(gaps).await;
        self.deliver(settled);
        Ok(())
    }

    fn deliver(&mut self, settled: bool) {
        if settled && !self.delivering && self.data.is_some() {
            self.delivering = true;
            let _ = self.news.try_send(News::Delivering);
        }
    }

    async fn acknowledged(&mut self, id: Option<u64>, refused: Option<String>, now: Instant) -> Result<(), End> {
        match self.subscriptions.answered(id, refused.is_some()) {
            Answer::Accepted(streams) => streams.into_iter().for_each(|stream| self.watchdog.acknowledged(stream, now)),
            Answer::Refused(stream) => {
                self.watchdog.refused(stream);
                let (stream, reason) = (self.plan.streams[stream].key.clone(), refused.unwrap_or_default());
                tracing::warn!(venue = %self.shared.venue, %stream, %reason, "the venue refused a stream");
                self.shared.status(&self.name, State::Refused { stream, reason }).await;
            }
            Answer::Divided | Answer::Unasked => return Ok(()),
        }
        if !self.subscriptions.settled() {
            return Ok(());
        }
        if self.subscriptions.accepted() == 0 {
            return Err(End::AllRefused);
        }
        self.shared.status(&self.name, State::Subscribed { streams: self.subscriptions.accepted() }).await;
        let mut gaps = Vec::new();
        lock(&self.ledger).subscribed(clock::now_ms().into(), &mut gaps);
        self.shared.gaps(gaps).await;
        // Where all is rare, a standing subscription is all that can be had.
        if self.plan.streams.iter().all(|stream| stream.sparse) {
            self.data.get_or_insert((now, now));
        }
        self.deliver(true);
        Ok(())
    }

    /// Everything that time decides.
    async fn check(&mut self, now: Instant, stop: &CancellationToken) -> Result<(), End> {
        while self.subscriptions.has_more() && self.messages.take(1, now).is_ok() {
            let Some(streams) = self.subscriptions.ask(self.next_id, now) else { break };
            let keys: Vec<&str> = streams.iter().map(|&n| self.plan.streams[n].key.as_str()).collect();
            let request = self.shared.session.subscribe(self.next_id, &keys);
            self.next_id += 1;
            self.send(Message::text(request)).await?;
        }
        if self.subscriptions.overdue(now, Duration::from_millis(self.shared.cfg.ack_timeout_ms.max(1))) {
            return Err(End::AckTimeout);
        }
        self.keep_alive(now).await?;
        for alarm in self.watchdog.due(now) {
            self.alarm(alarm, stop).await?;
        }
        Ok(())
    }

    async fn keep_alive(&mut self, now: Instant) -> Result<(), End> {
        if self.pong_due.is_some_and(|due| now >= due) {
            return Err(End::NoPong);
        }
        let since = if self.pings_when_idle { self.last_ping.max(self.last_read) } else { self.last_ping };
        if self.pong_due.is_some() || now < since + self.shared.tempo.ping_every || self.messages.take(1, now).is_err() {
            return Ok(());
        }
        let ping = self.shared.session.ping(self.next_id).map_or_else(|| Message::Ping(Vec::new().into()), Message::text);
        self.next_id += 1;
        (self.last_ping, self.pong_due) = (now, Some(now + self.shared.tempo.pong_max));
        self.send(ping).await
    }

    async fn alarm(&mut self, alarm: Alarm, stop: &CancellationToken) -> Result<(), End> {
        let stream = self.plan.streams[alarm.stream].clone();
        let (mut gaps, now_ms) = (Vec::new(), clock::now_ms());
        let times = lock(&self.ledger).silent(alarm.stream, self.since_ms, now_ms, &mut gaps);
        let silent_for_ms = u64::try_from(alarm.silent_for.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(venue = %self.shared.venue, stream = %stream.key, silent_for_ms, alarm.never_heard, "a stream is silent");
        let silent = Silent {
            venue: self.shared.venue,
            stream: stream.kind.clone(),
            symbol: stream.symbol.clone(),
            key: stream.key.clone(),
            silent_for_ms,
            never_heard: alarm.never_heard,
            at_ms: now_ms,
        };
        // What was heard goes on before the alarm does.
        let batch = self.collector.take();
        self.hand_on(batch, stop).await?;
        self.shared.send(FeedOutput::Silent(silent)).await;
        self.shared.gaps(gaps).await;
        if !stream.sparse && times <= SILENT_RECONNECTS_MAX {
            return Err(End::Silent(stream.key));
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.shared.tempo.write_max, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Broken(error.to_string())),
            Err(_) => Err(End::WriteStalled),
        }
    }

    /// Gives a batch to the queue behind. If that is full we wait, and don't blame the venue for it.
    async fn hand_on(&mut self, batch: Option<FrameBatch>, stop: &CancellationToken) -> Result<(), End> {
        let Some(batch) = batch else { return Ok(()) };
        let (before, frames) = (Instant::now(), batch.frames.len());
        let sent = tokio::select! {
            biased;
            sent = self.shared.out.send(FeedOutput::Frames(batch)) => sent,
            () = stopped_for_long(stop) => {
                tracing::warn!(venue = %self.shared.venue, connection = %self.name, frames, "frames were dropped at shutdown: nobody took them");
                return Err(End::Stopped);
            }
        };
        let pause = before.elapsed();
        if pause > Duration::from_millis(10) {
            self.watchdog.excuse(pause);
            self.subscriptions.excuse(pause);
            self.last_read += pause;
            self.pong_due = self.pong_due.map(|due| due + pause);
        }
        sent.map_err(|_| End::Unwanted)
    }
}

/// After a stop the queue behind has a second left to take what is already there.
async fn stopped_for_long(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}
