//! The outbox against receivers that enforce limits, fail and die, with a virtual clock.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use alerts::channels::{Outcome, Pace, Pause, Verdict};
use alerts::notice::{Notice, NoticeKind, count, news_id};
use alerts::outbox::{
    Attempt, AttemptResult, Filter, Limits, Line, Order, Outbox, history, is_open, is_order_waiting, leave_order, look,
};
use alerts::{Alert, Severity, Status};

mod running;

use running::{T0, alert};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn news(channel: &str, alert: Alert, at: i64) -> Notice {
    Notice {
        id: news_id(&alert, false),
        channel: channel.into(),
        kind: NoticeKind::News,
        is_urgent: alert.event.severity == Severity::Critical && alert.is_firing(),
        group: String::new(),
        counts: count([&alert]),
        alerts: vec![alert],
        remark: String::new(),
        decided_at: at,
    }
}

fn line(name: &str, limits: &[(u32, u64)], in_flight_max: usize, digest_above: Option<usize>) -> Line {
    let limits = limits.iter().map(|&(messages, ms)| (messages, Duration::from_millis(ms))).collect();
    let kind = if name.starts_with("discord") { "discord" } else { "webhook" };
    Line { name: name.into(), kind, pace: Pace { limits, in_flight_max, digest_above }, fingerprint: "a".into() }
}

fn ok() -> Outcome {
    Outcome { verdict: Verdict::Delivered, http_status: 200, reason: String::new(), pause: None }
}

fn down() -> Outcome {
    Outcome { verdict: Verdict::Retry, http_status: 503, reason: "answer 503".into(), pause: None }
}

fn wait(status: u16, ms: u64, is_for_kind: bool) -> Outcome {
    let pause = Some(Pause { length: Duration::from_millis(ms), is_for_kind });
    Outcome { verdict: Verdict::Retry, http_status: status, reason: "later".into(), pause }
}

/// An outbox at work: what was sent, when, and what came of it.
struct Desk<R> {
    outbox: Outbox,
    receiver: R,
    under_way: Vec<(i64, String, i64, Outcome)>,
    sent: Vec<(i64, Notice)>,
    attempts: Vec<Attempt>,
    latency: i64,
    /// Steps at which the file was written.
    steps: usize,
}

impl<R: FnMut(i64, &Notice) -> Outcome> Desk<R> {
    fn open(path: &Path, lines: Vec<Line>, limits: Limits, receiver: R) -> Self {
        let outbox = Outbox::open(path, lines, limits).unwrap();
        Self { outbox, receiver, under_way: Vec::new(), sent: Vec::new(), attempts: Vec::new(), latency: 30, steps: 0 }
    }

    /// Decides notices at `now`, sends what is due, takes in what came back.
    fn step(&mut self, now: i64, notices: &[Notice]) {
        self.outbox.begin().unwrap();
        self.outbox.decide(notices).unwrap();
        self.under_way.sort_by_key(|(at, ..)| *at);
        while self.under_way.first().is_some_and(|(at, ..)| *at <= now) {
            let (_, channel, seq, outcome) = self.under_way.remove(0);
            self.attempts.extend(self.outbox.finish(&channel, seq, &outcome, now).unwrap());
        }
        let out = self.outbox.take(now).unwrap();
        self.outbox.commit().unwrap();
        self.steps += 1;
        for dispatch in out {
            let outcome = (self.receiver)(now, &dispatch.notice);
            self.under_way.push((now + self.latency, dispatch.notice.channel.clone(), dispatch.seq, outcome));
            self.sent.push((now, dispatch.notice));
        }
    }

    /// Goes on until `end`, at the times that the outbox asks for.
    fn run(&mut self, mut now: i64, end: i64, arrivals: &mut Vec<(i64, Notice)>) {
        arrivals.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        loop {
            let mut due = Vec::new();
            while arrivals.last().is_some_and(|(at, _)| *at <= now) {
                due.extend(arrivals.pop().map(|(_, notice)| notice));
            }
            self.step(now, &due);
            let next = [
                arrivals.last().map(|(at, _)| *at),
                self.under_way.iter().map(|(at, ..)| *at).min(),
                self.outbox.next_due(now).unwrap(),
            ];
            let Some(next) = next.into_iter().flatten().min() else { return };
            now = next.max(now + 1);
            if now > end {
                return;
            }
        }
    }

    fn delivered(&self) -> Vec<&str> {
        let done = self.attempts.iter().filter(|attempt| attempt.result == AttemptResult::Delivered);
        done.flat_map(|attempt| attempt.ids.iter().map(String::as_str)).collect()
    }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.sqlite");
    (dir, path)
}

