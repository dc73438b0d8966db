//! What several processes tell each other of their journals at a start, and what follows from it.
//!
//! Records of one quantum are spread over the processes, so only what is durable in all of them can be restored: up to the earliest of their ends. What
//! lies beyond it in some was neither told nor stored ([`crate::engine::Agreement`]), and is cut off. States go on from the newest snapshot
//! that all have. All hear the same offers, and come to the same conclusion.

use serde::{Deserialize, Serialize};

/// What a process has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// Its good snapshots.
    pub snapshots: Vec<Offered>,
    /// Its last complete quantum; 0: it has none.
    pub last: u64,
    /// Its records begin with the first one.
    pub is_whole: bool,
}

/// A good snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offered {
    /// Of which quantum.
    pub known_at: u64,
    /// It is of this configuration and version.
    pub fits: bool,
}

/// How all begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The last quantum that is durable in all; 0: none is.
    pub last: u64,
    /// Where states come from.
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The snapshot of this quantum.
    Snapshot(u64),
    /// All records, from the first one on.
    Records,
    /// The records that there are; up to this quantum they are only remembered.
    Remembered(u64),
}

/// A process's journal ends before what others have told and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal of process {behind} ends at {last} (UTC ms), before the snapshot of {snapshot} that process {ahead} has: it was lost or replaced; \
     give process {behind} its journal back, or move the journals of all processes away to begin anew"
)]
pub struct JournalsDiffer {
    /// Whose journal ends early.
    pub behind: usize,
    /// Where, knowledge time.
    pub last: u64,
    /// Who has a snapshot of what came later.
    pub ahead: usize,
    /// Of which quantum.
    pub snapshot: u64,
}

/// What all processes conclude from what each has offered, in their order.
pub(super) fn agree(offers: &[Offer]) -> Result<Beginning, JournalsDiffer> {
    let Some((behind, Offer { last, .. })) = offers.iter().enumerate().min_by_key(|(_, offer)| offer.last) else {
        return Ok(Beginning { last: 0, origin: Origin::Records });
    };
    let last = *last;
    let newest = |offer: &Offer| offer.snapshots.iter().map(|snapshot| snapshot.known_at).max();
    let ahead = offers.iter().enumerate().filter_map(|(process, offer)| Some((process, newest(offer)?)));
    if let Some((ahead, snapshot)) = ahead.max_by_key(|(_, snapshot)| *snapshot).filter(|(_, snapshot)| *snapshot > last) {
        return Err(JournalsDiffer { behind, last, ahead, snapshot });
    }
    let origin = if let Some(known_at) = newest_of_all(offers, true) {
        Origin::Snapshot(known_at)
    } else if let Some(known_at) = newest_of_all(offers, false) {
        Origin::Remembered(known_at)
    } else if offers.iter().all(|offer| offer.is_whole) {
        Origin::Records
    } else {
        // Whoever has a snapshot has stored everything up to it.
        Origin::Remembered(offers.iter().map(|offer| newest(offer).unwrap_or(0)).min().unwrap_or(0))
    };
    Ok(Beginning { last, origin })
}

fn newest_of_all(offers: &[Offer], must_fit: bool) -> Option<u64> {
    let (first, others) = offers.split_first()?;
    let has = |offer: &Offer, known_at| offer.snapshots.iter().any(|own| own.known_at == known_at && (own.fits || !must_fit));
    let common = first.snapshots.iter().map(|snapshot| snapshot.known_at);
    common.filter(|known_at| has(first, *known_at) && others.iter().all(|offer| has(offer, *known_at))).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `last: snapshots`; one of another configuration in parentheses, `+` after the last if earlier records were removed.
    fn offer(text: &str) -> Offer {
        let (last, snapshots) = text.split_once(':').unwrap_or((text, ""));
        let snapshot = |text: &str| {
            let known_at = text.trim_matches(['(', ')']).parse().unwrap_or_default();
            Offered { known_at, fits: !text.starts_with('(') }
        };
        Offer {
            snapshots: snapshots.split_whitespace().map(snapshot).collect(),
            last: last.trim_end_matches('+').parse().unwrap_or_default(),
            is_whole: !last.ends_with('+'),
        }
    }

    fn check(offers: &[&str], last: u64, origin: Origin) {
        let read: Vec<_> = offers.iter().map(|text| offer(text)).collect();
        assert_eq!(agree(&read), Ok(Beginning { last, origin }), "{offers:?}");
    }

    #[test]
    fn all_begin_where_all_can() {
        check(&["0", "0"], 0, Origin::Records);
        check(&["70", "90"], 70, Origin::Records);
        check(&["0", "90"], 0, Origin::Records); // killed before its first record was durable: nothing was told
        check(&["70+: 20 40", "90+: 20 40", "80+: 40"], 70, Origin::Snapshot(40));
        check(&["70: 20 40 60", "90: 20 60 40"], 70, Origin::Snapshot(60));
        check(&["70+: 20 40", "90: 20"], 70, Origin::Snapshot(20)); // killed while one was made
        check(&["70: 20", "90: 40"], 70, Origin::Records);
        check(&["70+: 20 50", "90: 40"], 70, Origin::Remembered(40));
        check(&["70+: 20", "90:"], 70, Origin::Remembered(0));
        check(&["70+: (20) (40)", "90+: (20) (40)"], 70, Origin::Remembered(40)); // another configuration
        check(&["70+: 20 (40)", "90+: 20 (40)"], 70, Origin::Snapshot(20));
    }

    #[test]
    fn a_journal_that_was_replaced_is_named() {
        let check = |offers: &[&str], behind, ahead, snapshot| {
            let read: Vec<_> = offers.iter().map(|text| offer(text)).collect();
            let differ = agree(&read).map_err(|differ| (differ.behind, differ.ahead, differ.snapshot));
            assert_eq!(differ, Err((behind, ahead, snapshot)), "{offers:?}");
        };
        check(&["90: 40 60", "0"], 1, 0, 60);
        check(&["50: 40", "90: 40", "90: 40 (60)"], 0, 2, 60);
    }
}
