//! A webhook on loopback that checks every signature, as a subscriber would.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use alerts::Secret;
use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde::Serialize;
use tokio::task::JoinHandle;

/// What came in.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verified {
    pub valid: u64,
    pub invalid: u64,
}

#[derive(Default)]
struct Counts {
    valid: AtomicU64,
    invalid: AtomicU64,
}

struct Desk {
    secret: Secret,
    counts: Counts,
}

/// The running receiver.
pub(super) struct Receiver {
    url: String,
    secret_file: PathBuf,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("opening a port on loopback")?;
        let url = format!("http://{}/events", listener.local_addr()?);
        // A secret of this run alone; it guards nothing but the demonstration.
        let text = format!("whsec_{}", random_base64());
        let secret_file = std::env::temp_dir().join(format!("regimeflow-demo-{}.secret", std::process::id()));
        std::fs::write(&secret_file, &text).with_context(|| format!("writing {}", secret_file.display()))?;
        let desk = Arc::new(Desk { secret: Secret::parse(&text)?, counts: Counts::default() });
        let router = Router::new().route("/events", post(receive)).with_state(Arc::clone(&desk));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await; // ends with the runtime
        });
        Ok(Self { url, secret_file, desk, server })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn secret_file(&self) -> PathBuf {
        self.secret_file.clone()
    }

    pub async fn stop(self) -> Verified {
        self.server.abort();
        let _ = tokio::fs::remove_file(&self.secret_file).await; // it opens nothing any more
        Verified { valid: self.desk.counts.valid.load(Relaxed), invalid: self.desk.counts.invalid.load(Relaxed) }
    }
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let timestamp = header("webhook-timestamp").parse().unwrap_or(0);
    let expected = alerts::sign::signature(std::slice::from_ref(&desk.secret), header("webhook-id"), timestamp, &body);
    if expected == header("webhook-signature") {
        desk.counts.valid.fetch_add(1, Relaxed);
        StatusCode::NO_CONTENT
    } else {
        desk.counts.invalid.fetch_add(1, Relaxed);
        StatusCode::UNAUTHORIZED
    }
}

fn random_base64() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..32).map(|_| char::from(ALPHABET[usize::from(rand::random::<u8>() & 63)])).collect()
}
