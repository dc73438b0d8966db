//! A peer that went away: all of this process ends, and says who it was.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::cli::EX_UNAVAILABLE;

/// Sockets to the others are closed after this time, and not at once: they are to see for themselves who is lost.
pub(super) const CLOSE_AFTER: Duration = Duration::from_millis(500);
/// What has not ended by itself after this time is ended.
const END_AFTER: Duration = Duration::from_secs(8);

/// Why a process of several ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("process {process} ({address}) is lost: {why}; the others stop, too: start all of them again")]
pub struct PeerLost {
    /// Its number.
    pub process: usize,
    /// Where it listened.
    pub address: String,
    /// What was seen of it.
    pub why: String,
}

/// Whether all are there. One to a process.
#[derive(Debug)]
pub struct Lost {
    addresses: Vec<String>,
    first: OnceLock<PeerLost>,
    sockets: Mutex<Vec<TcpStream>>,
    is_closing: AtomicBool,
}

impl Lost {
    pub(crate) fn new(addresses: Vec<String>) -> Arc<Self> {
        Arc::new(Self { addresses, first: OnceLock::new(), sockets: Mutex::default(), is_closing: AtomicBool::new(false) })
    }

    pub(super) fn holds(&self, socket: TcpStream) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    }

    /// Who is lost, if anybody is.
    #[must_use]
    pub fn who(&self) -> Option<&PeerLost> {
        self.first.get()
    }

    /// Takes this process out of the cluster, because it can't go on: the others then do without it, which is to end.
    pub fn leave(&self) {
        if !self.is_closing.swap(true, Ordering::AcqRel) {
            self.close();
        }
    }

    /// Whether this process takes part no more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.who().is_some() || self.is_closing.load(Ordering::Acquire)
    }

    pub(super) fn named(&self, process: usize, why: &str) -> PeerLost {
        PeerLost { process, address: self.addresses.get(process).cloned().unwrap_or_default(), why: why.to_owned() }
    }

    pub(super) fn report(self: &Arc<Self>, process: usize, why: &str) {
        if self.is_over() {
            return; // what follows from the first
        }
        let lost = self.named(process, why);
        if self.first.set(lost.clone()).is_err() {
            return;
        }
        tracing::error!("{lost}");
        let this = Arc::clone(self);
        let end = move || {
            std::thread::sleep(CLOSE_AFTER);
            this.close();
            std::thread::sleep(END_AFTER);
            tracing::error!("what was under way did not end by itself, the process is ended; its spool is whole");
            std::process::exit(EX_UNAVAILABLE.into());
        };
        if std::thread::Builder::new().name("peer lost".into()).spawn(end).is_err() {
            std::process::exit(EX_UNAVAILABLE.into());
        }
    }

    fn close(&self) {
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = socket.shutdown(Shutdown::Both); // one that is closed already is as good
        }
    }
}
