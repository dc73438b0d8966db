//! The E-step's moments, summed over lanes while the backward pass goes by.

use crate::forward_backward::Visit;
use crate::gamma::digamma;
use crate::kernel::Kernel;
use crate::lanes::{Block, Lanes, lanes, load, store};
use crate::observations::Sequence;
use crate::statistics::Statistics;

/// Running sums, one vector over states each; see [`Statistics`] for their meaning.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    weight: Vec<Block>,
    robust: Vec<Block>,
    log_minus: Vec<Block>,
    first: Vec<Block>,
    second: Vec<Block>,
    start: Vec<Block>,
}

impl Sums {
    pub(crate) fn new(blocks: usize, dims: usize, full: bool) -> Self {
        let zeros = |n: usize| vec![Block::ZERO; n * blocks];
        Sums {
            weight: zeros(1),
            robust: zeros(1),
            log_minus: zeros(1),
            first: zeros(dims),
            second: zeros(Statistics::moments(dims, full)),
            start: zeros(1),
        }
    }

    pub(crate) fn clear(&mut self) {
        let Sums { weight, robust, log_minus, first, second, start } = self;
        for part in [weight, robust, log_minus, first, second, start] {
            part.fill(Block::ZERO);
        }
    }

    /// Adds the sums to `part` (which holds the incomplete rows already) in its plain layout.
    pub(crate) fn unpack(&self, kernel: &Kernel, part: &mut Statistics) {
        let (blocks, dims) = (kernel.blocks, kernel.dims);
        let moments = Statistics::moments(dims, kernel.full);
        for s in 0..kernel.states {
            let at = |sums: &[Block], n: usize| sums[n * blocks + s / 4].0[s % 4];
            let weight = at(&self.weight, 0);
            part.start[s] += at(&self.start, 0);
            part.weight[s] += weight;
            part.robust[s] += if kernel.student { at(&self.robust, 0) } else { weight };
            if let Some(dof) = kernel.densities[s].degrees_of_freedom {
                let half = 0.5 * (dof + dims as f64);
                // E ln u = ln((ν+D)/(ν+δ)) + ψ((ν+D)/2) − ln((ν+D)/2); the kernel summed −ln(1 + δ/ν) − u.
                let constant = (2.0 * half / dof).ln() + digamma(half) - half.ln();
                part.log_minus[s] += at(&self.log_minus, 0) + weight * constant;
            }
            (0..dims).for_each(|i| part.first[s * dims + i] += at(&self.first, i));
            (0..moments).for_each(|n| part.second[s * moments + n] += at(&self.second, n));
        }
    }
}

/// Adds each step's moments to the sums.
pub(crate) struct Accumulate<'a, const M: usize, const D: usize, const FULL: bool, const T: bool> {
    pub kernel: &'a Kernel,
    pub sequence: Sequence<'a>,
    /// E[u] per step, from the forward pass.
    pub robust: &'a [Block],
    pub sums: &'a mut Sums,
    pub part: &'a mut Statistics,
}

impl<const M: usize, const D: usize, const FULL: bool, const T: bool> Accumulate<'_, M, D, FULL, T> {
    #[cold]
    #[inline(never)]
    fn incomplete(&mut self, t: usize, gamma: [Block; M]) {
        for s in 0..self.kernel.states {
            self.part.add(&self.kernel.densities[s], s, gamma[s / 4].0[s % 4], self.sequence.row(t));
        }
    }
}

#[inline(always)]
fn add<V: Lanes, const M: usize>(sum: &mut [Block; M], term: [V; M]) {
    for m in 0..M {
        V::load(&sum[m]).add(term[m]).store(&mut sum[m]);
    }
}

impl<const M: usize, const D: usize, const FULL: bool, const T: bool> Visit<M> for Accumulate<'_, M, D, FULL, T> {
    #[inline(always)]
    fn step<V: Lanes>(&mut self, t: usize, gamma: [V; M]) {
        if t == 0 {
            add(&mut self.sums.start.as_chunks_mut::<M>().0[0], gamma);
        }
        if self.sequence.is_incomplete(t) {
            let mut memory = [Block::ZERO; M];
            store(gamma, &mut memory);
            return self.incomplete(t, memory);
        }
        let dims = if D == 0 { self.kernel.dims } else { D };
        let row = &self.sequence.rows[t * dims..(t + 1) * dims];
        let means = &self.kernel.means.as_chunks::<M>().0[..dims];
        add(&mut self.sums.weight.as_chunks_mut::<M>().0[0], gamma);
        let robust = if T {
            let weight: [V; M] = load(&self.robust.as_chunks::<M>().0[t]);
            if self.kernel.fits_dof {
                let log_minus = self.kernel.log_minus::<V, M>(weight);
                let log_minus = lanes!(V, M, m => gamma[m].mul(log_minus[m]));
                add(&mut self.sums.log_minus.as_chunks_mut::<M>().0[0], log_minus);
            }
            let robust = lanes!(V, M, m => gamma[m].mul(weight[m]));
            add(&mut self.sums.robust.as_chunks_mut::<M>().0[0], robust);
            robust
        } else {
            gamma
        };
        let first = &mut self.sums.first.as_chunks_mut::<M>().0[..dims];
        let second = self.sums.second.as_chunks_mut::<M>().0;
        let second = &mut second[..if FULL { dims * (dims + 1) / 2 } else { dims }];
        let mut next = 0;
        for i in 0..dims {
            for m in 0..M {
                let deviation = V::splat(row[i]).sub(V::load(&means[i][m]));
                let weighted = robust[m].mul(deviation);
                V::load(&first[i][m]).add(weighted).store(&mut first[i][m]);
                if FULL {
                    for j in 0..=i {
                        let other = V::splat(row[j]).sub(V::load(&means[j][m]));
                        let sum = &mut second[next + j][m];
                        weighted.fma(other, V::load(sum)).store(sum);
                    }
                } else {
                    weighted.fma(deviation, V::load(&second[i][m])).store(&mut second[i][m]);
                }
            }
            next += i + 1;
        }
    }
}
