//! A model laid out for the inner loops: states in lanes, everything aligned, nothing to check.
//!
//! A vector over states is `blocks` = ⌈K/4⌉ rounded up to a size that was compiled for (1, 2, 4, 16). Padding states have
//! start and transition probability zero and density exp(−∞). Models with more than 64 states use the log-space recursions.

use crate::emission::{DISTANCE_MAX, StateDensity};
use crate::error::HmmError;
use crate::lanes::{Block, Lanes, lanes, store};
use crate::model::{CovarianceKind, Hmm};

/// Above this many states the vectorised recursions aren't compiled.
pub(crate) const STATES_MAX: usize = 64;

/// The prepared model.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub states: usize,
    pub dims: usize,
    pub blocks: usize,
    /// Covariance matrices (full or tied) rather than variances.
    pub full: bool,
    pub student: bool,
    /// Prepared densities, for incomplete rows and for the log-space recursions.
    pub densities: Vec<StateDensity>,
    /// Rows of A: for state i, A[i][·] over lanes.
    pub transition: Vec<Block>,
    /// Columns of A: for state j, A[·][j] over lanes.
    pub transition_columns: Vec<Block>,
    pub start: Vec<Block>,
    pub means: Vec<Block>,
    log_norm: Vec<Block>,
    /// Diagonal: 1/σ per dimension. Full: packed rows of L⁻¹.
    weights: Vec<Block>,
    /// −L⁻¹ μ per dimension.
    offsets: Vec<Block>,
    /// 1/ν, −(ν + D)/2 and (ν + D)/ν.
    inverse_dof: Vec<Block>,
    power: Vec<Block>,
    weight_max: Vec<Block>,
    /// Whether the E-step has to sum what the update of ν needs.
    pub fits_dof: bool,
    /// Bit sets of the states that can be occupied at t = 0, 1, …; the last holds from then on.
    reach: Vec<u64>,
}

impl Kernel {
    pub(crate) fn new(model: &Hmm) -> Result<Self, HmmError> {
        let (states, dims) = (model.states(), model.dims());
        let densities = StateDensity::all(model.emission())?;
        let blocks = [1, 2, 4, 16].into_iter().find(|b| 4 * b >= states).unwrap_or(states.div_ceil(4));
        let over = |value: &dyn Fn(usize) -> f64, padding: f64| -> Vec<Block> {
            let lane = |n: usize| if n < states { value(n) } else { padding };
            (0..blocks).map(|b| Block(std::array::from_fn(|l| lane(4 * b + l)))).collect()
        };
        let full = model.emission().covariance.kind() != CovarianceKind::Diagonal;
        let zero = vec![Block::ZERO; blocks];
        let padded = |i: usize, column: bool| {
            let a = model.transition();
            if i >= states { zero.clone() } else { over(&|j| if column { a[[j, i]] } else { a[[i, j]] }, 0.0) }
        };
        let weight = |i: usize, j: usize| over(&|s| densities[s].whitening[i * dims + j], 0.0);
        let columns = |i: usize| if full { 0..=i } else { i..=i };
        let offset =
            |i: usize| over(&|s| columns(i).map(|j| densities[s].whitening[i * dims + j] * -densities[s].mean[j]).sum(), 0.0);
        let dof = |s: usize| densities[s].degrees_of_freedom.unwrap_or(1.0);
        Ok(Kernel {
            states,
            dims,
            blocks,
            full,
            student: model.emission().degrees_of_freedom.is_some(),
            transition: (0..4 * blocks).flat_map(|i| padded(i, false)).collect(),
            transition_columns: (0..4 * blocks).flat_map(|j| padded(j, true)).collect(),
            start: over(&|s| model.start()[s], 0.0),
            means: (0..dims).flat_map(|i| over(&|s| densities[s].mean[i], 0.0)).collect(),
            log_norm: over(&|s| densities[s].log_norm, f64::NEG_INFINITY),
            weights: (0..dims).flat_map(|i| columns(i).flat_map(move |j| vec![(i, j)])).flat_map(|(i, j)| weight(i, j)).collect(),
            offsets: (0..dims).flat_map(offset).collect(),
            inverse_dof: over(&|s| 1.0 / dof(s), 1.0),
            weight_max: over(&|s| (dof(s) + dims as f64) / dof(s), 1.0),
            fits_dof: false,
            power: over(&|s| -0.5 * (dof(s) + dims as f64), -0.5),
            reach: reach(model),
            densities,
        })
    }

