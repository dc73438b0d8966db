//! The policy under random scripts: it is deterministic, a restart anywhere changes nothing, and what it says of itself holds.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "only its alerts are used here")]
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use alerts::notice::{NAMED_MAX, news_id};
use alerts::policy::{AckTarget, Matcher, Policy, PolicyConfig, Silence, StateKey};
use alerts::{Alert, EventType, Notice, NoticeKind, Severity, Status};
use proptest::prelude::*;

const CONFIGS: [&str; 4] = [
    "[[routes]]\nname = 'all'\nchannels = ['a', 'b']\nrepeat_ms = 600000\n",
    r#"
    [[routes]]
    name = "desk"
    channels = ["a", "b"]
    group_by = ["type"]
    group_interval_ms = 60000
    repeat_ms = 900000
    quiet_hours = ["night", "noon"]
    escalation = { after_ms = 300000, channels = ["pager", "a"] }
    [[routes]]
    name = "btc"
    matcher = { symbols = ["BTC-*"] }
    channels = ["b", "c"]
    group_by = ["symbol", "severity"]
    group_wait_ms = 20000
    group_interval_ms = 120000
    [[quiet_hours]]
    name = "night"
    time_zone = "Europe/Berlin"
    from = "22:00"
    to = "07:00"
    [[quiet_hours]]
    name = "noon"
    time_zone = "America/New_York"
    from = "00:30"
    to = "06:00"
    lets_through = "WARNING"
    [[inhibitions]]
    name = "cascade"
    source = { event_types = ["LIQUIDATION_CASCADE"], severity_min = "WARNING" }
    target = { event_types = ["OI_SHOCK", "FUNDING_SPREAD"] }
    equal = ["symbol"]
    hold_ms = 180000
    "#,
    r#"
    [[routes]]
    name = "pager"
    channels = ["pager"]
    matcher = { severity_min = "CRITICAL" }
    escalation = { after_ms = 120000, channels = ["boss"] }
    repeat_ms = 300000
    is_last = true
    [[routes]]
    name = "desk"
    channels = ["a"]
    tells_resolved = false
    group_wait_ms = 15000
    quiet_hours = ["night"]
    [[routes]]
    name = "btc"
    matcher = { symbols = ["BTC-*"] }
    channels = ["b", "a"]
    group_by = ["type", "venue"]
    group_interval_ms = 0
    [[quiet_hours]]
    name = "night"
    time_zone = "Europe/Berlin"
    from = "01:00"
    to = "02:30"
    [[inhibitions]]
    name = "cascade"
    source = { severity_min = "CRITICAL" }
    target = {}
    "#,
    "[[routes]]\nname = 'desk'\nchannels = ['c']\nmatcher = { event_types = ['OI_SHOCK'] }\ngroup_by = ['rule']\ngroup_wait_ms = 5000\n",
];

#[derive(Clone, Debug)]
enum Op {
    Fire { ids: Vec<usize>, severity: usize, is_correction: bool },
    Resolve { id: usize, is_correction: bool },
    Silence { n: usize, what: usize, minutes: i64 },
    Unsilence(usize),
    Ack { id: usize, minutes: Option<i64> },
    Unack(usize),
    Configure(usize),
    Wait,
}

const IDS: usize = 24;

fn op() -> impl Strategy<Value = Op> {
    let rarely = || (0..8u8).prop_map(|n| n == 0);
    prop_oneof![
        10 => (prop::collection::vec(0..IDS, 1..4), 0..3usize, rarely())
            .prop_map(|(ids, severity, is_correction)| Op::Fire { ids, severity, is_correction }),
        6 => (0..IDS, rarely()).prop_map(|(id, is_correction)| Op::Resolve { id, is_correction }),
        2 => (0..3usize, 0..4usize, 1..90i64).prop_map(|(n, what, minutes)| Op::Silence { n, what, minutes }),
        1 => (0..3usize).prop_map(Op::Unsilence),
        2 => (0..IDS, prop::option::of(1..40i64)).prop_map(|(id, minutes)| Op::Ack { id, minutes }),
        1 => (0..IDS).prop_map(Op::Unack),
        1 => (0..CONFIGS.len()).prop_map(Op::Configure),
        2 => Just(Op::Wait),
    ]
}

