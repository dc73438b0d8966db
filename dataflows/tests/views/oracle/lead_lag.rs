//! Lead and lag: each minute's window of last prices laid out in full, each ρ from its formula.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::model::*;

use super::Events;

pub fn lead_lag(events: &Events<'_>) -> (Vec<LeadLag>, Vec<LeadScore>, Vec<Leader>) {
    let settings = &events.config.lead_lag;
    // Last prices by symbol, venue and bucket.
    let mut last: BTreeMap<String, BTreeMap<Venue, BTreeMap<i64, f64>>> = BTreeMap::new();
    let mut minutes = BTreeSet::new();
    for (id, trades) in &events.prints() {
        let instrument = events.instruments.get(*id).unwrap();
        for trade in trades.iter().filter(|_| settings.symbols.contains(&instrument.symbol)) {
            let bucket = trade.ts.div_euclid(settings.bucket_ms);
            let venues = last.entry(instrument.symbol.clone()).or_default();
            venues.entry(instrument.venue).or_default().insert(bucket, trade.price.to_f64());
            let minute = trade.ts.div_euclid(MINUTE_MS);
            minutes.extend(minute..=minute + settings.window_minutes);
        }
    }
    let (mut pairs, mut scores) = (Vec::new(), Vec::new());
    let mut heads: Vec<(i64, Option<(InstrumentId, i32)>)> = Vec::new();
    for minute in minutes.into_iter().filter(|minute| minute * MINUTE_MS <= events.newest_watermark()) {
        let end = minute * MINUTE_MS / settings.bucket_ms;
        let window = end - settings.window_minutes * MINUTE_MS / settings.bucket_ms..end;
        let series: Vec<(InstrumentId, Vec<Option<f64>>)> = last
            .iter()
            .filter_map(|(name, venues)| {
                let venue = venues.values().find(|prices| prices.range(window.clone()).next().is_some())?;
                Some((events.instruments.across(name).unwrap(), returns(venue, window.clone())))
            })
            .collect();
        let mut of: BTreeMap<InstrumentId, (u32, u32)> = BTreeMap::new();
        for (i, (symbol_a, a)) in series.iter().enumerate() {
            for (symbol_b, b) in &series[i + 1..] {
                let Some(row) = pair(events, (*symbol_a, a), (*symbol_b, b), minute * MINUTE_MS) else { continue };
                of.entry(*symbol_a).or_default();
                of.entry(*symbol_b).or_default();
                if let Some(leader) = row.leader {
                    let lagging = if leader == *symbol_a { *symbol_b } else { *symbol_a };
                    of.entry(leader).or_default().0 += 1;
                    of.entry(lagging).or_default().1 += 1;
                }
                pairs.push(row);
            }
        }
        if !of.is_empty() {
            let score = |&(leads, lags): &(u32, u32)| leads as i32 - lags as i32;
            let highest = of.values().map(score).max().unwrap();
            let first: Vec<InstrumentId> = of.iter().filter(|(_, s)| score(s) == highest).map(|(id, _)| *id).collect();
            heads.push((minute, (first.len() == 1 && highest > 0).then(|| (first[0], highest))));
        }
        let row = |(&instrument, &(leads, lags)): (&InstrumentId, &(u32, u32))| LeadScore {
            instrument,
            ts: minute * MINUTE_MS,
            leads,
            lags,
        };
        scores.extend(of.iter().map(row));
    }
    pairs.sort();
    scores.sort();
    (pairs, scores, leaders(&heads, settings.hold_minutes as usize))
}

/// By bucket; `None` up to the first trade.
fn returns(prices: &BTreeMap<i64, f64>, window: std::ops::Range<i64>) -> Vec<Option<f64>> {
    let mut before: Option<f64> = None;
    window
        .map(|bucket| {
            let was = before;
            before = prices.get(&bucket).copied().or(before);
            let (was, is) = (was?, before?);
            Some(((is / was).ln().clamp(-0.5, 0.5) * 1e7).round())
        })
        .collect()
}

