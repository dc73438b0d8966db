//! Cascades of the market: gone through instant by instant at which a 5m cascade begins or ends.

use std::collections::BTreeSet;

use dataflows::fixed::Notional;
use dataflows::model::*;

use super::Events;

pub fn rows(events: &Events<'_>, cascades: &[Cascade]) -> Vec<MarketCascade> {
    let five: Vec<&Cascade> = cascades.iter().filter(|cascade| cascade.window == Window::M5).collect();
    let settings = &events.config.cascades.market;
    let asset = |cascade: &Cascade| events.instruments.get(cascade.instrument).unwrap().base().to_owned();
    let instants: BTreeSet<i64> = five.iter().flat_map(|c| [Some(c.onset), c.ended_at]).flatten().collect();
    let mut lives: Vec<(i64, Option<i64>)> = Vec::new();
    for t in instants {
        let going = five.iter().filter(|c| c.onset <= t && c.ended_at.is_none_or(|end| t < end));
        let is_over = going.map(|c| asset(c)).collect::<BTreeSet<_>>().len() < 2;
        if let Some((onset, ended_at @ None)) = lives.last_mut()
            && is_over
            && t > *onset
        {
            *ended_at = Some(t);
        }
        let is_open = lives.last().is_some_and(|(_, ended_at)| ended_at.is_none());
        let begun = five.iter().filter(|c| t - settings.within_secs * 1_000 < c.onset && c.onset <= t);
        let enough = begun.map(|c| asset(c)).collect::<BTreeSet<_>>().len() >= settings.assets_min;
        if !is_open && enough && five.iter().any(|c| c.onset == t) {
            lives.push((t, None));
        }
    }
    lives.into_iter().map(|(onset, ended_at)| row(events, &five, &asset, onset, ended_at)).collect()
}

fn row(
    events: &Events<'_>,
    five: &[&Cascade],
    asset: &impl Fn(&Cascade) -> String,
    onset: i64,
    ended_at: Option<i64>,
) -> MarketCascade {
    let overlaps = |c: &Cascade| c.onset < ended_at.unwrap_or(i64::MAX) && c.ended_at.unwrap_or(i64::MAX) > onset;
    let parts: Vec<&Cascade> = five.iter().copied().filter(|c| overlaps(c)).collect();
    let assets: BTreeSet<String> = parts.iter().map(|c| asset(c)).collect();
    let of = |name: &str| parts.iter().filter(|c| asset(c) == name).copied().collect::<Vec<_>>();
    let total = |name: &str| of(name).iter().map(|c| c.total.0).sum::<i128>();
    let largest = assets.iter().rev().max_by_key(|name| total(name)).unwrap();
    let mut last_active: Vec<i64> = assets.iter().map(|name| of(name).iter().map(|c| c.last_active).max().unwrap()).collect();
    last_active.sort_by_key(|&at| std::cmp::Reverse(at));
    let long = parts.iter().map(|c| c.long_notional.0).sum::<i128>();
    let short = parts.iter().map(|c| c.short_notional.0).sum::<i128>();
    let share = |side: i128| Notional(side).to_f64() / Notional(long + short).to_f64();
    let bias = events.config.cascades.side_bias_share;
    MarketCascade {
        instrument: InstrumentId::of(Venue::Any, ""),
        onset,
        last_active: last_active.get(1).copied().unwrap_or(onset).max(onset),
        ended_at,
        cascades: parts.len() as u64,
        long_notional: Notional(long),
        short_notional: Notional(short),
        count: parts.iter().map(|c| c.count).sum(),
        side_bias: if share(long) >= bias {
            SideBias::Long
        } else if share(short) >= bias {
            SideBias::Short
        } else {
            SideBias::Balanced
        },
        largest_asset: largest.clone(),
        largest_notional: Notional(total(largest)),
        coverage: parts.iter().map(|c| c.coverage).max().unwrap(),
        assets: assets.into_iter().collect(),
    }
}
