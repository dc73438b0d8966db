//! Discord, by a channel's webhook: an embed for each alert, coloured by severity (green: resolved), the chart attached.
//!
//! Alerts without words of their own (a digest's) are lines of one embed. The title stands in `content` too, because a phone's
//! notification shows little else. Limits: [`limits`]; what doesn't fit is cut with `…`, what is left out is counted.
//!
//! No mention fires: `allowed_mentions` is empty, and `@` and `<` are escaped besides. All markdown is, except for what we write;
//! embeds have no `url` (Discord shows only the first of several with the same). `wait=true` is asked for: without it
//! Discord says yes to messages that it drops. A `thread_id` in the URL stays.
//!
//! 401, 403 and 404 disable the channel: the webhook was deleted, and 10,000 such answers in 10 minutes ban the whole address.
//! A 429 that isn't JSON is such a ban, and is meant for all Discord channels.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::http::pause::{Wish, seconds};
use super::http::{Answer, HttpSender, Post, Reading, SetupError, multipart};
use super::preview::preview;
use super::webhook::Hidden;
use super::{Channel, Outcome, Pace, Verdict};
use crate::message::Message;
use crate::notice::Notice;
use crate::secret::SecretText;

mod embeds;
pub mod limits;

pub use embeds::payload;

/// A Discord channel's webhook.
#[derive(Debug)]
pub struct Discord {
    name: String,
    url: Hidden,
    pace: Pace,
    http: HttpSender,
}

impl Discord {
    /// By the webhook's URL; `pace` instead of what is known to be tolerated (5 in 2 s, 30 a minute).
    pub fn new(name: &str, url: &SecretText, http: HttpSender, pace: Option<Pace>) -> Result<Self, SetupError> {
        let mut url = http.url(name, url)?;
        let others: Vec<(String, String)> =
            url.query_pairs().filter(|(key, _)| key != "wait").map(|(k, v)| (k.into(), v.into())).collect();
        url.query_pairs_mut().clear().extend_pairs(others).append_pair("wait", "true");
        let known = Pace {
            limits: vec![(5, Duration::from_secs(2)), (30, Duration::from_secs(60))],
            in_flight_max: 1,
            digest_above: Some(3),
        };
        Ok(Self { name: name.to_owned(), url: Hidden(url), pace: pace.unwrap_or(known), http })
    }

    fn post(&self, payload: &Value, png: Option<&[u8]>) -> Post {
        let json = payload.to_string();
        let (content_type, body) = match png {
            None => ("application/json".to_owned(), json.into_bytes()),
            Some(png) => multipart::form(&[
                multipart::Part {
                    name: "payload_json",
                    file_name: None,
                    content_type: Some("application/json"),
                    body: json.as_bytes(),
                },
                multipart::Part { name: "files[0]", file_name: Some("chart.png"), content_type: Some("image/png"), body: png },
            ]),
        };
        Post { url: self.url.0.clone(), content_type, headers: Vec::new(), body }
    }
}

impl Channel for Discord {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "discord"
    }

    fn pace(&self) -> Pace {
        self.pace.clone()
    }

    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let message = Message::with_chart(notice);
            let (payload, png) = payload(&message, notice.total());
            self.http.attempt(self.post(&payload, png), now_ms, read).await
        })
    }

    fn preview(&self, notice: &Notice, _now_ms: i64) -> String {
        let message = Message::with_chart(notice);
        let (payload, png) = payload(&message, notice.total());
        preview(&self.post(&payload, png), &payload, png.map(<[u8]>::len))
    }
}

fn read(answer: &Answer) -> Reading {
    match answer.status {
        401 | 403 | 404 | 410 => {
            Reading::new(Verdict::Gone, "Discord doesn't know the webhook any more; make a new one and set its url")
        }
        400 => {
            let advice = match serde_json::from_slice(&answer.body) {
                Ok(Complaint { code }) => format!("Discord refuses it (its error code {code})").into(),
                Err(_) => "Discord refuses it".into(),
            };
            Reading { verdict: Verdict::Failed, advice, wish: Wish::default() }
        }
        429 => {
            let wish = match serde_json::from_slice(&answer.body) {
                Ok(RateLimited { retry_after, global }) => Wish { length: seconds(retry_after), is_for_kind: global },
                Err(_) => Wish { length: None, is_for_kind: true },
            };
            Reading { wish, ..Reading::new(Verdict::Retry, "too many messages") }
        }
        status => Reading::of_status(status),
    }
}

/// `{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}`
#[derive(Deserialize)]
struct RateLimited {
    retry_after: f64,
    #[serde(default)]
    global: bool,
}

/// `{"code": 50035, "message": "Invalid Form Body", "errors": {…}}`
#[derive(Deserialize)]
struct Complaint {
    code: u32,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::guard::Guard;

    fn discord(url: &str) -> Discord {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = HttpSender::new(Guard::default(), Duration::from_secs(1)).unwrap();
        Discord::new("ops", &SecretText::literal(url).unwrap(), http, None).unwrap()
    }

    #[test]
    fn wait_is_asked_for_once_and_a_thread_stays() {
        let check = |query: &str, expected: &str| {
            assert_eq!(discord(&format!("https://discord.com/api/webhooks/1/x{query}")).url.0.query(), Some(expected));
        };
        check("", "wait=true");
        check("?wait=false", "wait=true");
        check("?thread_id=7&wait=true", "thread_id=7&wait=true");
    }

    #[test]
    fn a_picture_makes_it_a_form() {
        let discord = discord("https://discord.com/api/webhooks/1/canary");
        let post = discord.post(&serde_json::json!({ "content": "x" }), Some(b"\x89PNG"));
        assert!(post.content_type.starts_with("multipart/form-data; boundary="), "{}", post.content_type);
        let body = String::from_utf8_lossy(&post.body);
        for part in [
            "name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{\"content\":\"x\"}\r\n",
            "name=\"files[0]\"; filename=\"chart.png\"",
        ] {
            assert!(body.contains(part), "{body}");
        }
        assert!(!format!("{discord:?}").contains("canary"), "{discord:?}");
    }
}