    /// Whether the vectorised recursions were compiled for this many states.
    pub(crate) fn is_vectorised(&self) -> bool {
        self.states <= STATES_MAX
    }

    /// The states that can be occupied at step t, as bits.
    #[inline(always)]
    pub(crate) fn reachable(&self, t: usize) -> u64 {
        self.reach[t.min(self.reach.len() - 1)]
    }

    /// Squared Mahalanobis distance of a complete row from every state, over lanes. `D` = 0 means "as the model says".
    #[inline(always)]
    pub(crate) fn distance<V: Lanes, const M: usize, const D: usize, const FULL: bool>(&self, row: &[f64]) -> [V; M] {
        let dims = if D == 0 { self.dims } else { D };
        let row = &row[..dims];
        let weights = self.weights.as_chunks::<M>().0;
        let offsets = &self.offsets.as_chunks::<M>().0[..dims];
        let mut distance = [V::splat(0.0); M];
        let mut next = 0;
        for i in 0..dims {
            let columns = if FULL { &row[..=i] } else { &row[i..=i] };
            let packed = &weights[next..next + columns.len()];
            next += columns.len();
            for m in 0..M {
                let mut z = V::load(&offsets[i][m]);
                for j in 0..columns.len() {
                    z = V::splat(columns[j]).fma(V::load(&packed[j][m]), z);
                }
                distance[m] = z.fma(z, distance[m]);
            }
        }
        // `min` also turns a NaN (∞ − ∞) into the limit: its second operand wins.
        lanes!(V, M, m => distance[m].min(V::splat(DISTANCE_MAX)))
    }

    /// log p(row | state) of a complete row over lanes; −∞ in padding lanes.
    #[inline(always)]
    pub(crate) fn log_density<V: Lanes, const M: usize, const D: usize, const FULL: bool, const T: bool>(
        &self,
        row: &[f64],
    ) -> [V; M] {
        if T {
            return self.student::<V, M, D, FULL>(row).0;
        }
        let distance = self.distance::<V, M, D, FULL>(row);
        let norm = &self.log_norm.as_chunks::<M>().0[0];
        lanes!(V, M, m => distance[m].fma(V::splat(-0.5), V::load(&norm[m])))
    }

    /// Student-t: log p(row | state) of a complete row, and E[u] = (ν + D) / (ν + δ).
    #[inline(always)]
    pub(crate) fn student<V: Lanes, const M: usize, const D: usize, const FULL: bool>(&self, row: &[f64]) -> ([V; M], [V; M]) {
        let distance = self.distance::<V, M, D, FULL>(row);
        let norm = &self.log_norm.as_chunks::<M>().0[0];
        let power = &self.power.as_chunks::<M>().0[0];
        let inverse_dof = &self.inverse_dof.as_chunks::<M>().0[0];
        let weight_max = &self.weight_max.as_chunks::<M>().0[0];
        let inner = lanes!(V, M, m => distance[m].fma(V::load(&inverse_dof[m]), V::splat(1.0)));
        let log_density = lanes!(V, M, m => inner[m].ln().fma(V::load(&power[m]), V::load(&norm[m])));
        (log_density, lanes!(V, M, m => V::load(&weight_max[m]).div(inner[m])))
    }

    /// From E[u]: E[ln u] − E[u] without the constant ψ((ν+D)/2) − ln((ν+D)/2) and without ln((ν+D)/ν).
    #[inline(always)]
    pub(crate) fn log_minus<V: Lanes, const M: usize>(&self, weight: [V; M]) -> [V; M] {
        let weight_max = &self.weight_max.as_chunks::<M>().0[0];
        lanes!(V, M, m => {
            let inner = V::load(&weight_max[m]).div(weight[m]);
            V::splat(0.0).sub(inner.ln()).sub(weight[m])
        })
    }

