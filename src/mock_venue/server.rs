//! Accepts sockets, answers requests, and knows who is subscribed to what.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use dataflows::model::Venue;

use super::MockConfig;
use super::fault::Kind;
use super::protocol::{self, Request, Route};
use super::rest::Rest;
use super::wire::{Op, Wire};
use crate::feeds::live::bucket::TokenBucket;

const HEAD_BYTES_MAX: usize = 16 << 10;
const CLIENTS_MAX: usize = 1_000;

/// A client of ours.
pub struct Client {
    pub id: u64,
    pub route: Route,
    pub wire: AsyncMutex<Wire>,
    pub stop: CancellationToken,
    /// Half-open: the socket stays, nothing is answered.
    pub mute: AtomicBool,
    pub sent: AtomicU64,
    /// Frames per stream, and those that were withheld.
    pub by_stream: Mutex<HashMap<String, u64>>,
    subscribed: Mutex<BTreeSet<String>>,
    struck: Mutex<HashSet<usize>>,
}

/// All that the tasks share.
pub struct MockVenue {
    pub config: MockConfig,
    pub stop: CancellationToken,
    pub rest: Rest,
    /// Something about subscriptions changed.
    pub changed: Notify,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    ever: Mutex<HashSet<String>>,
    last_subscription: Mutex<Option<Instant>>,
    hits: Vec<AtomicU64>,
    pub connections: AtomicU64,
    pub pongs: AtomicU64,
}

impl MockVenue {
    pub fn new(config: MockConfig, stop: CancellationToken) -> Self {
        Self {
            rest: Rest::new(config.rest),
            hits: config.faults.iter().map(|_| AtomicU64::new(0)).collect(),
            config,
            stop,
            changed: Notify::new(),
            clients: Mutex::default(),
            ever: Mutex::default(),
            last_subscription: Mutex::default(),
            connections: AtomicU64::new(0),
            pongs: AtomicU64::new(0),
        }
    }

