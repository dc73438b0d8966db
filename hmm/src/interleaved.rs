//! Models side by side: the E-step of four or eight starts over the same rows, one model per lane.
//!
//! Every operation is vertical, so nothing waits for a permutation and states need no padding: a two-state model costs half
//! of a four-state one. For complete rows and two to four states; where one lane underflows, the caller takes all of them
//! through [`crate::forward_backward`]. Sequences longer than [`STEPS_MAX`] would stream the lattice from memory and gain
//! nothing.

use crate::gamma::digamma;
use crate::kernel::Kernel;
use crate::lanes::lanes;
use crate::observations::{Observations, Sequence};
use crate::side_by_side::{Cell, Computable, Side, SideBySide, SideJob, models_at_once, side_by_side};
use crate::statistics::Statistics;

const STEPS_MAX: usize = 16_384;
const GROUP: usize = 8;
/// Steps whose moments are summed at once.
const BATCH: usize = 4;
/// Deviations kept at hand while second moments are summed; those of further features are worked out again.
const DEVIATIONS: usize = 8;
const MASS_MIN: f64 = 1e-100;
const STARVED: f64 = 1e-190;

/// Whether models of this shape can share their E-steps.
pub(crate) fn fits(states: usize, observations: &Observations<'_>) -> bool {
    let short = observations.lengths().iter().all(|l| *l <= STEPS_MAX);
    (2..=4).contains(&states) && short && !observations.has_missing() && models_at_once() > 0
}

/// Lattice and sums of models side by side; reused.
#[derive(Debug, Clone)]
pub(crate) struct SideWorkspace<C> {
    alpha: Vec<C>,
    density: Vec<C>,
    robust: Vec<C>,
    factor: Vec<C>,
    last_factor: Vec<C>,
    flow: Vec<C>,
    weight: Vec<C>,
    robust_weight: Vec<C>,
    log_minus: Vec<C>,
    first: Vec<C>,
    second: Vec<C>,
    start: Vec<C>,
}

impl<C> Default for SideWorkspace<C> {
    fn default() -> Self {
        let none = Vec::new;
        SideWorkspace {
            alpha: none(),
            density: none(),
            robust: none(),
            factor: none(),
            last_factor: none(),
            flow: none(),
            weight: none(),
            robust_weight: none(),
            log_minus: none(),
            first: none(),
            second: none(),
            start: none(),
        }
    }
}

impl<C: Cell> SideWorkspace<C> {
    fn prepare(&mut self, k: usize, d: usize, moments: usize, steps: usize) {
        if self.alpha.len() < steps * k {
            self.alpha.resize(steps * k, C::from_fn(|_| 0.0));
            self.density.resize(steps * k, C::from_fn(|_| 0.0));
            self.robust.resize(steps * k, C::from_fn(|_| 0.0));
            self.factor.resize(steps.div_ceil(GROUP), C::from_fn(|_| 0.0));
        }
        for (sums, length) in [
            (&mut self.flow, k * k),
            (&mut self.weight, k),
            (&mut self.robust_weight, k),
            (&mut self.log_minus, k),
            (&mut self.first, k * d),
            (&mut self.second, k * moments),
            (&mut self.start, k),
            (&mut self.last_factor, 1),
        ] {
            sums.clear();
            sums.resize(length, C::from_fn(|_| 0.0));
        }
    }
}

struct Forward<'a, C, const K: usize, const D: usize, const FULL: bool, const T: bool> {
    side: &'a Side<C>,
    sequence: Sequence<'a>,
    workspace: &'a mut SideWorkspace<C>,
}

/// Squared distance of a row from one state of each model.
#[inline(always)]
fn distance<C: Cell, V: SideBySide<C>, const FULL: bool>(row: &[f64], weights: &[C], offsets: &[C]) -> V {
    let mut distance = V::splat(0.0);
    let offsets = &offsets[..row.len()];
    let mut next = 0;
    for i in 0..row.len() {
        let mut z = V::load_side(&offsets[i]);
        if FULL {
            let packed = &weights[next..next + i + 1];
            for j in 0..=i {
                z = V::splat(row[j]).fma(V::load_side(&packed[j]), z);
            }
            next += i + 1;
        } else {
            z = V::splat(row[i]).fma(V::load_side(&weights[i]), z);
        }
        distance = z.fma(z, distance);
    }
    distance.min(V::splat(crate::emission::DISTANCE_MAX))
}

