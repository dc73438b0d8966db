//! What training and the live views are built from: windows, scaling, drift, labels, walk-forward.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{
    Agreement, Covariance, CovarianceKind, DRIFT_BLOCK, DegreesOfFreedom, DriftReference, Emission, FitConfig, Hmm, HmmError,
    Label, ModelFile, Observations, Scaling, WalkForward, WindowInference, agreement, label_states, per_row,
};
use ndarray::{Array2, Array3, array, s};
use support::check_close;

/// A falling, a flat and a rising state; feature 0 is the return, feature 1 a volatility of another size.
fn market(kind: CovarianceKind) -> Hmm {
    let means = array![[-0.004, 3.0], [0.0, 2.0], [0.003, 2.5]];
    let matrix = |s: usize, i: usize, j: usize| match (i, j) {
        (0, 0) => [4e-4, 2.5e-5, 1e-4][s],
        (1, 1) => 0.01,
        _ => 1e-4,
    };
    let covariance = match kind {
        CovarianceKind::Diagonal => Covariance::Diagonal(Array2::from_shape_fn((3, 2), |(s, i)| matrix(s, i, i))),
        CovarianceKind::Full => Covariance::Full(Array3::from_shape_fn((3, 2, 2), |(s, i, j)| matrix(s, i, j))),
        CovarianceKind::Tied => Covariance::Tied(Array2::from_shape_fn((2, 2), |(i, j)| matrix(2, i, j))),
    };
    let transition = array![[0.97, 0.02, 0.01], [0.01, 0.98, 0.01], [0.01, 0.02, 0.97]];
    Hmm::new(array![0.2, 0.5, 0.3], transition, Emission::student_t(means, covariance, 6.0)).unwrap()
}

const KINDS: [CovarianceKind; 3] = [CovarianceKind::Diagonal, CovarianceKind::Full, CovarianceKind::Tied];

#[test]
fn a_window_is_forward_backward_from_the_stationary_distribution() {
    for kind in KINDS {
        let model = market(kind);
        let (mut rows, _) = model.sample(600, 5).unwrap();
        rows[[300, 1]] = f64::NAN;
        let start = model.stationary().unwrap();
        let by_definition = Hmm::new(start, model.transition().to_owned(), model.emission().clone()).unwrap();
        let mut windows = WindowInference::new(&model).unwrap();
        for end in [1, 2, 256, 301, 302, 600] {
            let rows = rows.slice(s![usize::max(end, 256) - 256..end, ..]);
            let observations = Observations::new(rows).unwrap();
            let window = windows.infer(rows).unwrap();
            let smoothed = by_definition.smoothed(&observations).unwrap();
            let path = by_definition.viterbi(&observations).unwrap();
            assert_eq!((&window.smoothed, &window.path), (&smoothed.probabilities, &path.states));
            assert_eq!(window.switches, path.switches(observations.lengths()));
            check_close("viterbi", [window.path_log_probability], [path.log_probability], 1e-14);
            let count = |s: usize| path.states.iter().filter(|p| **p == s).count() as f64 / path.states.len() as f64;
            check_close("shares", window.shares, (0..3).map(count), 1e-12);
            check_close("likelihood", [window.log_likelihood_per_row * rows.nrows() as f64], [smoothed.log_likelihood], 1e-12);
        }
        assert!(matches!(windows.infer(rows.slice(s![..0, ..])), Err(HmmError::Empty { .. })));
        assert!(matches!(windows.infer(rows.slice(s![..5, ..1])), Err(HmmError::Columns { expected: 2, found: 1 })));
    }
}

#[test]
fn a_model_without_a_stationary_distribution_has_windows_too() {
    let model = market(CovarianceKind::Full);
    let apart = Hmm::new(model.start().to_owned(), Array2::eye(3), model.emission().clone()).unwrap();
    let (rows, _) = apart.sample(50, 1).unwrap();
    let window = WindowInference::new(&apart).unwrap().infer(rows.view()).unwrap();
    assert_eq!(window.switches, 0);
    check_close(
        "likelihood",
        [window.log_likelihood_per_row * 50.0],
        [apart.log_likelihood(&Observations::new(rows.view()).unwrap()).unwrap()],
        1e-12,
    );
}

