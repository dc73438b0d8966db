//! `regimeflow model decode`: the regime of each bar by one model, filtered, smoothed or on the most probable path.
//!
//! The chain runs from 256 bars before the range, from the stationary distribution, without the views' restarts at anchors: figures agree
//! with `regimes` to what 256 bars leave of a start.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use hmm::ndarray::Array2;
use hmm::{Hmm, ModelFile, Observations};
use serde_json::json;

use super::args::{Time, Wanted};
use super::data::DataArgs;
use super::score::{find, rows};
use super::{Failure, print, print_json};
use crate::cli::EX_USAGE;
use crate::model_dir;
use crate::training::Rows;

/// Arguments of `model decode`.
#[derive(Debug, clap::Args)]
pub struct DecodeArgs {
    /// A model: NAME.vN, or NAME for the active (or else newest) version.
    name: Wanted,
    #[command(flatten)]
    data: DataArgs,
    /// Which of its symbols [default: the only one].
    #[arg(long, value_name = "SYMBOL")]
    of: Option<String>,
    /// By what: the bars so far, all bars, or the most probable path.
    #[arg(long, value_enum, default_value = "filtered")]
    by: By,
    /// A directory of models.
    #[arg(long, value_name = "DIR", default_value = "regimeflow-models")]
    models: PathBuf,
    /// From the bar on that opens at or after this time [default: the first].
    #[arg(long, value_name = "TIME")]
    from: Option<Time>,
    /// Bars that open before this time [default: all].
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// JSON instead of CSV.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Filtered,
    Smoothed,
    Viterbi,
}

/// A state for each bar, and the probabilities of all where there are any.
struct Decoded {
    states: Vec<usize>,
    probabilities: Option<Array2<f64>>,
}

/// Runs the command.
pub(super) async fn run(args: DecodeArgs) -> anyhow::Result<ExitCode> {
    let listing = model_dir::read_listing(&args.models)?;
    let entry = find(&listing, &args.name)?;
    let symbol = match (&args.of, entry.symbols.as_slice()) {
        (Some(symbol), known) if known.contains(symbol) => symbol,
        (None, [only]) => only,
        (_, known) => {
            let message = format!("{} is of {}; choose with --of", entry.id(), known.join(", "));
            return Err(Failure { code: EX_USAGE, message }.into());
        }
    };
    let source = args.data.open().await?;
    let file = model_dir::read_file(&args.models, &entry.id())?;
    let from = args.from.map_or(0, |time| time.0);
    let rows = rows(&source, entry, symbol, &file.features, from, args.until.map(|time| time.0)).await?;
    source.close().await?;
    let decoded = decode(&file.in_feature_units()?, &rows, args.by)?;
    let first = rows.ts.partition_point(|&ts| ts < from);
    if args.json { as_json(&file, &rows, &decoded, first) } else { print(&as_csv(&file, &rows, &decoded, first)) }?;
    Ok(ExitCode::SUCCESS)
}

fn decode(model: &Hmm, rows: &Rows, by: By) -> anyhow::Result<Decoded> {
    let model = model.started_stationary()?;
    let observations = Observations::new(rows.values.view())?;
    let posteriors = match by {
        By::Filtered => model.filtered(&observations)?,
        By::Smoothed => model.smoothed(&observations)?,
        By::Viterbi => return Ok(Decoded { states: model.viterbi(&observations)?.states, probabilities: None }),
    };
    let most_probable = |row: hmm::ndarray::ArrayView1<'_, f64>| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        best.map_or(0, |(state, _)| state)
    };
    let states = posteriors.probabilities.outer_iter().map(most_probable).collect();
    Ok(Decoded { states, probabilities: Some(posteriors.probabilities) })
}

fn label(file: &ModelFile, state: usize) -> &'static str {
    file.labels.as_ref().and_then(|labels| labels.get(state)).map_or("", |state| state.label.name())
}

fn as_csv(file: &ModelFile, rows: &Rows, decoded: &Decoded, first: usize) -> String {
    let mut text = "timestamp_ms,state,label".to_owned();
    let states = decoded.probabilities.as_ref().map_or(0, Array2::ncols);
    (0..states).for_each(|state| text += &format!(",p{state}"));
    text.push('\n');
    for at in first..rows.len() {
        let state = decoded.states[at];
        let _ = write!(text, "{},{state},{}", rows.ts[at], label(file, state)); // a String takes everything
        for probability in decoded.probabilities.iter().flat_map(|all| all.row(at).to_vec()) {
            let _ = write!(text, ",{probability:.6}");
        }
        text.push('\n');
    }
    text
}

fn as_json(file: &ModelFile, rows: &Rows, decoded: &Decoded, first: usize) -> anyhow::Result<()> {
    let bar = |at: usize| {
        let state = decoded.states[at];
        let probabilities = decoded.probabilities.as_ref().map(|all| all.row(at).to_vec());
        json!({"ts": rows.ts[at], "state": state, "label": label(file, state), "probabilities": probabilities})
    };
    print_json(&(first..rows.len()).map(bar).collect::<Vec<_>>())
}
