//! Returns as integers: log returns at 1e-7, clipped to ±0.5, so that sums of their products are exact.

/// Units of one: a log return of 1 % is 100,000.
pub const UNITS: f64 = 1e7;
/// The largest return that counts, in units: ±0.5.
pub const CLIP: i32 = 5_000_000;
/// No return: no bar, or none right before it.
pub const ABSENT: i32 = i32::MIN;

/// A log return in units. What is not a number is absent.
#[must_use]
pub fn units(log_return: f64) -> i32 {
    if log_return.is_nan() {
        return ABSENT;
    }
    (log_return * UNITS).round().clamp(-f64::from(CLIP), f64::from(CLIP)) as i32
}

/// The log return between two closing prices, in units; absent where either is not positive.
#[must_use]
pub fn between(before: f64, after: f64) -> i32 {
    if before > 0.0 && after > 0.0 { units((after / before).ln()) } else { ABSENT }
}

/// Fisher's z of a correlation: atanh r, by arithmetic alone, so that it is fast over many pairs and has the same bits everywhere.
///
/// ln q = e·ln 2 + 2·atanh((m − 1)/(m + 1)) with q = (1 + r)/(1 − r) = m·2^e, m in [√½, √2). Within 1e-12 of atanh for |r| ≤ 0.9999.
#[must_use]
#[inline]
pub fn fisher_z(r: f64) -> f64 {
    const ONE: u64 = 1023 << 52;
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    let q = (1.0 + r) / (1.0 - r);
    let shifted = q.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = (shifted as i64) >> 52;
    let m = f64::from_bits(q.to_bits().wrapping_sub((exponent as u64) << 52));
    debug_assert!(m.to_bits() < ONE + (1 << 52));
    let s = (m - 1.0) / (m + 1.0);
    let t = s * s;
    let series = 1.0 / 3.0 + t * (1.0 / 5.0 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t * (1.0 / 11.0 + t * (1.0 / 13.0 + t / 15.0)))));
    exponent as f64 * (0.5 * std::f64::consts::LN_2) + s * (1.0 + t * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_is_rounded_and_clipped() {
        assert_eq!(units(0.0123), 123_000);
        assert_eq!(units(-0.000_000_06), -1);
        assert_eq!(units(3.0), CLIP);
        assert_eq!(units(f64::NEG_INFINITY), -CLIP);
        assert_eq!(units(f64::NAN), ABSENT);
        assert_eq!(between(100.0, 101.0), 99_503); // ln 1.01 = 0.00995033
        assert_eq!(between(0.0, 101.0), ABSENT);
    }

    #[test]
    fn fishers_z_is_atanh() {
        for i in -9_999..=9_999 {
            let r = f64::from(i) / 10_000.0;
            assert!((fisher_z(r) - r.atanh()).abs() < 1e-12, "{r}: {} and {}", fisher_z(r), r.atanh());
        }
        assert_eq!(fisher_z(0.0), 0.0);
    }
}
