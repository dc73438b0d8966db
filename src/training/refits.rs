//! Refits on a schedule by market time, on threads of their own.
//!
//! One thread waits for orders. An order goes over the configured symbols and time frames, reads their features from the store, fits on a bounded
//! number of threads, writes the model files, and hands over what is to be listed. A refit that is due while one is under way is left
//! out, and said so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use dataflows::model::{DAY_MS, HOUR_MS, Timeframe};
use dataflows::models::Status;
use tokio::runtime::Handle;

use super::live::listing_if_any;
use super::{Fitted, Known, Series, Settings, fit, from_store, parallel};
use crate::config;
use crate::model_dir::promotion::active;
use crate::model_dir::shelf::{self, New};
use crate::model_dir::{self, Entry, Listing};

/// Symbols whose features are in memory at once.
const BATCH: usize = 32;
/// Batches of candidates that wait to be listed.
const BATCHES_WAITING_MAX: usize = 4;

/// The schedule, and the thread behind it.
pub struct Refits {
    every_ms: i64,
    /// Market time from which the next one is due.
    due: Option<i64>,
    /// Up to when the newest model that was listed at the start knew the market.
    trained_until: i64,
    orders: Sender<i64>,
    made: Receiver<Vec<Entry>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Refits {
    /// Starts the thread. Must be called inside a tokio runtime. `listing` is what the run starts with.
    ///
    /// # Errors
    /// A name in the configuration that is no feature, or no thread.
    pub fn start(
        training: &config::Training,
        regimes: &config::Regimes,
        store: clickhouse::Client,
        dir: &Path,
        listing: &Listing,
    ) -> anyhow::Result<Self> {
        let settings = training.settings(regimes.enter, regimes.leave)?;
        let (orders, to_do) = bounded(1);
        let (done, made) = bounded(BATCHES_WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let trainer = Trainer {
            settings,
            training: training.clone(),
            store,
            runtime: Handle::current(),
            dir: dir.to_owned(),
            done,
            stop: Arc::clone(&stop),
        };
        let work = move || {
            while let Ok(until) = to_do.recv() {
                trainer.refit_all(until);
            }
        };
        let thread = std::thread::Builder::new().name("refits".into()).spawn(work).context("starting the thread of refits")?;
        let every_ms = config::integer(training.every_hours).saturating_mul(HOUR_MS);
        // The last bar that was closed then opened two bars before the end of the one that was open.
        let until = |entry: &Entry| {
            let bar_ms = Timeframe::from_name(&entry.timeframe)?.ms();
            Some(entry.evaluation.as_ref()?.trained_to + 2 * bar_ms)
        };
        let trained_until = listing.releases.iter().filter_map(until).max().unwrap_or(i64::MIN);
        Ok(Self { every_ms, due: None, trained_until, orders, made, stop, thread })
    }

    /// Orders a refit if one is due at a market time, and gives what has been made since the last call.
    pub fn tick(&mut self, now: i64) -> Vec<Entry> {
        if now > 0 && self.is_due(now) {
            match self.orders.try_send(now) {
                Ok(()) => tracing::info!(until_ms = now, "a refit is due"),
                Err(TrySendError::Full(_)) => {
                    tracing::warn!("a refit is due while one is under way: it is left out; refit less often")
                }
                Err(TrySendError::Disconnected(_)) => tracing::error!("the thread of refits is gone; restart the run for refits"),
            }
        }
        self.made.try_iter().flatten().collect()
    }

    /// Whether a boundary of the schedule has passed.
    fn is_due(&mut self, now: i64) -> bool {
        let (every_ms, trained_until) = (self.every_ms, self.trained_until);
        let due = *self.due.get_or_insert_with(|| first_due(now, every_ms, trained_until));
        if now < due {
            return false;
        }
        self.due = Some(now.div_euclid(every_ms) * every_ms + every_ms);
        true
    }

    /// Ends after the fits that are under way.
    pub fn finish(self) {
        let Self { orders, made, stop, thread, .. } = self;
        stop.store(true, Ordering::Relaxed);
        drop(orders);
        drop(made); // a batch that nobody lists is left over as files
        let _ = thread.join(); // if it panicked, that was logged by the panic
    }
}

/// When a run that starts at `now` refits first: at once if the last boundary was missed, otherwise at the next one.
fn first_due(now: i64, every_ms: i64, trained_until: i64) -> i64 {
    let begun = now.div_euclid(every_ms) * every_ms;
    if trained_until <= begun { begun } else { begun + every_ms }
}

struct Trainer {
    settings: Settings,
    training: config::Training,
    store: clickhouse::Client,
    runtime: Handle,
    dir: PathBuf,
    done: Sender<Vec<Entry>>,
    stop: Arc<AtomicBool>,
}

impl Trainer {
    fn refit_all(&self, until: i64) {
        let (mut fitted, mut failed) = (0usize, 0usize);
        if let Err(error) = self.try_refit_all(until, &mut fitted, &mut failed) {
            tracing::error!(
                error = format!("{error:#}"),
                fitted,
                failed,
                "a refit ended before its time; the next one is made as planned"
            );
        } else {
            tracing::info!(fitted, failed, "a refit is done");
        }
    }

    fn try_refit_all(&self, until: i64, fitted: &mut usize, failed: &mut usize) -> anyhow::Result<()> {
        let timeframes: Vec<Timeframe> = self.training.timeframes.iter().map(|&timeframe| timeframe.into()).collect();
        let targets = self.runtime.block_on(from_store::held(&self.store, &self.training.symbols, &timeframes))?;
        for targets in targets.chunks(BATCH) {
            let listing = listing_if_any(&self.dir)?;
            let mut jobs = Vec::with_capacity(targets.len());
            for target in targets {
                let from = until - config::integer(self.training.window_days).saturating_mul(DAY_MS);
                let series = self.runtime.block_on(from_store::load(&self.store, target, from.max(0), until))?;
                jobs.push((series.window(from, until, self.training.bars_max), self.active(&listing, &series)?));
            }
            let mut new = Vec::new();
            parallel::run(
                &jobs,
                self.training.threads,
                |job| self.fit(job),
                |at, answer| match answer {
                    Some(Ok(made)) => new.push((at, made)),
                    Some(Err(reason)) => {
                        *failed += 1;
                        tracing::warn!(reason, "no refit of a symbol");
                    }
                    None => {}
                },
            );
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            new.sort_by_key(|(at, _)| *at);
            let new = new.into_iter().map(|(at, made)| candidate(&jobs[at].0, made)).collect();
            let entries = shelf::put(&self.dir, new)?;
            *fitted += entries.len();
            if self.done.send(entries).is_err() {
                return Ok(()); // the run is over
            }
        }
        Ok(())
    }

    fn active(&self, listing: &Listing, series: &Series) -> anyhow::Result<Option<Known>> {
        let entry = active(listing, &series.symbol, series.timeframe.as_str());
        let known = |entry: &Entry| -> anyhow::Result<Known> {
            Ok(Known { name: entry.id().to_string(), file: model_dir::read_file(&self.dir, &entry.id())? })
        };
        entry.map(known).transpose()
    }

    /// `None`: the run is over.
    fn fit(&self, (series, known): &(Series, Option<Known>)) -> Option<Result<Fitted, String>> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        // One symbol's data must not end the refits of all others.
        let fitted =
            catch_unwind(AssertUnwindSafe(|| fit(&series.rows(&self.settings.features)?, &self.settings, known.as_ref())));
        Some(match fitted {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{}: the fit panicked; please report it", series.target())),
        })
    }
}

fn candidate(series: &Series, made: Fitted) -> New {
    let timeframe = series.timeframe.as_str().to_owned();
    let entry = Entry {
        model: format!("{}-{timeframe}", series.symbol),
        version: 0,
        symbols: vec![series.symbol.clone()],
        timeframe,
        status: Status::Candidate,
        active_from: 0,
        evaluation: Some(made.evaluation),
    };
    New { file: made.file, entry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let week = 7 * DAY_MS;
        let thursday = 2_900 * week;
        let check = |now: i64, trained_until: i64, due: i64| {
            assert_eq!(
                first_due(thursday + now, week, trained_until.saturating_add(thursday)),
                thursday + due,
                "{now} {trained_until}"
            );
        };
        // A model of 4h bars made at midnight: its last bar opened at 20:00 and was followed by one that was open.
        let of_midnight = -4 * HOUR_MS + 2 * 4 * HOUR_MS;
        check(DAY_MS, of_midnight, week);
        check(DAY_MS, of_midnight - week, 0);
        check(DAY_MS, i64::MIN / 2, 0);
        check(8 * DAY_MS, of_midnight, week);
    }
}
