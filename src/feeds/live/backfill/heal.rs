//! One gap: its symbols one after the other, each source in pages, each question until it is answered or given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use dataflows::model::{DAY_MS, MINUTE_MS};
use tokio::time::sleep;

use super::queue::Job;
use super::{LOOK_EVERY, plan};
use crate::clock;
use crate::feeds::live::Shared;
use crate::feeds::live::ask::Asker;
use crate::feeds::live::backoff::Backoff;
use crate::feeds::live::history::{Cure, History, Page, Question, Recovered, Source, Span};

/// A question is given up after so many tries: two minutes at the usual pauses, longer if the venue asks to be left alone.
pub(super) const TRIES_MAX: u32 = 10;
/// Pages of prints that one gap may cost, over all its symbols: Binance's budget of a minute, 60,000 prints. The rest of the
/// gap comes as minutes.
const PAGES_MAX: u32 = 60;
/// Settled funding counts however late it comes; this is as much as one answer of every venue holds.
const SETTLED_REACH_MS: i64 = 7 * DAY_MS;
/// Minutes that are remembered: a lost connection leaves a gap of trades and one of klines, in much the same minutes.
const FILLED_MAX: usize = 10_000;

/// Why a question has no answer.
enum Trouble {
    /// The question itself.
    Question,
    /// The host: the next question would fare no better.
    Host,
}

/// Asks for what was missed.
pub(super) struct Healer {
    shared: Arc<Shared>,
    asker: Asker,
    history: &'static dyn History,
    /// Minutes that were handed on, with their symbols: they are final.
    filled: BTreeSet<(i64, String)>,
    /// Rows of answers that were handed on for the gap at hand.
    rows: usize,
}

impl Healer {
    pub fn new(shared: Arc<Shared>, asker: Asker) -> Self {
        let history = shared.session.history();
        Self { shared, asker, history, filled: BTreeSet::new(), rows: 0 }
    }

    /// Is there anything to be asked for?
    pub fn has_cure(&self, job: &Job) -> bool {
        self.history.cures(&job.kind).iter().any(|cure| plan::wanted(cure.source, job.span).is_some())
    }

    /// From when on its first source has an answer, in the venue's time.
    pub fn due_ms(&self, job: &Job) -> i64 {
        let due = |cure: &Cure| Some(plan::due_ms(cure.source, plan::wanted(cure.source, job.span)?));
        self.history.cures(&job.kind).iter().filter_map(due).min().unwrap_or(i64::MIN)
    }

