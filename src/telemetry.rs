//! Logs: to stderr, a constant sentence plus fields. `REGIMEFLOW_LOG` (or `-v`, `-vv`) says how much.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. Without a word from the user: warnings and errors.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,regimeflow=info,alerts=info",
        _ => "info,regimeflow=debug,alerts=debug,dataflows=debug",
    };
    let filter = EnvFilter::try_from_env("REGIMEFLOW_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .try_init();
    drop(started); // fails only where a test has started logging already
}
