//! A state that lost its rows is put on a row that the model explains badly.

use crate::emission::StateDensity;
use crate::error::HmmError;
use crate::log_space::log_sum_exp;
use crate::m_step::Scale;
use crate::model::{Covariance, Hmm};
use crate::observations::Observations;
use ndarray::{Array1, Array2};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The model with `state` on one of the tenth of rows that it explains worst, with the data's own spread; `weights` are the
/// expected rows per state.
pub(crate) fn place_anew(
    model: &Hmm,
    weights: &[f64],
    state: usize,
    observations: &Observations<'_>,
    scale: &Scale,
    rng: &mut Xoshiro256PlusPlus,
) -> Result<Hmm, HmmError> {
    let d = model.dims();
    let densities = StateDensity::all(model.emission())?;
    let total: f64 = weights.iter().sum();
    let share = |s: usize| (weights[s] / total).max(1e-300).ln();
    let surprise = |row: &[f64]| -log_sum_exp(densities.iter().enumerate().map(|(s, p)| share(s) + p.log_density(row)));
    let rows = observations.flat().chunks_exact(d);
    let mut ranked: Vec<(f64, usize)> = rows.map(surprise).zip(0..).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (_, chosen) = ranked[rng.random_range(0..ranked.len().div_ceil(10))];
    let row = &observations.flat()[chosen * d..(chosen + 1) * d];
    let mut emission = model.emission().clone();
    (0..d).for_each(|i| emission.means[[state, i]] = if row[i].is_nan() { scale.mean[i] } else { row[i] });
    let variance = |i: usize, j: usize| if i == j { 0.5 * scale.variance[i] } else { 0.0 };
    emission.covariance = match emission.covariance {
        Covariance::Diagonal(mut v) => {
            v.row_mut(state).iter_mut().enumerate().for_each(|(i, v)| *v = variance(i, i));
            Covariance::Diagonal(v)
        }
        Covariance::Full(mut m) => {
            m.index_axis_mut(ndarray::Axis(0), state).indexed_iter_mut().for_each(|((i, j), v)| *v = variance(i, j));
            Covariance::Full(m)
        }
        tied => tied,
    };
    let k = model.states() as f64;
    let start = Array1::from_shape_fn(model.states(), |s| 0.9 * model.start()[s] + 0.1 / k);
    let mixed = |i: usize, j: usize| 0.95 * model.transition()[[i, j]] + 0.05 / k;
    let stay = |j: usize| if j == state { 0.9 + 0.1 / k } else { 0.1 / k };
    let side = (model.states(), model.states());
    let transition = Array2::from_shape_fn(side, |(i, j)| if i == state { stay(j) } else { mixed(i, j) });
    Hmm::new(start, transition, emission)
}
