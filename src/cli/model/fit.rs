//! `regimeflow model fit`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::ValueEnum;
use dataflows::model::Timeframe;
use dataflows::models::Status;
use hmm::CovarianceKind;
use serde_json::{Value, json};

use super::args::{Span, Time, timeframe};
use super::data::{DataArgs, Source, Target};
use super::place::NOTICE_MS;
use super::{Failure, print, print_json, report, walk};
use crate::cli::{EX_DATA, EX_USAGE};
use crate::model_dir::promotion::{self, Bounds};
use crate::model_dir::shelf::{self, New};
use crate::model_dir::{self, Entry};
use crate::training::live::listing_if_any;
use crate::training::{self, Emissions, Fitted, Known, Series, Settings, feature_names, parallel};

/// Series in memory at once.
const BATCH: usize = 64;

/// Arguments of `model fit`.
#[derive(Debug, clap::Args)]
pub struct FitArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Where models go: models.json and a file for each version.
    #[arg(long, value_name = "DIR", default_value = "regimeflow-models")]
    models: PathBuf,
    /// Symbols; `*` and `?` stand for others. One model for each.
    #[arg(long, value_name = "GLOB", value_delimiter = ',', default_value = "*")]
    symbols: Vec<String>,
    /// Time frames; one model for each.
    #[arg(long, value_delimiter = ',', default_value = "4h", value_parser = timeframe)]
    timeframes: Vec<Timeframe>,
    /// trend, classic, or names of columns of the view `features` with commas.
    #[arg(long, default_value = "trend")]
    features: String,
    /// Hidden states.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    states: u8,
    /// The distribution in a state.
    #[arg(long, value_enum, default_value = "t")]
    emissions: EmissionsArg,
    /// The shape of covariances.
    #[arg(long, value_enum, default_value = "diagonal")]
    covariance: CovarianceArg,
    /// Prior counts of staying, for each state.
    #[arg(long, value_name = "COUNTS", default_value_t = 20.0)]
    sticky: f64,
    /// Starts of each fit.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    starts: u32,
    /// Of everything random: the same data and seed give the same bytes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Market time that is trained on, up to the last bar.
    #[arg(long, default_value = "2y")]
    window: Span,
    /// At most so many bars, the last ones.
    #[arg(long, default_value_t = 20_000)]
    bars_max: usize,
    /// Bars that open before this time [default: all].
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// The models' names; {symbol} and {timeframe} are filled in.
    #[arg(long, default_value = "{symbol}-{timeframe}")]
    name: String,
    /// Promote each that is within the default bounds.
    #[arg(long, conflicts_with = "walk_forward")]
    promote: bool,
    /// They count (as candidates, or promoted) from the first bar on that opens at or after this time [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// Threads that fit [default: one a processor].
    #[arg(long)]
    threads: Option<usize>,
    /// Write no model: train, test and advance over the past, and tell how refits agree.
    #[arg(long)]
    walk_forward: bool,
    /// Walk forward: market time of each training.
    #[arg(long, default_value = "2y", requires = "walk_forward")]
    train: Span,
    /// Walk forward: market time of each test, and of each step.
    #[arg(long, default_value = "1q", requires = "walk_forward")]
    step: Span,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EmissionsArg {
    Gaussian,
    T,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CovarianceArg {
    Diagonal,
    Full,
    Tied,
}

impl FitArgs {
    fn settings(&self) -> Result<Settings, Failure> {
        let usage = |message: String| Failure { code: EX_USAGE, message };
        let features = feature_names(&self.features).map_err(|error| usage(format!("--features: {error}")))?;
        if !(self.sticky >= 0.0 && self.sticky.is_finite()) {
            return Err(usage(format!("--sticky is {}; it must be 0 or above", self.sticky)));
        }
        Ok(Settings {
            states: usize::from(self.states),
            covariance: match self.covariance {
                CovarianceArg::Diagonal => CovarianceKind::Diagonal,
                CovarianceArg::Full => CovarianceKind::Full,
                CovarianceArg::Tied => CovarianceKind::Tied,
            },
            emissions: match self.emissions {
                EmissionsArg::Gaussian => Emissions::Gaussian,
                EmissionsArg::T => Emissions::Student,
            },
            sticky: self.sticky,
            starts: self.starts as usize,
            seed: self.seed,
            ..Settings::new(features)
        })
    }

    /// From when on models count, UTC ms.
    fn from(&self) -> i64 {
        self.at.map_or_else(|| crate::clock::now_ms() + NOTICE_MS, |time| time.0)
    }

    fn name_of(&self, target: &Target) -> String {
        self.name.replace("{symbol}", target.symbol()).replace("{timeframe}", target.timeframe().as_str())
    }

    /// Every target has a name of its own, which can name a file.
    fn check_names(&self, targets: &[Target]) -> Result<(), Failure> {
        let usage = |message: String| Failure { code: EX_USAGE, message };
        let mut names: Vec<String> = targets.iter().map(|target| self.name_of(target)).collect();
        for name in &names {
            shelf::check_name(name).map_err(|error| usage(format!("--name: {error}")))?;
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(usage(format!(
                "--name: {} models would all be called {}; put {{symbol}} and {{timeframe}} into it",
                targets.len(),
                pair[0]
            ))),
            None => Ok(()),
        }
    }
}

/// What became of all targets.
#[derive(Default)]
struct Outcome {
    fitted: Vec<Entry>,
    /// Model, and why it isn't promoted; `None`: it is.
    promoted: Vec<(String, Option<String>)>,
    /// Target and reason.
    failed: Vec<(String, String)>,
}

/// Runs the command.
pub(super) async fn run(args: FitArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let begun = Instant::now();
    let source = args.data.open().await?;
    let targets = source.targets(&args.symbols, &args.timeframes).await?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    if args.walk_forward {
        let spans = (args.train.0, args.step.0);
        return walk::run(source, &targets, &settings, spans, args.until.map(|t| t.0), threads, args.json).await;
    }
    args.check_names(&targets)?;
    let bar = report::progress(targets.len() as u64, "{bar:40} {pos} of {len} models {msg} {eta}");
    let mut outcome = Outcome::default();
    for batch in targets.chunks(BATCH) {
        fit_batch(&args, &settings, &source, batch, threads, &mut outcome, &bar).await?;
    }
    bar.finish_and_clear();
    source.close().await?;
    let code = if outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EX_DATA) };
    tell(&args, &outcome, begun.elapsed().as_secs_f64())?;
    Ok(code)
}

