//! The desk with real sockets and a real file: receivers that hang, a full disk, live changes, orders of other processes, a restart.
#![allow(clippy::unwrap_used)]

#[path = "channels/receiver.rs"]
mod receiver;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerts::channels::webhook::Format;
use alerts::channels::{Channel, Webhook};
use alerts::desk::Setup;
use alerts::notice::news_id;
use alerts::outbox::{Filter, Limits, Order, history, leave_order};
use alerts::policy::{Matcher, PolicyConfig, Silence};
use alerts::{Alert, Desk, Severity, Status};
use receiver::{Heard, answer, read, receiver};
use running::{alert, everything, http, now_ms, quick, route, secret, start, until, warning};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

const SECOND: Duration = Duration::from_secs(1);

fn outbox() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.sqlite");
    (dir, path)
}

fn hook(name: &str, origin: &str, attempt_max: Duration) -> Arc<dyn Channel> {
    let url = secret(&format!("{origin}/{name}"));
    Arc::new(Webhook::new(name, &url, Vec::new(), Format::Standard, http(attempt_max)).unwrap())
}

/// A receiver that takes everything.
async fn taker() -> (String, Heard) {
    receiver(|_| answer(204, &[], "")).await
}

/// A receiver that does `act` with every connection.
async fn server<F: Future<Output = ()> + Send + 'static>(act: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    origin
}

async fn never_answers() -> String {
    server(|mut stream| async move {
        read(&mut stream).await;
        tokio::time::sleep(60 * SECOND).await;
    })
    .await
}

fn ids(heard: &Heard) -> Vec<String> {
    heard.lock().unwrap().iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect()
}

fn firing(n: u64) -> String {
    news_id(&warning(n), false)
}

/// Without blocking the runtime that the channels run on.
async fn tell(desk: &Arc<Desk>, alerts: Vec<Alert>) -> bool {
    let desk = Arc::clone(desk);
    tokio::task::spawn_blocking(move || desk.tell(alerts)).await.unwrap()
}

async fn finish(desk: Arc<Desk>, within: Duration) -> usize {
    let desk = Arc::into_inner(desk).unwrap();
    tokio::task::spawn_blocking(move || desk.finish(within)).await.unwrap()
}

// A3: others don't suffer.

