//! Alerts: what is told to people, and how it reaches them.
//!
//! [`event`] is what is told: the JSON of `schemas/events.schema.json`. [`facts`] turns what a view says into an event with
//! its sentences. [`policy`] decides who is told what and when, [`outbox`] keeps what is decided until it is delivered, the [`desk`] is the thread
//! in which both meet. [`message`] words a notice, [`chart`] draws what happened, [`channels`] put it into a receiver's form and make one attempt; [`guard`] keeps what they post
//! out of the own network, [`secret`] keeps where they post to out of every log, [`sign`] proves who sent it.
//!
//! The crate knows nothing of the dataflow that finds the facts and has no wall clock: callers pass one. The only file is the outbox.

pub mod alert;
pub mod channels;
pub mod chart;
pub mod desk;
pub mod event;
pub mod facts;
pub mod guard;
pub mod message;
pub mod notice;
pub mod outbox;
pub mod pace;
pub mod policy;
pub mod secret;
pub mod sign;

pub use alert::Alert;
pub use chart::Chart;
pub use desk::Desk;
pub use event::{Event, EventType, Severity, Status, event_id};
pub use facts::{
    CascadeFacts, CorrelationFacts, Coverage, FeedGapFacts, FundingEpisode, FundingFacts, LeaderFacts, MarketCascadeFacts,
    OiShockFacts, PipelineLagFacts, Regime, RegimeFacts, RegimeTopic, SideBias, ThresholdFacts, VolatilityFacts, ZoneSide,
    ZoneTouchFacts,
};
pub use guard::Guard;
pub use notice::{Notice, NoticeKind};
pub use secret::SecretText;
pub use sign::Secret;
