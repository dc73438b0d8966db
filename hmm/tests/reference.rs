//! The 80-bit reference: likelihoods, twenty EM iterations, posteriors, forecasts, the Viterbi path.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{Covariance, CovarianceKind, Emission, Filter, FitConfig, Hmm, Observations, OnlineViterbi};
use ndarray::Array3;
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{check_close, csv, json, matrix, number, reference, tensor, vector};

struct Case {
    rows: ndarray::Array2<f64>,
    start: Hmm,
    fitted: Hmm,
    expected: Value,
}

fn case(kind: CovarianceKind) -> Option<Case> {
    let name = if kind == CovarianceKind::Diagonal { "diag" } else { "full" };
    let rows = csv(reference(&format!("hmm/X_{name}_2000.csv"))?);
    let init = json(reference("hmm/init.json")?);
    let expected = json(reference("hmm/reference.json")?)[name].clone();
    let variances = matrix(&init["var"]);
    let covariance = match kind {
        CovarianceKind::Diagonal => Covariance::Diagonal(variances),
        _ => {
            let (k, d) = variances.dim();
            Covariance::Full(Array3::from_shape_fn((k, d, d), |(s, i, j)| if i == j { variances[[s, i]] } else { 0.0 }))
        }
    };
    let emission = Emission::gaussian(matrix(&init["means"]), covariance);
    let start = Hmm::new(vector(&init["startprob"]), matrix(&init["transmat"]), emission).unwrap();
    let cov = tensor(&expected["cov"]);
    let covariance = match kind {
        CovarianceKind::Diagonal => {
            let (k, d, _) = cov.dim();
            Covariance::Diagonal(ndarray::Array2::from_shape_fn((k, d), |(s, i)| cov[[s, i, i]]))
        }
        _ => Covariance::Full(cov),
    };
    let emission = Emission::gaussian(matrix(&expected["means"]), covariance);
    let fitted = Hmm::new(vector(&expected["startprob"]), matrix(&expected["transmat"]), emission).unwrap();
    Some(Case { rows, start, fitted, expected })
}

fn check_em(kind: CovarianceKind) {
    let Some(case) = case(kind) else { return };
    let observations = Observations::new(case.rows.view()).unwrap();
    let config = FitConfig { tolerance: 0.0, iterations: 20, ..FitConfig::new(4) };
    let fit = config.fit_from(&case.start, &observations).unwrap();
    let history = vector(&case.expected["ll_history"]);
    check_close("history", fit.history[..20].iter().map(|l| l / -history[0]), history.iter().map(|l| l / -history[0]), 1e-12);
    check_close("likelihood", [fit.log_likelihood], [number(&case.expected["ll20"])], 1e-12);
    assert!((fit.log_likelihood - number(&case.expected["ll20"])).abs() < 1e-8, "{}", fit.log_likelihood);
    assert!((fit.history[0] - history[0]).abs() < 1e-8, "{} against {}", fit.history[0], history[0]);
    let model = &fit.model;
    check_close("start", model.start().iter().copied(), vector(&case.expected["startprob"]), 1e-8);
    check_close("transition", model.transition().iter().copied(), matrix(&case.expected["transmat"]), 1e-8);
    check_close("means", model.emission().means.iter().copied(), matrix(&case.expected["means"]), 1e-8);
    let covariances = (0..4).flat_map(|s| model.emission().covariance.of_state(s).into_iter().collect::<Vec<_>>());
    check_close("covariances", covariances, tensor(&case.expected["cov"]), 1e-8);
    assert!(fit.history.windows(2).all(|w| w[1] >= w[0] - 1e-8));
}

#[test]
fn twenty_iterations_diagonal() {
    check_em(CovarianceKind::Diagonal);
}

#[test]
fn twenty_iterations_full() {
    check_em(CovarianceKind::Full);
}

fn check_inference(kind: CovarianceKind) {
    let Some(case) = case(kind) else { return };
    let observations = Observations::new(case.rows.view()).unwrap();
    let filtered = case.fitted.filtered(&observations).unwrap();
    let smoothed = case.fitted.smoothed(&observations).unwrap();
    check_close("smoothed and filtered likelihood", [filtered.log_likelihood], [smoothed.log_likelihood], 1e-14);
    let mut filter = Filter::new(&case.fitted).unwrap();
    let mut surprises = 0.0;
    for (t, row) in case.rows.outer_iter().enumerate() {
        surprises += filter.step(row.as_slice().unwrap()).unwrap();
        check_close("online filter", filter.probabilities(), filtered.probabilities.row(t).to_vec(), 1e-12);
    }
    check_close("sum of surprises", [surprises], [filtered.log_likelihood], 1e-12);
    for (t, expected) in case.expected["filtered"].as_object().unwrap() {
        let row = filtered.probabilities.row(t.parse().unwrap());
        check_close(&format!("filtered {t}"), row.iter().copied(), vector(expected), 1e-8);
    }
    for (t, expected) in case.expected["smoothed"].as_object().unwrap() {
        let row = smoothed.probabilities.row(t.parse().unwrap());
        check_close(&format!("smoothed {t}"), row.iter().copied(), vector(expected), 1e-8);
    }
    let lagged = case.fitted.fixed_lag(&observations, 10).unwrap();
    let expected = vector(&case.expected["fixed_lag10_t1000"]);
    check_close("fixed lag 10", lagged.probabilities.row(1000).iter().copied(), expected, 1e-8);
    let last = filtered.probabilities.row(case.rows.nrows() - 1);
    let forecast = case.fitted.forecast(last, 100).unwrap();
    for (h, expected) in case.expected["predict_h"].as_object().unwrap() {
        let row = forecast.row(h.parse::<usize>().unwrap() - 1);
        check_close(&format!("forecast {h}"), row.iter().copied(), vector(expected), 1e-8);
    }
    let path = case.fitted.viterbi(&observations).unwrap();
    let mut online = OnlineViterbi::new(&case.fitted, 200).unwrap();
    for (t, row) in case.rows.outer_iter().enumerate() {
        let state = online.step(row.as_slice().unwrap()).unwrap();
        assert_eq!(state, t.checked_sub(200).map(|t| path.states[t]), "online viterbi, row {t}");
    }
    check_close("viterbi", [path.log_probability], [number(&case.expected["viterbi_logprob"])], 1e-10);
    assert_eq!(path.switches(observations.lengths()) as f64, number(&case.expected["viterbi_switches"]));
    let bytes: Vec<u8> = path.states.iter().map(|&s| s as u8).collect();
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hash, case.expected["viterbi_sha256"].as_str().unwrap());
}

#[test]
fn inference_diagonal() {
    check_inference(CovarianceKind::Diagonal);
}

#[test]
fn inference_full() {
    check_inference(CovarianceKind::Full);
}
