//! View `market_cascades`: when several assets cascade at once.
//!
//! It begins at the onset of the 5m cascade with which enough base assets had one inside the last minute, and ends when the
//! cascades of fewer than two assets go on. A cascade goes on from its onset to its end (five minutes after it was last active),
//! so a lull of less does not end it. An asset is one on all venues together (BTC-USDT-PERP and BTC-USDC-PERP are BTC). Part of it
//! are all 5m cascades that go on at any time of its life, also one that began earlier; each counts whole.
//!
//! All 5m cascades meet on one worker, and the few that can still change are gone through again when one does. A row that a
//! correction of a venue can reach is kept until no venue's correction can; a venue that is silent for a week holds nothing up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::Exchange;

use crate::config::{Cascades, Config};
use crate::fixed::Notional;
use crate::keeping::{Kept, Load, Save};
use crate::model::{Cascade, Clock, DAY_MS, InstrumentId, Instruments, MarketCascade, SECOND_MS, SideBias, Venue, Window};
use crate::operators::{Clocks, KnownAt, NEVER, Watermarks, per_quantum};

/// A venue that is so far behind the newest does not keep rows correctable.
const BEHIND_MS_MAX: i64 = 7 * DAY_MS;

/// Maintains the cascades of the market.
pub fn market_cascades<'scope>(
    cascades: VecCollection<'scope, KnownAt, Cascade, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    instruments: Arc<Instruments>,
) -> VecCollection<'scope, KnownAt, MarketCascade, isize> {
    let market = instruments.across("");
    let state = State {
        config: config.cascades,
        horizon_ms: config.correction_horizon_ms,
        watermarks: Watermarks::new(config.lateness_ms),
        names: instruments,
        market,
        cascades: BTreeMap::new(),
        rows: BTreeMap::new(),
        settled_to: NEVER,
    };
    let five_minutes = cascades.filter(|row| row.window == Window::M5).inner.exchange(|_| 0);
    per_quantum(five_minutes, clocks, "market_cascades", state, |state, _known_at, input, clocks, changes| {
        let input = input.into_iter().map(|(row, _, diff)| (row, diff)).collect();
        state.quantum(input, clocks, changes);
    })
}

struct State {
    config: Cascades,
    horizon_ms: i64,
    watermarks: Watermarks,
    names: Arc<Instruments>,
    market: Option<InstrumentId>,
    /// 5m cascades by onset, with the asset.
    cascades: BTreeMap<(i64, u64), (Cascade, String)>,
    rows: BTreeMap<i64, MarketCascade>,
    /// None begins before it: one that ended then was forgotten.
    settled_to: i64,
}

/// All are on the first worker.
const ROUTE: InstrumentId = InstrumentId(0);

impl Kept for State {
    fn save(&self, save: &mut Save) {
        save.shared(&self.watermarks);
        if !self.cascades.is_empty() || !self.rows.is_empty() {
            let cascades: Vec<&(Cascade, String)> = self.cascades.values().collect();
            save.part(ROUTE, &(cascades, &self.rows, self.settled_to));
        }
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        self.watermarks = load.shared()?.unwrap_or_else(|| self.watermarks.clone());
        while let Some((_, part)) = load.part::<(Vec<(Cascade, String)>, _, _)>()? {
            self.cascades = part.0.into_iter().map(|cascade| ((cascade.0.onset, cascade.0.cascade_id), cascade)).collect();
            (self.rows, self.settled_to) = (part.1, part.2);
        }
        Ok(())
    }
}

impl State {
    fn quantum(&mut self, mut input: Vec<(Cascade, isize)>, clocks: &[Clock], changes: &mut Vec<(MarketCascade, isize)>) {
        self.watermarks.advance(clocks);
        if input.is_empty() {
            return;
        }
        input.sort_unstable_by_key(|(_, diff)| *diff);
        for (row, diff) in input {
            let key = (row.onset, row.cascade_id);
            if diff < 0 {
                self.cascades.remove(&key);
            } else if let Some(instrument) = self.names.get(row.instrument) {
                self.cascades.insert(key, (row, instrument.base().to_owned()));
            }
        }
        let rows: BTreeMap<i64, MarketCascade> = self.lives().into_iter().map(|row| (row.onset, row)).collect();
        for (onset, old) in &self.rows {
            if rows.get(onset) != Some(old) {
                changes.push((old.clone(), -1));
            }
        }
        for (onset, new) in &rows {
            if self.rows.get(onset) != Some(new) {
                changes.push((new.clone(), 1));
            }
        }
        self.rows = rows;
        self.forget();
    }

