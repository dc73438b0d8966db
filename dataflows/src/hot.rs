//! The hot path: ticks become base rows.
//!
//! All copies of an instrument's events meet on one worker, where repeats are dropped, late ones listed, and market prints
//! summed to one [`Partial`] per (instrument, event second) and quantum. What leaves is thousands of rows a second at most,
//! however busy the market. No allocation per event, no lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustc_hash::FxHashMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::config::Config;
use crate::fixed::Price;
use crate::keeping::{Kept, Load, Save};
use crate::model::{
    Aggregate, BaseRow, Clock, Funding, FundingKind, InstrumentId, Instruments, Kline, LastPrice, LateEvent, LateStream,
    Liquidation, MINUTE_MS, Partial, PrintOrder, SECOND_MS, Seen, Tick, Trade, TradeId, TradeKind, Venue,
};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks};
use crate::prints::{SeenNames, SeenPrints};

/// The operator.
const NAME: &str = "base rows";

/// What became of ticks, over all workers. Every tick is used or counted here.
#[derive(Debug, Default)]
pub struct Counters {
    /// Market prints that went into bars.
    pub prints: AtomicU64,
    /// Prints and liquidations that had been seen before.
    pub duplicates: AtomicU64,
    /// Insurance-fund, auto-deleveraging and block prints, kept out of the bars.
    pub off_book: AtomicU64,
    /// Events that came after the watermark and were applied.
    pub late: AtomicU64,
    /// Events that came after the correction horizon and were only listed.
    pub too_late: AtomicU64,
}

/// The base rows of one quantum, one stream a kind. Each instrument's rows are on one worker.
pub struct Base<'scope> {
    /// Sums of market prints.
    pub partials: StreamVec<'scope, KnownAt, Partial>,
    /// Last prices by the fraction of a second, of the instruments whose lead and lag is looked at.
    pub last_prices: StreamVec<'scope, KnownAt, LastPrice>,
    /// Liquidations, each once.
    pub liquidations: StreamVec<'scope, KnownAt, Liquidation>,
    /// Mark prices, funding rates, open interest; repeats are harmless.
    pub quotes: StreamVec<'scope, KnownAt, Tick>,
    /// Closed venue bars; repeats are harmless.
    pub klines: StreamVec<'scope, KnownAt, Kline>,
    /// Events that came late, not numbered yet.
    pub late: StreamVec<'scope, KnownAt, LateEvent>,
    /// All of the above that came of ticks, and what de-duplication must remember, if a journal is kept.
    pub journal: StreamVec<'scope, KnownAt, BaseRow>,
}

/// How it is to run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// What a journal is to keep is handed out.
    pub keeps_journal: bool,
    /// All ticks are read in this process, so every name is known before its ticks come.
    pub is_alone: bool,
}

