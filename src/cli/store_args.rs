//! `--store` and its companions, shared by every command that opens one.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::store::StoreError;

/// Which store.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreArgs {
    /// A directory (embedded engine) or a ClickHouse URL [default: the config's, or regimeflow-data].
    #[arg(long, value_name = "DIR|URL", env = "REGIMEFLOW_STORE")]
    pub store: Option<String>,
    /// The database's name [default: the config's, or regimeflow].
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// The user on a server.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file with the password on a server.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl StoreArgs {
    /// The configuration with what the command line says put over it.
    #[must_use]
    pub fn over(&self, config: config::Store) -> config::Store {
        config::Store {
            location: self.store.clone().unwrap_or(config.location),
            database: self.database.clone().unwrap_or(config.database),
            user: self.user.clone().or(config.user),
            password_file: self.password_file.clone().or(config.password_file),
            ..config
        }
    }
}

/// Says on stderr what went wrong and gives the exit code that goes with it.
pub fn failed(command: &str, error: &StoreError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "regimeflow {command}: {error}"); // nobody may be listening
    ExitCode::from(error.exit_code())
}
