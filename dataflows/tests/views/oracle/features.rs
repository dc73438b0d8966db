//! Features, each row from the list of closed bars before it and all events.

use std::collections::BTreeMap;

use dataflows::model::*;

use super::Events;

/// What there is beside bars.
struct Beside<'a> {
    events: &'a Events<'a>,
    liquidations: BTreeMap<InstrumentId, Vec<Liquidation>>,
    interest: &'a [OpenInterestRow],
    rates: &'a [FundingRow],
}

pub fn features(events: &Events<'_>, closed: &[Bar], interest: &[OpenInterestRow], rates: &[FundingRow]) -> Vec<Features> {
    let (config, beside) = (events.config, Beside { events, liquidations: events.liquidations(), interest, rates });
    let mut by_series: BTreeMap<(InstrumentId, Timeframe), Vec<&Bar>> = BTreeMap::new();
    for bar in closed.iter().filter(|bar| config.features_timeframes.contains(&bar.timeframe)) {
        by_series.entry((bar.instrument, bar.timeframe)).or_default().push(bar);
    }
    let mut rows: Vec<Features> = Vec::new();
    for bars in by_series.values_mut() {
        bars.sort_by_key(|bar| bar.ts);
        rows.extend((0..bars.len()).map(|at| row(&bars[..=at], &beside)));
    }
    rows.sort();
    rows
}

/// The row of the last bar.
fn row(bars: &[&Bar], beside: &Beside<'_>) -> Features {
    let bar = bars[bars.len() - 1];
    let length = bar.timeframe.ms();
    let back = |n: i64| bars.iter().rev().find(|b| b.ts == bar.ts - n * length).copied();
    let log_return = |n: i64| Some((close(back(n)?) / close(back(n + 1)?)).ln());
    let returns = |count: i64| -> Option<Vec<f64>> {
        let found: Vec<f64> = (0..count).rev().filter_map(log_return).collect();
        (found.len() as f64 >= 0.8 * count as f64).then_some(found)
    };
    let volatility = returns(14).map(|r| (r.iter().map(|r| r * r).sum::<f64>() / r.len() as f64).sqrt());
    let trend = || {
        let deviation = deviation(&returns(72)?);
        let moved = (close(bar) / close(back(24)?)).ln();
        (deviation > 0.0).then(|| moved / deviation / 24f64.sqrt())
    };
    let volume_z = || {
        let volumes: Vec<f64> = (0..50).rev().filter_map(|n| Some(back(n)?.volume.to_f64())).collect();
        let spread = if volumes.len() >= 40 { deviation(&volumes) } else { 0.0 };
        (spread > 0.0).then(|| (bar.volume.to_f64() - volumes.iter().sum::<f64>() / volumes.len() as f64) / spread)
    };
    let volume = bar.volume.to_f64();
    let imbalance = (volume > 0.0).then(|| 2.0 * bar.taker_buy_volume.to_f64() / volume - 1.0);
    let recent = since_warm_up(bars);
    let [longs, shorts] = beside.liquidated(bar);
    let values = [
        log_return(0),
        trend(),
        volatility.filter(|v| *v > 0.0).map(f64::ln),
        rsi(&recent),
        volatility,
        volume_z(),
        adx(&recent),
        imbalance,
        longs,
        shorts,
        beside.interest_change(bar),
        beside.funding_z(bar),
    ];
    Features { instrument: bar.instrument, timeframe: bar.timeframe, ts: bar.ts, values: values.map(|v| v.map(Real)) }
}

