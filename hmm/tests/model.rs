//! Files, selection, chains, sampling, matching, missing data: what surrounds the recursions.
#![allow(clippy::unwrap_used)]

mod support;

use hmm::{
    Covariance, CovarianceKind, DegreesOfFreedom, DriftReference, Emission, FitConfig, Hmm, HmmError, ModelFile, Observations,
    Scaling, Training, entropy, fingerprint, label_states, per_row,
};
use ndarray::{Array2, Array3, array};
use support::check_close;

fn three_states(kind: CovarianceKind, dof: Option<f64>) -> Hmm {
    let means = array![[-2.0, 1.0], [0.1 + 0.2, 0.0], [2.0, -1.0]];
    let matrix = |s: usize, i: usize, j: usize| if i == j { 0.5 + 0.1 * s as f64 } else { 0.1 };
    let covariance = match kind {
        CovarianceKind::Diagonal => Covariance::Diagonal(Array2::from_shape_fn((3, 2), |(s, i)| matrix(s, i, i))),
        CovarianceKind::Full => Covariance::Full(Array3::from_shape_fn((3, 2, 2), |(s, i, j)| matrix(s, i, j))),
        CovarianceKind::Tied => Covariance::Tied(Array2::from_shape_fn((2, 2), |(i, j)| matrix(0, i, j))),
    };
    let emission = match dof {
        None => Emission::gaussian(means, covariance),
        Some(dof) => Emission::student_t(means, covariance, dof),
    };
    let transition = array![[0.95, 0.04, 0.01], [0.02, 0.95, 0.03], [0.01, 0.04, 0.95]];
    Hmm::new(array![0.2, 0.5, 0.3], transition, emission).unwrap()
}

const KINDS: [CovarianceKind; 3] = [CovarianceKind::Diagonal, CovarianceKind::Full, CovarianceKind::Tied];

#[test]
fn a_file_comes_back_with_the_same_bits() {
    for kind in KINDS {
        for dof in [None, Some(5.0)] {
            let drawn = three_states(kind, dof).sample(500, 3).unwrap().0;
            let observations = Observations::new(drawn.view()).unwrap();
            let fit =
                FitConfig { covariance: kind, starts: 1, ..FitConfig::new(3) }.fit_from(&three_states(kind, dof), &observations);
            let file = ModelFile {
                model: fit.unwrap().model,
                features: vec!["return".into(), "log_realised_volatility".into()],
                scaling: Some(Scaling { mean: vec![1e-7, 0.1 + 0.2], deviation: vec![0.01, 1.0 / 3.0] }),
                training: Some(Training {
                    from_ms: 1_600_000_000_000,
                    to_ms: 1_700_000_000_000,
                    rows: 500,
                    hash: fingerprint(drawn.view()),
                    log_likelihood: -1234.567,
                }),
                labels: Some(label_states(&vec![0.1; 500], Array2::ones((500, 3)).view()).unwrap()),
                drift: Some(DriftReference { block: 500, mean: -2.1, deviation: 0.1 + 0.2, blocks: 31 }),
            };
            let text = file.to_json().unwrap();
            let back = ModelFile::from_json(&text).unwrap();
            assert_eq!(back, file);
            assert_eq!(back.to_json().unwrap(), text);
        }
    }
}

fn check_refused(edit: impl Fn(String) -> String, expected: &str) {
    let file = ModelFile {
        model: three_states(CovarianceKind::Full, None),
        features: vec!["a".into(), "b".into()],
        scaling: None,
        training: None,
        labels: None,
        drift: None,
    };
    let refused = ModelFile::from_json(&edit(file.to_json().unwrap())).unwrap_err();
    assert!(refused.to_string().contains(expected), "{refused}");
}

#[test]
fn files_that_are_none_are_refused_by_name() {
    check_refused(|t| t.replace("\"version\": 1", "\"version\": 2"), "version 2");
    check_refused(|t| t.replace("\"version\": 1,", ""), "missing field `version`");
    check_refused(|t| t[..t.len() / 2].to_string(), "reading a model file failed");
    check_refused(|t| t.replace("\"b\"", "\"b\", \"c\""), "features has 3 entries where 2 are needed");
    check_refused(|t| t.replacen("0.95", "0.5", 1), "transition row 0");
    check_refused(|t| t.replacen("0.1\n", "9.1\n", 1), "covariance of state 0");
    check_refused(|_| "[]".into(), "reading a model file failed");
}

