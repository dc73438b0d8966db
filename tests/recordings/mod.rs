//! What was recorded of real markets: in `shared/data` beside the checkout, or where `REGIMEFLOW_DATA` says.

use std::path::{Path, PathBuf};

/// A file or folder by its path there. `None`, after saying so, where it is absent.
pub fn find(name: &str) -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = std::env::var_os("REGIMEFLOW_DATA").map(PathBuf::from);
    let folders = [told.unwrap_or_else(|| checkout.join("../shared/data")), checkout.join("../../shared/data")]; // the second: of a worktree
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: there is no {}", folders[0].join(name).display());
    }
    found
}
