//! View `bars`: open, high, low, close, volume per instrument on seven time frames.
//!
//! A bar is a merge of partials, so a late print corrects it by the path that made it. A time frame without trades in which
//! the venue was heard, and after which it was heard again, makes a flat bar at the last close; one in which it was not makes none. Flat bars go on for a day (or
//! one bar, whichever is longer) after the last trade. Open bars of a minute are published every `open_bars_every_ms`, longer
//! ones as much more rarely as they are longer (but 60 times at most), closed ones at once. A bar can be corrected until the correction horizon has passed its end, then it is forgotten here.
//!
//! A minute that the venue gives again over REST, because prints were missing, is what the venue says it was (see [`fills`]), and the
//! longer bars that hold it follow.

mod fills;
mod kept;
mod longer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use crate::by_time::ByTime;
use crate::config::Config;
use crate::fixed::{Notional, Price, Quantity};
use crate::model::{
    Aggregate, Bar, Clock, DAY_MS, InstrumentId, Instruments, Kline, MINUTE_MS, Partial, SECOND_MS, Timeframe, Venue,
};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum, replace};
use fills::Fills;
pub use longer::longer;

/// The view, and what others build on.
pub struct Bars<'scope> {
    /// The view: open bars as last published, closed bars.
    pub bars: VecCollection<'scope, KnownAt, Bar, isize>,
    /// Only bars whose end the watermark has passed, and their corrections.
    pub closed: VecCollection<'scope, KnownAt, Bar, isize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Output {
    Published(Bar),
    Closed(Bar),
}

#[derive(Clone)]
enum Input {
    Prints(Partial),
    Fill(Kline),
}

/// Maintains the bars of all instruments.
pub fn bars<'scope>(
    partials: StreamVec<'scope, KnownAt, Partial>,
    klines: StreamVec<'scope, KnownAt, Kline>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> Bars<'scope> {
    let state = State::new(config, instruments);
    let fills = klines.flat_map(|kline| kline.fills().then_some(Input::Fill(kline)));
    let input = partials.map(Input::Prints).concat(fills);
    let both = per_quantum(input, clocks, "bars", state, |state, known_at, input, clocks, changes| {
        state.quantum(known_at, &input, clocks, changes);
    });
    Bars {
        bars: both.clone().flat_map(|output| if let Output::Published(bar) = output { Some(bar) } else { None }),
        closed: both.flat_map(|output| if let Output::Closed(bar) = output { Some(bar) } else { None }),
    }
}

type Key = (usize, usize, i64); // instrument, time frame, opening time

struct State {
    horizon_ms: i64,
    open_bars_every_ms: u64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    index: FxHashMap<InstrumentId, usize>,
    instruments: Vec<InstrumentBars>,
    /// Per venue and time frame: the bars during which it was heard.
    heard: BTreeMap<(Venue, usize), BTreeSet<i64>>,
    /// Per venue and time frame: bars that end by here were closed.
    closed_to: BTreeMap<(Venue, usize), i64>,
    /// Per venue and time frame: bars that end by here are flat where nothing was traded. The venue must have been heard after
    /// them: of a bar that only silence closed nobody knows that nothing was traded.
    flat_to: BTreeMap<(Venue, usize), i64>,
    /// Bars of which something else is to be said, or that were closed in this quantum.
    dirty: Vec<Key>,
    /// Per time frame: open bars that changed since open bars were last published.
    dirty_open: [Vec<Key>; Timeframe::ALL.len()],
    /// The quantum before this one that had clock records.
    published_at: KnownAt,
    forgotten_to: i64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct InstrumentBars {
    id: InstrumentId,
    venue: Venue,
    frames: [ByTime<Entry>; Timeframe::ALL.len()],
    fills: Fills,
}

/// A bar that can still change.
#[derive(serde::Serialize, serde::Deserialize)]
struct Entry {
    body: Body,
    said: Said,
    /// It was said as a closed one.
    is_closed: bool,
}

#[derive(serde::Serialize, serde::Deserialize)]
enum Body {
    Traded(Box<Aggregate>),
    /// At the last close.
    Flat(Price),
}

/// What was last said of a bar.
#[derive(serde::Serialize, serde::Deserialize)]
enum Said {
    Nothing,
    /// What it is now.
    This,
    /// What it was before something changed it.
    Old(Box<Bar>),
}

impl State {
    fn new(config: &Config, names: Arc<Instruments>) -> Self {
        Self {
            horizon_ms: config.correction_horizon_ms,
            open_bars_every_ms: config.open_bars_every_ms.max(1),
            watermarks: Watermarks::new(config.lateness_ms),
            names,
            index: FxHashMap::default(),
            instruments: Vec::new(),
            heard: BTreeMap::new(),
            closed_to: BTreeMap::new(),
            flat_to: BTreeMap::new(),
            dirty: Vec::new(),
            dirty_open: Default::default(),
            published_at: 0,
            forgotten_to: NEVER,
        }
    }

