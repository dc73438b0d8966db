//! A5 with a real process: a desk that is killed with SIGKILL again and again, most often between a receiver's answer and its record.
//!
//! The test runs its own binary again as the child (see [`child`]). Parent and child speak in lines: `tell A B` asks for the alerts from A to B,
//! `decided A B` says that `Desk::tell` has returned from them, `finish` asks for the end, `left N` is its answer. An alert that wasn't
//! said to be decided when the child was killed is told again, as a program that reads its journal again does.
#![allow(clippy::unwrap_used)]

#[path = "channels/receiver.rs"]
mod receiver;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerts::channels::webhook::Format;
use alerts::channels::{Channel, Outcome, Pace, Webhook};
use alerts::notice::news_id;
use alerts::{Alert, Notice, Secret, Severity, Status};
use axum::http::{HeaderMap, HeaderName};
use receiver::{Request, answer};
use running::{Random, alert, everything, http, is_soak, quick, seed, start};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Attempts under way at a time: of the webhook, of the one that makes digests.
const IN_FLIGHT_MAX: [usize; 2] = [8, 1];

/// The n-th alert: most begin, every fourth is the end of one that was told long before.
fn nth(n: u64) -> Alert {
    let severity = |n: u64| if n.is_multiple_of(5) { Severity::Critical } else { Severity::Warning };
    if n % 4 == 3 && n >= 100 {
        let began = n - 99;
        return alert(began, severity(began), Status::Resolved);
    }
    alert(n, severity(n), Status::Firing)
}

/// A webhook that takes ten a second, and digests where more wait.
struct Paced(Webhook);

impl Channel for Paced {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn pace(&self) -> Pace {
        Pace { limits: vec![(10, Duration::from_secs(1))], in_flight_max: IN_FLIGHT_MAX[1], digest_above: Some(3) }
    }

    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        self.0.send(notice, now_ms)
    }

    fn preview(&self, notice: &Notice, now_ms: i64) -> String {
        self.0.preview(notice, now_ms)
    }
}

/// The child. By itself it does nothing.
#[test]
fn child() {
    let (Ok(path), Ok(origin)) = (std::env::var("KILL_OUTBOX"), std::env::var("KILL_ORIGIN")) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let hook = |name: &str| {
        let secrets = vec![Secret::parse(SECRET).unwrap()];
        Webhook::new(name, &running::secret(&format!("{origin}/{name}")), secrets, Format::Standard, http(Duration::from_secs(5)))
            .unwrap()
    };
    let channels: Vec<Arc<dyn Channel>> = vec![Arc::new(hook("each")), Arc::new(Paced(hook("digests")))];
    let (desk, _) = start(Path::new(&path), everything(channels), quick());
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let ["tell", from, to] = words[..] else { break };
        assert!(desk.tell((from.parse().unwrap()..to.parse().unwrap()).map(nth).collect()));
        writeln!(out, "decided {from} {to}").unwrap();
    }
    let left = desk.finish(Duration::from_secs(30));
    writeln!(out, "left {left}").unwrap();
}

/// Kills the child at the n-th request from now: before it is answered, or so many microseconds after.
#[derive(Clone, Copy)]
struct Shot {
    requests: u64,
    after_us: Option<u64>,
}

/// What the receiver does and saw.
struct Ear {
    shot: Option<Shot>,
    kill: Sender<Option<u64>>,
    random: Random,
    /// (channel, id, body, was it taken), in the order of the answers.
    heard: Vec<(String, String, Vec<u8>, bool)>,
    unsigned: usize,
}

impl Ear {
    fn hear(&mut self, request: &Request) -> Vec<u8> {
        let name = request.head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        let id = request.header("webhook-id").unwrap().to_owned();
        self.unsigned += usize::from(!is_verified(request));
        let is_taken = self.random.below(20) > 0;
        self.heard.push((name, id, request.body.clone(), is_taken));
        if let Some(shot) = &mut self.shot {
            shot.requests -= 1;
            if shot.requests == 0 {
                let _ = self.kill.send(shot.after_us);
                self.shot = None;
            }
        }
        if is_taken { answer(204, &[], "") } else { answer(503, &[], "") }
    }
}

