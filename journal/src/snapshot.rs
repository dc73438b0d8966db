//! Snapshots: what a run knew up to a record, so that the records before it need not be kept.
//!
//! A snapshot is some parts, each a file, and a manifest that names them with their lengths and checksums. Every file is written under a
//! name that ends in `.new`, made durable, and renamed; the manifest comes last. So a snapshot without a manifest is none, and one with
//! a manifest is whole, or was damaged later: then it is passed over with a report, and the one before it is taken.

mod manifest;
mod retain;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

pub use manifest::{Manifest, Part};
pub use retain::Removed;

use crate::disk::{AppendFile, Disk, append_all};
use crate::journal::Held;
use crate::{Error, Seq};
use manifest::{BadManifest, MANIFEST_BYTES_MAX, is_fingerprint, is_part_name};

/// Written, and read for checking, in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// The snapshots of a journal. May be used beside its writer.
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    held: Arc<Held>,
}

/// The newest snapshot that is whole, and what was passed over on the way to it.
pub struct Found {
    /// `None`: there is none, and everything comes of the records.
    pub snapshot: Option<Snapshot>,
    /// Newer ones that are damaged: which file, and how.
    pub damaged: Vec<Damaged>,
}

/// Which file is damaged, and how.
pub type Damaged = (PathBuf, String);

/// A snapshot whose parts were checked.
pub struct Snapshot {
    /// What it is.
    pub manifest: Manifest,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: Id,
}

/// Which snapshot: its last record, and 1, 2, … where there is more than one of that record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub up_to: Seq,
    pub edition: u32,
}

impl Snapshots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, held: Arc<Held>) -> Self {
        Self { disk, dir, held }
    }

    /// Begins a snapshot of everything up to record `up_to`, which must be durable ([`crate::GroupSync::durable`]). The fingerprint says
    /// what the caller must be told to make use of it (of its configuration, say): up to 200 printable ASCII characters. Waits while another is written.
    ///
    /// # Errors
    /// If the fingerprint is none, or the disk fails.
    pub fn begin(&self, up_to: Seq, fingerprint: &str) -> Result<NewSnapshot<'_>, Error> {
        if !is_fingerprint(fingerprint) {
            return Err(Error::Asked(format!(
                "{fingerprint:?} can't be a snapshot's fingerprint: up to 200 printable ASCII characters can"
            )));
        }
        let only = self.held.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let of_record = ids(&self.names()?).into_iter().filter(|id| id.up_to == up_to).max();
        let id = Id { up_to, edition: of_record.map_or(1, |id| id.edition + 1) };
        let manifest = Manifest { up_to, fingerprint: fingerprint.to_owned(), parts: Vec::new() };
        Ok(NewSnapshot { snapshots: self, id, manifest, _only: only })
    }

    /// The newest one whose every byte is as it was written. Reads all of it.
    ///
    /// # Errors
    /// If the disk fails, or a snapshot is of another version: what a newer program wrote must not be passed over in silence.
    pub fn newest_good(&self) -> Result<Found, Error> {
        let mut damaged = Vec::new();
        for id in self.newest_first()? {
            match self.checked(id)? {
                Ok(snapshot) => return Ok(Found { snapshot: Some(snapshot), damaged }),
                Err(bad) => damaged.push(bad),
            }
        }
        Ok(Found { snapshot: None, damaged })
    }

    /// All of them whose every byte is as it was written, the newest first, and those that are damaged: which file, and how. Reads all of all.
    ///
    /// # Errors
    /// As [`Self::newest_good`].
    pub fn all_good(&self) -> Result<(Vec<Snapshot>, Vec<Damaged>), Error> {
        let (mut good, mut damaged) = (Vec::new(), Vec::new());
        for id in self.newest_first()? {
            match self.checked(id)? {
                Ok(snapshot) => good.push(snapshot),
                Err(bad) => damaged.push(bad),
            }
        }
        Ok((good, damaged))
    }

    fn newest_first(&self) -> Result<Vec<Id>, Error> {
        let mut ids = ids(&self.names()?);
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// The snapshot, or which of its files is damaged and how.
    fn checked(&self, id: Id) -> Result<Result<Snapshot, Damaged>, Error> {
        let manifest = match self.manifest(id)? {
            Ok(manifest) => manifest,
            Err(why) => return Ok(Err((id.manifest(&self.dir), why))),
        };
        let bad = manifest.parts.iter().find_map(|part| Some((id.part(&self.dir, &part.name), self.check(id, part).err()?)));
        let snapshot = Snapshot { manifest, disk: Arc::clone(&self.disk), dir: self.dir.clone(), id };
        Ok(bad.map_or(Ok(snapshot), Err))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        self.disk.list(&self.dir).map_err(Error::io("list", &self.dir))
    }

    fn manifest(&self, id: Id) -> Result<Result<Manifest, String>, Error> {
        let path = id.manifest(&self.dir);
        let mut bytes = Vec::new();
        let read = self.disk.read(&path).and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Ok(Err(format!("it can't be read: {error}")));
        }
        match Manifest::decode(&bytes) {
            Ok(manifest) if manifest.up_to == id.up_to => Ok(Ok(manifest)),
            Ok(manifest) => Ok(Err(format!("it is of record {}: it was renamed or misplaced", manifest.up_to))),
            Err(BadManifest::Version(found)) => Err(Error::Version { path, found }),
            Err(BadManifest::Damaged(what)) => Ok(Err(what.to_owned())),
        }
    }

    /// What is wrong with a part.
    fn check(&self, id: Id, part: &Part) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("it can't be read: {error}");
        let mut file = self.disk.read(&id.part(&self.dir, &part.name)).map_err(unreadable)?;
        let (mut crc, mut bytes, mut piece) = (0, 0, vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    crc = crc32c::crc32c_append(crc, &piece[..count]);
                    bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        match (bytes == part.bytes, crc == part.crc) {
            (true, true) => Ok(()),
            (true, false) => Err("its checksum is wrong".to_owned()),
            (false, _) => Err(format!("it has {bytes} bytes instead of {}", part.bytes)),
        }
    }
}