    /// log p(row | state) where the row is incomplete, over lanes. Cold: it may allocate.
    #[cold]
    #[inline(never)]
    pub(crate) fn log_density_incomplete<const M: usize>(&self, row: &[f64]) -> [Block; M] {
        let mut out = [Block([f64::NEG_INFINITY; 4]); M];
        for (state, density) in self.densities.iter().enumerate() {
            out[state / 4].0[state % 4] = density.log_density(row);
        }
        out
    }
}

/// `v A` over lanes, where `rows` are the rows of A: Σ_i v_i A[i][·].
#[inline(always)]
pub(crate) fn vector_times<V: Lanes, const M: usize>(v: [V; M], rows: &[[Block; M]], states: usize) -> [V; M] {
    if M == 1 {
        let rows = &rows[..4];
        let [a, b, c, d] = v[0].spread();
        let left = b.fma(V::load(&rows[1][0]), a.mul(V::load(&rows[0][0])));
        let right = d.fma(V::load(&rows[3][0]), c.mul(V::load(&rows[2][0])));
        return [left.add(right); M];
    }
    let mut memory = [Block::ZERO; M];
    store(v, &mut memory);
    let mut sum = [V::splat(0.0); M];
    let rows = &rows[..states];
    for i in 0..states {
        let factor = V::splat(memory[i / 4].0[i % 4]);
        for m in 0..M {
            sum[m] = factor.fma(V::load(&rows[i][m]), sum[m]);
        }
    }
    sum
}

fn reach(model: &Hmm) -> Vec<u64> {
    let states = model.states();
    if states > STATES_MAX {
        return vec![u64::MAX];
    }
    let mut now: u64 = (0..states).filter(|&s| model.start()[s] > 0.0).map(|s| 1u64 << s).sum();
    let mut reach = vec![now];
    // A set that repeats needn't be a fixed point (periodic chains), so states once reached are kept only while they can be
    // re-entered; after 2K steps of change the intersection over a cycle would be needed: take no state for granted then.
    for _ in 0..2 * states {
        let next = (0..states).filter(|&j| (0..states).any(|i| now >> i & 1 == 1 && model.transition()[[i, j]] > 0.0));
        let next = next.map(|s| 1u64 << s).sum();
        if next == now {
            return reach;
        }
        now = next;
        reach.push(now);
    }
    reach.push(0);
    reach
}

/// Compiles a job for the model's blocks, dimensions and emission, and runs it on the best lanes of the processor.
///
/// `compiled!(kernel, Job { fields })` where `Job<M, D, FULL, T>: lanes::Job`. With AVX2, four states or fewer are specialised
/// by dimension; other sizes read it at run time (`D` = 0).
macro_rules! compiled {
    ($kernel:expr, $job:ident { $($field:ident),* $(,)? }) => {{
        macro_rules! go {
            ($run:path, $m:literal, $d:literal) => {
                match ($kernel.full, $kernel.student) {
                    (false, false) => $run($job::<$m, $d, false, false> { $($field),* }),
                    (false, true) => $run($job::<$m, $d, false, true> { $($field),* }),
                    (true, false) => $run($job::<$m, $d, true, false> { $($field),* }),
                    (true, true) => $run($job::<$m, $d, true, true> { $($field),* }),
                }
            };
        }
        if $crate::lanes::is_vector() {
            match ($kernel.blocks, $kernel.dims) {
                (1, 1) => go!($crate::lanes::run_vector, 1, 1),
                (1, 4) => go!($crate::lanes::run_vector, 1, 4),
                (1, 5) => go!($crate::lanes::run_vector, 1, 5),
                (1, _) => go!($crate::lanes::run_vector, 1, 0),
                (2, _) => go!($crate::lanes::run_vector, 2, 0),
                (4, _) => go!($crate::lanes::run_vector, 4, 0),
                _ => go!($crate::lanes::run_vector, 16, 0),
            }
        } else {
            match $kernel.blocks {
                1 => go!($crate::lanes::run_portable, 1, 0),
                2 => go!($crate::lanes::run_portable, 2, 0),
                4 => go!($crate::lanes::run_portable, 4, 0),
                _ => go!($crate::lanes::run_portable, 16, 0),
            }
        }
    }};
}
pub(crate) use compiled;