impl Beside<'_> {
    /// ln(1 + USD) of longs and shorts.
    fn liquidated(&self, bar: &Bar) -> [Option<f64>; 2] {
        let (from, to) = (bar.ts, bar.ts + bar.timeframe.ms());
        let minutes = bar.timeframe.ms() / MINUTE_MS;
        let heard = (0..minutes).filter(|minute| self.events.heard_in(bar.instrument, from + minute * MINUTE_MS)).count();
        // One since the midnight 30 days before the midnight before the bar's end.
        let since = ((to - 1).div_euclid(DAY_MS) - 30) * DAY_MS;
        let all = self.liquidations.get(&bar.instrument).map_or(&[][..], Vec::as_slice);
        let told = all.iter().any(|event| (since..to).contains(&event.ts));
        [PositionSide::Long, PositionSide::Short].map(|side| {
            let inside = all.iter().filter(|event| event.position_side == side && (from..to).contains(&event.ts));
            let usd: f64 = inside.map(|event| event.price.to_f64() * event.qty.to_f64()).sum();
            (told && heard as f64 >= 0.8 * minutes as f64).then(|| (1.0 + usd).ln())
        })
    }

    fn interest_change(&self, bar: &Bar) -> Option<f64> {
        let at = |edge: i64| {
            let known = |row: &&OpenInterestRow| row.instrument == bar.instrument && is_known_at(edge, row.ts);
            self.interest.iter().filter(known).max_by_key(|row| row.ts).map(|row| row.base.to_f64())
        };
        let before = at(bar.ts)?;
        (before > 0.0).then_some(at(bar.ts + bar.timeframe.ms())? / before - 1.0)
    }

    fn funding_z(&self, bar: &Bar) -> Option<f64> {
        let predicted = self.rates.iter().filter(|row| row.instrument == bar.instrument && row.kind == FundingKind::Predicted);
        let known = predicted.filter(|row| is_known_at(bar.ts + bar.timeframe.ms(), row.ts));
        known.max_by_key(|row| row.ts).and_then(|row| row.scores.z_30d).map(|z| z.0)
    }
}

/// Whether the minute that opens at `ts` is one of the fifteen before `edge`.
fn is_known_at(edge: i64, ts: i64) -> bool {
    (edge - 15 * MINUTE_MS..edge).contains(&ts)
}

fn close(bar: &Bar) -> f64 {
    bar.close.to_f64()
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}

/// The bars from 256 slots before midnight (slow frames: before the month) on.
fn since_warm_up<'a>(bars: &[&'a Bar]) -> Vec<&'a Bar> {
    let last = bars[bars.len() - 1];
    let anchor = if last.timeframe <= Timeframe::H1 { last.ts.div_euclid(DAY_MS) * DAY_MS } else { month_of(last.ts) };
    let mut first = last.ts;
    while first - last.timeframe.ms() >= anchor {
        first -= last.timeframe.ms();
    }
    let from = first - 256 * last.timeframe.ms();
    bars.iter().filter(|bar| bar.ts >= from).copied().collect()
}

/// Wilder: the mean of the first 14, then a fourteenth of each new one.
fn smooth(inputs: &[f64]) -> Vec<f64> {
    let mut smoothed = Vec::new();
    for at in 14..=inputs.len() {
        let value = match smoothed.last() {
            None => inputs[..14].iter().sum::<f64>() / 14.0,
            Some(before) => before * 13.0 / 14.0 + inputs[at - 1] / 14.0,
        };
        smoothed.push(value);
    }
    smoothed
}

fn rsi(bars: &[&Bar]) -> Option<f64> {
    let changes: Vec<f64> = bars.windows(2).map(|pair| close(pair[1]) - close(pair[0])).collect();
    let gains = smooth(&changes.iter().map(|c| c.max(0.0)).collect::<Vec<_>>());
    let losses = smooth(&changes.iter().map(|c| (-c).max(0.0)).collect::<Vec<_>>());
    let (gain, loss) = (*gains.last()?, *losses.last()?);
    Some(match () {
        () if gain == 0.0 && loss == 0.0 => 50.0,
        () if loss == 0.0 => 100.0,
        () => 100.0 - 100.0 / (1.0 + gain / loss),
    })
}

fn adx(bars: &[&Bar]) -> Option<f64> {
    let (mut ranges, mut ups, mut downs) = (Vec::new(), Vec::new(), Vec::new());
    for pair in bars.windows(2) {
        let (high, low) = (pair[1].high.to_f64(), pair[1].low.to_f64());
        let (high_before, low_before) = (pair[0].high.to_f64(), pair[0].low.to_f64());
        let before = close(pair[0]);
        ranges.push((high - low).max((high - before).abs()).max((low - before).abs()));
        let (up, down) = (high - high_before, low_before - low);
        ups.push(if up > down && up > 0.0 { up } else { 0.0 });
        downs.push(if down > up && down > 0.0 { down } else { 0.0 });
    }
    let mut directions = Vec::new();
    for ((range, up), down) in smooth(&ranges).into_iter().zip(smooth(&ups)).zip(smooth(&downs)) {
        let (plus, minus) = (100.0 * up / range, 100.0 * down / range);
        directions.push(if plus + minus > 0.0 { 100.0 * (plus - minus).abs() / (plus + minus) } else { 0.0 });
    }
    smooth(&directions).last().copied()
}
