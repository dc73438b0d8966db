//! A disk in memory that fails, forgets and tears as real ones do, at the n-th call.
//!
//! Each file has what programs see and what is durable; names likewise. After a failed fsync the bytes it was about are never made
//! durable by a later one that succeeds, as on Linux.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use journal::{AppendFile, Disk, Lock};

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;
pub const EMFILE: i32 = 24;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error and does nothing; an fsync loses what it was about.
    Error(i32),
    /// Half of the bytes are written, and the next call fails for want of space. No write: an error.
    Short,
    /// The machine stops before it.
    CrashBefore,
    /// The machine stops after it.
    CrashAfter,
}

/// What is there when the machine starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything: only the process was killed.
    All,
    /// Only what is durable.
    Synced,
    /// What is durable, some of the rest in small blocks, zeros where others would be; some of the names.
    Torn(u64),
}

#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Since the last fsync of the directory.
    renames: Vec<Naming>,
    calls: u64,
    log: Vec<String>,
    plan: BTreeMap<u64, Fault>,
    is_full: bool,
    is_down: bool,
    /// Held by whoever locked; machines that stop let go.
    lock: Arc<()>,
}

#[derive(Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<Range<usize>>,
}

#[derive(Clone)]
enum Naming {
    Set(PathBuf, usize),
    Remove(PathBuf),
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl SimDisk {
    fn lock_inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The n-th call from now on (1 is the next) goes wrong.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        let mut inner = self.lock_inner();
        let at = inner.calls + n;
        inner.plan.insert(at, fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.lock_inner().plan.clear();
    }

    /// Every write fails for want of space, until it doesn't.
    pub fn set_full(&self, is_full: bool) {
        self.lock_inner().is_full = is_full;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.lock_inner().calls
    }

    /// What was called, in words.
    pub fn log(&self) -> Vec<String> {
        self.lock_inner().log.clone()
    }

    /// The machine has stopped.
    pub fn is_down(&self) -> bool {
        self.lock_inner().is_down
    }

    /// The machine (or, with [`Keep::All`], the program) stops if it hasn't, and starts again.
    pub fn restart(&self, keep: Keep) {
        let mut inner = self.lock_inner();
        inner.is_down = false;
        inner.plan.clear();
        inner.lock = Arc::new(());
        let mut random = match keep {
            Keep::All => return,
            Keep::Synced => None,
            Keep::Torn(seed) => Some(Random(seed)),
        };
        let mut names = inner.durable_names.clone();
        let renames = std::mem::take(&mut inner.renames);
        if let Some(random) = &mut random {
            // Those before some moment, as journaling file systems do it, or any of them, which is all that is promised.
            let (in_order, kept) = (random.below(2) == 0, random.below(renames.len() as u64 + 1) as usize);
            let is_kept = |at: usize, random: &mut Random| if in_order { at < kept } else { random.below(2) == 0 };
            for (at, naming) in renames.iter().enumerate() {
                if is_kept(at, random) {
                    naming.apply(&mut names);
                }
            }
        }
        inner.names.clone_from(&names);
        inner.durable_names = names;
        for file in &mut inner.files {
            if let Some(random) = &mut random {
                file.tear(random);
            }
            file.dirty.clear();
            file.seen.clone_from(&file.durable);
        }
    }

    /// A file's bytes.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let inner = self.lock_inner();
        inner.files[inner.names[path]].seen.clone()
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut inner = self.lock_inner();
        let at = inner.files.len();
        inner.files.push(Inode { seen: bytes.to_vec(), durable: bytes.to_vec(), dirty: Vec::new() });
        inner.names.insert(path.to_owned(), at);
        inner.durable_names.insert(path.to_owned(), at);
    }

    /// Takes a file away, durably.
    pub fn take(&self, path: &Path) {
        let mut inner = self.lock_inner();
        inner.names.remove(path).unwrap();
        inner.durable_names.remove(path);
    }

    /// A copy that goes its own way.
    pub fn fork(&self) -> Self {
        let inner = self.lock_inner();
        let copy = |file: &Inode| Inode { seen: file.seen.clone(), durable: file.durable.clone(), dirty: file.dirty.clone() };
        Self(Arc::new(Mutex::new(Inner {
            files: inner.files.iter().map(copy).collect(),
            names: inner.names.clone(),
            durable_names: inner.durable_names.clone(),
            renames: inner.renames.clone(),
            ..Inner::default()
        })))
    }

