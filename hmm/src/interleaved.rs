//! Four models at once: the E-step of four starts over the same rows, one model per lane.
//!
//! Every operation is vertical, so nothing waits for a permutation and states need no padding: a two-state model costs half
//! of a four-state one. For complete rows and two to four states; where one lane underflows, the caller takes all four
//! through [`crate::forward_backward`]. Sequences longer than [`STEPS_MAX`] would stream the lattice from memory and gain
//! nothing.

use crate::gamma::digamma;
use crate::kernel::Kernel;
use crate::lanes::{self, Block, Job, Lanes, lanes, load, store};
use crate::observations::{Observations, Sequence};
use crate::statistics::Statistics;

/// Models per vector.
pub(crate) const MODELS: usize = 4;
const STEPS_MAX: usize = 16_384;
const GROUP: usize = 8;
/// Deviations kept at hand while second moments are summed; those of further features are worked out again.
const DEVIATIONS: usize = 8;
const MASS_MIN: f64 = 1e-100;
const STARVED: f64 = 1e-190;

/// Whether four models of this shape can share their E-steps.
pub(crate) fn fits(states: usize, observations: &Observations<'_>) -> bool {
    let short = observations.lengths().iter().all(|l| *l <= STEPS_MAX);
    (2..=4).contains(&states) && short && !observations.has_missing() && lanes::is_vector()
}

/// The parameters of four models, side by side; `[state]`-major.
struct Quad {
    dims: usize,
    start: Vec<Block>,
    transition: Vec<Block>,
    log_norm: Vec<Block>,
    means: Vec<Block>,
    offsets: Vec<Block>,
    weights: Vec<Block>,
    power: Vec<Block>,
    inverse_dof: Vec<Block>,
    weight_max: Vec<Block>,
    fits_dof: bool,
    /// States that can be occupied at the end of the group, of every model: bit = lane.
    reach: Vec<[u32; 4]>,
}

fn quad(kernels: &[Kernel; MODELS]) -> Quad {
    let (k, d, full) = (kernels[0].states, kernels[0].dims, kernels[0].full);
    let side = |value: &dyn Fn(&Kernel) -> f64| Block(std::array::from_fn(|lane| value(&kernels[lane])));
    let per_state = |value: &dyn Fn(&Kernel, usize) -> f64| (0..k).map(|s| side(&|kernel| value(kernel, s))).collect();
    let dof = |kernel: &Kernel, s: usize| kernel.densities[s].degrees_of_freedom.unwrap_or(1.0);
    let columns = |i: usize| if full { 0..=i } else { i..=i };
    let whitening = |kernel: &Kernel, s: usize, i: usize, j: usize| kernel.densities[s].whitening[i * d + j];
    let offset = |kernel: &Kernel, s: usize, i: usize| -> f64 {
        columns(i).map(|j| -whitening(kernel, s, i, j) * kernel.densities[s].mean[j]).sum()
    };
    let state_feature = |value: &dyn Fn(&Kernel, usize, usize) -> f64| -> Vec<Block> {
        (0..k * d).map(|n| side(&|kernel| value(kernel, n / d, n % d))).collect()
    };
    let pairs = |s: usize| (0..d).flat_map(move |i| columns(i).map(move |j| (s, i, j)));
    // Reachability changes for a few steps and then stays; twice K steps cover every chain that settles.
    let reach_at = |t: usize| -> [u32; 4] {
        let lanes_of = |s: usize| (0..MODELS).map(|lane| ((kernels[lane].reachable(t) >> s & 1) as u32) << lane).sum();
        std::array::from_fn(|s| if s < k { lanes_of(s) } else { 0 })
    };
    Quad {
        dims: d,
        start: per_state(&|kernel, s| kernel.start[s / 4].0[s % 4]),
        transition: (0..k * k).map(|n| side(&|kernel| kernel.transition[n / k * kernel.blocks].0[n % k])).collect(),
        log_norm: per_state(&|kernel, s| kernel.densities[s].log_norm),
        means: state_feature(&|kernel, s, i| kernel.densities[s].mean[i]),
        offsets: state_feature(&offset),
        weights: (0..k).flat_map(pairs).map(|(s, i, j)| side(&|kernel| whitening(kernel, s, i, j))).collect(),
        power: per_state(&|kernel, s| -0.5 * (dof(kernel, s) + d as f64)),
        inverse_dof: per_state(&|kernel, s| 1.0 / dof(kernel, s)),
        weight_max: per_state(&|kernel, s| (dof(kernel, s) + d as f64) / dof(kernel, s)),
        fits_dof: kernels[0].fits_dof,
        reach: (0..=2 * k + 1).map(reach_at).collect(),
    }
}

