//! One REST question: under the venue's weight budget and its circuit breaker, answered within 10 s, at most 1 MiB.
//!
//! Polls and back-fill ask through it. An answer that is used becomes an `http` frame (URL, a space, the body), so that it
//! is recorded and replayed like everything else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::Collector;
use super::bucket::retry_after;
use super::{FeedOutput, Shared};
use crate::clock;
use crate::frames::{Direction, FRAME_BYTES_MAX};

/// A 418 or 403 without Retry-After.
const BAN: Duration = Duration::from_secs(120);
/// From the question to the answer's last byte.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why an answer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No answer.
    #[error("asked in vain: {0}")]
    Request(#[from] reqwest::Error),
    /// Not the answer that was asked for.
    #[error("answered with status {0}")]
    Status(u16),
    /// Too long for a frame.
    #[error("body over 1 MiB")]
    Oversize,
}

impl AskError {
    /// Would the same question have an answer later? A venue that limits us or fails says so; what it calls our mistake
    /// stays one.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Status(status) => matches!(status, 403 | 408 | 418 | 429 | 500..=599),
            Self::Oversize => false,
        }
    }
}

/// Asks one venue.
#[derive(Clone)]
pub struct Asker {
    shared: Arc<Shared>,
    client: reqwest::Client,
    root: String,
}

impl Asker {
    /// Asks under `root`.
    ///
    /// # Errors
    /// If no client could be made.
    pub fn new(shared: Arc<Shared>, root: String) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).build()?;
        Ok(Self { shared, client, root })
    }

    /// The full address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// The answer's body, once the venue may be asked for something of this weight.
    ///
    /// # Errors
    /// Anything but a whole answer with status 200.
    pub async fn ask(&self, path: &str, weight: u32) -> Result<Vec<u8>, AskError> {
        self.shared.rest_host.permit(weight).await;
        let url = self.url(path);
        // The address may hold what nobody else is to know.
        let mut response = self.client.get(&url).send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        if let Some(pause) = retry_after(status, header, BAN, clock::now_ms()) {
            self.shared.rest_host.stay_away(pause);
        }
        if status != 200 {
            return Err(AskError::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if url.len() + 1 + body.len() + chunk.len() > FRAME_BYTES_MAX {
                return Err(AskError::Oversize);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Hands an answer on as a frame that came at `recv_ns`.
    pub async fn hand_on(&self, path: &str, body: &[u8], recv_ns: i64) {
        let payload = [self.url(path).as_bytes(), b" ", body].concat();
        let mut collector = Collector::new(self.shared.venue, Duration::ZERO, self.shared.numbers.clone());
        collector.push(&payload, Direction::Http, recv_ns, Instant::now());
        if let Some(batch) = collector.take() {
            self.shared.send(FeedOutput::Frames(batch)).await;
        }
    }
}