    fn quantum(&mut self, known_at: KnownAt, input: &[Input], clocks: &[Clock], changes: &mut Vec<(Output, isize)>) {
        self.hear(clocks);
        for item in input {
            match item {
                Input::Prints(partial) => self.add(partial),
                Input::Fill(kline) => self.fill(kline),
            }
        }
        self.watermarks.advance(clocks);
        self.close();
        self.publish(known_at, clocks, changes);
        self.forget();
    }

    fn add(&mut self, partial: &Partial) {
        let Some(at) = self.find(partial.instrument) else { return };
        let minute = Timeframe::M1.open_of(partial.second * SECOND_MS);
        let mut prints = partial.prints;
        self.instruments[at].fills.absorb(minute, &mut prints);
        self.merge(at, partial.second * SECOND_MS, &prints);
    }

    /// Takes in a minute as the venue gives it.
    fn fill(&mut self, kline: &Kline) {
        let Some(at) = self.find(kline.instrument) else { return };
        let InstrumentBars { frames, fills, .. } = &mut self.instruments[at];
        let own = frames[0].get(kline.open_ts).and_then(Entry::prints);
        if let Some(missing) = fills.take(kline, own) {
            self.merge(at, kline.open_ts, &missing);
        } else {
            self.tell(at, kline.open_ts);
        }
    }

    /// Adds prints to the bar of each time frame that holds them.
    fn merge(&mut self, at: usize, ts: i64, prints: &Aggregate) {
        for (frame, timeframe) in Timeframe::ALL.into_iter().enumerate() {
            let open_ts = timeframe.open_of(ts);
            let InstrumentBars { id, frames, .. } = &mut self.instruments[at];
            let is_said = match frames[frame].get_mut(open_ts) {
                Some(entry) => entry.merge((*id, timeframe, open_ts), prints),
                None => {
                    frames[frame].insert(open_ts, Entry::new(Body::Traded(Box::new(*prints))));
                    true
                }
            };
            if is_said {
                self.dirty.push((at, frame, open_ts));
            }
            self.refresh(at, frame, open_ts);
        }
    }

    /// A venue said that nothing was traded in a minute: as good as having been heard in it.
    fn tell(&mut self, at: usize, minute: i64) {
        for (frame, timeframe) in Timeframe::ALL.into_iter().enumerate() {
            let open_ts = timeframe.open_of(minute);
            let venue = self.instruments[at].venue;
            let flat_to = self.flat_to.get(&(venue, frame)).copied().unwrap_or(NEVER);
            if self.instruments[at].fills.tell(frame, open_ts) && open_ts + timeframe.ms() <= flat_to {
                self.add_flat_bar(at, frame, open_ts);
            }
        }
    }

