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
