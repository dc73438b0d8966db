//! What was found: figures, and whether they are as they should be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One line of the table.
pub struct Finding {
    pub lane: &'static str,
    pub what: String,
    pub found: String,
    /// `None`: a figure that is not judged.
    pub passed: Option<bool>,
}

/// How often each kind of something happened.
pub type Tally = BTreeMap<String, u64>;

/// The table; true: all of it passed.
pub fn table(findings: &[Finding]) -> (String, bool) {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { lane, what, found, passed } in findings {
        let verdict = match passed {
            Some(true) => "ok",
            Some(false) => "FAIL",
            None => "",
        };
        let _ = writeln!(text, "{lane:6} {what:width$}  {verdict:4}  {found}"); // into a String
    }
    (text, findings.iter().all(|finding| finding.passed != Some(false)))
}

pub fn listed(tally: &Tally) -> String {
    let each: Vec<_> = tally.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if each.is_empty() { "none".into() } else { each.join(", ") }
}

/// Of a share of sorted numbers; 0 if there are none.
pub fn at(sorted: &[u64], share: f64) -> u64 {
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(0)
}

/// `p50 p99 max` of numbers.
pub fn spread(numbers: &[u64]) -> (u64, u64, u64) {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    (at(&sorted, 0.5), at(&sorted, 0.99), sorted.last().copied().unwrap_or(0))
}

/// The slope of the line of least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    if points.len() < 3 {
        return 0.0;
    }
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    let sxy: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    if sxx == 0.0 { 0.0 } else { sxy / sxx }
}
