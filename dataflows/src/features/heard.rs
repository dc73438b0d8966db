//! Of which bars venues were heard nearly all along: in four fifths of the minutes.

use crate::by_time::ByTime;
use crate::model::{Clock, MINUTE_MS, Timeframe, Venue};
use crate::operators::Watermarks;

/// Of all venues.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Heard {
    timeframes: Box<[Timeframe]>,
    venues: [Minutes; Venue::ALL.len()],
}

/// Of one venue.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Minutes {
    /// Those in which it was heard, of the correction horizon.
    heard: ByTime<()>,
    /// By time frame: how many of them a bar has, by its opening.
    counts: Box<[ByTime<u16>]>,
}

impl Heard {
    pub fn new(timeframes: &[Timeframe]) -> Self {
        let counts = || timeframes.iter().map(|_| ByTime::default()).collect();
        let venues = std::array::from_fn(|_| Minutes { heard: ByTime::default(), counts: counts() });
        Self { timeframes: timeframes.into(), venues }
    }

    /// Takes in the minutes heard. Answers with the bars (venue, time frame, opening) that were closed before and count as heard only now.
    /// `watermarks` are those before the quantum.
    pub fn hear(&mut self, clocks: &[Clock], watermarks: &Watermarks, horizon_ms: i64) -> Vec<(Venue, usize, i64)> {
        let mut found = Vec::new();
        for clock in clocks {
            let Clock::Active { venue, minute, .. } = *clock else { continue };
            if minute < watermarks.reach(venue, horizon_ms) {
                continue; // its events were not applied
            }
            let Some(Minutes { heard, counts }) = self.venues.get_mut(venue as usize) else { continue };
            if heard.insert(minute, ()).is_some() {
                continue;
            }
            for (frame, (timeframe, counts)) in self.timeframes.iter().zip(counts).enumerate() {
                let open_ts = timeframe.open_of(minute);
                let count = counts.get_or_insert_with(open_ts, || 0);
                let was_enough = is_enough(*count, *timeframe);
                *count += 1;
                if !was_enough && is_enough(*count, *timeframe) && open_ts + timeframe.ms() <= watermarks.of(venue) {
                    found.push((venue, frame, open_ts));
                }
            }
        }
        found
    }

    pub fn is_heard(&self, venue: Venue, frame: usize, open_ts: i64) -> bool {
        let Some(minutes) = self.venues.get(venue as usize) else { return false };
        minutes.counts[frame].get(open_ts).is_some_and(|&count| is_enough(count, self.timeframes[frame]))
    }

    /// Drops what no event that is still applied can reach.
    pub fn forget(&mut self, watermarks: &Watermarks, horizon_ms: i64) {
        for (venue, Minutes { heard, counts }) in Venue::ALL.into_iter().zip(&mut self.venues) {
            let limit = watermarks.reach(venue, horizon_ms);
            heard.forget_before(limit);
            for (timeframe, counts) in self.timeframes.iter().zip(counts) {
                counts.forget_before(timeframe.open_of(limit));
            }
        }
    }
}

fn is_enough(count: u16, timeframe: Timeframe) -> bool {
    i64::from(count) * 5 >= timeframe.ms() / MINUTE_MS * 4
}
