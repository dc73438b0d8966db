//! The webhook channel: the event's JSON as an HTTP POST, signed by the Standard Webhooks rules.
//!
//! Limits of one attempt: 15 s from connect to the last byte read, 64 KiB of answer, no redirect, no proxy. The status alone
//! decides; the answer's body is read only so that the connection can be used again, and thrown away, because receivers
//! like to echo the request's path, which may be a secret. For the same reason nothing here prints more of a URL than its origin.
//! Not guarded yet against URLs that lead into the own network (SSRF): whoever writes the configuration is trusted with it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::{Channel, Message, Outcome, Verdict};
use crate::sign::{Secret, signature};

/// From connect to the last byte read.
const TIMEOUT: Duration = Duration::from_secs(15);
/// So much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A receiver that asks for a longer pause than this gets this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// A URL that events are posted to.
pub struct Webhook {
    name: String,
    url: Url,
    secrets: Vec<Secret>,
    client: Client,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, url, secrets, client: _ } = self;
        f.debug_struct("Webhook").field("name", name).field("url", &origin(url)).field("secrets", secrets).finish()
    }
}

/// Why a webhook can't be set up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WebhookError {
    #[error("set up the webhook `{name}`: its url is not valid ({reason}); write https://host/path")]
    Url { name: String, reason: String },
    #[error("set up the webhook `{name}`: its url begins with `{scheme}:`; only http and https can be posted to")]
    Scheme { name: String, scheme: String },
    #[error("set up the webhook `{name}`: no TLS provider is installed; install rustls' ring provider first thing in main")]
    NoTls { name: String },
    #[error("set up the webhook `{name}`: {reason}")]
    Client { name: String, reason: String },
}

impl Webhook {
    /// A webhook by URL. Several secrets: all sign (see [`crate::sign`]); none: the messages go out unsigned.
    /// The process must have installed a rustls provider.
    pub fn new(name: &str, url: &str, secrets: Vec<Secret>) -> Result<Self, WebhookError> {
        let name = name.to_owned();
        let url = match Url::parse(url) {
            Ok(url) => url,
            Err(e) => return Err(WebhookError::Url { name, reason: e.to_string() }),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebhookError::Scheme { name, scheme: url.scheme().to_owned() });
        }
        // reqwest panics without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(WebhookError::NoTls { name });
        }
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("regimeflow/", env!("CARGO_PKG_VERSION")))
            .build();
        match client {
            Ok(client) => Ok(Self { name, url, secrets, client }),
            Err(e) => Err(WebhookError::Client { name, reason: causes(&e.without_url()) }),
        }
    }
}

impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message, now_ms: i64) -> Outcome {
        let id = message.idempotency_key();
        let timestamp = now_ms.div_euclid(1_000);
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp);
        if !self.secrets.is_empty() {
            request = request.header("webhook-signature", signature(&self.secrets, &id, timestamp, &message.body));
        }
        match request.body(message.body.to_string()).send().await {
            Ok(answer) => {
                let outcome = judge(answer.status(), answer.headers(), now_ms, &self.url);
                discard(answer).await;
                outcome
            }
            Err(e) => {
                let reason = format!("post to {}: {}", origin(&self.url), causes(&e.without_url()));
                Outcome { verdict: Verdict::Retry { after: None }, http_status: 0, reason }
            }
        }
    }
}

/// What a status means: 2xx is success and nothing else is.
fn judge(status: StatusCode, headers: &HeaderMap, now_ms: i64, url: &Url) -> Outcome {
    let (verdict, advice) = match status.as_u16() {
        200..=299 => (Verdict::Delivered, ""),
        300..=399 => (Verdict::Failed, "redirects are not followed; set the url to where it leads"),
        410 => (Verdict::Gone, "the receiver wants no more; remove the webhook or renew its url"),
        408 | 425 | 429 | 500.. => (Verdict::Retry { after: retry_after(headers, now_ms) }, "the receiver may take it later"),
        401 | 403 => (Verdict::Failed, "check the url and the signing secret"),
        404 => (Verdict::Failed, "check the url"),
        _ => (Verdict::Failed, "the receiver refuses it"),
    };
    let reason = match verdict {
        Verdict::Delivered => String::new(),
        _ => format!("post to {}: answer {}; {advice}", origin(url), status.as_u16()),
    };
    Outcome { verdict, http_status: status.as_u16(), reason }
}

/// `Retry-After` as seconds (`30`, `0.376`) or as an HTTP date.
fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<f64>() {
        let wanted = secs.is_finite() && secs >= 0.0;
        return wanted.then(|| Duration::from_secs_f64(secs.min(RETRY_AFTER_MAX.as_secs_f64())));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc).timestamp_millis();
    let wait = u64::try_from(until.saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(wait).min(RETRY_AFTER_MAX))
}

/// Reads an answer's body up to the limit. The request's timeout ends a body that only drips; the status is already known.
async fn discard(mut answer: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read >= ANSWER_BYTES_MAX {
            break;
        }
    }
}

/// All of a URL that may be printed: `https://hooks.example.com/…`.
#[must_use]
pub fn origin(url: &Url) -> String {
    format!("{}/…", url.origin().ascii_serialization())
}

/// An error with its causes, which reqwest leaves out of its message.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW_MS: i64 = 1_723_075_200_000; // 2024-08-08T00:00:00Z

    fn judged(status: u16, retry_after: Option<&str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        let url = Url::parse("https://hooks.example.com/canary-path?token=canary-query").unwrap();
        let outcome = judge(StatusCode::from_u16(status).unwrap(), &headers, NOW_MS, &url);
        assert!(!outcome.reason.contains("canary"), "{}", outcome.reason);
        outcome
    }

    #[test]
    fn every_status_has_one_meaning() {
        for status in 200..700 {
            let expected = match status {
                200..=299 => Verdict::Delivered,
                410 => Verdict::Gone,
                408 | 425 | 429 | 500..=599 => Verdict::Retry { after: None },
                600.. => continue,
                _ => Verdict::Failed,
            };
            assert_eq!(judged(status, None).verdict, expected, "{status}");
        }
    }

    #[test]
    fn a_wish_for_a_pause_is_read_in_every_form() {
        let check = |value: &str, after: Option<f64>| {
            let after = after.map(Duration::from_secs_f64);
            assert_eq!(judged(429, Some(value)).verdict, Verdict::Retry { after }, "{value}");
        };
        check("30", Some(30.0));
        check("0.376", Some(0.376));
        check(" 5 ", Some(5.0));
        check("Thu, 08 Aug 2024 00:02:00 GMT", Some(120.0));
        check("Wed, 07 Aug 2024 23:00:00 GMT", Some(0.0));
        check("99999999999999999999", Some(86_400.0));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400.0));
        check("-1", None);
        check("NaN", None);
        check("inf", None);
        check("soon", None);
        check("", None);
    }

    #[test]
    fn a_webhook_that_cannot_work_is_refused_without_its_path() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let check = |url: &str, message: &str| {
            let error = Webhook::new("ops", url, Vec::new()).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("`ops`") && !error.contains("canary"), "{error}");
        };
        check("ftp://example.com/canary", "begins with `ftp:`");
        check("file:///canary", "begins with `file:`");
        check("/canary", "relative URL without a base");
        check("https://", "empty host");
        let webhook = Webhook::new("ops", "https://u:canary@example.com/canary?canary", Vec::new()).unwrap();
        assert!(!format!("{webhook:?}").contains("canary"), "{webhook:?}");
    }
}
