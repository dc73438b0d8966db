//! The walk-forward tables: Nasdaq-100 by model, quarterly refits of 4h bars, regimes of 1h bars by model.
//! `cargo run -p hmm --profile ci --example walk_forward` (recordings at ../shared/data or REGIMEFLOW_DATA).
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../tests/support/bars.rs"]
mod bars;
#[path = "../tests/support/mod.rs"]
mod support;

use hmm::{CovarianceKind, DegreesOfFreedom, FitConfig, TransitionPrior, WalkForward, per_row};

const SYMBOLS: [&str; 6] = ["BTCUSDT", "ETHUSDT", "XRPUSDT", "LTCUSDT", "ADAUSDT", "SOLUSDT"];
const STUDENT: DegreesOfFreedom = DegreesOfFreedom::Fixed(5.0);
const GAUSSIAN: DegreesOfFreedom = DegreesOfFreedom::Gaussian;

fn nasdaq() {
    let Some(returns) = support::nasdaq() else { return };
    let rows = returns.slice(ndarray::s![..2_000 + 31 * 250, ..]);
    println!("Nasdaq-100, 2,000 days to train, 250 to test, 31 folds: log-likelihood per day\n");
    println!("{:12} {:>8} {:>10}", "", "here", "reference");
    for (name, states, degrees_of_freedom, reference) in [
        ("iid t", 1, STUDENT, 2.7240),
        ("Gaussian-2", 2, GAUSSIAN, 2.8109),
        ("t-2", 2, STUDENT, 2.8396),
        ("Gaussian-3", 3, GAUSSIAN, 2.8531),
        ("t-3", 3, STUDENT, 2.8585),
    ] {
        let config = FitConfig { covariance: CovarianceKind::Diagonal, degrees_of_freedom, ..FitConfig::new(states) };
        let score = per_row(&config.walk_forward(rows, 2_000, 250).unwrap());
        println!("{name:12} {score:8.4} {reference:10.4}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sticky(states: usize, covariance: CovarianceKind, degrees_of_freedom: DegreesOfFreedom) -> FitConfig {
    let transition_prior = Some(TransitionPrior { every: 0.0, stay: 20.0 });
    FitConfig { covariance, degrees_of_freedom, transition_prior, ..FitConfig::new(states) }
}

fn refits() {
    println!("\n4h bars, features `trend`, 3 states t(5), sticky 20, two years to train, a quarter to test:");
    println!("refits on the same bars\n");
    println!(
        "{:9} {:9} {:9} {:>6} {:>7} {:>7} {:>7} {:>7} {:>9} {:>8} {:>9}",
        "symbol", "spread", "refit", "folds", "states", "least", "votes", "opposed", "bars opp.", "log-lik", "switch/y"
    );
    for symbol in SYMBOLS {
        let Some(bars) = bars::hourly(symbol) else { continue };
        let (rows, returns) = bars::trend(&bars::slower(&bars, 4));
        for (name, covariance) in [("diagonal", CovarianceKind::Diagonal), ("full", CovarianceKind::Full)] {
            for (refit, continuity) in [("fresh", None), ("continued", Some(0.01))] {
                let walk = WalkForward { continuity, ..WalkForward::new(730 * 6, 91 * 6) };
                let folds = walk.run(&sticky(3, covariance, STUDENT), rows.view(), &returns, |_| {}).unwrap();
                let agreements: Vec<_> = folds.iter().filter_map(|f| f.agreement).collect();
                if agreements.is_empty() {
                    continue;
                }
                let count = folds.len() as f64;
                println!(
                    "{symbol:9} {name:9} {refit:9} {:6} {:7.3} {:7.3} {:7.3} {:7} {:9} {:8.4} {:9.1}",
                    folds.len(),
                    median(agreements.iter().map(|a| a.states)),
                    agreements.iter().map(|a| a.states).fold(1.0, f64::min),
                    median(agreements.iter().map(|a| a.votes)),
                    agreements.iter().map(|a| a.opposed_states).sum::<usize>(),
                    agreements.iter().map(|a| a.contradictions).sum::<usize>(),
                    folds.iter().map(|f| f.log_likelihood_per_row).sum::<f64>() / count,
                    folds.iter().map(|f| f.switches as f64).sum::<f64>() / count * 365.0 / 91.0,
                );
            }
        }
    }
}

fn regimes() {
    println!("\n1h bars, returns alone, a year to train, a quarter to test:\n");
    println!("{:9} {:11} {:>16} {:>10} {:>10}", "symbol", "model", "bars in a regime", "switches/y", "log-lik");
    for symbol in SYMBOLS {
        let Some(bars) = bars::hourly(symbol) else { continue };
        let (features, returns) = bars::trend(&bars);
        let rows = features.slice(ndarray::s![.., ..1]);
        for (name, states, emission) in
            [("Gaussian-2", 2, GAUSSIAN), ("Gaussian-3", 3, GAUSSIAN), ("t-2", 2, STUDENT), ("t-3", 3, STUDENT)]
        {
            let walk = WalkForward::new(365 * 24, 91 * 24);
            let folds = walk.run(&sticky(states, CovarianceKind::Diagonal, emission), rows, &returns, |_| {}).unwrap();
            if folds.is_empty() {
                continue;
            }
            let count = folds.len() as f64;
            println!(
                "{symbol:9} {name:11} {:16.0} {:10.1} {:10.4}",
                median(folds.iter().flat_map(|f| f.model.expected_durations().to_vec())),
                folds.iter().map(|f| f.switches as f64).sum::<f64>() / count * 365.0 / 91.0,
                folds.iter().map(|f| f.log_likelihood_per_row).sum::<f64>() / count,
            );
        }
    }
}

fn main() {
    nasdaq();
    refits();
    regimes();
}
