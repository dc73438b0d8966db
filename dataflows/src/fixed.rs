//! Fixed-point numbers: decimals of the wire become integers without a detour through floating point.
//!
//! Prices and quantities carry 12 decimals, their product (notional) carries 24. Integer sums can be taken apart again
//! without residue and do not depend on the order of addition, which is what makes every view reproducible.
//! Limits: a price up to 9,223,372; one event's notional up to [`NOTIONAL_MAX`]; sums saturate instead of wrapping.

use serde::{Deserialize, Serialize};

/// Decimals kept of a price, a quantity or a rate.
pub const DECIMALS: u32 = 12;
/// 1.0 as a fixed-point price, quantity or rate.
pub const ONE: i128 = 1_000_000_000_000;
/// The largest notional accepted of a single event: 1e11 quote units. More than 1,000 of them still fit one sum.
pub const NOTIONAL_MAX: i128 = 100_000_000_000 * ONE * ONE;

/// Price in quote units, 12 decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Price(pub i64);

/// Quantity in base units, 12 decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quantity(pub i128);

/// Price × quantity in quote units, 24 decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Notional(pub i128);

/// A dimensionless fraction (a funding rate: 0.0001 is one basis point), 12 decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rate(pub i64);

/// Why a text is not a fixed-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Nothing there. Venues send `""` for "not applicable".
    #[error("empty")]
    Empty,
    /// Not a decimal number (`NaN`, `inf`, letters, two points).
    #[error("not a decimal number")]
    NotANumber,
    /// A number, but larger than the type holds.
    #[error("out of range")]
    OutOfRange,
}

/// Reads a decimal (`-12.345`, `1e-7`) as an integer with 12 decimals; digits beyond the twelfth round half away from zero.
///
/// # Errors
/// [`DecimalError`] for anything that is not a decimal number or does not fit 10^26.
#[inline]
pub fn parse(text: &[u8]) -> Result<i128, DecimalError> {
    parse_usual(text).map_or_else(|| parse_any(text), Ok)
}

/// What venues send: up to 17 digits and a point, at most 12 of them behind it. `None`: something else.
fn parse_usual(text: &[u8]) -> Option<i128> {
    if text.len() > 18 {
        return None;
    }
    let (mut mantissa, mut point) = (0u64, text.len());
    for (at, &byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            mantissa = mantissa * 10 + u64::from(digit);
        } else if byte == b'.' && point == text.len() {
            point = at;
        } else {
            return None;
        }
    }
    let fraction = (text.len() - point).saturating_sub(1);
    if fraction > DECIMALS as usize || point + fraction == 0 {
        return None;
    }
    Some(i128::from(mantissa) * i128::from(POWERS[DECIMALS as usize - fraction]))
}

#[cold]
fn parse_any(text: &[u8]) -> Result<i128, DecimalError> {
    let (negative, digits) = match text {
        [] => return Err(DecimalError::Empty),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut mantissa: u64 = 0;
    let mut fraction: u32 = 0;
    let mut seen: usize = 0;
    let mut point = false;
    for &byte in digits {
        match byte {
            b'0'..=b'9' if seen < 18 => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                seen += 1;
                fraction += u32::from(point);
            }
            b'.' if !point => point = true,
            b'0'..=b'9' | b'e' | b'E' => return parse_long(digits).map(|v| if negative { -v } else { v }),
            _ => return Err(DecimalError::NotANumber),
        }
    }
    if seen == 0 {
        return Err(DecimalError::NotANumber);
    }
    let value = if fraction <= DECIMALS {
        i128::from(mantissa) * i128::from(POWERS[(DECIMALS - fraction) as usize])
    } else {
        let divisor = i128::from(POWERS[(fraction - DECIMALS) as usize]);
        (i128::from(mantissa) + divisor / 2) / divisor
    };
    Ok(if negative { -value } else { value })
}

