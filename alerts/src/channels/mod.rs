//! Channels: each puts a notice into its receiver's form and makes one attempt to send it.
//!
//! When to try, and when to try again, is not decided here but in the outbox; a channel only reads what the receiver's
//! answer says about it. An attempt ends by itself within [`ATTEMPT_MAX`] and reads at most [`ANSWER_BYTES_MAX`].

mod fit;
mod preview;
mod recognise;

pub mod discord;
pub mod email;
pub mod http;
pub mod slack;
pub mod stdout;
pub mod telegram;
pub mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use discord::Discord;
pub use email::Email;
pub use http::{HttpSender, SetupError};
pub use recognise::{Kind, from_url, recognise};
pub use slack::Slack;
pub use stdout::Stdout;
pub use telegram::Telegram;
pub use webhook::Webhook;

use crate::event::{Severity, Status};
use crate::notice::Notice;

/// From connect to the last byte read.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(15);
/// So much of an answer is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// A way to a receiver.
pub trait Channel: Send + Sync + 'static {
    /// A name for logs and the `deliveries` view, unique in the configuration.
    fn name(&self) -> &str;
    /// What it speaks: `webhook`, `discord`, `slack`, `telegram`, `email`, `stdout`. Receivers of one kind may share a global limit.
    fn kind(&self) -> &'static str;
    /// How fast it may be used before the receiver has said anything.
    fn pace(&self) -> Pace;
    /// One attempt at `now_ms`.
    fn send<'a>(&'a self, notice: &'a Notice, now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
    /// What an attempt would send, for people, with everything secret masked.
    fn preview(&self, notice: &Notice, now_ms: i64) -> String;
}

/// How fast a channel may be used: no more than so many messages in any span of each length.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pace {
    /// (messages, span); all of them hold. Empty: no limit.
    pub limits: Vec<(u32, Duration)>,
    /// Most attempts at the same time; at least 1.
    pub in_flight_max: usize,
    /// Digests are made where more than so many notices wait for a slot; `None`: never, each goes by itself.
    pub digest_above: Option<usize>,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What to do now.
    pub verdict: Verdict,
    /// The receiver's answer (HTTP or SMTP); 0: none came.
    pub http_status: u16,
    /// Why, for people. Empty when delivered. Never holds a secret, a path or a query.
    pub reason: String,
    /// The receiver wants to be left alone for so long, whatever became of this notice.
    pub pause: Option<Pause>,
}

/// A receiver's wish to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// For how long.
    pub length: Duration,
    /// All channels of this kind are meant, not this one alone.
    pub is_for_kind: bool,
}

/// What an attempt means for the notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It may work later; not before [`Outcome::pause`] has passed.
    Retry,
    /// It won't work, however often it is tried.
    Failed,
    /// The receiver wants nothing any more: the channel is to be disabled.
    Gone,
}

/// Severity and status where there is no colour.
const fn mark(severity: Severity, status: Status) -> &'static str {
    match (status, severity) {
        (Status::Resolved, _) => "✅",
        (Status::Firing, Severity::Critical) => "🔴",
        (Status::Firing, Severity::Warning) => "🟠",
        (Status::Firing, Severity::Info) => "🔵",
    }
}
