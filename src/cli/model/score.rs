//! `regimeflow model score`.

use std::path::PathBuf;
use std::process::ExitCode;

use hmm::Observations;
use serde::Serialize;

use super::args::{Time, Wanted, shown};
use super::data::{DataArgs, Source};
use super::{Failure, print, print_json, report};
use crate::cli::{EX_DATA, EX_USAGE};
use crate::model_dir::{self, Entry, Listing, promotion};
use crate::training::{Rows, Settings, bars_per_year};

/// Bars before the range, over which filters find their feet.
pub(super) const WARM_UP_BARS: i64 = 256;

/// Arguments of `model score`.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// Models: NAME.vN, or NAME for the active (or else newest) version. Those that read the same features compare.
    #[arg(required = true)]
    names: Vec<Wanted>,
    #[command(flatten)]
    data: DataArgs,
    /// A directory of models.
    #[arg(long, value_name = "DIR", default_value = "regimeflow-models")]
    models: PathBuf,
    /// From the bar on that opens at or after this time [default: after the training range].
    #[arg(long, value_name = "TIME")]
    from: Option<Time>,
    /// Bars that open before this time [default: all].
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Score {
    model: String,
    symbol: String,
    timeframe: String,
    from: i64,
    to: i64,
    bars: usize,
    /// Bars of its own training among them.
    trained_on: usize,
    log_likelihood_per_bar: f64,
    switches: usize,
    switches_per_year: f64,
}

/// Runs the command.
pub(super) async fn run(args: ScoreArgs) -> anyhow::Result<ExitCode> {
    let listing = model_dir::read_listing(&args.models)?;
    let source = args.data.open().await?;
    let mut scores = Vec::new();
    for wanted in &args.names {
        let entry = find(&listing, wanted)?;
        for symbol in &entry.symbols {
            scores.push(score(&args, &source, entry, symbol).await?);
        }
    }
    source.close().await?;
    if args.json {
        print_json(&scores)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = scores.iter().map(|score| {
        vec![
            score.model.clone(),
            score.symbol.clone(),
            score.timeframe.clone(),
            format!("{} – {}", shown(score.from), shown(score.to)),
            report::grouped(score.bars as i128),
            report::grouped(score.trained_on as i128),
            format!("{:.4}", score.log_likelihood_per_bar),
            format!("{:.0}", score.switches_per_year),
        ]
    });
    let header = ["model", "symbol", "frame", "bars that open", "bars", "trained on", "logL/bar", "switches/year"];
    print(&format!("{}\n", report::table(&header, rows)))?;
    Ok(ExitCode::SUCCESS)
}

async fn score(args: &ScoreArgs, source: &Source, entry: &Entry, symbol: &str) -> anyhow::Result<Score> {
    let file = model_dir::read_file(&args.models, &entry.id())?;
    let trained = file.training.as_ref().map(|training| (training.from_ms, training.to_ms));
    let from = args.from.map(|time| time.0).or_else(|| trained.map(|(_, to)| to + 1)).unwrap_or(0);
    let rows = rows(source, entry, symbol, &file.features, from, args.until.map(|time| time.0)).await?;
    let first = rows.ts.partition_point(|&ts| ts < from);
    let bars = rows.len() - first;
    if bars == 0 {
        let message = format!("{} {symbol}: no bar opens from {} on; give --from, or take newer data", entry.id(), shown(from));
        return Err(Failure { code: EX_DATA, message }.into());
    }
    let model = file.in_feature_units()?;
    let model = model.started_stationary().unwrap_or(model);
    let walk = Settings::new(file.features.clone()).walk(1, 1);
    let (log_likelihood, switches) = walk.live(&model, &Observations::new(rows.values.view())?, first)?;
    let known = |ts: &&i64| trained.is_some_and(|(from, to)| (from..=to).contains(*ts));
    Ok(Score {
        model: entry.id().to_string(),
        symbol: symbol.to_owned(),
        timeframe: entry.timeframe.clone(),
        from: rows.ts[first],
        to: rows.ts[rows.len() - 1],
        bars,
        trained_on: rows.ts[first..].iter().filter(known).count(),
        log_likelihood_per_bar: log_likelihood / bars as f64,
        switches,
        switches_per_year: switches as f64 / bars as f64 * bars_per_year(rows.timeframe),
    })
}

/// The rows that open in [from, until), and those before over which a filter finds its feet.
pub(super) async fn rows(
    source: &Source,
    entry: &Entry,
    symbol: &str,
    features: &[String],
    from: i64,
    until: Option<i64>,
) -> anyhow::Result<Rows> {
    let timeframe = super::args::timeframe(&entry.timeframe).map_err(|message| Failure { code: EX_DATA, message })?;
    let targets = source.targets(&[symbol.to_owned()], &[timeframe]).await?;
    let target = targets.first().ok_or_else(|| Failure { code: EX_DATA, message: format!("there is nothing of {symbol}") })?;
    let begin = from.saturating_sub(WARM_UP_BARS * timeframe.ms());
    let series = source.series(target, Some(begin), until, None, usize::MAX).await?;
    series.rows(features).map_err(|error| Failure { code: EX_DATA, message: error.to_string() }.into())
}

/// The entry of a version: the one asked for, else the active one, else the newest.
pub(super) fn find<'a>(listing: &'a Listing, wanted: &Wanted) -> Result<&'a Entry, Failure> {
    let of_name = || listing.releases.iter().filter(|entry| entry.model == wanted.name);
    let version = wanted.version.or_else(|| {
        let speaks = |entry: &&Entry| {
            entry.symbols.iter().any(|s| promotion::active(listing, s, &entry.timeframe).is_some_and(|a| a.id() == entry.id()))
        };
        of_name().find(speaks).or_else(|| of_name().max_by_key(|entry| entry.version)).map(|entry| entry.version)
    });
    let found = version.and_then(|version| of_name().find(|entry| entry.version == version));
    found.ok_or_else(|| {
        let mut known: Vec<String> = listing.releases.iter().map(|entry| entry.id().to_string()).collect();
        known.sort_unstable();
        known.dedup();
        known.truncate(20);
        let asked = wanted.version.map_or_else(|| wanted.name.clone(), |version| wanted.id(version).to_string());
        Failure { code: EX_USAGE, message: format!("models.json lists no {asked}; there are {}", known.join(", ")) }
    })
}