    fn lives(&self) -> Vec<MarketCascade> {
        let mut lives: Vec<MarketCascade> = Vec::new();
        let mut from = self.settled_to;
        for &(onset, _) in self.cascades.keys() {
            if onset < from || lives.last().is_some_and(|life| life.onset == onset) {
                continue;
            }
            let inside = onset - self.config.market.within_secs * SECOND_MS + 1..=onset;
            let begun = self.cascades.range((*inside.start(), 0)..=(onset, u64::MAX));
            let assets: BTreeSet<&str> = begun.map(|(_, (_, asset))| asset.as_str()).collect();
            if assets.len() < self.config.market.assets_min {
                continue;
            }
            let ended_at = self.end_after(onset);
            lives.extend(self.row(onset, ended_at));
            match ended_at {
                Some(end) => from = end,
                None => break,
            }
        }
        lives
    }

    /// When, after `onset`, the cascades of fewer than two assets go on.
    fn end_after(&self, onset: i64) -> Option<i64> {
        let ends = self.cascades.values().filter_map(|(row, _)| row.ended_at).filter(|&end| end > onset);
        ends.collect::<BTreeSet<i64>>().into_iter().find(|&end| {
            let goes_on = |(row, asset): &(Cascade, String)| {
                (row.onset <= end && row.ended_at.is_none_or(|ended| ended > end)).then(|| asset.clone())
            };
            self.cascades.values().filter_map(goes_on).collect::<BTreeSet<_>>().len() < 2
        })
    }

    fn row(&self, onset: i64, ended_at: Option<i64>) -> Option<MarketCascade> {
        let is_part =
            |row: &Cascade| ended_at.is_none_or(|end| row.onset < end) && row.ended_at.is_none_or(|ended| ended > onset);
        let parts: Vec<&(Cascade, String)> = self.cascades.values().filter(|(row, _)| is_part(row)).collect();
        let mut assets: BTreeMap<&str, (Notional, i64)> = BTreeMap::new();
        for (row, asset) in &parts {
            let (total, last_active) = assets.entry(asset).or_insert((Notional(0), NEVER));
            *total += row.total;
            *last_active = row.last_active.max(*last_active);
        }
        let mut last_active: Vec<i64> = assets.values().map(|(_, last_active)| *last_active).collect();
        last_active.sort_unstable();
        let (&largest_asset, &(largest_notional, _)) =
            assets.iter().max_by_key(|(name, (total, _))| (*total, std::cmp::Reverse(*name)))?;
        let sum = |side: fn(&Cascade) -> Notional| parts.iter().fold(Notional(0), |sum, (row, _)| sum + side(row));
        let (long_notional, short_notional) = (sum(|row| row.long_notional), sum(|row| row.short_notional));
        Some(MarketCascade {
            instrument: self.market?,
            onset,
            last_active: last_active.iter().rev().nth(1).copied().unwrap_or(onset).max(onset),
            ended_at,
            cascades: parts.len() as u64,
            long_notional,
            short_notional,
            count: parts.iter().map(|(row, _)| row.count).sum(),
            side_bias: SideBias::of(long_notional, short_notional, self.config.side_bias_share),
            largest_asset: largest_asset.to_owned(),
            largest_notional,
            coverage: parts.iter().map(|(row, _)| row.coverage).max()?,
            assets: assets.into_keys().map(str::to_owned).collect(),
        })
    }

    /// Drops what no correction reaches.
    fn forget(&mut self) {
        let times = Venue::ALL.map(|venue| self.watermarks.reach(venue, self.horizon_ms));
        let newest = times.into_iter().max().unwrap_or(NEVER);
        let reach = times.into_iter().filter(|&time| time > newest - BEHIND_MS_MAX).min().unwrap_or(NEVER);
        let is_settled = |row: &MarketCascade| row.ended_at.is_some_and(|end| end < reach);
        while let Some(row) = self.rows.first_entry().filter(|row| is_settled(row.get())) {
            self.settled_to = self.settled_to.max(row.remove().ended_at.unwrap_or(NEVER));
        }
        let needed_from =
            self.rows.keys().next().copied().unwrap_or(reach).min(reach) - self.config.market.within_secs * SECOND_MS;
        self.cascades.retain(|_, (row, _)| row.ended_at.is_none_or(|end| end >= needed_from) || row.onset >= needed_from);
    }
}
