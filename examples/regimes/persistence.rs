//! Walk forward with Gaussian and Student-t models of two and three states: train, test on what came next, advance.
//!
//! All four see the same folds. Two sets of features: the return alone, as the literature has it, and `trend`, which the program's models
//! read by default; everything else is as `model fit` has it. Likelihoods compare inside one set of features only.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::model::{Changes, DAY_MS, HOUR_MS, InstrumentId, Real, Timeframe, Venue};
use hmm::EvaluatedFold;
use regimeflow::app::{Extras, Pace, Pipeline};
use regimeflow::config::Config;
use regimeflow::simulate::{Batches, Settings as Market, Truth};
use regimeflow::store::Quantum;
use regimeflow::training::bar_files::BarFile;
use regimeflow::training::{Emissions, Rows, Series, Settings, bars_per_year, feature_names, parallel};

use crate::{bar_files, threads};

pub const EXPLAINED: &str = "\
Walk forward: train, test on what came next, advance by the test; all folds of all symbols together.
stays: probability of staying in the state from one bar to the next, over the chain's stationary distribution; lasts: what follows
from it. switches: of the decided state (Schmitt trigger, as live) on the tested bars. logL: nats per bar. best: folds in which
the model explained the tested bars best of the four.
";

const MODELS: [(&str, Emissions, usize); 4] = [
    ("Gaussian-2", Emissions::Gaussian, 2),
    ("Gaussian-3", Emissions::Gaussian, 3),
    ("t-2", Emissions::Student, 2),
    ("t-3", Emissions::Student, 3),
];
const FEATURE_SETS: [&str; 2] = ["log_return", "trend"];
/// Days of the simulated market.
const DAYS: i64 = 60;

/// The simulated market through the pipeline; features are those of the view.
pub fn simulated() -> Result<(), Box<dyn Error>> {
    let market = Market { venues: vec![Venue::BinanceUsdm], minutes: DAYS * 1_440, mark_interval_secs: 60, ..Market::default() };
    let symbols = market.symbols;
    let frames = [Timeframe::M15, Timeframe::H1];
    let (series, truth) = tokio::runtime::Runtime::new()?.block_on(features_of(market, frames))?;
    let runs: Vec<f64> = truth.regimes.iter().map(|run| (run.to_ts - run.from_ts) as f64 / HOUR_MS as f64).collect();
    println!(
        "Simulated market, {symbols} symbols, {DAYS} days; 40 to train, 5 to test. Its true regimes (calm, normal, turbulent, each with or \
         without a symbol's own agitation) last {:.1} h in the mean",
        runs.iter().sum::<f64>() / runs.len() as f64
    );
    for frame in frames {
        let of_frame: Vec<&Series> = series.values().filter(|series| series.timeframe == frame).collect();
        walk(&of_frame, frame, 40 * DAY_MS, 5 * DAY_MS)?;
    }
    Ok(())
}

/// Recorded hourly bars of every symbol in a folder, and 4h bars made of them.
pub fn recorded(folder: &Path) -> Result<(), Box<dyn Error>> {
    let files = bar_files(folder)?;
    let files = files.iter().map(|(symbol, path)| BarFile::read(path, symbol)).collect::<Result<Vec<_>, _>>()?;
    for (frame, train_days) in [(Timeframe::H1, 365), (Timeframe::H4, 730)] {
        let series = files.iter().map(|file| file.series(frame)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = series.iter().map(|series| series.symbol.as_str()).collect();
        println!("Recorded bars of {}; {train_days} days to train, 91 to test", names.join(", "));
        walk(&series.iter().collect::<Vec<_>>(), frame, train_days * DAY_MS, 91 * DAY_MS)?;
    }
    Ok(())
}

/// Features by symbol and frame, as the pipeline's view said them in the end.
type ByKey = BTreeMap<(InstrumentId, Timeframe), Series>;

async fn features_of(market: Market, frames: [Timeframe; 2]) -> Result<(ByKey, Truth), Box<dyn Error>> {
    let said: Arc<Mutex<BTreeMap<_, _>>> = Arc::default();
    let watched = Arc::clone(&said);
    let watch = Box::new(move |quantum: &Quantum| {
        let mut said = watched.lock().unwrap_or_else(PoisonError::into_inner);
        for changes in &quantum.changes {
            let Changes::Features(changes) = changes else { continue };
            let mut changes: Vec<_> = changes.iter().filter(|(row, _, _)| frames.contains(&row.timeframe)).collect();
            changes.sort_by_key(|(_, _, diff)| *diff); // a correction takes away before it adds
            for (row, _, diff) in changes {
                let key = (row.instrument, row.timeframe, row.ts);
                if *diff > 0 {
                    said.insert(key, row.values)
                } else {
                    said.remove(&key)
                };
            }
        }
    });
    let extras = Extras { watch: Some(watch), ..Extras::default() };
    let mut pipeline = Pipeline::start(&Config::default(), Pace::Replay, None, extras)?;
    let (pipeline, truth) = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let mut frames = Batches::new(market, 2_048).map_err(|error| error.to_string())?;
        for batch in frames.by_ref() {
            if !pipeline.input.push(batch.map_err(|error| error.to_string())?) {
                break; // finishing says why
            }
        }
        let truth = frames.truth();
        Ok((pipeline, truth))
    })
    .await??;
    pipeline.finish().await?;
    let mut series = ByKey::new();
    for (&(instrument, frame, ts), values) in said.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let name = || Series::new(&format!("instrument {}", instrument.0), frame);
        let series = series.entry((instrument, frame)).or_insert_with(name);
        series.ts.push(ts);
        series.values.push(values.map(|value| value.map_or(f64::NAN, |Real(value)| value)));
    }
    Ok((series, truth))
}