impl Snapshot {
    /// Opens a part; `None`: it has none of that name.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, Error> {
        if !self.manifest.parts.iter().any(|part| part.name == name) {
            return Ok(None);
        }
        let path = self.id.part(&self.dir, name);
        self.disk.read(&path).map(Some).map_err(Error::io("open", &path))
    }
}

/// A snapshot that is being written. Dropped before [`Self::commit`], it never was.
pub struct NewSnapshot<'a> {
    snapshots: &'a Snapshots,
    id: Id,
    manifest: Manifest,
    _only: MutexGuard<'a, ()>,
}

impl NewSnapshot<'_> {
    /// Writes a part. Names are of `a-z`, `0-9`, `_`, 40 characters at most, and each is there once.
    ///
    /// # Errors
    /// If the name is none, the disk fails, or `fill` does.
    pub fn part(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
        if !is_part_name(name) || self.manifest.parts.iter().any(|part| part.name == name) {
            return Err(Error::Asked(format!("{name:?} can't name a part: up to 40 of a-z, 0-9 and _, each name once, can")));
        }
        let path = self.id.part(&self.snapshots.dir, name);
        let (bytes, crc) = write_whole(&*self.snapshots.disk, &path, fill)?;
        self.manifest.parts.push(Part { name: name.to_owned(), bytes, crc });
        Ok(())
    }

    /// Makes it a snapshot.
    ///
    /// # Errors
    /// If the disk fails; it is not there, then.
    pub fn commit(self) -> Result<Manifest, Error> {
        let Snapshots { disk, dir, .. } = self.snapshots;
        disk.fsync_dir(dir).map_err(Error::io("fsync", dir))?; // the parts' names, before the manifest's
        let text = self.manifest.encode();
        write_whole(&**disk, &self.id.manifest(dir), |out| out.write_all(text.as_bytes()))?;
        disk.fsync_dir(dir).map_err(Error::io("fsync", dir))?;
        Ok(self.manifest)
    }
}

/// Writes a file that is there whole or not at all. Answers with its length and checksum.
fn write_whole(disk: &dyn Disk, path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(u64, u32), Error> {
    let new_path = with_new(path);
    let file = disk.create(&new_path).map_err(Error::io("create", &new_path))?;
    let mut out = PartWriter { file, buffer: Vec::with_capacity(PIECE_BYTES), bytes: 0, crc: 0 };
    let written = fill(&mut out).and_then(|()| out.flush()).and_then(|()| out.file.fsync());
    let result = written.map_err(Error::io("write", &new_path));
    let result = result.and_then(|()| disk.rename(&new_path, path).map_err(Error::io("rename to", path)));
    if result.is_err() {
        let _ = disk.remove(&new_path); // the disk may be full; what stays is removed when the journal is opened
    }
    result.map(|()| (out.bytes, out.crc))
}

fn with_new(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

struct PartWriter {
    file: Box<dyn AppendFile>,
    buffer: Vec<u8>,
    bytes: u64,
    crc: u32,
}

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        append_all(&mut *self.file, &self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.buffer.clear();
        Ok(())
    }
}

impl Id {
    fn stem(self) -> String {
        format!("snapshot-{:020}-{:04}", self.up_to, self.edition)
    }

    fn manifest(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.manifest", self.stem()))
    }

    fn part(self, dir: &Path, name: &str) -> PathBuf {
        dir.join(format!("{}.{name}.part", self.stem()))
    }

    /// Of which snapshot a file is, and the rest of its name.
    fn of_name(name: &str) -> Option<(Self, &str)> {
        let (digits, rest) = name.strip_prefix("snapshot-")?.split_at_checked(20)?;
        let (edition, rest) = rest.strip_prefix('-')?.split_once('.')?;
        let edition = (edition.len() >= 4).then(|| edition.parse().ok())??;
        Some((Self { up_to: crate::format::sequence(digits)?, edition }, rest))
    }
}

/// The snapshots that have a manifest.
fn ids(names: &[String]) -> Vec<Id> {
    names.iter().filter_map(|name| Id::of_name(name)).filter(|(_, rest)| *rest == "manifest").map(|(id, _)| id).collect()
}

/// The last record of the newest snapshot, by the names of manifests; 0: there is none.
pub(crate) fn newest_named(names: &[String]) -> Seq {
    ids(names).into_iter().map(|id| id.up_to).max().unwrap_or(0)
}

/// Removes what crashes left: unfinished files, and parts without a manifest.
pub(crate) fn remove_debris(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<(), Error> {
    let whole = ids(names);
    for name in names {
        let is_debris = Id::of_name(name)
            .is_some_and(|(id, rest)| rest.ends_with(".new") || (rest.ends_with(".part") && !whole.contains(&id)));
        if is_debris {
            let path = dir.join(name);
            disk.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
