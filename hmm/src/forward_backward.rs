//! Forward–backward on a scaled lattice: the E-step's inner loops.
//!
//! Emissions are shifted by their maximum over the states, so that the best state's density is 1 whatever the row; the forward
//! vector is rescaled every 8th step only, and the backward vector is multiplied by the same numbers, so α·β sums to one at the
//! end of every group. That sum is the check: where probability has left the range of a double (a state that can be entered
//! starves, or the sum drifts), the sequence is refused here and redone in log space ([`crate::log_space`]).

use crate::compensated::Compensated;
use crate::error::HmmError;
use crate::kernel::{Kernel, compiled, vector_times};
use crate::lanes::{Block, Job, Lanes, lanes, load, store};
use crate::log_space;
use crate::observations::{Observations, Sequence};
use crate::statistics::Statistics;
use crate::sums::{Accumulate, Sums};

/// Steps between two normalisations.
const GROUP: usize = 8;
/// A group's mass below this is refused. What underflows within a group is then below 1e-308 / 1e-100 in the units of its end,
/// nothing beside a state into which at least [`STARVED`] flows next; one into which less flows, though it can be occupied, is
/// refused too (a density of zero alone is no reason: the transitions feed the state again).
const MASS_MIN: f64 = 1e-100;
const STARVED: f64 = 1e-190;

/// Forward vectors and shifted densities of one sequence; reused from call to call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lattice {
    /// α, `blocks` per step, each up to a factor of its own.
    pub alpha: Vec<Block>,
    /// exp(log density − its maximum), `blocks` per step.
    density: Vec<Block>,
    /// E[u] of Student-t emissions, `blocks` per step; stale where the row is incomplete.
    pub robust: Vec<Block>,
    /// What the forward vector was multiplied by at the end of each group.
    factor: Vec<f64>,
    /// 1 / the mass left at the last step.
    last_factor: f64,
}

/// Called for each step with P(S_t | all rows), from the last step to the first.
pub(crate) trait Visit<const M: usize> {
    fn step<V: Lanes>(&mut self, t: usize, gamma: [V; M]);
}

/// The forward pass. `None` where the scaled recursion can't represent the answer.
struct Forward<'a, const M: usize, const D: usize, const FULL: bool, const T: bool> {
    kernel: &'a Kernel,
    sequence: Sequence<'a>,
    lattice: &'a mut Lattice,
}

impl<const M: usize, const D: usize, const FULL: bool, const T: bool> Job for Forward<'_, M, D, FULL, T> {
    type Output = Option<f64>;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Option<f64> {
        let Forward { kernel, sequence, lattice } = self;
        let dims = if D == 0 { kernel.dims } else { D };
        let steps = sequence.len();
        let rows = kernel.transition.as_chunks::<M>().0;
        let start = &kernel.start.as_chunks::<M>().0[0];
        let alphas = &mut lattice.alpha.as_chunks_mut::<M>().0[..steps];
        let densities = &mut lattice.density.as_chunks_mut::<M>().0[..steps];
        let mut predicted: [V; M] = load(start);
        let robust = &mut lattice.robust.as_chunks_mut::<M>().0[..if T { steps } else { 0 }];
        let mut total = Compensated::default();
        // A group's end is multiplied by the inverse of the mass at the end of the group before: the division is done by then,
        // and the chain from step to step never waits for it.
        let mut factor = V::splat(1.0);
        // Plain loops over indices: an iterator adapter that isn't inlined costs more than the arithmetic.
        for group in 0..steps.div_ceil(GROUP) {
            let mut shift = V::splat(0.0);
            let mut alpha = [V::splat(0.0); M];
            let end = steps.min((group + 1) * GROUP);
            for t in group * GROUP..end {
                let row = &sequence.rows[t * dims..][..dims];
                let log_density = if sequence.is_incomplete(t) {
                    load(&kernel.log_density_incomplete::<M>(row))
                } else if T {
                    let (log_density, weight) = kernel.student::<V, M, D, FULL>(row);
                    store(weight, &mut robust[t]);
                    log_density
                } else {
                    kernel.log_density::<V, M, D, FULL, false>(row)
                };
                let (density, top) = shifted::<V, M>(log_density);
                shift = shift.add(top);
                for m in 0..M {
                    alpha[m] = predicted[m].mul(density[m]);
                    density[m].store(&mut densities[t][m]);
                    alpha[m].store(&mut alphas[t][m]);
                }
                predicted = vector_times(alpha, rows, kernel.states);
            }
            alpha = lanes!(V, M, m => alpha[m].mul(factor));
            predicted = lanes!(V, M, m => predicted[m].mul(factor));
            lattice.factor[group] = factor.first();
            store(alpha, &mut alphas[end - 1]);
            let mass = sum::<V, M>(alpha);
            if !(mass.first() >= MASS_MIN) || (end < steps && starves::<V, M>(predicted, kernel.reachable(end))) {
                return None;
            }
            factor = V::splat(1.0).div(mass);
            total.add(shift.first());
        }
        lattice.last_factor = factor.first();
        total.add(-factor.ln().first());
        // Logs of the factors four at a time, away from the recursion; the first factor is one.
        let factors = &lattice.factor[..steps.div_ceil(GROUP)];
        for four in 0..factors.len().div_ceil(4) {
            let mut block = Block([1.0; 4]);
            for (lane, n) in (4 * four..factors.len().min(4 * four + 4)).enumerate() {
                block.0[lane] = factors[n];
            }
            total.add(-V::load(&block).ln().sum_across().first());
        }
        total.value().is_finite().then_some(total.value())
    }
}

