//! The mock venue as a process: it plays a simulated market whose time is that of the wall, and goes wrong in one way or another.
//!
//! A restart goes on with the market of that moment, as a venue does: what it would have sent meanwhile is lost to us.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::chance::Chance;
use crate::program::{Program, text};
use crate::running::Running;

/// See the module.
pub struct Venue {
    program: Program,
    dir: PathBuf,
    pub port: u16,
    /// The whole market: time of receipt, line.
    lines: Vec<(i64, String)>,
    running: Option<Running>,
}

pub fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

impl Venue {
    /// Simulates a market from this minute on.
    pub fn new(program: &Program, dir: &Path, seed: u64, hours: f64) -> anyhow::Result<Self> {
        let start =
            chrono::DateTime::from_timestamp(now_ns() / 60_000_000_000 * 60, 0).context("the clock is beyond all calendars")?;
        let start = start.format("%FT%TZ");
        let settings =
            format!("--seed {seed} --symbols 2 --hours {hours:.2} --start {start} --trades-per-second 5 --bursts-per-day 96");
        let out = program.market(dir, &settings)?;
        let log = BufReader::new(zstd::Decoder::new(std::fs::File::open(&out)?)?);
        let line = |line: std::io::Result<String>| -> anyhow::Result<(i64, String)> {
            let line = line?;
            let time = line.split('\t').next().and_then(|time| time.parse().ok()).context("a line of the market has no time")?;
            Ok((time, line))
        };
        let lines = log.lines().map(line).collect::<anyhow::Result<Vec<_>>>()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { program: program.clone(), dir: dir.to_owned(), port, lines, running: None })
    }

    /// Ends the one that plays, and plays from that time of the market on.
    pub fn play(&mut self, from_ns: i64, speed: f64, faults: &[String]) -> anyhow::Result<()> {
        self.stop();
        let path = self.dir.join("tail.frames.zst");
        let from = self.lines.partition_point(|(time, _)| *time < from_ns);
        let mut out = zstd::Encoder::new(std::fs::File::create(&path)?, 1)?;
        for (_, line) in &self.lines[from..] {
            writeln!(out, "{line}")?;
        }
        out.finish()?;
        let (listen, speed) = (format!("127.0.0.1:{}", self.port), speed.to_string());
        let mut command = self.program.command(&["mock-venue", text(&path), "--listen", &listen, "--speed", &speed]);
        command.args(["--patience-secs", "3"]);
        for fault in faults {
            command.args(["--fault", fault.as_str()]);
        }
        self.running = Some(Running::start(&mut command, &self.dir.join("venue.stderr"))?);
        Ok(())
    }

    pub fn stop(&mut self) {
        self.running = None; // dropping kills
    }

    /// It plays, but for its own failure.
    pub fn ended(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.ended().is_some())
    }

    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// The last time of the market.
    pub fn end_ns(&self) -> i64 {
        self.lines.last().map_or(0, |(time, _)| *time)
    }
}

/// A fault's name and its spec.
pub fn random_fault(chance: &mut Chance) -> (&'static str, String) {
    let after = 20 + chance.below(200);
    match chance.below(12) {
        0 => ("close", format!("drop:after={after},how=close,lose=true")),
        1 => ("rst", format!("drop:after={after},how=rst,lose=true,times=2")),
        2 => ("cut", format!("drop:after={after},how=cut,lose=true")),
        3 => ("half-open", format!("half-open:after={after}")),
        4 => ("silent", format!("silent:stream={},after=5", chance.one(&["btcusdt@aggTrade", "publicTrade.BTCUSDT"]))),
        5 => ("garbage", format!("garbage:every={}", 3 + chance.below(10))),
        6 => ("oversize", format!("oversize:after={after}")),
        7 => ("refuse", format!("refuse:status={},times=3", chance.one(&[429, 500, 503]))),
        8 => ("burst", format!("burst:frames={}", 2_000 + chance.below(8_000))),
        9 => ("duplicates", "duplicate:percent=30".into()),
        10 => ("reorder", format!("reorder:within={}", 2 + chance.below(20))),
        _ => ("ack-only", "ack-only:times=1".into()),
    }
}

/// How long a fault of the venue can be felt at most: a dead connection is noticed after half a minute.
pub const FELT_MAX: Duration = Duration::from_secs(35);
