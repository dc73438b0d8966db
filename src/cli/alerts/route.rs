//! `regimeflow alerts route`: what would become of an event, without anything becoming of it.
//!
//! The event is one of a file, or a sample with likely figures. The policy is that of the configuration with the state that the outbox has, so that
//! silences, acknowledgements and groups of now count. Hold and cooldown of rules don't: they depend on what a run has seen.

use std::path::PathBuf;
use std::process::ExitCode;

use alerts::policy::{Explanation, RouteExplained, When};
use alerts::{Alert, Event, EventType, Severity, outbox};
use serde_json::{Value, json};

use super::place::{failed, policy};
use super::sample::Sample;
use super::time::{length, shown_s};
use super::{Failure, cut, event_type, label, plain, print, print_json, report, severity};
use crate::cli::{EX_CONFIG, EX_DATA, EX_IO, read_config};
use crate::clock;
use crate::notify;
use crate::rules::{Rule, Rules};

/// Arguments of `alerts route`.
#[derive(Debug, clap::Args)]
pub struct RouteArgs {
    /// Configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Rules, instead of those that the configuration names.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// The outbox's file, instead of the one that the configuration names.
    #[arg(long, value_name = "PATH")]
    outbox: Option<PathBuf>,
    /// A sample of this type. THRESHOLD: of each rule on a number that speaks of the symbol.
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type, default_value = "LIQUIDATION_CASCADE")]
    event_type: EventType,
    /// Its symbol.
    #[arg(long, default_value = "BTC-USDT-PERP")]
    symbol: String,
    /// Its venue.
    #[arg(long, default_value = "binance-usdm")]
    venue: String,
    /// How grave it is, instead of the sample's severity.
    #[arg(long, value_parser = severity)]
    severity: Option<Severity>,
    /// Another label, beside those of the rules.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1.., value_parser = label)]
    label: Vec<(String, String)>,
    /// An event as JSON, as webhooks get it; `-`: from stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event_type", "symbol", "venue", "severity"])]
    event: Option<PathBuf>,
    /// For machines: times in UTC ms.
    #[arg(long)]
    json: bool,
}

/// What becomes of one event.
struct Found<'a> {
    event: Event,
    /// Each rule, and why it does not ask for the event.
    rules: Vec<(&'a Rule, Option<String>)>,
    /// What the rules make of it, and the policy of that.
    alert: Option<(Alert, Explanation)>,
}