/// A receiver that counts and refuses what comes too fast.
struct Enforced {
    limits: Vec<(usize, i64)>,
    seen: Vec<i64>,
}

impl Enforced {
    fn answer(&mut self, now: i64) -> Outcome {
        let is_too_fast =
            self.limits.iter().any(|&(most, span)| self.seen.iter().rev().take_while(|at| **at > now - span).count() >= most);
        if is_too_fast {
            return wait(429, 1_000, false);
        }
        self.seen.push(now);
        ok()
    }
}

#[test]
fn a_storm_goes_out_in_digests_that_add_up_and_critical_ones_first() {
    let channels = [
        ("discord", vec![(5, 2_000), (30, 60_000)], Some(3)),
        ("slack", vec![(1, 1_000)], Some(3)),
        ("telegram", vec![(1, 1_000), (20, 60_000)], Some(3)),
        ("hook", vec![], None),
    ];
    let (_dir, path) = file();
    let lines = channels.iter().map(|(name, limits, digest)| line(name, limits, if *name == "hook" { 4 } else { 1 }, *digest));
    let mut receivers: BTreeMap<String, Enforced> = BTreeMap::new();
    for (name, limits, _) in &channels {
        let limits = limits.iter().map(|&(n, ms)| (n as usize, ms as i64)).collect();
        receivers.insert((*name).to_owned(), Enforced { limits, seen: Vec::new() });
    }
    let receiver = |now: i64, notice: &Notice| receivers.get_mut(&notice.channel).unwrap().answer(now);
    let mut desk = Desk::open(&path, lines.collect(), Limits::default(), receiver);
    let mut arrivals = Vec::new();
    for n in 0..10_000u64 {
        let severity = if n % 20 == 7 { Severity::Critical } else { Severity::Warning };
        let at = T0 + (n as i64) / 100 * 100; // 100 at a time, ten times a second
        for (name, ..) in &channels {
            arrivals.push((at, news(name, alert(n, severity, Status::Firing), at)));
        }
    }
    desk.run(T0, T0 + 10 * MINUTE, &mut arrivals);

    assert!(desk.attempts.iter().all(|attempt| attempt.http_status != 429), "nothing was sent too fast");
    for (name, ..) in &channels {
        let of = |(_, notice): &&(i64, Notice)| notice.channel == *name;
        let total: u64 = desk.sent.iter().filter(of).map(|(_, notice)| notice.total()).sum();
        assert_eq!(total, 10_000, "{name}");
        let mut waits = Vec::new();
        let ids: Vec<&String> = desk.attempts.iter().filter(|a| a.channel == *name).flat_map(|a| &a.ids).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10_000, "each alert once, {name}");
        assert_eq!(ids.len(), 10_000, "each alert once, {name}");
        for (n, attempt) in
            (0..10_000u64).filter(|n| n % 20 == 7).map(|n| (n, alert(n, Severity::Critical, Status::Firing))).map(|(n, alert)| {
                let id = news_id(&alert, false);
                (n, desk.attempts.iter().find(|a| a.channel == *name && a.ids.contains(&id)).unwrap())
            })
        {
            waits.push(attempt.sent_at_ms + desk.latency - (T0 + n as i64 / 100 * 100));
        }
        waits.sort_unstable();
        let p95 = waits[waits.len() * 95 / 100];
        assert!(p95 <= 5_000, "{name}: critical ones took {p95} ms (p95)");
    }
}

