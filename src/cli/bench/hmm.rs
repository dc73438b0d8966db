//! `regimeflow bench hmm`: the regime models' speed, each figure beside its target.
//!
//! One thread unless a line says otherwise; time that the thread had a processor (Linux; wall time elsewhere), the median of
//! five windows: that clock ticks coarsely, so a single window may read too little. Other work on the machine still adds, by
//! sharing caches and cores. Rows are drawn from a known persistent model.

use std::hint::black_box;
use std::time::Instant;

use ::hmm::ndarray::{Array1, Array2, Array3};
use ::hmm::{
    Covariance, CovarianceKind, DegreesOfFreedom, Emission, Filter, FitConfig, Hmm, HmmError, Observations, SchmittTrigger,
};
use anyhow::Context;
use clap::Args;
use dataflows::model::Timeframe;
use serde::Serialize;

use super::{print, print_json, report};
use crate::training::{self, Rows, Settings, feature_names, parallel};

/// Arguments of `bench hmm`.
#[derive(Debug, Args)]
pub(super) struct HmmArgs {
    /// Rows of the long series.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    rows: u32,
    /// Models fitted in parallel; the time of 3,000 is told from it.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    models: u32,
    /// Threads that fit them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    threads: u32,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    what: String,
    unit: &'static str,
    value: f64,
    target: Option<f64>,
    within: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Figures {
    states: usize,
    features: usize,
    rows: usize,
    figures: Vec<Figure>,
}

const STATES: usize = 4;
const FEATURES: usize = 5;
const PER_STEP: &str = "ns/step";

pub(super) fn run(args: &HmmArgs) -> anyhow::Result<()> {
    let rows = args.rows as usize;
    let bar = report::progress(12, "{bar:40} {pos} of {len}");
    let mut figures = Vec::new();
    let mut add = |what: &str, unit, value, target: Option<f64>| {
        figures.push(Figure { what: what.into(), unit, value, target, within: target.map(|most| value <= most) });
        bar.inc(1);
    };
    let (diagonal, full) = (market(STATES, FEATURES, false, None)?, market(STATES, FEATURES, true, None)?);
    let (long, _) = diagonal.sample(rows, 7)?;
    let observations = Observations::new(long.view())?;
    add("EM iteration, diagonal", PER_STEP, iteration(&diagonal, &observations)?, Some(25.0));
    add("EM iteration, full", PER_STEP, iteration(&full, &observations)?, Some(30.0));
    for (name, model) in [("diagonal", &diagonal), ("full", &full)] {
        add(&format!("filter, {name}"), PER_STEP, filter(model, &long)?, Some(40.0));
    }
    for (name, model) in [("diagonal", &diagonal), ("full", &full)] {
        let viterbi = typical(rows, || model.viterbi(&observations).map(drop))?;
        add(&format!("Viterbi, {name}"), PER_STEP, viterbi, Some(10.0));
    }
    add("smoothing, full", PER_STEP, typical(rows, || full.smoothed(&observations).map(drop))?, None);
    let (short, _) = diagonal.sample(2_000, 8)?;
    let short = Observations::new(short.view())?;
    for (name, covariance) in [("diagonal", CovarianceKind::Diagonal), ("full", CovarianceKind::Full)] {
        add(
            &format!("eight restarts side by side, {name}, 2,000 rows"),
            "ns/step/model",
            restarts(covariance, &short)?,
            Some(14.0),
        );
    }
    add("3,000 filters and triggers advance by a bar (500 symbols × 6 frames)", "ms", advance(3_000)?, Some(5.0));
    let seconds = fits(args.models as usize, args.threads as usize)?;
    let all = format!("3,000 fits, 2,000 bars, 10 starts, {} threads (from {})", args.threads, args.models);
    add(&all, "s", seconds * 3_000.0 / f64::from(args.models), Some(60.0));
    let seconds = trainings(args.models as usize, args.threads as usize)?;
    let all = format!("3,000 models trained as `model fit` does, 2,000 bars, {} threads (from {})", args.threads, args.models);
    add(&all, "s", seconds * 3_000.0 / f64::from(args.models), Some(60.0));
    bar.finish_and_clear();
    print_figures(&Figures { states: STATES, features: FEATURES, rows, figures }, args.json)
}

fn print_figures(result: &Figures, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(result);
    }
    let line = |figure: &Figure| {
        let target = figure.target.map_or(String::new(), |most| format!("≤ {most:.0}"));
        let verdict = figure.within.map_or("", |within| if within { "yes" } else { "no" });
        vec![figure.what.clone(), format!("{:.1}", figure.value), figure.unit.into(), target, verdict.into()]
    };
    let table = report::table(&["", "measured", "unit", "target", "within"], result.figures.iter().map(line));
    let rows = report::grouped(result.rows as i128);
    print(&format!("{} states, {} features, {rows} rows\n{table}\n", result.states, result.features))
}