/// Turns ticks into base rows, beside those of an earlier run, which are passed on as they are. `clocks` must have reached every worker.
pub fn base<'scope>(
    ticks: StreamVec<'scope, KnownAt, Tick>,
    clocks: Clocks<'scope>,
    restored: StreamVec<'scope, KnownAt, BaseRow>,
    mode: Mode,
    config: &Config,
    instruments: Arc<Instruments>,
    counters: Arc<Counters>,
) -> Base<'scope> {
    let Clocks { records: clocks, keeping } = clocks;
    let mut builder = OperatorBuilder::new(NAME.to_owned(), ticks.scope());
    let places = keeping.places();
    let mut ticks = builder.new_input(ticks, Exchange::new(move |tick: &Tick| places.of(tick.instrument().0)));
    let mut clocks = builder.new_input(clocks, Pipeline);
    let mut restored = builder.new_input(restored, Exchange::new(move |row: &BaseRow| places.of(row.instrument().0)));
    let (partials_out, partials) = builder.new_output();
    let (liquidations_out, liquidations) = builder.new_output();
    let (quotes_out, quotes) = builder.new_output();
    let (klines_out, klines) = builder.new_output();
    let (late_out, late) = builder.new_output();
    let (last_prices_out, last_prices) = builder.new_output();
    let (journal_out, journal) = builder.new_output();
    let mut hot = Hot::new(config, instruments, counters);
    hot.keeps_journal = mode.keeps_journal;
    keeping.load(NAME, &mut hot);
    let saver = keeping.saver();

    builder.build(move |_capabilities| {
        let mut partials_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Partial>>>::from(partials_out);
        let mut liquidations_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Liquidation>>>::from(liquidations_out);
        let mut quotes_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Tick>>>::from(quotes_out);
        let mut klines_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Kline>>>::from(klines_out);
        let mut late_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<LateEvent>>>::from(late_out);
        let mut last_prices_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<LastPrice>>>::from(last_prices_out);
        let mut journal_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<BaseRow>>>::from(journal_out);
        let mut waiting: BTreeMap<KnownAt, Quantum> = BTreeMap::new();
        move |frontiers| {
            ticks.for_each(|capability, batch| {
                let known_at = *capability.time();
                waiting.entry(known_at).or_insert_with(|| Quantum::new(|port| capability.retain(port)));
                let is_first = waiting.first_key_value().is_some_and(|(&first, _)| first == known_at);
                // If everything before this quantum is settled, its ticks can be worked off while the cache still holds them.
                if mode.is_alone && is_first && frontiers.iter().all(|frontier| !frontier.less_than(&known_at)) {
                    hot.take(batch);
                } else if let Some(quantum) = waiting.get_mut(&known_at) {
                    quantum.ticks.push(std::mem::take(batch));
                }
            });
            clocks.for_each(|capability, batch| {
                let quantum = waiting.entry(*capability.time()).or_insert_with(|| Quantum::new(|port| capability.retain(port)));
                quantum.clocks.append(batch);
            });
            restored.for_each(|capability, batch| {
                let quantum = waiting.entry(*capability.time()).or_insert_with(|| Quantum::new(|port| capability.retain(port)));
                quantum.restored.append(batch);
            });
            while let Some(entry) = waiting.first_entry() {
                let known_at = *entry.key();
                if frontiers.iter().any(|frontier| frontier.less_equal(&known_at)) {
                    break;
                }
                let Quantum { capabilities, ticks, clocks, restored } = entry.remove();
                ticks.iter().for_each(|batch| hot.take(batch));
                hot.settle(&clocks);
                journal_out.activate().session(&capabilities[6]).give_iterator(hot.journal.drain(..));
                hot.restore(restored);
                if clocks.contains(&Clock::Save) {
                    saver.save(known_at, NAME, &hot);
                }
                partials_out.activate().session(&capabilities[0]).give_iterator(hot.partials.drain(..));
                liquidations_out.activate().session(&capabilities[1]).give_iterator(hot.liquidations.drain(..));
                quotes_out.activate().session(&capabilities[2]).give_iterator(hot.quotes.drain(..));
                klines_out.activate().session(&capabilities[3]).give_iterator(hot.klines.drain(..));
                late_out.activate().session(&capabilities[4]).give_iterator(hot.late.drain(..));
                last_prices_out.activate().session(&capabilities[5]).give_iterator(hot.last_prices.drain(..));
            }
        }
    });
    Base { partials, last_prices, liquidations, quotes, klines, late, journal }
}

struct Quantum {
    capabilities: [Capability<KnownAt>; 7],
    ticks: Vec<Vec<Tick>>,
    clocks: Vec<Clock>,
    restored: Vec<BaseRow>,
}

impl Quantum {
    fn new(retain: impl FnMut(usize) -> Capability<KnownAt>) -> Self {
        Self { capabilities: std::array::from_fn(retain), ticks: Vec::new(), clocks: Vec::new(), restored: Vec::new() }
    }
}

/// The state of one worker's instruments, and the rows of the quantum at hand.
struct Hot {
    horizon_ms: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    counters: Arc<Counters>,
    index: FxHashMap<InstrumentId, usize>,
    instruments: Vec<HotInstrument>,
    touched: Vec<usize>,
    forgotten_to: i64,
    partials: Vec<Partial>,
    liquidations: Vec<Liquidation>,
    quotes: Vec<Tick>,
    klines: Vec<Kline>,
    late: Vec<LateEvent>,
    last_prices: Vec<LastPrice>,
    /// What a journal is to keep of the quantum.
    keeps_journal: bool,
    journal: Vec<BaseRow>,
    /// Symbols whose last prices are wanted, and a bucket's length.
    close: (Vec<String>, i64),
}

