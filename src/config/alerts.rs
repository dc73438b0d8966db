//! Who is told what, when, and through which channel.

use std::fmt;
use std::path::PathBuf;

use ::alerts::Guard;
use ::alerts::policy::{Inhibition, PolicyConfig, QuietHours, Route};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{Places, suggestion};
use super::rules::{address, duplicates};
use super::{Config, redact};

/// Who is told what, when, and through which channel. Rules, which say what is an alert at all, are files of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// A directory with rules, `*.toml`. Unset: everything that is an episode is an alert.
    pub rules: Option<PathBuf>,
    /// The file in which notices wait until they are delivered. Unset: `outbox.sqlite` in the store's directory, or here if the store
    /// is a server.
    pub outbox: Option<PathBuf>,
    /// Addresses in the own network that may be posted to, as CIDR (`10.1.0.0/16`, `127.0.0.1/32`). All others there are refused.
    #[schemars(length(max = 100))]
    pub allow_addresses: Vec<String>,
    /// An alert that was not delivered within this comes in a digest marked late, in seconds.
    #[schemars(range(min = 60, max = 86_400))]
    pub late_after_s: u64,
    /// People are told (PIPELINE_LAG) when answers are so many seconds late, three checks in a row; it is over at half of it. 0: never.
    /// No rule is needed for it.
    #[schemars(range(max = 3_600))]
    pub lag_s: u64,
    /// Another channel is told of one that has failed for so long (or four times in a row), in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub trouble_after_s: u64,
    /// A channel that has only failed for so long gets nothing more, in hours.
    #[schemars(range(min = 1, max = 8_760))]
    pub disable_after_h: u64,
    /// Delivered notices and dead letters are kept for so long, in days.
    #[schemars(range(min = 1, max = 365))]
    pub keep_days: u64,
    /// Somebody else's dead-man's switch, who raises the alarm when this program stops.
    pub heartbeat: Option<Heartbeat>,
    /// Ways to receivers, beside `webhooks` and the environment's `WEBHOOKS_…`.
    pub channels: Vec<Channel>,
    /// Which alerts go to which channels, tried in this order. None: everything goes everywhere.
    pub routes: Vec<Route>,
    /// What mutes what. Unset: a market-wide cascade mutes the cascades and open interest shocks of single symbols.
    pub inhibitions: Vec<Inhibition>,
    /// When routes that name them hold back what can wait.
    pub quiet_hours: Vec<QuietHours>,
}

impl Default for Alerts {
    fn default() -> Self {
        let PolicyConfig { routes, inhibitions, quiet_hours } = PolicyConfig::default();
        Self {
            rules: None,
            outbox: None,
            allow_addresses: Vec::new(),
            late_after_s: 1_800,
            lag_s: 5,
            trouble_after_s: 600,
            disable_after_h: 120,
            keep_days: 7,
            heartbeat: None,
            channels: Vec::new(),
            routes,
            inhibitions,
            quiet_hours,
        }
    }
}

/// A request at regular times, as long as the pipeline works.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Where to. A secret.
    pub url: Option<String>,
    /// A file that holds the URL.
    pub url_file: Option<PathBuf>,
    /// An environment variable that holds the URL.
    pub url_env: Option<String>,
    /// How often, in seconds.
    #[serde(default = "every_minute")]
    #[schemars(range(min = 1, max = 3_600))]
    pub every_s: u64,
}

const fn every_minute() -> u64 {
    60
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat")
            .field("url", &self.url.as_deref().map(redact::url))
            .field("every_s", &self.every_s)
            .finish_non_exhaustive()
    }
}

/// What a channel speaks.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    Webhook,
    Discord,
    Slack,
    Telegram,
    Email,
    Stdout,
}

impl ChannelKind {
    /// As files write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Discord => "discord",
            Self::Slack => "slack",
            Self::Telegram => "telegram",
            Self::Email => "email",
            Self::Stdout => "stdout",
        }
    }
}

/// How a webhook's body is written: the event as it is, or in a CloudEvents 1.0 envelope.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    #[default]
    Standard,
    CloudEvents,
}

/// How a mail server is spoken to: STARTTLS or nothing is sent; TLS from the first byte; in the clear, without a login.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    #[default]
    StartTls,
    Tls,
    None,
}

