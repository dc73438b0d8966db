//! Online EM: a model that follows slow drift of its parameters, one row at a time (Cappé, arXiv 0908.2359).
//!
//! Beside the filter φ_t(k) it carries, for every statistic s of Baum–Welch, ρ_t(k) = E[discounted sum of s | S_t = k, rows]:
//! ρ_t(k) = (1 − γ) Σ_j r(j|k) ρ_t−1(j) + γ s_t, where r(j|k) = φ_t−1(j) a_jk / Σ is the backward kernel. Σ_k φ_t(k) ρ_t(k) is
//! then the *smoothed* statistic with weights that fade over 1/γ rows, and the M-step is applied to it. Nothing is looked at
//! twice. Costs K³(K + D²) per row and allocates; nothing uses it unless asked to: parameters that move are a decision.
//!
//! What keeps it from wandering: the trained A counts as a few rows in every row of A; staying has a floor; a state with too
//! few rows within memory keeps its emission; covariances have a floor relative to the trained model's; a row further than ten
//! deviations from a Gaussian state counts as if it lay there (Student-t states weigh rows down by themselves). ν stays.

use crate::emission::StateDensity;
use crate::error::HmmError;
use crate::log_space::log_sum_exp;
use crate::m_step::{Scale, raise_to_floor};
use crate::model::{Covariance, CovarianceKind, Emission, Hmm};
use crate::observations::check_row;
use ndarray::{Array1, Array2, Array3};

/// A state that can be occupied never has less probability.
const FLOOR: f64 = 1e-290;
/// Rows beyond this many deviations of a Gaussian state are drawn in to it.
const DEVIATIONS_MAX: f64 = 10.0;

/// How fast and how far parameters may move.
#[derive(Debug, Clone, PartialEq)]
pub struct OnlineConfig {
    /// Rows over which the past fades by e: 1/γ. Long against the time that regimes last.
    pub memory_rows: f64,
    /// Rows before the first update; the statistics are gathered from the first row on.
    pub burn_in_rows: u64,
    /// Rows from one update to the next.
    pub every_rows: u64,
    /// Rows' worth of the trained transition probabilities in every row of A.
    pub anchor_rows: f64,
    /// No state's probability of staying falls below this.
    pub stay_least: f64,
    /// A state with fewer expected rows within memory keeps its emission.
    pub rows_least: f64,
    /// Least variance in any direction, as a share of the trained model's overall variances.
    pub covariance_floor: f64,
}

impl Default for OnlineConfig {
    fn default() -> Self {
        OnlineConfig {
            memory_rows: 5_000.0,
            burn_in_rows: 500,
            every_rows: 10,
            anchor_rows: 20.0,
            stay_least: 0.5,
            rows_least: 50.0,
            covariance_floor: 1e-4,
        }
    }
}

impl OnlineConfig {
    fn check(&self) -> Result<(), HmmError> {
        let within = |what, value: f64, range, ok: bool| if ok { Ok(()) } else { Err(HmmError::Setting { what, value, range }) };
        let (memory, floor) = (self.memory_rows, self.covariance_floor);
        within("memory_rows", memory, "at least 2 and finite", memory >= 2.0 && memory.is_finite())?;
        within("every_rows", self.every_rows as f64, "at least 1", self.every_rows > 0)?;
        let zero_or_more = |value: f64| value >= 0.0 && value.is_finite();
        within("anchor_rows", self.anchor_rows, "zero or more and finite", zero_or_more(self.anchor_rows))?;
        within("stay_least", self.stay_least, "at least 0 and below 1", (0.0..1.0).contains(&self.stay_least))?;
        within("rows_least", self.rows_least, "at least 1 and finite", self.rows_least >= 1.0 && self.rows_least.is_finite())?;
        within("covariance_floor", floor, "above 0 and at most 1", floor > 0.0 && floor <= 1.0)
    }
}

