//! The policy's edges: wrong configurations, bounds, rows that can't be read, a configuration that changed while it was down.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "only its alerts are used here")]
mod timeline;

use alerts::notice::NAMED_MAX;
use alerts::policy::{
    ALERTS_MAX, AckTarget, Matcher, PENDING_MAX, Policy, PolicyConfig, SILENCES_MAX, Silence, SilenceError, StateKey,
};
use alerts::{Alert, Chart, EventType, NoticeKind, Severity};

fn config(toml: &str) -> PolicyConfig {
    toml::from_str(toml).unwrap()
}

fn alert(id: &str, severity: Severity) -> Alert {
    timeline::alert(id, EventType::OiShock, "BTC-USDT-PERP", severity, 0)
}

fn stored(policy: &mut Policy) -> Vec<(StateKey, String)> {
    policy.take_changes().into_iter().filter_map(|(key, row)| Some((key, row?))).collect()
}

const ALL: &str = "[[routes]]\nname = 'all'\nchannels = ['discord']\n";

#[test]
fn a_wrong_configuration_says_everything_at_once() {
    let wrong = r#"
        [[routes]]
        name = "a"
        channels = []
        repeat_ms = 10
        quiet_hours = ["nihgt"]
        escalation = { after_ms = 0, channels = [""] }
        [[routes]]
        name = "a"
        channels = ["x"]
        group_wait_ms = -1
        [[routes]]
        name = ""
        channels = ["x"]
        group_interval_ms = 99999999999
        [[inhibitions]]
        name = "i"
        source = {}
        target = {}
        hold_ms = -5
        [[quiet_hours]]
        name = "night"
        time_zone = "Europe/Belrin"
        from = "22:00"
        to = "07:00"
    "#;
    let errors = Policy::new(config(wrong)).unwrap_err();
    let said: Vec<String> = errors.0.iter().map(|error| format!("{}: {}", error.place, error.reason)).collect();
    let want = [
        "routes.a: the name is there twice: rename one",
        "routes[2].name: the name is empty: give it one, state is kept by it",
        "routes.a.channels: no channel, or one without a name: name at least one",
        "routes.a.repeat_ms: 10 ms is out of bounds: write 1000 to 2678400000 (31 days)",
        "routes.a.escalation.after_ms: 0 ms is out of bounds: write 1000 to 2678400000 (31 days)",
        "routes.a.escalation.channels: no channel, or one without a name: name at least one",
        "routes.a.quiet_hours: quiet hours `nihgt` are not defined: there are night",
        "routes.a.group_wait_ms: -1 ms is out of bounds: write 0 to 2678400000 (31 days)",
        "routes..group_interval_ms: 99999999999 ms is out of bounds: write 0 to 2678400000 (31 days)",
        "inhibitions.i.hold_ms: -5 ms is out of bounds: write 0 to 2678400000 (31 days)",
        "quiet_hours.night.time_zone: `Europe/Belrin` is no time zone: write it as in the IANA database, like Europe/Berlin",
    ];
    assert_eq!(said, want);
}

