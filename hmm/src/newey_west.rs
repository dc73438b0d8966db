//! Means of autocorrelated series with honest errors (Newey and West 1987).
//!
//! Bartlett weights over ⌊4 (T/100)^(2/9)⌋ lags (their 1994 rule of thumb), which keep the variance non-negative.

/// Lags for `rows` observations.
pub(crate) fn lags(rows: usize) -> usize {
    (4.0 * (rows as f64 / 100.0).powf(2.0 / 9.0)) as usize
}

/// Σ_t u_t² + 2 Σ_l (1 − l/(L+1)) Σ_t u_t u_t−l: the variance of the sum of `scores`.
pub(crate) fn variance_of_sum(scores: &[f64], lags: usize) -> f64 {
    let lags = lags.min(scores.len().saturating_sub(1));
    let product = |lag: usize| -> f64 { scores[lag..].iter().zip(scores).map(|(a, b)| a * b).sum() };
    let weighted = |lag: usize| (1.0 - lag as f64 / (lags + 1) as f64) * product(lag);
    (product(0) + 2.0 * (1..=lags).map(weighted).sum::<f64>()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An AR(1) with ρ = .5 has a long-run variance of 1/(1−ρ)² = 4 times its innovations'.
    #[test]
    fn long_run_variance_of_an_autoregression() {
        let mut seed = 1u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            12f64.sqrt() * ((seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
        };
        let mut level = 0.0;
        let series: Vec<f64> = (0..200_000)
            .map(|_| {
                level = 0.5 * level + noise();
                level
            })
            .collect();
        let per_row = variance_of_sum(&series, lags(series.len())) / series.len() as f64;
        assert!((3.6..4.2).contains(&per_row), "{per_row}");
        assert!((variance_of_sum(&series, 0) / series.len() as f64 - 4.0 / 3.0).abs() < 0.03);
        assert_eq!(variance_of_sum(&[], 3), 0.0);
    }
}
