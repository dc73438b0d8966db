//! The program. What it can do is in `cli`.

use std::process::ExitCode;

use clap::Parser;
use regimeflow::cli::{self, Cli, EX_USAGE};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(code) = regimeflow::store::embedded::engine_child_main(std::env::args_os().skip(1)) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nowhere to complain to if that fails
            return ExitCode::from(if error.use_stderr() { EX_USAGE } else { 0 });
        }
    };
    regimeflow::telemetry::start(cli.verbose);
    // Fails only if a provider is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(cli::run(cli)));
    result.unwrap_or_else(|error| {
        eprintln!("regimeflow: {error:#}");
        cli::exit_code(&error)
    })
}
