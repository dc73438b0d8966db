//! The last minute's lags, as a histogram of bounded size.
//!
//! Thirty slots of two seconds, each with counts in bins of an eighth of an octave: what is read is at most 9 % too high, and never above
//! the largest lag, which is kept exactly.

use serde::{Deserialize, Serialize};

/// Bins of an octave.
const PER_OCTAVE: f64 = 8.0;
/// Up to 2^24 ms, nearly five hours; more goes into the last one.
const BINS: usize = 24 * 8 + 1;
/// A minute of slots.
const SLOTS: usize = 30;
/// How long a slot is, ms.
const SLOT_MS: u64 = 2_000;

#[derive(Clone)]
struct Slot {
    /// Which stretch of time it is of.
    number: u64,
    counts: [u32; BINS],
    max: u64,
}

/// See the module.
pub struct Lags {
    slots: Vec<Slot>,
}

/// What is said of a minute's lags, ms; all 0 if there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them were shorter.
    pub p50: u64,
    /// 99 of 100 were shorter.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// How many there were.
    pub count: u64,
}

impl Default for Lags {
    fn default() -> Self {
        Self { slots: vec![Slot { number: 0, counts: [0; BINS], max: 0 }; SLOTS] }
    }
}

impl Lags {
    /// One more, at a time in UTC ms.
    pub fn add(&mut self, now_ms: u64, lag_ms: u64) {
        let number = now_ms / SLOT_MS;
        let slot = &mut self.slots[(number % SLOTS as u64) as usize];
        if slot.number != number {
            *slot = Slot { number, counts: [0; BINS], max: 0 };
        }
        let count = &mut slot.counts[bin(lag_ms)];
        *count = count.saturating_add(1);
        slot.max = slot.max.max(lag_ms);
    }

    /// Of the minute before a time in UTC ms.
    #[must_use]
    pub fn spread(&self, now_ms: u64) -> Spread {
        let (newest, oldest) = (now_ms / SLOT_MS, (now_ms / SLOT_MS).saturating_sub(SLOTS as u64 - 1));
        let (mut counts, mut max) = ([0u64; BINS], 0);
        for slot in self.slots.iter().filter(|slot| (oldest..=newest).contains(&slot.number)) {
            counts.iter_mut().zip(slot.counts).for_each(|(sum, count)| *sum += u64::from(count));
            max = max.max(slot.max);
        }
        let count = counts.iter().sum();
        let at = |share: f64| {
            let wanted = (count as f64 * share).ceil() as u64;
            let mut seen = 0;
            let bin = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            bin.map_or(0, |bin| upper(bin).min(max))
        };
        if count == 0 { Spread::default() } else { Spread { p50: at(0.5), p99: at(0.99), max, count } }
    }
}

fn bin(lag_ms: u64) -> usize {
    (((lag_ms + 1) as f64).log2() * PER_OCTAVE).ceil().min((BINS - 1) as f64) as usize
}

/// The longest lag of a bin.
fn upper(bin: usize) -> u64 {
    (2f64.powf(bin as f64 / PER_OCTAVE) - 1.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_close_and_a_minute_is_forgotten() {
        let mut lags = Lags::default();
        assert_eq!(lags.spread(1_000_000), Spread::default());
        (1..=1_000).for_each(|lag| lags.add(1_000_000 + lag, lag));
        let Spread { p50, p99, max, count } = lags.spread(1_001_000);
        assert!((500..=545).contains(&p50) && (990..=1_000).contains(&p99), "{p50} {p99}");
        assert_eq!((max, count), (1_000, 1_000));
        lags.add(1_062_500, 7);
        let later = lags.spread(1_062_500);
        assert_eq!((later.p50, later.max, later.count), (7, 7, 1));
    }

    #[test]
    fn no_lag_and_an_endless_one_have_a_place() {
        let mut lags = Lags::default();
        lags.add(5_000, 0);
        assert_eq!(lags.spread(5_000), Spread { p50: 0, p99: 0, max: 0, count: 1 });
        lags.add(5_000, u64::MAX - 1);
        assert_eq!(lags.spread(5_000).max, u64::MAX - 1);
    }
}
