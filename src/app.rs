//! The wiring: frames go into the engine; what comes out is announced, stored and counted.
//!
//! One keeper thread reads complete quanta in order: it turns episodes into events for the couriers and hands every row to the
//! store's writer. A slow store holds the keeper, the keeper holds the workers, the workers hold the feeder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alerts::deliver::{self, Courier, Options, Refused};
use alerts::{Event, EventType, Secret};
use anyhow::Context;
use crossbeam_channel::{Receiver, Sender};
use dataflows::config as views;
use dataflows::hot::Counters;
use dataflows::model::Instruments;
use dataflows::models::Release;

use crate::accounts::Accounts;
use crate::announce::Announcer;
use crate::clock;
use crate::config::{self, Config};
use crate::engine::{self, Engine, Input, Running};
use crate::feeds::{ParseContext, parser_for};
use crate::store::edge::{DeliveryRow, EdgeRow, RejectedFrame};
use crate::store::{Quantum, Store, Writer, WriterOptions};

/// Deliveries still under way at the end may take so long.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// How the pipeline is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Frames arrive as they happen.
    Live,
    /// Frames are read as fast as they can be taken.
    Replay,
}

/// Looks at what leaves the engine.
pub type Watch = Box<dyn FnMut(&Quantum) + Send>;

/// The running pipeline.
pub struct Pipeline {
    /// Where frames go in.
    pub input: Input,
    running: Running,
    keeper: JoinHandle<anyhow::Result<(Kept, Receiver<EdgeRow>)>>,
    couriers: Arc<Vec<Courier>>,
    edge: Sender<EdgeRow>,
    writer: Option<Writer>,
}

/// What the keeper saw.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Changes of each view.
    pub changes: BTreeMap<&'static str, u64>,
    /// Rows of each view at the end.
    pub rows: BTreeMap<&'static str, i64>,
    /// Events by type and status.
    pub events: BTreeMap<(&'static str, &'static str), u64>,
    /// Quanta that held anything.
    pub quanta: u64,
    /// The first frames that were refused; all of them are in `rejected_frames`.
    pub rejected: Vec<RejectedFrame>,
}

/// So many refused frames are shown at the end of a run.
const REJECTED_SHOWN_MAX: usize = 10;

/// What a finished run can tell.
pub struct Summary {
    /// What the views became.
    pub kept: Kept,
    /// What became of frames.
    pub accounts: Arc<Accounts>,
    /// What became of ticks.
    pub counters: Arc<Counters>,
    /// Deliveries that were still under way when the run ended.
    pub undelivered: usize,
}

impl Pipeline {
    /// Starts workers, keeper, couriers and writer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the configuration asks for what can't be had (a secret file that can't be read).
    pub fn start(config: &Config, pace: Pace, store: Option<&Store>, with_alerts: bool) -> anyhow::Result<Self> {
        Self::start_watched(config, pace, store, with_alerts, Box::new(|_| {}))
    }

