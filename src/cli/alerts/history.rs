//! `regimeflow alerts history`: what became of notices.

use std::process::ExitCode;

use alerts::outbox::{Entry, Filter, history};

use super::place::{Place, failed};
use super::time::{Since, length, shown_s};
use super::{cut, plural, print, print_json, report};
use crate::clock;

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// It is to be sent.
    Waiting,
    /// It could not be delivered in time; it comes in one digest.
    Late,
    /// It went, or goes, in a digest.
    Bundled,
    /// The receiver has it.
    Delivered,
    /// A dead letter.
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Late => "late",
            Self::Bundled => "bundled",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// Arguments of `alerts history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Only of this channel.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only in this state.
    #[arg(long)]
    state: Option<State>,
    /// Only what was decided since (`2h`, `2025-10-10T14:00:00Z`).
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Only notices (or notices of alerts) whose id begins so.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    place: Place,
    /// For machines: times in UTC ms.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now_ms();
    let (path, _) = args.place.look()?;
    let filter = Filter {
        channel: args.channel.clone(),
        state: args.state.map(|state| state.as_str().to_owned()),
        id: args.id.clone(),
        since_ms: args.since.map_or(0, |since| since.ms(now)),
        limit: args.limit,
    };
    let entries = history(&path, &filter).map_err(|e| failed(&e))?;
    if args.json {
        print_json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["decided", "channel", "kind", "state", "tries", "answer", "after", "what", "why", "notice"];
    print(&format!("{}\n", report::table(&header, entries.iter().map(row))))?;
    if entries.len() == args.limit {
        eprintln!("the newest {}; --limit shows more", plural(entries.len(), "notice"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &Entry) -> Vec<String> {
    let why = match &entry.digest {
        Some(digest) if entry.reason.is_empty() => format!("in the digest {digest}"),
        _ => entry.reason.clone(),
    };
    vec![
        shown_s(entry.decided_at),
        cut(&entry.channel, 24),
        entry.kind.clone(),
        entry.state.clone(),
        entry.attempts.to_string(),
        if entry.http_status == 0 { String::new() } else { entry.http_status.to_string() },
        entry.finished_at.map_or_else(String::new, |at| length(at - entry.decided_at)),
        cut(&entry.title, 60),
        cut(&why, 80),
        entry.id.clone(),
    ]
}
