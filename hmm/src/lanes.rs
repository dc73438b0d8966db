//! Four f64 at once: the arithmetic of the inner loops, written once and compiled per instruction set.
//!
//! A [`Job`] is a kernel generic over its [`Lanes`]; [`run`] picks AVX2 with FMA when the processor has them (asked at run
//! time) and plain arrays otherwise. `mul_add` is used nowhere: without FMA code generation it is a call into libm.
//! States lie in lanes: a vector over K states is ⌈K/4⌉ blocks, padded with states that can't be entered.

/// Four f64 as they lie in memory, aligned for one load.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(32))]
pub(crate) struct Block(pub [f64; 4]);

impl Block {
    pub(crate) const ZERO: Block = Block([0.0; 4]);
}

/// Below this, `exp` answers exactly zero (the result would be denormal).
pub(crate) const EXP_ZERO: f64 = -708.0;

const MAGIC: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52: adding it rounds to the nearest integer
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1; // low 32 bits zero: n · LN2_HIGH is exact
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Chebyshev interpolation of exp on [−ln2/2, ln2/2], relative error 1.7e-17 (before rounding).
const EXP: [f64; 12] = [
    1.0,
    1.0,
    0.5000000000000019,
    0.1666666666666668,
    0.04166666666648809,
    0.008333333333319601,
    0.0013888888952314812,
    0.00019841269890047143,
    2.480148548228773e-05,
    2.7557240918547625e-06,
    2.763263965412376e-07,
    2.511003761756205e-08,
];

/// 2 artanh(s) = 2s + s z (2/3 + 2/5 z + …): the coefficients from z^8 down (z^9 has 2/21).
const ARTANH: [f64; 9] = [2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0];

/// Arithmetic on lanes, however many.
pub(crate) trait Arithmetic: Copy {
    fn splat(x: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    /// `self · factor + term`: one rounding or two, as the processor has it.
    fn fma(self, factor: Self, term: Self) -> Self;
    /// Bit i is set where lane i is below `other`'s.
    fn below(self, other: Self) -> u32;
    /// Bit i is set where the lanes are equal.
    fn equal(self, other: Self) -> u32;
    /// Lanes of `self` where `a ≥ b`, zero elsewhere.
    fn keep_where_not_below(self, a: Self, b: Self) -> Self;
    /// Adds the low 12 bits of `exponent`'s bit pattern to the exponent field.
    fn add_exponent(self, exponent: Self) -> Self;
    /// For lanes ≥ √½: the exponent e as a number and m in [√½, √2) with `self = m · 2^e`.
    fn split_exponent(self) -> (Self, Self);

    /// `exp` for lanes ≤ 709; exactly zero below [`EXP_ZERO`]; error about one unit in the last place.
    #[inline(always)]
    fn exp(self) -> Self {
        let x = self.max(Self::splat(EXP_ZERO));
        let shifted = x.fma(Self::splat(std::f64::consts::LOG2_E), Self::splat(MAGIC));
        let n = shifted.sub(Self::splat(MAGIC));
        let r = n.fma(Self::splat(-LN2_HIGH), x);
        let r = n.fma(Self::splat(-LN2_LOW), r);
        // No closures over lanes anywhere in the kernels: a closure is a function of its own, without AVX2.
        macro_rules! c {
            ($i:literal) => {
                Self::splat(EXP[$i])
            };
        }
        // Estrin's scheme: short dependency chains.
        let r2 = r.mul(r);
        let r4 = r2.mul(r2);
        let low = r2.fma(r.fma(c!(3), c!(2)), r.add(c!(0)));
        let middle = r2.fma(r.fma(c!(7), c!(6)), r.fma(c!(5), c!(4)));
        let high = r2.fma(r.fma(c!(11), c!(10)), r.fma(c!(9), c!(8)));
        let p = r4.fma(r4.fma(high, middle), low);
        p.add_exponent(shifted).keep_where_not_below(self, Self::splat(EXP_ZERO))
    }

    /// Natural logarithm for finite lanes ≥ √½ (callers pass values ≥ 1).
    #[inline(always)]
    fn ln(self) -> Self {
        let (e, m) = self.split_exponent();
        let f = m.sub(Self::splat(1.0));
        let s = f.div(f.add(Self::splat(2.0)));
        let z = s.mul(s);
        // ln m = 2 artanh s = 2s + s z (2/3 + 2/5 z + …), z ≤ .0295.
        let mut p = Self::splat(2.0 / 21.0);
        for i in 0..9 {
            p = p.fma(z, Self::splat(ARTANH[i]));
        }
        let tail = s.mul(z).fma(p, e.mul(Self::splat(LN2_LOW)));
        e.fma(Self::splat(LN2_HIGH), s.add(s).add(tail))
    }
}

/// Four lanes, of which each is a state.
pub(crate) trait Lanes: Arithmetic {
    fn load(block: &Block) -> Self;
    fn store(self, block: &mut Block);
    /// The four lanes, each spread over a whole vector.
    fn spread(self) -> [Self; 4];
    /// The largest lane, in every lane.
    fn max_across(self) -> Self;
    /// The sum of the lanes, in every lane.
    fn sum_across(self) -> Self;