/// A filter whose model learns on.
#[derive(Debug, Clone)]
pub struct OnlineEm {
    config: OnlineConfig,
    trained: Hmm,
    model: Hmm,
    densities: Vec<StateDensity>,
    scale: Scale,
    layout: Layout,
    /// Filtered probabilities.
    filtered: Vec<f64>,
    /// ρ, one stretch of `layout.length` per state conditioned on.
    given: Vec<f64>,
    next: Vec<f64>,
    rows: u64,
    updates: u64,
}

/// Where a statistic lies in a stretch: K × K transitions, then per state the weight, Σu, Σu·x (D) and Σu·x·xᵀ (D × D), with x
/// taken from the trained mean of the state.
#[derive(Debug, Clone, Copy)]
struct Layout {
    states: usize,
    dims: usize,
    length: usize,
}

impl Layout {
    fn new(states: usize, dims: usize) -> Self {
        Layout { states, dims, length: states * states + states * (2 + dims + dims * dims) }
    }

    fn emission(self, state: usize) -> usize {
        self.states * self.states + state * (2 + self.dims + self.dims * self.dims)
    }
}

impl OnlineEm {
    /// Begins from a trained model, as if its own stationary past filled the memory.
    pub fn new(model: &Hmm, config: OnlineConfig) -> Result<Self, HmmError> {
        config.check()?;
        let (k, d) = (model.states(), model.dims());
        let densities = StateDensity::all(model.emission())?;
        let occupied = model.stationary().unwrap_or_else(|_| model.start().to_owned());
        let layout = Layout::new(k, d);
        let mut sums = vec![0.0; layout.length];
        for i in 0..k {
            (0..k).for_each(|j| sums[i * k + j] = occupied[i] * model.transition()[[i, j]]);
            let at = layout.emission(i);
            (sums[at], sums[at + 1]) = (occupied[i], occupied[i]);
            (0..d * d).for_each(|n| sums[at + 2 + d + n] = occupied[i] * densities[i].covariance[n]);
        }
        Ok(OnlineEm {
            scale: overall(model, &densities, &occupied),
            trained: model.clone(),
            model: model.clone(),
            filtered: model.start().to_vec(),
            given: sums.repeat(k),
            next: vec![0.0; k * layout.length],
            rows: 0,
            updates: 0,
            config,
            densities,
            layout,
        })
    }

    /// The model as it stands.
    pub fn model(&self) -> &Hmm {
        &self.model
    }

    /// P(S_t | rows so far), under the models as they were at each row.
    pub fn probabilities(&self) -> &[f64] {
        &self.filtered
    }

    /// Rows taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Times that the parameters were estimated anew.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Expected rows of each state within memory.
    pub fn weights(&self) -> Vec<f64> {
        let sums = self.sums();
        (0..self.layout.states).map(|s| sums[self.layout.emission(s)] * self.config.memory_rows).collect()
    }

    /// Takes one row (NaN: missing), answers log p(row | rows before) under the model before the row, and learns from it.
    /// A row with an infinite value, or with no probability at all, is refused and changes nothing.
    pub fn step(&mut self, row: &[f64]) -> Result<f64, HmmError> {
        let (k, expected, found) = (self.layout.states, self.layout.dims, row.len());
        if expected != found {
            return Err(HmmError::Columns { expected, found });
        }
        check_row(row, self.rows as usize)?;
        let transition = self.model.transition();
        let predicted: Vec<f64> = if self.rows == 0 {
            self.filtered.clone()
        } else {
            (0..k).map(|j| (0..k).map(|i| self.filtered[i] * transition[[i, j]]).sum()).collect()
        };
        let joint: Vec<f64> = (0..k).map(|s| predicted[s].ln() + self.densities[s].log_density(row)).collect();
        let log_density = log_sum_exp(joint.iter().copied());
        if !log_density.is_finite() {
            return Err(HmmError::Impossible { row: self.rows as usize });
        }
        self.carry(&predicted);
        for state in 0..k {
            self.add_emission(state, row);
        }
        std::mem::swap(&mut self.given, &mut self.next);
        for s in 0..k {
            let floor = if predicted[s] > 0.0 { FLOOR } else { 0.0 };
            self.filtered[s] = (joint[s] - log_density).exp().max(floor);
        }
        self.rows += 1;
        if self.rows >= self.config.burn_in_rows && self.rows.is_multiple_of(self.config.every_rows) {
            self.update()?;
        }
        Ok(log_density)
    }

