//! The price's visits to a zone, along the minutes' ranges.
//!
//! A minute is inside if its range overlaps the zone, away if all of it is at least the leaving distance beyond an edge, and neither in
//! between. Minutes inside belong to one visit unless a minute away lies between them. Touches = visits of the window but the first, since
//! a return needs something to return from.

use std::collections::VecDeque;

use crate::model::Real;

use super::prices::{Prices, Range};

/// A zone's edges, in price units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Edges {
    /// The lowest price inside.
    pub low: i64,
    /// The lowest price above.
    pub high: i64,
    /// A minute is away if its highest price is at most this …
    away_below: i64,
    /// … or its lowest at least this.
    away_above: i64,
}

impl Edges {
    /// With the distance at which the price has left.
    pub fn new(low: i64, high: i64, leave_bps: u32) -> Self {
        let (low_wide, high_wide, leave) = (i128::from(low), i128::from(high), i128::from(leave_bps));
        let below = low_wide * (10_000 - leave) / 10_000;
        let above = (high_wide * (10_000 + leave) + 9_999) / 10_000;
        let away_above = i64::try_from(above).unwrap_or(i64::MAX);
        Self { low, high, away_below: i64::try_from(below).unwrap_or(0), away_above }
    }

    pub fn holds(&self, range: Range) -> bool {
        range.high >= self.low && range.low < self.high
    }

    pub fn is_left(&self, range: Range) -> bool {
        range.high <= self.away_below || range.low >= self.away_above
    }
}

/// From `reference` to the nearest edge, basis points of it.
pub(super) fn distance_bps(low: i64, high: i64, reference: i64) -> Real {
    let nearest = reference.clamp(low, high);
    Real((nearest - reference) as f64 / reference as f64 * 1e4)
}

/// The visits of a window that slides by minutes.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Visits {
    /// The last minute inside of each visit, rising.
    last_inside: VecDeque<i64>,
    /// The price has been away since.
    is_away: bool,
}

impl Visits {
    /// From the minutes in (to − window, to].
    pub fn of(edges: &Edges, prices: &Prices, to: i64, window: i64) -> Self {
        let mut visits = Self::default();
        for (minute, &range) in prices.ranges(to - window, to) {
            visits.step(edges, minute, range);
        }
        visits
    }

    /// Takes in the next minute with trades.
    pub fn step(&mut self, edges: &Edges, minute: i64, range: Range) {
        if edges.holds(range) {
            match self.last_inside.back_mut().filter(|_| !self.is_away) {
                Some(last) => *last = minute,
                None => self.last_inside.push_back(minute),
            }
            self.is_away = false;
        } else if edges.is_left(range) {
            self.is_away = true;
        }
    }

    /// Forgets visits that were over by `minute`.
    pub fn forget_to(&mut self, minute: i64) {
        while self.last_inside.front().is_some_and(|&last| last <= minute) {
            self.last_inside.pop_front();
        }
    }

    /// A minute inside would be a return.
    pub fn has_left(&self) -> bool {
        self.is_away && !self.last_inside.is_empty()
    }

    pub fn touches(&self) -> u32 {
        u32::try_from(self.last_inside.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}
