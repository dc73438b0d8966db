//! The alert desk of a run: where its outbox lies, what becomes of attempts, and what other processes have told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use alerts::Desk;
use alerts::desk::Reports;
use alerts::outbox::Attempt;
use anyhow::Context;
use crossbeam_channel::Sender;

use super::Pace;
use crate::clock;
use crate::cluster::Lost;
use crate::config::Config;
use crate::engine::Answering;
use crate::notify::{self, Plan};
use crate::store::edge::{DeliveryRow, EdgeRow};

/// Whether there is anybody to be told anything.
pub(super) fn tells(config: &Config, pace: Pace, alerts: bool) -> anyhow::Result<bool> {
    Ok(alerts && (pace == Pace::Live || !notify::ways(config)?.is_empty()))
}

/// The desk and, of a replay, the file that it works with for as long as it lasts: what a replay tells is told anew each time, unless its
/// journal says that it goes on.
pub(super) fn desk(
    config: &Config,
    pace: Pace,
    journal_dir: Option<&Path>,
    edge: &Sender<EdgeRow>,
) -> anyhow::Result<(Option<Arc<Desk>>, Option<PathBuf>)> {
    let Plan { setup, limits } = notify::plan(config)?;
    if setup.channels.is_empty() && pace == Pace::Replay {
        return Ok((None, None));
    }
    let (path, passing) = match (pace, journal_dir) {
        (Pace::Live, _) => (notify::outbox_path(config), None),
        (Pace::Replay, Some(dir)) => (dir.join("outbox.sqlite"), None),
        (Pace::Replay, None) => {
            let name = format!("regimeflow-outbox-{}-{}.sqlite", std::process::id(), clock::now_ms());
            let path = std::env::temp_dir().join(name);
            (path.clone(), Some(path))
        }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making the directory of the outbox, {}", directory.display()))?;
    }
    let edge = edge.clone();
    let reports = Reports {
        attempt: Box::new(move |attempt| report(attempt, &edge)),
        problem: Box::new(|problem| tracing::error!("{problem}")),
    };
    let runtime = tokio::runtime::Handle::current();
    let desk = Desk::start(path, setup, limits, Arc::new(clock::now_ms), runtime, reports)?;
    Ok((Some(Arc::new(desk)), passing))
}

/// An attempt as rows of `deliveries`: one for each notice that went out in it.
fn report(attempt: Attempt, edge: &Sender<EdgeRow>) {
    let Attempt { notice_id, ids, channel, attempt, sent_at_ms, result, http_status, latency_ms, reason } = attempt;
    if result != alerts::outbox::AttemptResult::Delivered {
        tracing::warn!(
            channel,
            notice = notice_id,
            attempt,
            result = result.as_str(),
            http_status,
            "a notice was not delivered: {reason}"
        );
    }
    let known_at = clock::known_at();
    for alert_id in ids {
        let reason =
            if alert_id == notice_id || !reason.is_empty() { reason.clone() } else { format!("in the digest {notice_id}") };
        let row = DeliveryRow {
            alert_id,
            channel: channel.clone(),
            attempt,
            sent_at: sent_at_ms,
            result: result.as_str().to_owned(),
            http_status,
            latency_ms,
            reason,
            known_at,
        };
        let _ = edge.send(EdgeRow::Delivery(row)); // the keeper is gone only when the run is being torn down
    }
}

pub(super) fn remove_outbox(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let _ = std::fs::remove_file(name); // it is in the directory of temporary files
    }
}

/// Tells what the other processes ask for.
pub(super) fn answer(
    others: Answering,
    desk: Option<Arc<Desk>>,
    lost: Option<Arc<Lost>>,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let work = move || {
        let told = others.work(|alerts| {
            let gone = desk.as_ref().is_some_and(|desk| !desk.tell(alerts));
            anyhow::ensure!(!gone, "the alert desk's thread is gone");
            Ok(())
        });
        if told.is_err() {
            lost.iter().for_each(|lost| lost.leave());
        }
        told
    };
    std::thread::Builder::new()
        .name("others' alerts".into())
        .spawn(work)
        .context("starting the thread that tells other processes' alerts")
}
