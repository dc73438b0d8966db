//! `regimeflow model list`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::args::shown;
use super::{print, print_json, report};
use crate::model_dir::{self, standing};

/// Arguments of `model list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// A directory of models.
    #[arg(long, value_name = "DIR", default_value = "regimeflow-models")]
    models: PathBuf,
    /// Entries too, in the order in which they were made: which version spoke from when on.
    #[arg(long)]
    history: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let listing = model_dir::read_listing(&args.models)?;
    let all = standing::of(&args.models, &listing)?;
    if args.json {
        print_json(&json!({"models": all, "entries": listing.releases}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let number = |value: Option<f64>, digits: usize| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
    let rows = all.iter().map(|row| {
        vec![
            format!("{}.v{}", row.model, row.version),
            row.symbol.clone(),
            row.timeframe.clone(),
            row.status.to_owned(),
            row.active_from.map_or_else(String::new, shown),
            row.trained_to.map_or_else(String::new, shown),
            row.bars.map_or_else(String::new, report::grouped),
            number(row.oos_log_likelihood_per_bar, 4),
            number(row.switches_per_year, 0),
        ]
    });
    let header =
        ["model", "symbol", "frame", "status", "active from", "trained to", "bars", "held out logL/bar", "switches/year"];
    let mut text = format!("{}\n", report::table(&header, rows));
    if args.history {
        let entries = listing.releases.iter().map(|entry| {
            let status = format!("{:?}", entry.status).to_lowercase();
            vec![entry.id().to_string(), entry.symbols.join(" "), entry.timeframe.clone(), status, shown(entry.active_from)]
        });
        text += &format!("{}\n", report::table(&["entry", "symbols", "frame", "status", "from"], entries));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
