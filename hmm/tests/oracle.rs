//! Against brute force: every path enumerated, densities written out by hand.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{Covariance, CovarianceKind, Emission, Filter, FixedLag, Hmm, Observations, OnlineViterbi};
use ndarray::{Array1, Array2, Array3};
use proptest::prelude::*;
use support::check_close;

/// All K^T paths with their log-probabilities.
fn paths(model: &Hmm, density: &Array2<f64>) -> Vec<(Vec<usize>, f64)> {
    let (steps, k) = density.dim();
    (0..k.pow(steps as u32))
        .map(|mut code| {
            let path: Vec<usize> = (0..steps)
                .map(|_| {
                    let state = code % k;
                    code /= k;
                    state
                })
                .collect();
            let first = model.start()[path[0]].ln() + density[[0, path[0]]];
            let rest = (1..steps).map(|t| model.transition()[[path[t - 1], path[t]]].ln() + density[[t, path[t]]]);
            let log_probability = first + rest.sum::<f64>();
            (path, log_probability)
        })
        .collect()
}

/// log p(row | state) with missing values left out, for two features: written out, no linear algebra shared with the crate.
fn density(model: &Hmm, state: usize, row: &[f64]) -> f64 {
    let emission = model.emission();
    let m = emission.covariance.of_state(state);
    let seen: Vec<usize> = (0..row.len()).filter(|&i| !row[i].is_nan()).collect();
    let gap = |i: usize| row[i] - emission.means[[state, i]];
    let (determinant, distance) = match seen[..] {
        [] => return 0.0,
        [i] => (m[[i, i]], gap(i).powi(2) / m[[i, i]]),
        [i, j] => {
            let determinant = m[[i, i]] * m[[j, j]] - m[[i, j]].powi(2);
            let cross = 2.0 * m[[i, j]] * gap(i) * gap(j);
            (determinant, (m[[j, j]] * gap(i).powi(2) - cross + m[[i, i]] * gap(j).powi(2)) / determinant)
        }
        _ => unreachable!("two features at most"),
    };
    let pi = std::f64::consts::PI;
    match &emission.degrees_of_freedom {
        None => -0.5 * (seen.len() as f64 * (2.0 * pi).ln() + determinant.ln() + distance),
        // ν = 3: Γ(2)/Γ(3/2) = 2/√π, and Γ(5/2)/Γ(3/2) = 3/2.
        Some(_) if seen.len() == 1 => (2.0 / (3f64.sqrt() * pi)).ln() - 0.5 * determinant.ln() - 2.0 * (distance / 3.0).ln_1p(),
        Some(_) => (0.5 / pi).ln() - 0.5 * determinant.ln() - 2.5 * (distance / 3.0).ln_1p(),
    }
}

fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    top + values.map(|v| (v - top).exp()).sum::<f64>().ln()
}

fn marginal(paths: &[(Vec<usize>, f64)], t: usize, k: usize) -> Vec<f64> {
    let total = log_sum(paths.iter().map(|p| p.1));
    let with = |s: usize| paths.iter().filter(move |p| p.0[t] == s).map(|p| (p.1 - total).exp()).sum();
    (0..k).map(with).collect()
}

