//! Alerts: what is told to people, and how it reaches them.
//!
//! [`event`] is what is told: the JSON of `schemas/events.schema.json`. [`facts`] turns what a view says into an event with
//! its sentences. [`policy`] decides who is told what and when. [`sign`] proves who sent it. [`deliver`] carries it: a [`deliver::Channel`] makes one attempt, a
//! [`deliver::Courier`] makes the next ones.
//! its sentences. [`sign`] proves who sent it. [`deliver`] carries it: a [`deliver::Channel`] makes one attempt, a
//! [`deliver::Courier`] makes the next ones. [`channels`] put a notice into a receiver's form; [`guard`] keeps what they post
//! out of the own network, [`secret`] keeps where they post to out of every log.
//!
//! The crate knows nothing of the dataflow that finds the facts, has no wall clock (callers pass one) and writes no file:
//! every attempt is reported to the caller, who keeps it.

pub mod alert;
pub mod channels;
pub mod chart;
pub mod deliver;
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
pub use event::{Event, EventType, Severity, Status, event_id};
pub use facts::{
    CascadeFacts, CorrelationFacts, Coverage, FeedGapFacts, FundingEpisode, FundingFacts, LeaderFacts, MarketCascadeFacts, OiShockFacts,
    Regime, RegimeFacts, RegimeTopic, SideBias, VolatilityFacts, ZoneSide, ZoneTouchFacts,
};
pub use guard::Guard;
pub use notice::{Notice, NoticeKind};
pub use secret::SecretText;
pub use sign::Secret;