    /// Asks for all of it.
    pub async fn heal(&mut self, job: &Job) -> Recovered {
        self.rows = 0;
        let (mut pages_left, mut whole) = (PAGES_MAX, true);
        for symbol in &job.symbols {
            match self.symbol(job, symbol, &mut pages_left).await {
                Ok(recovered) => whole &= recovered == Recovered::Full,
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        match (whole, self.rows) {
            (true, _) => Recovered::Full,
            (false, 0) => Recovered::None,
            (false, _) => Recovered::Partial,
        }
    }

    /// What came of one symbol. An error ends the whole gap's filling.
    async fn symbol(&mut self, job: &Job, symbol: &str, pages_left: &mut u32) -> Result<Recovered, Trouble> {
        let (mut recovered, mut has_prints) = (Recovered::None, false);
        for cure in self.history.cures(&job.kind) {
            let Some(wanted) = plan::wanted(cure.source, job.span) else { continue };
            let done = match cure.source {
                Source::Minutes if has_prints => continue,
                Source::Prints => match self.prints(symbol, job.span, wanted, pages_left).await {
                    Ok(None) | Err(Trouble::Question) => continue,
                    Ok(Some(done)) => {
                        has_prints = true;
                        Ok(done)
                    }
                    Err(host) => Err(host),
                },
                source => self.windows(source, symbol, wanted).await,
            };
            match done {
                Ok(done) => recovered = recovered.max(done.min(cure.worth)),
                Err(Trouble::Question) => {}
                Err(host) => return Err(host),
            }
        }
        Ok(recovered)
    }

    /// Print by print. `None`: it would be too much, ask for minutes.
    async fn prints(
        &mut self,
        symbol: &str,
        gap: Span,
        wanted: Span,
        pages_left: &mut u32,
    ) -> Result<Option<Recovered>, Trouble> {
        if gap.to_ms - gap.from_ms > plan::PRINTS_MS_MAX || gap.from_ms < self.oldest_ms(Source::Prints) {
            return Ok(None);
        }
        self.wait_until(plan::due_ms(Source::Prints, wanted)).await;
        let (mut next, mut minutes) = (None, BTreeSet::new());
        loop {
            let Some(left) = pages_left.checked_sub(1) else { return Ok(None) };
            *pages_left = left;
            let question = self.history.question(Source::Prints, symbol, wanted, next);
            let page = self.answer(Source::Prints, &question).await?;
            minutes.extend(page.times.iter().map(|&ts| plan::floor(ts, MINUTE_MS)));
            let is_last =
                page.times.len() < self.history.rows_max(Source::Prints) || page.times.iter().any(|&ts| ts > wanted.to_ms);
            next = page.last_id.map(|id| id + 1);
            if is_last || next.is_none() {
                break;
            }
        }
        let Some(quiet) = plan::quiet(gap, &minutes) else { return Ok(Some(Recovered::Full)) };
        // The prints are there whatever becomes of this; only flat bars would be missing.
        match self.windows(Source::Minutes, symbol, quiet).await {
            Ok(Recovered::Full) => Ok(Some(Recovered::Full)),
            _ => Ok(Some(Recovered::Partial)),
        }
    }

    /// What comes at a fixed pace, as far as it is within reach. Minutes that were filled already are not asked for again.
    async fn windows(&mut self, source: Source, symbol: &str, wanted: Span) -> Result<Recovered, Trouble> {
        let missing = if source == Source::Minutes { self.unfilled(symbol, wanted) } else { Some(wanted) };
        let Some(missing) = missing else { return Ok(Recovered::Full) };
        self.wait_until(plan::due_ms(source, missing)).await;
        let Some(span) = plan::clipped(source, missing, self.oldest_ms(source)) else { return Ok(Recovered::None) };
        let mut times = BTreeSet::new();
        for window in plan::windows(source, span, self.history.rows_max(source)) {
            let question = self.history.question(source, symbol, window, None);
            times.extend(self.answer(source, &question).await?.times);
        }
        if source != Source::Minutes {
            return Ok(if times.is_empty() { Recovered::None } else { Recovered::Partial });
        }
        // Asked for once it was over, a minute is final; one that a venue sends beyond them may still run.
        times.retain(|ts| (span.from_ms..=span.to_ms).contains(ts));
        self.filled.extend(times.iter().map(|&minute| (minute, symbol.to_owned())));
        while self.filled.len() > FILLED_MAX {
            self.filled.pop_first();
        }
        Ok(match (plan::minutes(missing).all(|minute| times.contains(&minute)), times.is_empty()) {
            (true, _) => Recovered::Full,
            (false, false) => Recovered::Partial,
            (false, true) => Recovered::None,
        })
    }

    /// From the first to the last of the wanted minutes that were not filled yet. `None`: all were.
    fn unfilled(&mut self, symbol: &str, wanted: Span) -> Option<Span> {
        let is_missing = |minute: &i64| !self.filled.contains(&(*minute, symbol.to_owned()));
        let missing: Vec<i64> = plan::minutes(wanted).filter(is_missing).collect();
        self.rows += plan::minutes(wanted).count() - missing.len();
        Some(Span { from_ms: *missing.first()?, to_ms: missing.last()? + MINUTE_MS - 1 })
    }

    /// The answer, handed on.
    async fn answer(&mut self, source: Source, question: &Question) -> Result<Page, Trouble> {
        let cfg = &self.shared.cfg;
        let [min, max] = [cfg.backoff_ms_min, cfg.backoff_ms_max].map(std::time::Duration::from_millis);
        let mut backoff = Backoff::new(min, max, max, clock::now_ns().unsigned_abs());
        let mut tries = 0;
        let (error, trouble) = loop {
            let (error, is_retryable) = match self.asker.ask(&question.path, question.weight).await {
                Ok(body) => match self.history.page(source, &body) {
                    Ok(page) => {
                        self.asker.hand_on(&question.path, &body, clock::now_ns()).await;
                        self.rows += page.times.len();
                        return Ok(page);
                    }
                    Err(error) => (error.to_string(), error.is_retryable()),
                },
                Err(error) => (error.to_string(), error.is_retryable()),
            };
            tries += 1;
            if !is_retryable {
                break (error, Trouble::Question);
            }
            if tries >= TRIES_MAX {
                break (error, Trouble::Host);
            }
            sleep(backoff.pause(std::time::Duration::ZERO)).await;
        };
        tracing::warn!(venue = %self.shared.venue, path = question.path, tries, error, "a question about a gap is given up");
        Err(trouble)
    }

    /// What lies before it would be too late to count.
    fn oldest_ms(&self, source: Source) -> i64 {
        let minutes = i64::try_from(self.shared.cfg.backfill_minutes_max).unwrap_or(i64::MAX / MINUTE_MS);
        let reach_ms = if source == Source::Settled { SETTLED_REACH_MS } else { minutes.saturating_mul(MINUTE_MS) };
        self.shared.venue_clock.now_ms() - reach_ms
    }

    async fn wait_until(&self, venue_ms: i64) {
        while self.shared.venue_clock.now_ms() < venue_ms {
            sleep(LOOK_EVERY).await;
        }
    }
}