    /// Accepts until it is stopped.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let venue = self.clone();
            tokio::spawn(async move {
                let stop = venue.stop.clone();
                let _ = stop.run_until_cancelled(venue.serve(stream)).await;
            });
        }
    }

    /// Who gets this stream's frames.
    pub fn subscribers(&self, venue: Venue, key: &str) -> Vec<Arc<Client>> {
        let wants = |client: &&Arc<Client>| {
            client.route.venue == venue && client.route.carries(key) && locked(&client.subscribed).contains(key)
        };
        locked(&self.clients).values().filter(wants).cloned().collect()
    }

    pub fn clients(&self) -> Vec<Arc<Client>> {
        locked(&self.clients).values().cloned().collect()
    }

    /// Was this stream ever subscribed to, so that its frames are waited with?
    pub fn is_awaited(&self, key: &str) -> bool {
        locked(&self.ever).contains(key)
    }

    /// Its subscriber didn't come back.
    pub fn give_up(&self, key: &str) {
        locked(&self.ever).remove(key);
    }

    /// How many streams are subscribed, and since when that has not changed.
    pub fn subscriptions(&self) -> (usize, Option<Instant>) {
        let keys: HashSet<String> = self.clients().iter().flat_map(|client| locked(&client.subscribed).clone()).collect();
        (keys.len(), *locked(&self.last_subscription))
    }

    /// A client gets nothing more. Its socket stays until it leaves by itself.
    pub fn forget(&self, client: &Client) {
        locked(&self.clients).remove(&client.id);
        self.changed.notify_waiters();
    }

    /// Does fault number `fault` strike this client? Once it did, it always does.
    pub fn strikes(&self, fault: usize, client: &Client) -> bool {
        let mut struck = locked(&client.struck);
        struck.contains(&fault) || (self.strikes_next(fault) && struck.insert(fault))
    }

    fn strikes_next(&self, fault: usize) -> bool {
        let next = |hits| (hits < self.config.faults[fault].times).then_some(hits + 1);
        self.hits[fault].fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    pub fn hits(&self) -> Vec<u64> {
        self.hits.iter().map(|hits| hits.load(Ordering::Relaxed)).collect()
    }

    fn has(&self, client: &Client, kind: &Kind) -> bool {
        let mut all = self.config.faults.iter().enumerate();
        all.any(|(n, fault)| fault.kind == *kind && self.strikes(n, client))
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let head = timeout(Duration::from_secs(10), read_head(&mut stream)).await??;
        let mut lines = head.lines();
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_owned();
        let header = |name: &str| {
            head.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let websocket = header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        if let Some((status, retry_after)) = self.refusal(!websocket) {
            let extra = retry_after.map(|secs| format!("Retry-After: {secs}\r\n")).unwrap_or_default();
            return respond(&mut stream, status, &extra, "{\"code\":-1003,\"msg\":\"Too many requests.\"}").await;
        }
        match (websocket, header("sec-websocket-key"), Route::of(&target)) {
            (true, Some(key), Some(route)) if locked(&self.clients).len() < CLIENTS_MAX => {
                let accept = derive_accept_key(key.as_bytes());
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await?;
                self.converse(stream, route).await
            }
            (true, ..) => respond(&mut stream, 404, "", "no such stream").await,
            (false, ..) => match self.rest.answer(&target).await {
                Some((status, body)) => respond(&mut stream, status, "", &body).await,
                None => respond(&mut stream, 404, "", "{\"code\":-5000,\"msg\":\"Path and query were not recorded.\"}").await,
            },
        }
    }

    fn refusal(&self, is_rest: bool) -> Option<(u16, Option<u64>)> {
        self.config.faults.iter().enumerate().find_map(|(n, fault)| match fault.kind {
            Kind::Refuse { status, retry_after, rest } if rest == is_rest && self.strikes_next(n) => Some((status, retry_after)),
            _ => None,
        })
    }

    async fn converse(&self, stream: TcpStream, route: Route) -> io::Result<()> {
        let (reading, writing) = stream.into_split();
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let first = route.streams.clone();
        let client = Arc::new(Client {
            id,
            route,
            wire: AsyncMutex::new(Wire::new(writing)),
            stop: self.stop.child_token(),
            mute: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            by_stream: Mutex::default(),
            subscribed: Mutex::default(),
            struck: Mutex::default(),
        });
        locked(&self.clients).insert(id, client.clone());
        self.subscribe(&client, first);
        let done = self.listen(&client, reading).await;
        self.forget(&client);
        done
    }

    /// Reads what the client sends. The library's own answers go nowhere: ours can be withheld.
    async fn listen(&self, client: &Arc<Client>, reading: OwnedReadHalf) -> io::Result<()> {
        let config = WebSocketConfig::default().max_message_size(Some(64 << 10)).max_frame_size(Some(64 << 10));
        let joined = tokio::io::join(reading, tokio::io::sink());
        let mut socket = WebSocketStream::from_raw_socket(joined, Role::Server, Some(config)).await;
        let mut allowed = TokenBucket::new(10, Duration::from_secs(1), Instant::now());
        let pings = client.route.venue == Venue::BinanceUsdm;
        let (mut ping_at, mut pong_due) = (Instant::now() + self.config.ping_every, None);
        loop {
            let wake = pong_due.map_or(ping_at, |due: Instant| due.min(ping_at));
            tokio::select! {
                () = client.stop.cancelled() => return Ok(()),
                message = socket.next() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    if client.mute.load(Ordering::Relaxed) {
                        continue;
                    }
                    if pings && allowed.take(1, Instant::now()).is_err() {
                        return client.wire.lock().await.close(1008, "Too many requests").await;
                    }
                    match message {
                        Message::Text(text) => self.request(client, text.as_str()).await?,
                        Message::Ping(payload) if !self.has(client, &Kind::NoPong) => {
                            client.wire.lock().await.now(Op::Pong, &payload).await?;
                        }
                        Message::Pong(_) => {
                            pong_due = None;
                            self.pongs.fetch_add(1, Ordering::Relaxed);
                        }
                        Message::Close(_) => {
                            let _ = client.wire.lock().await.close(1000, "").await;
                            return Ok(());
                        }
                        _ => {}
                    }
                }
                () = sleep_until(wake), if pings && !client.mute.load(Ordering::Relaxed) => {
                    if pong_due.is_some_and(|due| Instant::now() >= due) {
                        return client.wire.lock().await.close(1008, "Pong timeout").await;
                    }
                    ping_at = Instant::now() + self.config.ping_every;
                    pong_due = pong_due.or(Some(Instant::now() + self.config.pong_max));
                    client.wire.lock().await.now(Op::Ping, b"mock").await?;
                }
            }
        }
    }

    async fn request(&self, client: &Arc<Client>, text: &str) -> io::Result<()> {
        let (request, mut answer) = protocol::request(client.route.venue, text);
        let mut wire = client.wire.lock().await;
        match request {
            Request::Subscribe(keys) => {
                if self.has(client, &Kind::NoAck) {
                    return Ok(());
                }
                wire.now(Op::Text, answer.to_string().as_bytes()).await?;
                drop(wire);
                if !self.has(client, &Kind::AckOnly) {
                    self.subscribe(client, keys);
                }
                return Ok(());
            }
            Request::Unsubscribe(keys) => {
                let mut subscribed = locked(&client.subscribed);
                keys.iter().for_each(|key| {
                    subscribed.remove(key);
                    self.give_up(key);
                });
                drop(subscribed);
                self.changed.notify_waiters();
            }
            Request::List => answer["result"] = locked(&client.subscribed).iter().cloned().collect(),
            Request::Ping if self.has(client, &Kind::NoPong) => return Ok(()),
            Request::Ping | Request::Nothing => {}
        }
        wire.now(Op::Text, answer.to_string().as_bytes()).await
    }

    fn subscribe(&self, client: &Client, keys: Vec<String>) {
        if keys.is_empty() {
            return;
        }
        locked(&self.ever).extend(keys.iter().filter(|key| client.route.carries(key)).cloned());
        locked(&client.subscribed).extend(keys);
        *locked(&self.last_subscription) = Some(Instant::now());
        self.changed.notify_waiters();
    }
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request's head. A client sends nothing behind it before we answer.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn respond(stream: &mut TcpStream, status: u16, extra: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Mock\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
