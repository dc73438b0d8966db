//! What the journal asks of a disk, so that tests can give it one that fails and forgets.
//!
//! The rules that every implementation keeps, and the only ones that the journal relies on:
//! - bytes are durable once `fsync` of their file has returned without error, and no sooner;
//! - after an `fsync` that failed, nothing written since the one before may be relied on, *not even after another `fsync`
//!   that succeeds* (Linux marks the lost pages clean);
//! - a name (created, renamed, removed) is durable once `fsync_dir` of its directory has returned without error;
//! - a rename replaces its target in one step.

use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A directory tree.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it, unless it is there.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes an empty file to append to; one of that name loses what it held.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Opens a file to be read from its start.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// A file's length.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Gives a file another name, in the place of what had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names of a directory's files.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// As the system says.
    fn fsync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that may still be written to the file system of `dir`.
    ///
    /// # Errors
    /// As the system says.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
    /// Takes a lock that ends with the process, however it ends.
    ///
    /// # Errors
    /// As the system says.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
}

/// A file that is written from start to end.
pub trait AppendFile: Send {
    /// Appends some of `bytes`, and says how many.
    ///
    /// # Errors
    /// As the system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes everything appended durable.
    ///
    /// # Errors
    /// As the system says.
    fn fsync(&mut self) -> io::Result<()>;
}

/// Who has a lock.
pub enum Lock {
    /// We, until this is dropped.
    Mine(Box<dyn Any + Send + Sync>),
    /// The process of this pid.
    Theirs(String),
}

/// Appends all of `bytes`, in as many pieces as the disk likes.
pub(crate) fn append_all(file: &mut dyn AppendFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is no UTF-8 is none of ours.
        fs::read_dir(dir)?.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
    }

    fn fsync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(dir)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        // Not truncated on opening: it says who has it.
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                Ok(Lock::Mine(Box::new(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.take(20).read_to_string(&mut holder)?;
                Ok(Lock::Theirs(if holder.is_empty() { "unknown (it has only just started)".into() } else { holder }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn fsync(&mut self) -> io::Result<()> {
        self.sync_data() // with the length, which reading needs; without the times, which nobody does
    }
}
