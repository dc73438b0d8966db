//! Delivery: a [`Channel`] makes one attempt and says how it went; a [`Courier`] decides whether and when to try again.
//!
//! A new kind of receiver is a new `Channel`, nothing else. What outlives a restart is not here: each [`Attempt`] is reported
//! to the caller, and an event that was refused or given up is reported like any other.

pub mod courier;
pub mod webhook;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use courier::{Courier, Options, Refused};
pub use webhook::{Webhook, WebhookError};

use crate::event::{Event, Status};

/// UTC ms. Passed in, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An event on its way: every attempt sends the same id and the same bytes.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event's id.
    pub event_id: String,
    /// The event's status.
    pub status: Status,
    /// The event's JSON.
    pub body: Arc<str>,
}

impl Message {
    /// The message that carries `event`.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self { event_id: event.id.clone(), status: event.status, body: event.to_json().into() }
    }

    /// Names the message to a receiver that must not take it twice: the event's id, `_`, its status.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{}_{}", self.event_id, self.status.as_str())
    }
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What to do now.
    pub verdict: Verdict,
    /// The receiver's answer; 0: none came.
    pub http_status: u16,
    /// Why, for people. Empty when delivered. Never holds a secret, a path or a query.
    pub reason: String,
}

/// What an attempt means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It may work later; not before `after`, where the receiver said so.
    Retry {
        /// How long the receiver asked to be left alone.
        after: Option<Duration>,
    },
    /// It won't work, however often it is tried.
    Failed,
    /// The receiver wants nothing any more.
    Gone,
}

/// A way to a receiver.
pub trait Channel: Send + Sync + 'static {
    /// A name for logs and the `deliveries` view.
    fn name(&self) -> &str;
    /// One attempt at `now_ms`. It must end by itself within a bounded time.
    fn send(&self, message: &Message, now_ms: i64) -> impl Future<Output = Outcome> + Send;
}

/// The record of one attempt, or of an event that was given up without one (`attempt` 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The event's id.
    pub event_id: String,
    /// The event's status.
    pub status: Status,
    /// The channel's name.
    pub channel: String,
    /// From 1; 0: it was never tried.
    pub attempt: u32,
    /// When it was sent, UTC ms.
    pub sent_at_ms: i64,
    /// How it went.
    pub result: AttemptResult,
    /// The receiver's answer; 0: none came.
    pub http_status: u16,
    /// From the event's acceptance by the courier to the attempt's end, waits between attempts included.
    pub latency_ms: f64,
    /// Why it was not delivered.
    pub reason: String,
}

/// How an attempt went, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver has it.
    Delivered,
    /// It will be tried again.
    Retry,
    /// It will not be tried again.
    Failed,
    /// It will not be tried again, and nor will anything else on this channel.
    Gone,
}

impl AttemptResult {
    /// As SQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}
