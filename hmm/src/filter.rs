//! The online filter: one row in, P(S_t | rows so far) out, without allocation.
//!
//! A state that may be occupied never falls below 1e-290, so that no outlier, however long its run, can keep the filter from
//! coming back. A row that is missing in part may allocate (the marginal of a full covariance is worked out on the spot).

use crate::emission::StateDensity;
use crate::error::HmmError;
use crate::forward_backward::{shifted, sum};
use crate::kernel::{Kernel, compiled, vector_times};
use crate::lanes::{Block, Job, Lanes, lanes, load};
use crate::log_space::log_sum_exp;
use crate::model::Hmm;
use crate::observations::check_row;
use std::sync::Arc;

const FLOOR: f64 = 1e-290;
const MASS_MIN: f64 = 1e-280;

/// Filtered state probabilities, advanced row by row.
#[derive(Debug, Clone)]
pub struct Filter {
    kernel: Arc<Kernel>,
    /// α_t, normalised; the start distribution before the first row.
    alpha: Vec<Block>,
    /// 1e-290 for states that can be occupied in the long run.
    floor: Arc<[Block]>,
    steps: u64,
}

impl Filter {
    /// A filter before its first row: the model's start distribution.
    pub fn new(model: &Hmm) -> Result<Self, HmmError> {
        Ok(Self::of(Arc::new(Kernel::new(model)?)))
    }

    pub(crate) fn of(kernel: Arc<Kernel>) -> Self {
        let reach = kernel.reachable(usize::MAX);
        let mut floor = vec![Block::ZERO; kernel.blocks];
        (0..kernel.states.min(64)).filter(|s| reach >> s & 1 == 1).for_each(|s| floor[s / 4].0[s % 4] = FLOOR);
        Filter { alpha: kernel.start.clone(), kernel, floor: floor.into(), steps: 0 }
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        self.kernel.states
    }

    /// Rows seen.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// P(S_t = state | rows so far); zero for a state that doesn't exist.
    pub fn probability(&self, state: usize) -> f64 {
        self.alpha.get(state / 4).map_or(0.0, |b| b.0[state % 4])
    }

    /// Copies P(S_t | rows so far) into a slice of K (excess entries are left alone).
    pub fn probabilities_into(&self, out: &mut [f64]) {
        out.iter_mut().take(self.kernel.states).enumerate().for_each(|(s, p)| *p = self.probability(s));
    }

    /// P(S_t | rows so far).
    pub fn probabilities(&self) -> Vec<f64> {
        (0..self.kernel.states).map(|s| self.probability(s)).collect()
    }

    /// Starts anew from a distribution over states, as if it were that of the last row.
    pub fn restart_from(&mut self, probabilities: &[f64]) -> Result<(), HmmError> {
        let (expected, found) = (self.kernel.states, probabilities.len());
        if expected != found {
            return Err(HmmError::Shape { what: "probabilities", expected, found });
        }
        let sum: f64 = probabilities.iter().sum();
        if probabilities.iter().any(|p| !(*p >= 0.0)) || !((sum - 1.0).abs() <= 1e-6) {
            return Err(HmmError::NotAProbability { what: "probabilities", row: 0, sum });
        }
        probabilities.iter().enumerate().for_each(|(s, p)| self.alpha[s / 4].0[s % 4] = p / sum);
        self.steps = self.steps.max(1);
        Ok(())
    }

    /// Takes one row (NaN: missing) and answers log p(row | rows before); its negative is the surprise.
    /// A row with an infinite value is refused and changes nothing.
    pub fn step(&mut self, row: &[f64]) -> Result<f64, HmmError> {
        let (expected, found) = (self.kernel.dims, row.len());
        if expected != found {
            return Err(HmmError::Columns { expected, found });
        }
        let incomplete = !row.iter().all(|v| v.abs() <= 1e100) && check_row(row, self.steps as usize)?;
        let first = self.steps == 0;
        let log_density = if incomplete || !self.kernel.is_vectorised() {
            self.step_in_log_space(row)?
        } else {
            let (kernel, alpha, floor) = (&*self.kernel, &mut self.alpha[..], &self.floor[..]);
            match compiled!(kernel, Advance { kernel, alpha, floor, row, first }) {
                Some(log_density) => log_density,
                None => self.step_in_log_space(row)?,
            }
        };
        self.steps += 1;
        Ok(log_density)
    }

    #[cold]
    fn step_in_log_space(&mut self, row: &[f64]) -> Result<f64, HmmError> {
        let k = self.kernel.states;
        let transition = |i: usize, j: usize| self.kernel.transition[i * self.kernel.blocks + j / 4].0[j % 4];
        let predicted = |j: usize| -> f64 {
            if self.steps == 0 { self.probability(j) } else { (0..k).map(|i| self.probability(i) * transition(i, j)).sum() }
        };
        let density = |s: usize| StateDensity::log_density(&self.kernel.densities[s], row);
        let joint: Vec<f64> = (0..k).map(|s| predicted(s).ln() + density(s)).collect();
        let mass = log_sum_exp(joint.iter().copied());
        if !mass.is_finite() {
            return Err(HmmError::Impossible { row: self.steps as usize });
        }
        for (s, j) in joint.iter().enumerate() {
            self.alpha[s / 4].0[s % 4] = (j - mass).exp().max(self.floor[s / 4].0[s % 4]);
        }
        Ok(mass)
    }
}

/// One step over lanes. `None`, and α untouched, where the mass underflows.
struct Advance<'a, const M: usize, const D: usize, const FULL: bool, const T: bool> {
    kernel: &'a Kernel,
    alpha: &'a mut [Block],
    floor: &'a [Block],
    row: &'a [f64],
    first: bool,
}

impl<const M: usize, const D: usize, const FULL: bool, const T: bool> Job for Advance<'_, M, D, FULL, T> {
    type Output = Option<f64>;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Option<f64> {
        let Advance { kernel, alpha, floor, row, first } = self;
        let slot = &mut alpha.as_chunks_mut::<M>().0[0];
        let floor = &floor.as_chunks::<M>().0[0];
        let before: [V; M] = load(slot);
        let predicted = if first { before } else { vector_times(before, kernel.transition.as_chunks::<M>().0, kernel.states) };
        let (density, top) = shifted::<V, M>(kernel.log_density::<V, M, D, FULL, T>(row));
        let joint = lanes!(V, M, m => predicted[m].mul(density[m]));
        let mass = sum::<V, M>(joint);
        if !(mass.first() >= MASS_MIN) {
            return None;
        }
        let inverse = V::splat(1.0).div(mass);
        for m in 0..M {
            joint[m].mul(inverse).max(V::load(&floor[m])).store(&mut slot[m]);
        }
        Some(top.first() - inverse.ln().first())
    }
}