#[test]
fn fitted_degrees_of_freedom_and_missing_values_find_the_truth() {
    for kind in KINDS {
        let truth = three_states(kind, Some(6.0));
        let (mut rows, _) = truth.sample(12_000, 11).unwrap();
        // Every seventh value is lost.
        rows.iter_mut().enumerate().filter(|(n, _)| n % 7 == 3).for_each(|(_, v)| *v = f64::NAN);
        let observations = Observations::new(rows.view()).unwrap();
        assert!(observations.has_missing());
        let degrees_of_freedom = DegreesOfFreedom::Fitted { start: 20.0, least: 2.05, most: 200.0, shared: true };
        let config = FitConfig { covariance: kind, degrees_of_freedom, starts: 2, survivors: 1, ..FitConfig::new(3) };
        let fit = config.fit(&observations).unwrap();
        assert!(fit.history.windows(2).all(|w| w[1] >= w[0] - 1e-7), "{kind:?} fell");
        assert!(fit.log_likelihood >= truth.log_likelihood(&observations).unwrap() - 1.0);
        let model = fit.model.reordered(&truth.matching(&fit.model).unwrap()).unwrap();
        check_close("means", model.emission().means.iter().copied(), truth.emission().means.iter().copied(), 0.06);
        check_close("transition", model.transition().iter().copied(), truth.transition().iter().copied(), 0.015);
        let dof = model.emission().degrees_of_freedom.as_ref().unwrap()[0];
        assert!((4.5..8.5).contains(&dof), "{kind:?} ν {dof}");
        for s in 0..3 {
            let (own, true_scale) = (model.emission().covariance.of_state(s), truth.emission().covariance.of_state(s));
            check_close("scale", own.iter().copied(), true_scale.iter().copied(), 0.08);
        }
    }
}

#[test]
fn sequences_apart_are_sequences_on_their_own() {
    let model = three_states(CovarianceKind::Full, None);
    let rows = model.sample(300, 5).unwrap().0;
    let both = Observations::sequences(rows.view(), &[120, 180]).unwrap();
    let (first, second) = (rows.slice(ndarray::s![..120, ..]), rows.slice(ndarray::s![120.., ..]));
    let alone = |rows| model.log_likelihood(&Observations::new(rows).unwrap()).unwrap();
    check_close("likelihood", [model.log_likelihood(&both).unwrap()], [alone(first) + alone(second)], 1e-13);
    let columns = rows.t().to_owned();
    assert_eq!(
        model.log_likelihood(&Observations::new(columns.t()).unwrap()),
        model.log_likelihood(&Observations::new(rows.view()).unwrap())
    );
    for lengths in [&[100, 100][..], &[300, 0], &[usize::MAX, 2]] {
        assert!(matches!(Observations::sequences(rows.view(), lengths), Err(HmmError::Lengths { rows: 300, .. })));
    }
}

#[test]
fn chains() {
    let model = three_states(CovarianceKind::Diagonal, None);
    let stationary = model.stationary().unwrap();
    check_close("stationary", stationary.dot(&model.transition()).to_vec(), stationary.to_vec(), 1e-15);
    let far = model.forecast(model.start(), 2_000).unwrap();
    check_close("forecast", far.row(1_999).to_vec(), stationary.to_vec(), 1e-12);
    check_close("durations", model.expected_durations().to_vec(), [20.0, 20.0, 20.0], 1e-12);
    check_close("entropy", [entropy(&[0.25; 4]), entropy(&[1.0, 0.0])], [4f64.ln(), 0.0], 1e-15);
    let emission = model.emission().clone();
    let split = array![[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]];
    assert_eq!(Hmm::new(array![1.0, 0.0, 0.0], split, emission.clone()).unwrap().stationary(), Err(HmmError::NotErgodic));
    let drained = array![[0.5, 0.25, 0.25], [0.0, 0.9, 0.1], [0.0, 0.3, 0.7]];
    let drained = Hmm::new(array![1.0, 0.0, 0.0], drained, emission).unwrap();
    check_close("drained", drained.stationary().unwrap().to_vec(), [0.0, 0.75, 0.25], 1e-15);
    assert_eq!(drained.expected_durations()[0], 2.0);
}