/// exp(log density − maximum), and the maximum in every lane.
#[inline(always)]
pub(crate) fn shifted<V: Lanes, const M: usize>(log_density: [V; M]) -> ([V; M], V) {
    let mut top = log_density[0];
    for m in 1..M {
        top = top.max(log_density[m]);
    }
    let top = top.max_across();
    (lanes!(V, M, m => log_density[m].sub(top).exp()), top)
}

/// The sum over all states, in every lane.
#[inline(always)]
pub(crate) fn sum<V: Lanes, const M: usize>(v: [V; M]) -> V {
    let mut sum = v[0];
    for m in 1..M {
        sum = sum.add(v[m]);
    }
    sum.sum_across()
}

/// Whether so little flows into a state that can be occupied that what it lost to underflow may matter.
#[inline(always)]
fn starves<V: Lanes, const M: usize>(predicted: [V; M], reachable: u64) -> bool {
    let mut starved = 0;
    for m in 0..M {
        starved |= u64::from(predicted[m].below(V::splat(STARVED))) & (reachable >> (4 * m)) & 0xF;
    }
    starved != 0
}

/// The backward pass. `false` where the scaled recursion can't represent the answer.
struct Backward<'a, const M: usize, R> {
    kernel: &'a Kernel,
    steps: usize,
    lattice: &'a Lattice,
    visitor: &'a mut R,
    /// Σ_t α_t−1(i) b_t(j) β_t(j), one vector over j per i; multiplied by A afterwards.
    flow: &'a mut [Block],
}

impl<const M: usize, R: Visit<M>> Job for Backward<'_, M, R> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Lanes>(self) -> bool {
        let Backward { kernel, steps, lattice, visitor, flow } = self;
        let columns = kernel.transition_columns.as_chunks::<M>().0;
        let alphas = &lattice.alpha.as_chunks::<M>().0[..steps];
        let densities = &lattice.density.as_chunks::<M>().0[..steps];
        let flow = flow.as_chunks_mut::<M>().0;
        let mut beta = [V::splat(lattice.last_factor); M];
        for t in (0..steps).rev() {
            let gamma = lanes!(V, M, m => V::load(&alphas[t][m]).mul(beta[m]));
            visitor.step::<V>(t, gamma);
            let ends_group = t % GROUP == GROUP - 1 || t == steps - 1;
            // Not "> 1e-6": a NaN must be refused as well.
            if ends_group && !((sum::<V, M>(gamma).first() - 1.0).abs() <= 1e-6) {
                return false;
            }
            if t == 0 {
                break;
            }
            let mut later = lanes!(V, M, m => V::load(&densities[t][m]).mul(beta[m]));
            if ends_group {
                let factor = V::splat(lattice.factor[t / GROUP]);
                later = lanes!(V, M, m => later[m].mul(factor));
            }
            let earlier = &alphas[t - 1];
            let entered = if M == 1 { 4 } else { kernel.states };
            let flow = &mut flow[..entered];
            for i in 0..entered {
                let from = V::splat(earlier[i / 4].0[i % 4]);
                for m in 0..M {
                    from.fma(later[m], V::load(&flow[i][m])).store(&mut flow[i][m]);
                }
            }
            beta = vector_times(later, columns, kernel.states);
        }
        true
    }
}

/// Writes the posteriors out, K per step.
struct WriteGamma<'a, const M: usize> {
    states: usize,
    out: &'a mut [f64],
}

impl<const M: usize> Visit<M> for WriteGamma<'_, M> {
    #[inline(always)]
    fn step<V: Lanes>(&mut self, t: usize, gamma: [V; M]) {
        let mut memory = [Block::ZERO; M];
        store(gamma, &mut memory);
        let row = &mut self.out[t * self.states..(t + 1) * self.states];
        row.iter_mut().enumerate().for_each(|(s, out)| *out = memory[s / 4].0[s % 4]);
    }
}

/// Everything that one E-step writes to; kept by the caller so that iterations don't allocate.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub lattice: Lattice,
    flow: Vec<Block>,
    sums: Sums,
    part: Statistics,
}

