//! The venue's past, for its REST: what playback has passed, and nothing of what comes.
//!
//! Aggregate trades and closed minutes come from the played messages; settled funding from recorded answers; open interest at
//! every fifth minute from recorded answers, polls and tickers. The venues' own limits are kept, with their words. Limits of
//! ours: 50,000 trades and a week of minutes a symbol, no minute that still runs.

mod binance;
mod bybit;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::model::{MINUTE_MS, Venue};
use serde_json::Value;

/// Trades kept of a symbol.
const PRINTS_MAX: usize = 50_000;
/// Minutes, settlements or samples kept of a symbol.
const POINTS_MAX: usize = 10_080;
/// A minute of which no bar came counts as quiet once the venue's time is so far past its end: bars come a little later.
const QUIET_AFTER_MS: i64 = 2_000;
const SAMPLE_MS: i64 = 5 * MINUTE_MS;

/// An answer: status and body.
pub type Answer = (u16, String);

/// One symbol's past.
#[derive(Debug, Default)]
struct Market {
    /// Id, time, row as REST has it, in order of ids. As text: there are many, and a parsed one takes a kilobyte.
    prints: VecDeque<(u64, i64, Box<str>)>,
    /// Closed bars by their opening, as REST has them.
    minutes: BTreeMap<i64, Value>,
    settled: BTreeMap<i64, Value>,
    interest: BTreeMap<i64, Value>,
    /// The newest open interest and its time.
    sampled: Option<(i64, Value)>,
    /// The newest event time.
    now_ms: i64,
}

/// All markets that were played.
#[derive(Debug, Default)]
pub struct Archive(Mutex<HashMap<(Venue, String), Market>>);

impl Archive {
    /// Playback passes a frame of data.
    pub fn pass(&self, venue: Venue, key: &str, payload: &str) {
        match venue {
            Venue::BinanceUsdm => binance::pass(self, key, payload),
            Venue::BybitLinear => bybit::pass(self, key, payload),
            _ => {}
        }
    }

    /// Playback passes a recorded REST answer.
    pub fn pass_answer(&self, url: &str, body: &str) {
        let Ok(url) = url::Url::parse(url) else { return };
        let Ok(body) = serde_json::from_str::<Value>(body) else { return };
        binance::pass_answer(self, url.path(), &body);
        bybit::pass_answer(self, url.path(), &body);
    }

    /// The answer to a question about the past. `None`: it is none.
    pub fn answer(&self, target: &str) -> Option<Answer> {
        let asked = Asked::of(target)?;
        binance::answer(self, &asked).or_else(|| bybit::answer(self, &asked))
    }

    fn of<R>(&self, venue: Venue, symbol: &str, act: impl FnOnce(&mut Market) -> R) -> R {
        act(self.lock().entry((venue, symbol.to_owned())).or_default())
    }

    /// What a symbol has, if it was ever heard of.
    fn known<R>(&self, venue: Venue, symbol: &str, act: impl FnOnce(&Market) -> R) -> Option<R> {
        self.lock().get(&(venue, symbol.to_owned())).map(act)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Venue, String), Market>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Market {
    fn print(&mut self, id: u64, ts: i64, row: &Value) {
        self.now_ms = self.now_ms.max(ts);
        if self.prints.back().is_some_and(|(last, ..)| *last >= id) {
            return; // played twice, or out of order: the venue has each once
        }
        self.prints.push_back((id, ts, row.to_string().into()));
        if self.prints.len() > PRINTS_MAX {
            self.prints.pop_front();
        }
    }

    /// Open interest as it was at `ts`: the last one before a fifth minute is that minute's sample.
    fn sample(&mut self, ts: i64, row: Value) {
        let mark = ts.div_euclid(SAMPLE_MS) * SAMPLE_MS;
        if let Some((_, row)) = self.sampled.take().filter(|(before, _)| *before < mark) {
            keep(&mut self.interest, mark, row);
        }
        self.sampled = Some((ts, row));
        self.now_ms = self.now_ms.max(ts);
    }

    /// Closed minutes with openings in the range, those without trades included: `quiet` makes their rows of the last row before.
    fn minutes(&self, from_ms: i64, to_ms: i64, quiet: impl Fn(i64, &Value) -> Value) -> Vec<Value> {
        let (Some((first, _)), Some((last, _))) = (self.minutes.first_key_value(), self.minutes.last_key_value()) else {
            return Vec::new();
        };
        let quiet_to = (*last).max(self.now_ms - MINUTE_MS - QUIET_AFTER_MS);
        let skipped = from_ms.saturating_sub(*first).max(0).saturating_add(MINUTE_MS - 1) / MINUTE_MS;
        let first = first.saturating_add(skipped.saturating_mul(MINUTE_MS));
        let mut rows = Vec::new();
        for open_ms in (first..=to_ms.min(quiet_to)).step_by(MINUTE_MS as usize).take(POINTS_MAX) {
            match self.minutes.range(..=open_ms).next_back() {
                Some((at, row)) if *at == open_ms => rows.push(row.clone()),
                Some((_, before)) => rows.push(quiet(open_ms, before)),
                None => {}
            }
        }
        rows
    }
}

/// Adds a point, and drops the oldest beyond the limit.
fn keep(points: &mut BTreeMap<i64, Value>, ts: i64, row: Value) {
    points.insert(ts, row);
    while points.len() > POINTS_MAX {
        points.pop_first();
    }
}

/// A question: path and parameters.
struct Asked {
    path: String,
    parameters: HashMap<String, String>,
}

impl Asked {
    fn of(target: &str) -> Option<Self> {
        let url = url::Url::parse("http://mock").ok()?.join(target).ok()?;
        Some(Self { path: url.path().to_owned(), parameters: url.query_pairs().into_owned().collect() })
    }

    fn text(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.parameters.get(name)?.parse().ok()
    }

    /// The rows asked for; `None`: more than there may be.
    fn limit(&self, usual: usize, most: usize) -> Option<usize> {
        let limit = self.parameters.get("limit").map_or(Ok(usual), |text| text.parse());
        limit.ok().filter(|limit| (1..=most).contains(limit))
    }
}

#[cfg(test)]
mod tests;
