//! The lanes of [`crate::lanes`] as AVX2 registers with fused multiply-add.
//!
//! With [`crate::lanes_avx512`] the only unsafe code of the crate. Invariant: an [`Avx2`] exists only inside [`run`], which is entered after
//! [`available`] said yes, so every intrinsic below runs on a processor that has it. The methods carry no `target_feature`
//! of their own (a trait method can't): they are inlined into [`enabled`], which does.
#![allow(unsafe_code, reason = "vendor intrinsics need it; the invariant above is what makes them sound")]

use crate::lanes::{Arithmetic, Block, Job, Lanes};
use crate::side_by_side::{SideBySide, SideJob};
use core::arch::x86_64::*;

/// Whether this processor has what [`run`] needs. The answer is cached by the standard library: one load.
#[inline(always)]
pub(crate) fn available() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

/// Runs the job with AVX2 and FMA code generation. Panics where the processor has none.
#[inline(always)]
pub(crate) fn run<J: Job>(job: J) -> J::Output {
    assert!(available());
    // SAFETY: the processor has AVX2 and FMA, checked above.
    unsafe { enabled(job) }
}

#[target_feature(enable = "avx2,fma")]
fn enabled<J: Job>(job: J) -> J::Output {
    job.run::<Avx2>()
}

/// As [`run`], for models side by side.
#[inline(always)]
pub(crate) fn run_side<J: SideJob<Block>>(job: J) -> J::Output {
    assert!(available());
    // SAFETY: the processor has AVX2 and FMA, checked above.
    unsafe { enabled_side(job) }
}

#[target_feature(enable = "avx2,fma")]
fn enabled_side<J: SideJob<Block>>(job: J) -> J::Output {
    job.run::<Avx2>()
}

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Avx2(__m256d);

// SAFETY of every block below: the module's invariant (AVX2 and FMA are present); loads and stores go through a reference to
// a 32-byte aligned block.
impl Arithmetic for Avx2 {
    #[inline(always)]
    fn splat(x: f64) -> Self {
        Avx2(unsafe { _mm256_set1_pd(x) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_add_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_sub_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_mul_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_div_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_max_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_min_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn fma(self, factor: Self, term: Self) -> Self {
        Avx2(unsafe { _mm256_fmadd_pd(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    fn below(self, other: Self) -> u32 {
        unsafe { _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(self.0, other.0)) as u32 }
    }
    #[inline(always)]
    fn equal(self, other: Self) -> u32 {
        unsafe { _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_EQ_OQ>(self.0, other.0)) as u32 }
    }
    #[inline(always)]
    fn keep_where_not_below(self, a: Self, b: Self) -> Self {
        Avx2(unsafe { _mm256_and_pd(self.0, _mm256_cmp_pd::<_CMP_NLT_UQ>(a.0, b.0)) })
    }
    #[inline(always)]
    fn add_exponent(self, exponent: Self) -> Self {
        unsafe {
            let shifted = _mm256_slli_epi64::<52>(_mm256_castpd_si256(exponent.0));
            Avx2(_mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(self.0), shifted)))
        }
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        unsafe {
            let root_half = _mm256_set1_epi64x(0x3FE6_A09E_667F_3BCD);
            let offset = _mm256_sub_epi64(_mm256_castpd_si256(self.0), root_half);
            // An integer below 2^52 becomes a double by sitting in the mantissa of 2^52.
            let two52 = _mm256_set1_pd(4_503_599_627_370_496.0);
            let exponent = _mm256_or_pd(_mm256_castsi256_pd(_mm256_srli_epi64::<52>(offset)), two52);
            let mantissa = _mm256_and_si256(offset, _mm256_set1_epi64x((1 << 52) - 1));
            let mantissa = _mm256_castsi256_pd(_mm256_add_epi64(mantissa, root_half));
            (Avx2(_mm256_sub_pd(exponent, two52)), Avx2(mantissa))
        }
    }
}

impl Lanes for Avx2 {
    #[inline(always)]
    fn load(block: &Block) -> Self {
        Avx2(unsafe { _mm256_load_pd(block.0.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, block: &mut Block) {
        unsafe { _mm256_store_pd(block.0.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn spread(self) -> [Self; 4] {
        unsafe {
            [
                Avx2(_mm256_permute4x64_pd::<0x00>(self.0)),
                Avx2(_mm256_permute4x64_pd::<0x55>(self.0)),
                Avx2(_mm256_permute4x64_pd::<0xAA>(self.0)),
                Avx2(_mm256_permute4x64_pd::<0xFF>(self.0)),
            ]
        }
    }
    #[inline(always)]
    fn max_across(self) -> Self {
        unsafe {
            let halves = _mm256_max_pd(self.0, _mm256_permute2f128_pd::<0x01>(self.0, self.0));
            Avx2(_mm256_max_pd(halves, _mm256_permute_pd::<0b0101>(halves)))
        }
    }
    #[inline(always)]
    fn sum_across(self) -> Self {
        unsafe {
            let halves = _mm256_add_pd(self.0, _mm256_permute2f128_pd::<0x01>(self.0, self.0));
            Avx2(_mm256_add_pd(halves, _mm256_permute_pd::<0b0101>(halves)))
        }
    }
}

impl SideBySide<Block> for Avx2 {
    #[inline(always)]
    fn load_side(block: &Block) -> Self {
        Self::load(block)
    }
    #[inline(always)]
    fn store_side(self, block: &mut Block) {
        self.store(block);
    }
}