fn is_verified(request: &Request) -> bool {
    let headers: HeaderMap = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (HeaderName::from_static(name), request.header(name).unwrap().parse().unwrap()))
        .into_iter()
        .collect();
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(&request.body, &headers).is_ok()
}

/// A running child, and what it has said.
struct Running {
    child: Child,
    input: ChildStdin,
    said: Receiver<String>,
}

fn run(path: &Path, origin: &str) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .envs([("KILL_OUTBOX", path.as_os_str()), ("KILL_ORIGIN", origin.as_ref())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (say, said) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        // The test harness writes lines of its own, the first one in front of ours.
        for line in out.lines().map_while(Result::ok) {
            let word = ["decided ", "left "].iter().find_map(|word| line.find(word));
            if let Some(at) = word {
                let _ = say.send(line[at..].to_owned());
            }
        }
    });
    let input = child.stdin.take().unwrap();
    Running { child, input, said }
}

impl Running {
    /// Tells alerts until it is time to shoot; the number of the first that isn't decided.
    fn tell_until_killed(mut self, mut next: u64, most: u64, kill: &Receiver<Option<u64>>, random: &mut Random) -> u64 {
        let patience = Instant::now() + Duration::from_secs(20);
        let (mut asked, mut decided) = (next, next);
        loop {
            while let Ok(line) = self.said.try_recv() {
                decided = end_of(&line, decided);
            }
            if let Ok(after_us) = kill.try_recv() {
                std::thread::sleep(Duration::from_micros(after_us.unwrap_or(0)));
                break;
            }
            assert!(Instant::now() < patience, "the child was not heard for long; it has decided up to {decided}");
            // One request at a time mostly, so that what isn't decided is little, but not always.
            if asked - decided <= random.below(6) && asked < most {
                next = (asked + 1 + random.below(4)).min(most);
                let _ = writeln!(self.input, "tell {asked} {next}");
                asked = next;
            }
            std::thread::sleep(Duration::from_micros(100 + random.below(600)));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it had said before it died counts.
        for line in self.said.iter() {
            decided = end_of(&line, decided);
        }
        decided
    }

    fn finish(mut self) -> String {
        let _ = writeln!(self.input, "finish");
        let left = self.said.iter().find(|line| line.starts_with("left")).unwrap_or_default();
        self.child.wait().unwrap();
        left
    }
}

/// Where `decided A B` ends.
fn end_of(line: &str, decided: u64) -> u64 {
    let words: Vec<&str> = line.split(' ').collect();
    if let ["decided", from, to] = words[..] {
        assert_eq!(from.parse(), Ok(decided), "{line}");
        return to.parse().unwrap();
    }
    decided
}

fn outbox() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.sqlite");
    (dir, path)
}

