//! Rows that the edge makes itself: about arrival, alerts and deliveries. They don't pass through the dataflow.

use serde::{Deserialize, Serialize};

use crate::model_dir::standing::Standing;

/// A row of the edge, with the time at which it became known (UTC ms) inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EdgeRow {
    /// View `rejected_frames`.
    Rejected(RejectedFrame),
    /// View `feed_gaps`.
    Gap(FeedGap),
    /// View `deliveries`.
    Delivery(DeliveryRow),
    /// View `alerts`. It follows from the others, so a journal has none.
    #[serde(skip)]
    Alert(AlertRow),
    /// View `models`. `models.json` says the same at every start.
    #[serde(skip)]
    Model(Box<ModelRow>),
}

/// View `models`. Key: name, version, symbol, timeframe.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRow {
    /// What it is used for, and how good it is.
    pub standing: Standing,
    /// UTC ms.
    pub known_at: u64,
    /// +1 or −1.
    pub diff: i8,
}

/// View `rejected_frames`: a frame that was refused. Key: venue, stream, known_at, seq.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedFrame {
    /// As written in the frame.
    pub venue: String,
    /// Message type, where it was recognised.
    pub stream: String,
    /// When it was received, UTC ms.
    pub known_at: u64,
    /// The frame's line in its log, or its running number.
    pub seq: u64,
    /// Why.
    pub reason: String,
    /// Its beginning, at most 4 KiB, invalid UTF-8 replaced.
    pub payload: String,
}

/// View `feed_gaps`: a stretch of time in which a stream was not heard. Key: venue, stream, symbol, from_ts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedGap {
    /// Whose stream.
    pub venue: String,
    /// `trades`, `mark`, … or `` for all of a connection.
    pub stream: String,
    /// The venue's symbol, or `` for all.
    pub symbol: String,
    /// The last frame before it, UTC ms.
    pub from_ts: i64,
    /// The first frame after it, UTC ms.
    pub to_ts: Option<i64>,
    /// What came back of it.
    pub recovered: Recovered,
    /// `disconnect`, `silence`, `rotation`, `start`, …
    pub cause: String,
    /// When it became known, UTC ms.
    pub known_at: u64,
}

/// How much of a gap came back over REST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovered {
    /// Nothing.
    #[default]
    None,
    /// Some of it: not every symbol, not its whole length, or less than the stream itself says.
    Partial,
    /// Bars are what they would have been without the gap.
    Full,
}

impl Recovered {
    /// As SQL has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

/// View `alerts`. Key: id.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// Stable: hash of type, key, onset.
    pub id: String,
    /// `LIQUIDATION_CASCADE`, …
    pub event_type: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// `INFO`, `WARNING`, `CRITICAL`.
    pub severity: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Whose.
    pub venue: String,
    /// Event time of the onset, UTC ms.
    pub onset: i64,
    /// Event time of the end, UTC ms.
    pub resolved_at: Option<i64>,
    /// One line.
    pub title: String,
    /// A few lines.
    pub description: String,
    /// The row that it speaks of, JSON.
    pub data: String,
    /// UTC ms.
    pub known_at: u64,
    /// +1 or −1.
    pub diff: i8,
}

/// View `deliveries`. Key: alert_id, channel, attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The event's id and status: `….firing`.
    pub alert_id: String,
    /// The webhook's name.
    pub channel: String,
    /// From 1.
    pub attempt: u32,
    /// UTC ms.
    pub sent_at: i64,
    /// `delivered`, `retry`, `failed`.
    pub result: String,
    /// 0: no answer.
    pub http_status: u16,
    /// From decision to answer.
    pub latency_ms: f64,
    /// Why it failed.
    pub reason: String,
    /// UTC ms.
    pub known_at: u64,
}