#[test]
fn what_can_not_be_read_says_why() {
    let check = |toml: &str, want: &str| {
        let error = toml::from_str::<PolicyConfig>(toml).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    check(
        "[[routes]]\nname = 'a'\nchannels = ['x']\ngroup_by = ['sybmol']",
        "write type, symbol, venue, rule, severity or label:NAME",
    );
    check("[[routes]]\nname = 'a'\nchannel = 'x'", "unknown field `channel`");
    let night = |from: &str| format!("[[quiet_hours]]\nname = 'n'\ntime_zone = 'UTC'\nfrom = '{from}'\nto = '07:00'");
    check(&night("24:00"), "`24:00` is no time of day: write it as 22:00 (midnight is 00:00)");
    check(&night("10pm"), "`10pm` is no time of day");
    let config = config(&night("22:30"));
    let again: PolicyConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn a_refused_configuration_leaves_the_old_one_in_force() {
    let mut policy = Policy::new(config(ALL)).unwrap();
    assert!(policy.configure(config("[[routes]]\nname = 'b'\nchannels = []"), 0).is_err());
    assert_eq!(policy.push(alert("A", Severity::Info), 1)[0].channel, "discord");
}

#[test]
fn of_too_many_alerts_the_least_grave_and_oldest_go() {
    let mut policy = Policy::new(config(ALL)).unwrap();
    for i in 0..ALERTS_MAX {
        let severity = if i == 7 || i == 9 { Severity::Info } else { Severity::Warning };
        policy.push(alert(&i.to_string(), severity), i as i64);
    }
    assert_eq!((policy.counters().dropped, policy.last_dropped()), (0, None));
    policy.push(alert("x", Severity::Critical), ALERTS_MAX as i64);
    policy.push(alert("y", Severity::Critical), ALERTS_MAX as i64);
    assert_eq!(policy.last_dropped().unwrap().id, "9");
    // What is the least grave itself pushes nothing out: it is counted, not told.
    let told = policy.push(alert("z", Severity::Info), ALERTS_MAX as i64);
    assert_eq!((told.len(), policy.counters().dropped), (0, 3));
    assert_eq!(policy.last_dropped().unwrap().id, "z");
    assert_eq!(policy.alerts(0).count(), ALERTS_MAX);
    let rows = stored(&mut policy).len();
    assert!(rows >= ALERTS_MAX, "{rows}");
}

#[test]
fn a_full_group_does_not_wait_for_its_interval() {
    let grouped = format!("{ALL}group_by = ['type']\ngroup_interval_ms = 3600000\n");
    let mut policy = Policy::new(config(&grouped)).unwrap();
    assert_eq!(policy.push(alert("first", Severity::Info), 0).len(), 1);
    let told: Vec<_> = (0..PENDING_MAX).flat_map(|i| policy.push(alert(&i.to_string(), Severity::Info), 1 + i as i64)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].total(), told[0].alerts.len()), (PENDING_MAX as u64, NAMED_MAX));
    assert_eq!(told[0].alerts[0].id(), "0", "of equal gravity and time the first by id");
}

#[test]
fn silences_are_bounded_and_checked() {
    let mut policy = Policy::new(config(ALL)).unwrap();
    let silence = |id: &str, from, until| Silence {
        id: id.into(),
        matcher: Matcher::default(),
        from,
        until,
        author: "anna".into(),
        comment: String::new(),
    };
    assert_eq!(policy.silence(silence("", 0, 9), 0), Err(SilenceError::NoId));
    let error = policy.silence(silence("s", 0, 9), 9).unwrap_err();
    assert_eq!(error.to_string(), "silence `s` ends at 9, which is not after 9: choose a later end");
    for i in 0..SILENCES_MAX {
        policy.silence(silence(&i.to_string(), 0, 10), 0).unwrap();
    }
    assert_eq!(policy.silence(silence("s", 0, 9), 0), Err(SilenceError::TooMany("s".into())));
    policy.silence(silence("7", 0, 11), 0).unwrap();
    assert_eq!(policy.unsilence("s", 0), None);
    policy.due(10);
    assert_eq!(policy.silences().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["7"]);
    policy.silence(silence("s", 0, 20), 10).unwrap();
}