#[test]
fn scaled_models_say_the_same_but_for_the_unit() {
    for kind in KINDS {
        let model = market(kind);
        let (rows, _) = model.sample(400, 3).unwrap();
        let observations = Observations::new(rows.view()).unwrap();
        let scaling = Scaling::of(&observations);
        let standardised = scaling.applied(rows.view()).unwrap();
        for column in standardised.columns() {
            check_close("mean and deviation", [column.mean().unwrap(), column.std(0.0)], [0.0, 1.0], 1e-12);
        }
        let scaled = model.scaled(&scaling).unwrap();
        let back = scaled.unscaled(&scaling).unwrap();
        check_close("means", back.emission().means.iter().copied(), model.emission().means.iter().copied(), 1e-15);
        let small = Observations::new(standardised.view()).unwrap();
        check_close(
            "posteriors",
            scaled.smoothed(&small).unwrap().probabilities,
            model.smoothed(&observations).unwrap().probabilities,
            1e-9,
        );
        // A density per unit: the two differ by the product of the deviations per row.
        let jacobian = 400.0 * scaling.deviation.iter().map(|d| d.ln()).sum::<f64>();
        let own = model.log_likelihood(&observations).unwrap();
        check_close("likelihood", [scaled.log_likelihood(&small).unwrap() - jacobian], [own], 1e-12);
        let file = ModelFile {
            model: scaled,
            features: vec!["return".into(), "volatility".into()],
            scaling: Some(scaling),
            training: None,
            labels: None,
            drift: None,
        };
        check_close("file", [file.in_feature_units().unwrap().log_likelihood(&observations).unwrap()], [own], 1e-12);
    }
}

#[test]
fn constant_and_missing_features_are_scaled_to_finite_numbers() {
    let mut rows = Array2::from_elem((10, 3), 1e6);
    rows.column_mut(1).fill(f64::NAN);
    rows.column_mut(2).iter_mut().enumerate().for_each(|(t, v)| *v = t as f64);
    let scaling = Scaling::of(&Observations::new(rows.view()).unwrap());
    assert_eq!(&scaling.deviation[..2], [1.0, 1.0]);
    let mut row = vec![1e6 + 5.0, f64::NAN, 4.5];
    scaling.apply(&mut row);
    assert!(row[0] == 5.0 && row[1].is_nan() && row[2] == 0.0);
    assert!(scaling.applied(rows.slice(s![.., ..2])).is_err());
}

#[test]
fn labels_of_a_fit_are_those_of_the_market() {
    let truth = market(CovarianceKind::Full);
    let (rows, _) = truth.sample(6_000, 9).unwrap();
    let observations = Observations::new(rows.view()).unwrap();
    let fit = FitConfig::new(3).fit(&observations).unwrap();
    let model = fit.model.reordered(&truth.matching(&fit.model).unwrap()).unwrap();
    let smoothed = model.smoothed(&observations).unwrap();
    let labels = label_states(&rows.column(0).to_vec(), smoothed.probabilities.view()).unwrap();
    assert_eq!(labels.iter().map(|l| l.label).collect::<Vec<_>>(), [Label::Bear, Label::Chop, Label::Bull], "{labels:?}");
    check_close("means", labels.iter().map(|l| l.mean_return), [-0.004, 0.0, 0.003], 1e-3);
}

#[test]
fn drift_is_silent_on_the_same_market_and_speaks_on_another() {
    let model = market(CovarianceKind::Full);
    let surprises = |model: &Hmm, rows: &Array2<f64>| model.surprises(&Observations::new(rows.view()).unwrap()).unwrap();
    let (training, _) = model.sample(5_000, 1).unwrap();
    let seen = surprises(&model, &training);
    check_close(
        "sum",
        [-seen.iter().sum::<f64>()],
        [model.log_likelihood(&Observations::new(training.view()).unwrap()).unwrap()],
        1e-12,
    );
    let reference = DriftReference::of(&seen, DRIFT_BLOCK).unwrap();
    let score = |rows: &Array2<f64>| {
        let tail = surprises(&model, rows);
        reference.score(tail[tail.len() - DRIFT_BLOCK..].iter().sum::<f64>() / DRIFT_BLOCK as f64)
    };
    let quiet = (0..100).filter(|seed| score(&model.sample(600, 100 + seed).unwrap().0) > 0.5).count();
    assert!(quiet <= 3, "{quiet} of 100 draws from the model itself drift");
    let wilder = (0..20).filter(|seed| score(&(model.sample(600, 200 + seed).unwrap().0 * 1.6)) > 0.5).count();
    assert_eq!(wilder, 20);
}