impl<C: Cell, const K: usize, const D: usize, const FULL: bool, const T: bool> SideJob<C> for Forward<'_, C, K, D, FULL, T> {
    /// Log-likelihoods per lane.
    type Output = Option<C>;

    #[inline(always)]
    fn run<V: SideBySide<C>>(self) -> Self::Output {
        let Forward { side, sequence, workspace } = self;
        let (d, steps) = (if D == 0 { side.dims } else { D }, sequence.len());
        let moments = if FULL { d * (d + 1) / 2 } else { d };
        let alphas = &mut workspace.alpha.as_chunks_mut::<K>().0[..steps];
        let densities = &mut workspace.density.as_chunks_mut::<K>().0[..steps];
        let robust = &mut workspace.robust.as_chunks_mut::<K>().0[..steps];
        let transition = &side.transition.as_chunks::<K>().0[..K];
        let weights = &side.weights[..K * moments];
        let offsets = &side.offsets[..K * d];
        let (norm, power) = (&side.log_norm[..K], &side.power[..K]);
        let (inverse_dof, weight_max) = (&side.inverse_dof[..K], &side.weight_max[..K]);
        let start: &[C; K] = &side.start.as_chunks::<K>().0[0];
        let mut predicted = lanes!(V, K, s => V::load_side(&start[s]));
        let mut factor = V::splat(1.0);
        let mut total = V::splat(0.0);
        for t in 0..steps {
            let row = &sequence.rows[t * d..][..d];
            let mut log_density = [V::splat(0.0); K];
            for s in 0..K {
                let distance = distance::<C, V, FULL>(row, &weights[s * moments..][..moments], &offsets[s * d..][..d]);
                log_density[s] = if T {
                    let inner = distance.fma(V::load_side(&inverse_dof[s]), V::splat(1.0));
                    V::load_side(&weight_max[s]).div(inner).store_side(&mut robust[t][s]);
                    inner.ln().fma(V::load_side(&power[s]), V::load_side(&norm[s]))
                } else {
                    distance.fma(V::splat(-0.5), V::load_side(&norm[s]))
                };
            }
            let mut top = log_density[0];
            for s in 1..K {
                top = top.max(log_density[s]);
            }
            total = total.add(top);
            let mut alpha = [V::splat(0.0); K];
            for s in 0..K {
                let density = log_density[s].sub(top).exp();
                density.store_side(&mut densities[t][s]);
                alpha[s] = predicted[s].mul(density);
            }
            if t % GROUP == GROUP - 1 || t == steps - 1 {
                // As in the one-model pass: the factor is that of the group before.
                alpha = lanes!(V, K, s => alpha[s].mul(factor));
                factor.store_side(&mut workspace.factor[t / GROUP]);
                let mut mass = alpha[0];
                for s in 1..K {
                    mass = mass.add(alpha[s]);
                }
                // The masses of all lanes must be at least the least; a NaN isn't.
                let mut refused = V::splat(1.0).keep_where_not_below(mass, V::splat(MASS_MIN)).below(V::splat(0.5));
                refused |= mass.equal(mass) ^ ((1 << C::MODELS) - 1);
                if refused != 0 {
                    return None;
                }
                factor = V::splat(1.0).div(mass);
                total = total.sub(factor.ln());
            }
            for s in 0..K {
                alpha[s].store_side(&mut alphas[t][s]);
            }
            for j in 0..K {
                let mut sum = alpha[0].mul(V::load_side(&transition[0][j]));
                for i in 1..K {
                    sum = alpha[i].fma(V::load_side(&transition[i][j]), sum);
                }
                predicted[j] = sum;
            }
            if t % GROUP == GROUP - 1 && t + 1 < steps {
                let reach = &side.reach[(t + 1).min(side.reach.len() - 1)];
                let mut starved = 0;
                for s in 0..K {
                    starved |= predicted[s].below(V::splat(STARVED)) & reach[s];
                }
                if starved != 0 {
                    return None;
                }
            }
        }
        factor.store_side(&mut workspace.last_factor[0]);
        let mut out = C::from_fn(|_| 0.0);
        total.store_side(&mut out);
        (0..C::MODELS).all(|lane| out.get(lane).is_finite()).then_some(out)
    }
}