/// Runs the command.
pub(super) fn run(args: &RouteArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now_ms();
    let config = read_config(args.config.as_deref())?;
    let rules = match args.rules.as_ref().or(config.alerts.rules.as_ref()) {
        Some(directory) => Rules::load(directory).map_err(|e| Failure { code: EX_CONFIG, message: e.to_string() })?.0,
        None => Rules::default(),
    };
    let path = args.outbox.clone().unwrap_or_else(|| notify::outbox_path(&config));
    let look = outbox::look(&path).map_err(|e| failed(&e))?;
    if look.is_none() {
        eprintln!("there is no outbox at {} yet: silences and what fires are not known", path.display());
    }
    let policy = policy(notify::policy_of(&config, &notify::ways(&config)?), &look.unwrap_or_default())?;
    let found = events(args, &rules, now)?.into_iter().map(|event| {
        let why_not = |rule: &Rule| rule.mismatch(&event).map(|why| plain(&why.to_string()));
        let why_not = rules.0.iter().map(|rule| (rule, why_not(rule))).collect();
        let alert = rules.alert(&event).map(|mut alert| {
            alert.labels.extend(args.label.iter().cloned());
            let explanation = policy.explain(&alert, now);
            (alert, explanation)
        });
        Found { event, rules: why_not, alert }
    });
    let found: Vec<Found<'_>> = found.collect();
    if args.json {
        print_json(&found.iter().map(to_json).collect::<Vec<_>>())?;
    } else {
        let texts: Vec<String> = found.iter().map(|found| text(found, now)).collect();
        print(&texts.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The file's event, or a sample; of numbers one for each rule.
fn events(args: &RouteArgs, rules: &Rules, now_ms: i64) -> anyhow::Result<Vec<Event>> {
    if let Some(path) = &args.event {
        let read =
            if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
        let name = path.display();
        let text = read.map_err(|e| Failure { code: EX_IO, message: format!("read the event {name}: {e}") })?;
        let event = serde_json::from_str(&text);
        let wrong = |e| Failure {
            code: EX_DATA,
            message: format!("read the event {name}: {e}; schemas/events.schema.json says how it is written"),
        };
        return Ok(vec![event.map_err(wrong)?]);
    }
    let sample = Sample { symbol: args.symbol.clone(), venue: args.venue.clone(), now_ms };
    let mut events = match args.event_type {
        EventType::Threshold => {
            let examples = rules.0.iter().filter_map(|rule| rule.example(&args.symbol, &args.venue, now_ms));
            examples.map(|(event, _)| event).collect()
        }
        event_type => vec![sample.of(event_type).0],
    };
    if events.is_empty() {
        events.push(sample.of(EventType::Threshold).0);
    }
    for event in &mut events {
        event.severity = args.severity.unwrap_or(event.severity);
    }
    eprintln!("a sample: rules that compare figures see its figures; --event FILE takes a real one");
    Ok(events)
}

fn text(found: &Found<'_>, now: i64) -> String {
    let Event { title, severity, event_type, status, .. } = &found.event;
    let mut text = format!("{} {} {}: {}\n\n", event_type.as_str(), severity.as_str(), status.as_str(), plain(title));
    let rows = found.rules.iter().map(|(rule, why_not)| {
        let asks = if why_not.is_none() { "asks" } else { "" };
        vec![plain(&rule.name), asks.to_owned(), why_not.clone().unwrap_or_else(|| waits(rule))]
    });
    text += &format!("{}\n\n", report::table(&["rule", "asks", "because"], rows));
    let Some((alert, explanation)) = &found.alert else {
        return text + "no rule asks for it: it is no alert, and nobody is told\n";
    };
    let labels: Vec<String> = alert.labels.iter().map(|(name, value)| plain(&format!("{name}={value}"))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(", labels {}", labels.join(" ")) };
    text += &format!("an alert of severity {}{labels}\n", alert.event.severity.as_str());
    if !explanation.remark.is_empty() {
        text += &format!("{}\n", explanation.remark);
    }
    if explanation.routes.is_empty() {
        return text + "there are no channels: nobody is told\n";
    }
    let rows = explanation.routes.iter().map(|route| {
        let RouteExplained { route: name, group, channels, when } = route;
        vec![plain(name), cut(group, 50), channels.join(", "), words(when, now)]
    });
    text + &format!("\n{}\n", report::table(&["route", "group", "channels", "when"], rows))
}

/// What else a rule waits for.
fn waits(rule: &Rule) -> String {
    let span =
        |name: &str, s: u64| (s > 0).then(|| format!("{name} {}", length(crate::config::integer(s.saturating_mul(1_000)))));
    [span("once it lasts", rule.hold_s), span("not again for", rule.cooldown_s)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn words(when: &When, now: i64) -> String {
    match when {
        When::Now => "at once".to_owned(),
        When::At(at) => format!("{} (in {}), with its group", shown_s(*at), length(at - now)),
        When::Held(until) => format!("{} (in {}), when quiet hours end", shown_s(*until), length(until - now)),
        When::Muted(by) => format!("muted by {}; told then, if it still fires", plain(by)),
        When::Never(why) => format!("not: {}", plain(why)),
    }
}

fn to_json(found: &Found<'_>) -> Value {
    let rules: Vec<Value> = found
        .rules
        .iter()
        .map(|(rule, why_not)| {
            json!({"rule": rule.name, "asks": why_not.is_none(), "why_not": why_not, "hold_s": rule.hold_s, "cooldown_s": rule.cooldown_s})
        })
        .collect();
    let routes = found.alert.iter().flat_map(|(_, explanation)| &explanation.routes).map(|route| {
        let (when, at, why) = match &route.when {
            When::Now => ("now", None, None),
            When::At(at) => ("at", Some(*at), None),
            When::Held(at) => ("held", Some(*at), None),
            When::Muted(by) => ("muted", None, Some(by)),
            When::Never(why) => ("never", None, Some(why)),
        };
        json!({"route": route.route, "group": route.group, "channels": route.channels, "when": when, "at": at, "why": why})
    });
    let routes: Vec<Value> = routes.collect();
    let alert = found.alert.as_ref().map(|(alert, explanation)| {
        json!({"severity": alert.event.severity, "rules": alert.rules, "labels": alert.labels, "remark": explanation.remark})
    });
    json!({"event": found.event, "rules": rules, "alert": alert, "routes": routes})
}