/// Steps with the time before each. They begin in the night in which Berlin's clocks go back.
fn script() -> impl Strategy<Value = (usize, Vec<(i64, Op)>)> {
    let pause = prop_oneof![3 => Just(0i64), 5 => 1..30_000i64, 3 => 30_000..600_000i64, 1 => 600_000..9_000_000i64];
    (0..CONFIGS.len(), prop::collection::vec((pause, op()), 1..60))
}

const START: i64 = 1_792_872_000_000;
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

fn config(n: usize) -> PolicyConfig {
    toml::from_str(CONFIGS[n]).unwrap()
}

fn alert(id: usize, severity: usize, now: i64) -> Alert {
    let types = [EventType::LiquidationCascade, EventType::OiShock, EventType::FundingSpread, EventType::MarketCascade];
    let symbol = ["BTC-USDT-PERP", "ETH-USDT-PERP", "BTC-USDC-PERP"][id % 3];
    let mut alert = timeline::alert(&format!("evt_{id}"), types[id % 4], symbol, SEVERITIES[severity], now);
    alert.event.venue = ["okx", "bybit"][id / 3 % 2].into();
    alert.chart = id.is_multiple_of(5).then(|| alerts::Chart::Line {
        ts: vec![now],
        name: "z".into(),
        values: vec![0.1 * now as f64],
        threshold: None,
    });
    alert
}

fn matcher(what: usize) -> Matcher {
    let mut matcher = Matcher::default();
    match what {
        0 => matcher.symbols = vec!["BTC-*".into()],
        1 => matcher.event_types = vec![EventType::OiShock],
        2 => matcher.severity_min = Some(Severity::Warning),
        _ => {}
    }
    matcher
}

/// A policy with its store and all that it told.
struct Run {
    policy: Policy,
    config: usize,
    stored: BTreeMap<StateKey, String>,
    told: Vec<Notice>,
    now: i64,
}

impl Run {
    fn new(config_index: usize) -> Self {
        let policy = Policy::new(config(config_index)).unwrap();
        let mut run = Self { policy, config: config_index, stored: BTreeMap::new(), told: Vec::new(), now: START };
        run.keep(Vec::new());
        run
    }

    fn keep(&mut self, notices: Vec<Notice>) {
        self.told.extend(notices);
        for (key, row) in self.policy.take_changes() {
            match row {
                Some(row) => self.stored.insert(key, row),
                None => self.stored.remove(&key),
            };
        }
    }

    fn advance(&mut self, to: i64) {
        while let Some(due) = self.policy.next_due().filter(|due| *due < to) {
            if due < START {
                let told = self.policy.clone().due(self.now);
                assert!(told.is_empty(), "told by a restart: {told:?}");
            }
            let notices = self.policy.due(due.max(self.now));
            self.now = due.max(self.now);
            self.keep(notices);
        }
        self.now = to;
        let notices = self.policy.due(to);
        self.keep(notices);
    }

    fn step(&mut self, op: &Op) {
        let now = self.now;
        let target = |id: &usize| AckTarget::Alert(format!("evt_{id}"));
        let notices = match op {
            Op::Fire { ids, severity, is_correction } => {
                let of = |id: &usize| Alert { is_correction: *is_correction, ..alert(*id, (*severity + id) % 3, now) };
                self.policy.push_all(ids.iter().map(of), now)
            }
            Op::Resolve { id, is_correction } => {
                let mut alert = alert(*id, 1, now);
                alert.event = alert.event.resolved(now, now);
                self.policy.push(Alert { is_correction: *is_correction, ..alert }, now)
            }
            Op::Silence { n, what, minutes } => {
                let (id, until, from) = (n.to_string(), now + minutes * 60_000, now + (*n as i64) * 30_000);
                let silence = Silence { id, matcher: matcher(*what), from, until, author: String::new(), comment: String::new() };
                self.policy.silence(silence, now).unwrap_or_default()
            }
            Op::Unsilence(n) => self.policy.unsilence(&n.to_string(), now).unwrap_or_default(),
            Op::Ack { id, minutes } => self.policy.ack(&target(id), "x", minutes.map(|m| now + m * 60_000), now).1,
            Op::Unack(id) => self.policy.unack(&target(id), now).1,
            Op::Configure(n) => {
                self.config = *n;
                self.policy.configure(config(*n), now).unwrap()
            }
            Op::Wait => Vec::new(),
        };
        self.keep(notices);
    }

