//! Inference on a window alone: what the last W rows say when nothing before them is known.
//!
//! The start is the chain's stationary distribution (the model's own start where there is none), then forward–backward and
//! Viterbi over the window. A row that changes changes every window that holds it and no other.

use crate::error::HmmError;
use crate::forward_backward::{self, Workspace};
use crate::infer::normalise_rows;
use crate::kernel::Kernel;
use crate::model::Hmm;
use crate::observations::Observations;
use crate::viterbi::{Trellis, best_path};
use ndarray::{Array2, ArrayView2};

/// A model made ready for windows; its memory is reused from window to window.
#[derive(Debug, Clone)]
pub struct WindowInference {
    kernel: Kernel,
    workspace: Workspace,
    trellis: Trellis,
}

/// What a window says.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// P(S_t | the window's rows), W × K.
    pub smoothed: Array2<f64>,
    /// The most probable path, W states.
    pub path: Vec<usize>,
    /// log p(path, rows).
    pub path_log_probability: f64,
    /// Share of the window that the path spends in each state, K, sums to one.
    pub shares: Vec<f64>,
    /// How often the path changes state.
    pub switches: usize,
    /// log p(rows) / W.
    pub log_likelihood_per_row: f64,
}

impl WindowInference {
    /// Prepares a model.
    pub fn new(model: &Hmm) -> Result<Self, HmmError> {
        let kernel = Kernel::new(&model.started_stationary()?)?;
        Ok(WindowInference { workspace: Workspace::new(&kernel), trellis: Trellis::new(&kernel), kernel })
    }

    /// Infers one window (NaN: missing). Refused: no rows, an infinite value, another width than the model's.
    pub fn infer(&mut self, rows: ArrayView2<'_, f64>) -> Result<Window, HmmError> {
        let observations = Observations::new(rows)?;
        observations.check_dims(self.kernel.dims)?;
        let (steps, k) = (observations.len(), self.kernel.states);
        let mut flat = vec![0.0; steps * k];
        let mut path = vec![0; steps];
        let (mut log_likelihood, mut path_log_probability) = (0.0, 0.0);
        for sequence in observations.each() {
            log_likelihood = forward_backward::posteriors(&self.kernel, sequence, &mut self.workspace, &mut flat)?;
            path_log_probability = best_path(&self.kernel, sequence, &mut self.trellis, &mut path)?;
        }
        normalise_rows(&mut flat, k);
        let smoothed = Array2::from_shape_vec((steps, k), flat).map_err(|_| HmmError::Shape {
            what: "posteriors",
            expected: steps * k,
            found: steps,
        })?;
        let mut shares = vec![0.0; k];
        path.iter().for_each(|&s| shares[s] += 1.0 / steps as f64);
        let switches = path.windows(2).filter(|w| w[0] != w[1]).count();
        let log_likelihood_per_row = log_likelihood / steps as f64;
        Ok(Window { smoothed, path, path_log_probability, shares, switches, log_likelihood_per_row })
    }
}

impl Hmm {
    /// The same model started from its stationary distribution; unchanged where there is no unique one.
    pub fn started_stationary(&self) -> Result<Hmm, HmmError> {
        let Ok(start) = self.stationary() else { return Ok(self.clone()) };
        Hmm::new(start, self.transition().to_owned(), self.emission().clone())
    }
}