fn pair(events: &Events<'_>, a: (InstrumentId, &[Option<f64>]), b: (InstrumentId, &[Option<f64>]), ts: i64) -> Option<LeadLag> {
    let settings = &events.config.lead_lag;
    let both: Vec<(f64, f64)> = a.1.iter().zip(b.1).filter_map(|(x, y)| Some(((*x)?, (*y)?))).collect();
    let n = both.len() as f64;
    let moves = |pick: fn(&(f64, f64)) -> f64| both.iter().filter(|xy| pick(xy) != 0.0).count();
    let is_enough = n >= settings.coverage_min * a.1.len() as f64;
    if !is_enough || moves(|xy| xy.0) < settings.moves_min || moves(|xy| xy.1) < settings.moves_min {
        return None;
    }
    let (x, y) = (both.iter().map(|xy| xy.0).sum::<f64>() / n, both.iter().map(|xy| xy.1).sum::<f64>() / n);
    let sd_x = (both.iter().map(|xy| xy.0 * xy.0).sum::<f64>() / n - x * x).sqrt();
    let sd_y = (both.iter().map(|xy| xy.1 * xy.1).sum::<f64>() / n - y * y).sqrt();
    if both.iter().all(|xy| xy.0 == both[0].0) || both.iter().all(|xy| xy.1 == both[0].1) {
        return None;
    }
    let rho = |lag: i32| {
        let at = |t: usize| usize::try_from(t as i64 + i64::from(lag)).ok().and_then(|t| both.get(t)).map_or(0.0, |xy| xy.1);
        let products: f64 = (0..both.len()).map(|t| both[t].0 * at(t)).sum();
        ((products / n - x * y) / (sd_x * sd_y)).clamp(-1.0, 1.0)
    };
    let mut best = 0;
    for lag in (1..=10).flat_map(|lag| [lag, -lag]) {
        // Equal but for the last bits: the shorter lag stays.
        if rho(lag).abs() > rho(best).abs() + 1e-12 {
            best = lag;
        }
    }
    let strength = (rho(1) - rho(-1)) / (2.0 / n).sqrt();
    let leader = match () {
        () if strength > settings.strength_min => Some(a.0),
        () if strength < -settings.strength_min => Some(b.0),
        () => None,
    };
    Some(LeadLag {
        symbol_a: a.0,
        symbol_b: b.0,
        ts,
        best_lag: best,
        lag_r: Real(rho(best)),
        r: Real(rho(0)),
        strength: Real(strength),
        leader,
        buckets: both.len() as u32,
    })
}

/// The one that has been at the head of the last minutes, whenever it is another.
fn leaders(heads: &[(i64, Option<(InstrumentId, i32)>)], hold: usize) -> Vec<Leader> {
    let mut rows: Vec<Leader> = Vec::new();
    for last in heads.windows(hold) {
        let (minute, Some((instrument, score))) = last[hold - 1] else { continue };
        let is_held = last.iter().all(|(_, head)| head.is_some_and(|(id, _)| id == instrument));
        let before = rows.last().map(|row| row.instrument);
        if is_held && before != Some(instrument) {
            let onset = minute * MINUTE_MS;
            if let Some(row) = rows.last_mut() {
                row.ended_at = Some(onset);
            }
            rows.push(Leader { instrument, onset, ended_at: None, before, score });
        }
    }
    rows.sort();
    rows
}

pub fn near_pair(a: &LeadLag, b: &LeadLag) -> bool {
    let close = |a: Real, b: Real| (a.0 - b.0).abs() < 1e-9 * (1.0 + b.0.abs());
    // Two lags may be equal but for the last bits.
    let is_same_lag = a.best_lag == b.best_lag || close(Real(a.lag_r.0.abs()), Real(b.lag_r.0.abs()));
    (a.symbol_a, a.symbol_b, a.ts, a.leader, a.buckets) == (b.symbol_a, b.symbol_b, b.ts, b.leader, b.buckets)
        && is_same_lag
        && close(a.r, b.r)
        && close(a.strength, b.strength)
}
