//! Bad input: an answer or a typed error, never a NaN and never a panic.
#![allow(clippy::unwrap_used)]

use hmm::{
    Covariance, CovarianceKind, CovariancePrior, DegreesOfFreedom, Emission, Filter, Fit, FitConfig, Hmm, HmmError, Observations,
    TransitionPrior,
};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn two_states() -> Hmm {
    let emission = Emission::gaussian(array![[-1.0], [1.0]], Covariance::Diagonal(array![[0.25], [0.25]]));
    Hmm::new(array![0.5, 0.5], array![[0.95, 0.05], [0.05, 0.95]], emission).unwrap()
}

fn settings(states: usize) -> Vec<FitConfig> {
    let mut all = Vec::new();
    for covariance in [CovarianceKind::Diagonal, CovarianceKind::Full, CovarianceKind::Tied] {
        for degrees_of_freedom in [DegreesOfFreedom::Gaussian, DegreesOfFreedom::Fixed(5.0), DegreesOfFreedom::FITTED] {
            all.push(FitConfig {
                covariance,
                degrees_of_freedom,
                starts: 4,
                survivors: 1,
                iterations: 40,
                ..FitConfig::new(states)
            });
        }
    }
    let tied_start = FitConfig { stationary_start: true, ..all[0].clone() };
    all.push(tied_start);
    all
}

/// Fits with every kind of emission; every number that comes out must be finite.
fn check_fit(states: usize, rows: &Array2<f64>) {
    let observations = Observations::new(rows.view()).unwrap();
    for config in settings(states) {
        let fit = config.fit(&observations).unwrap();
        check_finite(&fit, &observations);
    }
}

fn check_finite(fit: &Fit, observations: &Observations<'_>) {
    assert!(fit.log_likelihood.is_finite());
    let reseeded: Vec<usize> = fit.reseeded.iter().map(|r| r.iteration).collect();
    for (n, pair) in fit.history.windows(2).enumerate() {
        let fell = pair[1] < pair[0] - 1e-9 * (1.0 + pair[0].abs());
        assert!(!fell || reseeded.contains(&(n + 1)), "fell at {n}: {} to {}", pair[0], pair[1]);
    }
    let smoothed = fit.model.smoothed(observations).unwrap();
    let filtered = fit.model.filtered(observations).unwrap();
    for row in smoothed.probabilities.outer_iter().chain(filtered.probabilities.outer_iter()) {
        assert!(row.iter().all(|p| (0.0..=1.0 + 1e-12).contains(p)) && (row.sum() - 1.0).abs() < 1e-9, "{row}");
    }
    assert!(fit.model.viterbi(observations).unwrap().log_probability.is_finite());
}

/// A wave with noise from a small generator: two features, no two rows alike.
fn market(rows: usize) -> Array2<f64> {
    let mut seed = 1u64;
    Array2::from_shape_fn((rows, 2), |(t, i)| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let noise = (seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        let turbulent = if t / 40 % 2 == 0 { 0.01 } else { 0.04 };
        noise * turbulent + if i == 1 { 5.0 } else { 0.0 }
    })
}

#[test]
fn missing_values_outliers_and_flat_segments() {
    let mut rows = market(300);
    rows[[10, 0]] = f64::NAN;
    (20..30).for_each(|t| rows.row_mut(t).fill(f64::NAN));
    rows[[50, 1]] = 5.0 + 30.0 * 0.02;
    (100..140).for_each(|t| rows.row_mut(t).fill(0.0));
    check_fit(3, &rows);
    rows[[200, 0]] = 1e90;
    check_fit(2, &rows);
}

#[test]
fn constant_columns_single_rows_and_nothing_but_gaps() {
    check_fit(2, &Array2::from_elem((50, 2), 3.25));
    check_fit(2, &Array2::zeros((50, 1)));
    check_fit(1, &array![[0.3, -2.0]]);
    check_fit(3, &array![[0.3], [0.3], [7.0]]);
    let gaps = Array2::from_elem((20, 1), f64::NAN);
    let refused = FitConfig::new(2).fit(&Observations::new(gaps.view()).unwrap());
    assert_eq!(refused.unwrap_err(), HmmError::TooFewRows { rows: 0, states: 2 });
}

