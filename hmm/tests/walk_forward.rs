//! Walk-forward on recordings: what REFERENCES say of the Nasdaq-100, and how far quarterly refits of 4h bars agree.
#![allow(clippy::unwrap_used)]

#[path = "support/bars.rs"]
mod bars;
mod support;

use hmm::{CovarianceKind, DegreesOfFreedom, EvaluatedFold, FitConfig, TransitionPrior, WalkForward, per_row};
use support::nasdaq;

/// Nasdaq-100, 2,000 days to train and 250 to test, 31 folds: out-of-sample log-likelihood per day.
fn check_nasdaq(states: usize, degrees_of_freedom: DegreesOfFreedom, published: f64) {
    let Some(returns) = nasdaq() else { return };
    let rows = returns.slice(ndarray::s![..2_000 + 31 * 250, ..]);
    let covariance = CovarianceKind::Diagonal;
    let config = FitConfig { covariance, degrees_of_freedom, ..FitConfig::new(states) };
    let score = per_row(&config.walk_forward(rows, 2_000, 250).unwrap());
    println!("nasdaq walk-forward, {states} states, {degrees_of_freedom:?}: {score:.4} (published {published})");
    assert!(score > published - 0.004, "{score} against {published}");
    // Another implementation's starts may end elsewhere, but hardly anywhere much better.
    assert!(score < published + 0.01, "{score} against {published}");
}

#[test]
fn nasdaq_one_student() {
    check_nasdaq(1, DegreesOfFreedom::Fixed(5.0), 2.7240);
}

#[test]
fn nasdaq_two_gaussian_states() {
    check_nasdaq(2, DegreesOfFreedom::Gaussian, 2.8109);
}

#[test]
fn nasdaq_two_student_states() {
    check_nasdaq(2, DegreesOfFreedom::Fixed(5.0), 2.8396);
}

#[test]
fn nasdaq_three_gaussian_states() {
    check_nasdaq(3, DegreesOfFreedom::Gaussian, 2.8531);
}

#[test]
fn nasdaq_three_student_states() {
    check_nasdaq(3, DegreesOfFreedom::Fixed(5.0), 2.8585);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Two years to train, a quarter (91 days) on: six bars a day.
fn refits(symbol: &str) -> Option<Vec<EvaluatedFold>> {
    let (rows, returns) = bars::trend(&bars::slower(&bars::hourly(symbol)?, 4));
    let config = FitConfig {
        covariance: CovarianceKind::Diagonal,
        degrees_of_freedom: DegreesOfFreedom::Fixed(5.0),
        transition_prior: Some(TransitionPrior { every: 0.0, stay: 20.0 }),
        ..FitConfig::new(3)
    };
    Some(WalkForward::new(730 * 6, 91 * 6).run(&config, rows.view(), &returns, |_| {}).unwrap())
}

/// Features `trend` on real 4h bars: a refit keeps what its states mean.
#[test]
fn quarterly_refits_agree_on_the_same_bars() {
    let mut all = Vec::new();
    for symbol in ["BTCUSDT", "ETHUSDT", "XRPUSDT", "LTCUSDT", "ADAUSDT"] {
        let Some(folds) = refits(symbol) else { return };
        let agreements: Vec<_> = folds.iter().filter_map(|f| f.agreement).collect();
        assert!(agreements.len() >= 16, "{symbol}: {} refits", agreements.len());
        let own = median(agreements.iter().map(|a| a.states).collect());
        let votes = median(agreements.iter().map(|a| a.votes).collect());
        let contradicted: usize = agreements.iter().map(|a| a.contradictions).sum();
        let rows: usize = agreements.iter().map(|a| a.rows).sum();
        let firmly: usize = agreements.iter().map(|a| a.firm_contradictions).sum();
        println!(
            "{symbol}: states {own:.3}, votes {votes:.3}, {contradicted} of {rows} bars contradicted, {firmly} with conviction"
        );
        assert!(own >= 0.95 && votes >= 0.95, "{symbol}: {own} {votes}");
        // No state turns from Bull to Bear; at the boundary of two regimes a bar may fall to either side.
        assert_eq!(agreements.iter().map(|a| a.opposed_states).sum::<usize>(), 0, "{symbol}");
        assert_eq!(firmly, 0, "{symbol}");
        assert!((contradicted as f64) < 0.001 * rows as f64, "{symbol}: {contradicted} of {rows}");
        all.extend(agreements.iter().map(|a| a.states));
    }
    println!("median over all refits {:.3}", median(all));
}
