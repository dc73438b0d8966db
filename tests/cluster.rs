//! Several processes say what one says: the same dump, the same told; and when one dies, the others end and name it. With journals all go on from there.
//!
//! All of them write to one ClickHouse, the embedded engine of this test, each case to a database of its own.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod hook;
mod program;
mod recordings;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hook::{Hook, Told};
use program::built::{check_ends, regimeflow};
use program::market::{feeds, without_polls};
use program::{Program, ended_within, kill, text, until};
use regimeflow::crash;
use regimeflow::store::Store;
use serde_json::Value;

/// The others must have ended this long after one was killed.
const END_MAX: Duration = Duration::from_secs(10);
/// A crash point must be reached in this time.
const CRASH_MAX: Duration = Duration::from_secs(90);

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
    keeps_journals: bool,
}

impl Case {
    fn new(server: &Server, frames: &Path, database: &str, processes: usize, workers: usize, speed: &'static str) -> Self {
        let (dir, hook) = (tempfile::tempdir().unwrap(), Hook::start().unwrap());
        let journal = "[journal]\nsnapshot_every_s = 1\nfsync_ms = 20\n";
        let config = format!("{journal}[store]\ndatabase = '{database}'\n{}inhibitions = []\n", hook.config());
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        std::fs::write(dir.path().join("hosts"), hosts(processes)).unwrap();
        let (url, database) = (server.store.url().to_owned(), database.to_owned());
        Self { dir, url, database, frames: frames.to_owned(), hook, processes, workers, speed, keeps_journals: false }
    }

    fn command(&self, process: usize) -> Command {
        let mut command = regimeflow(&["replay", text(&self.frames), "--json", "-v", "--speed", self.speed]);
        command.args(["--workers", &self.workers.to_string(), "--store", &self.url, "--config", "config.toml"]);
        if self.processes > 1 {
            command.args(["--hosts", "hosts", "--process", &process.to_string()]);
        }
        if self.keeps_journals {
            command.args(["--journal", "journal"]);
        }
        let file = |name: &str| std::fs::File::create(self.dir.path().join(format!("{name}-{process}"))).unwrap();
        command.current_dir(self.dir.path()).stdout(file("stdout")).stderr(file("stderr")).env_remove(crash::VARIABLE);
        command
    }

    fn start(&self, process: usize) -> Child {
        self.command(process).spawn().unwrap()
    }

    /// Starts all, one of which ends by itself at a crash point, and waits until it has; the others end, too, and name it.
    fn crash(&self, victim: usize, point: &str) {
        let start = |process| match self.command(process) {
            mut command if process == victim => command.env(crash::VARIABLE, point).spawn().unwrap(),
            mut command => command.spawn().unwrap(),
        };
        let mut children: Vec<_> = (0..self.processes).map(start).collect();
        let ended = ended_or_killed(&mut children[victim], CRASH_MAX);
        let said = self.said(victim);
        assert_eq!(ended.signal(), Some(6), "process {victim} did not come to {point}: {ended}\n{said}");
        self.must_name(victim, &mut children);
    }

