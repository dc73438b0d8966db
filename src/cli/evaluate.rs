//! `regimeflow evaluate`: simulated markets through the real pipeline, in this process and without a store, against their truth.
//!
//! Figures are figures: it ends with 0 whatever they are, unless it could not run. What is counted how: [`crate::evaluate`].

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use alerts::EventType;
use clap::Args;
use dataflows::model::Window;
use serde::Serialize;
use serde_json::json;

use super::{market, print, print_json, report};
use crate::app::{Extras, Pace, Pipeline, settings};
use crate::config::Config;
use crate::evaluate::funding::EVENT_TYPE;
use crate::evaluate::{Confusion, Evaluation, Matches, Observed};
use crate::simulate::Settings;

/// Milliseconds of a quantum.
const QUANTUM_MS: u64 = 1_000;

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// How many markets, each of its own seed.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Simulated days of each.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(i64).range(1..=365))]
    days: i64,
    /// Symbols of each, on two venues.
    #[arg(long, default_value_t = 5)]
    symbols: usize,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// One figure with its target.
#[derive(Debug, Serialize)]
struct Figure {
    what: String,
    value: Option<f64>,
    /// At least (`floor`) or at most (`ceiling`).
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling: Option<f64>,
    /// Whether the target is met; absent without one, or without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
    unit: &'static str,
    of: String,
}

