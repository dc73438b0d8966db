//! The scaled E-step on every set of lanes against the one in log space, for all block counts, with gaps.

use crate::forward_backward::{Workspace, e_step, posteriors};
use crate::interleaved;
use crate::kernel::Kernel;
use crate::lanes::{self, Block};
use crate::log_space;
use crate::model::{Covariance, Emission, Hmm};
use crate::observations::Observations;
use crate::side_by_side::{Block8, Computable, models_at_once};
use crate::statistics::Statistics;
use ndarray::{Array1, Array2, Array3};
use proptest::prelude::*;

fn model(k: usize, d: usize, full: bool, student: bool) -> Hmm {
    let noise = |n: usize| ((n * 7919 + 13) % 101) as f64 / 101.0;
    let transition = Array2::from_shape_fn((k, k), |(i, j)| if k == 1 || i == j { 0.9 } else { 0.1 / (k - 1) as f64 });
    let transition = if k == 1 { Array2::ones((1, 1)) } else { transition };
    let means = Array2::from_shape_fn((k, d), |(s, i)| 3.0 * noise(s * d + i) - 1.5);
    let variance = |s: usize, i: usize| 0.3 + noise(50 + s * d + i);
    let covariance = if full {
        let entry = |s: usize, i: usize, j: usize| (variance(s, i) * variance(s, j)).sqrt() * if i == j { 1.0 } else { 0.3 };
        Covariance::Full(Array3::from_shape_fn((k, d, d), |(s, i, j)| entry(s, i, j)))
    } else {
        Covariance::Diagonal(Array2::from_shape_fn((k, d), |(s, i)| variance(s, i)))
    };
    let emission = if student { Emission::student_t(means, covariance, 4.0) } else { Emission::gaussian(means, covariance) };
    Hmm::new(Array1::from_elem(k, 1.0 / k as f64), transition, emission).expect("a model by construction")
}

fn close(what: &str, got: &[f64], expected: &[f64]) {
    for (n, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= 1e-10 * (1.0 + e.abs()), "{what}[{n}]: {g} against {e}");
    }
}

fn check(k: usize, d: usize, full: bool, student: bool, rows: &Array2<f64>) {
    let mut kernel = Kernel::new(&model(k, d, full, student)).expect("checked");
    kernel.fits_dof = true;
    let lengths = if rows.nrows() > 12 { vec![11, rows.nrows() - 11] } else { vec![rows.nrows()] };
    let observations = Observations::sequences(rows.view(), &lengths).expect("finite or missing");
    let mut exact = Statistics::new(k, d, full);
    for sequence in observations.each() {
        log_space::statistics(&kernel, sequence, &mut exact).expect("possible");
    }
    for portable in [false, true] {
        lanes::FORCE_PORTABLE.set(portable);
        let mut scaled = Statistics::new(k, d, full);
        let mut workspace = Workspace::new(&kernel);
        e_step(&kernel, &observations, &mut workspace, &mut scaled).expect("possible");
        close("log-likelihood", &[scaled.log_likelihood], &[exact.log_likelihood]);
        close("start", &scaled.start, &exact.start);
        close("transitions", &scaled.transitions, &exact.transitions);
        close("weight", &scaled.weight, &exact.weight);
        close("robust", &scaled.robust, &exact.robust);
        close("log minus", &scaled.log_minus, &exact.log_minus);
        close("first", &scaled.first, &exact.first);
        close("second", &scaled.second, &exact.second);
        for sequence in observations.each() {
            let (mut got, mut expected) = (vec![0.0; sequence.len() * k], vec![0.0; sequence.len() * k]);
            posteriors(&kernel, sequence, &mut workspace, &mut got).expect("possible");
            log_space::posteriors(&kernel, sequence, &mut expected).expect("possible");
            close("posteriors", &got, &expected);
        }
        lanes::FORCE_PORTABLE.set(false);
    }
}

/// Different models in one E-step, against each by itself.
fn check_interleaved<C: Computable>(k: usize, d: usize, full: bool, student: bool, rows: &Array2<f64>) {
    let kernel = |n: usize| {
        let model = model(k, d, full, student);
        let shift = n as f64 * 0.3;
        let emission = Emission { means: model.emission().means.mapv(|m| m + shift), ..model.emission().clone() };
        let stay = [0.9, 0.5, 0.99, 0.2][n % 4];
        let transition = Array2::from_shape_fn((k, k), |(i, j)| if i == j { stay } else { (1.0 - stay) / (k - 1) as f64 });
        let moved = Hmm::new(model.start().to_owned(), transition, emission).expect("a model by construction");
        let mut kernel = Kernel::new(&moved).expect("checked");
        kernel.fits_dof = true;
        kernel
    };
    let kernels: Vec<Kernel> = (0..C::MODELS).map(kernel).collect();
    let lengths = if rows.nrows() > 12 { vec![11, rows.nrows() - 11] } else { vec![rows.nrows()] };
    let observations = Observations::sequences(rows.view(), &lengths).expect("finite");
    if !interleaved::fits(k, &observations) || models_at_once() < C::MODELS {
        return;
    }
    let Some(all) =
        interleaved::e_step(&kernels.iter().collect::<Vec<_>>(), &observations, &mut interleaved::SideWorkspace::<C>::default())
    else {
        // A refusal is right only where a single model is refused by the scaled recursion as well.
        let refused = |kernel: &Kernel| {
            observations.each().any(|s| crate::forward_backward::forward(kernel, s, &mut Workspace::new(kernel)).is_none())
        };
        assert!(kernels.iter().any(refused), "refused for no reason");
        return;
    };
    for (kernel, got) in kernels.iter().zip(all) {
        let mut exact = Statistics::new(k, d, full);
        observations.each().for_each(|s| log_space::statistics(kernel, s, &mut exact).expect("possible"));
        close("log-likelihood", &[got.log_likelihood], &[exact.log_likelihood]);
        close("start", &got.start, &exact.start);
        close("transitions", &got.transitions, &exact.transitions);
        close("weight", &got.weight, &exact.weight);
        close("robust", &got.robust, &exact.robust);
        close("log minus", &got.log_minus, &exact.log_minus);
        close("first", &got.first, &exact.first);
        close("second", &got.second, &exact.second);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scaled_recursions_agree_with_log_space(
        k in prop_oneof![4 => 1usize..9, 1 => 9usize..24, 1 => Just(70usize)],
        d in 1usize..7,
        full: bool,
        student: bool,
        values in prop::collection::vec(prop_oneof![12 => -3.0f64..3.0, 1 => Just(f64::NAN), 1 => -60.0f64..60.0], 6..150),
    ) {
        let rows = Array2::from_shape_fn((values.len() / d, d), |(t, i)| values[t * d + i]);
        check(k, d, full, student, &rows);
    }

    #[test]
    fn models_side_by_side_agree_with_log_space(
        k in 2usize..5,
        d in 1usize..7,
        full: bool,
        student: bool,
        values in prop::collection::vec(prop_oneof![12 => -3.0f64..3.0, 1 => -30.0f64..30.0], 6..150),
    ) {
        let rows = Array2::from_shape_fn((values.len() / d, d), |(t, i)| values[t * d + i]);
        check_interleaved::<Block>(k, d, full, student, &rows);
        check_interleaved::<Block8>(k, d, full, student, &rows);
    }
}
