//! Slack, by an incoming webhook: Block Kit, a section with fields for each alert.
//!
//! Alerts without words of their own (a digest's) are lines of one section. Limits: [`limits`]; what doesn't fit is cut with `…`, what
//! is left out is counted. Incoming webhooks carry no files and this program serves none, so there is no chart here.
//!
//! No mention fires: `&`, `<` and `>` are escaped, so that `<!channel>` and `<@U…>` are plain text; texts are `verbatim` and
//! `link_names` is off, so that `@here` is no more than that, and an invisible space stands behind every `@` besides. Slack has no
//! escape for `*` and `_`: what looks like emphasis may be shown as such.
//!
//! Slack has taken a message only if it answers 200 and `ok`. Any other 200 is not Slack's, and is tried again: once more is better
//! than never. 403, 404 and 410 (a closed channel, a webhook that was taken back) disable the channel.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;

use super::http::{Answer, HttpSender, Post, Reading, SetupError};
use super::preview::preview;
use super::webhook::Hidden;
use super::{Channel, Outcome, Pace, Verdict};
use crate::message::Message;
use crate::notice::Notice;
use crate::secret::SecretText;

mod blocks;
pub mod limits;

pub use blocks::payload;

/// A Slack channel's incoming webhook.
#[derive(Debug)]
pub struct Slack {
    name: String,
    url: Hidden,
    pace: Pace,
    http: HttpSender,
}

impl Slack {
    /// By the webhook's URL; `pace` instead of the documented one message a second.
    pub fn new(name: &str, url: &SecretText, http: HttpSender, pace: Option<Pace>) -> Result<Self, SetupError> {
        let url = Hidden(http.url(name, url)?);
        let documented = Pace { limits: vec![(1, Duration::from_secs(1))], in_flight_max: 1, digest_above: Some(3) };
        Ok(Self { name: name.to_owned(), url, pace: pace.unwrap_or(documented), http })
    }

    fn post(&self, payload: &Value) -> Post {
        let (url, body) = (self.url.0.clone(), payload.to_string().into_bytes());
        Post { url, content_type: "application/json".to_owned(), headers: Vec::new(), body }
    }
}

impl Channel for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "slack"
    }

    fn pace(&self) -> Pace {
        self.pace.clone()
    }

    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let payload = payload(&Message::of(notice), notice.total());
            self.http.attempt(self.post(&payload), now_ms, read).await
        })
    }

    fn preview(&self, notice: &Notice, _now_ms: i64) -> String {
        let payload = payload(&Message::of(notice), notice.total());
        preview(&self.post(&payload), &payload, None)
    }
}

/// What Slack calls its refusals; only these words of an answer are ever repeated.
const CODES: [&str; 15] = [
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "invalid_blocks",
    "invalid_payload",
    "invalid_token",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "no_text",
    "posting_to_general_channel_denied",
    "rollup_error",
    "team_disabled",
    "user_not_found",
];

fn read(answer: &Answer) -> Reading {
    let said = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
    let code = CODES.into_iter().find(|code| *code == said);
    let (verdict, advice) = match (answer.status, code) {
        (200, _) if answer.body == b"ok" => return Reading::delivered(),
        (200, None) => (Verdict::Retry, "it isn't Slack's `ok`"),
        (200..=299, _) => (Verdict::Failed, "Slack didn't take it; it answers 200 and `ok` when it does"),
        (403 | 404 | 410, _) => (Verdict::Gone, "Slack takes nothing for this webhook any more; make a new one and set its url"),
        (400, _) => (Verdict::Failed, "Slack refuses it"),
        (status, _) => {
            let Reading { verdict, advice, .. } = Reading::of_status(status);
            return Reading { advice: code.map_or(advice, Into::into), ..Reading::new(verdict, "") };
        }
    };
    match code {
        Some(code) => Reading { advice: format!("{advice} ({code})").into(), ..Reading::new(verdict, "") },
        None => Reading::new(verdict, advice),
    }
}
