//! All pairs of many symbols for one more bar: sums, r, z against each pair's baseline, first eigenvector, on one core.
//!
//! The market has one factor, five groups and noise of its own for each symbol, as fixed by a seed. Every figure of every pair is worked out at each bar, more than the
//! views need, which look at z only where it is written, sampled or watched.

use std::time::Instant;

use clap::Args;
use dataflows::correlations::{CrossProducts, first, fisher_z, units};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use super::{median, print, print_json, report};

/// Arguments of `bench correlation`.
#[derive(Debug, Args)]
pub struct CorrelationArgs {
    /// Symbols in the market.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=1_024))]
    symbols: u32,
    /// Bars of the window.
    #[arg(long, default_value_t = 288, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    window: u32,
    /// Bars that are timed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bars: u32,
    /// Share of returns that are missing.
    #[arg(long, default_value_t = 0.0)]
    missing: f64,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Medians over bars, milliseconds.
#[derive(Debug, Serialize)]
struct Figures {
    symbols: u32,
    pairs: usize,
    window: u32,
    sums_ms: f64,
    r_ms: f64,
    baseline_z_ms: f64,
    eigenvector_ms: f64,
    eigenvector_products: f64,
    bar_ms: f64,
    absorption_ratio: f64,
}

/// Runs the command.
///
/// # Errors
/// If the result can't be printed.
pub fn run(args: &CorrelationArgs) -> anyhow::Result<()> {
    let figures = measure(args);
    if args.json {
        return print_json(&figures);
    }
    let row = |what: &str, value: f64| vec![what.to_owned(), format!("{value:.3}")];
    let rows = [
        row("running sums of products, ms", figures.sums_ms),
        row("r of all pairs, ms", figures.r_ms),
        row("z against the baseline, ms", figures.baseline_z_ms),
        row("first eigenvector, ms", figures.eigenvector_ms),
        row("a bar, ms", figures.bar_ms),
    ];
    print(&format!(
        "{} symbols, {} pairs, window of {} bars; {:.0} products for an eigenvector, absorption ratio {:.3}\n{}\n",
        figures.symbols,
        report::grouped(figures.pairs as i128),
        figures.window,
        figures.eigenvector_products,
        figures.absorption_ratio,
        report::table(&["median of one bar", ""], rows),
    ))
}

fn measure(args: &CorrelationArgs) -> Figures {
    let symbols = args.symbols as usize;
    let (window, total) = (args.window as usize, (args.window + args.bars) as usize);
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(7);
    let market: Vec<Vec<i32>> = (0..total).map(|_| bar(&mut chance, symbols, args.missing)).collect();
    let among: Vec<usize> = (0..symbols).collect();
    let joint_min = (args.window * 4).div_ceil(5);
    // Each pair's own mean and deviation, as the view keeps them for a day.
    let baselines: Vec<(f64, f64)> = (0..symbols * (symbols - 1) / 2).map(|i| (0.5 + (i % 7) as f64 / 50.0, 0.2)).collect();

    let mut products = CrossProducts::default();
    products.grow(symbols);
    let (mut triangle, mut z) = (Vec::new(), vec![0.0; baselines.len()]);
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut steps = Vec::new();
    let mut absorption_ratio = f64::NAN;
    for (at, row) in market.iter().enumerate() {
        let begun = Instant::now();
        products.exchange(row, at.checked_sub(window).map_or(&[], |gone| &market[gone]));
        if at < window {
            continue;
        }
        let summed = Instant::now();
        products.triangle(&among, joint_min, &mut triangle);
        let correlated = Instant::now();
        for ((z, &r), &(mean, deviation)) in z.iter_mut().zip(&triangle).zip(&baselines) {
            *z = (fisher_z(r) - mean) / f64::max(deviation, 0.15);
        }
        std::hint::black_box(&z);
        let compared = Instant::now();
        let eigen = first(symbols, &triangle);
        let ended = Instant::now();
        let spans = [summed - begun, correlated - summed, compared - correlated, ended - compared, ended - begun];
        times.iter_mut().zip(spans).for_each(|(times, span)| times.push(span.as_secs_f64() * 1e3));
        if let Some(eigen) = eigen {
            absorption_ratio = eigen.value / symbols as f64;
            steps.push(eigen.steps as f64);
        }
    }
    let [sums_ms, r_ms, baseline_z_ms, eigenvector_ms, bar_ms] = times.map(median);
    Figures {
        symbols: args.symbols,
        pairs: baselines.len(),
        window: args.window,
        sums_ms,
        r_ms,
        baseline_z_ms,
        eigenvector_ms,
        eigenvector_products: median(steps),
        bar_ms,
        absorption_ratio,
    }
}

fn bar(chance: &mut Xoshiro256PlusPlus, symbols: usize, missing: f64) -> Vec<i32> {
    let mut normal = || -> f64 { StandardNormal.sample(chance) };
    let (market, groups): (f64, [f64; 5]) = (normal(), std::array::from_fn(|_| normal()));
    (0..symbols)
        .map(|i| {
            let own = normal();
            let is_missing = missing > 0.0 && (normal().abs() * 1e4).fract() < missing;
            let value = 0.001 * (market + 0.5 * groups[i % 5] + 0.9 * own);
            if is_missing { dataflows::correlations::ABSENT } else { units(value) }
        })
        .collect()
}