    /// Lane 0.
    #[inline(always)]
    fn first(self) -> f64 {
        let mut block = Block::ZERO;
        self.store(&mut block);
        block.0[0]
    }
}

/// `[V; M]` from an expression over m: `std::array::from_fn` without the closure (see [`Arithmetic::exp`]).
macro_rules! lanes {
    ($v:ident, $count:ident, $m:ident => $value:expr) => {{
        let mut out = [<$v as $crate::lanes::Arithmetic>::splat(0.0); $count];
        for $m in 0..$count {
            out[$m] = $value;
        }
        out
    }};
}
pub(crate) use lanes;

/// Stores `[V; M]` into blocks.
#[inline(always)]
pub(crate) fn store<V: Lanes, const M: usize>(v: [V; M], out: &mut [Block; M]) {
    for m in 0..M {
        v[m].store(&mut out[m]);
    }
}

/// Loads `[V; M]` from blocks.
#[inline(always)]
pub(crate) fn load<V: Lanes, const M: usize>(blocks: &[Block; M]) -> [V; M] {
    lanes!(V, M, m => V::load(&blocks[m]))
}

/// Plain arrays, for processors without AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f64; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, op: impl Fn(f64, f64) -> f64) -> Self {
        let (a, b) = (self.0, other.0);
        Portable([op(a[0], b[0]), op(a[1], b[1]), op(a[2], b[2]), op(a[3], b[3])])
    }

    #[inline(always)]
    fn mask(self, other: Self, test: impl Fn(f64, f64) -> bool) -> u32 {
        let (a, b) = (self.0, other.0);
        (0..4).map(|i| u32::from(test(a[i], b[i])) << i).sum()
    }
}

const ROOT_HALF_BITS: u64 = 0x3FE6_A09E_667F_3BCD;
const MANTISSA: u64 = (1 << 52) - 1;