#[test]
fn what_a_dead_channel_missed_comes_in_one_digest_marked_late() {
    let (_dir, path) = file();
    let back = T0 + 6 * HOUR;
    let receiver = |now: i64, notice: &Notice| if notice.channel == "ops" || now >= back { ok() } else { down() };
    let mut desk = Desk::open(
        &path,
        vec![line("discord", &[(5, 2_000)], 1, Some(3)), line("ops", &[], 1, None)],
        Limits::default(),
        receiver,
    );
    let mut arrivals: Vec<_> = (0..720u64)
        .map(|n| T0 + n as i64 * 30_000)
        .enumerate()
        .map(|(n, at)| (at, news("discord", alert(n as u64, Severity::Warning, Status::Firing), at)))
        .collect();
    desk.run(T0, back + HOUR, &mut arrivals);

    let after: Vec<_> = desk.sent.iter().filter(|(at, notice)| *at >= back && notice.channel == "discord").collect();
    let late: Vec<_> = after.iter().filter(|(_, notice)| notice.kind == NoticeKind::LateDigest).collect();
    assert_eq!(late.len(), 1, "one digest marked late");
    assert!((655..=680).contains(&late[0].1.total()), "all but the last half hour: {}", late[0].1.total());
    let stale = after.iter().filter(|(at, notice)| notice.kind != NoticeKind::LateDigest && at - notice.decided_at > 31 * MINUTE);
    assert_eq!(stale.count(), 0, "nothing old goes out as news");
    let delivered = desk.delivered();
    let own: BTreeSet<_> = delivered.iter().filter(|id| id.starts_with("evt_")).collect();
    assert_eq!(own.len(), 720);
    // While it was down it was asked seldom, and the other channel was told, once of the trouble and once of its end.
    let probes = desk.sent.iter().filter(|(at, notice)| *at < back && notice.channel == "discord").count();
    assert!(probes < 100, "{probes} attempts at a dead channel in six hours");
    let told: Vec<&str> =
        desk.sent.iter().filter(|(_, n)| n.kind == NoticeKind::Trouble).map(|(_, n)| n.remark.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("does not take messages") && told[1].contains("takes messages again"), "{told:?}");
}

#[test]
fn no_request_comes_before_the_time_that_the_receiver_named() {
    const REQUESTS: usize = 10_000;
    let (_dir, path) = file();
    let (mut allowed_from, mut answers, mut violations) = (T0, 0u64, 0);
    let receiver = |now: i64, _: &Notice| {
        violations += u32::from(now < allowed_from);
        answers += 1;
        if answers.is_multiple_of(3) {
            let pause = (answers * 7_919 % 10_000) + 1;
            allowed_from = now + 30 + pause as i64;
            return wait(429, pause, false);
        }
        ok()
    };
    // The wishes add up to hours; nothing is to be too late meanwhile.
    let limits = Limits { age_max_ms: 24 * HOUR, ..Limits::default() };
    let mut desk = Desk::open(&path, vec![line("hook", &[], 1, None)], limits, receiver);
    let mut arrivals: Vec<_> =
        (0..REQUESTS as u64 * 2 / 3).map(|n| (T0, news("hook", alert(n, Severity::Info, Status::Firing), T0))).collect();
    desk.run(T0, T0 + 24 * HOUR, &mut arrivals);
    assert!(desk.sent.len() >= REQUESTS - 10, "{} requests", desk.sent.len());
    assert_eq!(desk.delivered().len(), REQUESTS * 2 / 3);
    drop(desk);
    assert_eq!(violations, 0);
}

#[test]
fn a_global_limit_holds_for_all_channels_of_the_kind() {
    let (_dir, path) = file();
    let mut is_first = true;
    let receiver = |_: i64, _: &Notice| if std::mem::take(&mut is_first) { wait(429, 60_000, true) } else { ok() };
    let lines = ["discord-a", "discord-b", "hook"].map(|name| line(name, &[], 1, None)).to_vec();
    let mut desk = Desk::open(&path, lines, Limits::default(), receiver);
    let to = |name: &str, n: u64, at: i64| (at, news(name, alert(n, Severity::Warning, Status::Firing), at));
    let mut arrivals = vec![to("discord-a", 0, T0), to("discord-b", 1, T0 + 100), to("hook", 2, T0 + 100)];
    desk.run(T0, T0 + HOUR, &mut arrivals);
    let when = |name: &str| desk.sent.iter().filter(|(_, n)| n.channel == name).map(|(at, _)| at - T0).collect::<Vec<_>>();
    assert_eq!(when("discord-a"), [0, 60_030]);
    assert_eq!(when("discord-b"), [60_030]);
    assert_eq!(when("hook"), [100]);
}

#[test]
fn what_is_over_never_overtakes_what_began() {
    let (_dir, path) = file();
    let mut tries = 0;
    let receiver = |_: i64, _: &Notice| {
        tries += 1;
        if tries <= 2 { down() } else { ok() }
    };
    let mut desk = Desk::open(&path, vec![line("hook", &[], 4, None)], Limits::default(), receiver);
    let mut arrivals = vec![
        (T0, news("hook", alert(1, Severity::Critical, Status::Firing), T0)),
        (T0 + 10, news("hook", alert(1, Severity::Critical, Status::Resolved), T0 + 10)),
        (T0 + 10, news("hook", alert(2, Severity::Info, Status::Firing), T0 + 10)),
    ];
    desk.run(T0, T0 + HOUR, &mut arrivals);
    let firing = news_id(&alert(1, Severity::Critical, Status::Firing), false);
    let resolved = news_id(&alert(1, Severity::Critical, Status::Resolved), false);
    let done = desk.delivered();
    assert_eq!(done.len(), 3);
    assert!(done.iter().position(|id| *id == firing) < done.iter().position(|id| *id == resolved));
}