/// Lattice and sums of four models; reused.
#[derive(Debug, Clone, Default)]
pub(crate) struct QuadWorkspace {
    alpha: Vec<Block>,
    density: Vec<Block>,
    robust: Vec<Block>,
    factor: Vec<Block>,
    last_factor: Vec<Block>,
    flow: Vec<Block>,
    weight: Vec<Block>,
    robust_weight: Vec<Block>,
    log_minus: Vec<Block>,
    first: Vec<Block>,
    second: Vec<Block>,
    start: Vec<Block>,
}

impl QuadWorkspace {
    fn prepare(&mut self, k: usize, d: usize, moments: usize, steps: usize) {
        if self.alpha.len() < steps * k {
            self.alpha.resize(steps * k, Block::ZERO);
            self.density.resize(steps * k, Block::ZERO);
            self.robust.resize(steps * k, Block::ZERO);
            self.factor.resize(steps.div_ceil(GROUP), Block::ZERO);
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
            sums.resize(length, Block::ZERO);
        }
    }
}

struct Forward<'a, const K: usize, const D: usize, const FULL: bool, const T: bool> {
    quad: &'a Quad,
    sequence: Sequence<'a>,
    workspace: &'a mut QuadWorkspace,
}

/// Squared distance of a row from one state of each model.
#[inline(always)]
fn distance<V: Lanes, const FULL: bool>(row: &[f64], weights: &[Block], offsets: &[Block]) -> V {
    let mut distance = V::splat(0.0);
    let offsets = &offsets[..row.len()];
    let mut next = 0;
    for i in 0..row.len() {
        let mut z = V::load(&offsets[i]);
        if FULL {
            let packed = &weights[next..next + i + 1];
            for j in 0..=i {
                z = V::splat(row[j]).fma(V::load(&packed[j]), z);
            }
            next += i + 1;
        } else {
            z = V::splat(row[i]).fma(V::load(&weights[i]), z);
        }
        distance = z.fma(z, distance);
    }
    distance.min(V::splat(crate::emission::DISTANCE_MAX))
}

