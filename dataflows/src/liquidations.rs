//! Views `liquidations` (each event), `liquidation_windows` (trailing sums, a row each full minute) and `liquidation_ratios` (those sums
//! against what was open and what was traded).

mod ratios;
mod windows;

use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;

use crate::fixed::Notional;
use crate::model::{Coverage, Liquidation, LiquidationRow, PositionSide};
use crate::operators::{Clocks, KnownAt, per_quantum};
pub use windows::{Windows, windows};

/// View `liquidations`: every event as a row.
pub fn liquidations<'scope>(
    events: StreamVec<'scope, KnownAt, Liquidation>,
    clocks: Clocks<'scope>,
) -> VecCollection<'scope, KnownAt, LiquidationRow, isize> {
    per_quantum(events, clocks, "liquidations", (), |(), _known_at, events, _clocks, changes| {
        changes.extend(events.into_iter().map(|event| (to_row(&event), 1)));
    })
}

fn to_row(event: &Liquidation) -> LiquidationRow {
    LiquidationRow {
        instrument: event.instrument,
        ts: event.ts,
        position_side: event.position_side,
        price: event.price,
        qty: event.qty,
        seq: event.seq,
        price_kind: event.price_kind,
        notional: event.price.notional(event.qty),
        coverage: event.coverage,
    }
}

/// Sums over liquidations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sums {
    pub long: Notional,
    pub short: Notional,
    /// Number of events by coverage, in the order of [`Coverage`].
    pub counts: [u32; 3],
    pub largest: Notional,
}

impl Sums {
    pub fn of(event: &Liquidation) -> Self {
        let notional = event.price.notional(event.qty);
        let (long, short) = match event.position_side {
            PositionSide::Long => (notional, Notional(0)),
            PositionSide::Short => (Notional(0), notional),
        };
        let mut counts = [0; 3];
        counts[event.coverage as usize] = 1;
        Self { long, short, counts, largest: notional }
    }

    pub fn merge(&mut self, other: &Self) {
        self.long += other.long;
        self.short += other.short;
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.largest = self.largest.max(other.largest);
    }

    /// Takes out what was merged. `largest` cannot be taken out and stays.
    pub fn remove(&mut self, other: &Self) {
        self.long = self.long - other.long;
        self.short = self.short - other.short;
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours -= theirs);
    }

    pub fn total(&self) -> Notional {
        self.long + self.short
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&n| u64::from(n)).sum()
    }

    /// The least complete coverage among the events.
    pub fn coverage(&self) -> Coverage {
        let [_, sampled, partial] = self.counts;
        match () {
            () if partial > 0 => Coverage::Partial,
            () if sampled > 0 => Coverage::Sampled1s,
            () => Coverage::Full,
        }
    }
}
