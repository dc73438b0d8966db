//! The generic webhook: a notice as JSON, signed by the Standard Webhooks rules (see [`crate::sign`]).
//!
//! One alert's news is the event itself, by `schemas/events.schema.json`, with the keys `rules` and `labels` where there are some; any
//! other notice of one alert says in `notice` what it is, so that a receiver can't take a drill for the market. Several alerts,
//! digests and troubles are `{"type", "timestamp", "data"}` with counts of all and as many events as have room.
//! A body has at most [`BODY_BYTES_MAX`] bytes (the Standard asks for less than 20 kB): what doesn't fit is left out and named in
//! `notice.cut`, or counted in `events_omitted`.
//!
//! `webhook-id` is the notice's id and the same on every attempt, `webhook-timestamp` the attempt's time in seconds; without a secret
//! nothing is signed. As CloudEvents 1.0 in structured mode the same body is in `data`; the headers, and what is signed, stay.

use std::future::Future;
use std::pin::Pin;

use reqwest::Url;
use serde_json::Value;

use super::http::{HttpSender, Post, Reading, SetupError, origin};
use super::preview::preview;
use super::{Channel, Outcome, Pace, Verdict};
use crate::notice::Notice;
use crate::secret::SecretText;
use crate::sign::{Secret, signature};

mod body;

pub use body::BODY_BYTES_MAX;

/// How the body is wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As it is.
    #[default]
    Standard,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
}

/// A URL that notices are posted to.
#[derive(Debug)]
pub struct Webhook {
    name: String,
    url: Hidden,
    secrets: Vec<Secret>,
    format: Format,
    http: HttpSender,
}

/// A notice's body.
#[must_use]
pub fn body(notice: &Notice, format: Format) -> String {
    match format {
        Format::Standard => body::standard(notice),
        Format::CloudEvents => body::cloud_event(notice),
    }
}

/// A URL that shows no more than its origin.
pub(super) struct Hidden(pub(super) Url);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&origin(&self.0))
    }
}

impl Webhook {
    /// A webhook by URL. Several secrets: all sign (see [`crate::sign`]); none: the notices go out unsigned.
    pub fn new(name: &str, url: &SecretText, secrets: Vec<Secret>, format: Format, http: HttpSender) -> Result<Self, SetupError> {
        let url = Hidden(http.url(name, url)?);
        Ok(Self { name: name.to_owned(), url, secrets, format, http })
    }

    fn post(&self, notice: &Notice, now_ms: i64) -> Post {
        let timestamp = now_ms.div_euclid(1_000);
        let body = body(notice, self.format);
        let content_type = match self.format {
            Format::Standard => "application/json",
            Format::CloudEvents => "application/cloudevents+json",
        };
        // An id is ours and has no dot or line break; from a file that somebody wrote by hand it might have.
        let id: String = notice.id.chars().filter(|c| c.is_ascii_graphic() && *c != '.').take(256).collect();
        let mut headers = vec![("webhook-id", id.clone()), ("webhook-timestamp", timestamp.to_string())];
        if !self.secrets.is_empty() {
            headers.push(("webhook-signature", signature(&self.secrets, &id, timestamp, &body)));
        }
        Post { url: self.url.0.clone(), content_type: content_type.to_owned(), headers, body: body.into_bytes() }
    }
}

impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "webhook"
    }

    /// Eight at a time, no digest: a program takes as much as it can, and says itself when it is too much (429, Retry-After).
    fn pace(&self) -> Pace {
        Pace { limits: Vec::new(), in_flight_max: 8, digest_above: None }
    }

    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            self.http
                .attempt(self.post(notice, now_ms), now_ms, |answer| match answer.status {
                    410 => Reading::new(Verdict::Gone, "the receiver wants no more; remove the webhook or renew its url"),
                    status => Reading::of_status(status),
                })
                .await
        })
    }

    fn preview(&self, notice: &Notice, now_ms: i64) -> String {
        let post = self.post(notice, now_ms);
        let body: Value = serde_json::from_slice(&post.body).unwrap_or_default();
        preview(&post, &body, None)
    }
}