#[test]
fn a_channel_that_wants_no_more_is_disabled_told_of_and_can_be_enabled() {
    let (_dir, path) = file();
    let gone = Outcome { verdict: Verdict::Gone, http_status: 404, reason: "answer 404".into(), pause: None };
    let mut is_dead = true;
    let at = |n: u64, at: i64| (at, news("discord", alert(n, Severity::Warning, Status::Firing), at));
    let lines = || vec![line("discord", &[], 1, None), line("mail", &[], 1, None)];
    {
        let receiver = |_: i64, notice: &Notice| if notice.channel == "discord" { gone.clone() } else { ok() };
        let mut desk = Desk::open(&path, lines(), Limits::default(), receiver);
        desk.run(T0, T0 + HOUR, &mut vec![at(1, T0), at(2, T0 + 10), at(3, T0 + MINUTE)]);
        let sent: Vec<&str> = desk.sent.iter().map(|(_, notice)| notice.channel.as_str()).collect();
        assert_eq!(sent, ["discord", "mail"], "one try, then the other channel is told");
        assert!(desk.sent[1].1.remark.contains("channel discord is disabled"), "{}", desk.sent[1].1.remark);
    }
    let failed = Filter { state: Some("failed".into()), limit: 10, ..Filter::default() };
    assert_eq!(history(&path, &failed).unwrap().len(), 3, "all three are dead letters");
    // It is still disabled after a restart, until it is enabled; dead letters are sent again by hand, under their own ids.
    let receiver =
        |_: i64, notice: &Notice| if std::mem::take(&mut is_dead) && notice.channel == "x" { gone.clone() } else { ok() };
    let mut desk = Desk::open(&path, lines(), Limits::default(), receiver);
    desk.run(T0 + HOUR, T0 + 2 * HOUR, &mut vec![at(4, T0 + HOUR)]);
    assert!(desk.sent.is_empty());
    assert!(desk.outbox.enable("discord").unwrap());
    assert_eq!(desk.outbox.replay(&[], None, T0, T0 + 2 * HOUR).unwrap(), 4);
    desk.run(T0 + 2 * HOUR, T0 + 3 * HOUR, &mut Vec::new());
    assert_eq!(desk.delivered().len(), 4);
    assert!(history(&path, &failed).unwrap().is_empty());
}

#[test]
fn others_look_into_the_file_and_leave_orders_while_it_is_open() {
    let (_dir, path) = file();
    assert!(look(&path).unwrap().is_none() && !path.exists(), "looking makes no file");
    assert!(!is_open(&path));
    let gone = Outcome { verdict: Verdict::Gone, http_status: 404, reason: "answer 404".into(), pause: None };
    let mut desk = Desk::open(&path, vec![line("discord", &[], 1, None)], Limits::default(), |_: i64, _: &Notice| gone.clone());
    desk.outbox.keep_policy([("a".to_owned(), Some("1".to_owned()))]).unwrap();
    desk.run(T0, T0 + HOUR, &mut vec![(T0, news("discord", alert(1, Severity::Warning, Status::Firing), T0))]);
    let order = Order::Enable { channel: "discord".into() };
    let number = leave_order(&path, &order, T0).unwrap();
    assert!(is_open(&path) && is_order_waiting(&path, number).unwrap());
    let seen = look(&path).unwrap().unwrap();
    assert_eq!((seen.policy.len(), seen.orders.as_slice()), (1, [order.clone()].as_slice()));
    assert_eq!((seen.channels[0].name.as_str(), seen.channels[0].disabled.as_deref()), ("discord", Some("answer 404")));
    assert_eq!(desk.outbox.take_orders().unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>(), [order]);
    assert!(!is_order_waiting(&path, number).unwrap());
    drop(desk);
    leave_order(&path, &Order::Unsilence { id: "x".into() }, T0).unwrap();
    assert!(!is_open(&path), "nobody has it open");
    let by_id = |id: &str| history(&path, &Filter { id: Some(id.into()), limit: 10, ..Filter::default() }).unwrap().len();
    let id = alert(1, Severity::Warning, Status::Firing).event.id;
    assert_eq!((by_id(&id), by_id(&id[..12]), by_id("evt_none"), by_id("%")), (1, 1, 0, 0));
}