    fn restart(&mut self) {
        self.policy = Policy::restore(config(self.config), self.stored.clone().into_iter()).unwrap();
    }
}

/// The first difference.
fn differ(a: &Run, b: &Run) -> Option<String> {
    for i in 0..a.told.len().max(b.told.len()) {
        let (a, b) = (a.told.get(i), b.told.get(i));
        if a != b {
            return Some(format!("told {i}: {a:?}\nand not {b:?}"));
        }
    }
    let keys: BTreeSet<&StateKey> = a.stored.keys().chain(b.stored.keys()).collect();
    let key = keys.into_iter().find(|key| a.stored.get(*key) != b.stored.get(*key))?;
    Some(format!("{key}: {:?}\nand not {:?}", a.stored.get(key), b.stored.get(key)))
}

/// `CASES=50000 SEED=7 cargo test -p alerts --test policy_random` looks further.
fn cases(n: u32) -> ProptestConfig {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().unwrap());
    let seed = proptest::test_runner::RngSeed::Fixed(asked("SEED").unwrap_or(20_261_121).into());
    ProptestConfig { cases: asked("CASES").unwrap_or(n), rng_seed: seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn a_restart_anywhere_changes_nothing((config, script) in script(), cut in prop::collection::vec(any::<bool>(), 60)) {
        check_restarts(config, &script, &cut)?;
    }

    #[test]
    fn what_is_told_makes_sense((config, script) in script()) {
        let mut run = Run::new(config);
        for (pause, op) in &script {
            // Ids are remembered for six hours; after that they may be told anew.
            if run.now + pause - START > 6 * 3_600_000 {
                break;
            }
            run.advance(run.now + pause);
            run.step(op);
        }
        check_sense(&run.told)?;
        // When nothing mutes any more, everybody knows what fires.
        for n in 0..3 {
            run.step(&Op::Unsilence(n));
        }
        let plain = "[[routes]]\nname = 'last'\nchannels = ['a', 'new']\n";
        let plain = PolicyConfig { inhibitions: Vec::new(), ..toml::from_str(plain).unwrap() };
        let notices = run.policy.configure(plain, run.now).unwrap();
        run.keep(notices);
        check_sense(&run.told)?;
        let firing: Vec<(String, Severity)> =
            run.policy.alerts(run.now).map(|view| (view.alert.id().to_owned(), view.alert.event.severity)).collect();
        for channel in ["a", "new"] {
            let known = known(&run.told, channel);
            for (id, severity) in &firing {
                prop_assert!(known.get(id).is_some_and(|told| told.0 >= *severity && told.1 == Status::Firing), "{channel} {id} {known:?}");
            }
            // And of nothing that does not, unless a route did not want to tell.
            let tells_all = script.iter().all(|(_, op)| !matches!(op, Op::Configure(_))) && config != 2;
            if tells_all {
                let open = known.iter().filter(|(_, told)| told.1 == Status::Firing).map(|(id, _)| id);
                let firing: BTreeSet<&String> = firing.iter().map(|(id, _)| id).collect();
                prop_assert_eq!(open.filter(|id| !firing.contains(id)).count(), 0);
            }
        }
    }
}

/// The same script as it is, once more, and with a restart after each step of `cut`.
fn check_restarts(config: usize, script: &[(i64, Op)], cut: &[bool]) -> Result<(), TestCaseError> {
    let (mut plain, mut again, mut cut_up) = (Run::new(config), Run::new(config), Run::new(config));
    for (i, (pause, op)) in script.iter().enumerate() {
        for run in [&mut plain, &mut again, &mut cut_up] {
            run.advance(run.now + pause);
            run.step(op);
        }
        prop_assert_eq!(differ(&plain, &again), None);
        prop_assert_eq!(differ(&plain, &cut_up), None, "step {} of {:?}, cut {:?}", i, script, &cut[..i]);
        if cut[i] {
            cut_up.restart();
        }
    }
    for run in [&mut plain, &mut cut_up] {
        run.advance(run.now + 6 * 3_600_000);
    }
    prop_assert_eq!(differ(&plain, &cut_up), None, "hours after {:?}, cut {:?}", script, cut);
    Ok(())
}

