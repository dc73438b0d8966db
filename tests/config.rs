//! The configuration from outside: the files that are shipped, the schema, and what is said of bad files.
//! `UPDATE=1` rewrites the golden files.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regimeflow::config::{Alerts, Config, Feed, Feeds, Webhook, load, redact, schema};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn golden(path: &Path, actual: &str) {
    if updating() {
        std::fs::write(path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(expected == actual, "{} is not current; UPDATE=1 rewrites it. Now:\n{actual}", path.display());
}

/// One bad file of `tests/config/bad.txt`: `### title`, the TOML, `---`, what is said of it.
#[test]
fn bad_files_get_all_their_mistakes_told_at_once() {
    let path = root().join("tests/config/bad.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, cases) = text.split_once("\n### ").unwrap();
    let mut actual = head.to_owned();
    let mut count = 0;
    for case in cases.split("\n### ") {
        let (title, rest) = case.split_once('\n').unwrap();
        let toml = rest.split("---\n").next().unwrap();
        let said = match load::parse(toml, "bad.toml") {
            Err(errors) => {
                assert!(errors.problems.iter().any(|p| !p.warning), "{title}: only warnings are no error");
                errors.to_string()
            }
            Ok(_) => panic!("{title}: accepted"),
        };
        actual.push_str(&format!("\n### {title}\n{toml}---\n{said}\n"));
        count += 1;
    }
    assert!(count >= 60, "{count}");
    golden(&path, &actual);
}

#[test]
fn doubtful_files_are_accepted_with_a_warning() {
    let check = |toml: &str, warning: &str| {
        let (_, warnings) = load::parse(toml, "w.toml").unwrap();
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told, [warning]);
    };
    check(
        "[[webhooks]]\nname = 'desk'\nurl = 'https://h.example/canary'\n",
        "w.toml:1:1: warning: webhooks[0]: \"desk\" has no secret: its messages are not signed; set secret_file or secret_env",
    );
    check(
        "[store]\nuser = 'u'\n",
        "w.toml:2:1: warning: store.user: has no effect: regimeflow-data is not a server; \
         leave it out, or set location to http://host:8123",
    );
    check(
        "[views.volatility]\nhysteresis = 0.4\n",
        "w.toml:1:8: warning: views.volatility.boundaries: the bands of [0.01, 0.05, 0.1] overlap at a hysteresis of 0.4; \
         a regime between them is hard to enter: spread them or lower the hysteresis",
    );
}

#[test]
fn a_bad_file_ends_the_command_with_78() {
    use regimeflow::cli::config::Command;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let check = |toml: &str, code: u8| {
        std::fs::write(&file, toml).unwrap();
        for command in [
            Command::Check { file: file.clone(), json: false },
            Command::Check { file: file.clone(), json: true },
            Command::Show { file: Some(file.clone()), json: true },
        ] {
            let ended = command.run().unwrap();
            assert_eq!(format!("{ended:?}"), format!("{:?}", std::process::ExitCode::from(code)));
        }
    };
    check("[engine]\nworkers = 2\n", 0);
    check("[engine]\nworkers = 0\n", 78);
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(load::parse("", "empty.toml").unwrap(), (Config::default(), Vec::new()));
}

#[test]
fn a_whole_number_will_do_where_a_fraction_may_stand() {
    let (config, _) = load::parse("[views.cascades.m5]\nminimum_usd = 1_000\ncritical_usd_per_hour = 0x10\n", "n.toml").unwrap();
    assert_eq!((config.views.cascades.m5.minimum_usd, config.views.cascades.m5.critical_usd_per_hour), (1_000.0, 16.0));
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: Option<&[u8]>, message: &str| {
        let path = dir.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains(message) && error.lines().all(|line| line.contains(name)), "{error}");
    };
    check("absent.toml", None, "read the configuration: No such file");
    check("latin1.toml", Some(b"[store]\nlocation = \"caf\xe9\"\n"), "line 2 is not UTF-8 (byte 23)");
    check("huge.toml", Some(&vec![b'#'; (1 << 20) + 1]), "more than 1048576 bytes");
    check("zeros.toml", Some(&[0; 10]), ":1:1: ");
}

#[test]
fn the_committed_schema_is_current() {
    golden(&root().join("schemas/config.schema.json"), &schema::text());
}

