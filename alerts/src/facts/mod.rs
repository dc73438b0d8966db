//! Facts, and the events that tell them: plain numbers in, sentences that a trader can act on out. One file a topic.
//!
//! All money is USD, all times are UTC ms, volatilities are fractions per day. The numbers must be finite.

mod cascade;
mod correlation;
mod feed;
mod funding;
mod lag;
mod market;
mod regime;
mod support_zone;
mod threshold;
mod volatility;
pub(crate) mod words;

pub use cascade::{CascadeFacts, Coverage, SideBias};
pub use correlation::{CorrelationFacts, LeaderFacts};
pub use feed::FeedGapFacts;
pub use funding::{FundingEpisode, FundingFacts, OiShockFacts};
pub use lag::PipelineLagFacts;
pub use market::MarketCascadeFacts;
pub use regime::{RegimeFacts, RegimeTopic};
pub use support_zone::{ZoneSide, ZoneTouchFacts};
pub use threshold::ThresholdFacts;
pub use volatility::{Regime, VolatilityFacts};
