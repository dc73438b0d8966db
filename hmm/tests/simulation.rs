//! Two-state daily returns with Student-t(5) noise: how good are the regimes, against a filter that knows the truth?
//! HMM_SEEDS for how many seeds (60 for the full claim).
#![allow(clippy::unwrap_used)]

use hmm::{
    Covariance, CovarianceKind, DegreesOfFreedom, Emission, FitConfig, Hmm, Observations, Posteriors, SchmittTrigger,
    TransitionPrior,
};
use ndarray::array;

const ROWS: usize = 2_000;

fn seeds() -> u64 {
    std::env::var("HMM_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(10)
}

/// Bull .0615 % / .776 %, bear −.0785 % / 1.74 % (deviations), p01 .0021, p10 .0120.
fn truth() -> Hmm {
    // A t(5) of scale s has variance 5/3 s².
    let scale = |deviation: f64| deviation * deviation * 0.6;
    let covariance = Covariance::Diagonal(array![[scale(0.007_76)], [scale(0.0174)]]);
    let emission = Emission::student_t(array![[0.000_615], [-0.000_785]], covariance, 5.0);
    let transition = array![[1.0 - 0.0021, 0.0021], [0.0120, 1.0 - 0.0120]];
    let uniform = Hmm::new(array![0.5, 0.5], transition.clone(), emission.clone()).unwrap();
    Hmm::new(uniform.stationary().unwrap(), transition, emission).unwrap()
}

fn switches(path: &[usize]) -> usize {
    path.windows(2).filter(|w| w[0] != w[1]).count()
}

/// Mean of the two states' hit rates (one state only: its own).
fn balanced_accuracy(path: &[usize], states: &[usize]) -> f64 {
    let rate = |s: usize| {
        let of = states.iter().filter(|t| **t == s).count();
        let hit = states.iter().zip(path).filter(|(t, p)| **t == s && t == p).count();
        (of > 0).then(|| hit as f64 / of as f64)
    };
    let rates: Vec<f64> = [0, 1].into_iter().filter_map(rate).collect();
    rates.iter().sum::<f64>() / rates.len() as f64
}

fn decided(posteriors: &Posteriors) -> Vec<usize> {
    let mut trigger = SchmittTrigger::new(0.8, 0.5).unwrap();
    let likeliest = |p: &[f64]| usize::from(p[1] > p[0]);
    let rows = posteriors.probabilities.outer_iter();
    rows.map(|row| row.to_vec()).map(|p| trigger.step(&p).map_or(likeliest(&p), |d| d.state)).collect()
}

fn likeliest(posteriors: &Posteriors) -> Vec<usize> {
    posteriors.probabilities.outer_iter().map(|p| usize::from(p[1] > p[0])).collect()
}

#[derive(Default)]
struct Score {
    accuracy: f64,
    switches: usize,
}

impl Score {
    fn add(&mut self, path: &[usize], states: &[usize]) {
        self.accuracy += balanced_accuracy(path, states) / seeds() as f64;
        self.switches += switches(path);
    }
}

#[test]
fn regimes_are_as_good_as_with_the_true_parameters() {
    let truth = truth();
    let [mut online, mut online_truth, mut lagged, mut lagged_truth] = [(); 4].map(|()| Score::default());
    let mut true_switches = 0;
    // About one draw in thirty never leaves the bull: no fit can find a second regime in it, so the next draw takes its place.
    let both = |states: &[usize]| (20..ROWS - 20).contains(&states.iter().sum::<usize>());
    let draws = (0..).map(|seed| (seed, truth.sample(ROWS, 1_000 + seed).unwrap())).filter(|(_, (_, states))| both(states));
    for (seed, (rows, states)) in draws.take(seeds() as usize) {
        let observations = Observations::new(rows.view()).unwrap();
        let config = FitConfig {
            covariance: CovarianceKind::Diagonal,
            degrees_of_freedom: DegreesOfFreedom::Fixed(5.0),
            transition_prior: Some(TransitionPrior { every: 0.0, stay: 20.0 }),
            seed,
            ..FitConfig::new(2)
        };
        let fitted = config.fit(&observations).unwrap().model;
        let fitted = fitted.reordered(&truth.matching(&fitted).unwrap()).unwrap();
        online.add(&decided(&fitted.filtered(&observations).unwrap()), &states);
        online_truth.add(&decided(&truth.filtered(&observations).unwrap()), &states);
        lagged.add(&likeliest(&fitted.fixed_lag(&observations, 20).unwrap()), &states);
        lagged_truth.add(&likeliest(&truth.fixed_lag(&observations, 20).unwrap()), &states);
        true_switches += switches(&states);
    }
    for (name, fitted, known) in [("online", online, online_truth), ("lag 20", lagged, lagged_truth)] {
        let ratio = |score: &Score| score.switches as f64 / true_switches as f64;
        let (own, best) = (ratio(&fitted), ratio(&known));
        println!(
            "{name}: balanced accuracy {:.4} (truth {:.4}), switches ÷ true {own:.3} (truth {best:.3})",
            fitted.accuracy, known.accuracy
        );
        assert!(fitted.accuracy > known.accuracy - 0.01, "{name}: {} against {}", fitted.accuracy, known.accuracy);
        assert!(own <= 1.2, "{name}: {own}");
    }
}
