//! Which kind of receiver a URL leads to, so that `WEBHOOKS_ALL=https://discord.com/api/webhooks/…` is all it takes.

use reqwest::Url;

use super::http::{HttpSender, SetupError};
use super::{Channel, Discord, Slack, Telegram, Webhook, webhook};
use crate::secret::SecretText;
use crate::sign::Secret;

/// What a URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Webhook,
    Discord,
    Slack,
    Telegram,
}

/// Recognises a URL by host and path; whatever is not known, or no URL, is a plain webhook.
#[must_use]
pub fn recognise(url: &str) -> Kind {
    let Ok(url) = Url::parse(url.trim()) else { return Kind::Webhook };
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    let is_or_below = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.'));
    let path: Vec<&str> = url.path_segments().map(Iterator::collect).unwrap_or_default();
    match path.as_slice() {
        // Discord takes GitHub's form too, and Slack's older one, at paths of their own: a program chose those.
        ["api", .., "github" | "slack"] => Kind::Webhook,
        // `/api/v10/webhooks/…` is the same.
        ["api", "webhooks", _, ..] | ["api", _, "webhooks", _, ..]
            if is_or_below("discord.com") || is_or_below("discordapp.com") =>
        {
            Kind::Discord
        }
        // Slack's workflows (`/triggers/…`) want a form of their own.
        ["services", ..] if host == "hooks.slack.com" || host == "hooks.slack-gov.com" => Kind::Slack,
        [bot, "sendMessage", ..] if host == "api.telegram.org" && bot.len() > 3 && bot.starts_with("bot") => Kind::Telegram,
        _ => Kind::Webhook,
    }
}

/// The channel that a URL leads to, with all defaults. The secrets sign what goes to a plain webhook; the others know no signature.
pub fn from_url(name: &str, url: &SecretText, secrets: Vec<Secret>, http: HttpSender) -> Result<Box<dyn Channel>, SetupError> {
    Ok(match recognise(url.expose()) {
        Kind::Webhook => Box::new(Webhook::new(name, url, secrets, webhook::Format::Standard, http)?),
        Kind::Discord => Box::new(Discord::new(name, url, http, None)?),
        Kind::Slack => Box::new(Slack::new(name, url, http, None)?),
        Kind::Telegram => Box::new(Telegram::from_url(name, url, http, None)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_recognised_by_host_and_path() {
        let check = |url: &str, kind: Kind| assert_eq!(recognise(url), kind, "{url}");
        check("https://discord.com/api/webhooks/123/abc", Kind::Discord);
        check(" https://discord.com/api/webhooks/123/abc?thread_id=7\n", Kind::Discord);
        check("https://DISCORD.com/api/v10/webhooks/123/abc", Kind::Discord);
        check("https://discordapp.com/api/webhooks/123/abc", Kind::Discord);
        check("https://canary.discord.com/api/webhooks/123/abc", Kind::Discord);
        check("https://discord.com/api/webhooks/123/abc/github", Kind::Webhook);
        check("https://notdiscord.com/api/webhooks/123/abc", Kind::Webhook);
        check("https://discord.com.example.com/api/webhooks/123/abc", Kind::Webhook);
        check("https://discord.com/", Kind::Webhook);
        check("https://hooks.slack.com/services/T0/B0/x", Kind::Slack);
        check("https://hooks.slack.com/workflows/T0/A0/1/x", Kind::Webhook);
        check("https://slack.com/services/T0/B0/x", Kind::Webhook);
        check("https://api.telegram.org/bot123:abc/sendMessage?chat_id=-100", Kind::Telegram);
        check("https://api.telegram.org/bot/sendMessage", Kind::Webhook);
        check("https://api.telegram.org/bot123:abc/getMe", Kind::Webhook);
        check("https://example.com/hooks/1", Kind::Webhook);
        check("discord.com/api/webhooks/123/abc", Kind::Webhook);
    }
}
