//! What a state means to a trader: Bear, Chop or Bull by the mean return in it, or Calm and Turbulent where returns don't tell.
//!
//! A state's mean return is weighted by its smoothed probabilities; its t-statistic allows for autocorrelation and for
//! volatility that comes in stretches (Newey–West). |t| < 2 is Chop, and so is a state whose mean isn't that far from the mean of all rows
//! as well: in a market that rose for years a state without a trend has a positive mean, and calling it Bull would change with
//! every refit. Where a side has two or more significant states the
//! outermost is Strong. Where no state is significant, labels go by volatility alone and don't vote: states are split at the
//! widest gap of their log deviations.

use crate::error::HmmError;
use crate::newey_west::{lags, variance_of_sum};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// A mean with a smaller t-statistic is not told from zero.
pub const SIGNIFICANT: f64 = 2.0;

/// A state's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Label {
    /// The lowest of several states that fall.
    StrongBear,
    /// Returns are negative.
    Bear,
    /// Returns can't be told from zero, while another state's can.
    Chop,
    /// Returns are positive.
    Bull,
    /// The highest of several states that rise.
    StrongBull,
    /// Less volatile; no state's returns can be told from zero.
    Calm,
    /// More volatile; no state's returns can be told from zero.
    Turbulent,
}

/// What a label says in a vote over time frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Vote {
    /// Down.
    Bear,
    /// Neither.
    Chop,
    /// Up.
    Bull,
}

impl Label {
    /// The three-way vote; none for labels by volatility.
    pub fn vote(self) -> Option<Vote> {
        match self {
            Label::StrongBear | Label::Bear => Some(Vote::Bear),
            Label::Chop => Some(Vote::Chop),
            Label::Bull | Label::StrongBull => Some(Vote::Bull),
            Label::Calm | Label::Turbulent => None,
        }
    }

    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Label::StrongBear => "STRONG_BEAR",
            Label::Bear => "BEAR",
            Label::Chop => "CHOP",
            Label::Bull => "BULL",
            Label::StrongBull => "STRONG_BULL",
            Label::Calm => "CALM",
            Label::Turbulent => "TURBULENT",
        }
    }
}

/// A state's label and the figures behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StateLabel {
    /// The name.
    pub label: Label,
    /// Mean return per row in the state.
    pub mean_return: f64,
    /// Its t-statistic; zero where nothing can be said (no rows, returns all alike).
    pub t_statistic: f64,
    /// Deviation of the returns in the state.
    pub deviation: f64,
    /// Expected rows in the state.
    pub rows: f64,
}

/// Labels of all states from the returns of the rows and their state probabilities (T × K; smoothed, or zeros and ones of a
/// path). A NaN return is left out.
pub fn label_states(returns: &[f64], probabilities: ArrayView2<'_, f64>) -> Result<Vec<StateLabel>, HmmError> {
    let (expected, found) = (probabilities.nrows(), returns.len());
    if expected != found {
        return Err(HmmError::Shape { what: "returns", expected, found });
    }
    if let Some(row) = returns.iter().position(|r| r.is_infinite()) {
        return Err(HmmError::ObservationNotFinite { row, column: 0, value: returns[row] });
    }
    let mut labels: Vec<StateLabel> = probabilities.columns().into_iter().map(|column| moments(returns, column.iter())).collect();
    let present = || returns.iter().filter(|r| !r.is_nan());
    let usual = present().sum::<f64>() / present().count().max(1) as f64;
    let sides: Vec<f64> = labels.iter().map(|state| side(state, usual)).collect();
    if sides.iter().any(|side| *side != 0.0) {
        by_mean(&mut labels, &sides);
    } else {
        by_volatility(&mut labels);
    }
    Ok(labels)
}

