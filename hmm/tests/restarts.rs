//! Do ten starts find the best optimum, whatever the seed? HMM_SEEDS for how many seeds (100 for the full claim).
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{CovarianceKind, FitConfig, Observations};
use ndarray::Array2;
use support::{csv, nasdaq, reference};

fn seeds() -> u64 {
    std::env::var("HMM_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(8)
}

fn check_restarts(name: &str, rows: &Array2<f64>, config: &FitConfig) {
    let observations = Observations::new(rows.view()).unwrap();
    let reached: Vec<f64> =
        (0..seeds()).map(|seed| FitConfig { seed, ..config.clone() }.fit(&observations).unwrap().log_likelihood).collect();
    let best = reached.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let found = reached.iter().filter(|l| **l > best - 1.0).count();
    println!(
        "{name}: best {best:.4}, found by {found} of {} seeds; lowest {:.4}",
        reached.len(),
        reached.iter().copied().fold(best, f64::min)
    );
    assert!(found as f64 >= 0.95 * reached.len() as f64, "{name}: {reached:?}");
}

#[test]
fn reference_set_diagonal() {
    let Some(path) = reference("hmm/X_diag_2000.csv") else { return };
    check_restarts("diagonal", &csv(path), &FitConfig { covariance: CovarianceKind::Diagonal, ..FitConfig::new(4) });
}

#[test]
fn reference_set_full() {
    let Some(path) = reference("hmm/X_full_2000.csv") else { return };
    check_restarts("full", &csv(path), &FitConfig::new(4));
}

#[test]
fn nasdaq_three_states() {
    let Some(rows) = nasdaq() else { return };
    check_restarts("nasdaq", &rows, &FitConfig { covariance: CovarianceKind::Diagonal, ..FitConfig::new(3) });
}
