//! Does the model still fit? The mean surprise of the last rows against blocks of the training rows.
//!
//! Surprise is −log p(row | rows before). Its mean over a block (500 rows) has a mean and a deviation over the training set's
//! blocks; how many deviations above that mean the last block lies is the z of drift, and max(0, z)/6 its score.
//! Blocks overlap by nine tenths, which uses the rows better than blocks end to end; the deviation is corrected for it, and is
//! never taken for less than that of independent rows, so that four like blocks don't make every later one a surprise.

use crate::error::HmmError;
use crate::filter::Filter;
use crate::model::Hmm;
use crate::observations::Observations;
use serde::{Deserialize, Serialize};

/// Rows of a block unless said otherwise.
pub const DRIFT_BLOCK: usize = 500;

/// A z of this is a drift score of one.
const FULL_SCORE: f64 = 6.0;

/// Mean surprise of the training rows' blocks, and how it varies. Belongs to one model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DriftReference {
    /// Rows of a block.
    pub block: usize,
    /// Mean surprise per row, nats.
    pub mean: f64,
    /// Deviation of a block's mean surprise.
    pub deviation: f64,
    /// Blocks that it was taken from.
    pub blocks: usize,
}

impl DriftReference {
    /// From the surprises of the training rows in order. `None` with fewer than two blocks' worth of rows.
    pub fn of(surprises: &[f64], block: usize) -> Option<Self> {
        let rows = surprises.len();
        if block == 0 || rows < 2 * block || surprises.iter().any(|s| !s.is_finite()) {
            return None;
        }
        let stride = (block / 10).max(1);
        let means: Vec<f64> = surprises.windows(block).step_by(stride).map(mean).collect();
        let centre = mean(surprises);
        let spread = means.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / means.len() as f64;
        // Blocks lie about the mean of the same rows: for independent rows that hides a share block/rows of their variance.
        let spread = spread / (1.0 - block as f64 / rows as f64);
        let independent = surprises.iter().map(|s| (s - centre).powi(2)).sum::<f64>() / rows as f64 / block as f64;
        let deviation = spread.max(independent).sqrt();
        (deviation > 0.0).then_some(DriftReference { block, mean: centre, deviation, blocks: means.len() })
    }

    /// How many deviations the mean surprise of the last block lies above the training set's.
    pub fn z(&self, mean_surprise: f64) -> f64 {
        (mean_surprise - self.mean) / self.deviation
    }

    /// max(0, z) / 6; above ½ for three rows is drift.
    pub fn score(&self, mean_surprise: f64) -> f64 {
        self.z(mean_surprise).max(0.0) / FULL_SCORE
    }
}

impl Hmm {
    /// −log p(row | rows before) of every row; each sequence begins anew.
    pub fn surprises(&self, observations: &Observations<'_>) -> Result<Vec<f64>, HmmError> {
        observations.check_dims(self.dims())?;
        let fresh = Filter::new(self)?;
        let mut surprises = Vec::with_capacity(observations.len());
        for sequence in observations.each() {
            let mut filter = fresh.clone();
            for t in 0..sequence.len() {
                surprises.push(-filter.step(sequence.row(t))?);
            }
        }
        Ok(surprises)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn noise(rows: usize, mut seed: u64) -> Vec<f64> {
        let mut next = move || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            12f64.sqrt() * ((seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
        };
        (0..rows).map(|_| next()).collect()
    }

    #[test]
    fn blocks_of_independent_surprises_vary_as_they_should() {
        let rows = noise(200_000, 1);
        let reference = DriftReference::of(&rows, 500).unwrap();
        assert!((reference.deviation * 500f64.sqrt() - 1.0).abs() < 0.1, "{reference:?}");
        // Few blocks: unbiased over many training sets.
        let sets = (0..200).map(|seed| DriftReference::of(&noise(2_000, 77 + seed * 1_000_003), 500).unwrap().deviation);
        let mean_square = sets.map(|d| d * d * 500.0).sum::<f64>() / 200.0;
        assert!((1.0..1.6).contains(&mean_square), "{mean_square}");
    }

    #[test]
    fn the_score_begins_above_the_mean_and_is_one_at_six_deviations() {
        let reference = DriftReference { block: 500, mean: -3.0, deviation: 0.1, blocks: 40 };
        assert_eq!(reference.score(-3.2), 0.0);
        assert!((reference.score(-2.4) - 1.0).abs() < 1e-9 && (reference.z(-2.9) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_rows_or_no_variation_give_no_reference() {
        assert_eq!(DriftReference::of(&noise(999, 1), 500), None);
        assert_eq!(DriftReference::of(&[1.0; 5_000], 500), None);
        assert_eq!(DriftReference::of(&[f64::NAN; 5_000], 500), None);
        assert_eq!(DriftReference::of(&noise(999, 1), 0), None);
    }
}