/// A persistent chain whose states differ in level.
fn market(states: usize, dims: usize, full: bool, dof: Option<f64>) -> Result<Hmm, HmmError> {
    let (stay, leave) = (0.97, 0.03 / (states - 1) as f64);
    let transition = Array2::from_shape_fn((states, states), |(i, j)| if i == j { stay } else { leave });
    let means = Array2::from_shape_fn((states, dims), |(s, i)| ((s * 7 + i * 3) % 5) as f64 * 0.6 - 1.0);
    let covariance = if full {
        Covariance::Full(Array3::from_shape_fn((states, dims, dims), |(_, i, j)| if i == j { 1.0 } else { 0.1 }))
    } else {
        Covariance::Diagonal(Array2::ones((states, dims)))
    };
    let emission = match dof {
        Some(dof) => Emission::student_t(means, covariance, dof),
        None => Emission::gaussian(means, covariance),
    };
    Hmm::new(Array1::from_elem(states, 1.0 / states as f64), transition, emission)
}

/// What ten iterations cost more than two, so that a fit's checks and allocations don't count.
fn iteration(model: &Hmm, observations: &Observations<'_>) -> anyhow::Result<f64> {
    let run = |iterations| {
        let config = FitConfig { tolerance: 0.0, iterations, ..FitConfig::new(model.states()) };
        typical(observations.len(), || config.fit_from(model, observations).map(drop))
    };
    Ok((run(10)? - run(2)?) / 8.0)
}

/// The same for eight starts of which one is kept.
fn restarts(covariance: CovarianceKind, observations: &Observations<'_>) -> anyhow::Result<f64> {
    let run = |iterations| {
        let base = FitConfig { covariance, starts: 8, survivors: 1, reseeds: 0, ..FitConfig::new(STATES) };
        let config = FitConfig { tolerance: 0.0, iterations, short_iterations: iterations, ..base };
        typical(8 * observations.len(), || config.fit(observations).map(drop))
    };
    Ok((run(50)? - run(10)?) / 40.0)
}

fn filter(model: &Hmm, rows: &Array2<f64>) -> anyhow::Result<f64> {
    let mut filter = Filter::new(model)?;
    let flat = rows.as_slice().context("drawn rows lie in one piece")?;
    typical(rows.nrows(), || {
        for row in flat.chunks_exact(rows.ncols()) {
            black_box(filter.step(row)?);
        }
        Ok::<(), HmmError>(())
    })
}

/// Milliseconds for all filters of the program's default model to take one row and decide.
fn advance(filters: usize) -> anyhow::Result<f64> {
    let model = market(3, 4, true, Some(5.0))?;
    let (rows, _) = model.sample(filters, 9)?;
    let rows: Vec<Vec<f64>> = rows.outer_iter().map(|row| row.to_vec()).collect();
    let mut all = Vec::with_capacity(filters);
    for _ in 0..filters {
        all.push((Filter::new(&model)?, SchmittTrigger::new(0.8, 0.5)?));
    }
    let mut probabilities = [0.0; 3];
    let nanos = typical(1, || {
        for ((filter, trigger), row) in all.iter_mut().zip(&rows) {
            filter.step(row)?;
            filter.probabilities_into(&mut probabilities);
            black_box(trigger.step(&probabilities));
        }
        Ok::<(), HmmError>(())
    })?;
    Ok(nanos / 1e6)
}