    fn find(&mut self, id: InstrumentId) -> Option<usize> {
        if let Some(&at) = self.index.get(&id) {
            return Some(at);
        }
        let venue = self.names.get(id)?.venue;
        self.instruments.push(InstrumentBars {
            id,
            venue,
            frames: std::array::from_fn(|_| ByTime::default()),
            fills: Fills::default(),
        });
        self.index.insert(id, self.instruments.len() - 1);
        Some(self.instruments.len() - 1)
    }

    /// Makes the flat bars between a traded bar and the next traded one anew.
    fn refresh(&mut self, at: usize, frame: usize, open_ts: i64) {
        let InstrumentBars { id, venue, frames, fills } = &mut self.instruments[at];
        let timeframe = Timeframe::ALL[frame];
        let bars = &mut frames[frame];
        let flat_to = self.flat_to.get(&(*venue, frame)).copied().unwrap_or(NEVER);
        let next = open_ts + timeframe.ms();
        if next + timeframe.ms() > flat_to {
            return; // the usual case: no later bar is over, so none is flat
        }
        let Some(heard) = self.heard.get(&(*venue, frame)) else { return };
        let Some(close) = bars.get(open_ts).map(Entry::close) else { return };
        let next_traded = bars.range(next..).find(|(_, entry)| entry.prints().is_some()).map_or(i64::MAX, |(ts, _)| ts);
        let reach = next..next_traded.min(open_ts + flat_limit(timeframe));
        let mut quiet: Vec<i64> = heard.range(reach.clone()).chain(fills.told(frame).range(reach)).copied().collect();
        quiet.sort_unstable(); // the venue may have been heard in what it told of, too: a flat bar is only made once
        for flat_ts in quiet {
            if flat_ts + timeframe.ms() > flat_to {
                break;
            }
            let is_said = match bars.get_mut(flat_ts) {
                Some(entry) => entry.set_flat((*id, timeframe, flat_ts), close),
                None => {
                    bars.insert(flat_ts, Entry::new(Body::Flat(close)));
                    true
                }
            };
            if is_said {
                self.dirty.push((at, frame, flat_ts));
            }
        }
    }

    /// Notes the bars in which venues were heard. One that had been closed unheard may now need flat bars.
    fn hear(&mut self, clocks: &[Clock]) {
        for clock in clocks {
            let Clock::Active { venue, minute, .. } = *clock else { continue };
            if minute < self.watermarks.reach(venue, self.horizon_ms) {
                continue; // its events were not applied
            }
            for (frame, timeframe) in Timeframe::ALL.into_iter().enumerate() {
                let open_ts = timeframe.open_of(minute);
                let is_new = self.heard.entry((venue, frame)).or_default().insert(open_ts);
                let flat_to = self.flat_to.get(&(venue, frame)).copied().unwrap_or(NEVER);
                if is_new && open_ts + timeframe.ms() <= flat_to {
                    self.add_flat_bars(venue, frame, open_ts);
                }
            }
        }
    }

