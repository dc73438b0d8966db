//! `regimeflow dump`: the canonical text of each view and its sha256.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::store_args::{StoreArgs, failed};
use crate::config;
use crate::store::views::{self, VIEWS, View};
use crate::store::{Mode, Store, StoreError, dump};

/// The canonical text of each view, sorted, figures at fixed precision; a sha256 per view and one over all.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only this view: its text goes to stdout (without --out and --json). May be given more than once.
    #[arg(long, value_name = "NAME")]
    pub view: Vec<String>,
    /// Write each view's text to DIR/NAME.tsv.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The hashes as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Dumps.
///
/// # Errors
/// If stdout can't be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut chosen: Vec<&View> = Vec::new();
    for name in &args.view {
        let Some(view) = views::named(name) else {
            let names: Vec<&str> = VIEWS.iter().map(|v| v.name).collect();
            writeln!(std::io::stderr(), "regimeflow dump: --view {name}: no such view; there are {}", names.join(", "))?;
            return Ok(ExitCode::from(64));
        };
        chosen.push(view);
    }
    if chosen.is_empty() {
        chosen.extend(VIEWS);
    }
    let store = match Store::open(&args.store.over(config::Store::default()), Mode::Read("dump")).await {
        Ok(store) => store,
        Err(error) => return Ok(failed("dump", &error)),
    };
    let dumped = views_of(&store, &chosen, &args).await;
    let closed = store.close().await;
    let dumps = match dumped.and_then(|dumps| closed.map(|()| dumps)) {
        Ok(dumps) => dumps,
        Err(error) => return Ok(failed("dump", &error)),
    };
    let text_is_out = !args.view.is_empty() && args.out.is_none() && !args.json;
    report(&dumps, &args, text_is_out)?;
    Ok(ExitCode::SUCCESS)
}

async fn views_of(store: &Store, chosen: &[&View], args: &Args) -> Result<Vec<dump::ViewDump>, StoreError> {
    let mut dumps = Vec::new();
    for view in chosen {
        let mut out: Box<dyn Write + Send> = match &args.out {
            Some(dir) => Box::new(file(dir, view.name)?),
            None if args.json || args.view.is_empty() => Box::new(std::io::sink()),
            None => Box::new(BufWriter::new(std::io::stdout())),
        };
        dumps.push(dump::view(store, view, &mut *out).await?);
        out.flush().map_err(|source| StoreError::Io { what: "can't write the dump of", path: view.name.into(), source })?;
    }
    Ok(dumps)
}

fn file(dir: &Path, view: &str) -> Result<BufWriter<File>, StoreError> {
    let path = dir.join(format!("{view}.tsv"));
    let created = std::fs::create_dir_all(dir).and_then(|()| File::create(&path));
    created.map(BufWriter::new).map_err(|source| StoreError::Io { what: "can't write", path, source })
}

/// One line per view: sha256, rows, name; the last line is the hash over all. On stderr where stdout holds the text itself.
fn report(dumps: &[dump::ViewDump], args: &Args, text_is_out: bool) -> anyhow::Result<()> {
    let all = args.view.is_empty().then(|| dump::overall(dumps));
    if args.json {
        let json = serde_json::json!({ "sha256": all, "views": dumps });
        writeln!(std::io::stdout(), "{json}")?;
        return Ok(());
    }
    let mut to: Box<dyn Write> = if text_is_out { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    for dump in dumps {
        let note = if dump.about_arrival { " (about arrival, not in the hash over all)" } else { "" };
        writeln!(to, "{}  {:>10}  {}{note}", dump.sha256, dump.rows, dump.view)?;
    }
    if let Some(all) = all {
        writeln!(to, "{all}  {:>10}  all", dumps.iter().filter(|d| !d.about_arrival).map(|d| d.rows).sum::<u64>())?;
    }
    Ok(())
}