impl<const K: usize, const D: usize, const FULL: bool, const T: bool> Job for Forward<'_, K, D, FULL, T> {
    /// Log-likelihoods per lane.
    type Output = Option<[f64; MODELS]>;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Self::Output {
        let Forward { quad, sequence, workspace } = self;
        let (d, steps) = (if D == 0 { quad.dims } else { D }, sequence.len());
        let moments = if FULL { d * (d + 1) / 2 } else { d };
        let alphas = &mut workspace.alpha.as_chunks_mut::<K>().0[..steps];
        let densities = &mut workspace.density.as_chunks_mut::<K>().0[..steps];
        let robust = &mut workspace.robust.as_chunks_mut::<K>().0[..steps];
        let transition = &quad.transition.as_chunks::<K>().0[..K];
        let weights = &quad.weights[..K * moments];
        let offsets = &quad.offsets[..K * d];
        let (norm, power) = (&quad.log_norm[..K], &quad.power[..K]);
        let (inverse_dof, weight_max) = (&quad.inverse_dof[..K], &quad.weight_max[..K]);
        let start: &[Block; K] = &quad.start.as_chunks::<K>().0[0];
        let mut predicted: [V; K] = load(start);
        let mut factor = V::splat(1.0);
        let mut total = V::splat(0.0);
        for t in 0..steps {
            let row = &sequence.rows[t * d..][..d];
            let mut log_density = [V::splat(0.0); K];
            for s in 0..K {
                let distance = distance::<V, FULL>(row, &weights[s * moments..][..moments], &offsets[s * d..][..d]);
                log_density[s] = if T {
                    let inner = distance.fma(V::load(&inverse_dof[s]), V::splat(1.0));
                    V::load(&weight_max[s]).div(inner).store(&mut robust[t][s]);
                    inner.ln().fma(V::load(&power[s]), V::load(&norm[s]))
                } else {
                    distance.fma(V::splat(-0.5), V::load(&norm[s]))
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
                density.store(&mut densities[t][s]);
                alpha[s] = predicted[s].mul(density);
            }
            if t % GROUP == GROUP - 1 || t == steps - 1 {
                // As in the one-model pass: the factor is that of the group before.
                alpha = lanes!(V, K, s => alpha[s].mul(factor));
                factor.store(&mut workspace.factor[t / GROUP]);
                let mut mass = alpha[0];
                for s in 1..K {
                    mass = mass.add(alpha[s]);
                }
                // The masses of all lanes must be at least the least; a NaN isn't.
                let mut refused = V::splat(1.0).keep_where_not_below(mass, V::splat(MASS_MIN)).below(V::splat(0.5));
                refused |= mass.equal(mass) ^ 0xF;
                if refused != 0 {
                    return None;
                }
                factor = V::splat(1.0).div(mass);
                total = total.sub(factor.ln());
            }
            store(alpha, &mut alphas[t]);
            for j in 0..K {
                let mut sum = alpha[0].mul(V::load(&transition[0][j]));
                for i in 1..K {
                    sum = alpha[i].fma(V::load(&transition[i][j]), sum);
                }
                predicted[j] = sum;
            }
            if t % GROUP == GROUP - 1 && t + 1 < steps {
                let reach = &quad.reach[(t + 1).min(quad.reach.len() - 1)];
                let mut starved = 0;
                for s in 0..K {
                    starved |= predicted[s].below(V::splat(STARVED)) & reach[s];
                }
                if starved != 0 {
                    return None;
                }
            }
        }
        factor.store(&mut workspace.last_factor[0]);
        let mut out = Block::ZERO;
        total.store(&mut out);
        out.0.iter().all(|l| l.is_finite()).then_some(out.0)
    }
}

struct Backward<'a, const K: usize, const D: usize, const FULL: bool, const T: bool> {
    quad: &'a Quad,
    sequence: Sequence<'a>,
    workspace: &'a mut QuadWorkspace,
}

impl<const K: usize, const D: usize, const FULL: bool, const T: bool> Job for Backward<'_, K, D, FULL, T> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Lanes>(self) -> bool {
        let Backward { quad, sequence, workspace } = self;
        let (d, steps) = (if D == 0 { quad.dims } else { D }, sequence.len());
        let moments = if FULL { d * (d + 1) / 2 } else { d };
        let QuadWorkspace {
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
        let transition = &quad.transition.as_chunks::<K>().0[..K];
        let flow = &mut flow.as_chunks_mut::<K>().0[..K];
        let (weight, robust_weight, log_minus) = (&mut weight[..K], &mut robust_weight[..K], &mut log_minus[..K]);
        let (first, second, means) = (&mut first[..K * d], &mut second[..K * moments], &quad.means[..K * d]);
        let mut beta = [V::load(&last_factor[0]); K];
        for t in (0..steps).rev() {
            let row = &sequence.rows[t * d..][..d];
            let mut gamma_sum = V::splat(0.0);
            for s in 0..K {
                let gamma = V::load(&alphas[t][s]).mul(beta[s]);
                gamma_sum = gamma_sum.add(gamma);
                V::load(&weight[s]).add(gamma).store(&mut weight[s]);
                if t == 0 {
                    gamma.store(&mut start[s]);
                }
                let moving = if T {
                    let u = V::load(&robust[t][s]);
                    if quad.fits_dof {
                        let inner = V::load(&quad.weight_max[s]).div(u);
                        let term = V::splat(0.0).sub(inner.ln()).sub(u);
                        gamma.fma(term, V::load(&log_minus[s])).store(&mut log_minus[s]);
                    }
                    let robust = gamma.mul(u);
                    V::load(&robust_weight[s]).add(robust).store(&mut robust_weight[s]);
                    robust
                } else {
                    gamma
                };
                let (first, means) = (&mut first[s * d..][..d], &means[s * d..][..d]);
                let second = &mut second[s * moments..][..moments];
                let mut next = 0;
                let mut deviations = [V::splat(0.0); DEVIATIONS];
                for i in 0..d {
                    let deviation = V::splat(row[i]).sub(V::load(&means[i]));
                    let weighted = moving.mul(deviation);
                    V::load(&first[i]).add(weighted).store(&mut first[i]);
                    if FULL {
                        if i < DEVIATIONS {
                            deviations[i] = deviation;
                        }
                        let packed = &mut second[next..next + i + 1];
                        for j in 0..=i {
                            let other = if j < DEVIATIONS { deviations[j] } else { V::splat(row[j]).sub(V::load(&means[j])) };
                            weighted.fma(other, V::load(&packed[j])).store(&mut packed[j]);
                        }
                        next += i + 1;
                    } else {
                        weighted.fma(deviation, V::load(&second[i])).store(&mut second[i]);
                    }
                }
            }
            let ends_group = t % GROUP == GROUP - 1 || t == steps - 1;
            if ends_group {
                let off = gamma_sum.sub(V::splat(1.0));
                let within = off.below(V::splat(1e-6)) & V::splat(-1e-6).below(off);
                if within != 0xF {
                    return false;
                }
            }
            if t == 0 {
                break;
            }
            let mut later = lanes!(V, K, s => V::load(&densities[t][s]).mul(beta[s]));
            if ends_group {
                let factor = V::load(&factor[t / GROUP]);
                later = lanes!(V, K, s => later[s].mul(factor));
            }
            for i in 0..K {
                let from = V::load(&alphas[t - 1][i]);
                let mut sum = V::load(&transition[i][0]).mul(later[0]);
                for j in 1..K {
                    sum = V::load(&transition[i][j]).fma(later[j], sum);
                }
                beta[i] = sum;
                for j in 0..K {
                    from.fma(later[j], V::load(&flow[i][j])).store(&mut flow[i][j]);
                }
            }
        }
        true
    }
}

