//! Eight lanes as AVX-512 registers, for eight models side by side.
//!
//! Invariant, as in [`crate::lanes_avx2`]: an [`Avx512`] exists only inside [`run_side`], which is entered after
//! [`available`] said yes, so every intrinsic below runs on a processor that has it.
#![allow(unsafe_code, reason = "vendor intrinsics need it; the invariant above is what makes them sound")]

use crate::lanes::Arithmetic;
use crate::side_by_side::{Block8, SideBySide, SideJob};
use core::arch::x86_64::*;

/// Whether this processor has what [`run_side`] needs.
#[inline(always)]
pub(crate) fn available() -> bool {
    std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512dq")
}

/// Runs the job with AVX-512 code generation. Panics where the processor has none.
#[inline(always)]
pub(crate) fn run_side<J: SideJob<Block8>>(job: J) -> J::Output {
    assert!(available());
    // SAFETY: the processor has AVX-512 F and DQ, checked above.
    unsafe { enabled(job) }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn enabled<J: SideJob<Block8>>(job: J) -> J::Output {
    job.run::<Avx512>()
}

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Avx512(__m512d);

// SAFETY of every block below: the module's invariant; loads and stores go through a reference to a 64-byte aligned block.
impl Arithmetic for Avx512 {
    #[inline(always)]
    fn splat(x: f64) -> Self {
        Avx512(unsafe { _mm512_set1_pd(x) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_add_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_sub_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_mul_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_div_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_max_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_min_pd(self.0, other.0) })
    }
    #[inline(always)]
    fn fma(self, factor: Self, term: Self) -> Self {
        Avx512(unsafe { _mm512_fmadd_pd(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    fn below(self, other: Self) -> u32 {
        u32::from(unsafe { _mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn equal(self, other: Self) -> u32 {
        u32::from(unsafe { _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn keep_where_not_below(self, a: Self, b: Self) -> Self {
        Avx512(unsafe { _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_NLT_UQ>(a.0, b.0), self.0) })
    }
    #[inline(always)]
    fn add_exponent(self, exponent: Self) -> Self {
        unsafe {
            let shifted = _mm512_slli_epi64::<52>(_mm512_castpd_si512(exponent.0));
            Avx512(_mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(self.0), shifted)))
        }
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        unsafe {
            let root_half = _mm512_set1_epi64(0x3FE6_A09E_667F_3BCD);
            let offset = _mm512_sub_epi64(_mm512_castpd_si512(self.0), root_half);
            let exponent = _mm512_cvtepi64_pd(_mm512_srli_epi64::<52>(offset));
            let mantissa = _mm512_and_si512(offset, _mm512_set1_epi64((1 << 52) - 1));
            (Avx512(exponent), Avx512(_mm512_castsi512_pd(_mm512_add_epi64(mantissa, root_half))))
        }
    }
}

impl SideBySide<Block8> for Avx512 {
    #[inline(always)]
    fn load_side(block: &Block8) -> Self {
        Avx512(unsafe { _mm512_load_pd(block.0.as_ptr()) })
    }
    #[inline(always)]
    fn store_side(self, block: &mut Block8) {
        unsafe { _mm512_store_pd(block.0.as_mut_ptr(), self.0) }
    }
}
