//! `regimeflow alerts …`: what is told to people, seen and steered from outside of the run that tells it.
//!
//! A run keeps what it knows in the outbox's file. These commands read it while the run has it open, and leave orders in it; they never change
//! it themselves.

mod check;
mod history;
mod list;
mod orders;
mod place;
mod replay;
mod route;
mod sample;
mod silence;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, print, print_json, report, time};

/// What is told to people.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report everything that is wrong with configuration and rules; otherwise, which rules, channels and routes there are.
    Check(check::CheckArgs),
    /// Send a marked drill through one channel at once, or show what would be sent. Without a channel: which there are.
    Test(test::TestArgs),
    /// Which rules ask for an event, which routes and channels it would take, and when; or why not.
    Route(Box<route::RouteArgs>),
    /// What became of notices, newest first.
    History(history::HistoryArgs),
    /// What fires now, who was told, who looks after it, what mutes it; and the silences.
    List(list::ListArgs),
    /// Mute what matches for a while; list silences; end one.
    Silence(silence::SilenceArgs),
    /// Say that somebody looks after an alert: no reminders, no escalation.
    Ack(orders::AckArgs),
    /// Take an acknowledgement back.
    Unack(orders::UnackArgs),
    /// Send again what could not be delivered.
    Replay(replay::ReplayArgs),
    /// Try a channel again that was disabled, or that rests after failures.
    Enable(orders::EnableArgs),
}

/// Runs the command.
///
/// # Errors
/// Whatever it failed with.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args).await,
        Command::Route(args) => route::run(&args),
        Command::History(args) => history::run(&args),
        Command::List(args) => list::run(&args),
        Command::Silence(args) => silence::run(&args),
        Command::Ack(args) => orders::ack(&args),
        Command::Unack(args) => orders::unack(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Enable(args) => orders::enable(&args),
    }
}

/// A text out of an alert, in one line that moves no cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= most { text } else { text.chars().take(most - 1).chain(['…']).collect() }
}

/// `1 rule`, `2 rules`.
fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `key=value`.
fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is no label; write name=value"))
}

/// An event's type by its name, in upper or lower case.
fn event_type(text: &str) -> Result<alerts::EventType, String> {
    let names: Vec<&str> = alerts::EventType::ALL.iter().map(|known| known.as_str()).collect();
    let known = alerts::EventType::from_name(&text.to_uppercase().replace('-', "_"));
    known.ok_or_else(|| match crate::config::nearest(text, names.iter().copied()) {
        Some(near) => format!("there is no event type `{text}`; did you mean {near}?"),
        None => format!("there is no event type `{text}`; there are {}", names.join(", ")),
    })
}

/// A severity by its name, in upper or lower case.
fn severity(text: &str) -> Result<alerts::Severity, String> {
    use alerts::Severity::{Critical, Info, Warning};
    let known = [Info, Warning, Critical].into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("`{text}` is no severity; there are INFO, WARNING and CRITICAL"))
}