/// Weighted mean, deviation and t-statistic; the label is filled in later.
fn moments<'a>(returns: &[f64], weights: impl Iterator<Item = &'a f64>) -> StateLabel {
    let present = |(r, w): (&f64, &'a f64)| (!r.is_nan()).then_some((*r, *w));
    let pairs: Vec<(f64, f64)> = returns.iter().zip(weights).filter_map(present).collect();
    let rows: f64 = pairs.iter().map(|(_, w)| w).sum();
    let mut state = StateLabel { label: Label::Chop, mean_return: 0.0, t_statistic: 0.0, deviation: 0.0, rows };
    if !(rows > 1e-9) {
        return state;
    }
    state.mean_return = pairs.iter().map(|(r, w)| w * r).sum::<f64>() / rows;
    let scores: Vec<f64> = pairs.iter().map(|(r, w)| w * (r - state.mean_return)).collect();
    state.deviation = (pairs.iter().map(|(r, w)| w * (r - state.mean_return).powi(2)).sum::<f64>() / rows).sqrt();
    let error = variance_of_sum(&scores, lags(scores.len())).sqrt() / rows;
    // Less than a row's worth, or returns that are all alike: no error to speak of, so nothing is claimed.
    if rows >= 2.0 && error > 1e-12 * state.mean_return.abs() && error > 0.0 {
        state.t_statistic = state.mean_return / error;
    }
    state
}

/// 1 or −1 where the mean return is clearly on that side both of zero and of the mean of all rows, else 0.
fn side(state: &StateLabel, usual: f64) -> f64 {
    let StateLabel { mean_return, t_statistic, .. } = *state;
    let error = mean_return / t_statistic; // NaN where nothing can be said
    let beyond = |side: f64| side * t_statistic >= SIGNIFICANT && side * (mean_return - usual) / error.abs() >= SIGNIFICANT;
    [1.0, -1.0].into_iter().find(|&side| beyond(side)).unwrap_or(0.0)
}

fn by_mean(labels: &mut [StateLabel], sides: &[f64]) {
    for (side, plain, strong) in [(1.0, Label::Bull, Label::StrongBull), (-1.0, Label::Bear, Label::StrongBear)] {
        let of: Vec<usize> = (0..labels.len()).filter(|&s| sides[s] == side).collect();
        of.iter().for_each(|&s| labels[s].label = plain);
        let outermost = |a: &&usize, b: &&usize| (side * labels[**a].mean_return).total_cmp(&(side * labels[**b].mean_return));
        if let Some(&s) = of.iter().max_by(outermost).filter(|_| of.len() > 1) {
            labels[s].label = strong;
        }
    }
}

fn by_volatility(labels: &mut [StateLabel]) {
    labels.iter_mut().for_each(|s| s.label = Label::Calm);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| labels[a].deviation.total_cmp(&labels[b].deviation));
    let log = |s: usize| labels[s].deviation.max(1e-300).ln();
    let gap = |n: &usize| log(order[*n]) - log(order[n - 1]);
    let widest = (1..order.len()).filter(|n| gap(n) > 0.0).max_by(|a, b| gap(a).total_cmp(&gap(b)));
    if let Some(cut) = widest {
        order[cut..].iter().for_each(|&s| labels[s].label = Label::Turbulent);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use Label::*;
    use ndarray::Array2;

    /// Rows take the states by turns of ten; each state's returns are its mean ± its deviation.
    fn check(states: &[(f64, f64)], expected: &[Label]) {
        let (rows, k) = (4_000, states.len());
        let state = |t: usize| t / 10 % k;
        let mut seed = 9u64;
        let returns: Vec<f64> = (0..rows)
            .map(|t| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (mean, deviation) = states[state(t)];
                mean + deviation * 12f64.sqrt() * ((seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
            })
            .collect();
        let probabilities = Array2::from_shape_fn((rows, k), |(t, s)| f64::from(u8::from(state(t) == s)));
        let labels = label_states(&returns, probabilities.view()).unwrap();
        assert_eq!(labels.iter().map(|l| l.label).collect::<Vec<_>>(), expected, "{labels:?}");
    }

    #[test]
    fn states_are_named_by_their_mean_returns() {
        check(&[(0.002, 0.01), (-0.002, 0.01)], &[Bull, Bear]);
        check(&[(-0.004, 0.02), (0.0, 0.005), (0.003, 0.01)], &[Bear, Chop, Bull]);
        check(&[(0.009, 0.01), (0.005, 0.01), (-0.003, 0.01)], &[StrongBull, Bull, Bear]);
        // The middle one's returns are positive, and those of the market as a whole.
        check(&[(0.006, 0.01), (0.002, 0.01), (-0.003, 0.01)], &[Bull, Chop, Bear]);
        check(
            &[(-0.002, 0.01), (-0.008, 0.01), (0.003, 0.01), (0.009, 0.01), (0.0, 0.01)],
            &[Bear, StrongBear, Bull, StrongBull, Chop],
        );
        check(&[(0.003, 0.01), (0.0, 0.03)], &[Bull, Chop]);
    }

    #[test]
    fn without_a_significant_mean_they_are_named_by_volatility() {
        check(&[(0.0, 0.02), (0.0, 0.005)], &[Turbulent, Calm]);
        check(&[(0.0, 0.005), (0.0, 0.006), (0.0, 0.03)], &[Calm, Calm, Turbulent]);
        check(&[(0.0, 0.01)], &[Calm]);
        assert_eq!((Calm.vote(), StrongBear.vote()), (None, Some(Vote::Bear)));
    }

    /// The t-statistic of a mean over all rows is the textbook one when returns are independent.
    #[test]
    fn the_statistic_allows_for_autocorrelation() {
        let t = |returns: &[f64]| {
            let all = Array2::ones((returns.len(), 1));
            label_states(returns, all.view()).unwrap()[0].t_statistic
        };
        let mut seed = 4u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let independent: Vec<f64> = (0..3_000).map(|_| 0.02 + noise()).collect();
        let plain = |r: &[f64]| {
            let n = r.len() as f64;
            let mean = r.iter().sum::<f64>() / n;
            mean / (r.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n / n).sqrt()
        };
        assert!((t(&independent) / plain(&independent) - 1.0).abs() < 0.15);
        // Each return twice in a row: the same mean, half the information.
        let doubled: Vec<f64> = independent.iter().flat_map(|r| [*r, *r]).collect();
        let ratio = t(&doubled) / plain(&doubled);
        assert!((0.66..0.85).contains(&ratio), "{ratio}");
    }

    #[test]
    fn nothing_is_claimed_of_nothing() {
        let ones = Array2::ones((5, 1));
        for returns in [[0.0; 5], [0.01; 5], [f64::NAN; 5]] {
            let label = label_states(&returns, ones.view()).unwrap()[0];
            assert_eq!((label.label, label.t_statistic), (Calm, 0.0), "{returns:?}");
        }
        assert!(label_states(&[0.0; 4], ones.view()).is_err());
        assert!(label_states(&[0.0, 0.0, f64::INFINITY, 0.0, 0.0], ones.view()).is_err());
    }
}
