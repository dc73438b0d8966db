//! Which UTC days of a venue count: those in which it was heard in most minutes.

use std::collections::BTreeMap;

use crate::model::{Clock, MINUTE_MS, Venue};
use crate::operators::Watermarks;

const DAY_MINUTES: i64 = 1_440;

/// The minutes in which venues were heard, by day.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct HeardDays {
    minutes_min: u32,
    days: BTreeMap<(Venue, i64), Minutes>,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Minutes {
    bits: [u64; DAY_MINUTES as usize / 64 + 1],
    count: u32,
}

impl HeardDays {
    /// A day counts when its venue was heard in this share of its minutes.
    pub fn new(share_min: f64) -> Self {
        Self { minutes_min: (share_min * DAY_MINUTES as f64).ceil().max(1.0) as u32, days: BTreeMap::new() }
    }

    /// Takes in the minutes heard. Returns the days that count from now on. `watermarks` are those before the quantum.
    pub fn hear(&mut self, clocks: &[Clock], watermarks: &Watermarks, horizon_ms: i64) -> Vec<(Venue, i64)> {
        let mut found = Vec::new();
        for clock in clocks {
            let Clock::Active { venue, minute, .. } = *clock else { continue };
            if minute < watermarks.reach(venue, horizon_ms) {
                continue; // its events were not applied
            }
            let minute = minute.div_euclid(MINUTE_MS);
            let (day, at) = (minute.div_euclid(DAY_MINUTES), minute.rem_euclid(DAY_MINUTES) as usize);
            let known = self.days.entry((venue, day)).or_default();
            if known.bits[at / 64] >> (at % 64) & 1 == 0 {
                known.bits[at / 64] |= 1 << (at % 64);
                known.count += 1;
                if known.count == self.minutes_min {
                    found.push((venue, day));
                }
            }
        }
        found
    }

    pub fn counts(&self, venue: Venue, day: i64) -> bool {
        self.days.get(&(venue, day)).is_some_and(|minutes| minutes.count >= self.minutes_min)
    }

    pub fn forget_before(&mut self, venue: Venue, day: i64) {
        while let Some((&key, _)) = self.days.range((venue, i64::MIN)..(venue, day)).next() {
            self.days.remove(&key);
        }
    }
}
