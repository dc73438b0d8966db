//! `regimeflow alerts list`: what fires, by the state that the run keeps in its outbox; and the silences.

use std::cmp::Reverse;
use std::process::ExitCode;

use alerts::outbox::Order;
use alerts::policy::{AlertView, Matcher, Policy, Silence};
use serde_json::{Value, json};

use super::place::Place;
use super::time::{length, shown_s};
use super::{cut, plain, print, print_json, report};
use crate::clock;

/// Arguments of `alerts list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// For machines: times in UTC ms.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now_ms();
    let (_, look) = args.place.look()?;
    let policy = args.place.policy(&look)?;
    let mut firing: Vec<AlertView<'_>> = policy.alerts(now).collect();
    firing.sort_by_key(|view| (Reverse(view.alert.event.severity), Reverse(view.since)));
    let (silences, ordered) = (silences(&policy, now), ordered(&look.orders));
    let failing: Vec<_> =
        look.channels.iter().filter(|state| state.disabled.is_some() || state.failing_since.is_some()).collect();
    if args.json {
        let channels = failing
            .iter()
            .map(|state| json!({"channel": state.name, "failing_since": state.failing_since, "disabled": state.disabled}));
        let channels: Vec<Value> = channels.collect();
        let firing: Vec<Value> = firing.iter().map(to_json).collect();
        print_json(&json!({
            "alerts": firing, "silences": silences, "silences_ordered": ordered, "channels": channels, "orders_waiting": look.orders.len(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = match firing.as_slice() {
        [] => "nothing fires\n".to_owned(),
        _ => {
            let header = ["alert", "since", "severity", "what", "told", "looked after by", "muted by"];
            format!("{}\n", report::table(&header, firing.iter().map(|view| row(view, now))))
        }
    };
    if !silences.is_empty() || !ordered.is_empty() {
        text += &format!("\n{}\n", table(&silences, &ordered, now));
    }
    for state in failing {
        let since = state.failing_since.map_or_else(String::new, |since| format!(" since {}", shown_s(since)));
        text += &match &state.disabled {
            Some(reason) => format!("channel {} is disabled: {}\n", state.name, plain(reason)),
            None => format!("channel {} fails{since}\n", state.name),
        };
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn row(view: &AlertView<'_>, now: i64) -> Vec<String> {
    let ack = view.ack.map_or_else(String::new, |ack| match ack.until {
        Some(until) => format!("{} for {}", plain(&ack.by), length(until - now)),
        None => plain(&ack.by),
    });
    vec![
        view.alert.id().to_owned(),
        shown_s(view.since),
        view.alert.event.severity.as_str().to_owned(),
        cut(&view.alert.event.title, 70),
        view.told.join(", "),
        ack,
        cut(view.muted_by.as_deref().unwrap_or_default(), 60),
    ]
}

fn to_json(view: &AlertView<'_>) -> Value {
    let ack = view.ack.map(|ack| json!({"by": ack.by, "at": ack.at, "until": ack.until}));
    json!({
        "id": view.alert.id(), "since": view.since, "event": view.alert.event, "rules": view.alert.rules,
        "labels": view.alert.labels, "told": view.told, "ack": ack, "muted_by": view.muted_by,
    })
}

/// Those that are not over; a stored one may be until the run looks again.
pub(super) fn silences(policy: &Policy, now: i64) -> Vec<Silence> {
    policy.silences().filter(|silence| silence.until > now).cloned().collect()
}

/// Those that no run has taken yet.
pub(super) fn ordered(orders: &[Order]) -> Vec<Silence> {
    let mut found: Vec<Silence> = Vec::new();
    for order in orders {
        match order {
            Order::Silence { silence } => found.extend(serde_json::from_value::<Silence>(silence.clone())),
            Order::Unsilence { id } => found.retain(|silence| silence.id != *id),
            _ => {}
        }
    }
    found
}

/// Silences as a table.
pub(super) fn table(silences: &[Silence], ordered: &[Silence], now: i64) -> String {
    let row = |silence: &Silence, is_ordered: bool| {
        let lasts = match () {
            () if is_ordered => "waits for a run".to_owned(),
            () if silence.from > now => format!("in {}", length(silence.from - now)),
            () => format!("{} left", length(silence.until - now)),
        };
        let (author, comment) = (cut(&silence.author, 24), cut(&silence.comment, 60));
        vec![silence.id.clone(), cut(&words(&silence.matcher), 80), shown_s(silence.until), lasts, author, comment]
    };
    let rows = silences.iter().map(|silence| row(silence, false)).chain(ordered.iter().map(|silence| row(silence, true)));
    report::table(&["silence", "mutes", "until", "state", "by", "comment"], rows).to_string()
}

/// A matcher in words.
pub(super) fn words(matcher: &Matcher) -> String {
    let Matcher { event_types, symbols, venues, severity_min, rules, labels } = matcher;
    let mut parts = Vec::new();
    let mut list = |name: &str, items: Vec<&str>| {
        if !items.is_empty() {
            parts.push(format!("{name} {}", items.join(" or ")));
        }
    };
    list("type", event_types.iter().map(|t| t.as_str()).collect());
    list("symbol", symbols.iter().map(String::as_str).collect());
    list("venue", venues.iter().map(String::as_str).collect());
    list("rule", rules.iter().map(String::as_str).collect());
    list("severity from", severity_min.iter().map(|least| least.as_str()).collect());
    parts.extend(labels.iter().map(|(name, value)| format!("label {name}={value}")));
    if parts.is_empty() { "everything".to_owned() } else { plain(&parts.join(", ")) }
}
