//! The commands, one file each. Results go to stdout, talk to stderr, exit codes are those of sysexits.

pub mod alerts;
pub mod bench;
pub mod cluster_args;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod dump;
pub mod evaluate;
mod market;
pub mod migrate;
pub mod mock_venue;
pub mod model;
pub mod query;
pub mod record;
pub mod replay;
mod report;
pub mod run;
pub mod simulate;
pub mod status;
pub mod store_args;
mod time;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Config;
use crate::store::StoreError;

/// Wrong use of the command line.
pub const EX_USAGE: u8 = 64;
/// The input is not what it should be.
pub const EX_DATA: u8 = 65;
/// Something that is needed can't be had.
pub const EX_UNAVAILABLE: u8 = 69;
/// A file or device failed.
pub const EX_IO: u8 = 74;
/// Somebody else is at it; try again later.
pub const EX_TRY_AGAIN: u8 = 75;
/// The configuration is wrong.
pub const EX_CONFIG: u8 = 78;

/// Maintained views over live crypto derivatives markets.
#[derive(Debug, Parser)]
#[command(name = "regimeflow", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// More talk on stderr: -v what happens, -vv details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A simulated market through the whole pipeline into the embedded store: no config, no network.
    Demo(demo::DemoArgs),
    /// Live feeds through the pipeline, until SIGTERM or Ctrl-C.
    Run(run::RunArgs),
    /// Raw frames of live feeds to disk, an hour to a file, until SIGTERM or Ctrl-C.
    Record(record::RecordArgs),
    /// Recorded frames through the same pipeline as live ones.
    Replay(replay::ReplayArgs),
    /// Serve recorded frames over the venues' own WebSocket protocol, with faults on demand.
    MockVenue(mock_venue::MockVenueArgs),
    /// How much of simulated markets' truth is found: cascades, delays, regimes, funding, beside the targets.
    Evaluate(evaluate::EvaluateArgs),
    /// Write a regime-switching market in the venues' wire format, with the truth beside it.
    Simulate(simulate::SimulateArgs),
    /// SQL against the store, also while a run has it open.
    Query(query::Args),
    /// Canonical text of each view, and a hash over it.
    Dump(dump::Args),
    /// Bring a store's tables up to date.
    Migrate(migrate::Args),
    /// Hidden Markov models: train, evaluate, version.
    #[command(subcommand)]
    Model(model::Command),
    /// What is told to people: check it, test channels, see what fires and what became of notices, silence, acknowledge, send again.
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// The program's own speed, beside the parse-only rate of the same run.
    Bench(bench::BenchArgs),
    /// Check, show or describe the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Whether this machine can keep what it is asked to keep: disks measured where things lie, the engine, limits.
    Doctor(doctor::DoctorArgs),
    /// How a live run is doing: lag, journal, store, memory.
    Status(status::StatusArgs),
    /// Print a completion script for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line. One flat match: all that the program can do.
///
/// # Errors
/// Whatever the command failed with; [`exit_code`] says how the process should end.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::MockVenue(args) => mock_venue::run(args).await,
        Command::Record(args) => record::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Evaluate(args) => evaluate::run(args).await,
        Command::Simulate(args) => simulate::run(args),
        Command::Query(args) => query::run(args).await,
        Command::Dump(args) => dump::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Model(command) => model::run(command).await,
        Command::Alerts(command) => alerts::run(command).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Config(args) => args.run(),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "regimeflow", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A failure whose exit code is known.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Of sysexits.
    pub code: u8,
    /// What to tell.
    pub message: String,
}

/// Which exit code an error deserves.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let store = error.downcast_ref::<StoreError>().map(StoreError::exit_code);
    let frames = error.downcast_ref::<crate::frames::FrameLogError>().map(|_| EX_IO);
    let failure = error.downcast_ref::<Failure>().map(|failure| failure.code);
    let journal = error.downcast_ref::<journal::Error>().map(|error| match error {
        journal::Error::Locked { .. } => EX_TRY_AGAIN,
        journal::Error::Io { .. } => EX_IO,
        journal::Error::Damaged { .. } | journal::Error::Missing { .. } | journal::Error::Version { .. } => EX_DATA,
        journal::Error::Asked(_) => EX_UNAVAILABLE,
    });
    let cluster = cluster_exit_code(error);
    let shelf = error.downcast_ref::<crate::model_dir::shelf::ShelfError>();
    let config = error.downcast_ref::<crate::config::ConfigErrors>().map(|_| EX_CONFIG);
    let shelf = shelf.map(|error| if error.is_retryable() { EX_TRY_AGAIN } else { EX_IO });
    ExitCode::from(failure.or(cluster).or(config).or(store).or(journal).or(shelf).or(frames).unwrap_or(1))
}

fn cluster_exit_code(error: &anyhow::Error) -> Option<u8> {
    use crate::cluster::{HostsError, JoinError, PeerLost};
    let hosts = error.downcast_ref::<HostsError>().map(|error| match error {
        HostsError::NoSuchProcess { .. } => EX_USAGE,
        HostsError::Read { .. } | HostsError::Line { .. } | HostsError::Count { .. } => EX_CONFIG,
    });
    let joining = error.downcast_ref::<JoinError>().map(|error| match error {
        JoinError::Differs { .. } | JoinError::Twice { .. } => EX_CONFIG,
        JoinError::Listen { .. } | JoinError::Missing { .. } | JoinError::Socket { .. } => EX_UNAVAILABLE,
    });
    let differ = error.downcast_ref::<crate::recovery::JournalsDiffer>().map(|_| EX_DATA);
    hosts.or(joining).or(differ).or(error.downcast_ref::<PeerLost>().map(|_| EX_UNAVAILABLE))
}

/// Reads a configuration, or takes the defaults; warnings go to stderr.
fn read_config(path: Option<&Path>) -> anyhow::Result<Config> {
    let Some(path) = path else { return Ok(Config::default()) };
    match Config::load(path) {
        Ok(config) => Ok(config),
        Err(errors) => Err(Failure { code: EX_CONFIG, message: errors.to_string() }.into()),
    }
}

/// `--store` over the configuration's. `none`: no store.
fn store_location(config: &mut Config, store: Option<&str>) -> bool {
    if let Some(store) = store {
        store.clone_into(&mut config.store.location);
    }
    config.store.location != "none"
}

/// Prints JSON to stdout.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing the result as JSON")?;
    print(&format!("{text}\n"))
}

/// Not `print!`, which panics when the reader of a pipe has gone.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing to stdout"),
    }
}

/// Paths as a person wrote them, for messages.
fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
