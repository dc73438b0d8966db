//! Several processes say what one says: the same dump, the same told; and when one dies, the others end and name it.
//!
//! All of them write to one ClickHouse, the embedded engine of this test, each case to a database of its own.

#![allow(clippy::unwrap_used, missing_docs)]

mod hook;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hook::{Hook, Told};
use regimeflow::config;
use regimeflow::store::{Mode, Store, install, start_engine_with};
use serde_json::Value;

/// The others must have ended this long after one was killed.
const END_MAX: Duration = Duration::from_secs(10);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_regimeflow")).args(args).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "regimeflow {args:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// One engine for all cases of a test.
struct Server {
    store: Store,
    dir: tempfile::TempDir,
}

impl Server {
    /// `None`, after saying why, where there is no engine.
    async fn start() -> Option<Self> {
        start_engine_with(env!("CARGO_BIN_EXE_regimeflow"));
        if let Err(error) = install::library() {
            eprintln!("skipped: {error}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let location = dir.path().join("store").to_string_lossy().into_owned();
        let store = Store::open(&config::Store { location, ..config::Store::default() }, Mode::Write("test")).await.unwrap();
        Some(Self { store, dir })
    }

    fn market(&self) -> PathBuf {
        let path = self.dir.path().join("market.frames.zst");
        ok(&["simulate", "--seed", "5", "--symbols", "5", "--hours", "6", "--bursts-per-day", "40", "--out", text(&path)]);
        path
    }
}

/// A replay by some processes into a database of its own. Nothing inhibits anything: of two alerts that come from two processes, which one is told first is
/// a matter of milliseconds.
struct Case {
    dir: tempfile::TempDir,
    url: String,
    database: String,
    frames: PathBuf,
    hook: Hook,
    processes: usize,
    workers: usize,
    speed: &'static str,
}

impl Case {
    fn new(server: &Server, frames: &Path, database: &str, processes: usize, workers: usize, speed: &'static str) -> Self {
        let (dir, hook) = (tempfile::tempdir().unwrap(), Hook::start().unwrap());
        let config = format!(
            "[store]\ndatabase = '{database}'\n[alerts]\nallow_addresses = ['127.0.0.1/32']\ninhibitions = []\n\
             [[webhooks]]\nname = 'desk'\nurl = 'http://{}/'\n",
            hook.address
        );
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        std::fs::write(dir.path().join("hosts"), hosts(processes)).unwrap();
        let (url, database) = (server.store.url().to_owned(), database.to_owned());
        Self { dir, url, database, frames: frames.to_owned(), hook, processes, workers, speed }
    }

    fn start(&self, process: usize) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
        command.args([
            "replay",
            text(&self.frames),
            "--json",
            "-v",
            "--workers",
            &self.workers.to_string(),
            "--speed",
            self.speed,
        ]);
        command.args(["--store", &self.url, "--config", "config.toml"]).current_dir(self.dir.path());
        if self.processes > 1 {
            command.args(["--hosts", "hosts", "--process", &process.to_string()]);
        }
        let file = |name: &str| std::fs::File::create(self.dir.path().join(format!("{name}-{process}"))).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap()
    }

    fn said(&self, process: usize) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("stderr-{process}"))).unwrap()
    }

    fn start_all(&self) -> Vec<Child> {
        (0..self.processes).map(|process| self.start(process)).collect()
    }

    /// Runs all to their end: the views, and what was told.
    fn outcome(&self) -> (Dump, Told) {
        let begun = Instant::now();
        for (process, mut child) in self.start_all().into_iter().enumerate() {
            let status = child.wait().unwrap();
            assert!(status.success(), "process {process} of {}: {status}\n{}", self.database, self.said(process));
        }
        println!("{}: {:.1} s", self.database, begun.elapsed().as_secs_f64());
        let stdout = std::fs::read_to_string(self.dir.path().join("stdout-0")).unwrap();
        assert!(serde_json::from_str::<Value>(&stdout).is_ok(), "stdout holds nothing else: {stdout}");
        (self.dump(), self.hook.told())
    }

    fn dump(&self) -> Dump {
        dump(&self.url, &self.database)
    }
}

/// Of each view that has a part in the hash over all: its hash and its rows.
type Dump = BTreeMap<String, String>;

