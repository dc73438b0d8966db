//! A desk at work: real clock, real sockets on loopback, a file of its own. What tests of it have in common.
#![allow(dead_code)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use alerts::channels::{Channel, HttpSender};
use alerts::desk::{DeskError, Reports, Setup};
use alerts::outbox::{Attempt, Limits};
use alerts::policy::{PolicyConfig, Route};
use alerts::{Alert, Desk, Event, EventType, Guard, SecretText, Severity, Status, event_id};
use tokio::runtime::Handle;

/// When the n-th alert began: any time, but the same in every process.
pub const T0: i64 = 1_723_075_200_000;

pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// Alerts differ by `n` and in nothing else.
pub fn alert(n: u64, severity: Severity, status: Status) -> Alert {
    let symbol = format!("S{n}-USDT-PERP");
    let event = Event {
        id: event_id(EventType::LiquidationCascade, &[&symbol], T0),
        event_type: EventType::LiquidationCascade,
        status,
        timestamp: T0,
        known_at: T0,
        title: format!("{symbol}: long liquidation cascade"),
        symbol,
        venue: "binance-usdm".into(),
        severity,
        description: "10.0 M USD in 5 minutes".into(),
        source: "cascades".into(),
        data: serde_json::Map::new(),
    };
    Alert { event, rules: vec!["cascades".into()], labels: Default::default(), chart: None, is_correction: false }
}

pub fn warning(n: u64) -> Alert {
    alert(n, Severity::Warning, Status::Firing)
}

/// A sender that may post to loopback.
pub fn http(attempt_max: Duration) -> HttpSender {
    tls();
    HttpSender::new(Guard::new(&["127.0.0.1"]).unwrap(), attempt_max).unwrap()
}

pub fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub fn secret(text: &str) -> SecretText {
    SecretText::literal(text).unwrap()
}

pub fn route(name: &str, channels: &[&str]) -> Route {
    Route::new(name, &channels.iter().map(|channel| (*channel).to_owned()).collect::<Vec<_>>())
}

/// Everything to every channel, each alert by itself.
pub fn everything(channels: Vec<Arc<dyn Channel>>) -> Setup {
    let names: Vec<&str> = channels.iter().map(|channel| channel.name()).collect();
    let policy = PolicyConfig { routes: vec![route("everything", &names)], ..PolicyConfig::default() };
    Setup { channels: channels.into_iter().map(|channel| (channel, "address".to_owned())).collect(), policy }
}

/// What a desk reported.
#[derive(Clone, Default)]
pub struct Reported {
    /// With the time at which it was reported.
    pub attempts: Arc<Mutex<Vec<(i64, Attempt)>>>,
    pub problems: Arc<Mutex<Vec<String>>>,
}

impl Reported {
    fn reports(&self) -> Reports {
        let (attempts, problems) = (Arc::clone(&self.attempts), Arc::clone(&self.problems));
        Reports {
            attempt: Box::new(move |attempt| attempts.lock().unwrap().push((now_ms(), attempt))),
            problem: Box::new(move |problem| problems.lock().unwrap().push(problem)),
        }
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }
}

/// Starts a desk on a file; its channels run on the runtime that this is called in.
pub fn start(path: &Path, setup: Setup, limits: Limits) -> (Desk, Reported) {
    let (desk, reported) = try_start(path, setup, limits);
    (desk.unwrap(), reported)
}

pub fn try_start(path: &Path, setup: Setup, limits: Limits) -> (Result<Desk, DeskError>, Reported) {
    let reported = Reported::default();
    let desk = Desk::start(path.to_owned(), setup, limits, Arc::new(now_ms), Handle::current(), reported.reports());
    (desk, reported)
}

/// Limits with short pauses between attempts.
pub fn quick() -> Limits {
    Limits { schedule_ms: vec![50, 100, 200], ..Limits::default() }
}

/// Waits until it is so, at most for `within`.
pub async fn until(within: Duration, what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + within;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "waited {within:?} for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Random numbers that a seed decides (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// `SEED` of the environment, or one by the clock.
pub fn seed() -> u64 {
    std::env::var("SEED").map_or_else(|_| now_ms() as u64, |text| text.parse().unwrap())
}

/// Hours instead of seconds are asked for.
pub fn is_soak() -> bool {
    std::env::var_os("REGIMEFLOW_SOAK").is_some()
}
