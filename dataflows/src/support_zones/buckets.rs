//! Log-spaced price buckets whose numbers do not depend on floating point.
//!
//! Bucket n holds the prices from 1e-12 × (1 + w)ⁿ up to before 1e-12 × (1 + w)ⁿ⁺¹, where 1e-12 is the smallest price there is. The
//! edges are computed once, by integer arithmetic alone, and rounded up to whole price units, so that a price's bucket is a binary
//! search among integers: the same on every machine and for every optimiser. 44,000 buckets of 10 bps span all prices.

use std::sync::Arc;

use crate::fixed::Price;

/// The edges between buckets, rising. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Buckets(Arc<[i64]>);

/// The mantissa of an edge is held between 2^100 and 2^101, so that an edge is right to 26 digits after all multiplications.
const MANTISSA_BITS: u32 = 100;

impl Buckets {
    /// Of this width, at least one basis point.
    pub fn new(width_bps: u32) -> Self {
        let (mut mantissa, mut shift) = (1u128 << MANTISSA_BITS, MANTISSA_BITS);
        let mut edges = vec![1i64];
        loop {
            mantissa = mantissa * (10_000 + u128::from(width_bps.clamp(1, 10_000))) / 10_000;
            while mantissa >> (MANTISSA_BITS + 1) > 0 {
                mantissa >>= 1;
                shift -= 1;
            }
            let rounded_up = (mantissa >> shift) + u128::from(mantissa & ((1 << shift) - 1) > 0);
            match i64::try_from(rounded_up) {
                Ok(edge) => edges.push(edge),
                Err(_) => return Self(edges.into()),
            }
        }
    }

    /// The bucket that holds `price`.
    pub fn of(&self, price: i64) -> u32 {
        self.0.partition_point(|&edge| edge <= price).saturating_sub(1) as u32 // some 440,000 at most
    }

    /// The lowest price of bucket `n`.
    pub fn low(&self, n: u32) -> Price {
        Price(self.0.get(n as usize).copied().unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_bucket_above_it() {
        let buckets = Buckets::new(10);
        for n in [20_000, 27_631, 38_680, 43_000] {
            let edge = buckets.low(n).0;
            assert_eq!((buckets.of(edge - 1), buckets.of(edge)), (n - 1, n));
        }
        assert_eq!(buckets.of(1), 0);
        assert!(buckets.of(i64::MAX) < 44_000);
    }

    #[test]
    fn edges_are_powers_of_the_width() {
        for width in [1, 10, 500] {
            let buckets = Buckets::new(width);
            let last = buckets.of(i64::MAX);
            for n in [last / 2, last - 1, last] {
                let power = (1.0 + f64::from(width) / 1e4).powi(n as i32);
                assert!((buckets.low(n).0 as f64 / power - 1.0).abs() < 1e-9, "{n} of {width} bps");
            }
        }
    }
}
