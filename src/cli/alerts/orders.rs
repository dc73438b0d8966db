//! `regimeflow alerts ack`, `unack` and `enable`: orders about what is there. What isn't is refused here, while the person looks.

use std::process::ExitCode;

use alerts::outbox::Order;
use alerts::policy::Policy;
use serde_json::json;

use super::place::{Place, leave};
use super::time::{Length, length, shown_s};
use super::{Failure, plain, print, print_json};
use crate::cli::EX_DATA;
use crate::clock;
use crate::notify;

/// Arguments of `alerts ack`.
#[derive(Debug, clap::Args)]
pub struct AckArgs {
    /// The alert's id, or as much of its begin as only it has (`alerts list`).
    id: String,
    /// For so long (`30m`, `2h`): then it is told again if it still fires [default: until it is over or grows graver].
    #[arg(long = "for", value_name = "LENGTH")]
    length: Option<Length>,
    /// Who looks after it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody", hide_env_values = true)]
    by: String,
    #[command(flatten)]
    place: Place,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Arguments of `alerts unack`.
#[derive(Debug, clap::Args)]
pub struct UnackArgs {
    /// The alert's id, or as much of its begin as only it has (`alerts list`).
    id: String,
    #[command(flatten)]
    place: Place,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Arguments of `alerts enable`.
#[derive(Debug, clap::Args)]
pub struct EnableArgs {
    /// The channel's name.
    channel: String,
    #[command(flatten)]
    place: Place,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs `ack`.
pub(super) fn ack(args: &AckArgs) -> anyhow::Result<ExitCode> {
    let (path, look) = args.place.look()?;
    let now = clock::now_ms();
    let policy = args.place.policy(&look)?;
    let (id, title, _) = one_of(&policy, &args.id, now)?;
    let for_ms = args.length.map(|length| length.0);
    let taken = leave(&path, &Order::Ack { id: id.clone(), by: args.by.clone(), for_ms })?;
    if args.json {
        print_json(&json!({"id": id, "title": title, "by": args.by, "for_ms": for_ms, "taken": taken}))?;
    } else {
        let lasts = for_ms.map_or_else(|| "until it is over".to_owned(), |ms| format!("for {}", length(ms)));
        print(&format!("{id} is looked after by {} {lasts}: {}\n", plain(&args.by), plain(&title)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `unack`.
pub(super) fn unack(args: &UnackArgs) -> anyhow::Result<ExitCode> {
    let (path, look) = args.place.look()?;
    let policy = args.place.policy(&look)?;
    let (id, title, is_acked) = one_of(&policy, &args.id, clock::now_ms())?;
    let is_ordered = look.orders.iter().any(|order| matches!(order, Order::Ack { id: other, .. } if *other == id));
    if !is_acked && !is_ordered {
        return Err(
            Failure { code: EX_DATA, message: format!("{id}: nobody looks after it, there is nothing to take back") }.into()
        );
    }
    let taken = leave(&path, &Order::Unack { id: id.clone() })?;
    if args.json {
        print_json(&json!({"id": id, "title": title, "taken": taken}))?;
    } else {
        print(&format!("{id} is looked after by nobody any more: {}\n", plain(&title)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The one alert that fires whose id begins so: its id, its title, whether somebody looks after it.
fn one_of(policy: &Policy, begin: &str, now: i64) -> Result<(String, String, bool), Failure> {
    let refuse = |message: String| Err(Failure { code: EX_DATA, message });
    let bare = |id: &str| id.strip_prefix("evt_").unwrap_or(id).to_owned();
    let wanted = bare(begin);
    let found: Vec<_> = policy.alerts(now).filter(|view| bare(view.alert.id()).starts_with(&wanted)).collect();
    match found.as_slice() {
        _ if wanted.is_empty() => refuse("an alert's id is empty; `regimeflow alerts list` shows those that fire".into()),
        [one] => Ok((one.alert.id().to_owned(), one.alert.event.title.clone(), one.ack.is_some())),
        [] => refuse(format!("no alert that fires has an id that begins with `{begin}`; `regimeflow alerts list` shows them")),
        several => {
            let ids: Vec<&str> = several.iter().take(5).map(|view| view.alert.id()).collect();
            refuse(format!(
                "{} alerts have an id that begins with `{begin}` ({} …); write more of it",
                several.len(),
                ids.join(", ")
            ))
        }
    }
}

/// Runs `enable`.
pub(super) fn enable(args: &EnableArgs) -> anyhow::Result<ExitCode> {
    let (path, look) = args.place.look()?;
    let EnableArgs { channel, json, .. } = args;
    let Some(state) = look.channels.iter().find(|state| state.name == *channel) else {
        let mut names: Vec<String> = look.channels.iter().map(|state| state.name.clone()).collect();
        names.extend(notify::ways(&args.place.config()?)?.into_iter().map(|way| way.name));
        names.sort();
        names.dedup();
        if !names.contains(channel) {
            let message = format!("there is no channel `{channel}`; there are: {}", names.join(", "));
            return Err(Failure { code: EX_DATA, message }.into());
        }
        return nothing_to_do(channel, *json);
    };
    let why = match (&state.disabled, state.failing_since) {
        (Some(reason), _) => format!("was disabled: {reason}"),
        (None, Some(since)) => format!("has failed since {}", shown_s(since)),
        (None, None) => return nothing_to_do(channel, *json),
    };
    let taken = leave(&path, &Order::Enable { channel: channel.clone() })?;
    if *json {
        print_json(
            &json!({"channel": channel, "disabled": state.disabled, "failing_since": state.failing_since, "taken": taken}),
        )?;
    } else {
        print(&format!("{channel} is tried again; it {}\n", plain(&why)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn nothing_to_do(channel: &str, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print_json(&json!({"channel": channel, "disabled": null, "failing_since": null, "taken": false}))?;
    } else {
        print(&format!("{channel} is not disabled: nothing to do\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