    /// All others end soon, and say whom they have lost.
    fn must_name(&self, victim: usize, children: &mut [Child]) {
        let begun = Instant::now();
        for (process, child) in children.iter_mut().enumerate().filter(|(process, _)| *process != victim) {
            let status = ended_or_killed(child, END_MAX.saturating_sub(begun.elapsed()));
            let said = self.said(process);
            assert_eq!(status.code(), Some(69), "process {process}: {status}\n{said}");
            let last = said.lines().last().unwrap_or_default();
            assert!(last.contains(&format!("process {victim} (")) && last.contains("is lost"), "process {process}:\n{said}");
            assert!(!said.contains("panicked"), "process {process}:\n{said}");
        }
        println!("lost process {victim}: the others ended in {:.1} s", begun.elapsed().as_secs_f64());
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

/// How it ended, by itself or in the end by our hand.
fn ended_or_killed(child: &mut Child, limit: Duration) -> ExitStatus {
    ended_within(child, limit).unwrap_or_else(|| {
        child.kill().unwrap();
        child.wait().unwrap()
    })
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
        case.must_name(victim, &mut children);
    }
    server.store.close().await.unwrap();
}

/// Who crashes where, in one life after the other. At first there are only records; then snapshots that one has and the other hasn't.
const CRASHES: [(usize, &str); 9] = [
    (1, "journal: appended#40"),
    (0, "keeper: told#200"),
    (1, "snapshot: committed"),
    (0, "snapshot: before commit#2"),
    (1, "restore: a record read#20"),
    (0, "restore: snapshot read"),
    (1, "journal: opened"),
    (0, "restore: done"),
    (1, "keeper: handed to the store#300"),
];

/// When the one and the other process is killed, ms after the start.
const KILLS_MS: [[u64; 2]; 4] = [[900, 900], [2_100, 2_105], [1_900, 1_500], [400, 600]];

/// Crashes and kills, with other numbers of workers each time. Answers with how many lives began with a snapshot.
fn break_off_again_and_again(case: &mut Case) -> usize {
    let mut from_snapshot = 0;
    for (n, (victim, point)) in CRASHES.into_iter().enumerate() {
        case.workers = 1 + n % 2;
        case.crash(victim, point);
        from_snapshot += usize::from(case.said(1 - victim).contains("origin: Snapshot("));
    }
    for (n, at_ms) in KILLS_MS.into_iter().enumerate() {
        case.workers = 2 - n % 2;
        let (begun, children) = (Instant::now(), case.start_all());
        let mut kills: Vec<_> = at_ms.into_iter().zip(children).collect();
        kills.sort_by_key(|(at_ms, _)| *at_ms);
        for (at_ms, child) in &mut kills {
            std::thread::sleep(Duration::from_millis(*at_ms).saturating_sub(begun.elapsed()));
            kill(child);
        }
        from_snapshot += usize::from(case.said(0).contains("origin: Snapshot("));
    }
    from_snapshot
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_journals_go_on_where_they_were() {
    let Some(server) = Server::start().await else { return };
    let frames = server.market();
    let expected = Case::new(&server, &frames, "kept_alone", 1, 1, "max").outcome();
    let mut case = Case::new(&server, &frames, "kept", 2, 1, "300");
    case.keeps_journals = true;
    let from_snapshot = break_off_again_and_again(&mut case);
    (case.speed, case.workers) = ("max", 2);
    // The second time there is nothing left to do, and nothing changes.
    for time in ["when all was read", "read again"] {
        let found = case.outcome();
        check_equal(&found.0, &expected.0, time);
        assert_eq!(found.1, expected.1, "{time}: what was told");
    }
    println!("{from_snapshot} lives began with a snapshot");
    assert!(from_snapshot >= 5, "{from_snapshot} lives began with a snapshot");

    std::fs::remove_dir_all(case.dir.path().join("journal/process-1-of-2")).unwrap();
    for (process, mut child) in case.start_all().into_iter().enumerate() {
        let (status, said) = (ended_or_killed(&mut child, CRASH_MAX), case.said(process));
        assert_eq!(status.code(), Some(65), "process {process}: {said}");
        assert!(said.contains("the journal of process 1 ends at 0") && said.contains("it was lost or replaced"), "{said}");
    }
    server.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_with_journals_go_on_where_they_were() {
    let Some(server) = Server::start().await else { return };
    let frames = server.market();
    let expected = Case::new(&server, &frames, "kept_by_none", 1, 1, "max").outcome();
    let mut case = Case::new(&server, &frames, "kept_by_three", 3, 1, "600");
    case.keeps_journals = true;
    for (victim, point) in [(2, "snapshot: committed"), (1, "keeper: told#100"), (0, "journal: durable#300")] {
        case.crash(victim, point);
        case.workers = 3 - case.workers;
    }
    case.speed = "max";
    let found = case.outcome();
    check_equal(&found.0, &expected.0, "three");
    assert_eq!(found.1, expected.1, "three: what was told");
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