/// Milliseconds from before `tell` to the request, over some hundred alerts, at a receiver beside the others: (median, p99).
async fn latency(others: &[(&str, String)]) -> (f64, f64) {
    let seen: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();
    let (origin, _) = {
        let seen = Arc::clone(&seen);
        receiver(move |request| {
            seen.lock().unwrap().entry(request.header("webhook-id").unwrap().to_owned()).or_insert_with(Instant::now);
            answer(204, &[], "")
        })
        .await
    };
    let (_dir, path) = outbox();
    let mut channels = vec![hook("well", &origin, SECOND)];
    channels.extend(others.iter().map(|(name, origin)| hook(name, origin, SECOND / 2)));
    let (desk, _) = start(&path, everything(channels), quick());
    let desk = Arc::new(desk);
    let mut told = Vec::new();
    for n in 0..300 {
        told.push((firing(n), Instant::now()));
        assert!(tell(&desk, vec![warning(n)]).await);
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    until(5 * SECOND, "all of them at the receiver that is well", || seen.lock().unwrap().len() == 300).await;
    finish(desk, Duration::ZERO).await;
    let seen = seen.lock().unwrap();
    let mut waits: Vec<f64> = told.iter().map(|(id, at)| (seen[id] - *at).as_secs_f64() * 1_000.0).collect();
    waits.sort_by(f64::total_cmp);
    (waits[150], waits[296])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_hang_drip_and_reset_slow_no_other_down() {
    let drips = server(|mut stream| async move {
        read(&mut stream).await;
        let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        while stream.write_all(piece).await.is_ok() {
            piece = b"x";
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let resets = server(|stream| async move {
        stream.set_zero_linger().unwrap();
        drop(stream);
    })
    .await;
    let bad = [("hangs", never_answers().await), ("drips", drips), ("resets", resets)];
    // A busy machine may delay one run: what is asked is that some run shows it.
    let mut figures = Vec::new();
    for _ in 0..3 {
        let (alone, beside) = (latency(&[]).await, latency(&bad).await);
        figures.push((alone, beside));
        // More notices are kept for more channels, and one commit more is waited for: that is what the milliseconds are.
        if beside.1 <= alone.1 * 1.1 + 10.0 {
            println!("(median, p99) ms: alone {alone:.1?}, beside three bad ones {beside:.1?}");
            return;
        }
    }
    panic!("(median, p99) ms alone and beside bad ones: {figures:.1?}");
}

/// How often the desk has looked at its clock: a round is two looks and more.
async fn rounds_while(setup: Setup, limits: Limits, alerts: Vec<Vec<Alert>>) -> u64 {
    let (_dir, path) = outbox();
    let looks = Arc::new(AtomicU64::new(0));
    let clock = {
        let looks = Arc::clone(&looks);
        Arc::new(move || {
            looks.fetch_add(1, Ordering::Relaxed);
            now_ms()
        })
    };
    let reports = alerts::desk::Reports { attempt: Box::new(|_| {}), problem: Box::new(|problem| panic!("{problem}")) };
    let desk = Desk::start(path, setup, limits, clock, tokio::runtime::Handle::current(), reports).unwrap();
    let desk = Arc::new(desk);
    for alerts in alerts {
        assert!(tell(&desk, alerts).await);
    }
    tokio::time::sleep(SECOND / 2).await;
    let before = looks.load(Ordering::Relaxed);
    tokio::time::sleep(SECOND).await;
    let looked = looks.load(Ordering::Relaxed) - before;
    finish(desk, Duration::ZERO).await;
    looked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desk_that_waits_sleeps() {
    let slow = Limits { schedule_ms: vec![3_000], ..Limits::default() };
    let hangs = hook("hangs", &never_answers().await, 5 * SECOND);
    let looked = rounds_while(everything(vec![hangs]), Limits::default(), vec![vec![warning(1)]]).await;
    assert!(looked < 50, "{looked} looks at the clock in a second in which an attempt was under way");

    let (origin, _) = receiver(|_| answer(500, &[], "")).await;
    let refuses = everything(vec![hook("refuses", &origin, SECOND)]);
    let over = alert(1, Severity::Warning, Status::Resolved);
    let looked = rounds_while(refuses, slow, vec![vec![warning(1)], vec![over]]).await;
    assert!(looked < 50, "{looked} looks at the clock in a second in which an end waited for its beginning to be told");
}

// Contract 4: durable before it is decided.

/// Runs a test again in a process of its own, in which writing beyond a limit is an error and not a signal.
fn in_own_process(name: &str) -> bool {
    if std::env::var_os("DESK_OWN_PROCESS").is_some() {
        return true;
    }
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("DESK_OWN_PROCESS", "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} in a process of its own: {status}");
    false
}

/// No file may grow beyond so many bytes; `None`: as far as it likes.
fn files_end_at(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

#[test]
fn a_full_disk_lets_nothing_be_decided_and_recovers_by_itself() {
    if !in_own_process("a_full_disk_lets_nothing_be_decided_and_recovers_by_itself") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (origin, heard) = taker().await;
        let (_dir, path) = outbox();
        let (desk, reported) = start(&path, everything(vec![hook("hook", &origin, SECOND)]), quick());
        let desk = Arc::new(desk);
        assert!(tell(&desk, vec![warning(1)]).await);
        until(SECOND, "the first", || ids(&heard) == [firing(1)]).await;
        until(SECOND, "its record", || reported.attempts.lock().unwrap().len() == 1).await;

        files_end_at(Some(4_096));
        let waits = {
            let desk = Arc::clone(&desk);
            tokio::spawn(async move { tell(&desk, vec![warning(2), warning(3)]).await })
        };
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(!waits.is_finished(), "it was acknowledged and is on no disk: {:?}", reported.problems());
        assert_eq!(ids(&heard), [firing(1)], "it was sent and is on no disk");
        let problems = reported.problems();
        assert!(problems.iter().any(|problem| problem.contains("check the disk's free space")), "{problems:?}");

        files_end_at(None);
        let told = tokio::time::timeout(3 * SECOND, waits).await.expect("it goes on by itself").unwrap();
        assert!(told);
        let stored = || history(&path, &Filter { limit: 10, ..Filter::default() }).unwrap();
        let on_disk: BTreeSet<String> = stored().into_iter().map(|entry| entry.id).collect();
        assert_eq!(on_disk, [1, 2, 3].map(firing).into(), "what is acknowledged is on disk");
        until(3 * SECOND, "all of them", || ids(&heard).len() >= 3).await;
        assert!(tell(&desk, vec![warning(4)]).await);
        until(SECOND, "the next", || ids(&heard).contains(&firing(4))).await;
        assert_eq!(finish(desk, 5 * SECOND).await, 0);
        assert_eq!(ids(&heard).into_iter().collect::<BTreeSet<_>>(), [1, 2, 3, 4].map(firing).into());
        assert_eq!(ids(&heard).len(), 4, "nothing twice: {:?}", reported.problems());
    });
}

#[tokio::test]
async fn a_place_that_can_not_be_written_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, _) = taker().await;
    let (desk, _) = running::try_start(
        &dir.path().join("absent").join("outbox.sqlite"),
        everything(vec![hook("hook", &origin, SECOND)]),
        quick(),
    );
    let error = desk.err().unwrap().to_string();
    assert!(error.contains("absent/outbox.sqlite") && error.contains("check the directory"), "{error}");
}

// Changes while it runs.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_and_routes_change_while_alerts_fire() {
    let (a, heard_a) = taker().await;
    let (b, heard_b) = taker().await;
    let (_dir, path) = outbox();
    let (hook_a, hook_b) = (hook("a", &a, SECOND), hook("b", &b, SECOND));
    let (desk, reported) = start(&path, everything(vec![Arc::clone(&hook_a)]), quick());
    let desk = Arc::new(desk);
    let telling = {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            for n in 0..400 {
                assert!(tell(&desk, vec![alert(n, Severity::Warning, Status::Firing)]).await);
                assert!(tell(&desk, vec![alert(n, Severity::Warning, Status::Resolved)]).await);
            }
        })
    };
    let mut changes = 0;
    while !telling.is_finished() {
        let setup = match changes % 3 {
            0 => everything(vec![Arc::clone(&hook_a), Arc::clone(&hook_b)]),
            1 => everything(vec![Arc::clone(&hook_b)]),
            _ => everything(vec![Arc::clone(&hook_a)]),
        };
        let desk = Arc::clone(&desk);
        tokio::task::spawn_blocking(move || desk.set_up(setup)).await.unwrap().unwrap();
        changes += 1;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    telling.await.unwrap();
    let last = everything(vec![Arc::clone(&hook_a), Arc::clone(&hook_b)]);
    let bad = Setup { policy: PolicyConfig { routes: vec![route("", &[])], ..PolicyConfig::default() }, channels: Vec::new() };
    let refused = {
        let desk = Arc::clone(&desk);
        tokio::task::spawn_blocking(move || (desk.set_up(last).unwrap(), desk.set_up(bad))).await.unwrap().1
    };
    assert!(refused.is_err_and(|problem| !problem.is_empty()));
    assert!(tell(&desk, vec![warning(1_000)]).await);
    until(3 * SECOND, "both after a refused change", || {
        [&heard_a, &heard_b].iter().all(|heard| ids(heard).contains(&firing(1_000)))
    })
    .await;
    assert_eq!(finish(desk, 10 * SECOND).await, 0);

    assert!(changes > 5, "{changes} changes");
    let (at_a, at_b) = (ids(&heard_a), ids(&heard_b));
    // What a channel was to be told when it was taken out is a dead letter, with its reason; everything else arrived.
    let failed = Filter { state: Some("failed".into()), limit: 2_000, ..Filter::default() };
    let given_up: BTreeMap<_, _> = history(&path, &failed).unwrap().into_iter().map(|entry| (entry.id, entry.reason)).collect();
    let lost: Vec<String> =
        (0..400).map(firing).filter(|id| !at_a.contains(id) && !at_b.contains(id) && !given_up.contains_key(id)).collect();
    let open = Filter { state: Some("waiting".into()), limit: 2_000, ..Filter::default() };
    assert!(lost.is_empty(), "{changes} changes; {lost:?}; {:?}; {:?}", history(&path, &open).unwrap(), reported.problems());
    for heard in [&at_a, &at_b] {
        assert_eq!(heard.iter().collect::<BTreeSet<_>>().len(), heard.len(), "nothing twice");
    }
    println!(
        "{changes} changes while 800 alerts were told: {} at a, {} at b, {} given up",
        at_a.len(),
        at_b.len(),
        given_up.len()
    );
}

/// Leaves an order as another process does, and says how long it took until it was taken.
async fn order(path: &std::path::Path, order: &Order) -> Duration {
    leave_order(path, order, now_ms()).unwrap();
    taken(path).await
}

async fn taken(path: &std::path::Path) -> Duration {
    let (begin, db) = (Instant::now(), rusqlite::Connection::open(path).unwrap());
    db.busy_timeout(SECOND).unwrap();
    let left = || db.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)).unwrap();
    until(2 * SECOND, "the order to be taken", || left() == 0).await;
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_other_processes_are_obeyed_within_a_second() {
    let (origin, heard) = taker().await;
    let (_dir, path) = outbox();
    let mut setup = everything(vec![hook("hook", &origin, SECOND)]);
    setup.policy.routes[0].repeat_ms = Some(1_000);
    let (desk, reported) = start(&path, setup, quick());
    let desk = Arc::new(desk);
    assert!(tell(&desk, vec![warning(1)]).await);
    let count = || heard.lock().unwrap().len();
    until(3 * SECOND, "a reminder", || count() >= 2).await;

    let mut took = vec![order(&path, &Order::Ack { id: warning(1).event.id, by: "ann".into(), for_ms: None }).await];
    tokio::time::sleep(SECOND / 5).await;
    let acknowledged = count();
    tokio::time::sleep(SECOND + SECOND / 4).await;
    assert_eq!(count(), acknowledged, "nobody is reminded of what somebody looks after");
    took.push(order(&path, &Order::Unack { id: warning(1).event.id }).await);
    until(3 * SECOND, "a reminder again", || count() > acknowledged).await;
    took.push(order(&path, &Order::Ack { id: warning(1).event.id, by: "ann".into(), for_ms: None }).await);

    let silence = Silence {
        id: "s1".into(),
        matcher: Matcher { symbols: vec!["S7-*".into()], ..Matcher::default() },
        from: 0,
        until: now_ms() + 60_000,
        author: "ann".into(),
        comment: String::new(),
    };
    took.push(order(&path, &Order::Silence { silence: serde_json::to_value(&silence).unwrap() }).await);
    assert!(tell(&desk, vec![warning(7), warning(8)]).await);
    until(SECOND, "what is not silenced", || ids(&heard).contains(&firing(8))).await;
    assert!(!ids(&heard).contains(&firing(7)), "silenced");
    took.push(order(&path, &Order::Unsilence { id: "s1".into() }).await);
    until(SECOND, "what was silenced", || ids(&heard).contains(&firing(7))).await;
    assert!(took.iter().all(|took| *took < SECOND), "{took:?}");
    assert!(reported.problems().is_empty(), "{:?}", reported.problems());

    // What can't be obeyed is a problem for people, and nothing else.
    let bad = [
        (Order::Ack { id: "evt_none".into(), by: "ann".into(), for_ms: None }, "evt_none"),
        (Order::Unsilence { id: "none".into() }, "end the silence none"),
        (Order::Silence { silence: serde_json::json!({ "id": 7 }) }, "read a silence"),
        (Order::Silence { silence: serde_json::to_value(Silence { until: 1, ..silence }).unwrap() }, "choose a later end"),
    ];
    for (n, (bad, said)) in bad.iter().enumerate() {
        order(&path, bad).await;
        until(SECOND, said, || reported.problems().len() == n + 1).await;
        assert!(reported.problems()[n].contains(said), "{:?}", reported.problems());
    }
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("INSERT INTO orders(at, body) VALUES (0, '{\"order\":\"of a later version\"}'), (0, 'no json')", []).unwrap();
    taken(&path).await;
    until(SECOND, "both unreadable ones", || reported.problems().len() == bad.len() + 2).await;
    assert!(tell(&desk, vec![warning(9)]).await);
    until(SECOND, "the next alert", || ids(&heard).contains(&firing(9))).await;
    println!("orders were taken after {took:.0?}");
    finish(desk, SECOND).await;
}

