//! `make soak`: random faults for as long as asked, and a verdict.
//!
//! Two lanes beside each other: [`exact`] says whether a replay that is hurt ends with the answers of one that isn't; [`live`] whether a live run keeps its
//! lag, its memory and its word. `--mode burst` is a third one, four minutes of its own ([`burst`]). The program under test is the built binary,
//! as processes ([`program`], as in the tests); a seed gives the same markets and the same choice of faults, not the same instants.
//!
//! Limits: Linux (it reads `/proc`); one machine, one disk; it can't pull the plug.

#![allow(missing_docs)] // a program, and nobody's library

mod after;
mod burst;
mod chance;
mod exact;
#[path = "../../tests/hook/mod.rs"]
mod hook;
mod live;
#[path = "../../tests/program/mod.rs"]
mod program;
#[path = "../../tests/replay/mod.rs"]
mod replay;
mod running;
mod venue;
mod verdict;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};

use program::Program;
use verdict::{Finding, Tally};

#[derive(Parser)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Default: of the clock.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    mode: Mode,
    /// The program under test.
    #[arg(long, default_value = "target/ci/regimeflow")]
    bin: PathBuf,
    /// Where everything lies; kept if something failed. Default: a directory of temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Both,
    Exact,
    Live,
    Burst,
}

/// What a lane says while it is at it.
#[derive(Default)]
pub struct Lane(Mutex<Said>);

#[derive(Default)]
struct Said {
    line: String,
    faults: Tally,
    quiet: Tally,
}

impl Lane {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the minute's line.
    pub fn say(&self, line: String) {
        self.said().line = line;
    }

    pub fn fault(&self, kind: &str) {
        *self.said().faults.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn fault_quietly(&self, kind: &str) {
        *self.said().quiet.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn faults(&self) -> Tally {
        self.said().faults.clone()
    }

    pub fn count(&self, kind: &str) -> u64 {
        self.said().quiet.get(kind).copied().unwrap_or(0)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let path = args.bin.canonicalize().map_err(|error| anyhow::anyhow!("{}: {error}; make build", args.bin.display()))?;
    let (program, length) = (Program { path }, Duration::from_secs_f64(args.minutes * 60.0));
    let of_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() % 1_000_000);
    let seed = args.seed.unwrap_or_else(of_clock);
    let dir = args.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("regimeflow-soak-{seed}")));
    println!("soak: SEED={seed}, {} minutes, in {}", args.minutes, dir.display());
    std::fs::create_dir_all(&dir)?;

    let (exact, live, begun) = (Lane::default(), Lane::default(), Instant::now());
    let has = |modes: &[Mode]| modes.contains(&args.mode);
    let failed = |lane: &'static str, error: anyhow::Error| {
        vec![Finding { lane, what: "it could not go on".into(), found: format!("{error:#}"), passed: Some(false) }]
    };
    let findings = std::thread::scope(|scope| {
        let mut lanes = Vec::new();
        if has(&[Mode::Both, Mode::Exact]) {
            lanes.push(scope.spawn(|| exact::run(&program, &dir.join("exact"), seed, length, &exact)));
        }
        if has(&[Mode::Both, Mode::Live]) {
            lanes.push(
                scope.spawn(|| live::run(&program, &dir.join("live"), seed, length, &live).unwrap_or_else(|e| failed("live", e))),
            );
        }
        if args.mode == Mode::Burst {
            lanes.push(
                scope.spawn(|| burst::run(&program, &dir.join("burst"), seed, &live).unwrap_or_else(|e| failed("burst", e))),
            );
        }
        let mut next = Duration::from_secs(60);
        while !lanes.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(200));
            if begun.elapsed() >= next {
                next += Duration::from_secs(60);
                let minutes = begun.elapsed().as_secs() / 60;
                println!("{minutes:3} min | exact: {} | live: {}", exact.said().line, live.said().line);
            }
        }
        let died = || vec![Finding { lane: "soak", what: "a lane".into(), found: "panicked".into(), passed: Some(false) }];
        lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_else(|_| died())).collect::<Vec<_>>()
    });
    let (table, passed) = verdict::table(&findings);
    std::fs::write(dir.join("verdict.json"), serde_json::to_vec_pretty(&after::json(&findings))?)?;
    println!(
        "\n{table}\nSEED={seed} {:.1} min: {}",
        begun.elapsed().as_secs_f64() / 60.0,
        if passed { "passed" } else { "FAILED" }
    );
    if passed {
        for lane in ["exact", "live", "burst"] {
            let _ = std::fs::remove_dir_all(dir.join(lane)); // some were not
        }
    } else {
        println!("what it left: {}", dir.display());
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
