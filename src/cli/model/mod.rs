//! `regimeflow model …`: hidden Markov models: train, evaluate, version.

mod args;
mod data;
mod decode;
mod fit;
mod list;
mod place;
mod score;
mod walk;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, print, print_json, report};

/// Hidden Markov models: train, evaluate, version.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fit models to features of the store, or of a CSV of bars, and list them as candidates; or walk forward over the past.
    Fit(Box<fit::FitArgs>),
    /// The models of a directory and what they are used for.
    List(list::ListArgs),
    /// How well models explain bars: log-likelihood per bar, switches.
    Score(score::ScoreArgs),
    /// The regime of each bar, as CSV or JSON.
    Decode(decode::DecodeArgs),
    /// Make a version the active one, if its figures are within bounds.
    Promote(place::PromoteArgs),
    /// Go back to the version that was active before.
    Rollback(place::RollbackArgs),
}

/// Runs the command.
///
/// # Errors
/// Whatever it failed with.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Fit(args) => fit::run(*args).await,
        Command::List(args) => list::run(&args),
        Command::Score(args) => score::run(args).await,
        Command::Decode(args) => decode::run(args).await,
        Command::Promote(args) => place::promote(&args),
        Command::Rollback(args) => place::roll_back(&args),
    }
}
