//! The heartbeat: a request to somebody else's dead-man's switch, as long as the pipeline works. When it stops, they raise the alarm.
//!
//! It beats only while quanta leave the engine and are kept, so a process that is alive but stuck is silent too. It is no alert: nothing is queued or tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alerts::channels::{ATTEMPT_MAX, HttpSender};
use alerts::{Guard, SecretText};
use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Beats until `stop`, if the configuration asks for it; `kept` counts what the keeper has done.
///
/// # Errors
/// If the address can't be read or may not be posted to.
pub fn heartbeat(config: &Config, kept: Arc<AtomicU64>, stop: CancellationToken) -> anyhow::Result<()> {
    let Some(settings) = &config.alerts.heartbeat else { return Ok(()) };
    let url = super::secret("url", settings.url.as_deref(), settings.url_file.as_deref(), settings.url_env.as_deref())
        .context("setting up the heartbeat")?;
    let http = HttpSender::new(Guard::new(&super::allowed(config))?, ATTEMPT_MAX)?;
    let every = Duration::from_secs(settings.every_s);
    tokio::spawn(async move {
        let mut last = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let now = kept.load(Ordering::Relaxed);
            if now == std::mem::replace(&mut last, now) {
                tracing::error!("nothing has left the engine for {} s: no heartbeat is sent", every.as_secs());
            } else {
                beat(&http, &url).await;
            }
        }
    });
    Ok(())
}

async fn beat(http: &HttpSender, url: &SecretText) {
    if let Err(reason) = http.ping(url).await {
        tracing::warn!("the heartbeat was not taken: {reason}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use axum::Router;
    use axum::routing::post;

    use super::*;
    use crate::config::{Alerts, Heartbeat};

    /// A14: a pipeline that stops is missed within two periods, though its process lives.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pipeline_that_stops_is_missed_within_two_periods() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let beats = Arc::new(std::sync::Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ping", listener.local_addr().unwrap());
        let seen = Arc::clone(&beats);
        let answer = post(move || async move { seen.lock().unwrap().push(Instant::now()) });
        let server = tokio::spawn(async move { axum::serve(listener, Router::new().route("/ping", answer)).await });

        let heartbeat_config = Heartbeat { url: Some(url), url_file: None, url_env: None, every_s: 1 };
        let alerts = Alerts { allow_addresses: vec!["127.0.0.1".into()], heartbeat: Some(heartbeat_config), ..Alerts::default() };
        let (kept, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        heartbeat(&Config { alerts, ..Config::default() }, Arc::clone(&kept), stop.clone()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(3_500) {
            kept.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stopped = Instant::now();
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        stop.cancel();
        server.abort();
        let beats = beats.lock().unwrap();
        assert!(beats.iter().filter(|at| **at <= stopped).count() >= 2, "it beats while the pipeline works");
        let last = beats.last().unwrap().saturating_duration_since(stopped);
        assert!(last <= Duration::from_secs(2), "the last one came {last:?} after the pipeline stopped");
    }
}
