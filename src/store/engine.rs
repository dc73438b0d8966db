//! The parent's side of the embedded engine: who owns a directory, starting the child, attaching to a running one.
//!
//! On disk, in the store's directory:
//! - `engine/` is ClickHouse's own; `engine.lock` is held by the child while it has it open;
//! - `owner.lock` is held by the process that started the child (its pid and role are inside);
//! - `engine.json` says where the engine listens; it means something only while `owner.lock` is held, so what kill -9 leaves
//!   behind is recognised by a lock that can be taken;
//! - `readers.lock` is shared by those who attached; the owner waits for them (bounded) before it ends the engine;
//! - `engine.log` and `engine.log.1` are what the engine said, at most 2 MiB.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::StoreError;
use super::embedded::{ENGINE_CHILD, LIBRARY_ENV, port_file};
use super::supervisor::Supervisor;

const START_MAX: Duration = Duration::from_secs(90);
const READERS_MAX: Duration = Duration::from_secs(10);
const LOG_BYTES_MAX: u64 = 1 << 20;
/// Names the binary to start as the engine's child, where the running one is not regimeflow.
pub const BINARY_ENV: &str = "REGIMEFLOW_BIN";

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// As [`BINARY_ENV`], from inside the process: a test, whose own binary knows no `engine-child`. The first call counts.
pub fn start_engine_with(binary: impl Into<PathBuf>) {
    BINARY.get_or_init(|| binary.into());
}

fn binary() -> std::io::Result<PathBuf> {
    match std::env::var_os(BINARY_ENV).map(PathBuf::from).or_else(|| BINARY.get().cloned()) {
        Some(path) => Ok(path),
        None => std::env::current_exe(),
    }
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Be the only owner; the word says what for (`run`, `replay`). Makes the directory, database and tables.
    Write(&'static str),
    /// Look at what is there, through a running owner's engine if there is one.
    Read(&'static str),
}

/// `engine.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Published {
    port: u16,
    engine_pid: u32,
}

/// A running embedded engine.
#[derive(Debug)]
pub(crate) enum Engine {
    /// Started by us.
    Owned { dir: PathBuf, port: u16, supervisor: Supervisor, lock: File },
    /// Started by another process. The file is our share of `readers.lock`.
    Attached { port: u16, _reading: File },
}

impl Engine {
    /// Starts the engine in `dir`, or attaches to the one that runs there.
    pub(crate) async fn open(dir: &Path, mode: Mode) -> Result<Self, StoreError> {
        let role = match mode {
            Mode::Write(role) => {
                std::fs::create_dir_all(dir).map_err(StoreError::io("can't make the store's directory", dir))?;
                role
            }
            Mode::Read(_) if !dir.join("engine").is_dir() => return Err(StoreError::Absent(dir.to_owned())),
            Mode::Read(role) => role,
        };
        let dir = dir.canonicalize().map_err(StoreError::io("can't find the store's directory", dir))?;
        let deadline = Instant::now() + START_MAX;
        loop {
            let mut lock = open_lock(&dir.join("owner.lock"))?;
            match lock.try_lock() {
                Ok(()) => {
                    write_owner(&mut lock, role).map_err(StoreError::io("can't write", dir.join("owner.lock")))?;
                    return start(dir, lock).await;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(StoreError::io("can't lock", dir.join("owner.lock"))(e)),
            }
            let (pid, owner_role) = read_owner(&mut lock);
            match mode {
                Mode::Read(_) => {
                    if let Some(engine) = attach(&dir).await? {
                        return Ok(engine);
                    }
                }
                // A query is over in a moment; a run or a replay is not.
                Mode::Write(_) if owner_role != "query" && owner_role != "dump" => {
                    return Err(StoreError::Busy { dir, pid, role: owner_role });
                }
                Mode::Write(_) => {}
            }
            if Instant::now() > deadline {
                return Err(StoreError::Busy { dir, pid, role: owner_role });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        let (Self::Owned { port, .. } | Self::Attached { port, .. }) = self;
        format!("http://127.0.0.1:{port}")
    }

    /// The engine's process, if it is ours.
    pub(crate) fn child_pid(&self) -> Option<u32> {
        match self {
            Self::Owned { supervisor, .. } => supervisor.pid(),
            Self::Attached { .. } => None,
        }
    }

    /// Ends our engine in order: readers first (bounded), then its stdin, then a kill if it does not end. One that is just being started
    /// again is not waited for.
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        let Self::Owned { dir, supervisor, lock, .. } = self else { return Ok(()) };
        let readers = open_lock(&dir.join("readers.lock"))?;
        let _ = std::fs::remove_file(dir.join("engine.json")); // nobody attaches any more
        let deadline = Instant::now() + READERS_MAX;
        while readers.try_lock().is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        supervisor.stop().await?;
        drop(lock);
        Ok(())
    }
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(StoreError::io("can't open", path))
}

fn write_owner(lock: &mut File, role: &str) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    write!(lock, "{} {role}", std::process::id())
}

fn read_owner(lock: &mut File) -> (u32, String) {
    let mut text = String::new();
    let _ = lock.take(64).read_to_string(&mut text); // an owner that has only just begun has not written it yet
    let (pid, role) = text.split_once(' ').unwrap_or(("0", "starting"));
    (pid.parse().unwrap_or(0), role.to_owned())
}

/// `None`: the owner is still starting, or is just ending.
async fn attach(dir: &Path) -> Result<Option<Engine>, StoreError> {
    let reading = open_lock(&dir.join("readers.lock"))?;
    if reading.try_lock_shared().is_err() {
        return Ok(None);
    }
    let Ok(text) = std::fs::read(dir.join("engine.json")) else { return Ok(None) };
    let Ok(published) = serde_json::from_slice::<Published>(&text) else { return Ok(None) };
    let port = published.port;
    let answers = clickhouse::Client::default().with_url(format!("http://127.0.0.1:{port}")).query("SELECT 1").execute();
    let answered = matches!(timeout(Duration::from_secs(10), answers).await, Ok(Ok(())));
    Ok(answered.then_some(Engine::Attached { port, _reading: reading }))
}

async fn start(dir: PathBuf, lock: File) -> Result<Engine, StoreError> {
    let _ = std::fs::remove_file(dir.join("engine.json")); // left by a killed owner, if it is there at all
    let (child, port) = launch(&dir, 0).await?;
    publish(&dir, port, &child)?;
    Ok(Engine::Owned { port, supervisor: Supervisor::start(dir.clone(), port, child), dir, lock })
}

/// Starts the engine's process on a port (0: any that is free) and waits until it listens.
pub(super) async fn launch(dir: &Path, port: u16) -> Result<(Child, u16), StoreError> {
    remove_port_files(dir);
    let library = tokio::task::spawn_blocking(super::install::library).await;
    let library = library.map_err(|e| StoreError::EngineMissing(e.to_string()))??;
    let failed = |what: String| StoreError::Engine { dir: dir.to_owned(), what };
    let binary = binary().map_err(|e| failed(format!("can't be started: {e}")))?;
    let mut child = Command::new(&binary)
        .arg(ENGINE_CHILD)
        .arg(dir)
        .arg(port.to_string())
        .env(LIBRARY_ENV, &library)
        .env_remove("RUST_BACKTRACE")
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0) // a Ctrl-C at the terminal is for us; the engine ends after our last insert
        .spawn()
        .map_err(|e| failed(format!("can't be started as {}: {e}", binary.display())))?;
    let log = Arc::new(Mutex::new(Log { path: dir.join("engine.log"), written: None }));
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(keep_log(stdout, Arc::clone(&log)));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(keep_log(stderr, log));
    }
    let port = listening(dir, &mut child).await?;
    Ok((child, port))
}