#[test]
fn more_states_than_rows_and_infinite_values_are_refused_by_name() {
    let rows = array![[1.0], [2.0]];
    let refused = FitConfig::new(3).fit(&Observations::new(rows.view()).unwrap()).unwrap_err();
    assert_eq!(refused, HmmError::TooFewRows { rows: 2, states: 3 });
    for value in [f64::INFINITY, f64::NEG_INFINITY, 1e101] {
        let rows = array![[1.0, 2.0], [3.0, value]];
        let refused = Observations::new(rows.view()).unwrap_err();
        assert_eq!(refused, HmmError::ObservationNotFinite { row: 1, column: 1, value });
    }
    let mut filter = Filter::new(&two_states()).unwrap();
    filter.step(&[0.9]).unwrap();
    let before = filter.probabilities();
    assert!(filter.step(&[f64::INFINITY]).is_err());
    assert!(filter.step(&[1.0, 2.0]).is_err());
    assert_eq!(filter.probabilities(), before);
}

#[test]
fn a_state_that_dies_is_reported() {
    // Three states on two clusters, the third far from all rows: it has no weight and must be placed anew or reported.
    let rows =
        Array2::from_shape_fn((200, 1), |(t, _)| if t / 50 % 2 == 0 { -1.0 } else { 1.0 } + 0.1 * ((t * 37 % 11) as f64 - 5.0));
    let emission = Emission::gaussian(array![[-1.0], [1.0], [500.0]], Covariance::Diagonal(array![[0.2], [0.2], [0.01]]));
    let transition = array![[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]];
    let model = Hmm::new(array![0.4, 0.4, 0.2], transition, emission).unwrap();
    let observations = Observations::new(rows.view()).unwrap();
    let fit = FitConfig::new(3).fit_from(&model, &observations).unwrap();
    assert!(!fit.reseeded.is_empty());
    check_finite(&fit, &observations);
    let without = FitConfig { reseeds: 0, ..FitConfig::new(3) }.fit_from(&model, &observations).unwrap();
    assert_eq!((without.degenerate.as_slice(), without.reseeded.len()), (&[2usize][..], 0));
    check_finite(&without, &observations);
}

#[test]
fn the_filter_recovers_within_five_bars() {
    for dof in [None, Some(4.0)] {
        let gaussian = two_states();
        let means = gaussian.emission().means.clone();
        let emission = match dof {
            None => gaussian.emission().clone(),
            Some(dof) => Emission::student_t(means, gaussian.emission().covariance.clone(), dof),
        };
        let model = Hmm::new(gaussian.start().to_owned(), gaussian.transition().to_owned(), emission).unwrap();
        for outlier in [15.0, -15.0, 1e3, -1e3, 1e99, f64::NAN] {
            let mut filter = Filter::new(&model).unwrap();
            (0..20).for_each(|_| assert!(filter.step(&[1.0]).is_ok()));
            assert!(filter.step(&[outlier]).unwrap().is_finite());
            (0..5).for_each(|_| assert!(filter.step(&[1.0]).is_ok()));
            assert!(filter.probability(1) > 0.95, "{dof:?} {outlier}: {:?}", filter.probabilities());
        }
    }
}

#[test]
fn extreme_chains_agree_with_log_space() {
    // No way back, and rows that first favour one state by far more than a double can hold, then the other.
    let emission = Emission::gaussian(array![[0.0], [1.0]], Covariance::Diagonal(array![[1.0], [1.0]]));
    let model = Hmm::new(array![0.5, 0.5], array![[1.0, 0.0], [0.0, 1.0]], emission).unwrap();
    let mut rows = vec![1500.0];
    rows.extend([-12.0; 300]);
    let rows = Array2::from_shape_vec((rows.len(), 1), rows).unwrap();
    let observations = Observations::new(rows.view()).unwrap();
    let density = Array2::from_shape_fn((rows.nrows(), 2), |(t, s)| {
        -0.5 * (rows[[t, 0]] - s as f64).powi(2) - 0.5 * (2.0 * std::f64::consts::PI).ln()
    });
    let given = hmm::log_space::forward_backward(model.start(), model.transition(), density.view()).unwrap();
    let smoothed = model.smoothed(&observations).unwrap();
    assert!((smoothed.log_likelihood - given.log_likelihood).abs() < 1e-8 * given.log_likelihood.abs());
    assert!(smoothed.probabilities[[0, 0]] > 0.999_999 && given.smoothed[[0, 0]] > 0.999_999);
    assert!(model.filtered(&observations).unwrap().probabilities[[0, 1]] > 0.999_999);
    // A state that can't be entered and can't be explained away.
    let impossible = hmm::log_space::forward_backward(
        array![1.0, 0.0].view(),
        array![[1.0, 0.0], [0.0, 1.0]].view(),
        array![[0.0, 0.0], [f64::NEG_INFINITY, 0.0]].view(),
    );
    assert_eq!(impossible.unwrap_err(), HmmError::Impossible { row: 1 });
}