#[test]
fn rows_of_no_known_form_are_refused() {
    let check = |key: &str, row: &str, want: &str| {
        let error = Policy::restore(config(ALL), std::iter::once((StateKey::new(key), row.to_owned()))).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    check("alert:A", "{", "row `alert:A` of the policy's state can't be read");
    check("ended:A", "\"x\"", "delete the row to go on without it");
    check("what:A", "1", "row `what:A` of the policy's state has a key of no known form");
    check("alert", "1", "no known form");
    check("hold:x", "1", "no known form");
}

/// JSON has no NaN: a chart with one must not make the row unreadable.
#[test]
fn a_chart_that_can_not_be_stored_goes() {
    let grouped = format!("{ALL}group_wait_ms = 1000\n");
    let mut policy = Policy::new(config(&grouped)).unwrap();
    let chart = |value| Some(Chart::Line { ts: vec![1], name: "z".into(), values: vec![value], threshold: Some(0.1 + 0.2) });
    policy.push(Alert { chart: chart(f64::NAN), ..alert("A", Severity::Info) }, 0);
    policy.push(Alert { chart: chart(0.1), ..alert("B", Severity::Info) }, 0);
    let mut policy = Policy::restore(config(&grouped), stored(&mut policy).into_iter()).unwrap();
    let told = policy.due(1_000);
    assert_eq!((told[0].alerts[0].chart.clone(), told[1].alerts[0].chart.clone()), (None, chart(0.1)));
    // It is shown once.
    let rows = stored(&mut policy);
    assert!(rows.iter().all(|(_, row)| !row.contains("chart")), "{rows:?}");
}

#[test]
fn a_configuration_may_change_while_the_program_is_down() {
    let mut policy = Policy::new(config(ALL)).unwrap();
    policy.push(alert("A", Severity::Warning), 0);
    let more = format!("{ALL}[[routes]]\nname = 'more'\nchannels = ['discord', 'slack']\n");
    let mut policy = Policy::restore(config(&more), stored(&mut policy).into_iter()).unwrap();
    let told = policy.due(50);
    assert_eq!((told.len(), told[0].channel.as_str(), told[0].kind), (1, "slack", NoticeKind::News));
    assert!(policy.take_changes().iter().any(|(key, _)| key.as_str() == "config:"), "the new one is noted");
}

#[test]
fn what_fires_is_listed() {
    let mut policy = Policy::new(config(ALL)).unwrap();
    policy.push_all([alert("A", Severity::Warning), alert("B", Severity::Info), alert("C", Severity::Info)], 5);
    policy.push(Alert { is_correction: true, ..alert("D", Severity::Info) }, 5);
    let (ids, _) = policy.ack(&AckTarget::Group("OI_SHOCK BTC-USDT-PERP".into()), "bob", Some(90), 10);
    assert_eq!(ids, ["A", "B", "C"]);
    policy.unack(&AckTarget::Alert("B".into()), 11);
    let matcher = Matcher { severity_min: Some(Severity::Warning), ..Matcher::default() };
    let (id, author, comment) = ("s".into(), "eve".into(), "upgrade".into());
    policy.silence(Silence { id, matcher, from: 0, until: 50, author, comment }, 12).unwrap();
    let list = |now| {
        let line = |view: alerts::policy::AlertView<'_>| {
            let ack = view.ack.map_or("", |ack| ack.by.as_str());
            format!("{} {} [{ack}] [{}] {}", view.alert.id(), view.since, view.muted_by.unwrap_or_default(), view.told.join(","))
        };
        policy.alerts(now).map(line).collect::<Vec<_>>()
    };
    assert_eq!(list(20), ["A 5 [bob] [silence `s` by eve: upgrade] discord", "B 5 [] [] discord", "C 5 [bob] [] discord"]);
    assert_eq!(list(90), ["A 5 [] [] discord", "B 5 [] [] discord", "C 5 [] [] discord"]);
}

/// Editors complete and check the file by it.
#[test]
fn the_configuration_has_a_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(PolicyConfig)).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let full = r#"
        [[routes]]
        name = "desk"
        channels = ["discord"]
        matcher = { event_types = ["OI_SHOCK"], symbols = ["BTC-*"], severity_min = "WARNING", labels = { desk = "macro" } }
        group_by = ["type", "label:desk"]
        repeat_ms = 60000
        escalation = { after_ms = 60000, channels = ["pager"] }
        quiet_hours = ["night"]
        [[inhibitions]]
        name = "i"
        source = { rules = ["a"] }
        target = {}
        equal = ["symbol"]
        [[quiet_hours]]
        name = "night"
        time_zone = "UTC"
        days = ["sat"]
        from = "22:00"
        to = "07:00"
        lets_through = "WARNING"
    "#;
    let json = |toml: &str| toml::from_str::<serde_json::Value>(toml).unwrap();
    assert!(schema.is_valid(&json(full)), "{:?}", schema.validate(&json(full)));
    assert!(Policy::new(config(full)).is_ok());
    assert!(!schema.is_valid(&json(&full.replace("channels = [\"discord\"]", "chanels = []"))));
    assert!(!schema.is_valid(&json(&full.replace("'sat'", "'saturday'").replace("\"sat\"", "\"saturday\""))));
}
