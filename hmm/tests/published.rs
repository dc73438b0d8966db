//! Published cases: Nasdaq-100 returns, the federal funds rate, weekly absolute returns, growth of GNP, the umbrella.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{Covariance, CovarianceKind, DegreesOfFreedom, Emission, FitConfig, Hmm, Observations, log_space};
use ndarray::{Array1, Array2, array};
use support::{check_close, nasdaq, reference};

fn check_nasdaq(states: usize, degrees_of_freedom: DegreesOfFreedom, log_likelihood: f64) -> Option<Hmm> {
    let returns = nasdaq()?;
    let observations = Observations::new(returns.view()).unwrap();
    let covariance = CovarianceKind::Diagonal;
    let config = FitConfig { covariance, degrees_of_freedom, tolerance: 1e-10, iterations: 1000, ..FitConfig::new(states) };
    let fit = config.fit(&observations).unwrap();
    assert!(fit.log_likelihood > log_likelihood - 0.01, "{} against {log_likelihood}", fit.log_likelihood);
    // A better optimum than the published one would be news, and a wrong density is likelier.
    assert!(fit.log_likelihood < log_likelihood + 0.5, "{} against {log_likelihood}", fit.log_likelihood);
    assert!(fit.history.windows(2).all(|w| w[1] >= w[0] - 1e-6));
    Some(fit.model)
}

#[test]
fn nasdaq_two_gaussian_states() {
    let Some(model) = check_nasdaq(2, DegreesOfFreedom::Gaussian, 28_332.644_36) else { return };
    let Covariance::Diagonal(variances) = &model.emission().covariance else { panic!("diagonal was asked for") };
    let calm = if variances[[0, 0]] < variances[[1, 0]] { 0 } else { 1 };
    let model = model.reordered(&[calm, 1 - calm]).unwrap();
    let deviations = [0, 1].map(|s| model.emission().covariance.of_state(s)[[0, 0]].sqrt());
    check_close("deviations", deviations, [0.009_952, 0.026_556], 1e-6);
    check_close("stay", [model.transition()[[0, 0]], model.transition()[[1, 1]]], [0.991_377, 0.977_723], 1e-5);
}

#[test]
fn nasdaq_three_gaussian_states() {
    check_nasdaq(3, DegreesOfFreedom::Gaussian, 28_636.288);
}

#[test]
fn nasdaq_two_student_states() {
    check_nasdaq(2, DegreesOfFreedom::Fixed(5.0), 28_476.836);
}

#[test]
fn nasdaq_three_student_states() {
    check_nasdaq(3, DegreesOfFreedom::Fixed(5.0), 28_654.743);
}

/// One column of numbers; tests/data/SOURCES.md says where from.
fn series(text: &str) -> Array2<f64> {
    let values: Vec<f64> = text.lines().skip(1).map(|l| l.trim().parse().unwrap()).collect();
    Array2::from_shape_vec((values.len(), 1), values).unwrap()
}

fn started_stationary(transition: Array2<f64>, emission: Emission) -> Hmm {
    Hmm::new(array![0.5, 0.5], transition, emission).unwrap().started_stationary().unwrap()
}

/// Plain maximum likelihood with the stationary start that the econometric packages use, the lower mean first.
fn fit_stationary(rows: &Array2<f64>, covariance: CovarianceKind) -> (Hmm, f64) {
    let config = FitConfig { covariance, stationary_start: true, tolerance: 1e-12, iterations: 5_000, ..FitConfig::new(2) };
    let fit = config.fit(&Observations::new(rows.view()).unwrap()).unwrap();
    assert!(fit.history.windows(2).all(|w| w[1] >= w[0] - 1e-9), "{:?}", fit.history);
    let means = &fit.model.emission().means;
    let order = if means[[0, 0]] < means[[1, 0]] { [0, 1] } else { [1, 0] };
    let model = fit.model.reordered(&order).unwrap();
    check_close("start", model.start().to_vec(), model.stationary().unwrap(), 1e-9);
    (model, fit.log_likelihood)
}

/// Quarterly federal funds rate 1954–2010, one variance for both regimes (Stata's manual, tsmswitch).
#[test]
fn federal_funds_rate() {
    let rates = series(include_str!("data/fedfunds.csv"));
    let observations = Observations::new(rates.view()).unwrap();
    let emission = Emission::gaussian(array![[3.708_77], [9.556_793]], Covariance::Tied(array![[2.107_562f64.powi(2)]]));
    let transition = array![[0.982_093_9, 1.0 - 0.982_093_9], [0.050_358_7, 1.0 - 0.050_358_7]];
    let published = started_stationary(transition, emission);
    let log_likelihood = published.log_likelihood(&observations).unwrap();
    assert!((log_likelihood + 508.635_92).abs() < 1e-5, "{log_likelihood}");
    let (model, fitted) = fit_stationary(&rates, CovarianceKind::Tied);
    assert!((fitted + 508.635_92).abs() < 1e-5, "{fitted}");
    check_close("means", model.emission().means.iter().copied(), [3.708_77, 9.556_793], 1e-5);
    check_close("deviation", [model.emission().covariance.of_state(0)[[0, 0]].sqrt()], [2.107_562], 1e-5);
    check_close("transition", model.transition().column(0).to_vec(), [0.982_093_9, 0.050_358_7], 1e-5);
}

