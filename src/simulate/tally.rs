//! The tally: what each cascade came to on one venue, for the truth.

use std::collections::VecDeque;

use dataflows::model::Venue;

use super::schedule::THRESHOLD_5M_USD;
use super::truth::BurstAtVenue;

const WINDOW_SECS: i64 = 300;

/// What the feed showed in a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    pub(super) count: u64,
    /// Ticks × steps.
    pub(super) notional: i128,
    /// The frames that showed it, in order of arrival: each one's ticks × steps, and when it arrives. Unused ones are empty.
    pub(super) frames: [(i128, i64); 2],
}

impl Shown {
    /// Takes in a frame with `count` liquidations that arrives at `recv_ns`.
    pub(super) fn add(&mut self, count: usize, notional: i128, recv_ns: i64) {
        self.frames[usize::from(self.count > 0)] = (notional, recv_ns);
        self.count += count as u64;
        self.notional += notional;
    }
}

/// One venue's cascades of a symbol.
#[derive(Debug)]
pub(super) struct Tally {
    venue: Venue,
    /// USD of one tick × step.
    unit_usd: f64,
    window: VecDeque<(i64, i128)>,
    total: i128,
    /// By planned cascade.
    pub(super) bursts: Vec<BurstAtVenue>,
}

impl Tally {
    pub(super) fn new(venue: Venue, unit_usd: f64, bursts: usize) -> Self {
        let nothing = BurstAtVenue {
            venue,
            liquidated_notional_usd: 0.0,
            realised_notional_usd: 0.0,
            realised_count: 0,
            peak_5m_notional_usd: 0.0,
            crossed_5m_ts: None,
            crossed_5m_recv_ns: None,
            last_event_ts: None,
        };
        Self { venue, unit_usd, window: VecDeque::new(), total: 0, bursts: vec![nothing; bursts] }
    }

    /// Second `now`: what the feed showed, what the running cascade liquidated of its own, and when last.
    pub(super) fn second(&mut self, now: i64, current: Option<usize>, shown: Shown, own_usd: f64, own_ts: Option<i64>) {
        while self.window.front().is_some_and(|&(second, _)| second <= now - WINDOW_SECS) {
            self.total -= self.window.pop_front().map_or(0, |(_, notional)| notional);
        }
        let before = self.total;
        if shown.count > 0 {
            self.window.push_back((now, shown.notional));
            self.total += shown.notional;
        }
        let Some(burst) = current.and_then(|b| self.bursts.get_mut(b)) else { return };
        debug_assert_eq!(burst.venue, self.venue);
        burst.liquidated_notional_usd += own_usd;
        burst.last_event_ts = own_ts.or(burst.last_event_ts);
        let over = burst.last_event_ts.is_some_and(|last| now * 1_000 > last + WINDOW_SECS * 1_000);
        if shown.count == 0 || over {
            return;
        }
        let total = self.total as f64 * self.unit_usd;
        burst.realised_notional_usd += shown.notional as f64 * self.unit_usd;
        burst.realised_count += shown.count;
        burst.peak_5m_notional_usd = burst.peak_5m_notional_usd.max(total);
        if total > THRESHOLD_5M_USD && burst.crossed_5m_ts.is_none() {
            burst.crossed_5m_ts = Some(now * 1_000);
            let crosses = (before + shown.frames[0].0) as f64 * self.unit_usd > THRESHOLD_5M_USD;
            burst.crossed_5m_recv_ns = Some(shown.frames[usize::from(!crosses)].1);
        }
    }
}