struct HotInstrument {
    id: InstrumentId,
    venue: Venue,
    prints: SeenPrints,
    liquidations: SeenNames<Liquidation>,
    /// Sums of this quantum by event second, the latest last. Nearly always one or two.
    open: Vec<(i64, Aggregate)>,
    /// Names of this quantum's new prints, if a journal is kept.
    fresh: Vec<Seen>,
    /// Where the last mark price and the last funding rate of this quantum are among its quotes.
    last_mark: Option<usize>,
    last_funding: Option<usize>,
    /// Last prints of this quantum by bucket, the latest last, where they are wanted.
    last_prices: Option<LastPrices>,
}

struct LastPrices {
    bucket_ms: i64,
    open: Vec<(i64, (PrintOrder, Price))>,
}

impl Kept for Hot {
    fn save(&self, save: &mut Save) {
        save.shared(&(&self.watermarks, self.forgotten_to));
        for instrument in &self.instruments {
            save.part(instrument.id, &(&instrument.prints, &instrument.liquidations));
        }
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        if let Some(shared) = load.shared()? {
            (self.watermarks, self.forgotten_to) = shared;
        }
        while let Some((id, seen)) = load.part()? {
            if let Some(at) = self.find(id) {
                (self.instruments[at].prints, self.instruments[at].liquidations) = seen;
            }
        }
        Ok(())
    }
}

impl Hot {
    fn new(config: &Config, names: Arc<Instruments>, counters: Arc<Counters>) -> Self {
        Self {
            horizon_ms: config.correction_horizon_ms,
            watermarks: Watermarks::new(config.lateness_ms),
            names,
            counters,
            index: FxHashMap::default(),
            instruments: Vec::new(),
            touched: Vec::new(),
            forgotten_to: NEVER,
            partials: Vec::new(),
            liquidations: Vec::new(),
            quotes: Vec::new(),
            klines: Vec::new(),
            late: Vec::new(),
            last_prices: Vec::new(),
            keeps_journal: false,
            journal: Vec::new(),
            close: (config.lead_lag.symbols.clone(), config.lead_lag.bucket_ms),
        }
    }

    /// Takes in some of a quantum's ticks. Lateness is judged by the watermarks before the quantum, so the order inside it does
    /// not matter.
    fn take(&mut self, ticks: &[Tick]) {
        let mut at = usize::MAX;
        let (mut prints, mut duplicates, mut off_book) = (0, 0, 0);
        for tick in ticks {
            let id = tick.instrument();
            if self.instruments.get(at).is_none_or(|known| known.id != id) {
                let Some(found) = self.find(id) else { continue };
                at = found;
            }
            if self.is_too_late(at, tick) {
                continue;
            }
            let instrument = &mut self.instruments[at];
            match tick {
                Tick::Trade(trade) if !instrument.prints.insert(trade) => duplicates += 1,
                Tick::Trade(trade) => {
                    if instrument.open.is_empty() && instrument.fresh.is_empty() {
                        self.touched.push(at);
                    }
                    if self.keeps_journal {
                        instrument.note_seen(trade);
                    }
                    if trade.kind == TradeKind::Market {
                        prints += 1;
                        instrument.add(trade);
                    } else {
                        off_book += 1;
                    }
                }
                Tick::Liquidation(event) if !instrument.liquidations.insert(event.ts, *event) => duplicates += 1,
                Tick::Liquidation(event) => self.liquidations.push(*event),
                Tick::Kline(kline) if kline.closed => self.klines.push(**kline),
                Tick::Kline(_) => {}
                quote => instrument.quote(quote, &mut self.quotes),
            }
        }
        self.counters.prints.fetch_add(prints, Relaxed);
        self.counters.duplicates.fetch_add(duplicates, Relaxed);
        self.counters.off_book.fetch_add(off_book, Relaxed);
    }