    /// Counts a call. `does` is what it does when nothing goes wrong; `half` what it does when it is cut short.
    fn call<T>(
        &self,
        words: &str,
        path: &Path,
        does: impl FnOnce(&mut Inner) -> io::Result<T>,
        goes_wrong: impl FnOnce(&mut Inner, Fault) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut inner = self.lock_inner();
        if inner.is_down {
            return Err(error(EIO));
        }
        inner.calls += 1;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        inner.log.push(format!("{words} {name}"));
        let at = inner.calls;
        match inner.plan.remove(&at) {
            None => does(&mut inner),
            Some(Fault::CrashBefore) => {
                inner.is_down = true;
                Err(error(EIO))
            }
            Some(Fault::CrashAfter) => {
                let _ = does(&mut inner);
                inner.is_down = true;
                Err(error(EIO))
            }
            Some(fault) => goes_wrong(&mut inner, fault),
        }
    }

    fn simple<T>(&self, words: &str, path: &Path, does: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        self.call(words, path, does, |_, fault| Err(error(if let Fault::Error(code) = fault { code } else { EIO })))
    }
}

impl Inner {
    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.renames.push(naming);
    }

    fn append(&mut self, file: usize, bytes: &[u8]) {
        let file = &mut self.files[file];
        let from = file.seen.len();
        file.seen.extend_from_slice(bytes);
        file.dirty.push(from..file.seen.len());
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, file) => {
                names.retain(|_, known| known != file); // a rename takes the old name away in the same step
                names.insert(path.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Inode {
    fn write_back(&mut self, range: Range<usize>) {
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.seen[range]);
    }

    /// Some blocks get to the disk, others don't; the length is anything between.
    fn tear(&mut self, random: &mut Random) {
        const BLOCK: usize = 16;
        let dirty = std::mem::take(&mut self.dirty);
        let length = self.durable.len().max(dirty.iter().map(|range| range.end).max().unwrap_or(0));
        let order = random.below(3); // none, all, or by chance
        for range in dirty {
            for start in range.clone().step_by(BLOCK) {
                if order == 1 || (order == 2 && random.below(4) > 0) {
                    self.write_back(start..(start + BLOCK).min(range.end));
                }
            }
        }
        let shown = self.durable.len().max(length - random.below((length + 1).min(64) as u64) as usize);
        if random.below(2) == 0 {
            self.durable.resize(shown, 0);
        }
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.simple("create_dir", dir, |_| Ok(()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.simple("create", path, |inner| {
            let at = inner.files.len();
            inner.files.push(Inode::default());
            inner.name(Naming::Set(path.to_owned(), at));
            Ok(at)
        })
        .map(|file| Box::new(SimFile { disk: self.clone(), path: path.to_owned(), file }) as Box<dyn AppendFile>)
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.simple("read", path, |inner| {
            let file = inner.find(path)?;
            Ok(Box::new(Cursor::new(inner.files[file].seen.clone())) as Box<dyn Read + Send>)
        })
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.simple("len", path, |inner| {
            let file = inner.find(path)?;
            Ok(inner.files[file].seen.len() as u64)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.simple("rename", to, |inner| {
            let file = inner.find(from)?;
            inner.name(Naming::Set(to.to_owned(), file));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.simple("remove", path, |inner| {
            inner.find(path)?;
            inner.name(Naming::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.simple("list", dir, |inner| {
            let of_dir = inner.names.keys().filter(|path| path.parent() == Some(dir));
            Ok(of_dir.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
        })
    }

    fn fsync_dir(&self, dir: &Path) -> io::Result<()> {
        self.simple("fsync_dir", dir, |inner| {
            inner.durable_names = inner.names.clone();
            inner.renames.clear();
            Ok(())
        })
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.simple("free_space", dir, |_| Ok(1 << 40))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.simple("lock", path, |inner| {
            let is_free = Arc::strong_count(&inner.lock) == 1;
            Ok(if is_free { Lock::Mine(Box::new(Arc::clone(&inner.lock))) } else { Lock::Theirs("4711".into()) })
        })
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    file: usize,
}

impl AppendFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file;
        let does = |inner: &mut Inner| {
            if inner.is_full {
                return Err(error(ENOSPC));
            }
            inner.append(file, bytes);
            Ok(bytes.len())
        };
        self.disk.call("append", &self.path, does, |inner, fault| match fault {
            Fault::Short => {
                inner.append(file, &bytes[..bytes.len() / 2]);
                let next = inner.calls + 1;
                inner.plan.insert(next, Fault::Error(ENOSPC));
                Ok((bytes.len() / 2).max(1).min(bytes.len()))
            }
            Fault::Error(code) => Err(error(code)),
            _ => unreachable!("crashes are handled before"),
        })
    }

    fn fsync(&mut self) -> io::Result<()> {
        let file = self.file;
        let does = |inner: &mut Inner| {
            let file = &mut inner.files[file];
            for range in std::mem::take(&mut file.dirty) {
                file.write_back(range);
            }
            Ok(())
        };
        self.disk.call("fsync", &self.path, does, |inner, fault| {
            inner.files[file].dirty.clear(); // the kernel takes them for clean: no later fsync writes them
            Err(error(if let Fault::Error(code) = fault { code } else { EIO }))
        })
    }
}

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
