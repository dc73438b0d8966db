//! Writing to a directory of models.
//!
//! `models.lock` is held while `models.json` is read, added to and put back, so of two processes one waits and neither loses an entry.
//! Every file is written beside its name, made durable, and renamed: a reader sees the old or the new one, whole, and a listing never
//! names a model that isn't there. A version's file is never written again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dataflows::model::ModelId;
use hmm::ModelFile;

use super::{Entry, Listing, MODELS_FILE, path_of};

/// A writer waits for another so long; writing takes milliseconds.
const LOCK_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);
/// Longest name of a model.
const NAME_BYTES_MAX: usize = 120;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A file.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process writes.
    #[error("another process holds {0}; try again when it is done")]
    Busy(PathBuf),
    /// A name that is no file name everywhere.
    #[error("`{0}` can't name a model: take 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.`, not a `.` first")]
    Name(String),
    /// What is there is no listing.
    #[error("reading {path}: {source}")]
    Listing {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The model can't be written as JSON.
    #[error("writing model {name}: {source}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        source: hmm::HmmError,
    },
}

impl ShelfError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

/// A new version: the entry's own version is chosen when it is written.
#[derive(Clone, Debug)]
pub struct New {
    /// The model.
    pub file: ModelFile,
    /// What it is for. `version` is ignored.
    pub entry: Entry,
}

/// Writes new versions and lists them; gives their entries as written. The directory is made if need be.
///
/// # Errors
/// Nothing is listed then.
pub fn publish(dir: &Path, new: Vec<New>) -> Result<Vec<Entry>, ShelfError> {
    change(dir, |listing| put_beside(dir, listing, new))
}

/// Writes new versions without listing them: they are not read before somebody adds the entries that this gives.
///
/// # Errors
/// A name that can't be one, or files that can't be written.
pub fn put(dir: &Path, new: Vec<New>) -> Result<Vec<Entry>, ShelfError> {
    let mut entries = Vec::new();
    change(dir, |listing| {
        entries = put_beside(dir, listing, new)?;
        Ok::<_, ShelfError>(Vec::new())
    })?;
    Ok(entries)
}

/// Each gets the version after all that are listed or lie there: one that is not listed may be about to be.
fn put_beside(dir: &Path, listing: &Listing, new: Vec<New>) -> Result<Vec<Entry>, ShelfError> {
    for New { entry, .. } in &new {
        check_name(&entry.model)?;
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(new.len());
    for New { file, mut entry } in new {
        let listed = listing.releases.iter().chain(&entries).filter(|known| known.model == entry.model);
        entry.version = listed.map(|known| known.version).max().unwrap_or(0) + 1;
        while path_of(dir, &entry.id()).exists() {
            entry.version += 1;
        }
        write_model(dir, &entry.id(), &file)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Adds what `decide` makes of the listing; nothing if it refuses. Gives the entries added.
///
/// # Errors
/// What `decide` says, or that files can't be written.
pub fn change<E: From<ShelfError>>(dir: &Path, decide: impl FnOnce(&Listing) -> Result<Vec<Entry>, E>) -> Result<Vec<Entry>, E> {
    change_within(dir, LOCK_MAX, decide)
}

/// As [`change`], waiting for another writer no longer than `wait_max`.
///
/// # Errors
/// As [`change`].
pub fn change_within<E: From<ShelfError>>(
    dir: &Path,
    wait_max: Duration,
    decide: impl FnOnce(&Listing) -> Result<Vec<Entry>, E>,
) -> Result<Vec<Entry>, E> {
    fs::create_dir_all(dir).map_err(io("making the directory", dir))?;
    let _lock = lock(dir, wait_max)?;
    let path = dir.join(MODELS_FILE);
    let mut listing = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|source| ShelfError::Listing { path: path.clone(), source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Listing::default(),
        Err(error) => return Err(io("reading", &path)(error).into()),
    };
    let added = decide(&listing)?;
    if !added.is_empty() {
        listing.releases.extend(added.iter().cloned());
        let mut text =
            serde_json::to_string_pretty(&listing).map_err(|source| ShelfError::Listing { path: path.clone(), source })?;
        text.push('\n');
        replace(dir, &path, &text)?;
    }
    Ok(added)
}

/// Whether a model may be called so.
///
/// # Errors
/// If not.
pub fn check_name(name: &str) -> Result<(), ShelfError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) && !name.starts_with('.');
    if good { Ok(()) } else { Err(ShelfError::Name(name.to_owned())) }
}

fn write_model(dir: &Path, id: &ModelId, file: &ModelFile) -> Result<(), ShelfError> {
    let mut text = file.to_json().map_err(|source| ShelfError::Model { name: id.to_string(), source })?;
    text.push('\n');
    replace(dir, &path_of(dir, id), &text)
}

/// The lock is let go when the file is closed, also by a kill.
fn lock(dir: &Path, wait_max: Duration) -> Result<File, ShelfError> {
    let path = dir.join("models.lock");
    let options = || File::options().create(true).truncate(false).write(true).open(&path);
    let file = options().map_err(io("opening", &path))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < wait_max => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(ShelfError::Busy(path)),
            Err(TryLockError::Error(error)) => return Err(io("locking", &path)(error)),
        }
    }
}

/// Only the holder of the lock writes, so one name for the file beside is enough.
fn replace(dir: &Path, path: &Path, text: &str) -> Result<(), ShelfError> {
    let beside = dir.join("models.new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(io("writing", &beside))?;
    fs::rename(&beside, path).map_err(io("renaming to", path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("making durable", dir))
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ShelfError {
    let path = path.to_owned();
    move |source| ShelfError::Io { what, path, source }
}
