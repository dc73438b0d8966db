//! Models side by side, one per lane: four with AVX2, eight with AVX-512.

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
