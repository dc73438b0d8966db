//! `regimeflow alerts …` from outside: what is printed, where, with which exit code, and what a run makes of the orders.
#![allow(clippy::unwrap_used)]

mod program;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use alerts::channels::{Channel, Outcome, Pace, Verdict};
use alerts::desk::{Reports, Setup};
use alerts::outbox::{Filter, Limits, history};
use alerts::policy::PolicyConfig;
use alerts::{Alert, Desk, Event, EventType, Notice, Severity, Status, event_id};
use program::until;
use serde_json::Value;

/// What a run is asked for has happened after this time.
const PATIENCE: Duration = Duration::from_secs(10);

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }

    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// Runs `regimeflow alerts ARGS` in a directory, with nothing in the environment but what is given.
fn run_with(dir: &Path, env: &[(&str, &str)], args: &str) -> Said {
    let mut command = program::built::regimeflow(&["alerts"]);
    command.args(args.split_whitespace()).current_dir(dir);
    command.env_clear().env("USER", "ann").envs(env.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(dir: &Path, args: &str) -> Said {
    run_with(dir, &[], args)
}

/// A directory with these files.
fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// Columns of a table's row, for comparisons that survive another width.
fn rows(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

const CONFIG: &str = r#"
[alerts]
rules = "rules"
outbox = "outbox.sqlite"
[[alerts.channels]]
name = "desk"
kind = "stdout"
[[alerts.routes]]
name = "all"
channels = ["desk"]
"#;
const RULES: &str = r#"
[[rules]]
name = "cascades"
event_types = ["LIQUIDATION_CASCADE"]
symbols = ["BTC-*", "ETH-*"]
labels = { desk = "macro" }
hold_s = 30
[[rules]]
name = "funding-z"
view = "funding"
column = "z_30d"
fire = 4.0
clear = 2.0
cooldown_s = 5400
"#;

#[test]
fn check_says_what_there_is() {
    let dir = files(&[("c.toml", CONFIG), ("rules/a.toml", RULES)]);
    let said = run(dir.path(), "check --config c.toml").ends(0);
    let text = rows(&said.out).join("\n");
    has(&text, &["cascades LIQUIDATION_CASCADE 30 s BTC-* ETH-*", "funding-z funding.z_30d above 4 2 1 h 30 min all"]);
    has(&text, &["desk stdout alerts.channels", "all everything desk"]);
    assert_eq!(said.err, "");

    let json = run(dir.path(), "check --config c.toml --json").ends(0).json();
    assert_eq!((json["ok"].clone(), json["rules"].as_array().unwrap().len()), (true.into(), 2));
    assert_eq!(json["channels"][0], serde_json::json!({"channel": "desk", "kind": "stdout", "from": "alerts.channels"}));

    let dir = files(&[("rules/a.toml", RULES)]);
    let env = [("WEBHOOKS_CASCADE", "https://discord.com/api/webhooks/1/canary")];
    let said = run_with(dir.path(), &env, "check --rules rules").ends(0);
    has(&rows(&said.out).join("\n"), &["webhooks_cascade discord WEBHOOKS_CASCADE"]);
    assert!(!said.out.contains("canary") && !said.err.contains("canary"));
}

#[test]
fn check_says_all_that_is_wrong_at_once() {
    let config = CONFIG.replace("[\"desk\"]", "[\"dsk\"]");
    let bad = "[[rules]]\nname = 'a'\nevent_type = ['X']\n\n[[rules]]\nname = 'b'\nview = 'fundng'\ncolumn = 'rate'\nfire = 1\n";
    let worse =
        "[[rules]]\nname = 'c'\nview = 'funding'\ncolumn = 'rate'\nfire = 1\nclear = 2\n[[rules]]\nname = 'c'\nhold_s = -1\n";
    let worst = "[[rules]]\nname = 'd'\nview = 'funding'\ncolumn = 'z_30'\nfire = 1\n";
    let dir = files(&[("c.toml", &config), ("rules/a.toml", bad), ("rules/b.toml", worse), ("rules/c.toml", worst)]);
    let said = run(dir.path(), "check --config c.toml").ends(78);
    let expected = [
        "c.toml:10:13: alerts.routes[0].channels[0]: there is no channel \"dsk\"; did you mean `desk`?",
        "rules/a.toml:3:1: rules[0].event_type: unknown key; did you mean `event_types`?",
        "rules/a.toml:7:1: rules[1].view: \"fundng\" is not known; did you mean `funding`?",
        "rules/b.toml:6:1: rules[0].clear: 2 lies beyond `fire`, 1; ",
        "rules/b.toml:8:1: rules[1].name: \"c\" is the name of rule 0 too; ",
        "rules/b.toml:9:1: rules[1].hold_s: -1 is too small",
        "rules/c.toml:4:1: rules[0].column: \"z_30\" is no number of funding; did you mean `z_30d`?",
    ];
    for start in expected {
        let line = said.err.lines().find(|line| line.starts_with(start));
        assert!(line.is_some(), "nothing begins with {start:?} in:\n{}", said.err);
    }
    assert_eq!(said.out, format!("{} errors\n", said.err.lines().count()));

    // A secret that can't be had, and what leads nowhere.
    let config = format!("{CONFIG}[[alerts.channels]]\nname = 'bus'\nkind = 'webhook'\nurl_env = 'BUS'\n");
    let dir = files(&[("c.toml", &config), ("rules/a.toml", RULES)]);
    let said = run(dir.path(), "check --config c.toml").ends(78);
    has(
        &said.err,
        &[
            "setting up the channel \"bus\"",
            "environment variable BUS",
            "warning: alerts.routes: no route leads to the channel \"bus\"",
        ],
    );
    let env = [("BUS", "https://bus.example/canary")];
    let said = run_with(dir.path(), &env, "check --config c.toml --json").ends(0);
    assert_eq!(said.json()["problems"][0]["level"], "warning");
    assert!(!said.out.contains("canary"));
}

const KINDS: &str = r#"
[alerts]
allow_addresses = ["127.0.0.1"]
[[alerts.channels]]
name = "bus"
kind = "webhook"
url_env = "URL"
secret_env = "SECRET"
[[alerts.channels]]
name = "chat"
kind = "discord"
url = "https://discord.com/api/webhooks/7/canary1?thread_id=canary1"
[[alerts.channels]]
name = "slack"
kind = "slack"
url_file = "slack"
[[alerts.channels]]
name = "bot"
kind = "telegram"
token_file = "token"
chat_id = "-1001"
[[alerts.channels]]
name = "mail"
kind = "email"
server = "mail.example.com"
user = "ann"
password_env = "PASSWORD"
from = "regimeflow <alerts@example.com>"
to = ["desk@example.com"]
[[alerts.channels]]
name = "out"
kind = "stdout"
[[webhooks]]
name = "hook"
url = "https://hooks.example/canary6?token=canary6"
"#;

#[test]
fn a_dry_run_shows_each_kind_without_its_secrets() {
    let dir = files(&[
        ("c.toml", KINDS),
        ("slack", "https://hooks.slack.com/services/T0/B0/canary2"),
        ("token", "123456:canary3canary3canary3canary3canary3"),
    ]);
    let env = [
        ("URL", "https://bus.example/canary4?x=canary4"),
        ("SECRET", "whsec_Y2FuYXJ5NWNhbmFyeTVjYW5hcnk1Y2FuYXJ5NQ=="),
        ("PASSWORD", "canary7"),
        ("WEBHOOKS_ALL", "https://all.example/canary8"),
    ];
    let check = |channel: &str, parts: &[&str]| {
        for more in ["", " --json", " --type REGIME_CHANGE --symbol ETH-USDT-PERP"] {
            let said = run_with(dir.path(), &env, &format!("-vv test {channel} --dry-run --config c.toml{more}"));
            let said = said.ends(0);
            for text in [&said.out, &said.err] {
                assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5"), "{channel}{more}: {text}");
            }
            assert!(said.out.contains("DRILL") || said.out.contains("drill"), "{channel}{more}: {}", said.out);
            if more.is_empty() {
                has(&said.out, parts);
            }
        }
    };
    check("bus", &["POST https://bus.example", "webhook-signature: v1,…", "LIQUIDATION_CASCADE", "BTC-USDT-PERP"]);
    check("chat", &["POST https://discord.com", "<png "]);
    check("slack", &["POST https://hooks.slack.com"]);
    check("bot", &["POST https://api.telegram.org"]);
    check("mail", &["desk@example.com"]);
    check("out", &["long liquidation cascade"]);
    check("hook", &["POST https://hooks.example"]);
    check("webhooks_all", &["POST https://all.example"]);

    let said = run_with(dir.path(), &env, "test --config c.toml").ends(0);
    has(
        &rows(&said.out).join("\n"),
        &["bus webhook alerts.channels", "hook webhook webhooks", "webhooks_all webhook WEBHOOKS_ALL"],
    );
    let said = run_with(dir.path(), &env, "test chart --config c.toml").ends(65);
    has(&said.err, &["there is no channel `chart`; there are: bus, chat, slack, bot, mail, out, hook, webhooks_all"]);
    // Another channel's secret is not needed.
    run(dir.path(), "test out --config c.toml").ends(0);
    has(&run(dir.path(), "test bus --config c.toml").ends(78).err, &["environment variable URL"]);
}

/// Answers one request with `answer` and gives what it was.
fn receiver(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/canary", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let read = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&request);
            let length =
                text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
            if read == 0 || (body.is_some() && body >= length) {
                break;
            }
        }
        stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, served)
}

#[test]
fn a_drill_goes_out_at_once_and_says_how_that_went() {
    let dir = files(&[]);
    let check = |answer: &'static str, code: i32, status: u64, verdict: &str, words: &str| {
        for json in ["", " --json"] {
            let (url, served) = receiver(answer);
            let env = [("WEBHOOKS_ALL", url.as_str()), ("WEBHOOKS_ALLOW_ADDRESSES", "127.0.0.1")];
            let said = run_with(dir.path(), &env, &format!("test webhooks_all --type OI_SHOCK{json}")).ends(code);
            let request = served.join().unwrap();
            has(&request, &["POST /canary", "webhook-id: ntc_", "OI_SHOCK", "\"drill\""]);
            assert!(!said.out.contains("canary") && !said.err.contains("canary"), "{} {}", said.out, said.err);
            if json.is_empty() {
                has(&said.out, &["webhooks_all (webhook): ", words, &format!("answer {status}"), " ms\n"]);
            } else {
                let told = said.json();
                assert_eq!((told["verdict"].as_str(), told["status"].as_u64()), (Some(verdict), Some(status)));
                assert_eq!((told["delivered"].clone(), told["latency_ms"].is_f64()), ((code == 0).into(), true));
            }
        }
    };
    check("204 No Content", 0, 204, "delivered", "delivered, answer 204");
    check("400 Bad Request", 69, 400, "failed", "no attempt will do better");
    check("503 Service Unavailable", 69, 503, "retry", "a later attempt may do better");
    check("410 Gone", 69, 410, "gone", "wants nothing any more");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/canary");
    let env = [("WEBHOOKS_ALL", url.as_str()), ("WEBHOOKS_ALLOW_ADDRESSES", "127.0.0.1")];
    run_with(dir.path(), &env, "test webhooks_all").ends(69);
    // Loopback is the own network: nothing is sent there that nobody allowed.
    let said = run_with(dir.path(), &env[..1], "test webhooks_all").ends(78);
    assert!(!said.err.contains("canary"), "{}", said.err);
}

