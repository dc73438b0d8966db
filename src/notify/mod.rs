//! From the configuration to those who are told: channels, routes, rules, and their change while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alerts::channels::email::{EmailConfig, Limits as MailLimits, Login, Server, Tls};
use alerts::channels::{
    ATTEMPT_MAX, Channel, Discord, Email, HttpSender, Pace, Slack, Stdout, Telegram, Webhook, stdout, telegram, webhook,
};
use alerts::desk::Setup;
use alerts::outbox::Limits;
use alerts::policy::{Matcher, PolicyConfig, Route};
use alerts::{EventType, Guard, Secret, SecretText};
use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::config::{self, BodyFormat, ChannelKind, Config, MailTls};

mod charts;
pub mod environment;
mod heartbeat;
mod reload;

pub use charts::Charts;
pub use heartbeat::heartbeat;
pub use reload::{Reload, watch};

/// What a configuration says of alerts, made ready.
pub struct Plan {
    /// Channels and policy.
    pub setup: Setup,
    /// The outbox's bounds.
    pub limits: Limits,
}

/// A way to a receiver.
pub struct Way {
    /// The channel's name.
    pub name: String,
    /// What it speaks.
    pub kind: &'static str,
    /// Where it is set: `alerts.channels`, `webhooks`, or the environment variable.
    pub from: &'static str,
    /// The channel with a text that changes with the receiver's address; or why it can't be had.
    pub made: anyhow::Result<(Arc<dyn Channel>, String)>,
    /// The route that it has of its own.
    own: Option<Route>,
}

/// Makes channels and policy of the configuration and of the environment's `WEBHOOKS_…`. The process must have installed a TLS provider.
///
/// # Errors
/// If a secret can't be read, an address may not be posted to, or a channel can't be made.
pub fn plan(config: &Config) -> anyhow::Result<Plan> {
    let ways = ways(config)?;
    let policy = policy_of(config, &ways);
    let channels = ways.into_iter().map(|way| way.made).collect::<anyhow::Result<_>>()?;
    Ok(Plan { setup: Setup { channels, policy }, limits: limits(&config.alerts) })
}

/// All ways to receivers, those that can't be had too.
///
/// # Errors
/// If `allow_addresses`, the environment's too, are no addresses.
pub fn ways(config: &Config) -> anyhow::Result<Vec<Way>> {
    let short = environment::from_process();
    let http = HttpSender::new(Guard::new(&allowed(config))?, ATTEMPT_MAX)?;
    let mut ways = Vec::new();
    for channel in &config.alerts.channels {
        let made = make(channel, &http).map(|(made, fingerprint)| (Arc::from(made), fingerprint));
        let made = made.with_context(|| format!("setting up the channel {:?}", channel.name));
        ways.push(Way { name: channel.name.clone(), kind: channel.kind.as_str(), from: "alerts.channels", made, own: None });
    }
    for hook in &config.webhooks {
        let made = webhook(hook, &http).with_context(|| format!("setting up the webhook {:?}", hook.name));
        let event_types = hook.event_types.iter().filter_map(|name| EventType::from_name(name)).collect();
        let own = Some(route(&hook.name, std::slice::from_ref(&hook.name), event_types));
        ways.push(Way { name: hook.name.clone(), kind: "webhook", from: "webhooks", made, own });
    }
    for hook in short.hooks {
        let fingerprint = fingerprint(&[hook.url.expose()]);
        let made = alerts::channels::from_url(&hook.name, &hook.url, Vec::new(), http.clone());
        let kind = made.as_ref().map_or("webhook", |made| made.kind());
        let made = made.map(|made| (Arc::from(made), fingerprint));
        let made = made.with_context(|| format!("setting up the channel of {}", hook.variable));
        let own = Some(route(&hook.name, std::slice::from_ref(&hook.name), hook.event_types));
        ways.push(Way { name: hook.name, kind, from: hook.variable, made, own });
    }
    Ok(ways)
}

fn webhook(hook: &config::Webhook, http: &HttpSender) -> anyhow::Result<(Arc<dyn Channel>, String)> {
    let url = SecretText::literal(&hook.url)?;
    let secrets = secrets(hook.secret_file.as_deref(), hook.secret_env.as_deref())?;
    let made = Webhook::new(&hook.name, &url, secrets, webhook::Format::Standard, http.clone())?;
    Ok((Arc::new(made), fingerprint(&[url.expose()])))
}

/// Who is told what and when: what is written, and what follows from webhooks and the environment.
#[must_use]
pub fn policy_of(config: &Config, ways: &[Way]) -> PolicyConfig {
    policy(config, ways.iter().filter_map(|way| way.own.clone()).collect())
}

/// Addresses in the own network that may be posted to.
fn allowed(config: &Config) -> Vec<String> {
    let mut allowed = config.alerts.allow_addresses.clone();
    allowed.extend(environment::from_process().allow_addresses);
    allowed
}

/// The routes that are written; without any, each channel gets everything. Webhooks and the environment have routes of their own, unless a
/// written route names them.
fn policy(config: &Config, own: Vec<Route>) -> PolicyConfig {
    let mut policy = config.alerts.policy();
    if policy.routes.is_empty() {
        let all = config.alerts.channels.iter().map(|channel| channel.name.clone()).collect::<Vec<_>>();
        policy.routes.extend((!all.is_empty()).then(|| route("everything", &all, Vec::new())));
    }
    // Before the written ones: `is_last` there does not keep them from what they are for.
    let is_written = |name: &String| config.alerts.routes.iter().any(|route| route.channels.contains(name));
    let own = own.into_iter().filter(|route| !route.channels.iter().any(is_written));
    policy.routes.splice(0..0, own);
    policy
}

