//! How a connection's life ends, and what it says before.

use std::time::Duration;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// We were told to.
    #[error("stopped")]
    Stopped,
    /// Nobody takes our frames any more.
    #[error("nobody takes the frames")]
    Unwanted,
    /// No connection came about.
    #[error("connect failed: {0}")]
    Unreachable(String),
    /// The venue answered the handshake with something else.
    #[error("handshake answered with status {status}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// For how long the venue wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The venue closed it.
    #[error("closed by the venue, code {code}: {reason}")]
    Closed {
        /// WebSocket close code; 1005: none was given.
        code: u16,
        /// The venue's words.
        reason: String,
    },
    /// Reset, cut off in mid-frame, not WebSocket, not UTF-8.
    #[error("connection broke: {0}")]
    Broken(String),
    /// A frame over 1 MiB.
    #[error("a frame of {size} bytes was refused")]
    Oversize {
        /// Bytes, as its header says.
        size: usize,
    },
    /// A subscription was not answered.
    #[error("a subscription was not acknowledged in time")]
    AckTimeout,
    /// All subscriptions were refused.
    #[error("all subscriptions were refused")]
    AllRefused,
    /// A stream fell silent.
    #[error("{0} is silent")]
    Silent(String),
    /// Our ping was not answered.
    #[error("a ping was not answered in time")]
    NoPong,
    /// The venue doesn't read what we write.
    #[error("a message could not be sent in time")]
    WriteStalled,
    /// A task of ours failed; a defect in this program.
    #[error("the connection's task failed: {0}")]
    Crashed(String),
}

impl End {
    /// A constant word or two, for `feed_gaps.cause` and for counting.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Stopped | Self::Unwanted => "shutdown",
            Self::Unreachable(_) | Self::Rejected { .. } | Self::Closed { .. } | Self::Broken(_) => "disconnect",
            Self::Oversize { .. } => "frame over 1 MiB",
            Self::AckTimeout => "ack timeout",
            Self::AllRefused => "subscriptions refused",
            Self::Silent(_) => "silence",
            Self::NoPong => "no pong",
            Self::WriteStalled => "write stalled",
            Self::Crashed(_) => "defect",
        }
    }
}

/// The end, and how long data had flowed before it.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub end: End,
    /// From the first frame of data to the last.
    pub healthy: Duration,
}

/// What the keeper of a connection is told while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// All subscriptions are answered and data came.
    Delivering,
    /// The venue announced that it will close.
    Leaving,
}
