//! Online EM: exact against batch smoothing, follows drift, never breaks.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{Covariance, CovarianceKind, Emission, Filter, Hmm, HmmError, Observations, OnlineConfig, OnlineEm};
use ndarray::{Array2, Array3, array};
use proptest::prelude::*;
use support::check_close;

fn two_states(kind: CovarianceKind, dof: Option<f64>) -> Hmm {
    let means = array![[-1.0, 0.5], [1.5, 0.0]];
    let matrix = |s: usize, i: usize, j: usize| if i == j { 0.6 + 0.4 * s as f64 } else { 0.15 };
    let covariance = match kind {
        CovarianceKind::Diagonal => Covariance::Diagonal(Array2::from_shape_fn((2, 2), |(s, i)| matrix(s, i, i))),
        CovarianceKind::Full => Covariance::Full(Array3::from_shape_fn((2, 2, 2), |(s, i, j)| matrix(s, i, j))),
        CovarianceKind::Tied => Covariance::Tied(Array2::from_shape_fn((2, 2), |(i, j)| matrix(0, i, j))),
    };
    let emission = match dof {
        None => Emission::gaussian(means, covariance),
        Some(dof) => Emission::student_t(means, covariance, dof),
    };
    Hmm::new(array![0.4, 0.6], array![[0.96, 0.04], [0.03, 0.97]], emission).unwrap()
}

const KINDS: [CovarianceKind; 3] = [CovarianceKind::Diagonal, CovarianceKind::Full, CovarianceKind::Tied];

/// With one update at the end, the recursion is an exact smoother: its statistics are the batch's, discounted by age, and its
/// parameters follow from them by the M-step's formulas.
#[test]
fn one_update_equals_the_discounted_batch() {
    for kind in KINDS {
        for dof in [None, Some(5.0)] {
            check_against_batch(&two_states(kind, dof));
        }
    }
}

fn check_against_batch(model: &Hmm) {
    const ROWS: usize = 120;
    let memory = 40.0;
    let (rows, _) = model.sample(ROWS, 3).unwrap();
    let config = OnlineConfig {
        memory_rows: memory,
        burn_in_rows: ROWS as u64,
        every_rows: ROWS as u64,
        anchor_rows: 0.0,
        stay_least: 0.0,
        rows_least: 1.0,
        covariance_floor: 1e-9,
    };
    let mut online = OnlineEm::new(model, config).unwrap();
    let mut filter = Filter::new(model).unwrap();
    for row in rows.outer_iter() {
        let row = row.to_vec();
        check_close("log density", [online.step(&row).unwrap()], [filter.step(&row).unwrap()], 1e-12);
        check_close("filter", online.probabilities().iter().copied(), filter.probabilities(), 1e-12);
    }
    assert_eq!((online.rows(), online.updates()), (ROWS as u64, 1));

    let observations = Observations::new(rows.view()).unwrap();
    let smoothed = model.smoothed(&observations).unwrap().probabilities;
    let filtered = model.filtered(&observations).unwrap().probabilities;
    let stationary = model.stationary().unwrap();
    let age = |t: usize| (1.0 - 1.0 / memory).powi((ROWS - 1 - t) as i32) / memory;
    let before = (1.0 - 1.0 / memory).powi(ROWS as i32);
    let (a, emission) = (model.transition(), model.emission());
    // P(S_t = i, S_t+1 = j | all rows) from filtered and smoothed.
    let pair = |t: usize, i: usize, j: usize| {
        let predicted: f64 = (0..2).map(|s| filtered[[t, s]] * a[[s, j]]).sum();
        filtered[[t, i]] * a[[i, j]] * smoothed[[t + 1, j]] / predicted
    };
    let count =
        |i: usize, j: usize| before * stationary[i] * a[[i, j]] + (1..ROWS).map(|t| age(t) * pair(t - 1, i, j)).sum::<f64>();
    for i in 0..2 {
        let expected = [0, 1].map(|j| count(i, j) / (count(i, 0) + count(i, 1)));
        check_close("transition", online.model().transition().row(i).to_vec(), expected, 1e-10);
    }
    let weigh = |s: usize, t: usize| -> f64 {
        let Some(dof) = &emission.degrees_of_freedom else { return 1.0 };
        let m = emission.covariance.of_state(s);
        let (x, y) = (rows[[t, 0]] - emission.means[[s, 0]], rows[[t, 1]] - emission.means[[s, 1]]);
        let determinant = m[[0, 0]] * m[[1, 1]] - m[[0, 1]] * m[[0, 1]];
        let distance = (m[[1, 1]] * x * x - 2.0 * m[[0, 1]] * x * y + m[[0, 0]] * y * y) / determinant;
        (dof[s] + 2.0) / (dof[s] + distance)
    };
    let sum = |s: usize, f: &dyn Fn(usize) -> f64| (0..ROWS).map(|t| age(t) * smoothed[[t, s]] * f(t)).sum::<f64>();
    let weights = [0, 1].map(|s| before * stationary[s] + sum(s, &|_| 1.0));
    check_close("weights", online.weights(), weights.map(|w| w * memory), 1e-10);
    let mut scatters = Vec::new();
    for s in 0..2 {
        let robust = before * stationary[s] + sum(s, &|t| weigh(s, t));
        let old = |i: usize| emission.means[[s, i]];
        let mean = [0, 1].map(|i| old(i) + sum(s, &|t| weigh(s, t) * (rows[[t, i]] - old(i))) / robust);
        check_close("mean", online.model().emission().means.row(s).to_vec(), mean, 1e-10);
        let scatter = |i: usize, j: usize| {
            // The past that the model stood for lies about the old mean.
            let m = emission.covariance.of_state(s);
            let past = m[[i, j]] + (old(i) - mean[i]) * (old(j) - mean[j]);
            before * stationary[s] * past + sum(s, &|t| weigh(s, t) * (rows[[t, i]] - mean[i]) * (rows[[t, j]] - mean[j]))
        };
        scatters.push([scatter(0, 0), scatter(0, 1), scatter(1, 0), scatter(1, 1)]);
    }
    for s in 0..2 {
        let got = online.model().emission().covariance.of_state(s);
        let expected: Vec<f64> = match emission.covariance.kind() {
            CovarianceKind::Tied => (0..4).map(|n| (scatters[0][n] + scatters[1][n]) / (weights[0] + weights[1])).collect(),
            CovarianceKind::Full => scatters[s].iter().map(|v| v / weights[s]).collect(),
            CovarianceKind::Diagonal => {
                vec![scatters[s][0] / weights[s], 0.0, 0.0, scatters[s][3] / weights[s]]
            }
        };
        check_close("covariance", got, expected, 1e-9);
    }
}

