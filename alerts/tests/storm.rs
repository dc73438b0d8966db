//! A6 over real HTTP: a storm into receivers that speak Discord's, Slack's and Telegram's protocols and enforce their limits.
//!
//! The whole one (`REGIMEFLOW_SOAK`): 10,000 alerts in 10 s, the limits as they are. Otherwise 2,000 in 2 s, all spans and the channels'
//! paces half as long, so that it ends in some seconds.
#![allow(clippy::unwrap_used)]

#[path = "channels/receiver.rs"]
mod receiver;
mod running;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerts::channels::webhook::Format;
use alerts::channels::{Channel, Discord, Pace, Slack, Telegram, Webhook};
use alerts::notice::news_id;
use alerts::outbox::{AttemptResult, Limits};
use alerts::{Alert, Severity, Status};
use receiver::{Request, answer, receiver};
use running::{alert, everything, http, is_soak, now_ms, secret, start, until};
use serde_json::{Value, json};

/// A receiver's limits, and what it took.
struct Enforced {
    kind: &'static str,
    limits: Vec<(u32, Duration)>,
    /// When it took messages.
    taken_at: VecDeque<Instant>,
    refused: usize,
    messages: u64,
    /// How many alerts they spoke of.
    alerts: u64,
}

impl Enforced {
    fn new(kind: &'static str, limits: &[(u32, Duration)]) -> Arc<Mutex<Self>> {
        let limits = limits.to_vec();
        Arc::new(Mutex::new(Self { kind, limits, taken_at: VecDeque::new(), refused: 0, messages: 0, alerts: 0 }))
    }

    /// How long a receiver that is asked now wants to be left alone.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let until = |&(most, span): &(u32, Duration)| {
            let first = self.taken_at.iter().rev().nth(most as usize - 1)?;
            Some((*first + span).saturating_duration_since(now)).filter(|wait| !wait.is_zero())
        };
        self.limits.iter().filter_map(until).max()
    }

    fn hear(&mut self, request: &Request) -> Vec<u8> {
        let now = Instant::now();
        if let Some(wait) = self.wait(now) {
            self.refused += 1;
            let seconds = wait.as_secs_f64();
            let whole = (seconds.ceil() as u64).to_string();
            let body = match self.kind {
                "discord" => json!({ "message": "You are being rate limited.", "retry_after": seconds, "global": false }),
                "telegram" => {
                    json!({ "ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": { "retry_after": seconds } })
                }
                _ => json!("rate_limited"),
            };
            return answer(429, &[("retry-after", &whole)], &body.to_string());
        }
        self.taken_at.push_back(now);
        self.messages += 1;
        self.alerts += spoken_of(&request.body);
        match self.kind {
            "discord" => answer(200, &[("content-type", "application/json")], &json!({ "id": "1" }).to_string()),
            "telegram" => answer(200, &[("content-type", "application/json")], &json!({ "ok": true, "result": {} }).to_string()),
            _ => answer(200, &[], "ok"),
        }
    }

    /// The most messages that it took in any span so long.
    fn most_in(&self, span: Duration) -> usize {
        let within = |from: usize| self.taken_at.range(from..).take_while(|at| **at < self.taken_at[from] + span).count();
        (0..self.taken_at.len()).map(within).max().unwrap_or(0)
    }
}

/// How many alerts a message speaks of, as its first line says it.
fn spoken_of(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).unwrap();
    let text = body["content"].as_str().or(body["text"].as_str()).unwrap();
    let line = text.lines().next().unwrap();
    let Some((before, _)) = line.split_once(" alerts") else { return 1 };
    let digits: String = before.chars().rev().take_while(char::is_ascii_digit).collect();
    digits.chars().rev().collect::<String>().parse().unwrap()
}

/// Every twentieth is grave.
fn nth(n: u64) -> Alert {
    alert(n, if n % 20 == 7 { Severity::Critical } else { Severity::Warning }, Status::Firing)
}

/// Memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_stays_within_every_limit_and_what_is_critical_arrives_in_time() {
    let (alerts, time, scale) = if is_soak() { (10_000, Duration::from_secs(10), 1) } else { (2_000, Duration::from_secs(2), 2) };
    let second = Duration::from_secs(1) / scale;
    let limits = [
        ("discord", vec![(5, 2 * second), (30, 60 * second)]),
        ("slack", vec![(1, second)]),
        ("telegram", vec![(1, second), (20, 60 * second)]),
    ];
    let mut receivers = BTreeMap::new();
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    let http = http(Duration::from_secs(5));
    for (name, limits) in &limits {
        let enforced = Enforced::new(name, limits);
        let hears = Arc::clone(&enforced);
        let (origin, _) = serve(move |request| hears.lock().unwrap().hear(request)).await;
        receivers.insert(*name, enforced);
        // What is documented is their own default; only its time is shortened here.
        let pace = (scale > 1).then(|| Pace { limits: limits.clone(), in_flight_max: 1, digest_above: Some(3) });
        let url = secret(&format!("{origin}/services/T1/B1/x"));
        channels.push(match *name {
            "discord" => Arc::new(Discord::new(name, &url, http.clone(), pace).unwrap()),
            "slack" => Arc::new(Slack::new(name, &url, http.clone(), pace).unwrap()),
            _ => Arc::new(Telegram::new(name, &origin, &secret("123456:ABC-DEF"), "-100", http.clone(), pace).unwrap()),
        });
    }
    let (origin, heard_by_hook) = serve(|_| answer(204, &[], "")).await;
    let hook = Webhook::new("hook", &secret(&format!("{origin}/hook")), Vec::new(), Format::Standard, http).unwrap();
    channels.push(Arc::new(hook));

    let dir = tempfile::tempdir().unwrap();
    let (desk, reported) = start(&dir.path().join("outbox.sqlite"), everything(channels), Limits::default());
    let desk = Arc::new(desk);
    let before = resident();
    let peak = Arc::new(AtomicUsize::new(before));
    let watching = {
        let peak = Arc::clone(&peak);
        tokio::spawn(async move {
            loop {
                peak.fetch_max(resident(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let begin = Instant::now();
    let mut told_at = Vec::new();
    let per_tell = 20;
    for first in (0..alerts).step_by(per_tell) {
        let due = begin + time.mul_f64(first as f64 / alerts as f64);
        tokio::time::sleep_until(due.into()).await;
        // By when it became known, not by when there was time to tell it.
        let at = now_ms() - i64::try_from((Instant::now() - due).as_millis()).unwrap();
        told_at.resize(told_at.len() + per_tell, at);
        let desk = Arc::clone(&desk);
        let told = move || desk.tell((first..first + per_tell as u64).map(nth).collect());
        assert!(tokio::task::spawn_blocking(told).await.unwrap());
    }
    let told_in = begin.elapsed();
    let all = |name: &str| receivers[name].lock().unwrap().alerts >= alerts;
    let drained = Duration::from_secs(90);
    until(drained, "all of it", || {
        limits.iter().all(|(name, _)| all(name)) && heard_by_hook.load(Ordering::Relaxed) as u64 >= alerts
    })
    .await;
    let desk = Arc::into_inner(desk).unwrap();
    assert_eq!(tokio::task::spawn_blocking(move || desk.finish(Duration::from_secs(30))).await.unwrap(), 0);
    watching.abort();

    let grown = peak.load(Ordering::Relaxed).saturating_sub(before) / 1_024;
    println!("{alerts} alerts told in {told_in:.2?}, all delivered after {:.1?}; memory grew by {grown} MiB", begin.elapsed());
    assert!(grown <= 32, "memory grew by {grown} MiB");
    assert!(reported.problems().is_empty(), "{:?}", reported.problems());
    let attempts = reported.attempts.lock().unwrap();
    for name in ["discord", "slack", "telegram", "hook"] {
        let of_it = attempts.iter().filter(|(_, attempt)| attempt.channel == name && attempt.result == AttemptResult::Delivered);
        let mut delivered: BTreeMap<&str, i64> = BTreeMap::new();
        let mut ids = 0;
        for (at, attempt) in of_it {
            ids += attempt.ids.len() as u64;
            delivered.extend(attempt.ids.iter().map(|id| (id.as_str(), *at)));
        }
        assert_eq!((ids, delivered.len() as u64), (alerts, alerts), "{name}: each alert in one message");
        let mut waits: Vec<i64> = (0..alerts)
            .filter(|n| n % 20 == 7)
            .map(|n| delivered[news_id(&nth(n), false).as_str()] - told_at[n as usize])
            .collect();
        waits.sort_unstable();
        let p95 = waits[waits.len() * 95 / 100];
        if let Some(receiver) = receivers.get(name) {
            let receiver = receiver.lock().unwrap();
            let (in_a_minute, refused) = (receiver.most_in(60 * second), receiver.refused);
            println!(
                "{name}: {} messages, at most {in_a_minute} in {:?}, {refused} refused; critical: p50 {} ms, p95 {p95} ms",
                receiver.messages,
                60 * second,
                waits[waits.len() / 2],
            );
            assert_eq!(receiver.alerts, alerts, "{name}: digests add up");
            assert!(refused <= 1, "{name}: {refused} messages came too fast");
            assert!(name == "slack" || in_a_minute <= 30);
        } else {
            println!("{name}: critical: p50 {} ms, p95 {p95} ms", waits[waits.len() / 2]);
        }
        assert!(p95 <= 5_000, "{name}: critical ones took {p95} ms (p95)");
    }
    let told: BTreeSet<&str> = attempts.iter().flat_map(|(_, attempt)| attempt.ids.iter().map(String::as_str)).collect();
    assert_eq!(told.len() as u64, alerts, "and nothing else was said");
}

/// A receiver that keeps nothing of what it heard but the count.
async fn serve(hear: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    let (origin, heard) = receiver(move |request| {
        counts.fetch_add(1, Ordering::Relaxed);
        hear(request)
    })
    .await;
    tokio::spawn(async move {
        loop {
            heard.lock().unwrap().clear();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    (origin, count)
}