impl Workspace {
    pub(crate) fn new(kernel: &Kernel) -> Self {
        Workspace {
            lattice: Lattice::default(),
            flow: vec![Block::ZERO; 4 * kernel.blocks * kernel.blocks],
            sums: Sums::new(kernel.blocks, kernel.dims, kernel.full),
            part: Statistics::new(kernel.states, kernel.dims, kernel.full),
        }
    }

    fn prepare(&mut self, kernel: &Kernel, steps: usize) {
        let blocks = steps * kernel.blocks;
        if self.lattice.alpha.len() < blocks {
            self.lattice.alpha.resize(blocks, Block::ZERO);
            self.lattice.density.resize(blocks, Block::ZERO);
            self.lattice.factor.resize(steps.div_ceil(GROUP), 0.0);
            let robust = if kernel.student { blocks } else { 0 };
            self.lattice.robust.resize(robust, Block::ZERO);
        }
        self.flow.fill(Block::ZERO);
        self.sums.clear();
        self.part.clear();
    }
}

/// The forward pass of one sequence into the lattice: its log-likelihood, or `None` where log space is needed.
pub(crate) fn forward(kernel: &Kernel, sequence: Sequence<'_>, workspace: &mut Workspace) -> Option<f64> {
    if !kernel.is_vectorised() {
        return None;
    }
    workspace.prepare(kernel, sequence.len());
    let lattice = &mut workspace.lattice;
    compiled!(kernel, Forward { kernel, sequence, lattice })
}

/// Expected counts and moments of all sequences under the model.
pub(crate) fn e_step(
    kernel: &Kernel,
    observations: &Observations<'_>,
    workspace: &mut Workspace,
    statistics: &mut Statistics,
) -> Result<(), HmmError> {
    statistics.clear();
    let mut total = Compensated::default();
    for sequence in observations.each() {
        match forward(kernel, sequence, workspace) {
            Some(log_likelihood) if backward_statistics(kernel, sequence, workspace) => {
                workspace.part.log_likelihood = log_likelihood;
            }
            _ => {
                workspace.part.clear();
                log_space::statistics(kernel, sequence, &mut workspace.part)?;
            }
        }
        total.add(workspace.part.log_likelihood);
        statistics.merge(&workspace.part);
    }
    statistics.log_likelihood = total.value();
    Ok(())
}

fn backward_statistics(kernel: &Kernel, sequence: Sequence<'_>, workspace: &mut Workspace) -> bool {
    let Workspace { lattice, flow, sums, part } = workspace;
    let (steps, lattice) = (sequence.len(), &*lattice);
    struct Run<'a, const M: usize, const D: usize, const FULL: bool, const T: bool> {
        kernel: &'a Kernel,
        sequence: Sequence<'a>,
        steps: usize,
        lattice: &'a Lattice,
        flow: &'a mut [Block],
        sums: &'a mut Sums,
        part: &'a mut Statistics,
    }
    impl<const M: usize, const D: usize, const FULL: bool, const T: bool> Job for Run<'_, M, D, FULL, T> {
        type Output = bool;
        #[inline(always)]
        fn run<V: Lanes>(self) -> bool {
            let Run { kernel, sequence, steps, lattice, flow, sums, part } = self;
            let visitor = &mut Accumulate::<M, D, FULL, T> { kernel, sequence, robust: &lattice.robust, sums, part };
            Backward { kernel, steps, lattice, visitor, flow }.run::<V>()
        }
    }
    {
        let (flow, sums, part) = (flow.as_mut_slice(), &mut *sums, &mut *part);
        if !compiled!(kernel, Run { kernel, sequence, steps, lattice, flow, sums, part }) {
            return false;
        }
    }
    sums.unpack(kernel, part);
    let k = kernel.states;
    for i in 0..k {
        for j in 0..k {
            let at = |blocks: &[Block]| blocks[i * kernel.blocks + j / 4].0[j % 4];
            part.transitions[i * k + j] = at(flow) * at(&kernel.transition);
        }
    }
    true
}

/// Posteriors of one sequence, K per step into `out`, and its log-likelihood.
pub(crate) fn posteriors(
    kernel: &Kernel,
    sequence: Sequence<'_>,
    workspace: &mut Workspace,
    out: &mut [f64],
) -> Result<f64, HmmError> {
    if let Some(log_likelihood) = forward(kernel, sequence, workspace) {
        let (states, steps) = (kernel.states, sequence.len());
        let (lattice, flow) = (&workspace.lattice, &mut workspace.flow[..]);
        macro_rules! go {
            ($m:literal) => {{
                let visitor = &mut WriteGamma::<$m> { states, out };
                crate::lanes::run(Backward::<$m, _> { kernel, steps, lattice, visitor, flow })
            }};
        }
        let done = match kernel.blocks {
            1 => go!(1),
            2 => go!(2),
            4 => go!(4),
            _ => go!(16),
        };
        if done {
            return Ok(log_likelihood);
        }
    }
    log_space::posteriors(kernel, sequence, out)
}