#[test]
fn walking_forward_scores_compares_and_labels() {
    let truth = market(CovarianceKind::Full);
    let (rows, _) = truth.sample(6_300, 12).unwrap();
    let returns = rows.column(0).to_vec();
    let degrees_of_freedom = DegreesOfFreedom::Fixed(6.0);
    let config = FitConfig { degrees_of_freedom, starts: 4, survivors: 1, ..FitConfig::new(3) };
    let walk = WalkForward { advance: 1_000, ..WalkForward::new(3_000, 500) };
    let mut heard = 0;
    let folds = walk.run(&config, rows.view(), &returns, |_| heard += 1).unwrap();
    let spans: Vec<(usize, usize)> = folds.iter().map(|f| (f.rows.train.start, f.rows.test.end)).collect();
    assert_eq!((heard, spans), (3, vec![(0, 3_500), (1_000, 4_500), (2_000, 5_500)]));
    assert!(folds[0].agreement.is_none());
    for fold in &folds[1..] {
        let Agreement { rows, states, votes, contradictions, firm_contradictions, opposed_states } = fold.agreement.unwrap();
        assert!(firm_contradictions <= rows, "{firm_contradictions} of {rows}");
        assert!(
            rows == 3_000 && states > 0.97 && votes > 0.97 && contradictions < 15 && opposed_states == 0,
            "{:?}",
            fold.agreement
        );
    }
    for fold in &folds {
        // Out of sample the truth itself is the limit.
        let all = rows.slice(s![fold.rows.train.start..fold.rows.test.end, ..]);
        let seen = rows.slice(s![fold.rows.train.clone(), ..]);
        let of = |rows| truth.log_likelihood(&Observations::new(rows).unwrap()).unwrap();
        let best = (of(all) - of(seen)) / 500.0;
        assert!((best - 0.05..best + 0.02).contains(&fold.log_likelihood_per_row), "{} of {best}", fold.log_likelihood_per_row);
        assert!((2..=40).contains(&fold.switches) && (2..=40).contains(&fold.path_switches), "{fold:?}");
    }
    // With `advance` = `test`, the plain walk gives the same figure; the last fold is shorter where that is allowed.
    let end_to_end = WalkForward { partial: true, ..WalkForward::new(3_000, 1_200) };
    let folds = end_to_end.run(&config, rows.view(), &returns, |_| {}).unwrap();
    let plain = per_row(&config.walk_forward(rows.view(), 3_000, 1_200).unwrap());
    let weighted: f64 = folds.iter().map(|f| f.log_likelihood_per_row * f.rows.test.len() as f64).sum::<f64>() / 3_300.0;
    assert_eq!(folds.iter().map(|f| f.rows.test.len()).collect::<Vec<_>>(), [1_200, 1_200, 900]);
    check_close("plain", [weighted], [plain], 1e-3);
    assert!(WalkForward::new(0, 5).folds(10).is_err() && WalkForward::new(10, 5).folds(14).unwrap().is_empty());
    assert!(walk.evaluate(&config, rows.view(), &returns[1..], &walk.folds(6_300).unwrap()[0], None).is_err());
}

#[test]
fn contradictions_are_counted() {
    let model = market(CovarianceKind::Full);
    let (rows, states) = model.sample(2_000, 4).unwrap();
    let observations = Observations::new(rows.view()).unwrap();
    let hard = Array2::from_shape_fn((2_000, 3), |(t, s)| f64::from(u8::from(states[t] == s)));
    let labels = label_states(&rows.column(0).to_vec(), hard.view()).unwrap();
    let mixed = model.reordered(&[2, 0, 1]).unwrap();
    let moved = [labels[2], labels[0], labels[1]];
    let same = agreement((&model, &labels), (&mixed, &moved), &observations).unwrap();
    let (contradictions, firm_contradictions, opposed_states) = (0, 0, 0);
    let all = Agreement { rows: 2_000, states: 1.0, votes: 1.0, contradictions, firm_contradictions, opposed_states };
    assert_eq!(same, all);
    // The newer model calls the falling state Bull and the rising one Bear.
    let path = model.viterbi(&observations).unwrap().states;
    let opposed = agreement((&model, &labels), (&model, &[labels[2], labels[1], labels[0]]), &observations).unwrap();
    assert_eq!(opposed.contradictions, path.iter().filter(|s| **s != 1).count());
    assert_eq!((opposed.states, opposed.opposed_states), (1.0, 2));
}
