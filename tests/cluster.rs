//! Several processes say what one says: the same dump, the same told; and when one dies, the others end and name it.
//!
//! All of them write to one ClickHouse, the embedded engine of this test, each case to a database of its own.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod hook;
mod program;
mod recordings;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hook::{Hook, Told};
use program::built::{check_ends, regimeflow};
use program::market::{feeds, without_polls};
use program::{Program, ended_within, kill, text, until};
use regimeflow::store::Store;
use serde_json::Value;

/// The others must have ended this long after one was killed.
const END_MAX: Duration = Duration::from_secs(10);

/// One engine for all cases of a test.
struct Server {
    store: Store,
    dir: tempfile::TempDir,
}

impl Server {
    /// `None`, after saying why, where there is no engine.
    async fn start() -> Option<Self> {
        if !engine::is_here() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let store = engine::open(&dir.path().join("store")).await;
        Some(Self { store, dir })
    }

    fn market(&self) -> PathBuf {
        Program::built().market(self.dir.path(), "--seed 5 --symbols 5 --hours 6 --bursts-per-day 40").unwrap()
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
        let config = format!("[store]\ndatabase = '{database}'\n{}inhibitions = []\n", hook.config());
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        std::fs::write(dir.path().join("hosts"), hosts(processes)).unwrap();
        let (url, database) = (server.store.url().to_owned(), database.to_owned());
        Self { dir, url, database, frames: frames.to_owned(), hook, processes, workers, speed }
    }

    fn start(&self, process: usize) -> Child {
        let mut command = regimeflow(&["replay", text(&self.frames), "--json", "-v", "--speed", self.speed]);
        command.args(["--workers", &self.workers.to_string(), "--store", &self.url, "--config", "config.toml"]);
        if self.processes > 1 {
            command.args(["--hosts", "hosts", "--process", &process.to_string()]);
        }
        let file = |name: &str| std::fs::File::create(self.dir.path().join(format!("{name}-{process}"))).unwrap();
        command.current_dir(self.dir.path()).stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap()
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
    let dump = Program::built().dump(&["--store", url, "--database", database]).unwrap();
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

/// So many processes of so many workers each say what one says. `told`: something must be told.
fn check_same(server: &Server, frames: &Path, name: &str, told: bool, clusters: &[(usize, usize)]) {
    let expected = Case::new(server, frames, &format!("{name}_alone"), 1, 1, "max").outcome();
    assert!(!told || !expected.1.is_empty(), "{name}: something is told");
    for &(processes, workers) in clusters {
        let database = format!("{name}_{processes}x{workers}");
        let found = Case::new(server, frames, &database, processes, workers, "max").outcome();
        check_equal(&found.0, &expected.0, &database);
        assert_eq!(found.1, expected.1, "{database}: what was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_say_what_one_says() {
    let Some(server) = Server::start().await else { return };
    check_same(&server, &server.market(), "market", true, &[(2, 1), (3, 1), (2, 2)]);
    server.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_say_what_one_says_of_a_recording() {
    let names = ["wire/binance-usdm-20240808.frames.zst", "wire/bybit-linear-20260809.frames.zst"];
    let recordings: Vec<_> = names.iter().filter_map(|name| recordings::find(name)).collect();
    if recordings.is_empty() {
        return;
    }
    let Some(server) = Server::start().await else { return };
    for (n, frames) in recordings.iter().enumerate() {
        check_same(&server, frames, &format!("recording{n}"), false, &[(2, 1), (3, 2)]);
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
        // Let them come together and work for a while.
        until(END_MAX, || (0..3).all(|process| case.said(process).contains("all processes are connected")));
        std::thread::sleep(Duration::from_millis(1_500));
        kill(&mut children[victim]);
        let killed = Instant::now();
        for (process, child) in children.iter_mut().enumerate().filter(|(process, _)| *process != victim) {
            let status = ended_within(child, END_MAX.saturating_sub(killed.elapsed())).unwrap_or_else(|| {
                child.kill().unwrap();
                child.wait().unwrap()
            });
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

#[tokio::test(flavor = "multi_thread")]
async fn live_each_listens_to_its_symbols() {
    let Some(server) = Server::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = Program::built();
    let market = program.market(dir.path(), "--seed 9 --symbols 2 --hours 0.7 --bursts-per-day 96").unwrap();
    let frames = without_polls(&market);
    let expected = Case::new(&server, &frames, "replayed", 1, 1, "max").outcome().0;

    // It waits for both processes' subscriptions, plays once, and ends.
    let (mut venue, address) = program.venue(&frames, "--once --wait-for-subscriptions 16");
    std::fs::write(dir.path().join("hosts"), hosts(2)).unwrap();
    let config =
        format!("[journal]\nenabled = false\n[time]\nskew_ms_max = 0\n[store]\ndatabase = 'lived'\n{}", feeds(&address, ""));
    std::fs::write(dir.path().join("run.toml"), config).unwrap();
    let start = |process: &str| {
        let args = ["run", "--config", "run.toml", "--store", server.store.url(), "--until-idle-secs", "4", "--json"];
        let mut command = regimeflow(&args);
        command.args(["--hosts", "hosts", "--process", process]).current_dir(dir.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut lines = Vec::new();
    for child in [start("0"), start("1")] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        lines.push(summary["lines"].as_u64().unwrap());
    }
    let _ = venue.kill(); // it has ended by itself if all was sent
    let _ = venue.wait();
    assert!(lines.iter().all(|lines| *lines > 0), "both have listened: {lines:?}");
    check_equal(&dump(server.store.url(), "lived"), &expected, "live");
    server.store.close().await.unwrap();
}

/// Each with its exit code and a part of what it says.
fn check_refused(args: &[&str], code: i32, says: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("frames"), "").unwrap();
    std::fs::write(dir.path().join("hosts"), "127.0.0.1:7600\n127.0.0.1:7601\n").unwrap();
    std::fs::write(dir.path().join("wrong"), "127.0.0.1:7600\nhere\n").unwrap();
    let mut command = regimeflow(&["replay", "frames", "--store", "none"]);
    check_ends(command.args(args).current_dir(dir.path()), code, &[says]);
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
        let mut command = regimeflow(&["replay", "frames", "--store", "none", "--hosts", "hosts"]);
        command.args(["--process", process, "--workers", workers]);
        command.current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start("0", "1"), start("1", "2")] {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("2 workers each") && said.contains("1 workers each"), "{said}");
    }
}
