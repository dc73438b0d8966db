//! Names to addresses, without the addresses that the guard denies.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::Guard;

/// Lookups at the same time; more wait. The system's resolver can't be interrupted, so each holds a thread until it ends.
const LOOKUPS_MAX: usize = 64;
/// So many answers of a name are tried; an answer with thousands is not an honest one.
const ANSWERS_MAX: usize = 32;

/// What a lookup gives, some time.
pub type Answers = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Where names are looked up.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`.
    fn lookup(&self, host: &str) -> Answers;
}

/// The system's resolver (`/etc/hosts`, DNS).
pub struct SystemLookup(Arc<Semaphore>);

impl Default for SystemLookup {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS_MAX)))
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, host: &str) -> Answers {
        let (permits, host) = (Arc::clone(&self.0), host.to_owned());
        Box::pin(async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            let answers = tokio::task::spawn_blocking(move || {
                // Kept by the thread: when the caller has given up, the lookup still counts.
                let _permit = permit;
                Ok((host.as_str(), 0).to_socket_addrs()?.take(ANSWERS_MAX).map(|address| address.ip()).collect())
            });
            answers.await.map_err(io::Error::other)?
        })
    }
}

/// A lookup behind a guard, as the client wants it.
pub(super) struct Guarded {
    pub(super) guard: Guard,
    pub(super) lookup: Arc<dyn Lookup>,
}

/// Why a name leads nowhere. Names the host and none of its addresses: they are not for whoever wrote the URL.
#[derive(Debug, thiserror::Error)]
enum NowhereError {
    #[error("look up `{host}`: {source}")]
    Lookup { host: String, source: io::Error },
    #[error("look up `{host}`: no address")]
    Nothing { host: String },
    #[error("look up `{host}`: no public address; if an inner one is meant, allow its network by CIDR")]
    Denied { host: String },
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let (guard, answers) = (self.guard.clone(), self.lookup.lookup(&host));
        Box::pin(async move {
            let mut answers = answers.await.map_err(|source| NowhereError::Lookup { host: host.clone(), source })?;
            if answers.is_empty() {
                return Err(NowhereError::Nothing { host }.into());
            }
            answers.retain(|address| guard.check_address(*address).is_ok());
            answers.truncate(ANSWERS_MAX);
            if answers.is_empty() {
                return Err(NowhereError::Denied { host }.into());
            }
            // Port 0: the client puts in the URL's.
            Ok(Box::new(answers.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
