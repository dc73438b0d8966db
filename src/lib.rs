//! regimeflow: maintained views over live crypto derivatives markets.
//!
//! Data runs one way: [`feeds`] turn [`frames`] into ticks, `dataflows` maintains the views, [`store`] keeps every change,
//! `alerts` tells people.

pub mod accounts;
pub mod announce;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod crash;
pub mod engine;
pub mod evaluate;
pub mod feeds;
pub mod frames;
pub mod mock_venue;
pub mod model_dir;
pub mod notify;
pub mod recovery;
pub mod rules;
pub mod simulate;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod training;
