//! The tape: prints get dense ids and are summed into the minute's bar, in integers, so that bars equal their prints exactly.

/// A print on the grid of its symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    /// When, UTC ms.
    pub(super) ts: i64,
    /// Price.
    pub(super) ticks: i64,
    /// Quantity, at least `fills`.
    pub(super) steps: i64,
    /// The aggressor bought.
    pub(super) taker_buy: bool,
    /// Fills behind it, from 1.
    pub(super) fills: u32,
}

/// Ids of a print: its own, its first and last fill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) own: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A minute's prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinuteBar {
    /// Opening time, UTC ms.
    pub(super) open_ts: i64,
    /// Open, high, low, close, ticks.
    pub(super) ohlc: [i64; 4],
    /// Steps.
    pub(super) volume: i128,
    /// Ticks × steps.
    pub(super) notional: i128,
    /// Steps, where the taker bought.
    pub(super) taker_volume: i128,
    /// Ticks × steps, where the taker bought.
    pub(super) taker_notional: i128,
    /// First and last fill's id; none in a minute without prints.
    pub(super) fills: Option<(u64, u64)>,
}

/// One venue's tape of a symbol.
#[derive(Debug)]
pub(super) struct Tape {
    next: Ids,
    bar: Option<MinuteBar>,
    last_ticks: Option<i64>,
}

impl Tape {
    /// A tape whose first print gets the id `first`.
    pub(super) fn new(first: u64) -> Self {
        Self { next: Ids { own: first, first: 2 * first, last: 0 }, bar: None, last_ticks: None }
    }

    /// The last print's price.
    pub(super) fn last_ticks(&self) -> Option<i64> {
        self.last_ticks
    }

    /// Takes a print up.
    pub(super) fn print(&mut self, print: &Print) -> Ids {
        let first = self.next.first;
        let last = first + u64::from(print.fills) - 1;
        let ids = Ids { own: self.next.own, first, last };
        self.next = Ids { own: ids.own + 1, first: last + 1, last: 0 };
        self.last_ticks = Some(print.ticks);

        let volume = i128::from(print.steps);
        let notional = i128::from(print.ticks) * volume;
        let bar = self.bar.get_or_insert(MinuteBar {
            open_ts: print.ts - print.ts.rem_euclid(60_000),
            ohlc: [print.ticks; 4],
            volume: 0,
            notional: 0,
            taker_volume: 0,
            taker_notional: 0,
            fills: None,
        });
        bar.ohlc = [bar.ohlc[0], bar.ohlc[1].max(print.ticks), bar.ohlc[2].min(print.ticks), print.ticks];
        bar.volume += volume;
        bar.notional += notional;
        if print.taker_buy {
            bar.taker_volume += volume;
            bar.taker_notional += notional;
        }
        bar.fills = Some((bar.fills.map_or(first, |f| f.0), last));
        ids
    }

    /// Closes the minute that opened at `open_ts`: its bar, flat if it had no print, absent before the first print.
    pub(super) fn close(&mut self, open_ts: i64) -> Option<MinuteBar> {
        self.bar.take().or_else(|| {
            self.last_ticks.map(|ticks| MinuteBar {
                open_ts,
                ohlc: [ticks; 4],
                volume: 0,
                notional: 0,
                taker_volume: 0,
                taker_notional: 0,
                fills: None,
            })
        })
    }
}