    /// As [`Self::start`], with models: what [`crate::model_dir::load`] gave. `None`: regimes are not computed, at no cost.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_models(
        config: &Config,
        pace: Pace,
        store: Option<&Store>,
        with_alerts: bool,
        models: Option<Vec<Release>>,
    ) -> anyhow::Result<Self> {
        Self::begin(config, pace, store, with_alerts, Box::new(|_| {}), models)
    }

    /// As [`Self::start`], and `watch` sees every complete quantum, alerts included, before it is stored.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_watched(
        config: &Config,
        pace: Pace,
        store: Option<&Store>,
        with_alerts: bool,
        watch: Watch,
    ) -> anyhow::Result<Self> {
        Self::begin(config, pace, store, with_alerts, watch, None)
    }

    fn begin(
        config: &Config,
        pace: Pace,
        store: Option<&Store>,
        with_alerts: bool,
        watch: Watch,
        models: Option<Vec<Release>>,
    ) -> anyhow::Result<Self> {
        let instruments = Arc::new(Instruments::default());
        let context = ParseContext {
            instruments: Arc::clone(&instruments),
            skew_ms_max: i64::try_from(config.time.skew_ms_max).unwrap_or(i64::MAX),
        };
        let parsers: engine::ParserFactory = Arc::new(move |venue| parser_for(venue, context.clone()));
        let mut settings = settings(config, pace);
        if models.is_none() {
            settings.views.regimes.timeframes.clear();
        }
        let models = models.unwrap_or_default();
        let Engine { input, mut collector, running } = engine::start(settings, Arc::clone(&instruments), parsers, models)?;

        let options = if pace == Pace::Live { WriterOptions::live() } else { WriterOptions::bulk() };
        let writer = store.map(|store| store.writer(Arc::clone(&instruments), options));
        let (edge, from_edge) = crossbeam_channel::unbounded(); // bounded by the couriers' queues and the feeds' reconnects
        let couriers = Arc::new(if with_alerts { couriers(config, &edge)? } else { Vec::new() });

        let mut keeper = Keeper {
            announcer: Announcer::new(instruments),
            couriers: Arc::clone(&couriers),
            writer: writer.clone(),
            from_edge,
            pace,
            watch,
            kept: Kept::default(),
        };
        let keep = move || {
            while let Some(quantum) = collector.next_quantum() {
                keeper.keep(quantum)?;
            }
            Ok((keeper.kept, keeper.from_edge))
        };
        let keeper = std::thread::Builder::new().name("keeper".into()).spawn(keep).context("starting the keeper's thread")?;
        Ok(Self { input, running, keeper, couriers, edge, writer })
    }

    /// Where the edge's own rows (gaps) go.
    #[must_use]
    pub fn edge(&self) -> Sender<EdgeRow> {
        self.edge.clone()
    }

    /// The keeper has stopped before its time: the store failed. [`Self::finish`] says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.keeper.is_finished()
    }

    /// What became of frames so far.
    #[must_use]
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.running.accounts)
    }

    /// Ends the input, waits until everything is computed, delivered and stored.
    ///
    /// # Errors
    /// If a worker died or the store refused rows for good.
    pub async fn finish(self) -> anyhow::Result<Summary> {
        let Self { input, running, keeper, couriers, edge, writer } = self;
        let (accounts, counters) = (Arc::clone(&running.accounts), Arc::clone(&running.counters));
        input.finish();
        let (kept, worked) = tokio::task::spawn_blocking(move || (keeper.join(), running.join())).await?;
        worked?;
        let (kept, from_edge) = match kept {
            Ok(kept) => kept?,
            Err(_) => anyhow::bail!("the keeper's thread died"),
        };
        let mut undelivered = 0;
        for courier in Arc::into_inner(couriers).into_iter().flatten() {
            undelivered += courier.drain(DRAIN_MAX).await;
        }
        drop(edge);
        if let Some(writer) = writer {
            let rest: Vec<EdgeRow> = from_edge.try_iter().collect();
            if !rest.is_empty() {
                let known_at = u64::try_from(clock::now_ms()).unwrap_or_default();
                writer.push(Quantum { known_at, changes: Vec::new(), edge: rest }).await?;
            }
            writer.flush().await?;
        }
        Ok(Summary { kept, accounts, counters, undelivered })
    }
}

struct Keeper {
    announcer: Announcer,
    couriers: Arc<Vec<Courier>>,
    writer: Option<Writer>,
    from_edge: Receiver<EdgeRow>,
    pace: Pace,
    watch: Watch,
    kept: Kept,
}

impl Keeper {
    fn keep(&mut self, mut quantum: Quantum) -> anyhow::Result<()> {
        let events = self.announcer.observe(&mut quantum);
        quantum.edge.extend(self.from_edge.try_iter());
        self.count(&quantum, &events);
        (self.watch)(&quantum);
        if let Some(writer) = &self.writer {
            writer.push_blocking(quantum)?;
        }
        events.iter().for_each(|event| self.send(event));
        Ok(())
    }

