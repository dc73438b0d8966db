//! How numbers are written in sentences.

use serde_json::{Map, Value};

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `$1.50M`: three significant digits.
pub(crate) fn usd(amount: f64) -> String {
    let sign = if amount < 0.0 { "-" } else { "" };
    let mut scaled = amount.abs();
    let mut unit = 0;
    const UNITS: [&str; 5] = ["", "k", "M", "B", "T"];
    // 999.5 would print as 1000: it is the next unit's 1.00.
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let digits = if scaled >= 99.95 {
        0
    } else if scaled >= 9.995 {
        1
    } else {
        2
    };
    format!("{sign}${scaled:.digits$}{}", UNITS[unit])
}

/// Six significant digits, all those before the point, no zeros at the end: `61234.5`, `0.0000123457`.
pub(crate) fn price(price: f64) -> String {
    let magnitude = if price > 0.0 { price.log10().floor() as i32 } else { 0 };
    let text = format!("{price:.digits$}", digits = (5 - magnitude).clamp(0, 12) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

pub(crate) fn duration(ms: i64) -> String {
    let secs = ms.max(0) / 1_000;
    match (secs / 3_600, secs / 60 % 60, secs % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_three_digits() {
        let check = |amount, text: &str| assert_eq!(usd(amount), text);
        check(0.0, "$0.00");
        check(12.345, "$12.3");
        check(999.4, "$999");
        check(999.5, "$1.00k");
        check(375_000.0, "$375k");
        check(1_500_000.0, "$1.50M");
        check(19_160_000_000.0, "$19.2B");
        check(-2_500.0, "-$2.50k");
        check(5e18, "$5000000T");
    }

    #[test]
    fn prices_have_six_digits() {
        let check = |amount, text: &str| assert_eq!(price(amount), text);
        check(61_234.567_89, "61234.6");
        check(1_234_567.8, "1234568");
        check(100.0, "100");
        check(0.000_012_345_67, "0.0000123457");
        check(1e-12, "0.000000000001");
        check(0.0, "0");
    }

    #[test]
    fn durations_read_well() {
        let check = |secs: i64, text: &str| assert_eq!(duration(secs * 1_000), text);
        check(-5, "0 s");
        check(59, "59 s");
        check(754, "12 min 34 s");
        check(7_260, "2 h 1 min");
    }
}
