//! `--hosts FILE --process I`: one of several processes that work as one.

use std::path::PathBuf;

use crate::app::{Pace, together};
use crate::cluster::{self, Cluster, Joined};
use crate::config::Config;
use crate::recovery;
use crate::store::Store;

/// Which process this is, of which.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClusterArgs {
    /// Be one of several processes: a file with the host:port of each, one a line; the same file for all.
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<PathBuf>,
    /// Which of them this is, from 0. The first one tells people.
    #[arg(long, value_name = "I", requires = "hosts")]
    process: Option<usize>,
}

impl ClusterArgs {
    /// The processes, if there are several.
    ///
    /// # Errors
    /// If the file can't be used.
    pub fn cluster(&self) -> anyhow::Result<Option<Cluster>> {
        let (Some(hosts), Some(process)) = (&self.hosts, self.process) else { return Ok(None) };
        let cluster = Cluster::read(hosts, process)?;
        Ok(Some(cluster).filter(|cluster| cluster.processes() > 1))
    }
}

/// Gives each process files of its own, and connects it with the others. Blocks until all are there.
///
/// # Errors
/// If they don't come, or are to compute something else.
pub fn join(
    cluster: &Cluster,
    config: &mut Config,
    pace: Pace,
    has_models: bool,
    alerts: bool,
    keeps_journal: bool,
) -> anyhow::Result<Joined> {
    config.store.spool_dir = Some(config.store.spool_dir().join(format!("process-{}", cluster.process)));
    let text = together(config, pace, has_models, alerts, keeps_journal)?;
    let text = format!("{} processes, {text}", cluster.processes());
    Ok(tokio::task::block_in_place(|| cluster::join(cluster, &text))?)
}

/// Opens the store. On a server the first process makes the tables, and the others wait for them, or for word that it is lost.
///
/// # Errors
/// As [`Store::open`]; [`PeerLost`](cluster::PeerLost).
pub async fn open_store(config: &Config, role: &'static str, joined: Option<&Joined>, pace: Pace) -> anyhow::Result<Store> {
    let is_first = joined.is_none_or(|joined| joined.process == 0);
    let open = async {
        match pace {
            _ if !is_first => Store::open_beside(&config.store, role, pace == Pace::Live).await,
            Pace::Live => Store::open_even_if_away(&config.store, role).await,
            Pace::Replay => Store::open(&config.store, crate::store::Mode::Write(role)).await,
        }
    };
    let Some(joined) = joined else { return Ok(open.await?) };
    tokio::select! {
        store = open => Ok(store?),
        lost = joined.watch() => Err(lost.into()),
    }
}

/// Of several processes each keeps a journal of its own, in a directory whose name says which of how many: with another number all begin anew.
#[must_use]
pub fn own_journal(journal: recovery::Settings, cluster: Option<&Cluster>) -> recovery::Settings {
    let Some(cluster) = cluster else { return journal };
    let dir = journal.dir.join(format!("process-{}-of-{}", cluster.process, cluster.processes()));
    recovery::Settings { dir, ..journal }
}
