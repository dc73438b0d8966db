//! Returns to support zones as events: the first one within the window to the largest zone of a side.
//!
//! Zones lie where the market is, so it leaves and re-enters them all day: in a simulated week of six instruments 2,088 times, the usual
//! zone a dozen times. What a subscriber waits for is the first test of the level that matters; each further return, and smaller zones, are
//! rows of `zone_touches`. Rank and number are those of the onset, so what is told once is resolved too, unless a correction takes it back.

use alerts::{Event, ZoneTouchFacts};
use dataflows::model::{Instruments, PositionSide, ZoneTouch};

use super::{Announced, coverage};

impl Announced for ZoneTouch {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        if !is_told(self) {
            return None;
        }
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

fn is_told(touch: &ZoneTouch) -> bool {
    touch.rank == 1 && touch.touches == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use alerts::Status;
    use dataflows::fixed::{Notional, Price};
    use dataflows::model::{Change, Changes, Coverage, Venue};

    use super::*;
    use crate::rules::{AlertsView, Rules};
    use crate::store::Quantum;

    const ONSET: i64 = 1_723_075_200_000;

    /// What is sent, and how many rows of `alerts` change, as each quantum of changes becomes known.
    fn check(quanta: &[&[(ZoneTouch, isize)]], expected: &[(&[Status], usize)]) {
        let instruments = Arc::new(Instruments::default());
        let instrument = instruments.intern(Venue::BybitLinear, "BTC-USDT-PERP").unwrap();
        let mut view = AlertsView::new(instruments, Rules::default(), 7_200_000, false);
        let mut found: Vec<(Vec<Status>, usize)> = Vec::new();
        for (known_at, changes) in (ONSET as u64..).zip(quanta) {
            let change = |&(touch, diff): &(ZoneTouch, isize)| -> Change<ZoneTouch> {
                (ZoneTouch { instrument, ..touch }, known_at, diff)
            };
            let changes = vec![Changes::ZoneTouches(changes.iter().map(change).collect())];
            let said = view.observe(&Quantum { known_at, changes, ..Quantum::default() });
            found.push((said.alerts.iter().map(|alert| alert.event.status).collect(), said.rows.len()));
        }
        let expected: Vec<(Vec<Status>, usize)> = expected.iter().map(|(sent, rows)| (sent.to_vec(), *rows)).collect();
        assert_eq!(found, expected);
    }

    fn touch(rank: u32, touches: u32) -> ZoneTouch {
        ZoneTouch {
            instrument: dataflows::model::InstrumentId(0),
            side: PositionSide::Long,
            onset: ONSET,
            price_low: Price(60_000),
            price_high: Price(60_060),
            ended_at: None,
            rank,
            notional: Notional(1),
            touches,
            coverage: Coverage::Full,
        }
    }

    #[test]
    fn the_first_return_to_the_largest_zone_is_told_until_the_price_has_left() {
        let (now, over) = (touch(1, 1), ZoneTouch { ended_at: Some(ONSET + 60_000), ..touch(1, 1) });
        check(&[&[(now, 1)], &[(now, -1), (over, 1)]], &[(&[Status::Firing], 1), (&[Status::Resolved], 2)]);
    }

    #[test]
    fn further_returns_and_smaller_zones_are_not_told() {
        check(&[&[(touch(1, 2), 1)], &[(touch(2, 1), 1)], &[(touch(5, 14), 1)]], &[(&[], 0), (&[], 0), (&[], 0)]);
    }

    #[test]
    fn a_correction_takes_back_what_was_no_first_return() {
        let (first, second) = (touch(1, 1), touch(1, 2));
        check(&[&[(first, 1)], &[(first, -1), (second, 1)]], &[(&[Status::Firing], 1), (&[Status::Resolved], 1)]);
        check(&[&[(second, 1)], &[(second, -1), (first, 1)]], &[(&[], 0), (&[Status::Firing], 1)]);
    }
}
