//! Times `hmm` and hmmlearn-rs on rows that compare.py wrote: `side_by_side DIR STATES DIMS ITERATIONS`.
//!
//! DIR holds rows.f64, start.f64, transition.f64, means.f64 (little-endian, row-major). Both start from the same parameters with
//! unit covariances and run plain maximum likelihood. One JSON object per line comes out: who, what, nanoseconds per step, the
//! log-likelihood after the iterations.
#![allow(clippy::unwrap_used, reason = "a bench may fail loudly")]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hmm::ndarray::{Array1, Array2, Array3};
use hmm::{Covariance, Emission, Filter, FitConfig, Hmm, Observations};
#[cfg(feature = "hmmlearn-rs")]
use hmmlearn::{
    core::Implementation,
    covariance::{CovarStore, CovarianceType},
    models::GaussianHmm,
    ndarray as theirs,
};

struct Input {
    rows: Vec<f64>,
    start: Vec<f64>,
    transition: Vec<f64>,
    means: Vec<f64>,
    k: usize,
    d: usize,
    iterations: usize,
}

fn numbers(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Nanoseconds per step, the best of three windows of at least a quarter of a second.
fn best(steps: usize, mut work: impl FnMut()) -> f64 {
    let once = timed(&mut work);
    let repeats = (2.5e8 / once).ceil().clamp(1.0, 1e4) as usize;
    let window = |work: &mut dyn FnMut()| timed(&mut || (0..repeats).for_each(|_| work()));
    (0..3).map(|_| window(&mut work)).fold(f64::INFINITY, f64::min) / (steps * repeats) as f64
}

/// Nanoseconds that this thread had a processor (Linux), as Python's `process_time` counts; else wall time.
fn timed(work: &mut dyn FnMut()) -> f64 {
    let processor = || std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse::<u64>().ok();
    let (begun, before) = (Instant::now(), processor());
    work();
    let own = before.zip(processor()).map(|(before, after)| after.saturating_sub(before)).filter(|nanos| *nanos > 0);
    own.map_or_else(|| begun.elapsed().as_nanos() as f64, |nanos| nanos as f64)
}

fn tell(who: &str, what: &str, nanos: f64, log_likelihood: f64) {
    println!(r#"{{"who": "{who}", "what": "{what}", "nanos": {nanos:.2}, "log_likelihood": {log_likelihood:.6}}}"#);
}

fn ours(input: &Input, full: bool) {
    let (k, d) = (input.k, input.d);
    let name = if full { "full" } else { "diag" };
    let rows = Array2::from_shape_vec((input.rows.len() / d, d), input.rows.clone()).unwrap();
    let covariance = if full {
        Covariance::Full(Array3::from_shape_fn((k, d, d), |(_, i, j)| f64::from(u8::from(i == j))))
    } else {
        Covariance::Diagonal(Array2::ones((k, d)))
    };
    let means = Array2::from_shape_vec((k, d), input.means.clone()).unwrap();
    let transition = Array2::from_shape_vec((k, k), input.transition.clone()).unwrap();
    let model = Hmm::new(Array1::from(input.start.clone()), transition, Emission::gaussian(means, covariance)).unwrap();
    let observations = Observations::new(rows.view()).unwrap();
    let fit = |iterations| {
        let config = FitConfig { tolerance: 0.0, iterations, ..FitConfig::new(k) };
        config.fit_from(&model, &observations).unwrap()
    };
    let steps = rows.nrows();
    let (few, many) = (best(steps, || drop(black_box(fit(2)))), best(steps, || drop(black_box(fit(input.iterations)))));
    // A fit of n iterations evaluates n + 1 times; history[n − 1] is what the others report after n.
    let after = fit(input.iterations).history[input.iterations - 1];
    tell("hmm", &format!("EM {name}"), (many - few) / (input.iterations - 2) as f64, after);
    let path = model.viterbi(&observations).unwrap().log_probability;
    tell("hmm", &format!("Viterbi {name}"), best(steps, || drop(black_box(model.viterbi(&observations).unwrap()))), path);
    let mut filter = Filter::new(&model).unwrap();
    let mut sum = 0.0;
    let nanos = best(steps, || sum = input.rows.chunks_exact(d).map(|row| filter.step(row).unwrap()).sum());
    tell("hmm", &format!("filter {name}"), nanos, sum);
}

#[cfg(feature = "hmmlearn-rs")]
fn other(input: &Input, full: bool, implementation: Implementation, mode: &str) {
    let (k, d) = (input.k, input.d);
    let name = if full { "full" } else { "diag" };
    let rows = theirs::Array2::from_shape_vec((input.rows.len() / d, d), input.rows.clone()).unwrap();
    let covars = if full {
        CovarStore::Full(theirs::Array3::from_shape_fn((k, d, d), |(_, i, j)| f64::from(u8::from(i == j))))
    } else {
        CovarStore::Diag(theirs::Array2::ones((k, d)))
    };
    let model = |iterations: usize| {
        GaussianHmm::new(k)
            .covariance_type(if full { CovarianceType::Full } else { CovarianceType::Diag })
            .implementation(implementation)
            .n_iter(iterations)
            .tol(f64::NEG_INFINITY)
            .min_covar(0.0)
            .covars_prior(0.0)
            .init_params("")
            .start_prob(theirs::Array1::from(input.start.clone()))
            .trans_mat(theirs::Array2::from_shape_vec((k, k), input.transition.clone()).unwrap())
            .means(theirs::Array2::from_shape_vec((k, d), input.means.clone()).unwrap())
            .covars(covars.clone())
    };
    let steps = rows.nrows();
    let time = |iterations: usize| {
        let mut after = f64::NAN;
        let nanos = timed(&mut || after = model(iterations).fit(rows.view(), None).unwrap().monitor().history[iterations - 1]);
        (nanos / steps as f64, after)
    };
    let few = (0..2).map(|_| time(2).0).fold(f64::INFINITY, f64::min);
    let (many, after) = time(input.iterations);
    tell(&format!("hmmlearn-rs {mode}"), &format!("EM {name}"), (many - few) / (input.iterations - 2) as f64, after);
    let fitted = model(1).into_fitted().unwrap();
    let mut path = 0.0;
    let nanos = best(steps, || path = black_box(fitted.decode(rows.view(), None, None).unwrap()).0);
    tell(&format!("hmmlearn-rs {mode}"), &format!("Viterbi {name}"), nanos, path);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [dir, k, d, iterations] = &args[1..] else { panic!("usage: side_by_side DIR STATES DIMS ITERATIONS") };
    let file = |name: &str| numbers(&Path::new(dir).join(name));
    let input = Input {
        rows: file("rows.f64"),
        start: file("start.f64"),
        transition: file("transition.f64"),
        means: file("means.f64"),
        k: k.parse().unwrap(),
        d: d.parse().unwrap(),
        iterations: iterations.parse().unwrap(),
    };
    for full in [false, true] {
        ours(&input, full);
        #[cfg(feature = "hmmlearn-rs")]
        for (implementation, mode) in [(Implementation::Scaling, "scaling"), (Implementation::Log, "log")] {
            other(&input, full, implementation, mode);
        }
    }
}