fn dump(url: &str, database: &str) -> Dump {
    let dump: Value = serde_json::from_str(&ok(&["dump", "--store", url, "--database", database, "--json"])).unwrap();
    let views = dump["views"].as_array().unwrap().iter().filter(|view| view["about_arrival"] != true);
    let mut views: Dump =
        views.map(|view| (view["view"].as_str().unwrap().to_owned(), format!("{} {}", view["sha256"], view["rows"]))).collect();
    assert!(views.len() > 20 && dump["sha256"].is_string(), "{dump}");
    views.insert("all".into(), dump["sha256"].to_string());
    views
}

fn check_equal(found: &Dump, expected: &Dump, what: &str) {
    let differ: Vec<_> = expected.iter().filter(|(view, hash)| found.get(*view) != Some(hash)).collect();
    let theirs: Vec<_> = differ.iter().map(|(view, _)| found.get(*view)).collect();
    assert!(differ.is_empty(), "{what}: these views differ: {differ:?} from {theirs:?}");
}

/// Free ports of this machine.
fn hosts(processes: usize) -> String {
    let listeners: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().fold("# all\n".to_owned(), |text, listener| format!("{text}{}\n", listener.local_addr().unwrap()))
}

fn check_same(server: &Server, frames: &Path, name: &str, told: bool) {
    let expected = Case::new(server, frames, &format!("{name}_alone"), 1, 1, "max").outcome();
    assert_eq!(told, !expected.1.is_empty(), "{name}: something is told");
    for (processes, workers) in [(2, 1), (3, 1), (2, 2)] {
        let database = format!("{name}_{processes}x{workers}");
        let found = Case::new(server, frames, &database, processes, workers, "max").outcome();
        check_equal(&found.0, &expected.0, &database);
        assert_eq!(found.1, expected.1, "{database}: what was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_say_what_one_says() {
    let Some(server) = Server::start().await else { return };
    check_same(&server, &server.market(), "market", true);
    server.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_say_what_one_says_of_a_recording() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let wire = std::env::var_os("REGIMEFLOW_DATA").map_or(beside, PathBuf::from).join("wire");
    let recordings: Vec<_> = ["binance-usdm-20240808", "bybit-linear"]
        .iter()
        .filter_map(|name| {
            let mut files = std::fs::read_dir(&wire).into_iter().flatten().flatten().map(|entry| entry.path());
            files.find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().contains(name)))
        })
        .collect();
    if recordings.is_empty() {
        eprintln!("skipped: there is no recording in {}", wire.display());
        return;
    }
    let Some(server) = Server::start().await else { return };
    for (n, frames) in recordings.iter().enumerate() {
        let name = format!("recording{n}");
        let expected = Case::new(&server, frames, &format!("{name}_alone"), 1, 1, "max").outcome();
        for (processes, workers) in [(2, 1), (3, 2)] {
            let database = format!("{name}_{processes}x{workers}");
            let found = Case::new(&server, frames, &database, processes, workers, "max").outcome();
            check_equal(&found.0, &expected.0, &database);
            assert_eq!(found.1, expected.1, "{database}: what was told");
        }
    }
    server.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_is_killed_the_others_end_and_name_it() {
    let Some(server) = Server::start().await else { return };
    let frames = server.market();
    for (n, victim) in [1, 0, 2].into_iter().enumerate() {
        let case = Case::new(&server, &frames, &format!("killed{n}"), 3, 1, "600");
        let mut children = case.start_all();
        let begun = Instant::now();
        // Let them come together and work for a while.
        while !(0..3).all(|process| case.said(process).contains("all processes are connected")) && begun.elapsed() < END_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(1_500));
        children[victim].kill().unwrap();
        children[victim].wait().unwrap();
        let killed = Instant::now();
        for (process, child) in children.iter_mut().enumerate().filter(|(process, _)| *process != victim) {
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if killed.elapsed() > END_MAX {
                    child.kill().unwrap();
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            let said = case.said(process);
            assert_eq!(status.code(), Some(69), "process {process}: {status}\n{said}");
            let last = said.lines().last().unwrap_or_default();
            assert!(last.contains(&format!("process {victim} (")) && last.contains("is lost"), "process {process}:\n{said}");
            assert!(!said.contains("panicked"), "process {process}:\n{said}");
        }
        println!("killed process {victim}: the others ended in {:.1} s", killed.elapsed().as_secs_f64());
    }
    server.store.close().await.unwrap();
}

/// A venue that waits for both processes' subscriptions, plays once, and ends.
fn mock_venue(frames: &Path) -> (Child, String) {
    let args =
        ["mock-venue", text(frames), "--listen", "127.0.0.1:0", "--speed", "max", "--once", "--wait-for-subscriptions", "16"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
    let mut mock = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(mock.stderr.take().unwrap()).lines();
    let address = loop {
        if let Some(rest) = lines.next().unwrap().unwrap().strip_prefix("listening on ") {
            break rest.split(": ").next().unwrap().to_owned();
        }
    };
    std::thread::spawn(move || lines.count());
    (mock, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_each_listens_to_its_symbols() {
    let Some(server) = Server::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let market = dir.path().join("market.frames.zst");
    ok(&["simulate", "--seed", "9", "--symbols", "2", "--hours", "0.7", "--bursts-per-day", "96", "--out", text(&market)]);
    // No REST polls: they would be asked for at other times than they were recorded.
    let frames = dir.path().join("sockets.frames.zst");
    let log = BufReader::new(zstd::Decoder::new(std::fs::File::open(&market).unwrap()).unwrap());
    let mut out = zstd::Encoder::new(std::fs::File::create(&frames).unwrap(), 1).unwrap();
    for line in log.lines().map(Result::unwrap).filter(|line| !line.contains("\thttp\t")) {
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    let expected = Case::new(&server, &frames, "replayed", 1, 1, "max");
    let expected = expected.outcome().0;

    let (mut mock, address) = mock_venue(&frames);
    std::fs::write(dir.path().join("hosts"), hosts(2)).unwrap();
    let feed = |venue: &str, streams: &str| {
        format!(
            "[feeds.{venue}]\nsymbols = ['BTCUSDT', 'ETHUSDT']\nstreams = [{streams}]\n\
             ws_url = 'ws://{address}'\nrest_url = 'http://{address}'\n"
        )
    };
    let config = format!(
        "[journal]\nenabled = false\n[time]\nskew_ms_max = 0\n[store]\ndatabase = 'lived'\n{}{}",
        feed("binance_usdm", "'aggTrades', '@markPrice', 'klines', 'liquidations'"),
        feed("bybit_linear", "'trades', 'tickers', 'klines', 'liquidations'")
    );
    std::fs::write(dir.path().join("run.toml"), config).unwrap();
    let start = |process: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
        command.args(["run", "--config", "run.toml", "--store", server.store.url(), "--until-idle-secs", "4", "--json"]);
        command.args(["--hosts", "hosts", "--process", process]).current_dir(dir.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut frames = Vec::new();
    for child in [start("0"), start("1")] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        frames.push(summary["lines"].as_u64().or(summary["prints"].as_u64()).unwrap_or_default());
    }
    let _ = mock.kill(); // it has ended by itself if all was sent
    let _ = mock.wait();
    assert!(frames.iter().all(|frames| *frames > 0), "both have listened: {frames:?}");
    check_equal(&dump(server.store.url(), "lived"), &expected, "live");
    server.store.close().await.unwrap();
}

/// Each with its exit code and a part of what it says.
fn check_refused(args: &[&str], code: i32, says: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("frames"), "").unwrap();
    std::fs::write(dir.path().join("hosts"), "127.0.0.1:7600\n127.0.0.1:7601\n").unwrap();
    std::fs::write(dir.path().join("wrong"), "127.0.0.1:7600\nhere\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
    let output = command.args(["replay", "frames", "--store", "none"]).args(args).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(says), "{args:?}: {said}");
}

#[test]
fn what_can_not_be_is_told_by_name() {
    check_refused(&["--hosts", "hosts"], 64, "--process");
    check_refused(&["--process", "1"], 64, "--hosts");
    check_refused(&["--hosts", "hosts", "--process", "2"], 64, "names 2 hosts");
    check_refused(&["--hosts", "wrong", "--process", "0"], 78, "wrong:2: \"here\" is no address");
    check_refused(&["--hosts", "none", "--process", "0"], 78, "read the hosts in none");
    check_refused(
        &["--hosts", "hosts", "--process", "0", "--journal", "journal"],
        78,
        "a journal can't be kept by several processes",
    );
}

#[test]
fn processes_that_differ_do_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("frames"), "").unwrap();
    std::fs::write(dir.path().join("hosts"), hosts(2)).unwrap();
    let start = |process: &str, workers: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
        command.args(["replay", "frames", "--store", "none", "--hosts", "hosts", "--process", process, "--workers", workers]);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start("0", "1"), start("1", "2")] {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("2 workers each") && said.contains("1 workers each"), "{said}");
    }
}
