//! The burst (catalogue F9): a venue sends fifty times as much as usual for a minute; memory stays bounded, and the lag is gone in time.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Lane;
use crate::live::Live;
use crate::venue::now_ns;
use crate::verdict::Finding;

const TIMES: f64 = 50.0;
const LENGTH: Duration = Duration::from_secs(60);
const USUAL: Duration = Duration::from_secs(45);
const BACK_WITHIN: Duration = Duration::from_secs(120);
const BACK_BELOW_MS: u64 = 1_000;
/// MiB more than before.
const MORE_MAX: f64 = 512.0;

/// Four minutes.
pub fn run(program: &crate::program::Program, dir: &Path, seed: u64, lane: &Lane) -> anyhow::Result<Vec<Finding>> {
    let mut live = Live::new(program, dir, seed, (TIMES * LENGTH.as_secs_f64() + 600.0) / 3_600.0)?;
    let from = now_ns();
    live.venue.play(from, 1.0, &[])?;
    live.start_run(2)?;
    watch(&mut live, USUAL, "usual", lane)?;
    let before = live.watch.newest().map_or(0.0, |sample| sample.rss_mib);
    let market = from + USUAL.as_nanos() as i64;
    live.venue.play(market, TIMES, &[])?;
    let burst = Instant::now();
    watch(&mut live, LENGTH, "burst", lane)?;
    let after = market + (LENGTH.as_nanos() as f64 * TIMES) as i64;
    anyhow::ensure!(after < live.venue.end_ns(), "the market was too short for the burst");
    live.venue.play(after, 1.0, &[])?;
    let over = Instant::now();
    watch(&mut live, BACK_WITHIN, "after it", lane)?;
    let samples = &live.watch.samples;
    let late = |ms: u64| ms >= BACK_BELOW_MS;
    let back = samples.iter().rev().find(|s| s.at >= over && late(s.lag_ms)).map_or(Duration::ZERO, |s| s.at - over);
    let (peak, worst) = samples.iter().fold((0.0f64, 0), |(rss, lag), s| (rss.max(s.rss_mib), lag.max(s.lag_max_ms)));
    let intake = samples.iter().filter(|s| s.at >= burst).map(|s| s.intake_max_ms).max().unwrap_or(0);
    live.stop_run();
    live.watch.read_log(false);
    let errors = crate::verdict::listed(&live.watch.unexplained);
    let one = |what: &str, found: String, passed: bool| Finding { lane: "burst", what: what.into(), found, passed: Some(passed) };
    Ok(vec![
        one("memory", format!("{before:.0} MiB before, {peak:.0} at most"), peak - before < MORE_MAX),
        one(
            "lag",
            format!("{worst} ms at most, intake {intake}; below 1 s again after {:.0} s", back.as_secs_f64()),
            back < BACK_WITHIN - Duration::from_secs(5),
        ),
        one("ERROR lines", errors.clone(), errors == "none"),
        one(
            "exits",
            if live.strange.is_empty() { "as asked for".into() } else { live.strange.join("; ") },
            live.strange.is_empty(),
        ),
    ])
}

fn watch(live: &mut Live, time: Duration, what: &str, lane: &Lane) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        live.tick(lane)?;
        if let Some(sample) = live.watch.newest() {
            lane.say(format!(
                "{what} {} s: lag {} ms, intake {}, {:.0} MiB",
                begun.elapsed().as_secs(),
                sample.lag_ms,
                sample.intake_max_ms,
                sample.rss_mib
            ));
        }
    }
    Ok(())
}