fn check(model: &Hmm, rows: &Array2<f64>) {
    let (steps, k) = (rows.nrows(), model.states());
    let densities = Array2::from_shape_fn((steps, k), |(t, s)| density(model, s, rows.row(t).as_slice().unwrap()));
    let all = paths(model, &densities);
    let total = log_sum(all.iter().map(|p| p.1));
    let observations = Observations::new(rows.view()).unwrap();
    let smoothed = model.smoothed(&observations).unwrap();
    let filtered = model.filtered(&observations).unwrap();
    let lagged = model.fixed_lag(&observations, 2).unwrap();
    check_close("log-likelihood", [smoothed.log_likelihood, filtered.log_likelihood], [total, total], 1e-10);
    let (mut filter, mut fixed) = (Filter::new(model).unwrap(), FixedLag::new(model, 2).unwrap());
    for t in 0..steps {
        check_close("smoothed", smoothed.probabilities.row(t).to_vec(), marginal(&all, t, k), 1e-9);
        let upto = |n: usize| paths(model, &densities.slice(ndarray::s![..n, ..]).to_owned());
        check_close("filtered", filtered.probabilities.row(t).to_vec(), marginal(&upto(t + 1), t, k), 1e-9);
        check_close("lag 2", lagged.probabilities.row(t).to_vec(), marginal(&upto((t + 3).min(steps)), t, k), 1e-9);
        let row = rows.row(t).to_vec();
        filter.step(&row).unwrap();
        fixed.step(&row).unwrap();
        check_close("online", filter.probabilities(), filtered.probabilities.row(t).to_vec(), 1e-9);
    }
    let best = all.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let path = model.viterbi(&observations).unwrap();
    check_close("viterbi", [path.log_probability], [best], 1e-10);
    let same = all.iter().find(|p| p.0 == path.states).unwrap();
    check_close("viterbi path", [same.1], [best], 1e-10);
    let mut online = OnlineViterbi::new(model, steps).unwrap();
    rows.outer_iter().for_each(|r| assert_eq!(online.step(r.as_slice().unwrap()).unwrap(), None));
    let traced: Vec<usize> = (0..steps).rev().map(|back| online.back(back).unwrap()).collect();
    check_close("online viterbi", [all.iter().find(|p| p.0 == traced).unwrap().1], [best], 1e-10);
}

fn normalised(weights: &[f64]) -> Array1<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn model(k: usize, d: usize, kind: CovarianceKind, student: bool, u: &[f64]) -> Hmm {
    let at = |n: usize| u[n % u.len()];
    let start = normalised(&(0..k).map(|s| at(s) + 0.01).collect::<Vec<_>>());
    let mut transition = Array2::zeros((k, k));
    for i in 0..k {
        transition.row_mut(i).assign(&normalised(&(0..k).map(|j| at(7 + i * k + j) + 0.01).collect::<Vec<_>>()));
    }
    let means = Array2::from_shape_fn((k, d), |(s, i)| 4.0 * at(40 + s * d + i) - 2.0);
    let variance = |s: usize, i: usize| 0.1 + 2.0 * at(60 + s * d + i);
    let entry = |s: usize, i: usize, j: usize| {
        let correlation = if i == j { 1.0 } else { 1.6 * at(80 + s) - 0.8 };
        correlation * (variance(s, i) * variance(s, j)).sqrt()
    };
    let covariance = match kind {
        CovarianceKind::Diagonal => Covariance::Diagonal(Array2::from_shape_fn((k, d), |(s, i)| variance(s, i))),
        CovarianceKind::Full => Covariance::Full(Array3::from_shape_fn((k, d, d), |(s, i, j)| entry(s, i, j))),
        CovarianceKind::Tied => Covariance::Tied(Array2::from_shape_fn((d, d), |(i, j)| entry(0, i, j))),
    };
    let emission = if student { Emission::student_t(means, covariance, 3.0) } else { Emission::gaussian(means, covariance) };
    Hmm::new(start, transition, emission).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_recursion_agrees_with_enumeration(
        k in 1usize..6,
        d in 1usize..3,
        kind in prop::sample::select(vec![CovarianceKind::Diagonal, CovarianceKind::Full, CovarianceKind::Tied]),
        student: bool,
        parameters in prop::collection::vec(0.0f64..1.0, 97),
        values in prop::collection::vec(prop_oneof![9 => -3.0f64..3.0, 1 => Just(f64::NAN), 1 => -40.0f64..40.0], 2..13),
    ) {
        let steps = (values.len() / d).min(if k > 3 { 4 } else { 6 });
        let rows = Array2::from_shape_fn((steps, d), |(t, i)| values[t * d + i]);
        check(&model(k, d, kind, student, &parameters), &rows);
    }
}