#[test]
fn more_than_the_bound_is_given_up_with_its_reason() {
    let (_dir, path) = file();
    let limits = Limits { waiting_max: 100, ..Limits::default() };
    let mut desk = Desk::open(&path, vec![line("hook", &[], 1, None)], limits, |_: i64, _: &Notice| down());
    let mut arrivals: Vec<_> = (0..150u64).map(|n| (T0, news("hook", alert(n, Severity::Info, Status::Firing), T0))).collect();
    arrivals.push((T0, news("hook", alert(150, Severity::Critical, Status::Firing), T0)));
    desk.run(T0, T0 + 2_000, &mut arrivals);
    let failed = Filter { state: Some("failed".into()), limit: 1_000, ..Filter::default() };
    let given_up = history(&path, &failed).unwrap();
    assert_eq!(given_up.len(), 51);
    assert!(given_up.iter().all(|entry| entry.reason.contains("more than 100")), "{}", given_up[0].reason);
}

/// Dies at random steps, in each of the places where it can, and goes on from the file. A receiver that de-duplicates by id sees every alert exactly once.
#[test]
fn a_kill_at_any_point_loses_nothing_and_repeats_under_the_same_id() {
    let seeds: u64 = if std::env::var_os("REGIMEFLOW_SOAK").is_some() { 1_000 } else { 60 };
    for seed in 0..seeds {
        let (_dir, path) = file();
        let mut rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |below: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % below
        };
        let lines = || vec![line("discord", &[(5, 2_000)], 1, Some(3)), line("hook", &[], 3, None)];
        let mut received: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut now = T0;
        let mut decided = BTreeSet::new();
        let mut n = 0;
        for life in 0..6 {
            let mut outbox = Outbox::open(&path, lines(), Limits::default()).unwrap();
            let steps = if life == 5 { 400 } else { draw(12) + 1 };
            for step in 0..steps {
                now += 700;
                let dies_here = life < 5 && step == steps - 1;
                let place = draw(4);
                let mut notices = Vec::new();
                if life < 5 {
                    for _ in 0..draw(8) {
                        n += 1;
                        for channel in ["discord", "hook"] {
                            notices.push(news(channel, alert(n, Severity::Warning, Status::Firing), now));
                        }
                    }
                }
                outbox.begin().unwrap();
                outbox.decide(&notices).unwrap();
                let out = outbox.take(now).unwrap();
                if dies_here && place == 0 {
                    break; // before the commit: these were never decided
                }
                outbox.commit().unwrap();
                decided.extend(notices.iter().map(|notice| (notice.channel.clone(), notice.id.clone())));
                if dies_here && place == 1 {
                    break; // after the commit, before anything was sent
                }
                for dispatch in &out {
                    *received.entry((dispatch.notice.channel.clone(), dispatch.notice.id.clone())).or_default() += 1;
                }
                if dies_here && place == 2 {
                    break; // after the receiver took it, before that is known
                }
                outbox.begin().unwrap();
                let outcomes = out.iter().map(|d| outbox.finish(&d.notice.channel, d.seq, &ok(), now + 1).unwrap()).count();
                assert_eq!(outcomes, out.len());
                if dies_here {
                    break; // before what is known is kept
                }
                outbox.commit().unwrap();
            }
        }
        let told = told_of(&path, &received);
        let expected: BTreeMap<_, _> = decided.into_iter().map(|key| (key, 1)).collect();
        let wrong: Vec<_> = expected.iter().filter(|(key, _)| told.get(*key) != Some(&1)).collect();
        assert!(wrong.is_empty() && told.len() == expected.len(), "seed {seed}: not told exactly once: {wrong:?}");
    }
}

/// By channel and alert's notice: in how many different messages it was told.
fn told_of(path: &Path, received: &BTreeMap<(String, String), u64>) -> BTreeMap<(String, String), u64> {
    let all = history(path, &Filter { limit: 1_000_000, ..Filter::default() }).unwrap();
    let mut told = BTreeMap::new();
    for entry in all.iter().filter(|entry| !entry.kind.ends_with("digest")) {
        let messages = [Some(&entry.id), entry.digest.as_ref()].into_iter().flatten();
        let count = messages.filter(|id| received.contains_key(&(entry.channel.clone(), (*id).clone()))).count();
        told.insert((entry.channel.clone(), entry.id.clone()), count as u64);
    }
    told
}