#[test]
fn kill_9_between_send_and_record_loses_nothing_and_repeats_under_the_same_id() {
    let seed = seed();
    let mut random = Random(seed);
    let (most_kills, time) = if is_soak() { (1_000, Duration::from_secs(3_600)) } else { (100, Duration::from_secs(12)) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (kill, killed) = channel();
    let ear = Ear { shot: None, kill, random: Random(seed ^ 1), heard: Vec::new(), unsigned: 0 };
    let ear = Arc::new(Mutex::new(ear));
    let (origin, _) = {
        let ear = Arc::clone(&ear);
        runtime.block_on(receiver::receiver(move |request| ear.lock().unwrap().hear(request)))
    };
    let (_dir, path) = outbox();

    let (begin, mut kills, mut decided) = (Instant::now(), 0u64, 0u64);
    while kills < most_kills && (kills < 25 || begin.elapsed() < time) {
        let child = run(&path, &origin);
        while killed.try_recv().is_ok() {}
        // A third before the answer, the rest while the answer is on its way to the record: a commit takes some milliseconds.
        let after_us = (random.below(3) > 0).then(|| random.below(4_000));
        ear.lock().unwrap().shot = Some(Shot { requests: 1 + random.below(60), after_us });
        decided = child.tell_until_killed(decided, u64::MAX, &killed, &mut random);
        kills += 1;
    }
    ear.lock().unwrap().shot = None;
    // What was told and not said to be decided is told again, as after any kill.
    let mut last = run(&path, &origin);
    writeln!(last.input, "tell {decided} {}", decided + 20).unwrap();
    decided += 20;
    assert_eq!(last.finish(), "left 0", "seed {seed}");

    let ear = ear.lock().unwrap();
    check(&ear, kills, decided, seed);
}

fn check(ear: &Ear, kills: u64, decided: u64, seed: u64) {
    assert_eq!(ear.unsigned, 0, "signatures that don't verify, seed {seed}");
    let wanted: BTreeSet<String> = (0..decided).map(|n| news_id(&nth(n), false)).collect();
    assert_eq!(wanted.len() as u64, decided);
    for (name, in_flight_max) in ["each", "digests"].into_iter().zip(IN_FLIGHT_MAX) {
        let mut bodies: BTreeMap<&str, &[u8]> = BTreeMap::new();
        let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
        let mut first_taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, (_, id, body, is_taken)) in ear.heard.iter().enumerate().filter(|(_, (channel, ..))| channel == name) {
            assert_eq!(*bodies.entry(id).or_insert(body), body, "{id} changed its body, seed {seed}");
            if *is_taken {
                *taken.entry(id).or_default() += 1;
                first_taken.entry(id).or_insert(at);
            }
        }
        let repeats: u64 = taken.values().map(|n| n - 1).sum();
        println!(
            "{name}: {kills} kills, {decided} alerts decided, {} messages, {repeats} repeated after an answer; SEED={seed}",
            taken.len()
        );
        assert!(repeats <= kills * in_flight_max as u64, "{name}: {repeats} repeats of {kills} kills, seed {seed}");
        // After de-duplication by id: each alert once, by itself or counted in a digest.
        let own: BTreeSet<&str> = taken.keys().copied().filter(|id| id.starts_with("evt_")).collect();
        let digests = taken.keys().filter(|id| id.starts_with("ntc_")).filter_map(|id| total(bodies[id])).collect::<Vec<_>>();
        assert!(own.iter().all(|id| wanted.contains(*id)), "{name}: nobody asked for it, seed {seed}");
        assert_eq!(own.len() as u64 + digests.iter().sum::<u64>(), decided, "{name}: each once, seed {seed}");
        if name == "each" {
            assert_eq!(own.len() as u64, decided, "by themselves, seed {seed}");
        } else {
            assert!(digests.len() > 1, "digests were under way too");
        }
        for (id, at) in first_taken.iter().filter(|(id, _)| id.ends_with("_resolved")) {
            let began = id.replace("_resolved", "_firing");
            let is_before = first_taken.get(began.as_str()).is_none_or(|began| began < at);
            assert!(is_before, "{name}: {id} came before its beginning, seed {seed}");
        }
    }
}

/// How many alerts a digest's body counts. `None`: it is a notice that a channel had trouble, which a slow machine may see.
fn total(body: &[u8]) -> Option<u64> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    if body["type"] == "trouble" {
        return None;
    }
    assert_eq!(body["type"], "digest", "{body}");
    let counted: u64 = body["data"]["counts"].as_array().unwrap().iter().map(|count| count["count"].as_u64().unwrap()).sum();
    assert_eq!(body["data"]["total"].as_u64(), Some(counted));
    Some(counted)
}
