//! Telegram, by a bot: one message in HTML to one chat.
//!
//! What doesn't fit into a message's 4,096 is cut with `…` alert by alert, none loses its title. With a chart it is a photo with the text as
//! its caption where that fits into 1,024; a longer text goes without, for a second message would be a second attempt.
//! Links are not previewed; what is only INFO makes no sound, unless it is urgent, an escalation or a trouble.
//!
//! No mention fires: everything is escaped, and behind every `@` stands an invisible joiner, so that it names nobody.
//! The token is a part of the URL: nothing here prints more than its origin.
//!
//! 401 and 404 (no such bot) and 403 (thrown out, blocked) disable the channel.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::http::pause::{Wish, seconds};
use super::http::{Answer, HttpSender, Post, Reading, SetupError, multipart};
use super::preview::preview;
use super::webhook::Hidden;
use super::{Channel, Outcome, Pace, Verdict};
use crate::event::Severity;
use crate::message::Message;
use crate::notice::{Notice, NoticeKind};
use crate::secret::SecretText;

mod html;
pub mod limits;

/// Where bots post to, unless a test or an own server is meant.
pub const BASE: &str = "https://api.telegram.org";

/// A message as HTML, within [`limits::TEXT`]. `total`: how many alerts the notice speaks of.
#[must_use]
pub fn text(message: &Message, total: u64) -> String {
    html::text(message, total, limits::TEXT).text
}

/// A bot and the chat that it writes into.
#[derive(Debug)]
pub struct Telegram {
    name: String,
    base: Hidden,
    token: SecretText,
    chat_id: String,
    thread_id: Option<i64>,
    pace: Pace,
    http: HttpSender,
}

impl Telegram {
    /// By the bot's token and the chat's id (`-1001234567890`, `@channel`); `base` is [`BASE`]; `pace` instead of the documented one
    /// (1 a second, 20 a minute).
    pub fn new(
        name: &str,
        base: &str,
        token: &SecretText,
        chat_id: &str,
        http: HttpSender,
        pace: Option<Pace>,
    ) -> Result<Self, SetupError> {
        let wrong = |reason| SetupError::Telegram { channel: name.to_owned(), reason };
        if !token.expose().chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')) {
            return Err(wrong("its token is not one; BotFather gives it as 123456:ABC-DEF"));
        }
        let is_id = !chat_id.is_empty() && chat_id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '@' | '_' | '-'));
        if !is_id {
            return Err(wrong("its chat id is not one; it is a number such as -1001234567890, or @channelname"));
        }
        let base = SecretText::literal(base).map_err(|_| wrong("its base url is empty"))?;
        let base = Hidden(http.url(name, &base)?);
        let documented = Pace {
            limits: vec![(1, Duration::from_secs(1)), (20, Duration::from_secs(60))],
            in_flight_max: 1,
            digest_above: Some(3),
        };
        let (name, token, chat_id) = (name.to_owned(), token.clone(), chat_id.to_owned());
        Ok(Self { name, base, token, chat_id, thread_id: None, pace: pace.unwrap_or(documented), http })
    }

    /// By a URL as `curl` would use it: `https://api.telegram.org/bot<token>/sendMessage?chat_id=…`, `message_thread_id` with it for a topic.
    pub fn from_url(name: &str, url: &SecretText, http: HttpSender, pace: Option<Pace>) -> Result<Self, SetupError> {
        let wrong = |reason| SetupError::Telegram { channel: name.to_owned(), reason };
        let url = http.url(name, url)?;
        let token = url.path_segments().and_then(|mut parts| parts.next()).and_then(|part| part.strip_prefix("bot"));
        let token = token.and_then(|token| SecretText::literal(token).ok());
        let token = token
            .ok_or_else(|| wrong("its url has no token; write https://api.telegram.org/bot<token>/sendMessage?chat_id=…"))?;
        let query = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let chat_id = query("chat_id").ok_or_else(|| wrong("its url has no chat_id; append ?chat_id=…"))?;
        let thread_id = query("message_thread_id").map(|id| id.parse()).transpose();
        let thread_id = thread_id.map_err(|_| wrong("its url's message_thread_id is not a number"))?;
        let base = url.origin().ascii_serialization();
        Ok(Self { thread_id, ..Self::new(name, &base, &token, &chat_id, http, pace)? })
    }

    /// The request, its fields for people, and the photo's length.
    fn post(&self, message: &Message, notice: &Notice) -> (Post, Value, Option<usize>) {
        let mut fields = vec![("chat_id", Value::from(self.chat_id.as_str())), ("parse_mode", "HTML".into())];
        fields.extend(self.thread_id.map(|id| ("message_thread_id", id.into())));
        let is_loud = notice.is_urgent || matches!(notice.kind, NoticeKind::Escalation | NoticeKind::Trouble);
        if message.severity == Severity::Info && !is_loud {
            fields.push(("disable_notification", true.into()));
        }
        let text = html::text(message, notice.total(), limits::TEXT);
        let png = message.png.as_deref().filter(|png| !png.is_empty() && png.len() <= limits::PHOTO_BYTES);
        if let Some(png) = png.filter(|_| text.units <= limits::CAPTION) {
            fields.push(("caption", text.text.into()));
            let plain: Vec<(&str, String)> = fields.iter().map(|(name, value)| (*name, plain(value))).collect();
            let photo =
                multipart::Part { name: "photo", file_name: Some("chart.png"), content_type: Some("image/png"), body: png };
            let parts = plain.iter().map(|(name, text)| multipart::Part {
                name,
                file_name: None,
                content_type: None,
                body: text.as_bytes(),
            });
            let (content_type, body) = multipart::form(&parts.chain([photo]).collect::<Vec<_>>());
            let post = Post { url: self.method("sendPhoto"), content_type, headers: Vec::new(), body };
            return (post, object(fields), Some(png.len()));
        }
        fields.push(("text", text.text.into()));
        fields.push(("link_preview_options", serde_json::json!({ "is_disabled": true })));
        let fields = object(fields);
        let body = fields.to_string().into_bytes();
        let content_type = "application/json".to_owned();
        (Post { url: self.method("sendMessage"), content_type, headers: Vec::new(), body }, fields, None)
    }

    fn method(&self, method: &str) -> Url {
        let mut url = self.base.0.clone();
        url.set_path(&format!("/bot{}/{method}", self.token.expose()));
        url
    }
}

