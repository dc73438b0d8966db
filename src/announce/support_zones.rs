//! Returns to support zones as events.

use alerts::{Event, ZoneTouchFacts};
use dataflows::model::{Instruments, PositionSide, ZoneTouch};

use super::{Announced, coverage};

impl Announced for ZoneTouch {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        let instrument = names.get(self.instrument)?;
        Some(Event::support_zone_touched(ZoneTouchFacts {
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            side: match self.side {
                PositionSide::Long => alerts::ZoneSide::Long,
                PositionSide::Short => alerts::ZoneSide::Short,
            },
            onset_ms: self.onset,
            ended_at_ms: self.ended_at,
            known_at_ms,
            price_low: self.price_low.to_f64(),
            price_high: self.price_high.to_f64(),
            rank: self.rank,
            notional_usd: self.notional.to_f64(),
            touches: self.touches,
            coverage: coverage(self.coverage),
        }))
    }
}