/// One target's data, and the model that speaks of it.
type Job = (Series, Option<Known>);

async fn fit_batch(
    args: &FitArgs,
    settings: &Settings,
    source: &Source,
    targets: &[Target],
    threads: usize,
    outcome: &mut Outcome,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<()> {
    let listing = listing_if_any(&args.models)?;
    let mut jobs: Vec<Job> = Vec::with_capacity(targets.len());
    for target in targets {
        let series = source.series(target, None, args.until.map(|time| time.0), Some(args.window.0), args.bars_max).await?;
        let active = promotion::active(&listing, target.symbol(), target.timeframe().as_str());
        let known = active.map(|entry| known(args, entry)).transpose()?;
        jobs.push((series, known));
    }
    let mut answers: Vec<Option<Result<Fitted, training::TrainingError>>> = (0..jobs.len()).map(|_| None).collect();
    tokio::task::block_in_place(|| {
        let fit = |(series, known): &Job| training::fit(&series.rows(&settings.features)?, settings, known.as_ref());
        parallel::run(&jobs, threads, fit, |at, answer| {
            answers[at] = Some(answer);
            bar.inc(1);
        });
    });
    let mut new = Vec::new();
    for (target, answer) in targets.iter().zip(answers) {
        match answer {
            Some(Ok(Fitted { file, evaluation })) => new.push(New { file, entry: candidate(args, target, evaluation) }),
            Some(Err(error)) => {
                outcome.failed.push((format!("{} {}", target.symbol(), target.timeframe().as_str()), error.to_string()))
            }
            None => {} // its thread panicked, and so would this one have
        }
    }
    let entries = shelf::publish(&args.models, new)?;
    if args.promote {
        let at = args.from();
        for entry in &entries {
            let promoted = promotion::promote(&args.models, &entry.model, entry.version, at, Some(&Bounds::default()));
            outcome.promoted.push((entry.id().to_string(), promoted.err().map(|error| error.to_string())));
        }
    }
    outcome.fitted.extend(entries);
    Ok(())
}

fn candidate(args: &FitArgs, target: &Target, evaluation: model_dir::Evaluation) -> Entry {
    Entry {
        model: args.name_of(target),
        version: 0,
        symbols: vec![target.symbol().to_owned()],
        timeframe: target.timeframe().as_str().to_owned(),
        status: Status::Candidate,
        active_from: promotion::next_opening(target.timeframe().as_str(), args.from().max(evaluation.trained_to + 1)),
        evaluation: Some(evaluation),
    }
}

fn known(args: &FitArgs, entry: &Entry) -> anyhow::Result<Known> {
    Ok(Known { name: entry.id().to_string(), file: model_dir::read_file(&args.models, &entry.id())? })
}

fn tell(args: &FitArgs, outcome: &Outcome, seconds: f64) -> anyhow::Result<()> {
    if args.json {
        let failed: Vec<Value> =
            outcome.failed.iter().map(|(target, reason)| json!({"target": target, "reason": reason})).collect();
        let promoted: Vec<Value> = outcome
            .promoted
            .iter()
            .map(|(model, refusal)| json!({"model": model, "promoted": refusal.is_none(), "refusal": refusal}))
            .collect();
        return print_json(&json!({"models": outcome.fitted, "promoted": promoted, "failed": failed, "seconds": seconds}));
    }
    let rows = outcome.fitted.iter().filter_map(|entry| Some((entry, entry.evaluation.as_ref()?)));
    let rows = rows.map(|(entry, figures)| {
        vec![
            entry.id().to_string(),
            entry.symbols.join(" "),
            entry.timeframe.clone(),
            report::grouped(figures.bars),
            format!("{:.4}", figures.log_likelihood / figures.bars.max(1) as f64),
            format!("{:.0}", figures.bic),
            format!("{:.4}", figures.oos_log_likelihood_per_bar),
            format!("{:.0}", figures.switches_per_year),
            figures.labels.join(" "),
        ]
    });
    let header = ["model", "symbol", "frame", "bars", "logL/bar", "BIC", "held out logL/bar", "switches/year", "labels"];
    let mut text = format!("{}\n", report::table(&header, rows));
    for (model, refusal) in &outcome.promoted {
        text += &refusal.as_ref().map_or_else(|| format!("{model} is promoted\n"), |refusal| format!("{refusal}\n"));
    }
    text += &format!("{} models in {seconds:.1} s, in {}\n", outcome.fitted.len(), args.models.display());
    print(&text)?;
    for (_, reason) in &outcome.failed {
        eprintln!("regimeflow: no model of {reason}");
    }
    Ok(())
}