/// The walk in `document.rs` knows these words of JSON Schema. If `schemars` writes another, it must learn it.
#[test]
fn the_schema_uses_no_word_that_the_check_ignores() {
    fn words(schema: &Value, found: &mut BTreeSet<String>) {
        let Some(map) = schema.as_object() else { return };
        for (word, value) in map {
            found.insert(word.clone());
            match word.as_str() {
                "properties" | "$defs" => value.as_object().unwrap().values().for_each(|v| words(v, found)),
                "anyOf" => value.as_array().unwrap().iter().for_each(|v| words(v, found)),
                "items" | "additionalProperties" => words(value, found),
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    words(&schema::config(), &mut found);
    let checked = ["$ref", "additionalProperties", "anyOf", "enum", "items", "maxItems", "maxLength", "maximum", "minItems"];
    let checked = checked.into_iter().chain(["minLength", "minimum", "properties", "required", "type"]);
    let spoken = ["$defs", "$schema", "default", "description", "format", "title"];
    let known: BTreeSet<String> = checked.chain(spoken).map(str::to_owned).collect();
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn full_toml_is_the_default_and_its_examples() {
    let (config, warnings) = load::read(&root().join("config/full.toml")).unwrap();
    let feed = || Feed { symbols: vec!["BTCUSDT".into()], ..Feed::default() };
    let webhook = Webhook {
        name: "desk".into(),
        url: "http://127.0.0.1:9000/regimeflow".into(),
        secret_file: None,
        secret_env: Some("REGIMEFLOW_WEBHOOK_SECRET".into()),
        event_types: Vec::new(),
    };
    let feeds = Feeds { binance_usdm: Some(feed()), bybit_linear: Some(feed()) };
    assert!(config.alerts.channels.len() >= 5 && config.alerts.routes.len() == 2 && config.alerts.quiet_hours.len() == 1);
    let (channels, routes) = (config.alerts.channels.clone(), config.alerts.routes.clone());
    let (quiet_hours, allow_addresses) = (config.alerts.quiet_hours.clone(), vec!["127.0.0.1".into()]);
    let heartbeat = config.alerts.heartbeat.clone();
    let alerts = Alerts { channels, routes, quiet_hours, allow_addresses, heartbeat, ..Alerts::default() };
    assert_eq!(config, Config { webhooks: vec![webhook], alerts, feeds, ..Config::default() });
    assert_eq!(warnings, []);
}

#[test]
fn full_toml_lacks_no_key_and_explains_each() {
    let text = std::fs::read_to_string(root().join("config/full.toml")).unwrap();
    // `#key = …` is a key that is shown but not set; with all of them set the file must still be right.
    let is_key = |line: &str| line.strip_prefix('#').is_some_and(|l| l.starts_with(|c: char| c.is_ascii_lowercase()));
    let all: String = text
        .lines()
        .filter(|line| !["silence_ms = {}", "weights = {}"].contains(line))
        .map(|line| if is_key(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
        .map(|line| line.replace("\"regimeflow-data\"", "\"http://127.0.0.1:8123\""))
        .collect();
    let (config, warnings) = load::parse(&all, "full.toml").unwrap();
    assert_eq!(warnings, []);

    // What is written back has every key that has a value: none may be absent.
    fn absent(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(path.to_owned()),
            Value::Object(map) => map.iter().for_each(|(k, v)| absent(v, &format!("{path}.{k}"), found)),
            Value::Array(items) => items.iter().for_each(|v| absent(v, path, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    absent(&serde_json::to_value(&config).unwrap(), "", &mut found);
    // A channel has the keys of its kind, a secret one place; the second route is a short one.
    found.retain(|path| {
        !path.starts_with(".alerts.channels.") && !path.starts_with(".alerts.heartbeat.") && !path.starts_with(".alerts.routes.")
    });
    assert_eq!(found, [".feeds.bybit_linear.rest_url", ".feeds.bybit_linear.ws_url"], "Bybit's keys are explained at Binance's");

    // A key that has a default could still be missing from the text.
    let schema = schema::config();
    let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for key in sections.filter_map(|s| s["properties"].as_object()).flat_map(|p| p.keys()) {
        let written = |line: &str| {
            line.trim_start_matches("# ").starts_with(&format!("{key} = "))
                || line.starts_with('[') && line.trim_matches(['[', ']']).split('.').any(|part| part == key)
        };
        assert!(all.lines().any(written), "{key} is not in config/full.toml");
    }
    let unexplained: Vec<_> = text
        .lines()
        .zip(text.lines().skip(1))
        .filter(|(before, line)| line.contains(" = ") && !line.starts_with("# ") && before.is_empty())
        .collect();
    assert_eq!(unexplained, []);
}

#[test]
fn the_other_files_are_right() {
    for name in ["config/demo.toml", "config/live.toml", "docker/live.toml"] {
        let (config, warnings) = load::read(&root().join(name)).unwrap();
        assert_eq!(warnings, [], "{name}");
        assert_ne!(config, Config::default(), "{name}");
    }
}

#[test]
fn what_is_shown_has_no_secret_and_reads_back() {
    let toml = "
        [store]
        location = 'https://user@db.example:8443/?canary=1'
        [[webhooks]]
        name = 'desk'
        url = 'https://hooks.example:8443/services/canary?token=canary'
        secret_env = 'HOOK'
        [feeds.binance_usdm]
        symbols = ['BTCUSDT']
        ws_url = 'wss://proxy.example/?canary'
    ";
    let (config, _) = load::parse(toml, "c.toml").unwrap();
    let shown = redact::redacted(&config);
    let text = toml::to_string(&shown).unwrap();
    assert!(!text.contains("canary") && text.contains("https://hooks.example:8443/…"), "{text}");
    assert_eq!(load::parse(&text, "shown.toml").unwrap().0, shown);
    let debug = format!("{:?} {:?}", config.store, config.webhooks);
    assert!(!debug.contains("canary"), "{debug}");
}

#[test]
fn no_bytes_make_it_panic() {
    use proptest::prelude::*;
    let full = std::fs::read(root().join("config/full.toml")).unwrap();
    proptest!(ProptestConfig::with_cases(300), |(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8))| {
        let mut bytes = full.clone();
        for (at, byte) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = load::parse(&String::from_utf8_lossy(&bytes), "mutated.toml");
    });
}