    /// Closes bars whose end the watermark has passed: instruments that did not trade in them get flat ones.
    fn close(&mut self) {
        let (mut closing, mut flat, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (&(venue, frame), heard) in &self.heard {
            let open_of = |ts| Timeframe::ALL[frame].open_of(ts);
            let since = |progress: &mut BTreeMap<(Venue, usize), i64>, to: i64| {
                let before = std::mem::replace(progress.entry((venue, frame)).or_insert(NEVER), to);
                before.max(to - self.horizon_ms - 8 * DAY_MS)..to
            };
            let (closed_to, flat_to) = (open_of(self.watermarks.of(venue)), open_of(self.watermarks.heard_past(venue)));
            closing.push((venue, frame, since(&mut self.closed_to, closed_to)));
            let flat_since = since(&mut self.flat_to, flat_to);
            if flat_since.is_empty() {
                continue; // nearly every quantum: no bar has ended in it
            }
            for (at, instrument) in self.instruments.iter().enumerate().filter(|(_, i)| i.venue == venue) {
                told.extend(instrument.fills.told(frame).range(flat_since.clone()).map(|&open_ts| (at, frame, open_ts)));
            }
            flat.extend(heard.range(flat_since).map(|&open_ts| (venue, frame, open_ts)));
        }
        for (venue, frame, range) in closing.into_iter().filter(|(_, _, range)| !range.is_empty()) {
            for (at, instrument) in self.instruments.iter().enumerate().filter(|(_, instrument)| instrument.venue == venue) {
                self.dirty.extend(instrument.frames[frame].range(range.clone()).map(|(open_ts, _)| (at, frame, open_ts)));
            }
        }
        for (venue, frame, open_ts) in flat {
            self.add_flat_bars(venue, frame, open_ts);
        }
        for (at, frame, open_ts) in told {
            self.add_flat_bar(at, frame, open_ts);
        }
    }

    fn add_flat_bars(&mut self, venue: Venue, frame: usize, open_ts: i64) {
        for at in 0..self.instruments.len() {
            if self.instruments[at].venue == venue {
                self.add_flat_bar(at, frame, open_ts);
            }
        }
    }

    fn add_flat_bar(&mut self, at: usize, frame: usize, open_ts: i64) {
        let bars = &mut self.instruments[at].frames[frame];
        if bars.contains(open_ts) {
            return;
        }
        let traded = bars.range(..open_ts).rev().find(|(_, entry)| entry.prints().is_some());
        let Some((_, last)) = traded.filter(|(ts, _)| open_ts - ts < flat_limit(Timeframe::ALL[frame])) else { return };
        let close = last.close();
        bars.insert(open_ts, Entry::new(Body::Flat(close)));
        self.dirty.push((at, frame, open_ts));
    }

    fn publish(&mut self, known_at: KnownAt, clocks: &[Clock], changes: &mut Vec<(Output, isize)>) {
        // Every worker sees every clock record, and only some of them a quantum of rows alone.
        let before = if clocks.is_empty() { known_at } else { std::mem::replace(&mut self.published_at, known_at) };
        let open_too = Timeframe::ALL.map(|timeframe| {
            let every = self.open_bars_every_ms * sixtieths(timeframe);
            clocks.contains(&Clock::Flush) || known_at / every > before / every
        });
        for (waiting, _) in self.dirty_open.iter_mut().zip(open_too).filter(|(_, open_too)| *open_too) {
            self.dirty.append(waiting);
        }
        for key in self.dirty.drain(..) {
            let (at, frame, open_ts) = key;
            let timeframe = Timeframe::ALL[frame];
            let InstrumentBars { id, venue, frames, .. } = &mut self.instruments[at];
            let Some(entry) = frames[frame].get_mut(open_ts) else { continue };
            let is_closed = open_ts + timeframe.ms() <= self.closed_to.get(&(*venue, frame)).copied().unwrap_or(NEVER);
            if is_closed || open_too[frame] {
                entry.say((*id, timeframe, open_ts), is_closed, changes);
            } else {
                self.dirty_open[frame].push(key); // once it is closed, it is dirty again
            }
        }
    }

    /// Drops bars that can no longer change, but for the last traded one, whose close flat bars need.
    fn forget(&mut self) {
        let newest = Venue::ALL.into_iter().map(|venue| self.watermarks.of(venue)).max().unwrap_or(NEVER);
        if newest < self.forgotten_to + MINUTE_MS {
            return;
        }
        self.forgotten_to = newest;
        for instrument in &mut self.instruments {
            let limit = self.watermarks.reach(instrument.venue, self.horizon_ms);
            instrument.fills.forget_before(limit, flat_limit);
            for (bars, timeframe) in instrument.frames.iter_mut().zip(Timeframe::ALL) {
                let is_past = |open_ts: i64| open_ts + timeframe.ms() <= limit;
                while bars.first().is_some_and(|(first, entry)| {
                    let next_traded = || bars.iter().skip(1).find(|(_, next)| next.prints().is_some());
                    is_past(first) && (entry.prints().is_none() || next_traded().is_some_and(|(next, _)| is_past(next)))
                }) {
                    bars.pop_first();
                }
            }
        }
        for (&(venue, frame), heard) in &mut self.heard {
            let limit = self.watermarks.reach(venue, self.horizon_ms) - flat_limit(Timeframe::ALL[frame]);
            while heard.first().is_some_and(|&first| first + Timeframe::ALL[frame].ms() <= limit) {
                heard.pop_first();
            }
        }
    }
}

/// Open bars are published so many times more rarely than those of a minute: a week's is not looked at every second.
fn sixtieths(timeframe: Timeframe) -> u64 {
    (timeframe.ms() / MINUTE_MS).clamp(1, 60).unsigned_abs()
}

fn flat_limit(timeframe: Timeframe) -> i64 {
    DAY_MS.max(2 * timeframe.ms())
}

/// What names a bar.
type Name = (InstrumentId, Timeframe, i64);

impl Entry {
    fn new(body: Body) -> Self {
        Self { body, said: Said::Nothing, is_closed: false }
    }