/// E-steps of four models. `None` where one of them leaves the range of doubles: take each by itself then.
pub(crate) fn e_step(
    kernels: &[Kernel; MODELS],
    observations: &Observations<'_>,
    workspace: &mut QuadWorkspace,
) -> Option<[Statistics; MODELS]> {
    let (k, d, full, student) = (kernels[0].states, kernels[0].dims, kernels[0].full, kernels[0].student);
    let quad = quad(kernels);
    let mut all: [Statistics; MODELS] = std::array::from_fn(|_| Statistics::new(k, d, full));
    let moments = Statistics::moments(d, full);
    for sequence in observations.each() {
        workspace.prepare(k, d, moments, sequence.len());
        macro_rules! go {
            ($k:literal, $d:literal, $full:literal, $t:literal) => {{
                let (quad, workspace) = (&quad, &mut *workspace);
                let log_likelihood = lanes::run_vector(Forward::<$k, $d, $full, $t> { quad, sequence, workspace })?;
                lanes::run_vector(Backward::<$k, $d, $full, $t> { quad, sequence, workspace }).then_some(log_likelihood)?
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
                    1 => by_emission!($k, 1),
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
            statistics.log_likelihood += log_likelihood[lane];
            unpack(workspace, &kernels[lane], lane, statistics);
        }
    }
    Some(all)
}

/// Adds one lane's sums to its statistics.
fn unpack(workspace: &QuadWorkspace, kernel: &Kernel, lane: usize, statistics: &mut Statistics) {
    let (k, d) = (kernel.states, kernel.dims);
    let add = |to: &mut [f64], from: &[Block]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from.0[lane]);
    add(&mut statistics.start, &workspace.start);
    add(&mut statistics.weight, &workspace.weight);
    add(&mut statistics.robust, if kernel.student { &workspace.robust_weight } else { &workspace.weight });
    add(&mut statistics.first, &workspace.first);
    add(&mut statistics.second, &workspace.second);
    for n in 0..k * k {
        let probability = kernel.transition[n / k * kernel.blocks].0[n % k];
        statistics.transitions[n] += workspace.flow[n].0[lane] * probability;
    }
    for s in 0..k {
        if let Some(dof) = kernel.densities[s].degrees_of_freedom {
            let half = 0.5 * (dof + d as f64);
            let constant = (2.0 * half / dof).ln() + digamma(half) - half.ln();
            statistics.log_minus[s] += workspace.log_minus[s].0[lane] + workspace.weight[s].0[lane] * constant;
        }
    }
}
