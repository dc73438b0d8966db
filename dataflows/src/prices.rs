//! What an instrument was traded at, by second: for a cascade's price move, and for where the market was when a position was liquidated.
//!
//! A late liquidation can ask for any second inside the correction horizon, so each second's prices are kept for so long:
//! two hours of 500 busy symbols are 3.7 million. The minute at hand is plain; the others are packed, a second in about ten bytes
//! (differences from the second before, in units of the largest power of ten that all prices share). A late print unpacks its
//! minute. Whole minutes are answered by their extremes.

use crate::by_time::ByTime;
use crate::model::PrintOrder;

const MINUTE_SECS: i64 = 60;

/// Highest, lowest and last price of each second with trades. Fixed point, 12 decimals.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Prices {
    /// The minute at hand, and its seconds, ascending.
    at_hand: (i64, Vec<Second>),
    packed: ByTime<Packed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Second {
    second: i64,
    high: i64,
    low: i64,
    close: (PrintOrder, i64),
}

/// The seconds of one minute.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Packed {
    high: i64,
    low: i64,
    bytes: Box<[u8]>,
}

impl Prices {
    /// Widens a second by what was traded in it; it may come in several parts, in any order. True: its last price is another now.
    pub fn add(&mut self, second: i64, (low, high): (i64, i64), close: (PrintOrder, i64)) -> bool {
        self.take_up(second.div_euclid(MINUTE_SECS));
        let seconds = &mut self.at_hand.1;
        let at = match seconds.last() {
            Some(last) if last.second < second => seconds.len(), // the usual case
            Some(last) if last.second == second => seconds.len() - 1,
            _ => seconds.partition_point(|s| s.second < second),
        };
        match seconds.get_mut(at) {
            Some(known) if known.second == second => {
                let before = known.close.1;
                known.high = known.high.max(high);
                known.low = known.low.min(low);
                known.close = known.close.max(close);
                known.close.1 != before
            }
            _ => {
                seconds.insert(at, Second { second, high, low, close });
                true
            }
        }
    }

    /// Makes `minute` the one at hand.
    fn take_up(&mut self, minute: i64) {
        if self.at_hand.0 == minute {
            return;
        }
        if let Some(packed) = Packed::new(&self.at_hand.1) {
            self.packed.insert(self.at_hand.0, packed);
        }
        self.at_hand.0 = minute;
        self.at_hand.1.clear();
        if let Some(packed) = self.packed.remove(minute) {
            packed.unpack(minute, |second| self.at_hand.1.push(second));
        }
    }

    pub fn forget_before(&mut self, second: i64) {
        self.packed.forget_before(second.div_euclid(MINUTE_SECS));
    }

    /// Calls `each` for the seconds of a minute, ascending.
    fn seconds(&self, minute: i64, mut each: impl FnMut(Second)) {
        if minute == self.at_hand.0 {
            self.at_hand.1.iter().copied().for_each(each);
        } else if let Some(packed) = self.packed.get(minute) {
            packed.unpack(minute, &mut each);
        }
    }

    /// The last price up to the end of `second`, traded not longer ago than `look_back_secs`.
    pub fn at(&self, second: i64, look_back_secs: i64) -> Option<i64> {
        let minute = |second: i64| second.div_euclid(MINUTE_SECS);
        (minute(second - look_back_secs)..=minute(second)).rev().find_map(|minute| {
            let mut last = None;
            self.seconds(minute, |s| {
                if s.second <= second && s.second >= second - look_back_secs {
                    last = Some(s.close.1);
                }
            });
            last
        })
    }

    /// From the last price at `onset` (traded not longer ago than `look_back_secs`) to the price furthest from it up to `last`, basis
    /// points, signed.
    pub fn move_bps(&self, onset: i64, last: i64, look_back_secs: i64) -> Option<f64> {
        let base = self.at(onset, look_back_secs)?;
        let (mut high, mut low) = (base, base);
        let mut widen = |to_high: i64, to_low: i64| (high, low) = (high.max(to_high), low.min(to_low));
        let (first_minute, last_minute) = (onset.div_euclid(MINUTE_SECS), last.div_euclid(MINUTE_SECS));
        for (_, minute) in self.packed.range(first_minute + 1..last_minute) {
            widen(minute.high, minute.low);
        }
        let mut open = vec![first_minute, last_minute];
        if (first_minute + 1..last_minute).contains(&self.at_hand.0) {
            open.push(self.at_hand.0);
        }
        for minute in open {
            self.seconds(minute, |s| {
                if s.second > onset && s.second <= last {
                    widen(s.high, s.low);
                }
            });
        }
        let furthest = if high - base >= base - low { high } else { low };
        Some((furthest - base) as f64 / base as f64 * 1e4)
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.packed.values().map(|packed| packed.bytes.len() + size_of::<(i64, Packed)>()).sum()
    }
}