#[test]
fn priors_hold_and_the_objective_still_never_falls() {
    let rows = market(400);
    let observations = Observations::new(rows.view()).unwrap();
    for config in settings(2) {
        let sticky = FitConfig {
            transition_prior: Some(TransitionPrior { every: 1.0, stay: 400.0 }),
            covariance_prior: Some(CovariancePrior { pseudo_rows: 50.0, relative_scale: 0.5 }),
            ..config.clone()
        };
        let (plain, held) = (config.fit(&observations).unwrap(), sticky.fit(&observations).unwrap());
        check_finite(&held, &observations);
        let stay = |fit: &Fit| fit.model.transition()[[0, 0]].min(fit.model.transition()[[1, 1]]);
        assert!(stay(&held) > stay(&plain) && stay(&held) > 0.95, "{} against {}", stay(&held), stay(&plain));
    }
}

#[test]
fn models_that_are_none_are_refused() {
    let emission = || Emission::gaussian(array![[0.0], [1.0]], Covariance::Diagonal(array![[1.0], [1.0]]));
    let a = || array![[0.9, 0.1], [0.1, 0.9]];
    assert!(matches!(Hmm::new(array![0.5, 0.4], a(), emission()), Err(HmmError::NotAProbability { what: "start", .. })));
    assert!(matches!(
        Hmm::new(array![0.5, 0.5], array![[0.9, 0.1], [f64::NAN, 0.9]], emission()),
        Err(HmmError::NotAProbability { what: "transition", row: 1, .. })
    ));
    assert!(matches!(Hmm::new(array![1.0], array![[1.0]], emission()), Err(HmmError::Shape { .. })));
    let tied = Emission::gaussian(array![[0.0, 0.0], [1.0, 1.0]], Covariance::Tied(array![[1.0, 2.0], [2.0, 1.0]]));
    assert_eq!(Hmm::new(array![0.5, 0.5], a(), tied).unwrap_err(), HmmError::NotPositiveDefinite { state: 0 });
    let student = Emission::student_t(array![[0.0], [1.0]], Covariance::Diagonal(array![[1.0], [1.0]]), 0.0);
    assert!(matches!(Hmm::new(array![0.5, 0.5], a(), student), Err(HmmError::DegreesOfFreedom { state: 0, .. })));
    let infinite = Emission::gaussian(array![[0.0], [f64::INFINITY]], Covariance::Diagonal(array![[1.0], [1.0]]));
    assert!(matches!(Hmm::new(array![0.5, 0.5], a(), infinite), Err(HmmError::NotFinite { what: "mean", state: 1, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_rows_give_an_answer_or_a_typed_error(
        states in 1usize..7,
        dims in 1usize..4,
        values in prop::collection::vec(
            prop_oneof![
                6 => -2.0f64..2.0,
                1 => Just(f64::NAN),
                1 => Just(0.0),
                1 => prop::num::f64::ANY,
                1 => Just(f64::INFINITY),
            ],
            1..60,
        ),
        which in 0usize..10,
    ) {
        let rows = values.len() / dims;
        prop_assume!(rows > 0);
        let rows = Array2::from_shape_fn((rows, dims), |(t, i)| values[t * dims + i]);
        let Ok(observations) = Observations::new(rows.view()) else { return Ok(()) };
        let config = FitConfig { iterations: 15, short_iterations: 5, starts: 2, ..settings(states)[which].clone() };
        if let Ok(fit) = config.fit(&observations) {
            check_finite(&fit, &observations);
        }
    }
}
