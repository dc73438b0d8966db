//! Minutes as the venue gives them again, because prints were missing.
//!
//! Such a minute holds all that was traded in it, so its volume, notional and number of trades take the place of our own sums, whenever the
//! prints themselves come; prices that we saw traded stay inside its range. What a venue doesn't tell (some leave out takers and the number of trades)
//! is what our prints say. Of several statements about one minute the latest counts for sums, and all for the range. A minute
//! without volume only says that nothing was traded: it is as good as having heard the venue in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::fixed::{Notional, Price, Quantity};
use crate::model::{Aggregate, Kline, MINUTE_MS, Timeframe};

/// One instrument's filled minutes, by their opening. Kept for the correction horizon.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Fills {
    minutes: BTreeMap<i64, Fill>,
    /// Per time frame: bars of which the venue told that at least one minute held nothing.
    told: [BTreeSet<i64>; Timeframe::ALL.len()],
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Fill {
    kline: Kline,
    /// What our own prints sum up to.
    own: Sums,
}

/// What can be added and taken away.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Sums {
    volume: Quantity,
    notional: Notional,
    taker_buy_volume: Quantity,
    trades: u64,
}

impl Sums {
    fn of(prints: &Aggregate) -> Self {
        let Aggregate { volume, notional, taker_buy_volume, trades, .. } = *prints;
        Self { volume, notional, taker_buy_volume, trades }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            volume: self.volume + other.volume,
            notional: self.notional + other.notional,
            taker_buy_volume: self.taker_buy_volume + other.taker_buy_volume,
            trades: self.trades.wrapping_add(other.trades),
        }
    }

    /// May be negative; [`super::State::merge`] adds it to what it came from.
    fn minus(self, other: Self) -> Self {
        Self {
            volume: self.volume - other.volume,
            notional: self.notional - other.notional,
            taker_buy_volume: self.taker_buy_volume - other.taker_buy_volume,
            trades: self.trades.wrapping_sub(other.trades),
        }
    }
}

impl Fill {
    fn sums(&self) -> Sums {
        Sums {
            volume: self.kline.volume,
            notional: self.kline.notional.unwrap_or(self.own.notional),
            taker_buy_volume: self.kline.taker_buy_volume.unwrap_or(self.own.taker_buy_volume),
            trades: self.kline.trades.unwrap_or(self.own.trades),
        }
    }
}

impl Fills {
    /// New prints of `minute`: of a filled one only their range is new, and what the venue left out.
    pub fn absorb(&mut self, minute: i64, prints: &mut Aggregate) {
        if self.minutes.is_empty() {
            return;
        }
        if let Some(fill) = self.minutes.get_mut(&minute) {
            let before = fill.sums();
            fill.own = fill.own.plus(Sums::of(prints));
            set_sums(prints, fill.sums().minus(before));
        }
    }

    /// Takes in the venue's minute; `own` is what we have of it. What it adds to the bars that hold it; `None`: nothing was traded.
    pub fn take(&mut self, kline: &Kline, own: Option<&Aggregate>) -> Option<Aggregate> {
        if kline.volume.0 <= 0 {
            return None;
        }
        let mut prints = range(kline);
        let sums = match self.minutes.get_mut(&kline.open_ts) {
            Some(fill) => {
                let before = fill.sums();
                if (kline.ts, kline) > (fill.kline.ts, &fill.kline) {
                    fill.kline = *kline;
                }
                fill.sums().minus(before)
            }
            None => {
                let own = own.map_or_else(Sums::default, Sums::of);
                let fill = self.minutes.entry(kline.open_ts).or_insert(Fill { kline: *kline, own });
                fill.sums().minus(own)
            }
        };
        set_sums(&mut prints, sums);
        Some(prints)
    }

    /// Notes that the venue told of a part of the bar that nothing was traded in it. False: it was noted before.
    pub fn tell(&mut self, frame: usize, open_ts: i64) -> bool {
        self.told[frame].insert(open_ts)
    }

    /// Bars of which that was told, in order.
    pub fn told(&self, frame: usize) -> &BTreeSet<i64> {
        &self.told[frame]
    }

    /// Drops minutes before `limit`, and what was told of bars that ended `flat_limit` before it.
    pub fn forget_before(&mut self, limit: i64, flat_limit: impl Fn(Timeframe) -> i64) {
        while self.minutes.first_key_value().is_some_and(|(&first, _)| first < limit) {
            self.minutes.pop_first();
        }
        for (told, timeframe) in self.told.iter_mut().zip(Timeframe::ALL) {
            let limit = limit - flat_limit(timeframe) - timeframe.ms();
            while told.first().is_some_and(|&first| first <= limit) {
                told.pop_first();
            }
        }
    }
}

/// Prices of a venue's minute. Nothing in it is known to come before its first price or after its last one.
fn range(kline: &Kline) -> Aggregate {
    Aggregate {
        open: ((kline.open_ts, 0, 0), kline.open),
        close: ((kline.open_ts + MINUTE_MS - 1, u64::MAX, u64::MAX), kline.close),
        high: Price::max(kline.high, kline.open.max(kline.close)),
        low: Price::min(kline.low, kline.open.min(kline.close)),
        volume: Quantity(0),
        notional: Notional(0),
        taker_buy_volume: Quantity(0),
        trades: 0,
    }
}

fn set_sums(prints: &mut Aggregate, sums: Sums) {
    let Sums { volume, notional, taker_buy_volume, trades } = sums;
    (prints.volume, prints.notional, prints.taker_buy_volume, prints.trades) = (volume, notional, taker_buy_volume, trades);
}