/// The four models over the same folds of all series, for each set of features; prints the table.
fn walk(series: &[&Series], frame: Timeframe, train_ms: i64, test_ms: i64) -> Result<(), Box<dyn Error>> {
    let bars = |span: i64| (span / frame.ms()) as usize;
    println!(
        "{:<7}{:<12}{:<12}{:>7}{:>9}{:<13}{:>15}{:>14}{:>14}{:>12}",
        "frame", "features", "model", "stays", "lasts", "", "switches/year", "logL trained", "logL tested", "best"
    );
    for features in FEATURE_SETS {
        let names = feature_names(features)?;
        let rows = series.iter().map(|series| series.rows(&names)).collect::<Result<Vec<Rows>, _>>()?;
        let jobs: Vec<(usize, &Rows)> = (0..MODELS.len()).flat_map(|model| rows.iter().map(move |rows| (model, rows))).collect();
        let mut folds: Vec<Vec<EvaluatedFold>> = vec![Vec::new(); jobs.len()];
        let mut failed = None;
        let fit = |&(model, rows): &(usize, &Rows)| {
            let (_, emissions, states) = MODELS[model];
            let settings = Settings { states, emissions, ..Settings::new(names.clone()) };
            settings.walk(bars(train_ms), bars(test_ms)).run(&settings.config(), rows.values.view(), &rows.returns, |_| {})
        };
        parallel::run(&jobs, threads(), fit, |job, answer| match answer {
            Ok(of_one) => folds[job] = of_one,
            Err(error) => failed = Some(error),
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let by_model: Vec<Vec<EvaluatedFold>> = folds.chunks(rows.len()).map(|of_model| of_model.concat()).collect();
        for (model, (name, ..)) in MODELS.iter().enumerate() {
            println!("{:<7}{features:<12}{name:<12}{}", frame.as_str(), line(&by_model, model, frame)?);
        }
    }
    println!();
    Ok(())
}

fn line(by_model: &[Vec<EvaluatedFold>], model: usize, frame: Timeframe) -> Result<String, hmm::HmmError> {
    let folds = &by_model[model];
    let count = folds.len() as f64;
    let mut leaves = 0.0;
    for fold in folds {
        leaves += 1.0 - (fold.model.stationary()? * fold.model.transition().diag()).sum();
    }
    let lasts = count / leaves;
    let tested: usize = folds.iter().map(|fold| fold.rows.test.len()).sum();
    let switches: usize = folds.iter().map(|fold| fold.switches).sum();
    let mean = |of: fn(&EvaluatedFold) -> f64| folds.iter().map(of).sum::<f64>() / count;
    let is_best = |at: usize| by_model.iter().all(|other| folds[at].log_likelihood_per_row >= other[at].log_likelihood_per_row);
    Ok(format!(
        "{:>7.4}{:>9.1}{:<13}{:>15.0}{:>14.4}{:>14.4}{:>12}",
        1.0 - leaves / count,
        lasts,
        format!(" bars, {:.1} d", lasts * frame.ms() as f64 / DAY_MS as f64),
        switches as f64 / tested as f64 * bars_per_year(frame),
        mean(|fold| fold.training_log_likelihood_per_row),
        mean(|fold| fold.log_likelihood_per_row),
        format!("{} of {}", (0..folds.len()).filter(|&at| is_best(at)).count(), folds.len()),
    ))
}