// The end, and the next start.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_sent_is_sent_by_the_next_start_under_the_same_id() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_dir, path) = outbox();
    let setup = || everything(vec![hook("hook", &format!("http://{address}"), SECOND)]);
    let (desk, _) = start(&path, setup(), quick());
    let desk = Arc::new(desk);
    assert!(tell(&desk, vec![warning(1), warning(2), alert(3, Severity::Critical, Status::Firing)]).await);
    let begin = Instant::now();
    assert_eq!(finish(desk, SECOND / 2).await, 3);
    assert!(begin.elapsed() < 2 * SECOND, "{:?}", begin.elapsed());

    let heard = receiver::serve(TcpListener::bind(address).await.unwrap(), |_| answer(204, &[], ""));
    let (desk, reported) = start(&path, setup(), quick());
    until(3 * SECOND, "all three", || ids(&heard).len() == 3).await;
    assert_eq!(finish(Arc::new(desk), 5 * SECOND).await, 0);
    assert_eq!(ids(&heard).into_iter().collect::<BTreeSet<_>>(), [1, 2, 3].map(firing).into(), "{:?}", reported.problems());
    let entries = history(&path, &Filter { limit: 10, ..Filter::default() }).unwrap();
    assert!(entries.iter().all(|entry| entry.state == "delivered" && entry.attempts >= 2), "{entries:?}");
    // A third start has nothing to say.
    let (desk, _) = start(&path, setup(), quick());
    assert_eq!(finish(Arc::new(desk), SECOND).await, 0);
    assert_eq!(ids(&heard).len(), 3);
}