/// Scripts that found faults once.
#[test]
fn restarts_that_changed_something() {
    let fire = |id, severity| Op::Fire { ids: vec![id], severity, is_correction: false };
    let silence = |minutes| Op::Silence { n: 1, what: 0, minutes };
    let check = |config, script: Vec<(i64, Op)>| {
        for at in 0..script.len() {
            let cut: Vec<bool> = (0..script.len()).map(|i| i == at).collect();
            check_restarts(config, &script, &cut).unwrap();
        }
    };
    // Muted for a moment while held: looked at too early after a restart.
    check(1, vec![(0, fire(9, 0)), (0, fire(0, 1)), (0, Op::Wait), (400_000, Op::Wait)]);
    // A silence that was replaced left its end behind, which woke what was still muted.
    check(
        1,
        vec![
            (0, silence(5)),
            (189_108, fire(21, 1)),
            (28_832, fire(0, 1)),
            (0, silence(2)),
            (13_948, Op::Wait),
            (68_112, Op::Wait),
        ],
    );
    // The end, told elsewhere as graver than the begin, moved the hours that held it.
    let end = Op::Resolve { id: 8, is_correction: true };
    check(3, vec![(0, fire(8, 1)), (27_300_000, Op::Configure(1)), (8_694_715, end), (5_285, Op::Wait)]);
}

/// What a reader of the channel knows: the gravest it was told, and whether it goes on. Only of what is named.
fn known(told: &[Notice], channel: &str) -> BTreeMap<String, (Severity, Status)> {
    let mut known: BTreeMap<String, (Severity, Status)> = BTreeMap::new();
    for notice in told.iter().filter(|notice| notice.channel == channel) {
        for alert in &notice.alerts {
            let before = known.get(alert.id()).map_or(Severity::Info, |told| told.0);
            known.insert(alert.id().to_owned(), (alert.event.severity.max(before), alert.event.status));
        }
    }
    known
}

/// What holds of every channel's notices. (There are fewer alerts than are named, but for digests and groups of all.)
fn check_sense(told: &[Notice]) -> Result<(), TestCaseError> {
    let mut ids = BTreeSet::new();
    let mut state: BTreeMap<(&str, &str), (Severity, Status)> = BTreeMap::new();
    for notice in told {
        prop_assert!(ids.insert((&notice.channel, &notice.id)), "id twice: {notice:?}");
        prop_assert!(!notice.alerts.is_empty() && notice.alerts.len() <= NAMED_MAX);
        prop_assert!(notice.total() >= notice.alerts.len() as u64);
        prop_assert!(notice.alerts.iter().all(|alert| !alert.is_correction || !alert.is_firing()));
        prop_assert!(notice.alerts.is_sorted_by(|a, b| a.event.severity >= b.event.severity));
        let is_urgent = notice.alerts.iter().any(|a| a.is_firing() && a.event.severity == Severity::Critical);
        prop_assert_eq!(notice.is_urgent, is_urgent);
        if let (NoticeKind::News, [one]) = (notice.kind, notice.alerts.as_slice()) {
            prop_assert!(notice.id == news_id(one, false) || notice.id == news_id(one, true));
        }
        let unnamed = notice.total() > notice.alerts.len() as u64;
        for alert in &notice.alerts {
            let key = (notice.channel.as_str(), alert.id());
            let before = state.get(&key).copied();
            let (severity, status) = (alert.event.severity, alert.event.status);
            match (notice.kind, before, status) {
                (NoticeKind::News, Some((was, Status::Firing)), Status::Firing) => prop_assert!(severity > was, "{notice:?}"),
                (NoticeKind::News, Some((_, Status::Firing)), Status::Resolved) => {}
                (NoticeKind::News, None, Status::Firing) => {}
                (NoticeKind::Digest, Some((was, Status::Firing)), Status::Firing) => prop_assert!(severity > was, "{notice:?}"),
                (NoticeKind::Digest, None | Some((_, Status::Firing)), _) => {}
                (NoticeKind::Reminder, Some((_, Status::Firing)), Status::Firing) => {}
                (NoticeKind::Escalation, None | Some((_, Status::Firing)), Status::Firing) => {}
                _ => prop_assert!(unnamed, "{before:?} then {notice:?}"),
            }
            state.insert(key, (severity.max(before.map_or(Severity::Info, |b| b.0)), status));
        }
    }
    Ok(())
}