/// Runs the command.
///
/// # Errors
/// A setting outside its limits, or an engine that died.
pub async fn run(args: EvaluateArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut config = Config::default();
    config.time.quantum_ms = Some(QUANTUM_MS);
    let minutes = args.days * 1_440;
    let bar = report::progress(minutes.unsigned_abs() * args.seeds, market::PROGRESS);
    let mut evaluation = Evaluation::default();
    let mut frames = 0;
    for seed in args.first_seed..args.first_seed.saturating_add(args.seeds) {
        let simulated = Settings { seed, symbols: args.symbols, minutes, ..Settings::default() };
        let done = minutes.unsigned_abs() * (seed - args.first_seed);
        let progress = bar.clone();
        let (one, count) = evaluate(&config, simulated, move |minute| progress.set_position(done + minute)).await?;
        evaluation.add(one);
        frames += count;
    }
    bar.finish_and_clear();
    let (figures, seconds) = (figures(&evaluation), started.elapsed().as_secs_f64());
    if args.json {
        let EvaluateArgs { seeds, first_seed, days, symbols, .. } = args;
        print_json(&json!({
            "seeds": seeds, "first_seed": first_seed, "days": days, "symbols": symbols, "quantum_ms": QUANTUM_MS,
            "frames": frames, "seconds": seconds, "figures": figures, "counts": evaluation,
        }))?;
    } else {
        print(&text(&args, &figures, frames, seconds))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One market.
async fn evaluate(
    config: &Config,
    simulated: Settings,
    minute: impl FnMut(u64) + Send + 'static,
) -> anyhow::Result<(Evaluation, u64)> {
    let observed = Arc::new(Mutex::new(Observed::default()));
    let watched = Arc::clone(&observed);
    let watch = Box::new(move |quantum: &_| watched.lock().unwrap_or_else(PoisonError::into_inner).observe(quantum));
    let pipeline = Pipeline::start(config, Pace::Replay, None, Extras { watch: Some(watch), ..Extras::default() })?;
    let (pipeline, truth, frames) = tokio::task::spawn_blocking(move || market::push(simulated, pipeline, minute)).await??;
    pipeline.finish().await?;
    let observed = observed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((Evaluation::of(&truth, &observed, &settings(config, Pace::Replay).views), frames))
}

impl Figure {
    fn new(what: impl Into<String>, value: Option<f64>, unit: &'static str, of: impl Into<String>) -> Self {
        Self { what: what.into(), value, floor: None, ceiling: None, met: None, unit, of: of.into() }
    }

    fn at_least(self, floor: f64) -> Self {
        Self { floor: Some(floor), met: self.value.map(|value| value >= floor), ..self }
    }

    fn at_most(self, ceiling: f64) -> Self {
        Self { ceiling: Some(ceiling), met: self.value.map(|value| value <= ceiling), ..self }
    }

    fn cells(&self) -> Vec<String> {
        let number = |x: f64| if self.unit == "ms" { format!("{x:.0} ms") } else { format!("{x:.3}") };
        let target = match (self.floor, self.ceiling) {
            (Some(floor), _) => format!("≥ {floor}"),
            (_, Some(ceiling)) => format!("≤ {ceiling:.0} ms"),
            _ => String::new(),
        };
        let met = self.met.map_or("", |met| if met { "met" } else { "missed" });
        vec![self.what.clone(), self.value.map_or("none".into(), number), target, met.into(), self.of.clone()]
    }
}

fn figures(evaluation: &Evaluation) -> Vec<Figure> {
    let of_found = |m: Matches| format!("{} of {} planted", m.found, m.planted);
    let of_told = |m: Matches| format!("{} right, {} wrong, {} doubtful", m.right, m.wrong, m.doubtful);
    let m5 = evaluation.of_window(Window::M5);
    let delay_ms_max = QUANTUM_MS as f64 + 100.0;
    let told = evaluation.delays_ms.len();
    let mut figures = vec![
        Figure::new("cascades 5m, recall", m5.recall(), "share", of_found(m5)).at_least(0.95),
        Figure::new("cascades 5m, precision", m5.precision(), "share", of_told(m5)).at_least(0.9),
    ];
    for window in [Window::H1, Window::H4] {
        let (name, matches) = (window.as_str(), evaluation.of_window(window));
        figures.push(Figure::new(format!("cascades {name}, recall"), matches.recall(), "share", of_found(matches)));
        figures.push(Figure::new(format!("cascades {name}, precision"), matches.precision(), "share", of_told(matches)));
    }
    let of_delays = format!("{told} alerts, {} cascades without one", evaluation.untold);
    figures.push(Figure::new("delay to the alert, median", evaluation.delay_ms(0.5), "ms", of_delays).at_most(delay_ms_max));
    figures.push(Figure::new("delay to the alert, p95", evaluation.delay_ms(0.95), "ms", "").at_most(delay_ms_max));
    let regimes =
        [("volatility regime of the minute", &evaluation.regimes), ("volatility regime of 24 h", &evaluation.regimes_24h)];
    for (what, confusion) in regimes {
        let share = |confusion: &Confusion| confusion.total() as f64 / evaluation.minutes.max(1) as f64 * 100.0;
        let of = format!("{:.0} % of {} minutes have a regime", share(confusion), report::grouped(evaluation.minutes));
        figures.push(Figure::new(format!("{what}, accuracy"), confusion.accuracy(), "share", of));
        figures.push(Figure::new(format!("{what}, balanced"), confusion.balanced(), "share", ""));
    }
    let funding = evaluation.funding;
    let is_told = EventType::from_name(EVENT_TYPE).is_some();
    let of_planted = if is_told { of_found(funding) } else { format!("{} planted; this build tells none", funding.planted) };
    figures.push(Figure::new("funding anomalies, recall", funding.recall().filter(|_| is_told), "share", of_planted));
    figures.push(Figure::new("funding anomalies, precision", funding.precision(), "share", of_told(funding)));
    figures
}

fn text(args: &EvaluateArgs, figures: &[Figure], frames: u64, seconds: f64) -> String {
    let table = report::table(&["", "found", "target", "", "of"], figures.iter().map(Figure::cells));
    format!(
        "{} markets (seeds {} to {}) × {} days × {} symbols on 2 venues: {} frames in {seconds:.0} s\n{table}\n",
        args.seeds,
        args.first_seed,
        args.first_seed.saturating_add(args.seeds) - 1,
        args.days,
        args.symbols,
        report::grouped(frames),
    )
}
