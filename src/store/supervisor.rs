//! An embedded engine that died (a crash, the kernel's want of memory, somebody's kill) is started again in its directory, on the same port,
//! so that every client goes on as it is. What was acknowledged is there again; what was not waits in the spool meanwhile.
//!
//! Pauses between attempts grow from [`PAUSE_MIN`] to [`PAUSE_MAX`], and begin anew after the engine has lived for [`HEALTHY_AFTER`]. It is tried for as
//! long as the store is open: a run of months must not end for a bad minute. If another process took the port meanwhile, that is said and waited for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::process::{Child, ChildStdin};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::StoreError;
use super::engine::{launch, publish};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// The engine gets so long to end in order.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Has the engine's process. Dropped, it lets it end, and starts no other.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// 0: there is none at the moment.
    pid: Arc<AtomicU32>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), StoreError>>,
}

impl Supervisor {
    pub fn start(dir: PathBuf, port: u16, child: Child) -> Self {
        let pid = Arc::new(AtomicU32::new(child.id().unwrap_or(0)));
        let (stop, asked) = oneshot::channel();
        let task = tokio::spawn(Watched { dir, port, pid: Arc::clone(&pid) }.watch(child, asked));
        Self { pid, stop, task }
    }

    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|&pid| pid > 0)
    }

    /// Ends the engine in order: its stdin closes, and a kill follows if that does not end it.
    pub async fn stop(self) -> Result<(), StoreError> {
        let _ = self.stop.send(()); // the task is over only if it panicked
        self.task.await.unwrap_or_else(|e| Err(StoreError::Stopped(format!("the engine's supervisor ended: {e}"))))
    }
}

struct Watched {
    dir: PathBuf,
    port: u16,
    pid: Arc<AtomicU32>,
}

impl Watched {
    async fn watch(self, mut child: Child, mut asked: oneshot::Receiver<()>) -> Result<(), StoreError> {
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            let stdin = child.stdin.take(); // waiting would close it, and so end the engine
            let status = tokio::select! {
                status = child.wait() => status,
                asked = &mut asked => return match asked {
                    Ok(()) => self.end(child, stdin).await,
                    Err(_) => Ok(()), // dropped with the store: stdin closes here
                },
            };
            self.pid.store(0, Ordering::Relaxed);
            let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
            let log = self.dir.join("engine.log");
            tracing::warn!(status, log = %log.display(), "the embedded ClickHouse engine died; it is started again");
            if began.elapsed() > HEALTHY_AFTER {
                pause = PAUSE_MIN;
            }
            child = loop {
                let attempt = async {
                    sleep(pause).await;
                    launch(&self.dir, self.port).await
                };
                let launched = tokio::select! {
                    launched = attempt => launched,
                    _ = &mut asked => return Ok(()),
                };
                pause = (pause * 2).min(PAUSE_MAX);
                match launched {
                    Ok((child, _)) => break child,
                    Err(error) => {
                        tracing::error!(%error, next_secs = pause.as_secs_f64(), "the embedded engine can't be started again yet")
                    }
                }
            };
            self.pid.store(child.id().unwrap_or(0), Ordering::Relaxed);
            if let Err(error) = publish(&self.dir, self.port, &child) {
                // The port is as before, so whoever reads the old file finds the engine all the same.
                tracing::warn!(%error, "the embedded engine runs again, but its file engine.json still tells of the one before");
            }
            tracing::info!(
                secs = began.elapsed().as_secs_f64(),
                port = self.port,
                "the embedded ClickHouse engine is there again"
            );
        }
    }

    async fn end(&self, mut child: Child, stdin: Option<ChildStdin>) -> Result<(), StoreError> {
        drop(stdin);
        if timeout(STOP_MAX, child.wait()).await.is_err() {
            tracing::warn!(dir = %self.dir.display(), "the embedded engine did not end in time and is killed");
            child.kill().await.map_err(StoreError::io("can't end the engine of", &self.dir))?;
        }
        Ok(())
    }
}
