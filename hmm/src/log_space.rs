//! The recursions in log space, for any number of states and any densities.
//!
//! Slow (a log-sum-exp per cell) and exact over the whole range of a double: what the scaled recursions fall back on, the
//! oracle of their tests, and, as public functions, the way to use densities of one's own (categorical, counts, mixtures):
//! pass log p(row_t | state i) as a T × K array.

use crate::error::HmmError;
use crate::kernel::Kernel;
use crate::observations::Sequence;
use crate::statistics::Statistics;
use ndarray::{Array2, ArrayView1, ArrayView2};

/// Posteriors under given log densities.
#[derive(Debug, Clone)]
pub struct Given {
    /// log p(rows).
    pub log_likelihood: f64,
    /// P(S_t | rows up to t), T × K.
    pub filtered: Array2<f64>,
    /// P(S_t | all rows), T × K.
    pub smoothed: Array2<f64>,
}

/// log Σ exp; −∞ for an empty or impossible sum.
pub(crate) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY { top } else { top + values.map(|v| (v - top).exp()).sum::<f64>().ln() }
}

/// Log start, log transition (flat) and log densities (flat, T × K).
struct Chain {
    states: usize,
    start: Vec<f64>,
    transition: Vec<f64>,
    density: Vec<f64>,
}

impl Chain {
    fn new(
        start: ArrayView1<'_, f64>,
        transition: ArrayView2<'_, f64>,
        log_density: ArrayView2<'_, f64>,
    ) -> Result<Self, HmmError> {
        let states = start.len();
        let shape = |what, expected, found| {
            if expected == found { Ok(()) } else { Err(HmmError::Shape { what, expected, found }) }
        };
        shape("transition", states * states, transition.len())?;
        shape("log densities", states, log_density.ncols())?;
        if let Some(row) = log_density.outer_iter().position(|r| r.iter().any(|v| v.is_nan() || *v == f64::INFINITY)) {
            return Err(HmmError::ObservationNotFinite { row, column: 0, value: f64::NAN });
        }
        Ok(Chain {
            states,
            start: start.iter().map(|p| p.ln()).collect(),
            transition: transition.iter().map(|p| p.ln()).collect(),
            density: log_density.iter().copied().collect(),
        })
    }

    fn of(kernel: &Kernel, sequence: Sequence<'_>) -> Self {
        let k = kernel.states;
        let lane = |blocks: &[crate::lanes::Block], n: usize| blocks[n / 4].0[n % 4].ln();
        let rows = (0..sequence.len()).map(|t| sequence.row(t));
        Chain {
            states: k,
            start: (0..k).map(|s| lane(&kernel.start, s)).collect(),
            transition: (0..k * k).map(|n| lane(&kernel.transition[n / k * kernel.blocks..], n % k)).collect(),
            density: rows.flat_map(|row| kernel.densities.iter().map(move |d| d.log_density(row))).collect(),
        }
    }

    fn steps(&self) -> usize {
        self.density.len() / self.states
    }

    /// log α, normalised at each step, and the log-likelihood. `Err` names the step that nothing explains.
    fn forward(&self) -> Result<(Vec<f64>, f64), usize> {
        let k = self.states;
        let mut alpha = Vec::with_capacity(self.density.len());
        let mut total = 0.0;
        for t in 0..self.steps() {
            for j in 0..k {
                let predicted = if t == 0 {
                    self.start[j]
                } else {
                    log_sum_exp((0..k).map(|i| alpha[(t - 1) * k + i] + self.transition[i * k + j]))
                };
                alpha.push(predicted + self.density[t * k + j]);
            }
            let mass = log_sum_exp(alpha[t * k..].iter().copied());
            if mass == f64::NEG_INFINITY {
                return Err(t);
            }
            alpha[t * k..].iter_mut().for_each(|a| *a -= mass);
            total += mass;
        }
        Ok((alpha, total))
    }

    /// log β, up to a constant per step.
    fn backward(&self) -> Vec<f64> {
        let k = self.states;
        let mut beta = vec![0.0; self.density.len()];
        for t in (1..self.steps()).rev() {
            let later: Vec<f64> = (0..k).map(|j| self.density[t * k + j] + beta[t * k + j]).collect();
            for i in 0..k {
                beta[(t - 1) * k + i] = log_sum_exp((0..k).map(|j| self.transition[i * k + j] + later[j]));
            }
            let top = beta[(t - 1) * k..t * k].iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if top > f64::NEG_INFINITY {
                beta[(t - 1) * k..t * k].iter_mut().for_each(|b| *b -= top);
            }
        }
        beta
    }
}

/// γ_t from log α and log β, into `out`.
fn gamma(alpha: &[f64], beta: &[f64], out: &mut [f64]) {
    let mass = log_sum_exp(alpha.iter().zip(beta).map(|(a, b)| a + b));
    out.iter_mut().zip(alpha.iter().zip(beta)).for_each(|(g, (a, b))| *g = (a + b - mass).exp());
}