    /// The quantum is complete: its prints become partials, and time moves on.
    fn settle(&mut self, clocks: &[Clock]) {
        for at in self.touched.drain(..) {
            let HotInstrument { id, open, last_prices, fresh, .. } = &mut self.instruments[at];
            self.journal.extend(fresh.drain(..).map(BaseRow::Seen));
            if let Some(LastPrices { open, .. }) = last_prices {
                self.last_prices.extend(open.drain(..).map(|(bucket, last)| LastPrice { instrument: *id, bucket, last }));
            }
            self.partials.extend(open.drain(..).map(|(second, prints)| Partial { instrument: *id, second, prints }));
        }
        for quote in &self.quotes {
            if let Some(&at) = self.index.get(&quote.instrument()) {
                (self.instruments[at].last_mark, self.instruments[at].last_funding) = (None, None);
            }
        }
        if self.keeps_journal {
            self.journal.extend(self.partials.iter().cloned().map(BaseRow::Partial));
            self.journal.extend(self.last_prices.iter().copied().map(BaseRow::LastPrice));
            self.journal.extend(self.liquidations.iter().copied().map(BaseRow::Liquidation));
            self.journal.extend(self.quotes.iter().cloned().map(BaseRow::Quote));
            self.journal.extend(self.klines.iter().copied().map(BaseRow::Kline));
            self.journal.extend(self.late.iter().copied().map(BaseRow::Late));
        }
        self.watermarks.advance(clocks);
        self.forget();
    }

    /// Passes on what an earlier run had made of ticks, and remembers what it had seen.
    fn restore(&mut self, rows: Vec<BaseRow>) {
        for row in rows {
            let Some(at) = self.find(row.instrument()) else { continue };
            match row {
                BaseRow::Partial(row) => self.partials.push(row),
                BaseRow::LastPrice(row) => self.last_prices.push(row),
                BaseRow::Liquidation(row) => {
                    self.instruments[at].liquidations.insert(row.ts, row);
                    self.liquidations.push(row);
                }
                BaseRow::Quote(row) => self.quotes.push(row),
                BaseRow::Kline(row) => self.klines.push(row),
                BaseRow::Late(row) => self.late.push(row),
                BaseRow::Seen(seen) => self.instruments[at].prints.restore(seen),
            }
        }
    }

    fn find(&mut self, id: InstrumentId) -> Option<usize> {
        if let Some(&at) = self.index.get(&id) {
            return Some(at);
        }
        let known = self.names.get(id)?; // every parser interns an instrument before it names it in a tick, and tells other processes
        let (venue, (symbols, bucket_ms)) = (known.venue, &self.close);
        let is_close = symbols.contains(&known.symbol);
        let at = self.instruments.len();
        self.instruments.push(HotInstrument {
            id,
            venue,
            prints: SeenPrints::default(),
            liquidations: SeenNames::default(),
            open: Vec::new(),
            fresh: Vec::new(),
            last_mark: None,
            last_funding: None,
            last_prices: is_close.then_some(LastPrices { bucket_ms: *bucket_ms, open: Vec::new() }),
        });
        self.index.insert(id, at);
        Some(at)
    }

    /// Lists a late event. True: it is beyond the horizon and must not be applied. Settled funding and the bars that a venue pushes
    /// speak of the past by nature.
    fn is_too_late(&mut self, at: usize, tick: &Tick) -> bool {
        // A back-filled bar is late where its minute is.
        let ts = if let Tick::Kline(kline) = tick { kline.open_ts } else { tick.ts() };
        let venue = self.instruments[at].venue;
        let watermark = self.watermarks.of(venue);
        if ts >= watermark {
            return false;
        }
        let stream = match tick {
            Tick::Trade(_) => LateStream::Trades,
            Tick::Liquidation(_) => LateStream::Liquidations,
            Tick::Mark(_) => LateStream::Mark,
            Tick::Funding(funding) if funding.kind == FundingKind::Settled => return false,
            Tick::Funding(_) => LateStream::Funding,
            Tick::OpenInterest(_) => LateStream::OpenInterest,
            Tick::Kline(kline) if kline.fills() => LateStream::Klines,
            Tick::Kline(_) => return false,
        };
        let too_late = ts < self.watermarks.reach(venue, self.horizon_ms);
        let counter = if too_late { &self.counters.too_late } else { &self.counters.late };
        counter.fetch_add(1, Relaxed);
        self.late.push(LateEvent { venue, instrument: tick.instrument(), stream, ts, seq: 0, applied: !too_late });
        too_late
    }

