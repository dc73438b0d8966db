//! One POST and its answer, bounded: what every channel over HTTP shares.
//!
//! An attempt ends within its limit ([`super::ATTEMPT_MAX`]) from name lookup to the last byte, whatever the receiver does, and
//! reads at most [`super::ANSWER_BYTES_MAX`] of a body, as it comes (nothing is decompressed), after at most 100 headers in
//! at most some 400 KiB. HTTP/1.1 only: what HTTP/2 adds is of no use for a message now and then and has more ways to be
//! misused. No redirect, no proxy of the environment, no address that the [`Guard`] denies. A body that doesn't come whole is
//! judged by its status and the part that came.
//!
//! Nothing that leaves here (a reason, an error) holds more of a URL than its origin, and nothing of an answer's body: receivers like
//! to echo what they were asked, and a path may be a secret.

pub(crate) mod multipart;
pub(crate) mod pause;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, Url};

use self::pause::Wish;
use super::{ANSWER_BYTES_MAX, Outcome, Verdict};
use crate::guard::{Guard, Lookup, Refusal, SystemLookup};
use crate::secret::SecretText;

/// Sends requests. Cheap to clone; the clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpSender {
    client: Client,
    guard: Guard,
}

/// Why a channel over HTTP can't be set up. Holds no URL.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SetupError {
    #[error("set up the channel `{channel}`: its url is not valid ({reason}); write https://host/path")]
    Url { channel: String, reason: String },
    #[error("set up the channel `{channel}`: its url may not be posted to: {refusal}")]
    Refused { channel: String, refusal: Refusal },
    #[error("set up the channel `{channel}`: {reason}")]
    Telegram { channel: String, reason: &'static str },
    #[error("set up http: no TLS provider is installed; install rustls' ring provider first thing in main")]
    NoTls,
    #[error("set up http: {reason}")]
    Client { reason: String },
}

impl HttpSender {
    /// Asks the system's resolver; an attempt ends after `attempt_max` at the latest. The process must have installed a rustls provider.
    pub fn new(guard: Guard, attempt_max: Duration) -> Result<Self, SetupError> {
        Self::with_lookup(guard, attempt_max, Arc::new(SystemLookup::default()))
    }

    /// Asks another resolver.
    pub fn with_lookup(guard: Guard, attempt_max: Duration, lookup: Arc<dyn Lookup>) -> Result<Self, SetupError> {
        // reqwest panics without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(SetupError::NoTls);
        }
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .referer(false)
            .http1_only()
            .timeout(attempt_max)
            .pool_max_idle_per_host(2)
            .dns_resolver(guard.resolver(lookup))
            .user_agent(concat!("regimeflow/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| SetupError::Client { reason: causes(&e.without_url()) })?;
        Ok(Self { client, guard })
    }

    /// Reads a channel's URL, refusing what could never be posted to.
    pub(crate) fn url(&self, channel: &str, url: &SecretText) -> Result<Url, SetupError> {
        let channel = || channel.to_owned();
        let url = Url::parse(url.expose()).map_err(|e| SetupError::Url { channel: channel(), reason: e.to_string() })?;
        self.guard.check_url(&url).map_err(|refusal| SetupError::Refused { channel: channel(), refusal })?;
        Ok(url)
    }

    /// One attempt at `now_ms`: posts, reads the answer, and says what `read` makes of it.
    pub(crate) async fn attempt(&self, post: Post, now_ms: i64, read: impl FnOnce(&Answer) -> Reading + Send) -> Outcome {
        let at = origin(&post.url);
        match self.answer(post).await {
            Ok(answer) => {
                let Reading { verdict, advice, wish } = read(&answer);
                let wish = wish.max(pause::of_headers(answer.status, &answer.headers, now_ms));
                pause::settle(
                    verdict,
                    answer.status,
                    wish,
                    |advice| format!("post to {at}: answer {}; {advice}", answer.status),
                    advice,
                )
            }
            Err((verdict, reason)) => Outcome { verdict, http_status: 0, reason: format!("post to {at}: {reason}"), pause: None },
        }
    }

    /// Posts nothing to an address, for a dead-man's switch.
    ///
    /// # Errors
    /// Why it was not taken; never holds the address.
    pub async fn ping(&self, url: &SecretText) -> Result<(), String> {
        let url = self.url("heartbeat", url).map_err(|e| e.to_string())?;
        let at = origin(&url);
        let post = Post { url, content_type: "text/plain".into(), headers: Vec::new(), body: Vec::new() };
        match self.answer(post).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("post to {at}: answer {}", answer.status)),
            Err((_, reason)) => Err(format!("post to {at}: {reason}")),
        }
    }

    async fn answer(&self, post: Post) -> Result<Answer, (Verdict, String)> {
        // Once more at every attempt: a client asks no resolver about an address that is written in the URL.
        self.guard.check_url(&post.url).map_err(|refusal| (Verdict::Failed, refusal.to_string()))?;
        let mut request = self.client.post(post.url).header(CONTENT_TYPE, post.content_type);
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        // A lost connection, a timeout, no address: whatever it was may be over at the next attempt.
        let answer = request.body(post.body).send().await.map_err(|e| (Verdict::Retry, causes(&e.without_url())))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, body: beginning(answer).await })
    }
}

/// What is posted.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) url: Url,
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// At most [`ANSWER_BYTES_MAX`] of it.
    pub(crate) body: Vec<u8>,
}

/// What a channel makes of an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) verdict: Verdict,
    /// Why, and what to do. Its words are ours, not the answer's.
    pub(crate) advice: Cow<'static, str>,
    /// What the body asks for, beside the headers.
    pub(crate) wish: Wish,
}

impl Reading {
    pub(crate) fn new(verdict: Verdict, advice: &'static str) -> Self {
        Self { verdict, advice: advice.into(), wish: Wish::default() }
    }

    pub(crate) fn delivered() -> Self {
        Self::new(Verdict::Delivered, "")
    }

    /// What a status means to every receiver that has no meaning of its own for it.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::delivered(),
            300..=399 => Self::new(Verdict::Failed, "redirects are not followed; set the url to where it leads"),
            408 | 425 | 429 | 500..=599 => Self::new(Verdict::Retry, "the receiver may take it later"),
            401 | 403 => Self::new(Verdict::Failed, "the receiver doesn't know us; check the url and the secret"),
            404 => Self::new(Verdict::Failed, "the receiver knows no such path; check the url"),
            413 => Self::new(Verdict::Failed, "the message is too large for the receiver"),
            _ => Self::new(Verdict::Failed, "the receiver refuses it"),
        }
    }
}

/// All of a URL that may be printed: `https://hooks.example.com/…`.
#[must_use]
pub fn origin(url: &Url) -> String {
    format!("{}/…", url.origin().ascii_serialization())
}

/// A body's beginning. The request's limit ends one that only drips.
async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    body
}

/// An error with its causes, which reqwest leaves out of its message.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors tell their cause's text as their own.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