const POWERS: [u64; 19] = {
    let mut powers = [1u64; 19];
    let mut i = 1;
    while i < 19 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// The rare forms: more than 18 digits, or an exponent. `digits` has no sign.
fn parse_long(digits: &[u8]) -> Result<i128, DecimalError> {
    let (number, exponent) = match digits.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&digits[..at], parse_exponent(&digits[at + 1..])?),
        None => (digits, 0),
    };
    let point = number.iter().position(|&b| b == b'.').unwrap_or(number.len());
    let mut scale = i64::try_from(point).map_err(|_| DecimalError::OutOfRange)? + exponent + i64::from(DECIMALS);
    let mut value: i128 = 0;
    let mut round_up = false;
    let mut seen = false;
    for (i, &byte) in number.iter().enumerate() {
        if i == point {
            continue;
        }
        if !byte.is_ascii_digit() {
            return Err(DecimalError::NotANumber);
        }
        seen = true;
        if scale > 0 {
            value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(byte - b'0'))).ok_or(DecimalError::OutOfRange)?;
        } else if scale == 0 {
            round_up = byte >= b'5';
        }
        scale -= 1;
    }
    if !seen {
        return Err(DecimalError::NotANumber);
    }
    if value != 0 {
        for _ in 0..scale.max(0) {
            value = value.checked_mul(10).ok_or(DecimalError::OutOfRange)?;
        }
    }
    value += i128::from(round_up);
    if value > 100_000_000_000_000_000_000_000_000 * ONE { Err(DecimalError::OutOfRange) } else { Ok(value) }
}

fn parse_exponent(text: &[u8]) -> Result<i64, DecimalError> {
    let text = std::str::from_utf8(text).map_err(|_| DecimalError::NotANumber)?;
    let digits = text.trim_start_matches(['+', '-']);
    if digits.is_empty() || text.len() - digits.len() > 1 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    let exponent = digits.parse::<i64>().map_err(|_| DecimalError::OutOfRange)?;
    match (exponent <= 10_000, text.starts_with('-')) {
        (true, true) => Ok(-exponent),
        (true, false) => Ok(exponent),
        (false, true) => Ok(-10_000),
        (false, false) => Err(DecimalError::OutOfRange),
    }
}

impl Price {
    /// Reads a price. It must be above zero.
    ///
    /// # Errors
    /// As [`parse`]; zero, negative and above 9,223,372 are out of range.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        i64::try_from(parse(text)?).ok().filter(|&v| v > 0).map(Self).ok_or(DecimalError::OutOfRange)
    }

    /// The nearest `f64`.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        to_f64(i128::from(self.0), DECIMALS)
    }

    /// Price × quantity, saturating.
    #[must_use]
    #[inline]
    pub fn notional(self, qty: Quantity) -> Notional {
        match i64::try_from(qty.0) {
            Ok(qty) => Notional(i128::from(self.0) * i128::from(qty)), // one instruction, and it can't overflow
            Err(_) => Notional(i128::from(self.0).saturating_mul(qty.0)),
        }
    }
}

impl Quantity {
    /// Reads a quantity. Zero is allowed (an order book may say it), negative is not.
    ///
    /// # Errors
    /// As [`parse`]; negative is out of range.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        Some(parse(text)?).filter(|&v| v >= 0).map(Self).ok_or(DecimalError::OutOfRange)
    }

    /// The nearest `f64`.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        to_f64(self.0, DECIMALS)
    }
}

impl Notional {
    /// The nearest `f64`.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        to_f64(self.0, 2 * DECIMALS)
    }
}

impl Rate {
    /// Reads a rate: any sign, |rate| < 9,223,372.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        i64::try_from(parse(text)?).map(Self).map_err(|_| DecimalError::OutOfRange)
    }

    /// The nearest `f64`.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        to_f64(i128::from(self.0), DECIMALS)
    }
}

