//! View `regime_episodes`: what people are told about regimes, each from its beginning to its end.
//!
//! - REGIME_CHANGE: the decided regime of a time frame became another; it lasts until the next change. Bars without a decision
//!   change nothing. Compared are labels, so a promoted model that sees the same regime changes nothing either.
//! - REGIME_CONFIRMED: the time frames of a symbol confirm a regime.
//! - MODEL_DRIFT: the active model no longer fits.
//!
//! An episode begins and ends at the end of a bar. What began and was over inside one quantum is there too. A correction corrects the
//! episodes; what the correction horizon has passed stays as it is.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use hmm::Label;
use rustc_hash::FxHashMap;

use crate::config::Config;
use crate::model::{Change, Clock, EpisodeKind, InstrumentId, MINUTE_MS, ModelId, Real, Regime, RegimeEpisode, Timeframe};
use crate::operators::{Clocks, KnownAt, NEVER, per_quantum, replace};

/// What was the case at the end of a bar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Sighting {
    pub(crate) kind: EpisodeKind,
    pub(crate) instrument: InstrumentId,
    pub(crate) timeframe: Option<Timeframe>,
    /// The end of the bar, UTC ms.
    pub(crate) ts: i64,
    /// `None`: nothing that would be an episode.
    pub(crate) seen: Option<Seen>,
}

/// What an episode would say if it began here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Seen {
    pub regime: Option<Label>,
    pub model: Option<ModelId>,
    pub strength: Real,
}

/// Maintains the episodes.
pub fn regime_episodes<'scope>(
    regimes: VecCollection<'scope, KnownAt, Regime, isize>,
    confirmations: VecCollection<'scope, KnownAt, Sighting, isize>,
    drift: VecCollection<'scope, KnownAt, Sighting, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
) -> VecCollection<'scope, KnownAt, RegimeEpisode, isize> {
    let timeframes = config.regimes.change_timeframes.clone();
    let changes = regimes.flat_map(move |row| {
        let Regime { instrument, timeframe, ts, .. } = row;
        let regime = row.label.filter(|_| timeframes.contains(&timeframe))?;
        let seen = Some(Seen { regime: Some(regime), model: Some(row.model), strength: row.probability });
        Some(Sighting { kind: EpisodeKind::Change, instrument, timeframe: Some(timeframe), ts: ts + timeframe.ms(), seen })
    });
    let horizon_ms = config.correction_horizon_ms + MINUTE_MS;
    type State = FxHashMap<Key, Spells>;
    let logic = move |spells: &mut State,
                      _known_at,
                      mut rows: Vec<Change<Sighting>>,
                      _: &[Clock],
                      changes: &mut Vec<(RegimeEpisode, isize)>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        rows.sort_unstable_by_key(|(row, _, diff)| (key(row), *diff));
        for rows in rows.chunk_by(|a, b| key(&a.0) == key(&b.0)) {
            let key = key(&rows[0].0);
            let spells = spells.entry(key).or_default();
            for (row, _, diff) in rows {
                if *diff > 0 {
                    spells.recent.insert(row.ts, row.seen.clone());
                } else {
                    spells.recent.remove(&row.ts);
                }
            }
            spells.report(key, changes);
            spells.settle(horizon_ms);
        }
    };
    per_quantum(changes.concat(confirmations).concat(drift).inner, clocks, "regime_episodes", State::default(), logic)
}

type Key = (EpisodeKind, InstrumentId, Option<Timeframe>);

fn key(row: &Sighting) -> Key {
    (row.kind, row.instrument, row.timeframe)
}

/// What was seen and can still be corrected, and the stretch that led to it.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Spells {
    recent: BTreeMap<i64, Option<Seen>>,
    before: Spell,
    /// The rows that are out and can still change, by onset.
    rows: BTreeMap<i64, RegimeEpisode>,
}

/// A stretch in which the same was seen.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Spell {
    since: i64,
    seen: Option<Seen>,
    from: Option<Label>,
}

impl Default for Spell {
    fn default() -> Self {
        Self { since: NEVER, seen: None, from: None }
    }
}

impl Spell {
    /// The stretch that begins at `ts`, if it is another.
    fn changes(&self, ts: i64, seen: &Option<Seen>) -> Option<Self> {
        let same = match (&self.seen, seen) {
            (Some(a), Some(b)) => a.regime == b.regime,
            (None, None) => true,
            _ => false,
        };
        let from = self.seen.as_ref().and_then(|seen| seen.regime);
        (!same).then(|| Self { since: ts, seen: seen.clone(), from })
    }

    fn row(&self, (kind, instrument, timeframe): Key, ended_at: Option<i64>) -> Option<RegimeEpisode> {
        let Seen { regime: to, model, strength } = self.seen.clone()?;
        if kind == EpisodeKind::Change && self.from.is_none() {
            return None; // the first regime that is known is no change
        }
        let (onset, from) = (self.since, self.from);
        Some(RegimeEpisode { kind, instrument, timeframe, onset, ended_at, from, to, model, strength })
    }
}

impl Spells {
    /// What the rows should be now, against what they are.
    fn report(&mut self, key: Key, changes: &mut Vec<(RegimeEpisode, isize)>) {
        let mut spell = self.before.clone();
        let mut rows = BTreeMap::new();
        for (&ts, seen) in &self.recent {
            if let Some(next) = spell.changes(ts, seen) {
                rows.extend(spell.row(key, Some(ts)).map(|row| (spell.since, row)));
                spell = next;
            }
        }
        rows.extend(spell.row(key, None).map(|row| (spell.since, row)));
        for (onset, new) in &rows {
            replace(self.rows.remove(onset), Some(new.clone()), |row| row, changes);
        }
        changes.extend(self.rows.values().map(|gone| (gone.clone(), -1)));
        self.rows = rows;
    }

    /// What can no longer be corrected moves into `before`.
    fn settle(&mut self, horizon_ms: i64) {
        let Some((&newest, _)) = self.recent.last_key_value() else { return };
        while let Some(first) = self.recent.first_entry().filter(|first| *first.key() < newest - horizon_ms) {
            if let Some(next) = self.before.changes(*first.key(), first.get()) {
                self.before = next;
            }
            first.remove();
        }
        self.rows = self.rows.split_off(&self.before.since);
    }
}
