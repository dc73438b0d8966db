//! What was liquidated in the window, by side and bucket: exact sums from which minutes can be taken out again.

use std::collections::BTreeMap;

use crate::fixed::Notional;
use crate::model::{Coverage, PositionSide};

use super::SIDES;

/// What one minute adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Minute {
    /// By side and bucket, each once.
    pub amounts: Vec<(PositionSide, u32, i128)>,
    /// Events by coverage.
    pub coverage: Covered,
}

/// Number of events by coverage, from full to partial.
pub(super) type Covered = [u32; 3];

/// The window's sums.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Sums {
    buckets: [BTreeMap<u32, i128>; SIDES.len()],
    coverage: [i64; 3],
}

/// A maximal run of buckets above the quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Run {
    pub first: u32,
    pub last: u32,
    pub notional: Notional,
}

impl Sums {
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(BTreeMap::is_empty)
    }

    /// Adds a minute (`sign` 1) or takes it out (−1).
    pub fn apply(&mut self, minute: &Minute, sign: i8) {
        for &(side, bucket, amount) in &minute.amounts {
            let buckets = &mut self.buckets[side as usize];
            let sum = buckets.entry(bucket).or_default();
            *sum = sum.wrapping_add(i128::from(sign) * amount); // beyond all reason it wraps, and is right again once that is out
            if *sum == 0 {
                buckets.remove(&bucket);
            }
        }
        for (sum, count) in self.coverage.iter_mut().zip(minute.coverage) {
            *sum += i64::from(sign) * i64::from(count);
        }
    }

    /// The worst coverage of the window's events.
    pub fn coverage(&self) -> Coverage {
        match self.coverage {
            [_, _, partial] if partial > 0 => Coverage::Partial,
            [_, sampled, _] if sampled > 0 => Coverage::Sampled1s,
            _ => Coverage::Full,
        }
    }

    /// The runs of buckets above the quantile of non-empty ones, the largest first, at most `count`.
    ///
    /// The quantile is that of Hyndman and Fan's type 7 (as numpy, R and pandas have it). It lies between two neighbours of the sorted
    /// amounts, so what is above it is exactly what is above the lower neighbour, and nothing need be interpolated.
    pub fn runs(&self, side: PositionSide, quantile_ppm: u32, count: usize) -> Vec<Run> {
        let buckets = &self.buckets[side as usize];
        let mut amounts: Vec<i128> = buckets.values().copied().collect();
        let Some(above_first) = amounts.len().checked_sub(1) else { return Vec::new() };
        let place = above_first as u64 * u64::from(quantile_ppm) / 1_000_000;
        let (_, &mut limit, _) = amounts.select_nth_unstable(place as usize); // at most the last one
        let mut runs: Vec<Run> = Vec::new();
        for (&bucket, &amount) in buckets.iter().filter(|(_, amount)| **amount > limit) {
            match runs.last_mut().filter(|run| run.last + 1 == bucket) {
                Some(run) => (run.last, run.notional) = (bucket, run.notional + Notional(amount)),
                None => runs.push(Run { first: bucket, last: bucket, notional: Notional(amount) }),
            }
        }
        runs.sort_unstable_by_key(|run| (std::cmp::Reverse(run.notional), run.first));
        runs.truncate(count);
        runs
    }
}