macro_rules! saturating_sums {
    ($($name:ident),*) => {$(
        impl std::ops::Add for $name {
            type Output = Self;
            #[inline]
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl std::ops::AddAssign for $name {
            #[inline]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl std::ops::Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
    )*};
}
saturating_sums!(Quantity, Notional);

/// `value` / 10^`decimals`, correctly rounded: the double that parsing the decimal text would give.
///
/// A store writes eight of these per bar, so trailing zeros go several at a time, in 64 bits as soon as they suffice.
#[must_use]
pub fn to_f64(value: i128, decimals: u32) -> f64 {
    const EXACT: u64 = 1 << 53;
    let (mut wide, mut decimals) = (value.unsigned_abs(), decimals);
    while wide > u128::from(u64::MAX) {
        let Some(zeros) = [12, 4, 1].into_iter().find(|&n| n <= decimals && wide % u128::from(POWERS[n as usize]) == 0) else {
            break;
        };
        wide /= u128::from(POWERS[zeros as usize]);
        decimals -= zeros;
    }
    if let Ok(mut digits) = u64::try_from(wide) {
        while digits >= EXACT || decimals > 22 {
            let Some((power, zeros)) =
                [(100_000_000, 8), (10_000, 4), (10, 1)].into_iter().find(|&(p, n)| n <= decimals && digits % p == 0)
            else {
                break;
            };
            digits /= power;
            decimals -= zeros;
        }
        if digits < EXACT && decimals <= 22 {
            let magnitude = digits as f64 / 10f64.powi(decimals as i32); // both exact, so the quotient rounds once
            return if value < 0 { -magnitude } else { magnitude };
        }
        wide = u128::from(digits);
    }
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{wide}e-{decimals}").parse().unwrap_or(f64::NAN) // always a valid float literal
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<i128, DecimalError>) {
        assert_eq!(parse(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn decimals_become_integers() {
        check("1", Ok(ONE));
        check("0.001", Ok(ONE / 1000));
        check("-0.00038167", Ok(-381_670_000));
        check("61800.20", Ok(61_800_200_000_000_000));
        check("11794.15000000", Ok(11_794_150_000_000_000));
        check("100000000000", Ok(100_000_000_000 * ONE));
        check("2216113.01000000000309", Ok(2_216_113_010_000_000_003));
        check("0.0000000000005", Ok(1));
        check("0.00000000000049", Ok(0));
        check("1e-7", Ok(100_000));
        check("1.5E3", Ok(1500 * ONE));
        check("0e400", Ok(0));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["NaN", "inf", "1.2.3", "abc", "-", ".", "1e", "1e+", "--1", "0x10", "1 ", " 1", "1,5"] {
            check(text, Err(DecimalError::NotANumber));
        }
        check("", Err(DecimalError::Empty));
        check("1e400", Err(DecimalError::OutOfRange));
        check("1e99999999999999999999", Err(DecimalError::OutOfRange));
        check(&"9".repeat(60), Err(DecimalError::OutOfRange));
        assert_eq!(Price::parse(b"0"), Err(DecimalError::OutOfRange));
        assert_eq!(Price::parse(b"-1"), Err(DecimalError::OutOfRange));
        assert_eq!(Price::parse(b"9223373"), Err(DecimalError::OutOfRange));
        assert_eq!(Quantity::parse(b"-0.5"), Err(DecimalError::OutOfRange));
    }

    #[test]
    fn doubles_are_the_nearest() {
        for text in ["0.1", "12345678.123456789", "99999999999.999999", "0.000000000001", "1234567890123456789.12"] {
            assert_eq!(
                to_f64(parse(text.as_bytes()).unwrap(), DECIMALS).to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_decimal_survives_the_round_trip(value in -1_000_000_000_000_000_000_000_000i128..1_000_000_000_000_000_000_000_000) {
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:012}", value.abs() / ONE, value.abs() % ONE);
            proptest::prop_assert_eq!(parse(text.as_bytes()), Ok(value));
            proptest::prop_assert_eq!(to_f64(value, DECIMALS), text.parse::<f64>().unwrap());
        }

        #[test]
        fn a_double_is_what_its_text_parses_to(digits in 0u64..u64::MAX, zeros in 0u32..20, cut in 0u32..64, negative: bool, decimals in 0u32..25) {
            let value = i128::from(digits >> cut) * i128::from(POWERS[zeros.min(18) as usize]) * if negative { -1 } else { 1 };
            let expected: f64 = format!("{value}e-{decimals}").parse().unwrap();
            proptest::prop_assert_eq!(to_f64(value, decimals), expected);
        }

        #[test]
        fn the_usual_form_is_read_as_any_other(text in "[0-9.]{0,20}") {
            if let Some(value) = parse_usual(text.as_bytes()) {
                proptest::prop_assert_eq!(parse_any(text.as_bytes()), Ok(value), "{}", text);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
