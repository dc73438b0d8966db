//! A process that is killed and goes on: the answers and what people were told are those of one that never stopped.
//!
//! A simulated market (and a recording, where there is one) is replayed with a journal, and the process is killed with SIGKILL at random instants,
//! or ends by itself at each of the named crash points, with snapshots made all along; then it is started again, with another number of workers.
//! `REGIMEFLOW_SOAK` takes more of both.

#![allow(clippy::unwrap_used, missing_docs)]

mod hook;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hook::{Hook, Told};
use regimeflow::crash;
use serde_json::Value;

/// One engine at a time: each takes a few hundred megabytes.
static ENGINE: Mutex<()> = Mutex::new(());

fn is_soak() -> bool {
    std::env::var_os("REGIMEFLOW_SOAK").is_some()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_regimeflow")).args(args).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "regimeflow {args:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn engine_is_here() -> bool {
    let library = regimeflow::store::install::library();
    library.inspect_err(|error| eprintln!("skipped: {error}")).is_ok()
}

/// A replay that can be started again and again.
struct Case {
    dir: tempfile::TempDir,
    frames: PathBuf,
    hook: Hook,
    speed: String,
}

impl Case {
    fn new(frames: &Path, speed: &str) -> Self {
        let (dir, hook) = (tempfile::tempdir().unwrap(), Hook::start().unwrap());
        let config = format!(
            "[journal]\nsnapshot_every_s = 1\nfsync_ms = 20\n\
             [alerts]\nallow_addresses = ['127.0.0.1/32']\n\
             [[webhooks]]\nname = 'desk'\nurl = 'http://{}/'\n",
            hook.address
        );
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { dir, frames: frames.to_owned(), hook, speed: speed.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, workers: usize, crash_at: Option<&str>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
        command.args(["replay", text(&self.frames), "--json", "--workers", &workers.to_string(), "--speed", &self.speed]);
        command.arg("--config").arg(self.path("config.toml")).arg("--store").arg(self.path("store"));
        command.arg("--journal").arg(self.path("journal")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(std::fs::File::create(self.path("stderr")).unwrap());
        match crash_at {
            Some(point) => command.env(crash::VARIABLE, point),
            None => command.env_remove(crash::VARIABLE),
        };
        command.spawn().unwrap()
    }

    /// Runs it to its end.
    fn finish(&self, workers: usize) {
        let status = self.start(workers, None).wait().unwrap();
        let said = std::fs::read_to_string(self.path("stderr")).unwrap();
        assert!(status.success(), "{status}\n{said}");
    }

    /// The hash over all views, and what was told.
    fn outcome(&self) -> (String, Told) {
        let hashes: Value = serde_json::from_str(&ok(&["dump", "--store", text(&self.path("store")), "--json"])).unwrap();
        let told = self.hook.told();
        (hashes["sha256"].as_str().or(hashes["all"].as_str()).map_or_else(|| hashes.to_string(), str::to_owned), told)
    }

    fn has_snapshot(&self) -> bool {
        let names = std::fs::read_dir(self.path("journal")).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name().into_string().unwrap()).any(|name| name.ends_with(".manifest"))
    }
}

fn market(dir: &Path) -> PathBuf {
    let path = dir.join("market.frames.zst");
    ok(&["simulate", "--seed", "5", "--symbols", "3", "--hours", "6", "--bursts-per-day", "40", "--out", text(&path)]);
    path
}

fn unbroken(frames: &Path) -> (String, Told) {
    let case = Case::new(frames, "max");
    case.finish(1);
    let outcome = case.outcome();
    assert!(!outcome.1.is_empty(), "something is told");
    outcome
}

fn check_same(case: &Case, expected: &(String, Told), why: &str) {
    let (hash, told) = case.outcome();
    assert_eq!(hash, expected.0, "{why}: the dump");
    assert_eq!(told, expected.1, "{why}: what was told");
}

#[test]
fn every_crash_point_is_survived() {
    if !engine_is_here() {
        return;
    }
    let _engine = ENGINE.lock();
    let dir = tempfile::tempdir().unwrap();
    let frames = market(dir.path());
    let expected = unbroken(&frames);
    let (mut missed, mut workers) = (Vec::new(), [1, 2, 4].into_iter().cycle());
    for point in crash::POINTS {
        // In the middle of it: some points are passed hundreds of times.
        let is_once = ["opened", "snapshot", "restore: done"].iter().any(|once| point.contains(once));
        let case = Case::new(&frames, "12000");
        let mut has_crashed = false;
        if point.starts_with("restore") {
            // There must be something to restore.
            let mut child = case.start(1, Some("keeper: told#150"));
            child.wait().unwrap();
        }
        for times in if is_once { [1, 1] } else { [40, 1] } {
            let status = case.start(workers.next().unwrap(), Some(&format!("{point}#{times}"))).wait().unwrap();
            has_crashed |= status.signal().is_some();
            if has_crashed || status.success() {
                break;
            }
        }
        if !has_crashed {
            missed.push(point);
            continue;
        }
        case.finish(workers.next().unwrap());
        check_same(&case, &expected, point);
    }
    assert!(missed.is_empty(), "never passed: {missed:?}");
}

fn check_random_kills(frames: &Path, speed: &str, seconds: f64, kills: u64) {
    let expected = unbroken(frames);
    let seed = std::env::var("REGIMEFLOW_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    println!("REGIMEFLOW_SEED={seed}");
    let case = Case::new(frames, speed);
    let (mut state, mut done, mut with_snapshot) = (seed, 0, 0);
    for n in 0..kills {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let alive = Duration::from_secs_f64(0.3 + seconds * (state >> 40) as f64 / (1u64 << 24) as f64);
        let mut child = case.start([1, 2, 4][n as usize % 3], None);
        let begun = Instant::now();
        while begun.elapsed() < alive && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        done += 1;
        with_snapshot += u64::from(case.has_snapshot());
    }
    case.finish(2);
    println!("killed {done} times, {with_snapshot} times with a snapshot to go on from");
    check_same(&case, &expected, &format!("killed {done} times, seed {seed}"));
    assert!(done >= kills / 2, "it was over after {done} kills: slower is needed");
}

#[test]
fn kills_at_random_instants_leave_no_trace() {
    if !engine_is_here() {
        return;
    }
    let _engine = ENGINE.lock();
    let dir = tempfile::tempdir().unwrap();
    let kills = if is_soak() { 200 } else { 20 };
    check_random_kills(&market(dir.path()), "400", 3.2, kills);
}

#[test]
fn kills_leave_no_trace_in_a_recording() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("REGIMEFLOW_DATA").map_or(beside, PathBuf::from);
    let Some(path) = std::fs::read_dir(data.join("wire"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("binance-usdm-20240808")))
    else {
        eprintln!("skipped: there is no recording in {}", data.display());
        return;
    };
    if !engine_is_here() {
        return;
    }
    let _engine = ENGINE.lock();
    let case = Case::new(&path, "max");
    case.finish(1);
    let expected = case.outcome();
    let case = Case::new(&path, "60");
    for (n, after_ms) in [900u64, 1_700, 2_600, 1_300].into_iter().enumerate() {
        let mut child = case.start([1, 4, 2, 1][n], None);
        std::thread::sleep(Duration::from_millis(after_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let case = Case { speed: "max".into(), ..case };
    case.finish(4);
    check_same(&case, &expected, "a recording");
}

/// A snapshot of other settings is no use, but the records of the last day are.
#[test]
fn views_are_made_again_after_a_change_of_the_configuration() {
    if !engine_is_here() {
        return;
    }
    let _engine = ENGINE.lock();
    let dir = tempfile::tempdir().unwrap();
    let frames = market(dir.path());
    let expected = unbroken(&frames);
    let case = Case::new(&frames, "12000");
    let status = case.start(1, Some("snapshot: committed")).wait().unwrap();
    assert!(status.signal().is_some() && case.has_snapshot(), "{status}");
    // It counts only where there are more symbols than here.
    let config = std::fs::read_to_string(case.path("config.toml")).unwrap();
    std::fs::write(case.path("config.toml"), format!("{config}[views.correlation]\npairs_up_to = 19\n")).unwrap();
    case.finish(2);
    let said = std::fs::read_to_string(case.path("stderr")).unwrap();
    assert!(said.contains("of another configuration"), "{said}");
    check_same(&case, &expected, "another configuration");
}

#[test]
fn a_second_process_is_told_who_has_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let frames = market(dir.path());
    let case = Case::new(&frames, "200");
    let replay = |case: &Case| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regimeflow"));
        command.args(["replay", text(&case.frames), "--store", "none", "--no-alerts", "--speed", &case.speed]);
        command.arg("--journal").arg(case.path("journal")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut first = replay(&case).spawn().unwrap();
    let lock = case.path("journal").join("journal.lock");
    let begun = Instant::now();
    while std::fs::read_to_string(&lock).unwrap_or_default().is_empty() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = replay(&case).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&first.id().to_string()), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
}
