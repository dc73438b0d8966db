//! `regimeflow model promote` and `rollback`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{Time, shown};
use super::{Failure, print, print_json};
use crate::cli::{EX_DATA, EX_IO, EX_TRY_AGAIN, EX_UNAVAILABLE, read_config};
use crate::clock;
use crate::model_dir::Entry;
use crate::model_dir::promotion::{self, PromotionError};
use crate::model_dir::shelf::ShelfError;

/// A promotion that is written now reaches a run that is going on before the bar begins.
pub(super) const NOTICE_MS: i64 = 15_000;

/// Arguments of `model promote`.
#[derive(Debug, clap::Args)]
pub struct PromoteArgs {
    /// The model's name.
    name: String,
    /// Which version.
    version: u32,
    /// It speaks from the first bar on that opens at or after this time [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// Whatever its figures say.
    #[arg(long)]
    force: bool,
    /// Configuration whose section [training] has the bounds; without it the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A directory of models.
    #[arg(long, value_name = "DIR", default_value = "regimeflow-models")]
    models: PathBuf,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Arguments of `model rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The model's name.
    name: String,
    /// The version before speaks from the first bar on that opens at or after this time [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// A directory of models.
    #[arg(long, value_name = "DIR", default_value = "regimeflow-models")]
    models: PathBuf,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs `promote`.
pub(super) fn promote(args: &PromoteArgs) -> anyhow::Result<ExitCode> {
    let bounds = read_config(args.config.as_deref())?.training.bounds();
    let bounds = (!args.force).then_some(&bounds);
    told(promotion::promote(&args.models, &args.name, args.version, time(args.at), bounds), args.json)
}

/// Runs `rollback`.
pub(super) fn roll_back(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    told(promotion::roll_back(&args.models, &args.name, time(args.at)), args.json)
}

fn time(at: Option<Time>) -> i64 {
    at.map_or_else(|| clock::now_ms() + NOTICE_MS, |time| time.0)
}

fn told(made: Result<Entry, PromotionError>, json: bool) -> anyhow::Result<ExitCode> {
    let entry = made.map_err(|error| {
        let code = match &error {
            PromotionError::Shelf(ShelfError::Busy(_)) => EX_TRY_AGAIN,
            PromotionError::Shelf(_) => EX_IO,
            PromotionError::OutOfBounds { .. } => EX_UNAVAILABLE,
            _ => EX_DATA,
        };
        Failure { code, message: error.to_string() }
    })?;
    if json {
        print_json(&entry)?;
    } else {
        let (symbols, timeframe) = (entry.symbols.join(" "), &entry.timeframe);
        print(&format!("{} speaks of {symbols} {timeframe} from the bar of {} on\n", entry.id(), shown(entry.active_from)))?;
    }
    Ok(ExitCode::SUCCESS)
}
