//! Decimals as text: integers on a grid are written exactly, without a detour through floating point.

/// Appends an integer.
pub(super) fn push_int(out: &mut Vec<u8>, value: i64) {
    push_decimal(out, i128::from(value), 0);
}

/// Appends `value` × 10^−decimals with all its decimals (`12340`, 2 → `123.40`).
pub(super) fn push_decimal(out: &mut Vec<u8>, value: i128, decimals: u32) {
    let mut buffer = [b'0'; 48];
    let mut at = buffer.len();
    let mut high = value.unsigned_abs();
    // 128-bit division is slow, so the digits leave in groups of 18.
    while high > u128::from(u64::MAX) {
        let mut group = (high % 1_000_000_000_000_000_000) as u64;
        high /= 1_000_000_000_000_000_000;
        for _ in 0..18 {
            at -= 1;
            buffer[at] = b'0' + (group % 10) as u8;
            group /= 10;
        }
    }
    let mut rest = high as u64;
    while rest >= 100 {
        let pair = (rest % 100) as u8;
        rest /= 100;
        at -= 2;
        buffer[at] = b'0' + pair / 10;
        buffer[at + 1] = b'0' + pair % 10;
    }
    while rest > 0 {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let point = buffer.len() - decimals as usize;
    at = at.min(point - 1);
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&buffer[at..point]);
    if decimals > 0 {
        out.push(b'.');
        out.extend_from_slice(&buffer[point..]);
    }
}

/// As [`push_decimal`], without trailing zeros (`12340`, 2 → `123.4`).
pub(super) fn push_trimmed(out: &mut Vec<u8>, value: i128, decimals: u32) {
    push_decimal(out, value, decimals);
    if decimals > 0 {
        while out.last() == Some(&b'0') {
            out.pop();
        }
        if out.last() == Some(&b'.') {
            out.pop();
        }
    }
}

/// Appends 128 bits as a UUID.
pub(super) fn push_uuid(out: &mut Vec<u8>, high: u64, low: u64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (half, word) in [high, low].into_iter().enumerate() {
        for nibble in 0..16 {
            if matches!((half, nibble), (0, 8 | 12) | (1, 0 | 4)) {
                out.push(b'-');
            }
            out.push(HEX[(word >> (60 - 4 * nibble)) as usize & 15]);
        }
    }
}

/// 10^decimals.
pub(super) fn power(decimals: u32) -> f64 {
    10f64.powi(decimals as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: i128, decimals: u32, full: &str, trimmed: &str) {
        let text = |push: fn(&mut Vec<u8>, i128, u32)| {
            let mut out = Vec::new();
            push(&mut out, value, decimals);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(text(push_decimal), full);
        assert_eq!(text(push_trimmed), trimmed);
    }

    #[test]
    fn decimals_are_written_exactly() {
        check(0, 0, "0", "0");
        check(0, 3, "0.000", "0");
        check(5, 3, "0.005", "0.005");
        check(12_340, 2, "123.40", "123.4");
        check(-12_340, 4, "-1.2340", "-1.234");
        check(-1, 8, "-0.00000001", "-0.00000001");
        check(1_000, 0, "1000", "1000");
        check(i128::from(u64::MAX), 0, "18446744073709551615", "18446744073709551615");
        check(170_141_183_460_469_231_731_687_303_715, 10, "17014118346046923173.1687303715", "17014118346046923173.1687303715");
        check(20_000_000_000_000_000_000_000, 1, "2000000000000000000000.0", "2000000000000000000000");
    }

    #[test]
    fn uuids_have_their_form() {
        let mut out = Vec::new();
        push_uuid(&mut out, 0x20f4_3950_d8dd_5b31, 0x9112_a178_eb60_23af);
        assert_eq!(out, b"20f43950-d8dd-5b31-9112-a178eb6023af");
    }
}