    fn rate(&self) -> f64 {
        1.0 / self.config.memory_rows
    }

    /// (1 − γ) Σ_j r(j|k) ρ(j), and the transitions into k.
    fn carry(&mut self, predicted: &[f64]) {
        let (k, length, rate) = (self.layout.states, self.layout.length, self.rate());
        for to in 0..k {
            let next = &mut self.next[to * length..(to + 1) * length];
            next.fill(0.0);
            for from in 0..k {
                let backward = if self.rows == 0 {
                    f64::from(u8::from(from == to))
                } else if predicted[to] > 0.0 {
                    self.filtered[from] * self.model.transition()[[from, to]] / predicted[to]
                } else {
                    // Not reachable now: whatever stands here has no weight.
                    self.filtered[from]
                };
                let given = &self.given[from * length..(from + 1) * length];
                next.iter_mut().zip(given).for_each(|(n, g)| *n += (1.0 - rate) * backward * g);
                if self.rows > 0 {
                    next[from * k + to] += rate * backward;
                }
            }
        }
    }

    /// The row as seen by one state, given that it is the state of now.
    fn add_emission(&mut self, state: usize, row: &[f64]) {
        let (d, rate) = (self.layout.dims, self.rate());
        let density = &self.densities[state];
        let completed = density.complete(row);
        let mut deviation = completed.deviation;
        if density.degrees_of_freedom.is_none() {
            let far = density.deviations(&deviation);
            if far > DEVIATIONS_MAX {
                deviation.iter_mut().for_each(|v| *v *= DEVIATIONS_MAX / far);
            }
        }
        let reference = self.trained.emission().means.row(state);
        let weight = rate * completed.weight;
        let at = state * self.layout.length + self.layout.emission(state);
        let sums = &mut self.next[at..at + 2 + d + d * d];
        let x: Vec<f64> = (0..d).map(|i| density.mean[i] + deviation[i] - reference[i]).collect();
        sums[0] += rate;
        sums[1] += weight;
        for i in 0..d {
            sums[2 + i] += weight * x[i];
            for j in 0..d {
                let extra = completed.extra.as_ref().map_or(0.0, |e| rate * e[i * d + j]);
                sums[2 + d + i * d + j] += weight * x[i] * x[j] + extra;
            }
        }
    }

