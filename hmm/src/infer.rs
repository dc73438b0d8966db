//! Batch inference: log-likelihood, filtered and smoothed probabilities of whole sequences.

use crate::compensated::Compensated;
use crate::error::HmmError;
use crate::forward_backward::{self, Workspace};
use crate::kernel::Kernel;
use crate::log_space;
use crate::model::Hmm;
use crate::observations::Observations;
use ndarray::Array2;

/// State probabilities of every row, and the log-likelihood of all rows.
#[derive(Debug, Clone)]
pub struct Posteriors {
    /// T × K; rows sum to one.
    pub probabilities: Array2<f64>,
    /// log p(rows), summed over sequences.
    pub log_likelihood: f64,
}

impl Hmm {
    /// log p(observations), summed over sequences.
    pub fn log_likelihood(&self, observations: &Observations<'_>) -> Result<f64, HmmError> {
        Ok(self.filtered_into(observations, None)?.value())
    }

    /// P(S_t | rows up to t), every sequence from its own start.
    pub fn filtered(&self, observations: &Observations<'_>) -> Result<Posteriors, HmmError> {
        let mut flat = vec![0.0; observations.len() * self.states()];
        let log_likelihood = self.filtered_into(observations, Some(&mut flat))?.value();
        self.posteriors(flat, observations.len(), log_likelihood)
    }

    /// P(S_t | all rows of the sequence).
    pub fn smoothed(&self, observations: &Observations<'_>) -> Result<Posteriors, HmmError> {
        observations.check_dims(self.dims())?;
        let kernel = Kernel::new(self)?;
        let mut workspace = Workspace::new(&kernel);
        let (k, mut total) = (self.states(), Compensated::default());
        let mut flat = vec![0.0; observations.len() * k];
        for sequence in observations.each() {
            let out = &mut flat[sequence.first * k..(sequence.first + sequence.len()) * k];
            total.add(forward_backward::posteriors(&kernel, sequence, &mut workspace, out)?);
        }
        normalise_rows(&mut flat, k);
        self.posteriors(flat, observations.len(), total.value())
    }

    fn posteriors(&self, flat: Vec<f64>, rows: usize, log_likelihood: f64) -> Result<Posteriors, HmmError> {
        let (expected, found) = (rows * self.states(), flat.len());
        let probabilities = Array2::from_shape_vec((rows, self.states()), flat).map_err(|_| HmmError::Shape {
            what: "posteriors",
            expected,
            found,
        })?;
        Ok(Posteriors { probabilities, log_likelihood })
    }

    fn filtered_into(&self, observations: &Observations<'_>, mut out: Option<&mut [f64]>) -> Result<Compensated, HmmError> {
        observations.check_dims(self.dims())?;
        let kernel = Kernel::new(self)?;
        let mut workspace = Workspace::new(&kernel);
        let (k, mut total) = (self.states(), Compensated::default());
        for sequence in observations.each() {
            let range = sequence.first * k..(sequence.first + sequence.len()) * k;
            let Some(log_likelihood) = forward_backward::forward(&kernel, sequence, &mut workspace) else {
                let mut own = vec![0.0; range.len()];
                total.add(log_space::filtered(&kernel, sequence, &mut own)?);
                if let Some(out) = out.as_deref_mut() {
                    out[range].copy_from_slice(&own);
                }
                continue;
            };
            total.add(log_likelihood);
            if let Some(out) = out.as_deref_mut() {
                let blocks = workspace.lattice.alpha.chunks_exact(kernel.blocks);
                for (row, alpha) in out[range].chunks_exact_mut(k).zip(blocks) {
                    row.iter_mut().enumerate().for_each(|(s, p)| *p = alpha[s / 4].0[s % 4]);
                }
            }
        }
        if let Some(out) = out {
            normalise_rows(out, k);
        }
        Ok(total)
    }
}

/// Makes each row sum to one exactly as far as doubles go (rows come with sums near one, or unscaled).
pub(crate) fn normalise_rows(flat: &mut [f64], states: usize) {
    for row in flat.chunks_exact_mut(states) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
}