impl Channel for Telegram {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "telegram"
    }

    fn pace(&self) -> Pace {
        self.pace.clone()
    }

    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let (post, ..) = self.post(&Message::with_chart(notice), notice);
            self.http.attempt(post, now_ms, read).await
        })
    }

    fn preview(&self, notice: &Notice, _now_ms: i64) -> String {
        let (post, fields, png) = self.post(&Message::with_chart(notice), notice);
        preview(&post, &fields, png)
    }
}

fn object(fields: Vec<(&str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `{"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 14", "parameters": {"retry_after": 14}}`
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    ok: bool,
    description: String,
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    retry_after: Option<f64>,
    migrate_to_chat_id: Option<i64>,
}

fn read(answer: &Answer) -> Reading {
    let said: Said = serde_json::from_slice(&answer.body).unwrap_or_default();
    let wish = Wish { length: said.parameters.retry_after.and_then(seconds), is_for_kind: false };
    let (verdict, advice): (_, Cow<'static, str>) = match answer.status {
        200 if said.ok => return Reading::delivered(),
        200 => (Verdict::Retry, "it isn't Telegram's `\"ok\": true`".into()),
        400 => (Verdict::Failed, refused(&said)),
        401 | 404 => (Verdict::Gone, "Telegram knows no such bot; set the token that BotFather gives".into()),
        403 => (Verdict::Gone, "the bot may not write into the chat; add it, or have it unblocked".into()),
        status => {
            let Reading { verdict, advice, .. } = Reading::of_status(status);
            (verdict, advice)
        }
    };
    Reading { verdict, advice, wish }
}

/// Why a message is refused, where Telegram's words are known; others are not repeated.
fn refused(said: &Said) -> Cow<'static, str> {
    if let Some(id) = said.parameters.migrate_to_chat_id {
        return format!("the group became a supergroup; set chat_id to {id}").into();
    }
    let description = said.description.to_lowercase();
    let known = [
        ("chat not found", "there is no such chat, or the bot was never in it; check chat_id"),
        ("not enough rights", "the bot has no right to write into the chat"),
        ("can't parse entities", "Telegram can't read its markup"),
        ("message is too long", "it is too long for Telegram"),
        ("message thread not found", "there is no such topic; check message_thread_id"),
    ];
    known.iter().find(|(part, _)| description.contains(part)).map_or("Telegram refuses it", |(_, advice)| advice).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::event::Status;
    use crate::guard::Guard;

    fn telegram(url: &str) -> Result<Telegram, SetupError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = HttpSender::new(Guard::default(), Duration::from_secs(1)).unwrap();
        Telegram::from_url("ops", &SecretText::literal(url).unwrap(), http, None)
    }

    fn post(lead: &str, severity: Severity, kind: NoticeKind) -> (Post, Value, Option<usize>) {
        let telegram = telegram("https://api.telegram.org/bot12:canary/sendMessage?chat_id=-100&message_thread_id=7").unwrap();
        assert!(!format!("{telegram:?}").contains("canary"), "{telegram:?}");
        let message = Message {
            title: "title".into(),
            lead: lead.into(),
            sections: Vec::new(),
            footer: String::new(),
            severity,
            status: Status::Firing,
            at_ms: 0,
            png: Some(b"\x89PNG".to_vec()),
        };
        let notice = Notice {
            id: "ntc_1".into(),
            channel: "ops".into(),
            kind,
            is_urgent: false,
            group: String::new(),
            alerts: Vec::new(),
            counts: Vec::new(),
            remark: String::new(),
            decided_at: 0,
        };
        telegram.post(&message, &notice)
    }

    #[test]
    fn a_picture_comes_with_a_caption_where_the_text_fits_into_one() {
        let (photo, fields, png) = post("short", Severity::Critical, NoticeKind::News);
        assert_eq!((photo.url.path(), png), ("/bot12:canary/sendPhoto", Some(4)));
        assert_eq!(fields["caption"], "🔴 <b>title</b>\nshort");
        let body = String::from_utf8_lossy(&photo.body);
        for part in [
            "name=\"chat_id\"\r\n\r\n-100\r\n",
            "name=\"message_thread_id\"\r\n\r\n7\r\n",
            "name=\"photo\"; filename=\"chart.png\"",
        ] {
            assert!(body.contains(part), "{body}");
        }
        // 🔴 (2), a space, the title and a line break are 9 units.
        let (photo, ..) = post(&"x".repeat(1_024 - 9), Severity::Critical, NoticeKind::News);
        assert_eq!(photo.url.path(), "/bot12:canary/sendPhoto");
        let (text, fields, png) = post(&"x".repeat(1_024 - 8), Severity::Critical, NoticeKind::News);
        assert_eq!(
            (text.url.path(), png, fields["link_preview_options"]["is_disabled"].as_bool()),
            ("/bot12:canary/sendMessage", None, Some(true))
        );
    }

    #[test]
    fn only_what_can_wait_is_silent() {
        let check = |severity, kind, is_silent: bool| {
            assert_eq!(post("", severity, kind).1.get("disable_notification").is_some(), is_silent, "{severity:?} {kind:?}");
        };
        check(Severity::Info, NoticeKind::News, true);
        check(Severity::Info, NoticeKind::Digest, true);
        check(Severity::Info, NoticeKind::Trouble, false);
        check(Severity::Info, NoticeKind::Escalation, false);
        check(Severity::Warning, NoticeKind::News, false);
    }

    #[test]
    fn what_cannot_work_is_refused_without_the_token() {
        let check = |url: &str, message: &str| {
            let error = telegram(url).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("`ops`") && !error.contains("canary"), "{error}");
        };
        check("https://api.telegram.org/canary/sendMessage?chat_id=1", "no token");
        check("https://api.telegram.org/bot/sendMessage?chat_id=1", "no token");
        check("https://api.telegram.org/bot1:canary%2f../sendMessage?chat_id=1", "its token is not one");
        check("https://api.telegram.org/bot1:canary/sendMessage", "no chat_id");
        check("https://api.telegram.org/bot1:canary/sendMessage?chat_id=%0d%0a", "its chat id is not one");
        check("https://api.telegram.org/bot1:canary/sendMessage?chat_id=1&message_thread_id=x", "message_thread_id");
        check("http://10.0.0.1/bot1:canary/sendMessage?chat_id=1", "not a public address");
    }
}
