//! Models side by side, one per lane: four with AVX2, eight with AVX-512.

use crate::kernel::Kernel;
use crate::lanes::{Arithmetic, Block};

/// One number of each model.
pub(crate) trait Cell: Copy {
    /// Models per vector.
    const MODELS: usize;
    fn from_fn(value: impl FnMut(usize) -> f64) -> Self;
    fn get(&self, model: usize) -> f64;
}

impl Cell for Block {
    const MODELS: usize = 4;
    fn from_fn(value: impl FnMut(usize) -> f64) -> Self {
        Block(std::array::from_fn(value))
    }
    fn get(&self, model: usize) -> f64 {
        self.0[model]
    }
}

/// Eight f64, aligned for one load.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block8(pub [f64; 8]);

impl Cell for Block8 {
    const MODELS: usize = 8;
    fn from_fn(value: impl FnMut(usize) -> f64) -> Self {
        Block8(std::array::from_fn(value))
    }
    fn get(&self, model: usize) -> f64 {
        self.0[model]
    }
}

/// Lanes that hold one number of each model.
pub(crate) trait SideBySide<C: Cell>: Arithmetic {
    fn load_side(cell: &C) -> Self;
    fn store_side(self, cell: &mut C);
}

/// A kernel over models side by side; see [`crate::lanes::Job`].
pub(crate) trait SideJob<C: Cell> {
    type Output;
    fn run<V: SideBySide<C>>(self) -> Self::Output;
}

/// Cells that some instruction set can compute with.
pub(crate) trait Computable: Cell {
    fn run<J: SideJob<Self>>(job: J) -> J::Output;
}

#[cfg(target_arch = "x86_64")]
impl Computable for Block {
    #[inline(always)]
    fn run<J: SideJob<Self>>(job: J) -> J::Output {
        crate::lanes_avx2::run_side(job)
    }
}

#[cfg(target_arch = "x86_64")]
impl Computable for Block8 {
    #[inline(always)]
    fn run<J: SideJob<Self>>(job: J) -> J::Output {
        crate::lanes_avx512::run_side(job)
    }
}

/// Models that this processor computes at once; zero where it has neither instruction set.
pub(crate) fn models_at_once() -> usize {
    #[cfg(target_arch = "x86_64")]
    if crate::lanes::is_vector() {
        return if crate::lanes_avx512::available() { Block8::MODELS } else { Block::MODELS };
    }
    0
}

/// The parameters of models side by side; `[state]`-major.
pub(crate) struct Side<C> {
    pub dims: usize,
    pub start: Vec<C>,
    pub transition: Vec<C>,
    pub log_norm: Vec<C>,
    pub means: Vec<C>,
    pub offsets: Vec<C>,
    pub weights: Vec<C>,
    pub power: Vec<C>,
    pub inverse_dof: Vec<C>,
    pub weight_max: Vec<C>,
    pub fits_dof: bool,
    /// States that can be occupied at the end of the group, of every model: bit = lane.
    pub reach: Vec<[u32; 4]>,
}

/// Lays models side by side.
pub(crate) fn side_by_side<C: Cell>(kernels: &[&Kernel]) -> Side<C> {
    let (k, d, full) = (kernels[0].states, kernels[0].dims, kernels[0].full);
    let side = |value: &dyn Fn(&Kernel) -> f64| C::from_fn(|lane| value(kernels[lane]));
    let per_state = |value: &dyn Fn(&Kernel, usize) -> f64| (0..k).map(|s| side(&|kernel| value(kernel, s))).collect();
    let dof = |kernel: &Kernel, s: usize| kernel.densities[s].degrees_of_freedom.unwrap_or(1.0);
    let columns = |i: usize| if full { 0..=i } else { i..=i };
    let whitening = |kernel: &Kernel, s: usize, i: usize, j: usize| kernel.densities[s].whitening[i * d + j];
    let offset = |kernel: &Kernel, s: usize, i: usize| -> f64 {
        columns(i).map(|j| -whitening(kernel, s, i, j) * kernel.densities[s].mean[j]).sum()
    };
    let state_feature = |value: &dyn Fn(&Kernel, usize, usize) -> f64| -> Vec<C> {
        (0..k * d).map(|n| side(&|kernel| value(kernel, n / d, n % d))).collect()
    };
    let pairs = |s: usize| (0..d).flat_map(move |i| columns(i).map(move |j| (s, i, j)));
    // Reachability changes for a few steps and then stays; twice K steps cover every chain that settles.
    let reach_at = |t: usize| -> [u32; 4] {
        let lanes_of = |s: usize| (0..C::MODELS).map(|lane| ((kernels[lane].reachable(t) >> s & 1) as u32) << lane).sum();
        std::array::from_fn(|s| if s < k { lanes_of(s) } else { 0 })
    };
    Side {
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
