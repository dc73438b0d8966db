//! Viterbi online with a bounded lag: after each row, the state of the row `lag` back on the best path so far.
//!
//! With the lag longer than regimes take to show, the answers are those of the batch; a path that changes its mind later than
//! that is not followed (the states given out need not form one path then). No allocation per complete row.

use crate::error::HmmError;
use crate::kernel::Kernel;
use crate::model::Hmm;
use crate::observations::check_row;
use std::sync::Arc;

/// The best path's tail, advanced row by row.
#[derive(Debug, Clone)]
pub struct OnlineViterbi {
    kernel: Arc<Kernel>,
    log_transition: Arc<[f64]>,
    /// Best log-probability of a path ending in each state, less the best of all.
    scores: Vec<f64>,
    next: Vec<f64>,
    /// Predecessors of the last `lag` rows, a ring of K per row.
    from: Vec<u32>,
    lag: usize,
    steps: u64,
}

impl OnlineViterbi {
    /// A decoder before its first row, with `lag` rows of memory.
    pub fn new(model: &Hmm, lag: usize) -> Result<Self, HmmError> {
        let k = model.states();
        Ok(OnlineViterbi {
            kernel: Arc::new(Kernel::new(model)?),
            log_transition: model.transition().iter().map(|a| a.ln()).collect(),
            scores: model.start().iter().map(|p| p.ln()).collect(),
            next: vec![0.0; k],
            from: vec![0; lag.max(1) * k],
            lag,
            steps: 0,
        })
    }

    /// Takes one row. The state of the row `lag` back, or `None` while there are too few rows.
    pub fn step(&mut self, row: &[f64]) -> Result<Option<usize>, HmmError> {
        let (expected, found) = (self.kernel.dims, row.len());
        if expected != found {
            return Err(HmmError::Columns { expected, found });
        }
        check_row(row, self.steps as usize)?;
        let k = self.scores.len();
        let slot = self.slot(self.steps);
        for j in 0..k {
            let (mut best, mut from) = (self.scores[j], j);
            if self.steps > 0 {
                (best, from) = (f64::NEG_INFINITY, 0);
                for i in 0..k {
                    let candidate = self.scores[i] + self.log_transition[i * k + j];
                    if candidate > best {
                        (best, from) = (candidate, i);
                    }
                }
            }
            self.next[j] = best + self.kernel.densities[j].log_density(row);
            self.from[slot + j] = from as u32;
        }
        let top = self.next.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY {
            return Err(HmmError::Impossible { row: self.steps as usize });
        }
        self.scores.iter_mut().zip(&self.next).for_each(|(s, n)| *s = n - top);
        self.steps += 1;
        Ok(self.back(self.lag))
    }

    /// The state `back` rows ago on the best path so far; `None` beyond the lag or before the first row.
    pub fn back(&self, back: usize) -> Option<usize> {
        if back > self.lag || back as u64 >= self.steps {
            return None;
        }
        let best = |best: usize, s: usize| if self.scores[s] > self.scores[best] { s } else { best };
        let last = (0..self.scores.len()).fold(0, best);
        let walk = (0..back as u64).map(|n| self.slot(self.steps - 1 - n));
        Some(walk.fold(last, |state, slot| self.from[slot + state] as usize))
    }

    fn slot(&self, t: u64) -> usize {
        (t % self.lag.max(1) as u64) as usize * self.scores.len()
    }
}
