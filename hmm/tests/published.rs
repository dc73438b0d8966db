//! Published cases: Nasdaq-100 returns, the federal funds rate, the umbrella.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{Covariance, CovarianceKind, DegreesOfFreedom, Emission, FitConfig, Hmm, Observations, log_space};
use ndarray::{Array1, Array2, array};
use support::{check_close, reference};

/// The column `ret` of NDX.csv.
fn nasdaq() -> Option<Array2<f64>> {
    let text = std::fs::read_to_string(reference("NDX.csv")?).unwrap();
    let returns: Vec<f64> = text.lines().skip(1).filter_map(|l| l.split(',').nth(2)?.trim().parse().ok()).collect();
    Some(Array2::from_shape_vec((returns.len(), 1), returns).unwrap())
}

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

/// The published filtered and predicted probabilities give the ratio of densities at each quarter, hence the rate (to a
/// hundredth, as it was reported): the series is rebuilt, then the published model must have the published likelihood.
#[test]
fn federal_funds_rate() {
    let Some(path) = reference("results_predict_fedfunds.csv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let mut header = text.lines().next().unwrap().split(',');
    let column = |name: &str| header.clone().position(|c| c == name).unwrap();
    let columns = ["const_p1", "const_p2", "const_f1", "const_f2", "const_sm1"].map(column);
    assert!(header.next().is_some());
    let rows: Vec<[f64; 5]> = text
        .lines()
        .skip(1)
        .filter_map(|l| {
            let cells: Vec<&str> = l.split(',').collect();
            let value = |c: usize| cells[c].trim().parse::<f64>().ok();
            Some([value(columns[0])?, value(columns[1])?, value(columns[2])?, value(columns[3])?, value(columns[4])?])
        })
        .collect();
    let (means, variance) = ([3.708_77, 9.556_793], 2.107_562f64.powi(2));
    let rate = |[p1, p2, f1, f2, _]: &[f64; 5]| {
        let log_ratio = (f1 / p1).ln() - (f2 / p2).ln();
        let middle = 0.5 * (means[0] + means[1]);
        ((middle - log_ratio * variance / (means[1] - means[0])) * 100.0).round() / 100.0
    };
    let rates = Array2::from_shape_fn((rows.len(), 1), |(t, _)| rate(&rows[t]));
    let transition = array![[0.982_093_9, 1.0 - 0.982_093_9], [0.050_358_7, 1.0 - 0.050_358_7]];
    let emission = Emission::gaussian(array![[means[0]], [means[1]]], Covariance::Tied(array![[variance]]));
    let model = Hmm::new(array![0.5, 0.5], transition.clone(), emission.clone()).unwrap();
    let model = Hmm::new(model.stationary().unwrap(), transition, emission).unwrap();
    let observations = Observations::new(rates.view()).unwrap();
    let smoothed = model.smoothed(&observations).unwrap();
    assert!((smoothed.log_likelihood + 508.635_92).abs() < 0.02, "log-likelihood {}", smoothed.log_likelihood);
    let published = rows.iter().map(|r| r[4]);
    check_close("smoothed", smoothed.probabilities.column(0).iter().copied(), published, 2e-3);
    // Fitted from a rough guess, with one variance for both states, the parameters come out as published. The published
    // start is the stationary distribution and ours is free, which moves the third digit.
    let rough = Emission::gaussian(array![[2.0], [8.0]], Covariance::Tied(array![[4.0]]));
    let rough = Hmm::new(array![0.5, 0.5], array![[0.9, 0.1], [0.1, 0.9]], rough).unwrap();
    let config = FitConfig { tolerance: 1e-10, iterations: 500, ..FitConfig::new(2) };
    let fit = config.fit_from(&rough, &observations).unwrap();
    check_close("means", fit.model.emission().means.iter().copied(), means, 2e-3);
    check_close("deviation", [fit.model.emission().covariance.of_state(0)[[0, 0]].sqrt()], [2.107_562], 2e-3);
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
