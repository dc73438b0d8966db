//! `regimeflow alerts replay`: an order to send again what could not be delivered, under the ids that it had.

use std::process::ExitCode;

use alerts::outbox::{Entry, Filter, Order, history};
use serde_json::json;

use super::place::{Place, failed, leave};
use super::time::Since;
use super::{Failure, cut, plural, print, print_json};
use crate::cli::EX_DATA;
use crate::clock;

/// So many notices are shown by name.
const SHOWN_MAX: usize = 20;

/// Arguments of `alerts replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Ids of notices, or of alerts, or begins of them (`alerts history`): also of what was delivered.
    #[arg(required_unless_present = "failed")]
    ids: Vec<String>,
    /// All that failed.
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// Only of this channel.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// With --failed: only what was decided since (`2h`, `2025-10-10T14:00:00Z`).
    #[arg(long, value_name = "TIME", requires = "failed")]
    since: Option<Since>,
    #[command(flatten)]
    place: Place,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now_ms();
    let (path, look) = args.place.look()?;
    let since_ms = args.since.map_or(0, |since| since.ms(now));
    let found = |filter: Filter| -> Result<Vec<Entry>, Failure> {
        let filter = Filter { channel: args.channel.clone(), limit: usize::MAX, ..filter };
        history(&path, &filter).map_err(|e| failed(&e))
    };
    let mut again = Vec::new();
    if args.failed {
        let filter = Filter { state: Some("failed".into()), since_ms, ..Filter::default() };
        // A digest's members are told by the digest.
        again.extend(found(filter)?.into_iter().filter(|entry| !entry.kind.ends_with("digest")));
    }
    for id in &args.ids {
        again.extend(finished(id, found(Filter { id: Some(id.clone()), ..Filter::default() })?)?);
    }
    let mut ids: Vec<String> = again.iter().map(|entry| entry.id.clone()).collect();
    ids.sort();
    ids.dedup();
    let order =
        Order::Replay { ids: if args.failed { Vec::new() } else { ids.clone() }, channel: args.channel.clone(), since_ms };
    for state in look.channels.iter().filter(|state| state.disabled.is_some()) {
        if again.iter().any(|entry| entry.channel == state.name) {
            eprintln!("{0} is disabled: what is for it waits until `regimeflow alerts enable {0}`", state.name);
        }
    }
    let taken = !ids.is_empty() && leave(&path, &order)?;
    if args.json {
        print_json(&json!({"notices": again, "taken": taken}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = match again.len() {
        0 => "no dead letters: nothing is sent again\n".to_owned(),
        count => {
            format!("{} sent again:\n", if count == 1 { "1 notice is".to_owned() } else { plural(count, "notice") + " are" })
        }
    };
    for Entry { id, channel, title, .. } in again.iter().take(SHOWN_MAX) {
        text += &format!("  {channel}  {id}  {}\n", cut(title, 80));
    }
    if again.len() > SHOWN_MAX {
        text += &format!("  and {} more\n", again.len() - SHOWN_MAX);
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Those that are done with; it is an error if there is none.
fn finished(id: &str, found: Vec<Entry>) -> Result<Vec<Entry>, Failure> {
    let refuse = |message: String| Err(Failure { code: EX_DATA, message });
    let (done, under_way): (Vec<Entry>, Vec<Entry>) = found.into_iter().partition(|entry| entry.finished_at.is_some());
    match (done.is_empty(), under_way.first()) {
        _ if id.is_empty() => refuse("a notice's id is empty; `regimeflow alerts history` shows them".into()),
        (true, Some(one)) => refuse(format!("{id}: it is {} and goes out by itself, there is nothing to send again", one.state)),
        (true, None) => refuse(format!(
            "no notice, and no alert's notice, has an id that begins with `{id}`; `regimeflow alerts history` shows them"
        )),
        (false, _) => Ok(done),
    }
}
