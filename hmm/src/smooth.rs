//! Fixed-lag smoothing: P(S_t | rows up to t + lag), online with bounded memory and as a batch.
//!
//! Walks back over filtered probabilities: γ_t(i) = α_t(i) Σ_j A_ij γ_t+1(j) / (α_t A)_j. No densities are kept, and no
//! allocation happens after construction.

use crate::error::HmmError;
use crate::filter::Filter;
use crate::infer::Posteriors;
use crate::kernel::Kernel;
use crate::model::Hmm;
use crate::observations::Observations;
use ndarray::Array2;
use std::sync::Arc;

/// An online filter that can look back.
#[derive(Debug, Clone)]
pub struct FixedLag {
    filter: Filter,
    /// A, row-major.
    transition: Arc<[f64]>,
    /// The last lag + 1 filtered distributions, a ring.
    ring: Vec<f64>,
    lag: usize,
}

impl FixedLag {
    /// A smoother before its first row. `lag` rows of memory.
    pub fn new(model: &Hmm, lag: usize) -> Result<Self, HmmError> {
        Ok(Self::of(model, Arc::new(Kernel::new(model)?), lag))
    }

    fn of(model: &Hmm, kernel: Arc<Kernel>, lag: usize) -> Self {
        let transition = model.transition().iter().copied().collect();
        FixedLag { filter: Filter::of(kernel), transition, ring: vec![0.0; (lag + 1) * model.states()], lag }
    }

    /// Takes one row and answers its log density given those before.
    pub fn step(&mut self, row: &[f64]) -> Result<f64, HmmError> {
        let log_density = self.filter.step(row)?;
        let slot = self.slot(self.filter.steps() - 1);
        self.filter.probabilities_into(&mut self.ring[slot]);
        Ok(log_density)
    }

    /// The filter inside.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// P(S_t−back | rows up to now) into a slice of K. `false`, and nothing written, beyond the lag or before the first row.
    pub fn smoothed_into(&self, back: usize, out: &mut [f64]) -> bool {
        let (k, now) = (self.filter.states(), self.filter.steps());
        if back > self.lag || back as u64 >= now || out.len() < k {
            return false;
        }
        let out = &mut out[..k];
        out.copy_from_slice(&self.ring[self.slot(now - 1)]);
        for t in (now - 1 - back as u64..now - 1).rev() {
            self.walk_back(&self.ring[self.slot(t)], out);
        }
        true
    }

    /// From P(S_t+1 | …) in `later` to P(S_t | …), given the filtered distribution of t.
    fn walk_back(&self, filtered: &[f64], later: &mut [f64]) {
        let k = filtered.len();
        for (j, later) in later.iter_mut().enumerate() {
            let predicted: f64 = (0..k).map(|i| filtered[i] * self.transition[i * k + j]).sum();
            *later = if predicted > 0.0 { *later / predicted } else { 0.0 };
        }
        // `later` is read whole for every i, so the result goes through a pass over columns: Σ_j A_ij ratio_j.
        let mut sum = 0.0;
        let mut result = [0.0; 64];
        if k <= result.len() {
            for i in 0..k {
                let ahead: f64 = (0..k).map(|j| self.transition[i * k + j] * later[j]).sum();
                result[i] = filtered[i] * ahead;
                sum += result[i];
            }
            later.iter_mut().zip(result).for_each(|(l, r)| *l = r / sum);
        } else {
            let ahead = |i: usize| -> f64 { (0..k).map(|j| self.transition[i * k + j] * later[j]).sum() };
            let result: Vec<f64> = (0..k).map(|i| filtered[i] * ahead(i)).collect();
            let sum: f64 = result.iter().sum();
            later.iter_mut().zip(result).for_each(|(l, r)| *l = r / sum);
        }
    }

    fn slot(&self, t: u64) -> std::ops::Range<usize> {
        let k = self.filter.states();
        let n = (t % (self.lag as u64 + 1)) as usize;
        n * k..(n + 1) * k
    }
}

impl Hmm {
    /// P(S_t | rows up to t + lag); the last rows of a sequence have what is left of it.
    pub fn fixed_lag(&self, observations: &Observations<'_>, lag: usize) -> Result<Posteriors, HmmError> {
        observations.check_dims(self.dims())?;
        let kernel = Arc::new(Kernel::new(self)?);
        let mut probabilities = Array2::zeros((observations.len(), self.states()));
        let mut flat = vec![0.0; self.states()];
        let mut log_likelihood = 0.0;
        for sequence in observations.each() {
            let steps = sequence.len();
            let mut smoother = FixedLag::of(self, kernel.clone(), lag.min(steps - 1));
            let mut keep = |smoother: &FixedLag, t: usize, back: usize| {
                smoother.smoothed_into(back, &mut flat);
                probabilities.row_mut(sequence.first + t).iter_mut().zip(&flat).for_each(|(p, f)| *p = *f);
            };
            for t in 0..steps {
                log_likelihood += smoother.step(sequence.row(t))?;
                if t >= lag {
                    keep(&smoother, t - lag, lag);
                }
            }
            for back in 0..lag.min(steps) {
                keep(&smoother, steps - 1 - back, back);
            }
        }
        Ok(Posteriors { probabilities, log_likelihood })
    }
}