impl Arithmetic for Portable {
    #[inline(always)]
    fn splat(x: f64) -> Self {
        Portable([x; 4])
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn fma(self, factor: Self, term: Self) -> Self {
        self.mul(factor).add(term)
    }
    #[inline(always)]
    fn below(self, other: Self) -> u32 {
        self.mask(other, |a, b| a < b)
    }
    #[inline(always)]
    fn equal(self, other: Self) -> u32 {
        self.mask(other, |a, b| a == b)
    }
    #[inline(always)]
    fn keep_where_not_below(self, a: Self, b: Self) -> Self {
        let mut kept = self.0;
        for i in 0..4 {
            if a.0[i] < b.0[i] {
                kept[i] = 0.0;
            }
        }
        Portable(kept)
    }
    #[inline(always)]
    fn add_exponent(self, exponent: Self) -> Self {
        self.zip(exponent, |p, n| f64::from_bits(p.to_bits().wrapping_add(n.to_bits() << 52)))
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let offset = self.0.map(|x| x.to_bits().wrapping_sub(ROOT_HALF_BITS));
        let exponent = offset.map(|o| (o >> 52) as f64);
        let mantissa = offset.map(|o| f64::from_bits((o & MANTISSA).wrapping_add(ROOT_HALF_BITS)));
        (Portable(exponent), Portable(mantissa))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn load(block: &Block) -> Self {
        Portable(block.0)
    }
    #[inline(always)]
    fn store(self, block: &mut Block) {
        block.0 = self.0;
    }
    #[inline(always)]
    fn spread(self) -> [Self; 4] {
        self.0.map(Self::splat)
    }
    #[inline(always)]
    fn max_across(self) -> Self {
        let [a, b, c, d] = self.0;
        let larger = |a: f64, b: f64| if a > b { a } else { b };
        Self::splat(larger(larger(a, b), larger(c, d)))
    }
    #[inline(always)]
    fn sum_across(self) -> Self {
        let [a, b, c, d] = self.0;
        Self::splat((a + c) + (b + d))
    }
}

/// A kernel that can be compiled for any lanes. `run` must be `#[inline(always)]` down to the arithmetic.
pub(crate) trait Job {
    type Output;
    fn run<V: Lanes>(self) -> Self::Output;
}

#[cfg(test)]
thread_local! {
    /// Lets a test run the plain arrays on a processor that has better.
    pub(crate) static FORCE_PORTABLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether [`run_vector`] has better than plain arrays on this processor.
#[inline(always)]
pub(crate) fn is_vector() -> bool {
    #[cfg(test)]
    if FORCE_PORTABLE.get() {
        return false;
    }
    #[cfg(target_arch = "x86_64")]
    return crate::lanes_avx2::available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Runs a kernel on AVX2 lanes; call it where [`is_vector`].
///
/// Inlined always: copying the job from frame to frame makes wide loads of narrow stores, which stall until those retire and
/// cost the filter half its speed.
#[inline(always)]
pub(crate) fn run_vector<J: Job>(job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    return crate::lanes_avx2::run(job);
    #[cfg(not(target_arch = "x86_64"))]
    job.run::<Portable>()
}

/// Runs a kernel on plain arrays.
#[inline(never)]
pub(crate) fn run_portable<J: Job>(job: J) -> J::Output {
    job.run::<Portable>()
}

/// Runs a kernel on the best lanes this processor has.
#[inline]
pub(crate) fn run<J: Job>(job: J) -> J::Output {
    if is_vector() { run_vector(job) } else { run_portable(job) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Functions(f64);
    impl Job for Functions {
        type Output = [f64; 2];
        #[inline(always)]
        fn run<V: Lanes>(self) -> [f64; 2] {
            [V::splat(self.0).exp().first(), V::splat(1.0 + self.0.abs()).ln().first()]
        }
    }

    fn check(x: f64, got: [f64; 2]) {
        let exact = if x < EXP_ZERO { 0.0 } else { x.exp() };
        assert!((got[0] - exact).abs() <= 4e-16 * exact, "exp {x}: {} against {exact}", got[0]);
        let exact = (1.0 + x.abs()).ln();
        assert!((got[1] - exact).abs() <= 4e-16 * exact, "ln 1+{x}: {} against {exact}", got[1]);
    }

    #[test]
    fn exp_and_ln_agree_with_libm_on_every_instruction_set() {
        let mut x = -720.0;
        while x < 700.0 {
            check(x, run(Functions(x)));
            check(x, Functions(x).run::<Portable>());
            x += 0.037_31;
        }
        for x in [0.0, 1e-300, -1e-9, 1e-3, 0.414_213_562_373_095, f64::NEG_INFINITY] {
            let [exp, _] = run(Functions(x));
            assert!((exp - x.exp()).abs() <= 3e-16 * x.exp(), "exp {x}");
        }
        assert!((run(Functions(1e300))[1] - 1e300f64.ln()).abs() < 1e-12);
    }
}