/// Every quarter's published predicted, filtered and smoothed probabilities.
#[test]
fn federal_funds_rate_probabilities() {
    let Some(path) = reference("results_predict_fedfunds.csv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let columns = ["const_f1", "const_sm1"].map(|name| text.lines().next().unwrap().split(',').position(|c| c == name).unwrap());
    let cell = |line: &str, column: usize| line.split(',').nth(column).unwrap().trim().parse::<f64>().unwrap();
    let (model, _) = fit_stationary(&series(include_str!("data/fedfunds.csv")), CovarianceKind::Tied);
    let rates = series(include_str!("data/fedfunds.csv"));
    let observations = Observations::new(rates.view()).unwrap();
    let filtered = model.filtered(&observations).unwrap().probabilities;
    let smoothed = model.smoothed(&observations).unwrap().probabilities;
    for (probabilities, column) in [(filtered, columns[0]), (smoothed, columns[1])] {
        let published: Vec<f64> = text.lines().skip(1).map(|l| cell(l, column)).collect();
        check_close("probability", probabilities.column(0).to_vec(), published, 1e-4);
    }
}

/// Weekly absolute returns of the S&P 500, 2004–2014, a mean and a variance for each regime.
#[test]
fn weekly_absolute_returns() {
    let returns = series(include_str!("data/areturns.csv"));
    let (model, fitted) = fit_stationary(&returns, CovarianceKind::Diagonal);
    assert!((fitted + 749.426_882).abs() < 1e-5, "{fitted}");
    check_close("means", model.emission().means.iter().copied(), [1.051_622_7, 2.974_626_2], 1e-5);
    let variances = [0, 1].map(|s| model.emission().covariance.of_state(s)[[0, 0]]);
    check_close("variances", variances, [0.622_802_5, 5.050_068_5], 1e-4);
}

/// Hamilton (1989): growth of GNP with four lags whose means switch as well. An HMM over the last five quarters' regimes (32
/// states), whose densities are worked out here; the recursions are the crate's.
#[test]
fn hamilton_growth_of_gnp() {
    let growth = series(include_str!("data/rgnp.csv"));
    let (means, lags) = ([-0.358_811, 1.163_516], [0.013_486, -0.057_521, -0.246_983, -0.212_923]);
    let deviation = (-0.262_658f64).exp();
    let a = [[0.754_673, 1.0 - 0.754_673], [0.095_915, 1.0 - 0.095_915]];
    // Bit n of a state is the regime n quarters ago.
    let regime = |state: usize, ago: usize| state >> ago & 1;
    let transition =
        Array2::from_shape_fn((32, 32), |(from, to)| if to >> 1 == from & 15 { a[regime(from, 0)][regime(to, 0)] } else { 0.0 });
    let stationary = [0.095_915, 1.0 - 0.754_673].map(|p| p / (0.095_915 + 1.0 - 0.754_673));
    let start = Array1::from_shape_fn(32, |s| {
        (0..4).rev().fold(stationary[regime(s, 4)], |p, ago| p * a[regime(s, ago + 1)][regime(s, ago)])
    });
    let density = Array2::from_shape_fn((growth.nrows() - 4, 32), |(t, s)| {
        let gap = |ago: usize| growth[[t + 4 - ago, 0]] - means[regime(s, ago)];
        let error = gap(0) - (1..=4).map(|ago| lags[ago - 1] * gap(ago)).sum::<f64>();
        -0.5 * (error / deviation).powi(2) - deviation.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
    });
    let given = log_space::forward_backward(start.view(), transition.view(), density.view()).unwrap();
    assert!((given.log_likelihood + 181.263_39).abs() < 1e-5, "{}", given.log_likelihood);
}

#[test]
fn umbrella() {
    // Russell and Norvig: rain or not, umbrella or not; seen umbrella, umbrella, none, umbrella, umbrella.
    let (start, transition): (Array1<f64>, Array2<f64>) = (array![0.5, 0.5], array![[0.7, 0.3], [0.3, 0.7]]);
    let seen = [true, true, false, true, true];
    let density = Array2::from_shape_fn((5, 2), |(t, s)| [[0.1f64, 0.8], [0.9, 0.2]][usize::from(seen[t])][s].ln());
    let given = log_space::forward_backward(start.view(), transition.view(), density.view()).unwrap();
    check_close("log-likelihood", [given.log_likelihood], [-3.3725], 5e-5);
    check_close("filtered", given.filtered.row(1).iter().copied(), [0.8834, 0.1166], 5e-5);
    check_close("smoothed", given.smoothed.row(0).iter().copied(), [0.8673, 0.1327], 5e-5);
    let (path, log_probability) = log_space::viterbi(start.view(), transition.view(), density.view()).unwrap();
    assert_eq!(path, [0, 0, 1, 0, 0]);
    check_close("viterbi", [log_probability], [-4.4590], 5e-5);
    // The same through the scaled recursions: two unit Gaussians whose ratio at two points is that of the table.
    let point = |t: usize| 0.5 * (density[[t, 0]] - density[[t, 1]]);
    let rows = Array2::from_shape_fn((5, 1), |(t, _)| point(t));
    let emission = Emission::gaussian(array![[1.0], [-1.0]], Covariance::Diagonal(array![[1.0], [1.0]]));
    let gaussian = |t: usize, mean: f64| -0.5 * (point(t) - mean).powi(2) - 0.5 * (2.0 * std::f64::consts::PI).ln();
    let offset: f64 = (0..5).map(|t| density[[t, 0]] - gaussian(t, 1.0)).sum();
    let model = Hmm::new(start, transition, emission).unwrap();
    let observations = Observations::new(rows.view()).unwrap();
    check_close("scaled", [model.log_likelihood(&observations).unwrap() + offset], [given.log_likelihood], 1e-13);
    let path = model.viterbi(&observations).unwrap();
    assert_eq!(path.states, [0, 0, 1, 0, 0]);
    check_close("scaled viterbi", [path.log_probability + offset], [log_probability], 1e-13);
}