/// A market whose calm becomes twice as volatile and whose turbulence rises by half, over 30,000 rows.
fn drifting(rows: usize, dof: f64) -> (Hmm, Hmm, Array2<f64>) {
    let at = |share: f64| {
        let scale = |from: f64, to: f64| (from + share * (to - from)).powi(2);
        let covariance = Covariance::Diagonal(array![[scale(0.005, 0.01)], [scale(0.03, 0.045)]]);
        let emission = Emission::student_t(array![[0.001], [-0.001 - 0.004 * share]], covariance, dof);
        Hmm::new(array![0.5, 0.5], array![[0.98, 0.02], [0.04, 0.96]], emission).unwrap()
    };
    let pieces = 300;
    let mut out = Vec::with_capacity(rows);
    for n in 0..pieces {
        let (piece, _) = at(n as f64 / pieces as f64).sample(rows / pieces, 50 + n as u64).unwrap();
        out.extend(piece);
    }
    let count = out.len();
    (at(0.0), at(1.0), Array2::from_shape_vec((count, 1), out).unwrap())
}

#[test]
fn drifting_parameters_are_followed() {
    let (first, last, rows) = drifting(30_000, 5.0);
    let config = OnlineConfig { memory_rows: 3_000.0, ..OnlineConfig::default() };
    let mut online = OnlineEm::new(&first, config).unwrap();
    let mut fixed = Filter::new(&first).unwrap();
    let (mut learning, mut standing) = (0.0, 0.0);
    for row in rows.outer_iter() {
        learning += online.step(&row.to_vec()).unwrap();
        standing += fixed.step(&row.to_vec()).unwrap();
    }
    let scale = |model: &Hmm, s: usize| model.emission().covariance.of_state(s)[[0, 0]].sqrt();
    for s in 0..2 {
        let (now, then, truth) = (scale(online.model(), s), scale(&first, s), scale(&last, s));
        let covered = (now - then) / (truth - then);
        assert!((0.75..1.15).contains(&covered), "state {s}: {then} to {now}, truth {truth}");
    }
    let gained = (learning - standing) / rows.nrows() as f64;
    println!("log-likelihood per row: {gained:.4} above the model that stood still");
    assert!(gained > 0.02, "{gained}");
}

#[test]
fn a_market_that_stays_keeps_its_model() {
    for dof in [None, Some(5.0)] {
        let model = two_states(CovarianceKind::Full, dof);
        let (rows, _) = model.sample(20_000, 17).unwrap();
        let mut online = OnlineEm::new(&model, OnlineConfig::default()).unwrap();
        rows.outer_iter().for_each(|row| assert!(online.step(&row.to_vec()).unwrap().is_finite()));
        let now = online.model();
        check_close("means", now.emission().means.iter().copied(), model.emission().means.iter().copied(), 0.08);
        check_close("transition", now.transition().iter().copied(), model.transition().iter().copied(), 0.015);
        for s in 0..2 {
            check_close("covariance", now.emission().covariance.of_state(s), model.emission().covariance.of_state(s), 0.12);
        }
    }
}

