//! Lane 1: a replay with a journal, hurt at random, ends with the answers of one that was left alone.
//!
//! Round after round: a market is simulated and replayed twice, at full speed undisturbed, and slowly with faults. Both dumps have one sha256,
//! and both webhooks' receivers got the same events (id, status, type).

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use regimeflow::crash;

use crate::Lane;
use crate::chance::Chance;
use crate::program::{Program, signal};
use crate::replay::Replay;
use crate::running::{Running, engine_of, tail};
use crate::verdict::{Finding, listed};

const HOURS: f64 = 6.0;

/// At which passing of a crash point the replay ends there, at the latest.
fn times_max(point: &str) -> u64 {
    match point {
        "journal: opened" | "restore: snapshot read" | "restore: done" => 1,
        "restore: a record read" => 50,
        _ if point.starts_with("snapshot") => 3,
        _ if point.starts_with("store") => 20,
        _ => 400,
    }
}

type Case = Replay<PathBuf>;

fn case(dir: PathBuf, frames: &Path, speed: &str) -> anyhow::Result<Case> {
    std::fs::create_dir_all(&dir)?;
    Ok(Replay::new(dir, frames, speed, "snapshot_every_s = 5\nfsync_ms = 50")?)
}

impl Case {
    fn log(&self) -> PathBuf {
        self.path("stderr")
    }

    fn start(&self, program: &Program, workers: usize, crash_at: Option<&str>) -> anyhow::Result<Running> {
        Running::start(&mut self.command(program, workers, crash_at), &self.log())
    }
}

/// Until the time is up; a round that has begun is ended (with full speed, if time is short).
pub fn run(program: &Program, dir: &Path, seed: u64, length: Duration, lane: &Lane) -> Vec<Finding> {
    let mut chance = Chance::new(seed);
    let (begun, mut rounds, mut same, mut wrong) = (Instant::now(), 0, 0, Vec::new());
    let round = Duration::from_secs_f64((length.as_secs_f64() / 4.0).clamp(40.0, 300.0));
    while begun.elapsed() + round / 2 < length && wrong.len() < 3 {
        rounds += 1;
        let dir = dir.join(format!("round{rounds}"));
        match play(program, &dir, &mut chance, round.min(length.saturating_sub(begun.elapsed())), rounds, lane) {
            Ok(()) => {
                same += 1;
                let _ = std::fs::remove_dir_all(&dir); // room for the next; what went wrong is kept
            }
            Err(error) => {
                println!("exact  round {rounds}: {error:#}");
                wrong.push(format!("round {rounds}: {error}"));
            }
        }
    }
    let faults = lane.faults();
    let found = if wrong.is_empty() { format!("{same} of {rounds} rounds the same") } else { wrong.join("; ") };
    vec![
        Finding { lane: "exact", what: "O1: dump and what was told".into(), found, passed: Some(rounds > 0 && wrong.is_empty()) },
        Finding { lane: "exact", what: "faults".into(), found: listed(&faults), passed: None },
        Finding { lane: "exact", what: "restarts".into(), found: lane.count("restarts").to_string(), passed: None },
    ]
}

fn play(program: &Program, dir: &Path, chance: &mut Chance, round: Duration, number: u64, lane: &Lane) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let seed = chance.below(1 << 32);
    lane.say(format!("round {number}: undisturbed, market {seed}"));
    let frames = program.market(dir, &format!("--seed {seed} --symbols 3 --hours {HOURS} --bursts-per-day 40"))?;
    let whole = case(dir.join("whole"), &frames, "max")?;
    let status =
        whole.start(program, 1, None)?.wait(Duration::from_secs(600)).context("the undisturbed replay takes more than 10 min")?;
    ensure!(status.success(), "the undisturbed replay: {status}\n    {}", tail(&whole.log()));
    let expected = whole.outcome(program)?;
    ensure!(!expected.1.is_empty(), "market {seed} tells nothing");

    let hurt = case(dir.join("hurt"), &frames, &format!("{:.0}", HOURS * 3_600.0 / round.as_secs_f64()))?;
    disturb(program, &hurt, chance, round, number, lane)?;
    let (hash, told) = hurt.outcome(program)?;
    ensure!(hash == expected.0, "market {seed}: dump {hash}, undisturbed {}", expected.0);
    let (missing, more): (Vec<_>, Vec<_>) = (expected.1.difference(&told).collect(), told.difference(&expected.1).collect());
    ensure!(missing.is_empty() && more.is_empty(), "market {seed}: not told {missing:?}; told without need {more:?}");
    Ok(())
}

/// Replays it to its end, with faults.
fn disturb(program: &Program, case: &Case, chance: &mut Chance, round: Duration, number: u64, lane: &Lane) -> anyhow::Result<()> {
    let mean = (round.as_secs_f64() / 8.0).clamp(5.0, 30.0);
    let (begun, mut starts, mut strange) = (Instant::now(), 0u64, 0);
    loop {
        let workers = chance.one(&[1, 2, 4]);
        let crash = (chance.below(3) == 0).then(|| chance.one(&crash::POINTS));
        let crash = crash.map(|point| format!("{point}#{}", 1 + chance.below(times_max(point))));
        let mut child = case.start(program, workers, crash.as_deref())?;
        starts += 1;
        lane.say(format!(
            "round {number}: start {starts}, {workers} workers, {:.0} s of {:.0}",
            begun.elapsed().as_secs_f64(),
            round.as_secs_f64()
        ));
        let status = live(&mut child, case, chance, mean, lane);
        match (status.success(), status.signal()) {
            (true, _) => return Ok(()),
            (false, Some(6)) => lane.fault("crash point"),
            (false, Some(_)) => {} // our kill
            (false, None) => {
                strange += 1;
                let said = format!("{status} after start {starts}: {}", tail(&case.log()));
                ensure!(strange < 3, "the replay fails: {said}");
                lane.fault("odd exit");
                println!("exact  {said}");
            }
        }
        lane.fault_quietly("restarts");
        ensure!(begun.elapsed() < round * 6 + Duration::from_secs(300), "it doesn't come to its end: {starts} starts");
    }
}

/// One life of the replay.
fn live(child: &mut Running, case: &Case, chance: &mut Chance, mean: f64, lane: &Lane) -> std::process::ExitStatus {
    loop {
        if let Some(status) = child.wait(chance.secs(mean * 0.3, mean * 1.7)) {
            return status;
        }
        let engine = engine_of(&case.path("store"));
        match (chance.below(10), engine) {
            (0..=1, Some(engine)) => {
                lane.fault("engine killed");
                signal(engine, "KILL");
            }
            (2..=3, Some(engine)) => pause(engine, "engine stopped", chance, lane),
            (4, _) => pause(child.pid(), "replay stopped", chance, lane),
            _ => {
                lane.fault("kill -9");
                child.kill();
            }
        }
    }
}

fn pause(pid: u32, kind: &str, chance: &mut Chance, lane: &Lane) {
    lane.fault(kind);
    signal(pid, "STOP");
    std::thread::sleep(chance.secs(1.0, 8.0));
    signal(pid, "CONT");
}