    fn send(&self, event: &Event) {
        for courier in self.couriers.iter() {
            // A replay makes a month's alerts in seconds: it waits for the receiver. A live run must not, and the courier lists what it refuses.
            while let Err(Refused::Full { .. }) = courier.enqueue(event) {
                if self.pace == Pace::Live {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn count(&mut self, quantum: &Quantum, events: &[Event]) {
        self.kept.quanta += 1;
        for event in events {
            *self.kept.events.entry((event.event_type.as_str(), event.status.as_str())).or_default() += 1;
        }
        let refused = quantum.edge.iter().filter_map(|row| if let EdgeRow::Rejected(row) = row { Some(row) } else { None });
        let room = REJECTED_SHOWN_MAX - self.kept.rejected.len();
        self.kept.rejected.extend(refused.take(room).cloned());
        for changes in &quantum.changes {
            let (view, count, net) = changes.size();
            *self.kept.changes.entry(view).or_default() += count as u64;
            *self.kept.rows.entry(view).or_default() += net as i64;
        }
    }
}

/// The engine's settings out of the configuration's.
#[must_use]
pub fn settings(config: &Config, pace: Pace) -> engine::Settings {
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX / 4);
    let threshold = |t: &config::Threshold| views::Threshold::usd(t.minimum_usd, t.critical_usd_per_hour);
    let (cascades, volatility, zones) = (&config.views.cascades, &config.views.volatility, &config.views.support_zones);
    let (funding, interest) = (&config.views.funding, &config.views.open_interest);
    engine::Settings {
        workers: config.engine.workers,
        quantum_ms: config.time.quantum_ms.unwrap_or(if pace == Pace::Live { 20 } else { 1_000 }),
        idle_ms: config.time.idle_ms,
        // Without the check of skew, old frames are replayed live: no arrival to compare with.
        ahead_ms_max: if config.time.skew_ms_max == 0 { i64::MAX } else { integer(config.time.ahead_ms_max) },
        views: views::Config {
            lateness_ms: integer(config.time.lateness_ms),
            correction_horizon_ms: integer(config.time.correction_horizon_ms),
            venue_lag_ms_max: integer(config.time.venue_lag_ms_max),
            open_bars_every_ms: config.views.open_bars_every_ms,
            features_timeframes: config.views.features_timeframes.iter().map(|&timeframe| timeframe.into()).collect(),
            cascades: views::Cascades {
                mode: match cascades.mode {
                    config::CascadeMode::Absolute => views::CascadeMode::Absolute,
                    config::CascadeMode::Adaptive => views::CascadeMode::Adaptive,
                    config::CascadeMode::Both => views::CascadeMode::Both,
                },
                adaptive: views::Adaptive {
                    quantile: cascades.adaptive.quantile,
                    days: integer(cascades.adaptive.days),
                    known_days_min: integer(cascades.adaptive.known_days_min),
                    heard_min: cascades.adaptive.heard_min,
                },
                self_excitation: views::SelfExcitation {
                    events_min: usize::try_from(cascades.self_excitation.events_min).unwrap_or(usize::MAX),
                    feeding_ratio: cascades.self_excitation.feeding_ratio,
                },
                market: views::MarketCascades {
                    assets_min: usize::try_from(cascades.market.assets_min).unwrap_or(usize::MAX),
                    within_secs: integer(cascades.market.within_secs),
                },
                thresholds: [threshold(&cascades.m5), threshold(&cascades.h1), threshold(&cascades.h4)],
                side_bias_share: cascades.side_bias_share,
                end_after_secs: integer(cascades.end_after_secs),
            },
            volatility: views::Volatility {
                mode: match volatility.mode {
                    config::VolatilityMode::Absolute => views::VolatilityMode::Absolute,
                    config::VolatilityMode::Adaptive => views::VolatilityMode::Adaptive,
                },
                boundaries: volatility.boundaries,
                hysteresis: volatility.hysteresis,
                ewma_half_life_minutes: volatility.ewma_half_life_minutes,
                coverage_min: volatility.coverage_min,
                quantiles: volatility.quantiles,
                adaptive_hysteresis: volatility.adaptive_hysteresis,
                history_days: integer(volatility.history_days),
                history_days_min: integer(volatility.history_days_min),
            },
            support_zones: views::SupportZones {
                window_minutes: i64::from(zones.window_hours) * 60,
                bucket_bps: zones.bucket_bps,
                quantile_ppm: (zones.quantile * 1e6).round() as u32,
                zones_max: zones.zones_max,
                leave_bps: zones.leave_bps,
            },
            funding: views::Funding {
                anomaly_z: funding.anomaly_z,
                anomaly_deviation_min: views::rate(funding.anomaly_deviation_min),
                change_max: views::rate(funding.change_max),
                clear_z: funding.clear_z,
                deviation_z: funding.deviation_z,
                scale_floor: funding.scale_floor,
                reversal_min: views::rate(funding.reversal_min),
                reversal_minutes: integer(funding.reversal_minutes),
                high_volatility_quantile: funding.high_volatility_quantile,
                minutes_min: integer(funding.minutes_min),
                hours_min: integer(funding.hours_min),
                settlements_min: integer(funding.settlements_min),
            },
            open_interest: views::OpenInterest {
                quadrant_interest_min: interest.quadrant_interest_min,
                quadrant_price_min: interest.quadrant_price_min,
                shock_drop: interest.shock_drop,
            },
            regimes: config.views.regimes.settings(),
            correlation: config.views.correlation.settings(),
            lead_lag: config.views.lead_lag.settings(),
        },
    }
}

/// One courier a webhook; each attempt becomes a row of `deliveries`.
fn couriers(config: &Config, edge: &Sender<EdgeRow>) -> anyhow::Result<Vec<Courier>> {
    config.webhooks.iter().map(|webhook| courier(webhook, edge.clone())).collect()
}

fn courier(webhook: &config::Webhook, edge: Sender<EdgeRow>) -> anyhow::Result<Courier> {
    let mut secrets = Vec::new();
    if let Some(path) = &webhook.secret_file {
        secrets.push(Secret::from_file(path)?);
    }
    if let Some(name) = &webhook.secret_env {
        secrets.push(Secret::from_env(name)?);
    }
    let channel = deliver::Webhook::new(&webhook.name, &webhook.url, secrets)?;
    let event_types = webhook.event_types.iter().filter_map(|name| EventType::from_name(name)).collect();
    let options = Options { event_types, ..Options::default() };
    let on_attempt = Arc::new(move |attempt: deliver::Attempt| {
        let row = EdgeRow::Delivery(DeliveryRow {
            alert_id: format!("{}_{}", attempt.event_id, attempt.status.as_str()),
            channel: attempt.channel,
            attempt: attempt.attempt,
            sent_at: attempt.sent_at_ms,
            result: attempt.result.as_str().to_owned(),
            http_status: attempt.http_status,
            latency_ms: attempt.latency_ms,
            reason: attempt.reason,
            known_at: u64::try_from(clock::now_ms()).unwrap_or_default(),
        });
        let _ = edge.send(row); // the keeper is gone only when the run is being torn down
    });
    Ok(Courier::start(channel, options, Arc::new(clock::now_ms), on_attempt))
}
