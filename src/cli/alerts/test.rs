//! `regimeflow alerts test`: a drill through one channel, beside the outbox, so that a new channel is known to work before it is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use alerts::channels::{Channel, Outcome, Verdict};
use alerts::notice::{count, notice_id};
use alerts::{Alert, EventType, Notice, NoticeKind, outbox};
use serde_json::json;
use tokio::time::Instant;

use super::place::failed;
use super::sample::Sample;
use super::{Failure, event_type, plain, print, print_json, report};
use crate::cli::{EX_CONFIG, EX_DATA, EX_UNAVAILABLE, read_config};
use crate::clock;
use crate::config::Config;
use crate::notify::{self, Way};

/// Arguments of `alerts test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// The channel's name; without one, the channels are listed.
    channel: Option<String>,
    /// Configuration; without it only the environment's WEBHOOKS_… are known.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the drill pretends.
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type, default_value = "LIQUIDATION_CASCADE")]
    event_type: EventType,
    /// Whose.
    #[arg(long, default_value = "BTC-USDT-PERP")]
    symbol: String,
    /// Show what would be sent, without secrets; nothing is sent.
    #[arg(long)]
    dry_run: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let config = read_config(args.config.as_deref())?;
    let ways = notify::ways(&config)?;
    let Some(name) = &args.channel else { return list(&ways, args.json) };
    let names: Vec<String> = ways.iter().map(|way| way.name.clone()).collect();
    let Some(way) = ways.into_iter().find(|way| way.name == *name) else {
        let known = if names.is_empty() {
            "there is none in this configuration".into()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Err(Failure { code: EX_DATA, message: format!("there is no channel `{name}`; {known}") }.into());
    };
    let (channel, _) = way.made.map_err(|e| Failure { code: EX_CONFIG, message: format!("{e:#}") })?;
    let now = clock::now_ms();
    let notice = drill(args, name, now);
    if args.dry_run {
        let preview = channel.preview(&notice, now);
        if args.json {
            print_json(&json!({"channel": name, "kind": channel.kind(), "notice": notice.id, "preview": preview}))?;
        } else {
            print(&format!("{}\n", preview.trim_end()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let disabled = disabled(&config, name)?;
    if let Some(reason) = &disabled {
        eprintln!(
            "the outbox has disabled {name} ({}): the drill goes out all the same, alerts don't until `regimeflow alerts enable {name}`",
            plain(reason)
        );
    }
    let begin = Instant::now();
    let outcome = channel.send(&notice, now).await;
    tell(channel.as_ref(), &notice, &outcome, begin.elapsed().as_secs_f64() * 1e3, disabled.as_deref(), args.json)
}

/// The notice that says it is none.
fn drill(args: &TestArgs, channel: &str, now_ms: i64) -> Notice {
    let sample = Sample { symbol: args.symbol.clone(), venue: "binance-usdm".into(), now_ms };
    let (event, chart) = sample.of(args.event_type);
    let alert = Alert { event, rules: vec!["drill".into()], labels: Default::default(), chart, is_correction: false };
    Notice {
        id: notice_id(NoticeKind::Drill, &[channel, alert.id(), &std::process::id().to_string()], now_ms),
        channel: channel.to_owned(),
        kind: NoticeKind::Drill,
        is_urgent: true,
        group: String::new(),
        counts: count([&alert]),
        alerts: vec![alert],
        remark: format!("Somebody ran `regimeflow alerts test {channel}`; the figures are made up."),
        decided_at: now_ms,
    }
}

fn disabled(config: &Config, name: &str) -> anyhow::Result<Option<String>> {
    let look = outbox::look(&notify::outbox_path(config)).map_err(|e| failed(&e))?;
    let channels = look.map(|look| look.channels).unwrap_or_default();
    Ok(channels.into_iter().find(|state| state.name == name).and_then(|state| state.disabled))
}

fn tell(
    channel: &dyn Channel,
    notice: &Notice,
    outcome: &Outcome,
    latency_ms: f64,
    disabled: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let is_delivered = outcome.verdict == Verdict::Delivered;
    let verdict = match outcome.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry => "retry",
        Verdict::Failed => "failed",
        Verdict::Gone => "gone",
    };
    let Outcome { http_status, reason, pause, .. } = outcome;
    let pause_s = pause.map(|pause| pause.length.as_secs_f64());
    if json {
        print_json(&json!({
            "channel": channel.name(), "kind": channel.kind(), "notice": notice.id, "delivered": is_delivered, "verdict": verdict,
            "status": http_status, "reason": reason, "pause_s": pause_s, "latency_ms": latency_ms, "disabled": disabled,
        }))?;
    } else {
        let answer = if *http_status == 0 { String::new() } else { format!(", answer {http_status}") };
        let what = match outcome.verdict {
            Verdict::Delivered => "delivered".to_owned(),
            Verdict::Retry => format!("not delivered, a later attempt may do better: {}", plain(reason)),
            Verdict::Failed => format!("not delivered, and no attempt will do better: {}", plain(reason)),
            Verdict::Gone => format!("not delivered, the receiver wants nothing any more: {}", plain(reason)),
        };
        let rest = pause_s.map_or_else(String::new, |s| format!("; it wants to be left alone for {s} s"));
        let line = format!("{} ({}): {what}{rest}{answer}, {latency_ms:.0} ms\n", channel.name(), channel.kind());
        // There the drill itself is the output.
        if channel.kind() == "stdout" { eprint!("{line}") } else { print(&line)? }
    }
    Ok(if is_delivered { ExitCode::SUCCESS } else { ExitCode::from(EX_UNAVAILABLE) })
}

fn list(ways: &[Way], json: bool) -> anyhow::Result<ExitCode> {
    let problem = |way: &Way| way.made.as_ref().err().map(|e| plain(&format!("{e:#}")));
    if json {
        let ways =
            ways.iter().map(|way| json!({"channel": way.name, "kind": way.kind, "from": way.from, "problem": problem(way)}));
        print_json(&ways.collect::<Vec<_>>())?;
    } else if ways.is_empty() {
        print("no channels: add [[alerts.channels]] or [[webhooks]] to the configuration, or set WEBHOOKS_ALL\n")?;
    } else {
        let rows = ways
            .iter()
            .map(|way| vec![way.name.clone(), way.kind.to_owned(), way.from.to_owned(), problem(way).unwrap_or_default()]);
        print(&format!("{}\n", report::table(&["channel", "kind", "from", "problem"], rows)))?;
    }
    Ok(ExitCode::SUCCESS)
}