/// Posteriors under given log densities (T × K). An impossible row is an error that names it.
pub fn forward_backward(
    start: ArrayView1<'_, f64>,
    transition: ArrayView2<'_, f64>,
    log_density: ArrayView2<'_, f64>,
) -> Result<Given, HmmError> {
    let chain = Chain::new(start, transition, log_density)?;
    let (alpha, log_likelihood) = chain.forward().map_err(|row| HmmError::Impossible { row })?;
    let beta = chain.backward();
    let mut smoothed = Array2::zeros(log_density.dim());
    for (t, mut row) in smoothed.outer_iter_mut().enumerate() {
        let at = t * chain.states..(t + 1) * chain.states;
        let mut flat = vec![0.0; chain.states];
        gamma(&alpha[at.clone()], &beta[at], &mut flat);
        row.iter_mut().zip(flat).for_each(|(s, g)| *s = g);
    }
    let filtered = Array2::from_shape_fn(log_density.dim(), |(t, s)| alpha[t * chain.states + s].exp());
    Ok(Given { log_likelihood, filtered, smoothed })
}

/// The most probable path under given log densities, and its log-probability. Ties go to the lower state.
pub fn viterbi(
    start: ArrayView1<'_, f64>,
    transition: ArrayView2<'_, f64>,
    log_density: ArrayView2<'_, f64>,
) -> Result<(Vec<usize>, f64), HmmError> {
    let chain = Chain::new(start, transition, log_density)?;
    best_path(&chain).map_err(|row| HmmError::Impossible { row })
}

fn best_path(chain: &Chain) -> Result<(Vec<usize>, f64), usize> {
    let (k, steps) = (chain.states, chain.steps());
    let mut score: Vec<f64> = (0..k).map(|s| chain.start[s] + chain.density[s]).collect();
    let mut from = vec![0usize; steps * k];
    for t in 1..steps {
        let mut next = vec![f64::NEG_INFINITY; k];
        for j in 0..k {
            for i in 0..k {
                let candidate = score[i] + chain.transition[i * k + j];
                if candidate > next[j] {
                    (next[j], from[t * k + j]) = (candidate, i);
                }
            }
            next[j] += chain.density[t * k + j];
        }
        if next.iter().all(|s| *s == f64::NEG_INFINITY) {
            return Err(t);
        }
        score = next;
    }
    let (mut state, mut best) = (0, f64::NEG_INFINITY);
    score.iter().enumerate().for_each(|(s, &v)| {
        if v > best {
            (state, best) = (s, v)
        }
    });
    if best == f64::NEG_INFINITY {
        return Err(steps.saturating_sub(1));
    }
    let mut path = vec![state; steps];
    for t in (1..steps).rev() {
        state = from[t * k + state];
        path[t - 1] = state;
    }
    Ok((path, best))
}

/// Viterbi for a model of any size.
pub(crate) fn model_path(kernel: &Kernel, sequence: Sequence<'_>) -> Result<(Vec<usize>, f64), HmmError> {
    best_path(&Chain::of(kernel, sequence)).map_err(|t| HmmError::Impossible { row: sequence.first + t })
}

/// Filtered probabilities of one sequence, K per step into `out`, and its log-likelihood.
pub(crate) fn filtered(kernel: &Kernel, sequence: Sequence<'_>, out: &mut [f64]) -> Result<f64, HmmError> {
    let chain = Chain::of(kernel, sequence);
    let (alpha, log_likelihood) = chain.forward().map_err(|t| HmmError::Impossible { row: sequence.first + t })?;
    out.iter_mut().zip(alpha).for_each(|(o, a)| *o = a.exp());
    Ok(log_likelihood)
}

/// Posteriors of one sequence, K per step into `out`, and its log-likelihood.
pub(crate) fn posteriors(kernel: &Kernel, sequence: Sequence<'_>, out: &mut [f64]) -> Result<f64, HmmError> {
    let chain = Chain::of(kernel, sequence);
    let (alpha, log_likelihood) = chain.forward().map_err(|t| HmmError::Impossible { row: sequence.first + t })?;
    let (k, beta) = (chain.states, chain.backward());
    for t in 0..chain.steps() {
        let at = t * k..(t + 1) * k;
        gamma(&alpha[at.clone()], &beta[at.clone()], &mut out[at]);
    }
    Ok(log_likelihood)
}

/// The E-step of one sequence, added to `part`.
pub(crate) fn statistics(kernel: &Kernel, sequence: Sequence<'_>, part: &mut Statistics) -> Result<(), HmmError> {
    let chain = Chain::of(kernel, sequence);
    let (alpha, log_likelihood) = chain.forward().map_err(|t| HmmError::Impossible { row: sequence.first + t })?;
    let (k, beta) = (chain.states, chain.backward());
    let mut now = vec![0.0; k];
    for t in 0..chain.steps() {
        let at = t * k..(t + 1) * k;
        gamma(&alpha[at.clone()], &beta[at], &mut now);
        for s in 0..k {
            part.add(&kernel.densities[s], s, now[s], sequence.row(t));
        }
        if t == 0 {
            part.start.iter_mut().zip(&now).for_each(|(s, g)| *s += g);
            continue;
        }
        let pair = |n: usize| {
            let (i, j) = (n / k, n % k);
            alpha[(t - 1) * k + i] + chain.transition[n] + chain.density[t * k + j] + beta[t * k + j]
        };
        let mass = log_sum_exp((0..k * k).map(pair));
        (0..k * k).for_each(|n| part.transitions[n] += (pair(n) - mass).exp());
    }
    part.log_likelihood += log_likelihood;
    Ok(())
}