#[test]
fn samples_have_the_models_moments_and_seeds() {
    let model = three_states(CovarianceKind::Full, Some(8.0));
    let (rows, states) = model.sample(200_000, 9).unwrap();
    assert_eq!(model.sample(50, 9).unwrap().0, rows.slice(ndarray::s![..50, ..]));
    for s in 0..3 {
        let of: Vec<[f64; 2]> = (0..rows.nrows()).filter(|&t| states[t] == s).map(|t| [rows[[t, 0]], rows[[t, 1]]]).collect();
        let mean = |f: &dyn Fn(&[f64; 2]) -> f64| of.iter().map(f).sum::<f64>() / of.len() as f64;
        let means = [mean(&|r| r[0]), mean(&|r| r[1])];
        check_close("mean", means, model.emission().means.row(s).to_vec(), 0.02);
        let covariance = mean(&|r| (r[0] - means[0]) * (r[1] - means[1]));
        check_close("covariance", [covariance], [0.1 * 8.0 / 6.0], 0.02);
        let variance = mean(&|r| (r[0] - means[0]).powi(2));
        check_close("variance", [variance], [(0.5 + 0.1 * s as f64) * 8.0 / 6.0], 0.03);
    }
}

#[test]
fn matching_undoes_any_order() {
    let model = three_states(CovarianceKind::Full, None);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mixed = model.reordered(&order).unwrap();
        assert_eq!(mixed.reordered(&model.matching(&mixed).unwrap()).unwrap(), model);
    }
    assert!(model.reordered(&[0, 0, 1]).is_err() && model.reordered(&[0, 1]).is_err());
    assert!(model.symmetric_kl(&model, 1_000, 1).unwrap() < 1e-12);
    let mixed = model.reordered(&[2, 0, 1]).unwrap();
    assert!(model.symmetric_kl(&mixed, 1_000, 1).unwrap() < 1e-12);
    // One state each: ½(KL + KL) = Δμᵀ Σ⁻¹ Δμ / 2 for equal covariances.
    let one = |mean: f64| {
        let emission = Emission::gaussian(array![[mean]], Covariance::Diagonal(array![[0.25]]));
        Hmm::new(array![1.0], array![[1.0]], emission).unwrap()
    };
    check_close("divergence", [one(0.0).symmetric_kl(&one(0.5), 100_000, 1).unwrap()], [0.5], 0.01);
}

#[test]
fn criteria_and_folds_choose_the_true_number_of_states() {
    let rows = three_states(CovarianceKind::Diagonal, None).sample(3_000, 21).unwrap().0;
    let observations = Observations::new(rows.view()).unwrap();
    let config = |states| FitConfig { covariance: CovarianceKind::Diagonal, starts: 6, ..FitConfig::new(states) };
    let bic = |states| config(states).fit(&observations).unwrap().bic(&config(states), rows.nrows());
    let aic = |states| config(states).fit(&observations).unwrap().aic(&config(states));
    assert!(bic(3) < bic(2) && bic(3) < bic(4));
    assert!(aic(3) < aic(2));
    let walk = |states| per_row(&config(states).walk_forward(rows.view(), 1_500, 500).unwrap());
    let cross = |states| per_row(&config(states).cross_validate(rows.view(), 3).unwrap());
    assert!(walk(3) > walk(2) && walk(3) > walk(1));
    assert!(cross(3) > cross(2));
    let folds = config(1).walk_forward(rows.view(), 1_400, 500).unwrap();
    assert_eq!(
        folds.iter().map(|f| (f.from, f.to)).collect::<Vec<_>>(),
        [(1400, 1900), (1900, 2400), (2400, 2900), (2900, 3000)]
    );
}