impl Packed {
    fn new(seconds: &[Second]) -> Option<Self> {
        let first = seconds.first()?;
        let mut unit = 1_000_000_000_000_000_000;
        for price in seconds.iter().flat_map(|s| [s.high, s.low, s.close.1]) {
            while price % unit != 0 {
                unit /= 10;
            }
        }
        let mut bytes = Vec::with_capacity(seconds.len() * 12 + 16);
        write(&mut bytes, unit as u64);
        let (mut second, mut close, mut order) = (first.second.div_euclid(MINUTE_SECS) * MINUTE_SECS, 0i64, 0u64);
        for s in seconds {
            let ((ts, sequence, place), price) = s.close;
            write(&mut bytes, (s.second - second) as u64);
            write(&mut bytes, zigzag((price / unit).wrapping_sub(close)));
            write(&mut bytes, zigzag((s.high / unit).wrapping_sub(price / unit)));
            write(&mut bytes, zigzag((price / unit).wrapping_sub(s.low / unit)));
            write(&mut bytes, zigzag(ts.wrapping_sub(s.second.wrapping_mul(1_000))));
            write(&mut bytes, zigzag(sequence.wrapping_sub(order) as i64));
            write(&mut bytes, place);
            (second, close, order) = (s.second, price / unit, sequence);
        }
        let extreme = |of: fn(&Second) -> i64| seconds.iter().map(of);
        Some(Self { high: extreme(|s| s.high).max()?, low: extreme(|s| s.low).min()?, bytes: bytes.into() })
    }

    fn unpack(&self, minute: i64, mut each: impl FnMut(Second)) {
        let mut bytes = &self.bytes[..];
        let unit = read(&mut bytes) as i64;
        let (mut second, mut close, mut order) = (minute * MINUTE_SECS, 0i64, 0u64);
        while !bytes.is_empty() {
            second += read(&mut bytes) as i64;
            close = close.wrapping_add(unzigzag(read(&mut bytes)));
            let high = close.wrapping_add(unzigzag(read(&mut bytes)));
            let low = close.wrapping_sub(unzigzag(read(&mut bytes)));
            let ts = unzigzag(read(&mut bytes)).wrapping_add(second.wrapping_mul(1_000));
            order = order.wrapping_add(unzigzag(read(&mut bytes)) as u64);
            let place = read(&mut bytes);
            each(Second { second, high: high * unit, low: low * unit, close: ((ts, order, place), close * unit) });
        }
    }
}

/// Small numbers of either sign as small ones without.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Seven bits a byte, the last without its eighth.
fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LOOK_BACK_SECS: i64 = 300;

    proptest! {
        #[test]
        fn packing_changes_nothing(
            parts in proptest::collection::vec(
                (-100i64..400, -500i64..1_500, any::<u64>(), 0u64..3, [1i64..i64::MAX, 1..i64::MAX, 1..i64::MAX], 0u32..15), 1..80),
            (onset, length) in (-100i64..400, 0i64..400),
        ) {
            let mut prices = Prices::default();
            let mut plain: BTreeMap<i64, Second> = BTreeMap::new();
            for (second, ms, sequence, place, mut p, digits) in parts {
                let unit = 10i64.pow(digits);
                p.iter_mut().for_each(|p| *p = (*p / unit * unit).max(unit));
                p.sort_unstable();
                let order = (second * 1_000 + ms, sequence, place);
                prices.add(second, (p[0], p[2]), (order, p[1]));
                let known = plain.entry(second).or_insert(Second { second, high: p[2], low: p[0], close: (order, p[1]) });
                *known = Second { second, high: known.high.max(p[2]), low: known.low.min(p[0]), close: known.close.max((order, p[1])) };
            }
            let mut found = Vec::new();
            (-3..10).for_each(|minute| prices.seconds(minute, |second| found.push(second)));
            prop_assert_eq!(found, plain.values().copied().collect::<Vec<_>>());

            let base = plain.range(onset - LOOK_BACK_SECS..=onset).next_back().map(|(_, s)| s.close.1);
            let expected = base.map(|base| {
                let life = plain.range(onset + 1..onset + length + 1);
                let (high, low) = life.fold((base, base), |(high, low), (_, s)| (high.max(s.high), low.min(s.low)));
                let furthest = if high - base >= base - low { high } else { low };
                (furthest - base) as f64 / base as f64 * 1e4
            });
            prop_assert_eq!(prices.move_bps(onset, onset + length, LOOK_BACK_SECS), expected);
        }
    }

    #[test]
    fn a_second_takes_about_ten_bytes() {
        let mut prices = Prices::default();
        let mut price = 61_850_100_000_000_000i64; // a tick of 0.1
        for second in 0..7_500 {
            price += ((second * 7_919) % 41 - 20) * 100_000_000_000;
            let order = (second * 1_000 + (second * 389) % 1_000, (5_000_000_000 + second * 35) as u64, 0);
            prices.add(second, (price - 1_700_000_000_000, price + 300_000_000_000), (order, price));
        }
        let each = prices.bytes() as f64 / 7_500.0;
        println!("{each:.1} bytes a second, {:.1} MB for two hours of 500 symbols", each * 7_500.0 * 500.0 / 1e6);
        assert!(each < 12.0, "{each}");
        prices.forget_before(7_200);
        assert_eq!(prices.packed.values().count(), 4, "minutes 120 to 123; 124 is at hand");
    }
}