/// A way to a receiver. Every secret can be given as a file or an environment variable.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Unique; routes, logs and the `deliveries` view know it by this.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What it speaks.
    pub kind: ChannelKind,
    /// webhook, discord, slack: where to post. A secret.
    pub url: Option<String>,
    /// A file that holds the URL.
    pub url_file: Option<PathBuf>,
    /// An environment variable that holds the URL.
    pub url_env: Option<String>,
    /// webhook: a file that holds the signing secret (`whsec_…`). With `secret_env` too, both sign: that is how a secret is replaced.
    pub secret_file: Option<PathBuf>,
    /// webhook: an environment variable that holds the signing secret.
    pub secret_env: Option<String>,
    /// webhook: how the body is written.
    #[serde(default)]
    pub format: BodyFormat,
    /// telegram: a file that holds the bot's token.
    pub token_file: Option<PathBuf>,
    /// telegram: an environment variable that holds the bot's token.
    pub token_env: Option<String>,
    /// telegram: the chat: `-1001234567890` or `@channel`.
    pub chat_id: Option<String>,
    /// telegram: another server of its API.
    pub api_url: Option<String>,
    /// email: the server: `mail.example.com` or `mail.example.com:2525`.
    pub server: Option<String>,
    /// email: how the server is spoken to.
    #[serde(default)]
    pub tls: MailTls,
    /// email: the login's user.
    pub user: Option<String>,
    /// email: a file that holds the login's password.
    pub password_file: Option<PathBuf>,
    /// email: an environment variable that holds the login's password.
    pub password_env: Option<String>,
    /// email: the sender: `regimeflow <alerts@example.com>`.
    pub from: Option<String>,
    /// email: the recipients.
    #[serde(default)]
    pub to: Vec<String>,
    /// discord, slack, telegram: most messages a minute, instead of the receiver's usual limits.
    #[schemars(range(min = 1, max = 6_000))]
    pub per_minute: Option<u32>,
    /// stdout: one JSON object a line instead of text.
    #[serde(default)]
    pub json: bool,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(redact::url);
        f.debug_struct("Channel").field("name", &self.name).field("kind", &self.kind).field("url", &url).finish_non_exhaustive()
    }
}

impl Alerts {
    /// The policy's part, as it is written; [`crate::notify`] adds what follows from webhooks.
    #[must_use]
    pub fn policy(&self) -> PolicyConfig {
        let (routes, inhibitions, quiet_hours) = (self.routes.clone(), self.inhibitions.clone(), self.quiet_hours.clone());
        PolicyConfig { routes, inhibitions, quiet_hours }
    }
}

/// What one key demands of another.
pub(super) fn check(config: &Config, places: &mut Places) {
    let alerts = &config.alerts;
    let guard = match Guard::new(&alerts.allow_addresses) {
        Ok(guard) => Some(guard),
        Err(e) => {
            places.error("alerts.allow_addresses", e.to_string(), "write networks as 10.1.0.0/16, single addresses as 127.0.0.1");
            None
        }
    };
    if let Some(heartbeat) = &alerts.heartbeat {
        let given = [heartbeat.url.is_some(), heartbeat.url_file.is_some(), heartbeat.url_env.is_some()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            places.error("alerts.heartbeat", "needs one url".into(), "keep one of url, url_file, url_env");
        }
        if let Some(url) = &heartbeat.url {
            address("alerts.heartbeat.url", url, ["http", "https"], places);
            may_be_posted_to("alerts.heartbeat.url", url, guard.as_ref(), places);
        }
    }
    let mut names: Vec<String> = config.webhooks.iter().map(|webhook| webhook.name.clone()).collect();
    for (n, webhook) in config.webhooks.iter().enumerate() {
        may_be_posted_to(&format!("webhooks[{n}].url"), &webhook.url, guard.as_ref(), places);
    }
    for (n, channel) in alerts.channels.iter().enumerate() {
        let key = format!("alerts.channels[{n}]");
        if names.contains(&channel.name) {
            places.error(
                &format!("{key}.name"),
                format!("{:?} is the name of another channel or webhook", channel.name),
                "each needs its own",
            );
        }
        names.push(channel.name.clone());
        channel.check(&key, guard.as_ref(), places);
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    for (n, route) in alerts.routes.iter().enumerate() {
        let escalation = route.escalation.iter().map(|escalation| ("escalation.channels", &escalation.channels));
        for (field, channels) in std::iter::once(("channels", &route.channels)).chain(escalation) {
            for (c, name) in channels.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
                let key = format!("alerts.routes[{n}].{field}[{c}]");
                places.error(&key, format!("there is no channel {name:?}"), &suggestion(name, &known));
            }
        }
    }
    for error in alerts.policy().check().err().into_iter().flat_map(|errors| errors.0) {
        places.error(&place_of(alerts, &error.place), error.reason, "");
    }
}

