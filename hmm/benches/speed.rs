//! Nanoseconds per step: EM iteration, filter, Viterbi, smoothing. `cargo bench -p hmm --profile ci`; HMM_BENCH_ROWS for T.
#![allow(clippy::unwrap_used, reason = "a bench may fail loudly")]

use hmm::{Covariance, CovarianceKind, DegreesOfFreedom, Emission, Filter, FitConfig, Hmm, Observations};
use ndarray::{Array1, Array2, Array3};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::hint::black_box;
use std::time::Instant;

/// A persistent chain with well-separated Gaussian states, and rows drawn from it.
fn simulated(states: usize, dims: usize, rows: usize) -> (Hmm, Array2<f64>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let stay = 0.97;
    let leave = (1.0 - stay) / (states.max(2) - 1) as f64;
    let transition = Array2::from_shape_fn((states, states), |(i, j)| match (states, i == j) {
        (1, _) => 1.0,
        (_, true) => stay,
        _ => leave,
    });
    let means = Array2::from_shape_fn((states, dims), |(s, i)| ((s * 7 + i * 3) % 5) as f64 * 0.6 - 1.0);
    let emission = Emission::gaussian(means.clone(), Covariance::Diagonal(Array2::ones((states, dims))));
    let model = Hmm::new(Array1::from_elem(states, 1.0 / states as f64), transition, emission).unwrap();
    let mut state = 0;
    let data = Array2::from_shape_fn((rows, dims), |(_, i)| {
        if i == 0 && rng.random::<f64>() > stay {
            state = rng.random_range(0..states);
        }
        // Sum of twelve uniforms: near enough to a Gaussian for a stopwatch.
        means[[state, i]] + (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    });
    (model, data)
}

fn with(model: &Hmm, full: bool, dof: Option<f64>) -> Hmm {
    let (k, d) = (model.states(), model.dims());
    let covariance = if full {
        Covariance::Full(Array3::from_shape_fn((k, d, d), |(_, i, j)| if i == j { 1.0 } else { 0.1 }))
    } else {
        Covariance::Diagonal(Array2::ones((k, d)))
    };
    let means = model.emission().means.clone();
    let emission = match dof {
        Some(dof) => Emission::student_t(means, covariance, dof),
        None => Emission::gaussian(means, covariance),
    };
    Hmm::new(model.start().to_owned(), model.transition().to_owned(), emission).unwrap()
}

/// The best of five, in nanoseconds per step; each is some fifty milliseconds of work, for the processor clock is coarse.
fn best(steps: usize, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    work();
    let repeats = (0.05 / begun.elapsed().as_secs_f64()).ceil().clamp(1.0, 1e5) as usize;
    (0..5).fold(f64::INFINITY, |best, _| {
        let begun = Instant::now();
        let before = on_cpu();
        (0..repeats).for_each(|_| work());
        let wall = begun.elapsed().as_nanos() as f64;
        let nanos = before.zip(on_cpu()).map_or(wall, |(before, after)| (after - before) as f64);
        best.min(nanos / (steps * repeats) as f64)
    })
}

/// Time that this thread had a processor (Linux): fair on a machine that others use too.
fn on_cpu() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn report(states: usize, dims: usize, rows: usize) {
    let (model, data) = simulated(states, dims, rows);
    let observations = Observations::new(data.view()).unwrap();
    let flat = data.as_slice().unwrap();
    for (name, full, dof) in
        [("diag", false, None), ("full", true, None), ("t diag", false, Some(5.0)), ("t full", true, Some(5.0))]
    {
        let model = with(&model, full, dof);
        let fitted = if dof.is_some() { DegreesOfFreedom::Fixed(5.0) } else { DegreesOfFreedom::Gaussian };
        let run = |iterations| {
            let config = FitConfig { tolerance: 0.0, iterations, degrees_of_freedom: fitted, ..FitConfig::new(states) };
            best(rows, || drop(black_box(config.fit_from(&model, &observations).unwrap())))
        };
        // Iterations alone: what eight cost more than two, without the allocation and the checks of a fit.
        let em = (run(10) - run(2)) / 8.0;
        let viterbi = best(rows, || drop(black_box(model.viterbi(&observations).unwrap())));
        let smooth = best(rows, || drop(black_box(model.smoothed(&observations).unwrap())));
        let mut filter = Filter::new(&model).unwrap();
        let filtered = best(rows, || {
            for row in flat.chunks_exact(dims) {
                black_box(filter.step(row).unwrap());
            }
        });
        println!(
            "K={states} D={dims} T={rows} {name:7} em {em:6.1}  filter {filtered:6.1}  viterbi {viterbi:6.1}  smooth {smooth:6.1}"
        );
    }
}

/// Eight starts: per step, iteration and model (the M-step included) where four share the lanes, and a fit as it is by default.
fn starts(states: usize, dims: usize, rows: usize) {
    let (_, data) = simulated(states, dims, rows);
    let observations = Observations::new(data.view()).unwrap();
    for (name, covariance, degrees_of_freedom) in [
        ("diag", CovarianceKind::Diagonal, DegreesOfFreedom::Gaussian),
        ("full", CovarianceKind::Full, DegreesOfFreedom::Gaussian),
        ("t full", CovarianceKind::Full, DegreesOfFreedom::Fixed(5.0)),
    ] {
        let base = FitConfig { covariance, degrees_of_freedom, ..FitConfig::new(states) };
        let run = |iterations| {
            let short = FitConfig {
                tolerance: 0.0,
                iterations,
                short_iterations: iterations,
                starts: 8,
                survivors: 1,
                reseeds: 0,
                ..base.clone()
            };
            best(8 * rows, || drop(black_box(short.fit(&observations).unwrap())))
        };
        let shared = (run(50) - run(10)) / 40.0;
        let whole = best(1, || drop(black_box(base.fit(&observations).unwrap()))) / 1e6;
        println!("K={states} D={dims} T={rows} {name:7} interleaved em {shared:6.1}  whole fit, ten starts {whole:6.1} ms");
    }
}

fn main() {
    let rows = std::env::var("HMM_BENCH_ROWS").ok().and_then(|v| v.parse().ok()).unwrap_or(200_000);
    report(4, 5, rows);
    starts(4, 5, 2_000);
    starts(4, 5, 8_000);
    starts(3, 4, 2_000);
    starts(2, 1, 2_000);
    if std::env::var_os("HMM_BENCH_SHORT").is_some() {
        return;
    }
    report(4, 5, 2_000.min(rows));
    report(3, 4, rows);
    report(2, 1, rows);
    report(8, 8, rows / 4);
    report(4, 6, rows / 4);
}