#[test]
fn staying_has_a_floor_and_a_quiet_state_keeps_its_emission() {
    let model = two_states(CovarianceKind::Diagonal, None);
    let config =
        OnlineConfig { memory_rows: 200.0, stay_least: 0.7, anchor_rows: 0.0, burn_in_rows: 0, ..OnlineConfig::default() };
    // Rows that change sides every time: maximum likelihood would have regimes of one row.
    let narrow = Emission::gaussian(array![[-1.0], [1.0]], Covariance::Diagonal(array![[0.01], [0.01]]));
    let narrow = Hmm::new(array![0.5, 0.5], array![[0.96, 0.04], [0.03, 0.97]], narrow).unwrap();
    let mut online = OnlineEm::new(&narrow, config.clone()).unwrap();
    for t in 0..3_000 {
        online.step(&[[-1.0], [1.0]][t % 2]).unwrap();
    }
    check_close("stay", [0, 1].map(|s| online.model().transition()[[s, s]]), [0.7, 0.7], 1e-9);
    // Rows of the first state only: the second is forgotten by the statistics, not by the model.
    let mut online = OnlineEm::new(&model, config).unwrap();
    for t in 0..3_000 {
        let angle = t as f64;
        online.step(&[-1.0 + 0.5 * angle.sin(), 0.5 + 0.5 * angle.cos()]).unwrap();
    }
    assert!(online.weights()[1] < 50.0, "{:?}", online.weights());
    let kept = online.model().emission().means.row(1).to_vec();
    check_close("mean", kept, [1.5, 0.0], 0.35);
}

#[test]
fn outliers_gaps_and_flat_stretches_leave_a_usable_model() {
    for dof in [None, Some(4.0)] {
        let model = two_states(CovarianceKind::Full, dof);
        let config = OnlineConfig { memory_rows: 300.0, burn_in_rows: 10, ..OnlineConfig::default() };
        let mut online = OnlineEm::new(&model, config).unwrap();
        let (rows, _) = model.sample(1_500, 2).unwrap();
        for (t, row) in rows.outer_iter().enumerate() {
            let mut row = row.to_vec();
            match t {
                300 => row = vec![1e99, -1e99],
                400..420 => row = vec![f64::NAN; 2],
                500..600 => row[0] = f64::NAN,
                700..1_000 => row = vec![0.25, 0.25],
                _ => {}
            }
            assert!(online.step(&row).unwrap().is_finite(), "row {t}");
        }
        assert!(matches!(online.step(&[f64::INFINITY, 0.0]), Err(HmmError::ObservationNotFinite { .. })));
        assert!(matches!(online.step(&[0.0]), Err(HmmError::Columns { .. })));
        let means = &online.model().emission().means;
        assert!(means.iter().all(|m| m.abs() < 4.0), "{means}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let model = two_states(CovarianceKind::Full, None);
    let check = |config: OnlineConfig, name: &str| {
        let refused = OnlineEm::new(&model, config).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    };
    check(OnlineConfig { memory_rows: f64::NAN, ..OnlineConfig::default() }, "memory_rows");
    check(OnlineConfig { every_rows: 0, ..OnlineConfig::default() }, "every_rows");
    check(OnlineConfig { stay_least: 1.0, ..OnlineConfig::default() }, "stay_least");
    check(OnlineConfig { rows_least: 0.0, ..OnlineConfig::default() }, "rows_least");
    check(OnlineConfig { covariance_floor: 0.0, ..OnlineConfig::default() }, "covariance_floor");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_rows_leave_finite_numbers(
        kind in 0usize..3,
        student in any::<bool>(),
        memory in 2.0f64..200.0,
        values in prop::collection::vec(
            prop_oneof![6 => -3.0f64..3.0, 1 => Just(f64::NAN), 1 => Just(0.0), 1 => -1e100f64..1e100, 1 => prop::num::f64::ANY],
            2..300,
        ),
    ) {
        let model = two_states(KINDS[kind], student.then_some(3.0));
        let config = OnlineConfig { memory_rows: memory, burn_in_rows: 0, every_rows: 1, rows_least: 1.0, ..OnlineConfig::default() };
        let mut online = OnlineEm::new(&model, config).unwrap();
        for row in values.chunks_exact(2) {
            match online.step(row) {
                Ok(log_density) => prop_assert!(log_density.is_finite()),
                Err(refusal) => prop_assert!(matches!(refusal, HmmError::ObservationNotFinite { .. }), "{refusal}"),
            }
            prop_assert!(online.probabilities().iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)));
            // The model is checked by its constructor; what it says of the next row must be a number.
            prop_assert!((0..2).all(|s| online.model().transition()[[s, s]] >= 0.5 - 1e-12));
            prop_assert!(Filter::new(online.model()).unwrap().step(&[0.3, 0.1]).unwrap().is_finite());
        }
    }
}
