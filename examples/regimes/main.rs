//! What regimes are worth: persistence, switches and out-of-sample likelihood of four models on the simulated market and on real hourly
//! bars, and what the view `confirmations` said around five crises.
//!
//! ```text
//! cargo run --profile ci --example regimes -- ../shared/data/bars/1h
//! ```
//!
//! The folder holds `binance-usdm/` and `binance-spot/`, a file per symbol (`BTCUSDT.csv.gz`) as `model fit --bars` reads it. Without
//! an argument the folder beside the project is taken, or the one in `$REGIMEFLOW_DATA`; where there is none, only the
//! simulated market is shown, and it says so. Minutes on two processors; everything is seeded, so the same data print the same tables.

mod confirmed;
mod persistence;

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", persistence::EXPLAINED);
    persistence::simulated()?;
    let folder = std::env::args_os().nth(1).map_or_else(usual_folder, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped the real market: there are no bars at {}; name their folder as the argument", folder.display());
        return Ok(());
    }
    persistence::recorded(&folder.join("binance-usdm"))?;
    println!("{}", confirmed::EXPLAINED);
    confirmed::around_crises(&folder.join("binance-spot"))
}

fn usual_folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    std::env::var_os("REGIMEFLOW_DATA").map_or(beside, PathBuf::from).join("bars/1h")
}

/// The files of bars in a folder with the names before their first dot, in order.
fn bar_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("looking for bars in {}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some((symbol, "csv" | "csv.gz" | "csv.zst")) = name.split_once('.') {
            files.push((symbol.to_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
