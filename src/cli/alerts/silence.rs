//! `regimeflow alerts silence`: an order to mute what matches for a while, or to end that.

use std::collections::BTreeMap;
use std::process::ExitCode;

use alerts::outbox::Order;
use alerts::policy::{Matcher, Silence};
use alerts::{EventType, Severity};
use anyhow::Context as _;
use serde_json::json;

use super::list::{ordered, silences, table, words};
use super::place::{Place, leave};
use super::time::{Length, shown_s};
use super::{Failure, event_type, label, plain, print, print_json, severity};
use crate::cli::{EX_DATA, EX_USAGE};
use crate::clock;

/// Arguments of `alerts silence`.
#[derive(Debug, clap::Args)]
pub struct SilenceArgs {
    /// Symbols, as globs: `BTC-*`.
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    symbol: Vec<String>,
    /// Event types: `FUNDING_ANOMALY`.
    #[arg(long = "type", value_name = "TYPE", num_args = 1.., value_parser = event_type)]
    event_types: Vec<EventType>,
    /// Venues, as globs: `binance-*`.
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    venue: Vec<String>,
    /// Rules, as globs.
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    rule: Vec<String>,
    /// Only what is at least so grave.
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity_min: Option<Severity>,
    /// Labels: `desk=asia`; the value is a glob.
    #[arg(long, value_name = "NAME=GLOB", num_args = 1.., value_parser = label)]
    label: Vec<(String, String)>,
    /// Mute everything: without it a silence needs something that it is about.
    #[arg(long, conflicts_with_all = ["symbol", "event_types", "venue", "rule", "severity_min", "label"])]
    all: bool,
    /// For so long: `30m`, `2h`, `3d`.
    #[arg(long = "for", value_name = "LENGTH", required_unless_present_any = ["list", "end"])]
    length: Option<Length>,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    /// Who.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody", hide_env_values = true)]
    author: String,
    /// The silences that last.
    #[arg(long, conflicts_with_all = ["end", "length", "all", "symbol", "event_types", "venue", "rule", "severity_min", "label"])]
    list: bool,
    /// End this one. As much of its id's begin as only it has will do.
    #[arg(long, value_name = "ID", conflicts_with_all = ["length", "all", "symbol", "event_types", "venue", "rule", "severity_min", "label"])]
    end: Option<String>,
    #[command(flatten)]
    place: Place,
    /// For machines: times in UTC ms.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &SilenceArgs) -> anyhow::Result<ExitCode> {
    match (&args.end, args.length) {
        (Some(id), _) => end(args, id),
        (None, Some(length)) => begin(args, length),
        (None, None) => list(args),
    }
}

fn begin(args: &SilenceArgs, length: Length) -> anyhow::Result<ExitCode> {
    let matcher = Matcher {
        event_types: args.event_types.clone(),
        symbols: args.symbol.clone(),
        venues: args.venue.clone(),
        severity_min: args.severity_min,
        rules: args.rule.clone(),
        labels: args.label.iter().cloned().collect::<BTreeMap<_, _>>(),
    };
    if matcher == Matcher::default() && !args.all {
        let message = "a silence without anything that it is about mutes all alerts: \
                       add --symbol, --type, --venue, --rule, --severity-min or --label; or --all, if everything is meant";
        return Err(Failure { code: EX_USAGE, message: message.into() }.into());
    }
    let from = clock::now_ms();
    let until = from.saturating_add(length.0);
    let (author, comment) = (plain(&args.author), plain(&args.comment));
    let silence = Silence { id: new_id(), matcher, from, until, author, comment };
    let path = args.place.path()?;
    let silence_json = serde_json::to_value(&silence).context("writing the silence as JSON")?;
    let taken = leave(&path, &Order::Silence { silence: silence_json })?;
    eprintln!("mutes {} until {}", words(&silence.matcher), shown_s(silence.until));
    if args.json {
        print_json(&json!({"id": silence.id, "silence": silence, "taken": taken}))?;
    } else {
        print(&format!("{}\n", silence.id))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn end(args: &SilenceArgs, begin: &str) -> anyhow::Result<ExitCode> {
    let (path, look) = args.place.look()?;
    let mut known = silences(&args.place.policy(&look)?, clock::now_ms());
    known.extend(ordered(&look.orders));
    let mut ids: Vec<&str> = known.iter().map(|silence| silence.id.as_str()).filter(|id| id.starts_with(begin)).collect();
    ids.sort_unstable();
    ids.dedup();
    let id = match ids.as_slice() {
        _ if begin.is_empty() => Err("a silence's id is empty; `regimeflow alerts silence --list` shows them".to_owned()),
        [one] => Ok((*one).to_owned()),
        [] => Err(format!("no silence has an id that begins with `{begin}`; `regimeflow alerts silence --list` shows them")),
        several => Err(format!("{} silences have an id that begins with `{begin}`: {}", several.len(), several.join(", "))),
    };
    let id = id.map_err(|message| Failure { code: EX_DATA, message })?;
    let taken = leave(&path, &Order::Unsilence { id: id.clone() })?;
    if args.json {
        print_json(&json!({"id": id, "taken": taken}))?;
    } else {
        print(&format!("{id} ends\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &SilenceArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now_ms();
    let (_, look) = args.place.look()?;
    let (silences, ordered) = (silences(&args.place.policy(&look)?, now), ordered(&look.orders));
    if args.json {
        print_json(&json!({"silences": silences, "silences_ordered": ordered}))?;
    } else if silences.is_empty() && ordered.is_empty() {
        print("no silence lasts\n")?;
    } else {
        print(&format!("{}\n", table(&silences, &ordered, now)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Short enough to be typed; two of the thousand that are kept are the same once in some millions of times.
fn new_id() -> String {
    format!("sil-{:08x}", rand::random::<u32>())
}
