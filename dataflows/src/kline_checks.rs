//! View `kline_checks`: the venue's closed bars against our own.
//!
//! One row for each closed bar that both know, saying whether all fields agree. A disagreement means that one of the two missed
//! prints; which one, the number of trades tells. Kept until the correction horizon has passed the bar's end.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::keeping::{Kept, Load, Save};
use crate::model::{Bar, Change, InstrumentId, Instruments, Kline, KlineCheck, KlineSource, Timeframe, Venue};
use crate::operators::{Clocks, KnownAt, Watermarks, per_quantum, replace};

#[derive(Clone)]
enum Input {
    Kline(Kline),
    Bar(Change<Bar>),
}

/// A bar as both know it.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Pair {
    bar: Option<Bar>,
    kline: Option<Theirs>,
}

/// The venue's bar: nearly always it says what ours says, so that isn't kept twice.
#[derive(serde::Serialize, serde::Deserialize)]
enum Theirs {
    /// All that it says is as in our bar.
    Same {
        ts: i64,
        source: KlineSource,
        has: [bool; 3],
    },
    Other(Box<Kline>),
}

/// Of which instrument, which bar.
type Key = (InstrumentId, Timeframe, i64);

/// Compares closed venue bars with closed bars of ours.
pub fn kline_checks<'scope>(
    klines: StreamVec<'scope, KnownAt, Kline>,
    closed: VecCollection<'scope, KnownAt, Bar, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    names: Arc<Instruments>,
) -> VecCollection<'scope, KnownAt, KlineCheck, isize> {
    let horizon_ms = config.correction_horizon_ms;
    let state =
        State { watermarks: Watermarks::new(config.lateness_ms), venues: FxHashMap::default(), pairs: FxHashMap::default() };
    let input = klines.map(Input::Kline).concat(closed.inner.map(Input::Bar));
    per_quantum(input, clocks, "kline_checks", state, move |state, _known_at, mut input, clocks, changes| {
        let State { watermarks, venues, pairs } = state;
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        input.sort_unstable_by_key(|item| if let Input::Bar((_, _, diff)) = item { *diff } else { 0 });
        let mut before: BTreeMap<Key, Option<KlineCheck>> = BTreeMap::new();
        for item in input {
            let (id, timeframe, open_ts) = match &item {
                Input::Kline(kline) => (kline.instrument, kline.timeframe, kline.open_ts),
                Input::Bar((bar, _, _)) => (bar.instrument, bar.timeframe, bar.ts),
            };
            let pair = pairs.entry((id, timeframe)).or_default().get_or_insert_with(open_ts, Pair::default);
            before.entry((id, timeframe, open_ts)).or_insert_with(|| pair.row());
            match item {
                // A venue that corrects itself: the later statement holds, whatever the order of arrival.
                Input::Kline(kline) => {
                    let known = pair.kline().filter(|known| (known.ts, known) > (kline.ts, &kline));
                    pair.set(pair.bar, Some(known.unwrap_or(kline)));
                }
                Input::Bar((bar, _, diff)) => pair.set((diff > 0).then_some(bar), pair.kline()),
            }
        }
        watermarks.advance(clocks);
        for (&(id, timeframe, open_ts), old) in &before {
            let row = pairs.get(&(id, timeframe)).and_then(|pairs| pairs.get(open_ts)?.row());
            replace(*old, row, |row| row, changes);
        }
        for (id, timeframe, _) in before.into_keys() {
            // By the venue's own time: another may be hours ahead of one that was away.
            let known = venues.get(&id).copied().or_else(|| Some(names.get(id)?.venue));
            let Some(venue) = known else { continue }; // every parser interns an instrument before it names it
            venues.insert(id, venue);
            let limit = watermarks.reach(venue, horizon_ms) - timeframe.ms();
            pairs.entry((id, timeframe)).and_modify(|pairs| pairs.forget_before(limit));
        }
    })
}

struct State {
    watermarks: Watermarks,
    venues: FxHashMap<InstrumentId, Venue>,
    pairs: FxHashMap<(InstrumentId, Timeframe), ByTime<Pair>>,
}

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&self.watermarks);
        self.pairs.save(save);
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        self.watermarks = load.shared()?.unwrap_or_else(|| self.watermarks.clone());
        self.pairs.load(load)
    }
}

impl Pair {
    fn set(&mut self, bar: Option<Bar>, kline: Option<Kline>) {
        let is_same = |kline: &Kline| bar.is_some_and(|bar| kline.closed && compare(bar, kline).agrees);
        let has = |k: &Kline| [k.notional.is_some(), k.taker_buy_volume.is_some(), k.trades.is_some()];
        self.kline = kline.map(|kline| match is_same(&kline) {
            true => Theirs::Same { ts: kline.ts, source: kline.source, has: has(&kline) },
            false => Theirs::Other(Box::new(kline)),
        });
        self.bar = bar;
    }

    fn kline(&self) -> Option<Kline> {
        match (self.kline.as_ref()?, self.bar) {
            (Theirs::Other(kline), _) => Some(**kline),
            (&Theirs::Same { ts, source, has: [notional, taker_buy_volume, trades] }, bar) => bar.map(|bar| Kline {
                instrument: bar.instrument,
                timeframe: bar.timeframe,
                open_ts: bar.ts,
                ts,
                closed: true,
                source,
                open: bar.open,
                high: bar.high,
                low: bar.low,
                close: bar.close,
                volume: bar.volume,
                notional: notional.then_some(bar.notional),
                taker_buy_volume: taker_buy_volume.then_some(bar.taker_buy_volume),
                trades: trades.then_some(bar.trades),
            }),
        }
    }

    fn row(&self) -> Option<KlineCheck> {
        self.bar.zip(self.kline()).map(|(bar, kline)| compare(bar, &kline))
    }
}

fn compare(bar: Bar, kline: &Kline) -> KlineCheck {
    let kline_ohlc = [kline.open, kline.high, kline.low, kline.close];
    let agrees = kline_ohlc == [bar.open, bar.high, bar.low, bar.close]
        && kline.volume == bar.volume
        && kline.trades.is_none_or(|trades| trades == bar.trades)
        && kline.notional.is_none_or(|notional| notional == bar.notional)
        && kline.taker_buy_volume.is_none_or(|volume| volume == bar.taker_buy_volume);
    KlineCheck { bar, kline_ohlc, kline_volume: kline.volume, kline_trades: kline.trades, agrees }
}