/// `routes.desk.repeat_ms`, as the policy names it, is `alerts.routes[0].repeat_ms` in the file.
fn place_of(alerts: &Alerts, path: &str) -> String {
    let (list, rest) = path.split_once('.').unwrap_or((path, ""));
    let names: Vec<&str> = match list {
        "routes" => alerts.routes.iter().map(|route| route.name.as_str()).collect(),
        "inhibitions" => alerts.inhibitions.iter().map(|inhibition| inhibition.name.as_str()).collect(),
        _ => alerts.quiet_hours.iter().map(|quiet| quiet.name.as_str()).collect(),
    };
    let found = names.iter().enumerate().find_map(|(n, name)| Some((n, rest.strip_prefix(name)?.trim_start_matches('.'))));
    match found {
        Some((n, "")) => format!("alerts.{list}[{n}]"),
        Some((n, field)) => format!("alerts.{list}[{n}].{field}"),
        None => format!("alerts.{list}"),
    }
}

fn may_be_posted_to(key: &str, text: &str, guard: Option<&Guard>, places: &mut Places) {
    if let (Some(guard), Ok(url)) = (guard, url::Url::parse(text))
        && matches!(url.scheme(), "http" | "https")
        && let Err(e) = guard.check_url(&url)
    {
        places.error(key, e.to_string(), "if it is meant, name the address in `alerts.allow_addresses`");
    }
}

impl Channel {
    fn check(&self, key: &str, guard: Option<&Guard>, places: &mut Places) {
        let one_of = |what: &str, given: [bool; 3], places: &mut Places| match given.into_iter().filter(|given| *given).count() {
            0 => {
                places.error(key, format!("{:?} has no {what}", self.name), &format!("set {what}, or {what}_file, or {what}_env"))
            }
            1 => {}
            _ => places.error(
                key,
                format!("{:?} has more than one {what}", self.name),
                &format!("keep one of {what}, {what}_file, {what}_env"),
            ),
        };
        let kind = self.kind;
        let posts = matches!(kind, ChannelKind::Webhook | ChannelKind::Discord | ChannelKind::Slack);
        if posts {
            one_of("url", [self.url.is_some(), self.url_file.is_some(), self.url_env.is_some()], places);
        }
        if let Some(url) = &self.url {
            address(&format!("{key}.url"), url, ["http", "https"], places);
            may_be_posted_to(&format!("{key}.url"), url, guard, places);
        }
        if kind == ChannelKind::Telegram {
            one_of("token", [false, self.token_file.is_some(), self.token_env.is_some()], places);
        }
        if kind == ChannelKind::Email && self.user.is_some() {
            one_of("password", [false, self.password_file.is_some(), self.password_env.is_some()], places);
        }
        for (field, is_needed, is_set) in [
            ("chat_id", kind == ChannelKind::Telegram, self.chat_id.is_some()),
            ("server", kind == ChannelKind::Email, self.server.is_some()),
            ("from", kind == ChannelKind::Email, self.from.is_some()),
            ("to", kind == ChannelKind::Email, !self.to.is_empty()),
        ] {
            if is_needed && !is_set {
                places.error(key, format!("{:?} has no {field}", self.name), &format!("add `{field} = …`"));
            }
        }
        for (field, is_set, fits) in [
            ("url", self.url.is_some() || self.url_file.is_some() || self.url_env.is_some(), posts),
            ("secret_file", self.secret_file.is_some(), kind == ChannelKind::Webhook),
            ("secret_env", self.secret_env.is_some(), kind == ChannelKind::Webhook),
            ("chat_id", self.chat_id.is_some(), kind == ChannelKind::Telegram),
            ("token_file", self.token_file.is_some(), kind == ChannelKind::Telegram),
            ("token_env", self.token_env.is_some(), kind == ChannelKind::Telegram),
            ("server", self.server.is_some(), kind == ChannelKind::Email),
            ("to", !self.to.is_empty(), kind == ChannelKind::Email),
        ] {
            if is_set && !fits {
                let kind = kind.as_str();
                places.error(
                    &format!("{key}.{field}"),
                    format!("a channel of kind {kind} has none"),
                    "leave it out, or mend the kind",
                );
            }
        }
        if self.tls == MailTls::None && self.user.is_some() {
            places.error(
                &format!("{key}.user"),
                "a login without TLS is not sent".into(),
                "use tls = \"starttls\", or leave the login out",
            );
        }
        for (field, name) in [
            ("url_env", &self.url_env),
            ("secret_env", &self.secret_env),
            ("token_env", &self.token_env),
            ("password_env", &self.password_env),
        ] {
            let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if let Some(name) = name.as_deref().filter(|name| name.is_empty() || !name.chars().all(in_name)) {
                // Somebody may have put the secret itself here: it is not repeated.
                let message = format!("its {} characters are not a variable's name", name.chars().count());
                places.error(&format!("{key}.{field}"), message, "name the environment variable that holds the secret");
            }
        }
        duplicates(&format!("{key}.to"), &self.to, places);
    }
}