/// A run's desk, with a channel that takes what it gets, or refuses it.
struct Running {
    desk: Desk,
    refuses: Arc<AtomicBool>,
    got: Arc<Mutex<Vec<Notice>>>,
    _runtime: tokio::runtime::Runtime,
}

struct Fake {
    refuses: Arc<AtomicBool>,
    got: Arc<Mutex<Vec<Notice>>>,
}

impl Channel for Fake {
    fn name(&self) -> &str {
        "desk"
    }
    fn kind(&self) -> &'static str {
        "stdout"
    }
    fn pace(&self) -> Pace {
        Pace { limits: Vec::new(), in_flight_max: 4, digest_above: None }
    }
    fn send<'a>(&'a self, notice: &'a Notice, _now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let refuses = self.refuses.load(Ordering::SeqCst);
            if !refuses {
                self.got.lock().unwrap().push(notice.clone());
            }
            let (verdict, http_status, reason) =
                if refuses { (Verdict::Failed, 400, "answer 400: too long") } else { (Verdict::Delivered, 200, "") };
            Outcome { verdict, http_status, reason: reason.into(), pause: None }
        })
    }
    fn preview(&self, notice: &Notice, _now_ms: i64) -> String {
        notice.id.clone()
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

impl Running {
    fn start(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (refuses, got) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let fake = Fake { refuses: Arc::clone(&refuses), got: Arc::clone(&got) };
        let policy: PolicyConfig = toml::from_str("[[routes]]\nname = 'all'\nchannels = ['desk']\n").unwrap();
        let setup = Setup { channels: vec![(Arc::new(fake), "f".into())], policy };
        let reports = Reports { attempt: Box::new(|_| ()), problem: Box::new(|problem| panic!("{problem}")) };
        let path = dir.join("outbox.sqlite");
        let desk = Desk::start(path, setup, Limits::default(), Arc::new(now_ms), runtime.handle().clone(), reports).unwrap();
        Self { desk, refuses, got, _runtime: runtime }
    }

    fn tell(&self, alert: Alert) {
        assert!(self.desk.tell(vec![alert]));
    }

    fn stop(self) {
        self.desk.finish(Duration::from_secs(5));
    }

    /// Until so many notices came.
    #[track_caller]
    fn gets(&self, count: usize) {
        let came = || self.got.lock().unwrap().len();
        assert!(until(PATIENCE, || came() >= count), "{} of {count}", came());
    }
}

/// Until the notice that was told last is in this state.
#[track_caller]
fn becomes(dir: &Path, state: &str, count: usize) {
    let filter = Filter { state: Some(state.into()), limit: 100, ..Filter::default() };
    let are = || history(&dir.join("outbox.sqlite"), &filter).unwrap().len();
    assert!(until(PATIENCE, || are() >= count), "not {count} are {state}");
}

fn alert(symbol: &str, severity: Severity) -> Alert {
    let at = now_ms();
    let event = Event {
        id: event_id(EventType::LiquidationCascade, &[symbol], 0),
        event_type: EventType::LiquidationCascade,
        status: Status::Firing,
        timestamp: at,
        known_at: at,
        title: format!("{symbol} long liquidation cascade \u{1b}[31m"),
        symbol: symbol.into(),
        venue: "binance-usdm".into(),
        severity,
        description: "9.0 M USD".into(),
        source: "cascades".into(),
        data: serde_json::Map::new(),
    };
    Alert { event, rules: vec!["cascades".into()], labels: BTreeMap::new(), chart: None, is_correction: false }
}

#[test]
fn a_run_takes_orders_and_shows_what_it_knows() {
    let dir = files(&[("c.toml", CONFIG), ("rules/a.toml", RULES)]);
    let at = |args: &str| run(dir.path(), &format!("{args} --config c.toml"));
    let said = at("list").ends(0);
    has(&said.err, &["there is no outbox at outbox.sqlite yet"]);
    assert!(!dir.path().join("outbox.sqlite").exists(), "looking makes no file");

    let running = Running::start(dir.path());
    let (btc, eth) = (alert("BTC-USDT-PERP", Severity::Critical), alert("ETH-USDT-PERP", Severity::Warning));
    running.tell(btc.clone());
    running.gets(1);
    running.tell(eth.clone());
    running.gets(2);
    becomes(dir.path(), "delivered", 2);

    let list = at("list --json").ends(0).json();
    let ids: Vec<&str> = list["alerts"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [btc.id(), eth.id()], "the graver first");
    assert_eq!(list["alerts"][0]["told"][0], "desk");
    let said = at("list").ends(0);
    has(&said.out, &[btc.id(), "CRITICAL", "desk"]);
    assert!(!said.out.contains('\u{1b}'), "an alert moves no cursor");

    // A silence is taken by the run, and counts in `route`.
    let said = at("silence --symbol BTC-* --for 2h --comment maintenance").ends(0);
    has(&said.err, &["the run has taken the order", "mutes symbol BTC-* until"]);
    let silence = said.out.trim().to_owned();
    let list = at("list --json").ends(0).json();
    assert_eq!((&list["silences"][0]["id"], &list["silences"][0]["author"]), (&silence.as_str().into(), &"ann".into()));
    has(list["alerts"][0]["muted_by"].as_str().unwrap(), &[&silence, "maintenance"]);
    has(&at("silence --list").ends(0).out, &[&silence, "symbol BTC-*", "ann"]);
    let routes = at("route --symbol BTC-USDT-PERP --json").ends(0).json();
    assert_eq!(routes[0]["routes"][0]["when"], "muted");
    has(routes[0]["routes"][0]["why"].as_str().unwrap(), &[&silence]);
    assert_eq!(at("route --symbol ETH-USDT-PERP --json").ends(0).json()[0]["routes"][0]["when"], "now");
    has(&at(&format!("silence --end {}", &silence[..6])).ends(0).out, &[&silence]);
    has(&at("silence --list").ends(0).out, &["no silence lasts"]);
    has(&at("silence --end sil-0").ends(65).err, &["no silence has an id that begins with `sil-0`"]);

    // Acknowledged by the begin of the id, for a while, and taken back.
    let begin = &eth.id()[4..12];
    has(&at(&format!("ack {begin} --for 1h --by joe")).ends(0).out, &[eth.id(), "joe for 1 h"]);
    let list = at("list --json").ends(0).json();
    assert_eq!((list["alerts"][0]["ack"].clone(), &list["alerts"][1]["ack"]["by"]), (Value::Null, &"joe".into()));
    at(&format!("unack {begin}")).ends(0);
    assert_eq!(at("list --json").ends(0).json()["alerts"][1]["ack"], Value::Null);
    has(&at(&format!("unack {begin}")).ends(65).err, &["nobody looks after it"]);
    has(&at("ack evt_").ends(65).err, &["an alert's id is empty"]);
    has(&at("ack evt_zz").ends(65).err, &["no alert that fires has an id that begins with `evt_zz`"]);

    running.stop();
}

#[test]
fn a_dead_letter_is_sent_again() {
    let dir = files(&[("c.toml", CONFIG), ("rules/a.toml", RULES)]);
    let at = |args: &str| run(dir.path(), &format!("{args} --config c.toml"));
    let running = Running::start(dir.path());
    running.refuses.store(true, Ordering::SeqCst);
    let sol = alert("SOL-USDT-PERP", Severity::Warning);
    running.tell(sol.clone());
    becomes(dir.path(), "failed", 1);
    let failed = at("history --state failed --json").ends(0).json();
    assert_eq!((&failed[0]["reason"], &failed[0]["attempts"]), (&"answer 400: too long".into(), &1.into()));
    has(&at("history --since 1h").ends(0).out, &["failed", "400", "SOL-USDT-PERP long liquidation cascade", "too long"]);
    assert_eq!(at("history --since 2100-01-01 --json").ends(0).json(), serde_json::json!([]));
    assert_eq!(at("history --channel other --json").ends(0).json(), serde_json::json!([]));
    has(&at("list").ends(0).out, &["channel desk fails since"]);

    running.refuses.store(false, Ordering::SeqCst);
    let said = at("replay --failed").ends(0);
    has(&said.out, &["1 notice is sent again:", failed[0]["id"].as_str().unwrap()]);
    has(&said.err, &["the run has taken the order"]);
    running.gets(1);
    becomes(dir.path(), "delivered", 1);
    assert_eq!(running.got.lock().unwrap()[0].id, failed[0]["id"].as_str().unwrap(), "under its own id");
    has(&at("replay --failed").ends(0).out, &["nothing is sent again"]);
    has(&at("enable desk").ends(0).out, &["desk is not disabled: nothing to do"]);
    has(&at("enable dsk").ends(65).err, &["there is no channel `dsk`; there are: desk"]);
    running.stop();

    // Without a run orders wait, and the next start takes them: what was delivered can be sent again by its alert's id.
    let said = at(&format!("replay {}", sol.id())).ends(0);
    has(&said.err, &["the order waits for the next start"]);
    has(&at("replay ntc_none").ends(65).err, &["has an id that begins with `ntc_none`"]);
    let silence = at("silence --all --for 1h").ends(0).out.trim().to_owned();
    has(&at("silence --list").ends(0).out, &[&silence, "everything", "waits for a run"]);
    let running = Running::start(dir.path());
    running.gets(1);
    assert!(until(PATIENCE, || at("list --json").ends(0).json()["silences"][0]["id"] == silence.as_str()));
    running.stop();
}

#[test]
fn route_says_who_is_told_and_why_not() {
    let config = format!("{CONFIG}matcher = {{ severity_min = 'WARNING', labels = {{ desk = 'macro' }} }}\n");
    let dir = files(&[("c.toml", &config), ("rules/a.toml", RULES)]);
    let check = |args: &str, parts: &[&str]| {
        let said = run(dir.path(), &format!("route --config c.toml {args}")).ends(0);
        has(&rows(&said.out).join("\n"), parts);
    };
    check(
        "",
        &["cascades asks once it lasts 30 s", "funding-z it watches a number of `funding`", "labels desk=macro", "desk at once"],
    );
    check("--symbol SOL-USDT-PERP", &["cascades its symbol is SOL-USDT-PERP", "no rule asks for it"]);
    check("--severity info", &["all not: its severity is INFO, below WARNING"]);
    check("--label desk=asia", &["all not: its label `desk` has another value"]);
    check(
        "--type threshold",
        &["THRESHOLD WARNING firing: BTC-USDT-PERP: z_30d above 4", "funding-z asks not again for 1 h 30 min"],
    );
    check("--type FUNDING-SPREAD", &["cascades its type is FUNDING_SPREAD"]);

    let event = alert("ETH-USDT-PERP", Severity::Critical).event;
    std::fs::write(dir.path().join("event.json"), event.to_json()).unwrap();
    check("--event event.json", &["LIQUIDATION_CASCADE CRITICAL firing: ETH-USDT-PERP", "desk at once"]);
    std::fs::write(dir.path().join("event.json"), "{}").unwrap();
    has(&run(dir.path(), "route --config c.toml --event event.json").ends(65).err, &["read the event event.json: ", "schemas/"]);
    has(&run(dir.path(), "route --config c.toml --event none.json").ends(74).err, &["read the event none.json: No such file"]);
}

#[test]
fn what_is_meant_must_be_said() {
    let dir = files(&[("c.toml", CONFIG), ("rules/a.toml", RULES)]);
    let check = |args: &str, part: &str| has(&run(dir.path(), args).ends(64).err, &[part]);
    check("silence --for 2h --config c.toml", "mutes all alerts");
    check("silence --symbol BTC-*", "--for");
    check("silence --all --symbol BTC-* --for 1h", "cannot be used with");
    check("silence --symbol BTC-* --for 2hours", "`2hours` is no length of time; write 90s, 15m, 2h, 7d or 4w");
    check("silence --type FUNDING_ANOMLY --for 1h", "did you mean FUNDING_ANOMALY?");
    check("silence --label desk --for 1h", "`desk` is no label; write name=value");
    check("route --severity BAD", "there are INFO, WARNING and CRITICAL");
    check("history --state gone", "invalid value 'gone'");
    check("history --since yesterday", "`yesterday` is neither how long ago");
    check("replay", "required arguments");
    assert!(!dir.path().join("outbox.sqlite").exists(), "what is refused leaves no order");
    std::fs::write(dir.path().join("outbox.sqlite"), "this is no database, and long enough not to be taken for an empty one")
        .unwrap();
    has(&run(dir.path(), "history --config c.toml").ends(74).err, &["outbox.sqlite"]);
}
