//! The simulated market behind `demo` and `simulate`: frames in the venues' wire format, and beside them the truth.
//!
//! Everything is drawn from the seed, each symbol and purpose from a stream of its own: equal settings give equal bytes, and
//! a further symbol leaves the others' frames as they were. There is no clock but the simulated one.
//!
//! # The model, in steps of one second
//!
//! - **Regimes** ([`regimes`]): a Markov chain of the market (calm .8 %, normal 2.5 %, turbulent 8.5 % per day, staying 14 h,
//!   9 h, 3 h in the mean) and one of each symbol (agitated: own volatility × 3, 90 minutes in the mean, once a day).
//! - **Prices** ([`path`]): β · market return + own return, both Student-t with 5 degrees of freedom, scaled to variance one.
//!   The index carries them; the perpetual's price is index × (1 + premium + the venue's basis).
//! - **Liquidations** ([`hawkes`], [`desk`]): per symbol, venue and side a Hawkes process (branching ratio .35 to .75, 1/β 2 to
//!   15 s, the same on all venues of a symbol), fed by a background that grows with activity, adverse moves and open
//!   interest, and by planned **cascades** ([`schedule`]): onset, side, 45 to 210 s, 2 to 20 × 250,000 USD on each venue,
//!   front-loaded; they push the price by .7 % · √(notional / 250,000 USD), cut open interest by 2 to 9 %, and some 30 % of
//!   the push comes back. A quarter of a symbol's own cascades are decoys of .2 to .45 × 250,000 USD; some cascades are
//!   market-wide within 30 s. Background: 30,000 USD an hour for BTC, at most four times that, far below every threshold.
//! - **Open interest** ([`path`]): built up in calm times, cut by cascades.
//! - **Funding** ([`funding`]): follows the premium by the venues' rule; in an *episode* the premium is drawn to ±15 to ±40 bp
//!   for 3 to 12 hours.
//! - **Prints** ([`tape`]): Poisson, dense ids, on the symbol's price and quantity grid; a liquidation is a print too.
//! - **Wire** ([`feed`], [`wire`], [`arrivals`]): Binance USDⓈ-M (aggTrade, markPriceUpdate, forceOrder with the largest of each
//!   second, closed kline_1m, polls of open interest each 30 s and of the funding rate at settlements) and Bybit linear
//!   (publicTrade with a fill each, tickers as a snapshot and deltas, allLiquidation, closed kline.1, funding history at
//!   settlements). Frames arrive 5 to 80 ms after they were sent, in order inside a stream.
//!
//! Limits: no order book, no correlation between the two venues' prints beyond the common path, a cascade's size does not
//! depend on the open interest that is there, and volatility has no daily rhythm.

mod arrivals;
mod chance;
mod dense;
mod desk;
mod digits;
mod feed;
mod funding;
mod hawkes;
mod listing;
mod market;
mod path;
mod regimes;
mod schedule;
mod settings;
mod sink;
mod tally;
mod tape;
#[cfg(test)]
mod tests;
mod truth;
mod wire;

pub use arrivals::Frame;
pub use dense::dense_corpus;
pub use market::Simulation;
pub use settings::{START_MS, Settings, SettingsError};
pub use sink::{Batcher, Batches, LogSink};
pub use truth::{Burst, BurstAtVenue, FundingEpisode, RegimeRun, Truth, TruthError};
