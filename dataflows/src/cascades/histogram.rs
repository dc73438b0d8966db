//! Trailing sums as histograms of a day: 128 bins, four to the doubling, from $1 to $4.3 billion.
//!
//! A bin is 19 % wide, and the quantile is interpolated inside it. Zeros are not kept: they are the samples that no bin holds.
//! Samples come as runs (the sum is constant between two instants at which it changes), so a silent hour costs nothing.

use std::collections::BTreeMap;

use crate::cascades::WINDOWS;
use crate::cascades::machine::Seconds;
use crate::fixed::{Notional, ONE};
use crate::model::Window;

pub(super) const DAY_SECS: i64 = 86_400;
const BINS: usize = 128;
/// 2^(j/4) at 15 decimals.
const QUARTERS: [i128; 4] = [1_000_000_000_000_000, 1_189_207_115_002_721, 1_414_213_562_373_095, 1_681_792_830_507_429];
/// One of the last decimal of [`QUARTERS`], as a notional.
const UNIT: i128 = ONE * ONE / 1_000_000_000_000_000;

/// Seconds of one day by the sum that they ended with, of one window. The sums of several days add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Histogram([u32; BINS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BINS])
    }
}

impl Histogram {
    /// Adds a run of seconds with the same sum.
    pub fn add(&mut self, sum: Notional, seconds: u32) {
        if sum.0 > 0 {
            self.0[bin(sum)] += seconds;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// The smallest sum that at least a share of `quantile` of all `samples` do not exceed. `None`: it is zero.
    pub fn quantile(&self, quantile: f64, samples: i64) -> Option<Notional> {
        let held: i64 = self.0.iter().map(|&n| i64::from(n)).sum();
        let mut rank = (quantile * samples as f64).ceil() as i64 - (samples - held);
        if rank <= 0 {
            return None;
        }
        for (i, &n) in self.0.iter().enumerate() {
            if rank <= i64::from(n) {
                let (low, high) = (edge(i), edge(i + 1));
                return Some(Notional(low + (high - low) / i128::from(n) * i128::from(rank)));
            }
            rank -= i64::from(n);
        }
        Some(Notional(edge(BINS))) // a quantile above 1
    }
}

/// The lower edge of a bin: 2^(i/4) dollars. Below the first lies what is less than a dollar, and counts as a dollar.
fn edge(i: usize) -> i128 {
    (QUARTERS[i % 4] << (i / 4)) * UNIT
}

fn bin(sum: Notional) -> usize {
    let doublings = (sum.0 / (ONE * ONE)).checked_ilog2().unwrap_or(0) as usize;
    let first = (doublings * 4).min(BINS - 4);
    first + (1..4).filter(|j| sum.0 >= edge(first + j)).count()
}

/// The histograms of one day, a window each.
/// Nearly all bins of a day are empty: written as those that aren't.
impl serde::Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let taken: Vec<(u8, u32)> = (0u8..).zip(self.0).filter(|(_, count)| *count > 0).collect();
        taken.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bins = [0; BINS];
        for (bin, count) in Vec::<(u8, u32)>::deserialize(deserializer)? {
            if let Some(slot) = bins.get_mut(usize::from(bin)) {
                *slot = count;
            }
        }
        Ok(Self(bins))
    }
}

pub(super) type Day = [Histogram; WINDOWS.len()];

/// Adds to `days` the trailing sums of the seconds in (`from`, `to`], each to the day that it is in. `trailing` are the sums at
/// `from`, and then at `to`.
pub(super) fn sample(
    seconds: &Seconds,
    trailing: &mut [Notional; WINDOWS.len()],
    (from, to): (i64, i64),
    days: &mut BTreeMap<i64, Box<Day>>,
) {
    for (at, (window, sum)) in WINDOWS.into_iter().zip(trailing).enumerate() {
        sample_window(seconds, window, sum, (from, to), |from, to, sum| add_run(days, at, (from, to), sum));
    }
}

/// Calls `run(from, to, sum)` for each stretch (`from`, `to`] of seconds with a constant sum other than zero.
fn sample_window(
    seconds: &Seconds,
    window: Window,
    sum: &mut Notional,
    (from, to): (i64, i64),
    mut run: impl FnMut(i64, i64, Notional),
) {
    let mut arrivals = seconds.totals(from + 1, to).peekable();
    let mut departures = seconds.totals(from + 1 - window.secs(), to - window.secs()).peekable();
    let mut since = from; // the sum has been constant after it
    loop {
        let arrival = arrivals.peek().map(|(second, _)| *second);
        let departure = departures.peek().map(|(second, _)| *second + window.secs());
        let Some(next) = arrival.into_iter().chain(departure).min() else { break };
        if sum.0 > 0 && next - 1 > since {
            run(since, next - 1, *sum);
        }
        since = next - 1;
        while let Some((_, gone)) = departures.next_if(|(second, _)| second + window.secs() == next) {
            *sum = *sum - gone;
        }
        while let Some((_, come)) = arrivals.next_if(|(second, _)| *second == next) {
            *sum += come;
        }
    }
    if sum.0 > 0 && to > since {
        run(since, to, *sum);
    }
}

fn add_run(days: &mut BTreeMap<i64, Box<Day>>, window: usize, (from, to): (i64, i64), sum: Notional) {
    let mut first = from + 1;
    while first <= to {
        let day = first.div_euclid(DAY_SECS);
        let last = to.min((day + 1) * DAY_SECS - 1);
        days.entry(day).or_default()[window].add(sum, (last - first + 1) as u32); // a day's seconds at most
        first = last + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(amount: f64) -> Notional {
        Notional((amount * 1e6) as i128 * (ONE * ONE / 1_000_000))
    }

    #[test]
    fn bins_are_where_the_logarithm_says() {
        for amount in [0.000_001, 0.5, 1.0, 1.18, 1.19, 1.415, 1.682, 1.99, 2.0, 1_000.0, 65_536.0, 1e9, 4e9, 1e12] {
            let expected = (4.0 * f64::log2(amount)).floor().clamp(0.0, 127.0);
            assert_eq!(bin(usd(amount)), expected as usize, "{amount}");
        }
        for i in 0..BINS {
            let bounds = (edge(i), edge(i + 1) - 1);
            assert_eq!((bin(Notional(bounds.0)), bin(Notional(bounds.1))), (i, i));
        }
    }

    #[test]
    fn quantiles_count_the_zeros() {
        let mut histogram = Histogram::default();
        histogram.add(Notional(0), 1_000); // no bin's
        assert_eq!(histogram.quantile(1.0, 100_000), None);
        histogram.add(usd(1_000.0), 400);
        histogram.add(usd(9_000.0), 100);
        assert_eq!(histogram.quantile(0.995, 100_000), None, "500 samples of 100,000 are above zero: the 99,500th is zero");
        let check = |quantile, low: f64, high: f64| {
            let value = histogram.quantile(quantile, 100_000).map_or(0.0, Notional::to_f64);
            assert!((low..=high).contains(&value), "{quantile}: {value}");
        };
        check(0.995_01, 861.0, 1_025.0);
        check(0.999, 1_024.0, 1_024.0);
        check(0.999_01, 8_192.0, 9_742.0);
        check(1.0, 9_741.0, 9_742.0);
    }
}