/// `cargo test --release -p alerts --test policy_random -- --ignored --nocapture`
#[test]
#[ignore = "figures, for a release build"]
fn figure_of_ten_thousand_pushes() {
    for n in 0..CONFIGS.len() {
        let mut run = Run::new(n);
        let begin = std::time::Instant::now();
        let mut bytes = 0;
        for i in 0..10_000 {
            let mut alert = alert(i, i % 3, START + i as i64);
            alert.event.symbol = format!("S{}-USDT-PERP", i % 500);
            let notices = run.policy.push(alert, START + i as i64);
            run.told.extend(notices);
            bytes += run.policy.take_changes().iter().map(|(_, row)| row.as_ref().map_or(0, String::len)).sum::<usize>();
        }
        let took = begin.elapsed();
        eprintln!("configuration {n}: 10,000 pushes with their rows in {took:?}, {} notices, {bytes} bytes", run.told.len());
        assert!(took.as_secs_f64() < 1.0, "{took:?}");
    }
}

/// As many alerts as are remembered, all let go at once: by the end of the night, of a silence, of a cascade; all reminded of.
#[test]
#[ignore = "figures, for a release build"]
fn figure_of_fifty_thousand_let_go() {
    let night = "[[routes]]\nname = 'all'\nchannels = ['a']\nquiet_hours = ['n']\nrepeat_ms = 600000\ngroup_by = ['type']\n\
        [[quiet_hours]]\nname = 'n'\ntime_zone = 'UTC'\nfrom = '20:00'\nto = '06:00'\n";
    let plain = "[[routes]]\nname = 'all'\nchannels = ['a']\ngroup_by = ['type']\nrepeat_ms = 600000\n";
    let all = || Silence {
        id: "s".into(),
        matcher: matcher(3),
        from: START,
        until: START + 60_000,
        author: String::new(),
        comment: String::new(),
    };
    for (name, toml, source, silence, wait) in [
        ("night", night, false, None, 10 * 3_600_000),
        ("silence", plain, false, Some(all()), 60_000),
        ("cascade", plain, true, None, 60_000),
    ] {
        let mut policy = Policy::new(toml::from_str(toml).unwrap()).unwrap();
        silence.into_iter().for_each(|silence| _ = policy.silence(silence, START).unwrap());
        let market = timeline::alert("m", EventType::MarketCascade, "MARKET", Severity::Warning, START);
        if source {
            policy.push(market.clone(), START);
        }
        let begin = std::time::Instant::now();
        for i in 0..49_999 {
            policy.push(timeline::alert(&i.to_string(), EventType::OiShock, "BTC-USDT-PERP", Severity::Info, START), START);
        }
        let pushed = begin.elapsed();
        let mut told = policy.due(START + wait);
        if source {
            told.extend(policy.push(Alert { event: market.event.resolved(START, START), ..market }, START + wait));
        }
        let let_go = begin.elapsed() - pushed;
        assert!(told.iter().any(|notice| notice.total() == 49_999), "{:?}", told.iter().map(Notice::total).collect::<Vec<_>>());
        let reminded = policy.due(START + wait + 600_000).iter().map(Notice::total).sum::<u64>();
        assert_eq!(reminded, 49_999);
        eprintln!("{name}: pushed in {pushed:?}, let go in {let_go:?}, reminded in {:?}", begin.elapsed() - pushed - let_go);
    }
}
