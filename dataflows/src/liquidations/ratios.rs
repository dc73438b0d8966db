//! View `liquidation_ratios`: what was liquidated, against what was open and what was traded.
//!
//! - Of what was open: open interest counts each contract once, though it has a long and a short. So longs liquidated ÷ open interest is
//!   the share of all longs that was closed by force, and likewise of shorts; each side has its own.
//! - Open interest is taken at the window's start, at the mark price of then: by the end those who were liquidated are no longer in
//!   it, and the worse it was the more it would seem. A sample counts for a quarter of an hour.
//! - Of what was traded: both sides together ÷ the notional of the window's 1m bars, the share of trading that was forced. Bars are
//!   [60 (m − 1), 60 m), liquidations count in whole event seconds (60 (m − 1), 60 m]: so the bars lie one second earlier. To move them
//!   prints would have to be kept by the second for hours; it is a second of sixty at least, and a forced print is hardly ever just there.
//! - A ratio is absent where its denominator is not known or nothing: no open interest, or any minute of the window without a bar. A
//!   row with neither is absent.
//!
//! Of what was open and traded a minute is 24 bytes, for the longest window and the correction horizon: 9 kB a symbol.

use std::ops::Range;

use crate::by_time::ByTime;
use crate::fixed::Notional;
use crate::minutes::Known;
use crate::model::{LiquidationRatio, LiquidationWindow, MINUTE_MS, Real, Window};
use crate::quotes::KNOWN_MINUTES;

/// The longest window.
const WINDOW_MINUTES: i64 = Window::H4.secs() / 60;
/// A window's open interest may have been sampled so many minutes before its end.
pub(super) const LOOK_BACK_MINUTES: i64 = WINDOW_MINUTES + KNOWN_MINUTES;

/// What was open and what was traded, of one instrument, by minute. Minutes are numbered by their opening.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Market(ByTime<Minute>);

/// In quote units.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Minute {
    traded: Known,
    /// By its end.
    interest: Known,
}

impl Market {
    pub fn set_traded(&mut self, minute: i64, traded: Option<Notional>) {
        self.0.get_or_insert_with(minute, Minute::default).traded = known(traded);
    }

    pub fn set_interest(&mut self, minute: i64, interest: Option<Notional>) {
        self.0.get_or_insert_with(minute, Minute::default).interest = known(interest);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn forget_before(&mut self, minute: i64) {
        self.0.forget_before(minute);
    }

    /// The minutes at whose end a window ends that holds what was traded in `minute`.
    pub fn told_by_trades(minute: i64) -> Range<i64> {
        minute + 1..minute + 1 + WINDOW_MINUTES
    }

    /// The minutes at whose end a window ends at whose start the open interest may have been that of `minute`.
    pub fn told_by_interest(minute: i64) -> Range<i64> {
        minute + 2..minute + 1 + LOOK_BACK_MINUTES
    }

    pub fn ratio(&self, sums: &LiquidationWindow) -> Option<LiquidationRatio> {
        let (end, minutes) = (sums.ts / MINUTE_MS, sums.window.secs() / 60);
        let open_interest = self.interest(end - minutes - 1);
        let traded = self.traded(end - minutes..end);
        let of = |part: Notional, whole: Option<f64>| whole.map(|whole| Real(part.to_f64() / whole));
        (open_interest.is_some() || traded.is_some()).then(|| LiquidationRatio {
            instrument: sums.instrument,
            window: sums.window,
            ts: sums.ts,
            long_to_open_interest: of(sums.long_notional, open_interest),
            short_to_open_interest: of(sums.short_notional, open_interest),
            to_volume: of(sums.long_notional + sums.short_notional, traded),
            open_interest: open_interest.map(Real),
            traded: traded.map(Real),
            coverage: sums.coverage,
        })
    }

    /// What was traded in all of `minutes`.
    fn traded(&self, minutes: Range<i64>) -> Option<f64> {
        let known = || self.0.range(minutes.clone()).map(|(_, minute)| minute.traded.0).filter(|traded| !traded.is_nan());
        let all = known().count() as i64 == minutes.end - minutes.start;
        // Summed afresh, in order of time: the bits don't depend on who came first.
        all.then(|| known().sum()).filter(|&sum: &f64| sum > 0.0)
    }

    /// What was open by the end of `minute`.
    fn interest(&self, minute: i64) -> Option<f64> {
        let mut known = self.0.range(minute - KNOWN_MINUTES + 1..=minute).rev().map(|(_, minute)| minute.interest.0);
        known.find(|interest| !interest.is_nan()).filter(|&interest| interest > 0.0)
    }
}

fn known(notional: Option<Notional>) -> Known {
    notional.map_or_else(Known::default, |notional| Known::of(notional.to_f64()))
}
