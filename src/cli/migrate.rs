//! `regimeflow migrate`: brings the store's tables up to date. `run` and `replay` do it too; this is for those who want to look first.

use std::io::Write;
use std::process::ExitCode;

use super::store_args::{StoreArgs, failed};
use crate::config;
use crate::store::{Mode, Store, StoreError, migrate};

/// Bring the store's tables up to date.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only say what would be applied; changes no table.
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Migrates.
///
/// # Errors
/// If stdout can't be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.store.over(config::Store::default());
    let migrations = match migrated(&config, args.dry_run).await {
        Ok(migrations) => migrations,
        Err(error) => return Ok(failed("migrate", &error)),
    };
    let names: Vec<String> = migrations.iter().map(|m| format!("{:04}_{}", m.version, m.name)).collect();
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::json!({ "dry_run": args.dry_run, "migrations": names }))?;
    } else if names.is_empty() {
        writeln!(stdout, "{}: up to date", config.location)?;
    } else {
        let verb = if args.dry_run { "would apply" } else { "applied" };
        for name in names {
            writeln!(stdout, "{verb} {name}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrated(config: &config::Store, dry_run: bool) -> Result<Vec<migrate::Migration>, StoreError> {
    let mode = if dry_run { Mode::Read("query") } else { Mode::Write("migrate") };
    let store = match Store::connect(config, mode).await {
        Err(StoreError::Absent(_)) if dry_run => return Ok(migrate::MIGRATIONS.to_vec()), // nothing there: all of them
        store => store?,
    };
    let done = if dry_run {
        migrate::pending(store.client(), store.database()).await
    } else {
        migrate::apply(store.client(), store.database()).await
    };
    store.close().await?;
    done
}
