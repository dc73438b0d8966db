//! Opening a journal as one of several processes: all tell each other what they have, and begin at the same quantum.
//!
//! Nobody writes before all are ready, so what is cut off in one can't be taken for common by others that begin anew after a crash.

use anyhow::Context;
use journal::{Journal, Seq, Snapshot};

use super::offers::{Beginning, Offer, Offered, Origin, agree};
use super::record::QUANTUM;
use super::restore::Begin;
use super::snapshots::{self, About};
use crate::cluster::Joined;
use crate::engine::Start;

/// The last complete quantum is among so many records, unless its successor broke off in more parts than that.
const LAST_RECORDS: Seq = 64;

/// What all processes have agreed upon.
pub(super) struct Joint {
    /// The last quantum that is durable in all; 0: none is.
    pub last: u64,
    /// This process's good snapshots, each with its last record.
    pub on_disk: Vec<(u64, Seq)>,
    /// For the engine.
    pub start: Start,
}

/// What this process begins with. Cuts off what others don't have; it is gone once the journal's writer has begun.
pub(super) fn begin(journal: &mut Journal, fingerprint: &str, joined: &mut Joined) -> anyhow::Result<Begin> {
    let (good, damaged) = journal.snapshots().all_good()?;
    for (path, how) in &damaged {
        tracing::error!(path = %path.display(), how, "a snapshot is damaged, another one is taken");
    }
    let mut own: Vec<_> =
        good.into_iter().map(|snapshot| Ok((snapshots::read_about(&snapshot)?, snapshot))).collect::<anyhow::Result<_>>()?;
    let offered = |(about, snapshot): &(About, Snapshot)| Offered {
        known_at: about.known_at,
        fits: snapshot.manifest.fingerprint == fingerprint,
    };
    let offer = Offer {
        snapshots: own.iter().map(offered).collect(),
        last: own.iter().map(|(about, _)| about.known_at).chain(last_quantum(journal)?).max().unwrap_or(0),
        is_whole: journal.oldest().is_none_or(|oldest| oldest == 1),
    };
    let mut offers = Vec::new();
    for (process, text) in joined.exchange(&serde_json::to_string(&offer)?)?.into_iter().enumerate() {
        offers.push(serde_json::from_str(&text).with_context(|| format!("reading what process {process} has in its journal"))?);
    }
    let beginning @ Beginning { last, origin } = agree(&offers)?;
    tracing::info!(?beginning, own_last = offer.last, "all processes begin at the same quantum");
    if let Some((first_record, last_record)) = journal.cut_after(last)? {
        tracing::warn!(
            first_record,
            last_record,
            after = last,
            "records that not all processes have are dropped: nothing of them was told or stored"
        );
    }
    let snapshot = if let Origin::Snapshot(known_at) = origin { Some(known_at) } else { None };
    if let Some(known_at) = snapshot {
        own.retain(|(about, _)| about.known_at <= known_at);
        // Others will never have what this process had made beyond it.
        journal.snapshots().remove_after(own.iter().map(|(_, snapshot)| snapshot.manifest.up_to).max().unwrap_or(0))?;
    }
    let on_disk = own.iter().map(|(about, snapshot)| (about.known_at, snapshot.manifest.up_to)).collect();
    let joint = Joint { last, on_disk, start: Start { durable_to: last + 1, snapshot } };
    let begin = match origin {
        Origin::Snapshot(known_at) => from_snapshot(own, known_at, fingerprint)?,
        Origin::Records => Begin { from: 1, ..Begin::default() },
        Origin::Remembered(known_at) => remembered(own, known_at, journal.oldest().unwrap_or(1)),
    };
    Ok(Begin { joint: Some(joint), ..begin })
}

/// Returns when all processes can begin to write.
pub(super) fn all_are_ready(joined: &mut Joined) -> anyhow::Result<()> {
    joined.exchange("ready")?;
    Ok(())
}

fn from_snapshot(own: Vec<(About, Snapshot)>, known_at: u64, fingerprint: &str) -> anyhow::Result<Begin> {
    let is_it =
        |(about, snapshot): &(About, Snapshot)| about.known_at == known_at && snapshot.manifest.fingerprint == fingerprint;
    let (about, snapshot) =
        own.into_iter().find(is_it).context("the snapshot that all processes have is not in this journal any more")?;
    let (states, alerts) = snapshots::read_rest(&snapshot)?;
    Ok(Begin { about, states, alerts, from: snapshot.manifest.up_to + 1, ..Begin::default() })
}

fn remembered(own: Vec<(About, Snapshot)>, to: u64, oldest: Seq) -> Begin {
    tracing::warn!(
        remembered_to = to,
        "the processes have no snapshot of this configuration and version in common: states are made again from the records that are kept, what looks further back fills up again"
    );
    // Names of the newest, for rows whose names were in records that are gone.
    let names = own.first().map(|(about, _)| about.names.clone()).unwrap_or_default();
    let it = own.into_iter().find(|(about, _)| about.known_at <= to);
    let rules = it.as_ref().and_then(|(_, snapshot)| snapshots::read_rules(snapshot));
    let about = it.map(|(about, _)| about).unwrap_or_default();
    Begin { about: About { names, ..about }, rules, from: oldest, remembered_to: Some(to), ..Begin::default() }
}

/// The last one whose every record is there.
fn last_quantum(journal: &Journal) -> Result<Option<u64>, journal::Error> {
    let oldest = journal.oldest().unwrap_or(1);
    for from in [journal.tail().last.saturating_sub(LAST_RECORDS).max(oldest), oldest] {
        let (mut records, mut last) = (journal.records(from), None);
        while let Some(record) = records.read()? {
            last = (record.kind == QUANTUM).then_some(record.known_at).or(last);
        }
        if last.is_some() || from == oldest {
            return Ok(last);
        }
    }
    Ok(None)
}