/// Seconds for `models` fits of the program's default model, on rows of their own: those of the thread that took longest.
fn fits(models: usize, threads: usize) -> anyhow::Result<f64> {
    let truth = market(3, 4, true, Some(5.0))?;
    let degrees_of_freedom = DegreesOfFreedom::Fixed(5.0);
    let drawn: Vec<Array2<f64>> =
        (0..models.min(64)).map(|n| truth.sample(2_000, n as u64).map(|(rows, _)| rows)).collect::<Result<_, _>>()?;
    let work = |thread: usize| -> Result<f64, HmmError> {
        let clock = Stopwatch::start();
        for n in (thread..models).step_by(threads) {
            let config = FitConfig { degrees_of_freedom, seed: n as u64, ..FitConfig::new(3) };
            black_box(config.fit(&Observations::new(drawn[n % drawn.len()].view())?)?);
        }
        Ok(clock.nanos() / 1e9)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().try_fold(0.0, |longest: f64, thread| match thread.join() {
            Ok(seconds) => Ok(longest.max(seconds?)),
            Err(_) => anyhow::bail!("a fit panicked"),
        })
    })
}

/// Seconds for all that makes a model file: score on the held-out fifth, fit, labels, drift's reference. Settings as `model fit` has them.
/// Wall time.
fn trainings(models: usize, threads: usize) -> anyhow::Result<f64> {
    let truth = market(3, 4, true, Some(5.0))?;
    let settings = Settings::new(feature_names("trend")?);
    let rows = |n: usize| -> Result<Rows, HmmError> {
        let (values, _) = truth.sample(2_000, n as u64)?;
        let ts = (0..2_000).map(|bar| bar * 14_400_000).collect();
        let returns = values.column(0).to_vec();
        Ok(Rows { target: "drawn".into(), timeframe: Timeframe::H4, ts, values, returns })
    };
    let drawn: Vec<Rows> = (0..models.min(64)).map(rows).collect::<Result<_, _>>()?;
    let jobs: Vec<&Rows> = (0..models).map(|n| &drawn[n % drawn.len()]).collect();
    let begun = Instant::now();
    let mut failed = None;
    parallel::run(
        &jobs,
        threads,
        |rows| training::fit(rows, &settings, None),
        |_, answer| failed = answer.err().or(failed.take()),
    );
    failed.map_or(Ok(begun.elapsed().as_secs_f64()), |error| Err(error.into()))
}

/// Nanoseconds per step, the median of five windows of some hundred milliseconds.
fn typical<E: Into<anyhow::Error>>(steps: usize, mut work: impl FnMut() -> Result<(), E>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    work().map_err(Into::into)?;
    let repeats = (0.1 / begun.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e5) as usize;
    let mut windows = Vec::with_capacity(5);
    for _ in 0..5 {
        let clock = Stopwatch::start();
        for _ in 0..repeats {
            work().map_err(Into::into)?;
        }
        windows.push(clock.nanos() / (steps * repeats) as f64);
    }
    Ok(super::median(windows))
}

/// Time that this thread has had a processor, where the system tells (and its clock has ticked); else wall time.
struct Stopwatch {
    wall: Instant,
    processor: Option<u64>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: Self::processor() }
    }

    fn nanos(&self) -> f64 {
        let own = self.processor.zip(Self::processor()).map(|(before, after)| after.saturating_sub(before));
        own.filter(|nanos| *nanos > 0).map_or_else(|| self.wall.elapsed().as_nanos() as f64, |nanos| nanos as f64)
    }

    fn processor() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }
}
