//! Lane 2: a live run against a venue that goes wrong, with a store that dies and stands still, killed in the first half of the time.
//!
//! In the second half `run` lives on, so that its memory and files can be watched; in the last stretch nothing is hurt, so that everything may
//! come to rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::Lane;
use crate::after;
use crate::chance::Chance;
use crate::hook::Hook;
use crate::program::market::feeds;
use crate::program::{Program, signal, text};
use crate::running::{Running, engine_of, tail};
use crate::venue::{FELT_MAX, Venue, now_ns, random_fault};
use crate::verdict::Finding;
use crate::watch::Watch;

/// A fault is over for so long before lag is judged.
const REST: Duration = Duration::from_secs(30);
/// ERROR lines so long after a fault are its.
const EXPLAINS: Duration = Duration::from_secs(75);
const TICK: Duration = Duration::from_millis(200);

/// A live run's places, and how it goes.
pub struct Live {
    pub program: Program,
    pub dir: PathBuf,
    pub hook: Hook,
    pub venue: Venue,
    pub watch: Watch,
    run: Option<Running>,
    chance: Chance,
    /// Until when a fault is felt.
    felt_until: Instant,
    /// Something that is undone then: a process that stands still, a venue that is away.
    undo: Option<(Instant, Undo)>,
    pub strange: Vec<String>,
    /// How long a start took until its first status, ms.
    pub starts_ms: Vec<u64>,
    started: Option<Instant>,
    pub stops_ms: Vec<u64>,
}

enum Undo {
    Continue(u32),
    Venue,
}

impl Live {
    pub fn new(program: &Program, dir: &Path, seed: u64, hours: f64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (hook, venue) = (Hook::start()?, Venue::new(program, dir, seed, hours)?);
        let feeds = feeds(&format!("127.0.0.1:{}", venue.port), "backoff_ms_max = 2000\n");
        let config = format!("[time]\nskew_ms_max = 0\n[journal]\nsnapshot_every_s = 20\n{}{feeds}", hook.config());
        std::fs::write(dir.join("config.toml"), config)?;
        let watch = Watch::new(&dir.join("store/journal"), &dir.join("stderr"));
        Ok(Self {
            program: program.clone(),
            dir: dir.to_owned(),
            hook,
            venue,
            watch,
            run: None,
            chance: Chance::new(seed),
            felt_until: Instant::now() + REST,
            undo: None,
            strange: Vec::new(),
            starts_ms: Vec::new(),
            started: None,
            stops_ms: Vec::new(),
        })
    }

    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub fn start_run(&mut self, workers: usize) -> anyhow::Result<()> {
        let [config, store] = ["config.toml", "store"].map(|name| self.dir.join(name));
        let workers = workers.to_string();
        let args = ["run", "--config", text(&config), "--store", text(&store), "--workers", &workers, "--json"];
        self.run = Some(Running::start(&mut self.program.command(&args), &self.dir.join("stderr"))?);
        self.started = Some(Instant::now());
        Ok(())
    }