/// Those of engines that have ended.
fn remove_port_files(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with("engine.") && name.ends_with(".port"));
        if is_one {
            let _ = std::fs::remove_file(entry.path()); // nobody reads it
        }
    }
}

/// Says in `engine.json` where the engine listens.
pub(super) fn publish(dir: &Path, port: u16, child: &Child) -> Result<(), StoreError> {
    let published = Published { port, engine_pid: child.id().unwrap_or(0) };
    let json = serde_json::to_vec(&published);
    let json = json.map_err(|e| StoreError::Engine { dir: dir.to_owned(), what: format!("can't be published: {e}") })?;
    let (path, temporary) = (dir.join("engine.json"), dir.join("engine.json.tmp"));
    std::fs::write(&temporary, json).map_err(StoreError::io("can't write", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(StoreError::io("can't write", &path))
}

async fn listening(dir: &Path, child: &mut Child) -> Result<u16, StoreError> {
    let deadline = Instant::now() + START_MAX;
    let path = port_file(dir, child.id().unwrap_or(0));
    loop {
        let published = std::fs::read_to_string(&path).ok();
        if let Some(port) = published.filter(|text| text.ends_with('\n')).and_then(|text| text.trim().parse().ok()) {
            return Ok(port);
        }
        let failed = |what: String| Err(StoreError::Engine { dir: dir.to_owned(), what });
        if let Ok(Some(status)) = child.try_wait() {
            sleep(Duration::from_millis(100)).await; // its last words are on the way to the log
            let log = std::fs::read_to_string(dir.join("engine.log")).unwrap_or_default();
            let last = log.trim_end().lines().next_back().unwrap_or("it said nothing").to_owned();
            return failed(format!("ended with {status} before it listened: {last}"));
        }
        if Instant::now() > deadline {
            return failed(format!("does not listen after {} s", START_MAX.as_secs()));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Two files of at most `LOG_BYTES_MAX`, the newer one growing.
struct Log {
    path: PathBuf,
    written: Option<(File, u64)>,
}

impl Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let full = self.written.as_ref().is_none_or(|(_, size)| *size + bytes.len() as u64 > LOG_BYTES_MAX);
        if full {
            let older = self.path.with_extension("log.1");
            let _ = std::fs::rename(&self.path, older); // absent at the first start
            self.written = Some((File::create(&self.path)?, 0));
        }
        if let Some((file, size)) = &mut self.written {
            file.write_all(bytes)?;
            *size += bytes.len() as u64;
        }
        Ok(())
    }
}

async fn keep_log(mut from: impl AsyncReadExt + Unpin, log: Arc<Mutex<Log>>) {
    let mut buffer = vec![0; 8192];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        // A log that can't be written must not stop the engine: its pipe is emptied all the same.
        let _ = log.lock().unwrap_or_else(PoisonError::into_inner).write(&buffer[..n]);
    }
}