/// Adds `N` rows in order, with their weights per state, to the moments: each sum is loaded and stored once for all of them,
/// which is what the backward pass would otherwise spend most of its time on.
#[inline(always)]
fn add_moments<C: Cell, V: SideBySide<C>, const K: usize, const N: usize, const FULL: bool>(
    rows: &[f64],
    d: usize,
    weights: &[[V; K]; N],
    means: &[C],
    first: &mut [C],
    second: &mut [C],
) {
    let moments = if FULL { d * (d + 1) / 2 } else { d };
    for s in 0..K {
        let (first, means) = (&mut first[s * d..][..d], &means[s * d..][..d]);
        let second = &mut second[s * moments..][..moments];
        let mut deviations = [[V::splat(0.0); N]; DEVIATIONS];
        let mut next = 0;
        for i in 0..d {
            let mean = V::load_side(&means[i]);
            let deviation = lanes!(V, N, n => V::splat(rows[n * d + i]).sub(mean));
            let weighted = lanes!(V, N, n => weights[n][s].mul(deviation[n]));
            let mut sum = V::load_side(&first[i]);
            for n in 0..N {
                sum = sum.add(weighted[n]);
            }
            sum.store_side(&mut first[i]);
            if !FULL {
                let mut sum = V::load_side(&second[i]);
                for n in 0..N {
                    sum = weighted[n].fma(deviation[n], sum);
                }
                sum.store_side(&mut second[i]);
                continue;
            }
            if i < DEVIATIONS {
                deviations[i] = deviation;
            }
            let packed = &mut second[next..next + i + 1];
            for j in 0..=i {
                let mut sum = V::load_side(&packed[j]);
                for n in 0..N {
                    let other =
                        if j < DEVIATIONS { deviations[j][n] } else { V::splat(rows[n * d + j]).sub(V::load_side(&means[j])) };
                    sum = weighted[n].fma(other, sum);
                }
                sum.store_side(&mut packed[j]);
            }
            next += i + 1;
        }
    }
}

struct Backward<'a, C, const K: usize, const D: usize, const FULL: bool, const T: bool> {
    side: &'a Side<C>,
    sequence: Sequence<'a>,
    workspace: &'a mut SideWorkspace<C>,
}

impl<C: Cell, const K: usize, const D: usize, const FULL: bool, const T: bool> SideJob<C> for Backward<'_, C, K, D, FULL, T> {
    type Output = bool;

    #[inline(always)]
    fn run<V: SideBySide<C>>(self) -> bool {
        let Backward { side, sequence, workspace } = self;
        let (d, steps) = (if D == 0 { side.dims } else { D }, sequence.len());
        let moments = if FULL { d * (d + 1) / 2 } else { d };
        let SideWorkspace {
            alpha,
            density,
            robust,
            factor,
            last_factor,
            flow,
            weight,
            robust_weight,
            log_minus,
            first,
            second,
            start,
        } = workspace;
        let alphas = &alpha.as_chunks::<K>().0[..steps];
        let densities = &density.as_chunks::<K>().0[..steps];
        let robust = &robust.as_chunks::<K>().0[..steps];
        let transition = &side.transition.as_chunks::<K>().0[..K];
        let flow = &mut flow.as_chunks_mut::<K>().0[..K];
        let (weight, robust_weight, log_minus) = (&mut weight[..K], &mut robust_weight[..K], &mut log_minus[..K]);
        let (first, second, means) = (&mut first[..K * d], &mut second[..K * moments], &side.means[..K * d]);
        let mut beta = [V::load_side(&last_factor[0]); K];
        let mut batch = [[V::splat(0.0); K]; BATCH];
        for t in (0..steps).rev() {
            let mut gamma_sum = V::splat(0.0);
            for s in 0..K {
                let gamma = V::load_side(&alphas[t][s]).mul(beta[s]);
                gamma_sum = gamma_sum.add(gamma);
                V::load_side(&weight[s]).add(gamma).store_side(&mut weight[s]);
                if t == 0 {
                    gamma.store_side(&mut start[s]);
                }
                batch[t % BATCH][s] = if T {
                    let u = V::load_side(&robust[t][s]);
                    if side.fits_dof {
                        let inner = V::load_side(&side.weight_max[s]).div(u);
                        let term = V::splat(0.0).sub(inner.ln()).sub(u);
                        gamma.fma(term, V::load_side(&log_minus[s])).store_side(&mut log_minus[s]);
                    }
                    let robust = gamma.mul(u);
                    V::load_side(&robust_weight[s]).add(robust).store_side(&mut robust_weight[s]);
                    robust
                } else {
                    gamma
                };
            }
            // Whole batches at once; the rows of a last, shorter one each by itself.
            if t % BATCH == 0 && t + BATCH <= steps {
                add_moments::<C, V, K, BATCH, FULL>(&sequence.rows[t * d..][..BATCH * d], d, &batch, means, first, second);
            } else if t >= steps - steps % BATCH {
                let one = [batch[t % BATCH]];
                add_moments::<C, V, K, 1, FULL>(&sequence.rows[t * d..][..d], d, &one, means, first, second);
            }
            let ends_group = t % GROUP == GROUP - 1 || t == steps - 1;
            if ends_group {
                let off = gamma_sum.sub(V::splat(1.0));
                let within = off.below(V::splat(1e-6)) & V::splat(-1e-6).below(off);
                if within != (1 << C::MODELS) - 1 {
                    return false;
                }
            }
            if t == 0 {
                break;
            }
            let mut later = lanes!(V, K, s => V::load_side(&densities[t][s]).mul(beta[s]));
            if ends_group {
                let factor = V::load_side(&factor[t / GROUP]);
                later = lanes!(V, K, s => later[s].mul(factor));
            }
            for i in 0..K {
                let from = V::load_side(&alphas[t - 1][i]);
                let mut sum = V::load_side(&transition[i][0]).mul(later[0]);
                for j in 1..K {
                    sum = V::load_side(&transition[i][j]).fma(later[j], sum);
                }
                beta[i] = sum;
                for j in 0..K {
                    from.fma(later[j], V::load_side(&flow[i][j])).store_side(&mut flow[i][j]);
                }
            }
        }
        true
    }
}

