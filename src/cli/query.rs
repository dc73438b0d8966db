//! `regimeflow query SQL`: SQL against the store, also while a run has it open.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use super::store_args::{StoreArgs, failed};
use crate::config;
use crate::store::{Mode, Store, StoreError};

/// Longest statement taken from stdin.
const SQL_BYTES_MAX: u64 = 1 << 20;

/// SQL against the store, also while a run has it open.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The statement; `-` reads it from stdin.
    pub sql: String,
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// ClickHouse's output format [default: PrettyCompact on a terminal, TabSeparatedWithNames otherwise]. A FORMAT clause wins.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// One JSON object per line.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Let the statement change data and tables; without it the store refuses.
    #[arg(long)]
    pub write: bool,
    /// A value for a `{name:Type}` in the statement.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
}

/// Runs the statement and copies its result to stdout.
///
/// # Errors
/// If stdin can't be read or stdout written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut sql = args.sql.clone();
    if sql == "-" {
        sql.clear();
        std::io::stdin().take(SQL_BYTES_MAX).read_to_string(&mut sql)?;
    }
    if sql.trim().is_empty() {
        writeln!(std::io::stderr(), "regimeflow query: the statement is empty; try: regimeflow query 'SHOW TABLES'")?;
        return Ok(ExitCode::from(64));
    }
    let store = match Store::open(&args.store.over(config::Store::default()), Mode::Read("query")).await {
        Ok(store) => store,
        Err(error) => return Ok(failed("query", &error)),
    };
    let answer = copy(&store, &sql, &args).await;
    let closed = store.close().await;
    match answer? {
        Ok(()) => Ok(closed.map_or_else(|error| failed("query", &error), |()| ExitCode::SUCCESS)),
        Err(code) => Ok(code),
    }
}

async fn copy(store: &Store, sql: &str, args: &Args) -> anyhow::Result<Result<(), ExitCode>> {
    let mut query = store.client().query_raw(sql.trim().trim_end_matches(';'));
    if !args.write {
        query = query.with_setting("readonly", "2");
    }
    for param in &args.params {
        let Some((name, value)) = param.split_once('=') else {
            writeln!(std::io::stderr(), "regimeflow query: --param {param}: write it as NAME=VALUE")?;
            return Ok(Err(ExitCode::from(64)));
        };
        query = query.param(name, value);
    }
    let terminal = std::io::stdout().is_terminal();
    let format = match (&args.format, args.json) {
        (Some(format), _) => format.as_str(),
        (None, true) => "JSONEachRow",
        (None, false) if terminal => "PrettyCompact",
        (None, false) => "TabSeparatedWithNames",
    };
    let refused = |error: clickhouse::error::Error| Ok(Err(failed("query", &StoreError::of("the statement", &error))));
    let mut cursor = match query.fetch_bytes(format) {
        Ok(cursor) => cursor,
        Err(error) => return refused(error),
    };
    let mut stdout = std::io::stdout().lock();
    loop {
        match cursor.next().await {
            Ok(Some(chunk)) => match stdout.write_all(&chunk) {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Ok(())), // `| head` has seen enough
                written => written?,
            },
            Ok(None) => break,
            Err(error) => {
                stdout.flush()?;
                return refused(error);
            }
        }
    }
    stdout.flush()?;
    Ok(Ok(()))
}