    /// `None`: a flat bar.
    fn prints(&self) -> Option<&Aggregate> {
        if let Body::Traded(prints) = &self.body { Some(prints) } else { None }
    }

    fn close(&self) -> Price {
        match &self.body {
            Body::Traded(prints) => prints.close.1,
            Body::Flat(close) => *close,
        }
    }

    fn bar(&self, name: Name) -> Bar {
        match &self.body {
            Body::Traded(prints) => to_bar(name, prints),
            Body::Flat(close) => flat_bar(name, *close),
        }
    }

    /// Adds prints. True: what was said of it is no longer so.
    fn merge(&mut self, name: Name, prints: &Aggregate) -> bool {
        let was_right = self.remember(name);
        match &mut self.body {
            Body::Traded(known) => known.merge(prints),
            flat => *flat = Body::Traded(Box::new(*prints)),
        }
        was_right
    }

    /// Makes it a flat bar at `close`. True: what was said of it is no longer so.
    fn set_flat(&mut self, name: Name, close: Price) -> bool {
        let was_right = self.remember(name);
        self.body = Body::Flat(close);
        was_right
    }

    /// Keeps what was said of it, now that it changes. False: it had changed already, or nothing was said.
    fn remember(&mut self, name: Name) -> bool {
        let is_right = matches!(self.said, Said::This);
        if is_right {
            self.said = Said::Old(Box::new(self.bar(name)));
        }
        is_right
    }

    /// Says what it is now.
    fn say(&mut self, name: Name, is_closed: bool, changes: &mut Vec<(Output, isize)>) {
        let bar = self.bar(name);
        let old = match std::mem::replace(&mut self.said, Said::This) {
            Said::Nothing => None,
            Said::This => Some(bar),
            Said::Old(old) => Some(*old),
        };
        if is_closed {
            replace(old.filter(|_| self.is_closed), Some(bar), Output::Closed, changes);
            self.is_closed = true;
        }
        replace(old, Some(bar), Output::Published, changes);
    }
}

fn to_bar((instrument, timeframe, ts): Name, prints: &Aggregate) -> Bar {
    Bar {
        instrument,
        timeframe,
        ts,
        open: prints.open.1,
        high: prints.high,
        low: prints.low,
        close: prints.close.1,
        volume: prints.volume,
        notional: prints.notional,
        taker_buy_volume: prints.taker_buy_volume,
        trades: prints.trades,
    }
}

fn flat_bar((instrument, timeframe, ts): Name, at: Price) -> Bar {
    let (volume, notional, taker_buy_volume, trades) = (Quantity(0), Notional(0), Quantity(0), 0);
    Bar { instrument, timeframe, ts, open: at, high: at, low: at, close: at, volume, notional, taker_buy_volume, trades }
}
