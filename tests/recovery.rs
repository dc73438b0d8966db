//! A process that is killed and goes on: the answers and what people were told are those of one that never stopped.
//!
//! A simulated market (and a recording, where there is one) is replayed with a journal, and the process is killed with SIGKILL at random instants,
//! or ends by itself at each of the named crash points, with snapshots made all along; then it is started again, with another number of workers.
//! `REGIMEFLOW_SOAK` kills more often, `REGIMEFLOW_KILLS=20` so often.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod hook;
mod program;
mod recordings;
mod replay;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use program::built::regimeflow;
use program::{Program, ended_within, kill, text, until};
use regimeflow::crash;
use replay::{Outcome, Replay};

fn is_soak() -> bool {
    std::env::var_os("REGIMEFLOW_SOAK").is_some()
}

type Case = Replay<tempfile::TempDir>;

fn case(frames: &Path, speed: &str) -> Case {
    Replay::new(tempfile::tempdir().unwrap(), frames, speed, "snapshot_every_s = 1\nfsync_ms = 20").unwrap()
}

impl Case {
    fn start(&self, workers: usize, crash_at: Option<&str>) -> Child {
        let mut command = self.command(&Program::built(), workers, crash_at);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(self.path("stderr")).unwrap()).spawn().unwrap()
    }

    /// What the last start said.
    fn said(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap()
    }

    /// Runs it to its end.
    fn finish(&self, workers: usize) {
        let status = self.start(workers, None).wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
    }

    fn has_snapshot(&self) -> bool {
        let names = std::fs::read_dir(self.path("journal")).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name().into_string().unwrap()).any(|name| name.ends_with(".manifest"))
    }
}

fn market(dir: &Path) -> PathBuf {
    Program::built().market(dir, "--seed 5 --symbols 3 --hours 6 --bursts-per-day 40").unwrap()
}

/// What comes of it when it is left alone.
fn unbroken(frames: &Path) -> Outcome {
    let case = case(frames, "max");
    case.finish(1);
    case.outcome(&Program::built()).unwrap()
}

/// The same of a market, of which something is told.
fn unbroken_market(frames: &Path) -> Outcome {
    let outcome = unbroken(frames);
    assert!(!outcome.1.is_empty(), "something is told");
    outcome
}

fn check_same(case: &Case, expected: &Outcome, why: &str) {
    let (hash, told) = case.outcome(&Program::built()).unwrap();
    assert_eq!(hash, expected.0, "{why}: the dump");
    assert_eq!(told, expected.1, "{why}: what was told");
}

/// So many crashes one after the other before it is run to its end.
const LIVES: usize = 6;

#[test]
fn every_crash_point_is_survived() {
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let frames = market(dir.path());
    let expected = unbroken_market(&frames);
    let (mut missed, mut workers) = (Vec::new(), [1, 2, 4].into_iter().cycle());
    for points in crash::POINTS.chunks(LIVES) {
        let mut case = case(&frames, "400");
        // There must be something to restore.
        case.start(1, Some("keeper: told#150")).wait().unwrap();
        for point in points {
            // In the middle of it: some points are passed hundreds of times.
            let times = match *point {
                "restore: a record read" => 20,
                point if ["opened", "snapshot", "restore"].iter().any(|once| point.contains(once)) => 1,
                _ => 40,
            };
            let at = format!("{point}#{times}");
            let status = case.start(workers.next().unwrap(), Some(&at)).wait().unwrap();
            missed.extend(status.signal().is_none().then_some(at));
        }
        case.speed = "max".into();
        case.finish(workers.next().unwrap());
        check_same(&case, &expected, &points.join(", "));
    }
    assert!(missed.is_empty(), "never passed: {missed:?}");
}

fn check_random_kills(frames: &Path, speed: &str, seconds: f64, kills: u64) {
    let expected = unbroken_market(frames);
    let seed = std::env::var("REGIMEFLOW_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    println!("REGIMEFLOW_SEED={seed}");
    let case = case(frames, speed);
    let (mut state, mut done, mut with_snapshot) = (seed, 0, 0);
    for n in 0..kills {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let alive = Duration::from_secs_f64(0.3 + seconds * (state >> 40) as f64 / (1u64 << 24) as f64);
        let mut child = case.start([1, 2, 4][n as usize % 3], None);
        if ended_within(&mut child, alive).is_some_and(|status| status.success()) {
            break;
        }
        kill(&mut child);
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
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let kills = std::env::var("REGIMEFLOW_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills = kills.unwrap_or(if is_soak() { 200 } else { 8 });
    check_random_kills(&market(dir.path()), "400", 3.2, kills);
}

#[test]
fn kills_leave_no_trace_in_a_recording() {
    let Some(path) = recordings::find("wire/binance-usdm-20240808.frames.zst") else { return };
    let Some(_engine) = engine::alone() else { return };
    let expected = unbroken(&path);
    let mut case = case(&path, "60");
    for (n, after_ms) in [900u64, 1_700, 2_600, 1_300].into_iter().enumerate() {
        let mut child = case.start([1, 4, 2, 1][n], None);
        std::thread::sleep(Duration::from_millis(after_ms));
        kill(&mut child);
    }
    case.speed = "max".into();
    case.finish(4);
    check_same(&case, &expected, "a recording");
}

/// A snapshot of other settings is no use, but the records of the last day are.
#[test]
fn views_are_made_again_after_a_change_of_the_configuration() {
    let Some(_engine) = engine::alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let frames = market(dir.path());
    let expected = unbroken_market(&frames);
    let case = case(&frames, "12000");
    let status = case.start(1, Some("snapshot: committed")).wait().unwrap();
    assert!(status.signal().is_some() && case.has_snapshot(), "{status}");
    // It counts only where there are more symbols than here.
    let config = std::fs::read_to_string(case.path("config.toml")).unwrap();
    std::fs::write(case.path("config.toml"), format!("{config}[views.correlation]\npairs_up_to = 19\n")).unwrap();
    case.finish(2);
    assert!(case.said().contains("of another configuration"), "{}", case.said());
    check_same(&case, &expected, "another configuration");
}

#[test]
fn a_second_process_is_told_who_has_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let frames = market(dir.path());
    let journal = dir.path().join("journal");
    let replay = || {
        let mut command = regimeflow(&["replay", text(&frames), "--store", "none", "--no-alerts", "--speed", "200"]);
        command.arg("--journal").arg(&journal).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut first = replay().spawn().unwrap();
    let lock = journal.join("journal.lock");
    until(Duration::from_secs(20), || !std::fs::read_to_string(&lock).unwrap_or_default().is_empty());
    let second = replay().output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&first.id().to_string()), "{said}");
    kill(&mut first);
}