fn route(name: &str, channels: &[String], event_types: Vec<EventType>) -> Route {
    Route { matcher: Matcher { event_types, ..Matcher::default() }, ..Route::new(&format!("to {name}"), channels) }
}

fn limits(alerts: &config::Alerts) -> Limits {
    let ms = |n: u64, unit: u64| config::integer(n.saturating_mul(unit));
    Limits {
        age_max_ms: ms(alerts.late_after_s, 1_000),
        trouble_after_ms: ms(alerts.trouble_after_s, 1_000),
        disable_after_ms: ms(alerts.disable_after_h, 3_600_000),
        retention_ms: ms(alerts.keep_days, 86_400_000),
        ..Limits::default()
    }
}

/// The outbox's file.
#[must_use]
pub fn outbox_path(config: &Config) -> PathBuf {
    let location = &config.store.location;
    let is_directory = location != "none" && !location.contains("://");
    let usual = || if is_directory { Path::new(location).join("outbox.sqlite") } else { "outbox.sqlite".into() };
    config.alerts.outbox.clone().unwrap_or_else(usual)
}

fn make(channel: &config::Channel, http: &HttpSender) -> anyhow::Result<(Box<dyn Channel>, String)> {
    let name = channel.name.as_str();
    let url = || secret("url", channel.url.as_deref(), channel.url_file.as_deref(), channel.url_env.as_deref());
    let per_minute = |burst: u32| channel.per_minute.map(|most| pace(most, burst));
    Ok(match channel.kind {
        ChannelKind::Webhook => {
            let (url, secrets) = (url()?, secrets(channel.secret_file.as_deref(), channel.secret_env.as_deref())?);
            let format = match channel.format {
                BodyFormat::Standard => webhook::Format::Standard,
                BodyFormat::CloudEvents => webhook::Format::CloudEvents,
            };
            (Box::new(Webhook::new(name, &url, secrets, format, http.clone())?), fingerprint(&[url.expose()]))
        }
        ChannelKind::Discord => {
            let url = url()?;
            (Box::new(Discord::new(name, &url, http.clone(), per_minute(5))?), fingerprint(&[url.expose()]))
        }
        ChannelKind::Slack => {
            let url = url()?;
            (Box::new(Slack::new(name, &url, http.clone(), per_minute(1))?), fingerprint(&[url.expose()]))
        }
        ChannelKind::Telegram => {
            let token = secret("token", None, channel.token_file.as_deref(), channel.token_env.as_deref())?;
            let (base, chat) =
                (channel.api_url.as_deref().unwrap_or(telegram::BASE), channel.chat_id.as_deref().unwrap_or_default());
            let made = Telegram::new(name, base, &token, chat, http.clone(), per_minute(1))?;
            (Box::new(made), fingerprint(&[base, token.expose(), chat]))
        }
        ChannelKind::Email => {
            let made = Email::new(name, mail(channel)?)?;
            let to = channel.to.join(",");
            (
                Box::new(made),
                fingerprint(&[channel.server.as_deref().unwrap_or_default(), channel.user.as_deref().unwrap_or_default(), &to]),
            )
        }
        ChannelKind::Stdout => {
            let form = if channel.json { stdout::Form::JsonLines } else { stdout::Form::Text };
            (Box::new(Stdout::new(name, form, Box::new(std::io::stdout()))), String::new())
        }
    })
}

fn mail(channel: &config::Channel) -> anyhow::Result<EmailConfig> {
    let server = channel.server.as_deref().unwrap_or_default();
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
            (host, Some(port.parse().context("reading the mail server's port")?))
        }
        _ => (server, None),
    };
    let tls = match channel.tls {
        MailTls::StartTls => Tls::StartTls,
        MailTls::Tls => Tls::Implicit,
        MailTls::None => Tls::None,
    };
    let login = match &channel.user {
        Some(user) => {
            let password = secret("password", None, channel.password_file.as_deref(), channel.password_env.as_deref())?;
            Some(Login::new(user.clone(), password.expose().to_owned()))
        }
        None => None,
    };
    Ok(EmailConfig {
        server: Server::new(host, port, tls),
        login,
        from: channel.from.clone().unwrap_or_default(),
        to: channel.to.clone(),
        may_go_clear: false,
        roots: Vec::new(),
        limits: MailLimits::default(),
    })
}

fn pace(per_minute: u32, burst: u32) -> Pace {
    let second = std::time::Duration::from_secs(1);
    Pace { limits: vec![(burst, 2 * second), (per_minute, 60 * second)], in_flight_max: 1, digest_above: Some(3) }
}

fn secret(what: &str, literal: Option<&str>, file: Option<&Path>, variable: Option<&str>) -> anyhow::Result<SecretText> {
    match (literal, file, variable) {
        (Some(text), _, _) => Ok(SecretText::literal(text)?),
        (_, Some(path), _) => Ok(SecretText::from_file(path)?),
        (_, _, Some(name)) => Ok(SecretText::from_env(name)?),
        _ => anyhow::bail!("it has no {what}: set {what}_file or {what}_env"),
    }
}

fn secrets(file: Option<&Path>, variable: Option<&str>) -> anyhow::Result<Vec<Secret>> {
    let mut secrets = Vec::new();
    if let Some(path) = file {
        secrets.push(Secret::from_file(path)?);
    }
    if let Some(name) = variable {
        secrets.push(Secret::from_env(name)?);
    }
    Ok(secrets)
}

/// Tells a receiver from another one, in every version of this program, without holding its address.
fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