    fn sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.layout.length];
        for (given, p) in self.given.chunks_exact(self.layout.length).zip(&self.filtered) {
            sums.iter_mut().zip(given).for_each(|(sum, g)| *sum += p * g);
        }
        sums
    }

    fn update(&mut self) -> Result<(), HmmError> {
        let sums = self.sums();
        let (means, covariance) = self.emissions(&sums);
        let degrees_of_freedom = self.model.emission().degrees_of_freedom.clone();
        let emission = Emission { means, covariance, degrees_of_freedom };
        let model = Hmm::new(self.model.start().to_owned(), self.transitions(&sums), emission)?;
        self.densities = StateDensity::all(model.emission())?;
        self.model = model;
        self.updates += 1;
        Ok(())
    }

    fn transitions(&self, sums: &[f64]) -> Array2<f64> {
        let (k, least) = (self.layout.states, self.config.stay_least);
        let mut transition = self.model.transition().to_owned();
        for (i, mut row) in transition.outer_iter_mut().enumerate() {
            let anchor = |j: usize| self.config.anchor_rows * self.trained.transition()[[i, j]];
            let counts: Vec<f64> = (0..k).map(|j| sums[i * k + j] * self.config.memory_rows + anchor(j)).collect();
            let total: f64 = counts.iter().sum();
            if !(total > 1e-9) {
                continue;
            }
            row.iter_mut().zip(counts).for_each(|(a, count)| *a = count / total);
            if row[i] < least && k > 1 {
                let leave = 1.0 - row[i];
                row.iter_mut().for_each(|a| *a *= (1.0 - least) / leave);
                row[i] = least;
            }
            let sum = row.sum();
            row /= sum;
        }
        transition
    }

    fn emissions(&self, sums: &[f64]) -> (Array2<f64>, Covariance) {
        let (k, d) = (self.layout.states, self.layout.dims);
        let old = self.model.emission();
        let mut means = old.means.clone();
        let mut scatters: Vec<Option<(f64, Vec<f64>)>> = vec![None; k];
        for s in 0..k {
            let part = &sums[self.layout.emission(s)..][..2 + d + d * d];
            if part[0] * self.config.memory_rows < self.config.rows_least {
                continue;
            }
            let shift: Vec<f64> = part[2..2 + d].iter().map(|f| f / part[1]).collect();
            (0..d).for_each(|i| means[[s, i]] = self.trained.emission().means[[s, i]] + shift[i]);
            let scatter = (0..d * d).map(|n| part[2 + d + n] - part[1] * shift[n / d] * shift[n % d]).collect();
            scatters[s] = Some((part[0], scatter));
        }
        let matrix = |s: usize| match &scatters[s] {
            Some((weight, scatter)) => self.floored(scatter.iter().map(|v| v / weight).collect()),
            None => old.covariance.of_state(s).iter().copied().collect(),
        };
        let covariance = match old.covariance.kind() {
            CovarianceKind::Diagonal => {
                let all: Vec<Vec<f64>> = (0..k).map(matrix).collect();
                Covariance::Diagonal(Array2::from_shape_fn((k, d), |(s, i)| all[s][i * d + i]))
            }
            CovarianceKind::Full => {
                let all: Vec<Vec<f64>> = (0..k).map(matrix).collect();
                Covariance::Full(Array3::from_shape_fn((k, d, d), |(s, i, j)| all[s][i * d + j]))
            }
            CovarianceKind::Tied => {
                let weight: f64 = scatters.iter().flatten().map(|(w, _)| w).sum();
                let mut sum = vec![0.0; d * d];
                scatters.iter().flatten().for_each(|(_, m)| sum.iter_mut().zip(m).for_each(|(sum, v)| *sum += v / weight));
                let matrix = if weight > 0.0 { self.floored(sum) } else { matrix(0) };
                Covariance::Tied(Array2::from_shape_fn((d, d), |(i, j)| matrix[i * d + j]))
            }
        };
        (means, covariance)
    }

    /// Exactly symmetric, and not below the floor.
    fn floored(&self, mut matrix: Vec<f64>) -> Vec<f64> {
        let d = self.layout.dims;
        for i in 0..d {
            (0..i).for_each(|j| matrix[i * d + j] = matrix[j * d + i]);
        }
        let diagonal = self.model.emission().covariance.kind() == CovarianceKind::Diagonal;
        raise_to_floor(&mut matrix, &self.scale, self.config.covariance_floor, diagonal);
        matrix
    }
}

/// Mean and variance of every feature under the model: within states plus between them.
fn overall(model: &Hmm, densities: &[StateDensity], occupied: &Array1<f64>) -> Scale {
    let (k, d) = (model.states(), model.dims());
    let mean: Vec<f64> = (0..d).map(|i| (0..k).map(|s| occupied[s] * densities[s].mean[i]).sum()).collect();
    let within = |s: usize, i: usize| densities[s].covariance[i * d + i] + (densities[s].mean[i] - mean[i]).powi(2);
    let variance = (0..d).map(|i| (0..k).map(|s| occupied[s] * within(s, i)).sum()).collect();
    Scale { mean, variance }
}