    pub fn pid(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| u64::from(run.pid()))
    }

    fn felt_for(&mut self, time: Duration) {
        self.felt_until = self.felt_until.max(Instant::now() + time);
    }

    /// Looks, and starts again what should run.
    pub fn tick(&mut self, lane: &Lane) -> anyhow::Result<()> {
        std::thread::sleep(TICK);
        let now = Instant::now();
        if let Some((until, _)) = &self.undo
            && now >= *until
            && let Some((_, undo)) = self.undo.take()
        {
            self.undone(undo)?;
        }
        if self.venue.ended() {
            self.strange.push("the mock venue ended by itself".into());
            self.venue.play(now_ns(), 1.0, &[])?;
        }
        let ended = self.run.as_mut().and_then(Running::ended);
        if let Some(status) = ended {
            self.strange.push(format!("run ended by itself: {status}: {}", tail(&self.dir.join("stderr"))));
            ensure!(self.strange.len() < 20, "run does not stay up: {}", self.strange.join("\n"));
            lane.fault("odd exit");
            self.start_run(2)?;
            self.felt_for(REST);
        }
        let pid = self.pid();
        let calm = now > self.felt_until && self.undo.is_none();
        if self.watch.look(calm).is_some_and(|sample| sample.pid == pid)
            && let Some(started) = self.started.take()
        {
            self.starts_ms.push(started.elapsed().as_millis() as u64);
            self.felt_for(REST);
        }
        let explained = now < self.felt_until + EXPLAINS - REST || self.undo.is_some();
        self.watch.read_log(explained);
        Ok(())
    }

    fn undone(&mut self, undo: Undo) -> anyhow::Result<()> {
        match undo {
            Undo::Continue(pid) => _ = signal(pid, "CONT"), // it may be gone
            Undo::Venue => self.venue.play(now_ns(), 1.0, &[])?,
        }
        self.felt_for(REST);
        Ok(())
    }

    /// Ends what is going on, so that a process isn't killed while its engine stands still.
    fn undo_now(&mut self) -> anyhow::Result<()> {
        match self.undo.take() {
            Some((_, undo)) => self.undone(undo),
            None => Ok(()),
        }
    }

    /// Something goes wrong. `kills`: `run` may be hurt, too.
    fn hurt(&mut self, kills: bool, stop_max: f64, lane: &Lane) -> anyhow::Result<()> {
        self.undo_now()?;
        match self.chance.below(if kills { 12 } else { 8 }) {
            0 => self.hurt_engine("engine killed", "KILL", None, lane),
            1 => {
                let time = self.chance.secs(3.0, stop_max);
                self.hurt_engine("engine stopped", "STOP", Some(time), lane);
            }
            2 => {
                lane.fault("venue: stands still");
                if let Some(pid) = self.venue.pid() {
                    signal(pid, "STOP");
                    self.undo = Some((Instant::now() + self.chance.secs(3.0, 20.0), Undo::Continue(pid)));
                }
            }
            3 => {
                lane.fault("venue: away");
                self.venue.stop();
                self.undo = Some((Instant::now() + self.chance.secs(2.0, 15.0), Undo::Venue));
            }
            4..=7 => {
                let (name, spec) = random_fault(&mut self.chance);
                lane.fault(&format!("venue: {name}"));
                self.venue.play(now_ns(), 1.0, &[spec])?;
                self.felt_for(FELT_MAX);
            }
            8 => self.end_in_order(lane)?,
            _ => {
                lane.fault("kill -9");
                if let Some(run) = &mut self.run {
                    run.kill();
                }
                self.start_again(lane)?;
            }
        }
        self.felt_for(REST);
        Ok(())
    }

    fn hurt_engine(&mut self, kind: &str, name: &str, back_after: Option<Duration>, lane: &Lane) {
        let Some(pid) = engine_of(&self.store()) else { return };
        lane.fault(kind);
        signal(pid, name);
        self.undo = back_after.map(|time| (Instant::now() + time, Undo::Continue(pid)));
    }

    fn start_again(&mut self, lane: &Lane) -> anyhow::Result<()> {
        lane.fault_quietly("restarts");
        std::thread::sleep(self.chance.secs(0.0, 3.0));
        let workers = self.chance.one(&[1, 2, 4]);
        self.start_run(workers)
    }

    fn end_in_order(&mut self, lane: &Lane) -> anyhow::Result<()> {
        lane.fault("SIGTERM");
        self.stop_run();
        self.start_again(lane)
    }

    /// SIGTERM; how it ended is judged.
    pub fn stop_run(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        let asked = Instant::now();
        signal(run.pid(), "TERM");
        match run.wait(Duration::from_secs(40)) {
            Some(status) if status.success() => {}
            Some(status) => self.strange.push(format!("SIGTERM: {status}: {}", tail(&self.dir.join("stderr")))),
            None => self.strange.push("SIGTERM: it did not end within 40 s".into()),
        }
        self.stops_ms.push(asked.elapsed().as_millis() as u64);
    }
}

/// See the module.
pub fn run(program: &Program, dir: &Path, seed: u64, length: Duration, lane: &Lane) -> anyhow::Result<Vec<Finding>> {
    let mut live = Live::new(program, dir, seed, length.as_secs_f64() / 3_600.0 + 0.4)?;
    let begun = Instant::now();
    let calm_from = length.saturating_sub(Duration::from_secs_f64((length.as_secs_f64() / 4.0).clamp(30.0, 120.0)));
    let mean = (calm_from.as_secs_f64() / 20.0).clamp(8.0, 40.0);
    let stop_max = (length.as_secs_f64() / 12.0).clamp(8.0, 60.0);
    live.venue.play(now_ns(), 1.0, &[])?;
    live.start_run(2)?;
    let mut next = Instant::now() + Duration::from_secs_f64(mean);
    let mut is_calm = false;
    while begun.elapsed() < length {
        live.tick(lane)?;
        let at = begun.elapsed();
        if at >= calm_from {
            if !std::mem::replace(&mut is_calm, true) {
                live.undo_now()?;
                live.venue.play(now_ns(), 1.0, &[])?;
            }
        } else if Instant::now() >= next {
            live.hurt(at < length / 2, stop_max, lane)?;
            // Now and then long enough for lag to be judged in between.
            let pause = if live.chance.below(4) == 0 { REST.as_secs_f64() * 2.0 } else { mean };
            next = Instant::now() + live.chance.secs(pause * 0.4, pause * 1.6);
        }
        if let Some(sample) = live.watch.newest() {
            let (secs, lag, worst) = (at.as_secs(), sample.lag_ms, sample.lag_max_ms);
            lane.say(format!(
                "{secs} s: lag {lag} ms (minute's worst {worst}), {:.0} MiB, {} files, spool {} rows, {} strange",
                sample.rss_mib,
                sample.files,
                sample.spool_rows,
                live.strange.len()
            ));
        }
    }
    let last_pid = live.pid();
    live.tick(lane)?;
    let spool_rows = live.watch.newest().context("run never wrote a status")?.spool_rows;
    live.stop_run();
    live.watch.read_log(false);
    Ok(after::findings(&live, last_pid, spool_rows, lane))
}