/// E-steps of as many models as `C` has lanes. `None` where one of them leaves the range of doubles: take each by itself then.
pub(crate) fn e_step<C: Computable>(
    kernels: &[&Kernel],
    observations: &Observations<'_>,
    workspace: &mut SideWorkspace<C>,
) -> Option<Vec<Statistics>> {
    let (k, d, full, student) = (kernels[0].states, kernels[0].dims, kernels[0].full, kernels[0].student);
    if kernels.len() != C::MODELS {
        return None;
    }
    let side = side_by_side::<C>(kernels);
    let mut all = vec![Statistics::new(k, d, full); C::MODELS];
    let moments = Statistics::moments(d, full);
    for sequence in observations.each() {
        workspace.prepare(k, d, moments, sequence.len());
        macro_rules! go {
            ($k:literal, $d:literal, $full:literal, $t:literal) => {{
                let (side, workspace) = (&side, &mut *workspace);
                let log_likelihood = C::run(Forward::<C, $k, $d, $full, $t> { side, sequence, workspace })?;
                C::run(Backward::<C, $k, $d, $full, $t> { side, sequence, workspace }).then_some(log_likelihood)?
            }};
        }
        macro_rules! by_emission {
            ($k:literal, $d:literal) => {
                match (full, student) {
                    (false, false) => go!($k, $d, false, false),
                    (false, true) => go!($k, $d, false, true),
                    (true, false) => go!($k, $d, true, false),
                    (true, true) => go!($k, $d, true, true),
                }
            };
        }
        macro_rules! by_features {
            ($k:literal) => {
                match d {
                    4 => by_emission!($k, 4),
                    5 => by_emission!($k, 5),
                    _ => by_emission!($k, 0),
                }
            };
        }
        let log_likelihood = match k {
            2 => by_features!(2),
            3 => by_features!(3),
            4 => by_features!(4),
            _ => return None,
        };
        for (lane, statistics) in all.iter_mut().enumerate() {
            statistics.log_likelihood += log_likelihood.get(lane);
            unpack(workspace, kernels[lane], lane, statistics);
        }
    }
    Some(all)
}

/// Adds one lane's sums to its statistics.
fn unpack<C: Cell>(workspace: &SideWorkspace<C>, kernel: &Kernel, lane: usize, statistics: &mut Statistics) {
    let (k, d) = (kernel.states, kernel.dims);
    let add = |to: &mut [f64], from: &[C]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from.get(lane));
    add(&mut statistics.start, &workspace.start);
    add(&mut statistics.weight, &workspace.weight);
    add(&mut statistics.robust, if kernel.student { &workspace.robust_weight } else { &workspace.weight });
    add(&mut statistics.first, &workspace.first);
    add(&mut statistics.second, &workspace.second);
    for n in 0..k * k {
        let probability = kernel.transition[n / k * kernel.blocks].0[n % k];
        statistics.transitions[n] += workspace.flow[n].get(lane) * probability;
    }
    for s in 0..k {
        if let Some(dof) = kernel.densities[s].degrees_of_freedom {
            let half = 0.5 * (dof + d as f64);
            let constant = (2.0 * half / dof).ln() + digamma(half) - half.ln();
            statistics.log_minus[s] += workspace.log_minus[s].get(lane) + workspace.weight[s].get(lane) * constant;
        }
    }
}
