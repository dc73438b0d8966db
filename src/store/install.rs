//! Where the engine's library lies, and how it gets there.
//!
//! It is an npm package, pinned with its sha512 by package-lock.json. `npm ci` in a clone puts it into `node_modules`; where
//! nobody did, the binary does the same with the copy of both files it carries, in the user's cache directory, once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::StoreError;
use super::embedded::LIBRARY_ENV;

const PACKAGE_JSON: &str = include_str!("../../package.json");
const PACKAGE_LOCK: &str = include_str!("../../package-lock.json");
const IN_MODULES: &str = "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so";

/// Finds `libchdb.so`: REGIMEFLOW_CHDB, beside the executable, `node_modules` from the working directory or the executable's
/// upwards, the cache. If it is nowhere, installs it into the cache with npm.
///
/// # Errors
/// [`StoreError::EngineMissing`] with the reason.
pub fn library() -> Result<PathBuf, StoreError> {
    if let Some(path) = std::env::var_os(LIBRARY_ENV).map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(StoreError::EngineMissing(format!("{LIBRARY_ENV}={} is no file", path.display())))
        };
    }
    match found() {
        Some(path) => Ok(path),
        None => install(),
    }
}

fn found() -> Option<PathBuf> {
    let executable = std::env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let upward = [std::env::current_dir().ok(), beside.map(Path::to_owned)].into_iter().flatten();
    let upward = upward.flat_map(|start| start.ancestors().map(|dir| dir.join(IN_MODULES)).collect::<Vec<_>>());
    beside
        .map(|dir| dir.join("libchdb.so"))
        .into_iter()
        .chain(upward)
        .chain(cache().map(|dir| dir.join(IN_MODULES)))
        .find(|p| p.is_file())
}

/// `~/.cache/regimeflow/engine-<the lock file's version>`.
fn cache() -> Option<PathBuf> {
    let root = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let root = root.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(root.join("regimeflow").join(format!("engine-{}", version())))
}

/// The version that package.json pins.
#[must_use]
pub fn version() -> &'static str {
    PACKAGE_JSON.split("\"@chdb/lib-linux-x64-gnu\":").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or("unknown")
}

fn install() -> Result<PathBuf, StoreError> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(StoreError::EngineMissing("it exists for Linux on x86-64 only".into()));
    }
    let dir = cache().ok_or_else(|| StoreError::EngineMissing("neither HOME nor XDG_CACHE_HOME is set".into()))?;
    let failed = |what: &str, e: &std::io::Error| StoreError::EngineMissing(format!("{what} {}: {e}", dir.display()));
    std::fs::create_dir_all(&dir).map_err(|e| failed("can't make", &e))?;
    let lock = File::create(dir.join("install.lock")).map_err(|e| failed("can't write to", &e))?;
    lock.lock().map_err(|e| failed("can't lock", &e))?; // a second process waits for the first one's installation
    let library = dir.join(IN_MODULES);
    if library.is_file() {
        return Ok(library);
    }
    std::fs::write(dir.join("package.json"), PACKAGE_JSON).map_err(|e| failed("can't write to", &e))?;
    std::fs::write(dir.join("package-lock.json"), PACKAGE_LOCK).map_err(|e| failed("can't write to", &e))?;
    tracing::info!(dir = %dir.display(), version = version(), "installing the embedded ClickHouse engine with npm, once");
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| StoreError::EngineMissing(format!("npm can't be run to install it: {e}")))?;
    if npm.status.success() && library.is_file() {
        return Ok(library);
    }
    let said = String::from_utf8_lossy(&npm.stderr);
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect();
    Err(StoreError::EngineMissing(format!("`npm ci` in {} ended with {} {said}", dir.display(), npm.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_pins_one_version_and_names_no_host() {
        assert_eq!(version(), "26.7.3-stable.1");
        assert!(PACKAGE_LOCK.contains("\"integrity\": \"sha512-"));
        assert!(!PACKAGE_LOCK.contains("resolved"), "the lock file names a registry host");
    }
}
