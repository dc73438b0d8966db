//! The views against the slow, obvious oracle.
//!
//! [`run`] puts a recorded arrival through the real graph on timely, [`oracle`] computes the same rows from the final multiset
//! of events, [`streams`] makes random markets, [`properties`] says what must hold of them, [`examples`] are small markets
//! that one can read, [`adaptive`], [`liquidation_stories`] and [`unusual`] those that take days or several assets, and [`figures`]
//! are estimator values that were computed elsewhere.

#![allow(clippy::unwrap_used, missing_docs)]

mod adaptive;
mod correlations;
mod cost;
mod examples;
mod figures;
mod flows;
mod liquidation_stories;
mod oracle;
mod properties;
mod ratios;
mod regimes;
mod restarts;
mod run;
mod streams;
mod unusual;
mod zones;