    /// Names that can no longer matter are dropped once a minute of event time.
    fn forget(&mut self) {
        let newest = Venue::ALL.into_iter().map(|venue| self.watermarks.of(venue)).max().unwrap_or(NEVER);
        if newest - self.forgotten_to < 60 * SECOND_MS {
            return;
        }
        self.forgotten_to = newest;
        for instrument in &mut self.instruments {
            let limit = self.watermarks.reach(instrument.venue, self.horizon_ms);
            instrument.prints.forget_before(limit);
            instrument.liquidations.forget_before(limit);
        }
    }
}

impl HotInstrument {
    /// Dense ids that follow each other are one stretch.
    fn note_seen(&mut self, trade: &Trade) {
        let instrument = self.id;
        match (trade.id, self.fresh.last_mut()) {
            (TradeId::Dense(first, to), Some(Seen::Dense { last, .. })) if last.checked_add(1) == Some(first) => *last = to,
            (TradeId::Dense(first, last), _) => self.fresh.push(Seen::Dense { instrument, first, last }),
            (TradeId::Unique(high, low), _) => self.fresh.push(Seen::Unique { instrument, ts: trade.ts, name: (high, low) }),
        }
    }

    /// Adds a quote. Of quotes of one minute that say the same fields only the newest counts, so it takes the place of the one before:
    /// a busy venue repeats its mark price ten times a second.
    fn quote(&mut self, quote: &Tick, quotes: &mut Vec<Tick>) {
        let last = match quote {
            Tick::Mark(_) => &mut self.last_mark,
            Tick::Funding(funding) if funding.kind == FundingKind::Predicted => &mut self.last_funding,
            _ => return quotes.push(quote.clone()),
        };
        match last.and_then(|at| quotes.get_mut(at)) {
            Some(known) if supersedes(quote, known) => *known = quote.clone(),
            _ => {
                *last = Some(quotes.len());
                quotes.push(quote.clone());
            }
        }
    }

    fn add(&mut self, trade: &Trade) {
        let second = trade.ts.div_euclid(SECOND_MS);
        match self.open.iter_mut().rev().find(|(open, _)| *open == second) {
            Some((_, sums)) => sums.add(trade),
            None => self.open.push((second, Aggregate::of(trade))),
        }
        if let Some(last_prices) = &mut self.last_prices {
            last_prices.add(trade);
        }
    }
}

impl LastPrices {
    fn add(&mut self, trade: &Trade) {
        let bucket = trade.ts.div_euclid(self.bucket_ms);
        let print = ((trade.ts, trade.order.0, trade.order.1), trade.price);
        match self.open.iter_mut().rev().find(|(open, _)| *open == bucket) {
            Some((_, last)) => *last = print.max(*last),
            None => self.open.push((bucket, print)),
        }
    }
}

/// Of the same kind, minute and fields, and newer.
fn supersedes(new: &Tick, old: &Tick) -> bool {
    let is_newer = |new: (i64, u64), old: (i64, u64)| new > old && new.0.div_euclid(MINUTE_MS) == old.0.div_euclid(MINUTE_MS);
    match (new, old) {
        (Tick::Mark(new), Tick::Mark(old)) => {
            (new.mark.is_some(), new.index.is_some()) == (old.mark.is_some(), old.index.is_some())
                && is_newer((new.ts, new.order), (old.ts, old.order))
        }
        (Tick::Funding(new), Tick::Funding(old)) => {
            // An interval counts from the moment at which it was stated, so none may be left out.
            let is_rate_alone = |f: &Funding| f.rate.is_some() && f.interval_hours.is_none();
            is_rate_alone(new) && is_rate_alone(old) && is_newer((new.ts, new.order), (old.ts, old.order))
        }
        _ => false,
    }
}
