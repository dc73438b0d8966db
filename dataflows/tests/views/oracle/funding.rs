//! Funding from its definition: each sample with all that its baselines hold, each state by going over all samples since it began.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::config::Funding as Settings;
use dataflows::fixed::Rate;
use dataflows::model::*;

use super::Events;
use super::quotes::RateSample;

const DAY: i64 = 1_440;

/// A sample that speaks of the minutes `from..to`, with what it is compared with.
struct Sample {
    ts: i64,
    from: i64,
    to: i64,
    rate: i64,
    day: Vec<i64>,
    day_min: i64,
    month: Vec<i64>,
    month_min: i64,
    volatilities: Vec<f64>,
    hour_ago: Option<i64>,
}

struct Judged {
    scores: Scores,
    score: f64,
    reasons: Reasons,
    begins: bool,
    calm: bool,
    deviates: bool,
    near: bool,
    side: i8,
}

pub fn per_8h(rate: Rate, hours: u8) -> i64 {
    let (all, hours) = (i128::from(rate.0) * 8, i128::from(hours));
    let (whole, rest) = (all / hours, all % hours);
    let rounded = if 2 * rest.abs() >= hours { whole + all.signum() } else { whole };
    i64::try_from(rounded.clamp(-1_000_000_000_000_000, 1_000_000_000_000_000)).unwrap()
}

/// Deviation of a sample, as a fraction.
fn deviation(rates: &[i64], min: i64) -> Option<f64> {
    if (rates.len() as i64) < min.max(2) {
        return None;
    }
    let n = rates.len() as i128;
    let sum: i128 = rates.iter().map(|&r| i128::from(r)).sum();
    let squares: i128 = rates.iter().map(|&r| (n * i128::from(r) - sum).pow(2)).sum();
    let variance = squares as f64 / (n * n * (n - 1)) as f64;
    Some((variance.sqrt() * 1e-12 * 1e15).round() / 1e15)
}

fn z(rate: i64, rates: &[i64], min: i64, floor: f64) -> Option<Real> {
    let scale = deviation(rates, min)?.max(floor);
    let sum: i128 = rates.iter().map(|&r| i128::from(r)).sum();
    let n = rates.len() as i128;
    Some(nine((n * i128::from(rate) - sum) as f64 / n as f64 * 1e-12 / scale))
}

fn nine(value: f64) -> Real {
    Real((value * 1e9).round() / 1e9)
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

fn judge(s: &Sample, settings: &Settings) -> Judged {
    let enough = s.month.len() as i64 >= s.month_min.max(2);
    let z_24h = z(s.rate, &s.day, s.day_min, settings.scale_floor);
    let z_30d = z(s.rate, &s.month, s.month_min, settings.scale_floor);
    let volatility = deviation(&s.day, s.day_min);
    let month: Vec<f64> = s.month.iter().map(|&r| r as f64).collect();
    let from_median = if enough { s.rate as f64 - median(&month) } else { 0.0 };
    let robust_z = enough.then(|| {
        let centre = median(&month);
        let distances: Vec<f64> = month.iter().map(|r| (r - centre).abs()).collect();
        nine(from_median * 1e-12 / (1.4826 * median(&distances) * 1e-12).max(settings.scale_floor))
    });
    let change = s.hour_ago.map(|before| s.rate - before);
    let by_z = z_30d.filter(|z| z.0.abs() > settings.anomaly_z && from_median.abs() >= settings.anomaly_deviation_min.0 as f64);
    let by_change = change.filter(|change| change.abs() > settings.change_max.0);
    let high = (enough && s.volatilities.len() as i64 >= s.month_min.max(2))
        .then(|| (quantile(&s.volatilities, settings.high_volatility_quantile) * 1e15).round() / 1e15);
    let is_high = volatility.zip(high).is_some_and(|(now, high)| now > high);
    let magnitude = z_30d.map_or(0.0, |z| z.0.abs());
    let by_limit = change.map_or(0.0, |change| change.abs() as f64 / settings.change_max.0 as f64);
    Judged {
        scores: Scores { z_24h, z_30d, robust_z, volatility: volatility.map(Real) },
        score: magnitude.max(by_limit) + if is_high { 0.5 } else { 0.0 },
        reasons: Reasons {
            z: by_z,
            change: by_change.map(Rate),
            volatility: volatility.filter(|_| is_high).map(Real),
            reversed: None,
        },
        begins: by_z.is_some() || by_change.is_some(),
        calm: magnitude < settings.clear_z,
        deviates: z_24h.is_some_and(|z| z.0.abs() > settings.deviation_z),
        near: z_24h.is_none_or(|z| z.0.abs() < settings.clear_z),
        side: if s.rate.abs() > settings.reversal_min.0 { s.rate.signum() as i8 } else { 0 },
    }
}

/// Whether it is anomalous, deviates, and to which side it has reversed and for how long it has been there, after the last sample.
fn state(samples: &[(Sample, Judged)], settings: &Settings) -> (bool, bool, i8, i64) {
    let (last, _) = samples.last().unwrap();
    let start = (last.to - 1).div_euclid(DAY) * DAY - 7 * DAY;
    let since: Vec<&(Sample, Judged)> = samples.iter().filter(|(s, _)| s.to > start).collect();
    let (mut anomaly, mut deviation) = (false, false);
    let (mut side, mut standing, mut held) = (0, 0, 0);
    for (i, (sample, judged)) in since.iter().enumerate() {
        anomaly = judged.begins || (anomaly && !judged.calm);
        deviation = judged.deviates || (deviation && !judged.near);
        // Back to where its side began, without a break.
        let mut from = sample.from;
        for pair in since[..=i].windows(2).rev() {
            if pair[0].1.side != judged.side || pair[1].0.from - pair[0].0.to > 15 {
                break;
            }
            from = pair[0].0.from;
        }
        held = sample.to - from;
        if judged.side != standing {
            standing = 0;
        }
        if side == 0 {
            side = judged.side;
        } else if judged.side == -side && held >= settings.reversal_minutes {
            side = judged.side;
            standing = side;
        }
    }
    (anomaly, deviation, standing, held)
}

fn episodes(
    id: InstrumentId,
    samples: &[(Sample, Judged)],
    kinds: &[AnomalyKind],
    end: Option<i64>,
    settings: &Settings,
) -> Vec<FundingAnomaly> {
    let states: Vec<(bool, bool, i8, i64)> = (1..=samples.len()).map(|n| state(&samples[..n], settings)).collect();
    let mut rows = Vec::new();
    for &kind in kinds {
        let mark = |i: usize| match kind {
            AnomalyKind::Anomaly | AnomalyKind::Spread => i8::from(states[i].0),
            AnomalyKind::Deviation => i8::from(states[i].1),
            AnomalyKind::Reversal => states[i].2,
        };
        for i in (0..samples.len()).filter(|&i| mark(i) != 0 && (i == 0 || mark(i - 1) != mark(i))) {
            let (sample, judged) = &samples[i];
            let ended_at = (i + 1..samples.len()).find(|&j| mark(j) != mark(i)).map(|j| samples[j].0.ts).or(end);
            let (z, score, reasons) = match kind {
                AnomalyKind::Deviation => {
                    let z = judged.scores.z_24h;
                    (z, z.unwrap().0.abs(), Reasons { z, change: None, ..judged.reasons })
                }
                AnomalyKind::Reversal => {
                    let reversed = Some((states[i].2, states[i].3));
                    (judged.scores.z_30d, judged.score, Reasons { reversed, ..judged.reasons })
                }
                AnomalyKind::Anomaly | AnomalyKind::Spread => (judged.scores.z_30d, judged.score, judged.reasons),
            };
            let rate_8h = Rate(sample.rate);
            rows.push(FundingAnomaly {
                instrument: id,
                onset: sample.ts,
                kind,
                ended_at,
                rate_8h,
                z,
                score: Real(score),
                reasons,
            });
        }
    }
    rows
}

/// Minutes with their rates per 8 h, judged.
fn judge_minutes(rates: &BTreeMap<i64, i64>, settings: &Settings) -> Vec<(Sample, Judged)> {
    let within = |from: i64, to: i64| rates.range(from..to).map(|(_, &rate)| rate).collect::<Vec<i64>>();
    let hour_ends: BTreeSet<i64> = rates.keys().flat_map(|m| (1..=24).map(move |h| m.div_euclid(60) + h)).collect();
    let volatility: BTreeMap<i64, f64> = hour_ends
        .into_iter()
        .filter_map(|end| Some((end, deviation(&within((end - 24) * 60, end * 60), settings.minutes_min)?)))
        .collect();
    let mut means: BTreeMap<i64, i64> = BTreeMap::new();
    for hour in rates.keys().map(|m| m.div_euclid(60)) {
        means.entry(hour).or_insert_with(|| {
            let inside = within(hour * 60, hour * 60 + 60);
            let (sum, n) = (inside.iter().map(|&r| i128::from(r)).sum::<i128>(), inside.len() as i128);
            let rounded = if 2 * (sum % n).abs() >= n { sum / n + sum.signum() } else { sum / n };
            i64::try_from(rounded).unwrap()
        });
    }
    let judged = rates.iter().map(|(&minute, &rate)| {
        let hour = minute.div_euclid(60);
        let sample = Sample {
            ts: (minute + 1) * MINUTE_MS,
            from: minute,
            to: minute + 1,
            rate,
            day: within(minute - DAY, minute),
            day_min: settings.minutes_min,
            month: means.range(hour - 720..hour).map(|(_, &mean)| mean).collect(),
            month_min: settings.hours_min,
            volatilities: volatility.range(hour - 719..=hour).map(|(_, &v)| v).collect(),
            hour_ago: within(minute - 74, minute - 59).last().copied(),
        };
        let judged = judge(&sample, settings);
        (sample, judged)
    });
    judged.collect()
}

fn judge_settled(settled: &[RateSample], settings: &Settings) -> Vec<(Sample, Judged)> {
    let minute = |s: &RateSample| s.ts.div_euclid(MINUTE_MS);
    let rate = |s: &RateSample| per_8h(s.rate, s.interval_hours);
    let mut judged: Vec<(Sample, Judged)> = Vec::new();
    for (i, now) in settled.iter().enumerate() {
        let since =
            |minutes: i64| settled[..i].iter().filter(|s| minute(s) >= minute(now) - minutes).map(rate).collect::<Vec<i64>>();
        let sample = Sample {
            ts: now.ts,
            from: minute(now) - 60 * i64::from(now.interval_hours),
            to: minute(now),
            rate: rate(now),
            day: since(DAY),
            day_min: settings.settlements_min,
            month: since(30 * DAY),
            month_min: settings.settlements_min,
            volatilities: judged
                .iter()
                .filter(|(s, _)| s.to >= minute(now) - 30 * DAY)
                .filter_map(|(_, judged)| Some(judged.scores.volatility?.0))
                .collect(),
            hour_ago: settled[..i].iter().rfind(|s| (60..75).contains(&(minute(now) - minute(s)))).map(rate),
        };
        let verdict = judge(&sample, settings);
        judged.push((sample, verdict));
    }
    judged
}

fn paid(settled: &[RateSample], now: &RateSample, days: i64) -> Option<Rate> {
    let minute = |s: &RateSample| s.ts.div_euclid(MINUTE_MS);
    let inside: Vec<&RateSample> = settled.iter().filter(|s| s.ts <= now.ts && minute(s) > minute(now) - days * DAY).collect();
    let hours: f64 = inside.iter().map(|s| f64::from(s.interval_hours)).sum();
    (hours >= 0.95 * 24.0 * days as f64).then(|| Rate(inside.iter().map(|s| s.rate.0).sum()))
}

/// The rows of `funding` and of `funding_anomalies`.
pub fn funding(events: &Events<'_>) -> (Vec<FundingRow>, Vec<FundingAnomaly>) {
    const KINDS: [AnomalyKind; 3] = [AnomalyKind::Anomaly, AnomalyKind::Reversal, AnomalyKind::Deviation];
    let settings = &events.config.funding;
    let (mut rows, mut anomalies) = (Vec::new(), Vec::new());
    let samples = super::quotes::rates(events);
    for samples in samples.chunk_by(|a, b| a.instrument == b.instrument) {
        let id = samples[0].instrument;
        let (predicted, settled): (Vec<RateSample>, Vec<RateSample>) =
            samples.iter().partition(|s| s.kind == FundingKind::Predicted);
        let row = |s: &RateSample, scores: Scores, paid: Paid| {
            let RateSample { instrument, kind, ts, rate, interval_hours } = *s;
            FundingRow { instrument, kind, ts, rate, interval_hours, scores, paid }
        };
        let minutes = predicted.iter().map(|s| (s.ts.div_euclid(MINUTE_MS), per_8h(s.rate, s.interval_hours))).collect();
        let judged = judge_minutes(&minutes, settings);
        rows.extend(predicted.iter().zip(&judged).map(|(s, (_, judged))| row(s, judged.scores, Paid::default())));
        anomalies.extend(episodes(id, &judged, &KINDS, None, settings));

        let judged = judge_settled(&settled, settings);
        for (s, (_, judged)) in settled.iter().zip(&judged) {
            let [day, week, month] = [1, 7, 30].map(|days| paid(&settled, s, days));
            rows.push(row(s, judged.scores, Paid { day, week, month }));
        }
        let first = predicted.first().map(|s| s.ts);
        let alone = judged.iter().take_while(|(s, _)| first.is_none_or(|first| s.ts < first)).count();
        anomalies.extend(episodes(id, &judged[..alone], &KINDS, first, settings));
    }
    let (spreads, of_spreads) = spreads(events);
    drop(spreads);
    anomalies.extend(of_spreads);
    rows.sort();
    anomalies.sort();
    (rows, anomalies)
}

/// The rows of `funding_spreads`, and their episodes.
pub fn spreads(events: &Events<'_>) -> (Vec<FundingSpread>, Vec<FundingAnomaly>) {
    let symbol = |id: InstrumentId| {
        let instrument = events.instruments.get(id).unwrap();
        (InstrumentId::of(Venue::Any, &instrument.symbol), instrument.venue)
    };
    let mut rates: BTreeMap<InstrumentId, BTreeMap<Venue, BTreeMap<i64, i64>>> = BTreeMap::new();
    for s in super::quotes::rates(events).iter().filter(|s| s.kind == FundingKind::Predicted) {
        let (symbol, venue) = symbol(s.instrument);
        let minutes = rates.entry(symbol).or_default().entry(venue).or_default();
        minutes.insert(s.ts / MINUTE_MS, per_8h(s.rate, s.interval_hours));
    }
    let mut bases: BTreeMap<(InstrumentId, Venue), BTreeMap<i64, f64>> = BTreeMap::new();
    for s in super::quotes::interest(events) {
        bases.entry(symbol(s.instrument)).or_default().insert(s.ts / MINUTE_MS, s.base.to_f64());
    }
    let (mut rows, mut anomalies) = (Vec::new(), Vec::new());
    for (id, venues) in rates {
        let heard: BTreeSet<i64> = venues.values().flat_map(|minutes| minutes.keys().copied()).collect();
        let mut of_symbol = Vec::new();
        for &minute in heard.iter().filter(|minute| *minute < heard.last().unwrap()) {
            let known = |minutes: &BTreeMap<i64, i64>| minutes.range(minute - 14..=minute).next_back().map(|(_, &rate)| rate);
            let known: Vec<(Venue, i64)> = venues.iter().filter_map(|(&venue, minutes)| Some((venue, known(minutes)?))).collect();
            if known.len() < 2 {
                continue;
            }
            let highest = known.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap();
            let lowest = known.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap();
            let weighted: Vec<(f64, f64)> = known
                .iter()
                .filter_map(|(venue, rate)| {
                    let base = bases.get(&(id, *venue))?.range(minute - 14..=minute).next_back()?.1;
                    Some((*base, *rate as f64 * 1e-12))
                })
                .collect();
            let weights: f64 = weighted.iter().map(|(weight, _)| weight).sum();
            let weighted_mean =
                (weights > 0.0).then(|| Real(weighted.iter().map(|(weight, rate)| weight * rate).sum::<f64>() / weights));
            of_symbol.push(FundingSpread {
                instrument: id,
                ts: minute * MINUTE_MS,
                spread: Rate(highest.1 - lowest.1),
                highest: (highest.0, Rate(highest.1)),
                lowest: (lowest.0, Rate(lowest.1)),
                venues: known.len() as u8,
                weighted_mean,
                scores: Scores::default(),
            });
        }
        let minutes = of_symbol.iter().map(|row| (row.ts / MINUTE_MS, row.spread.0)).collect();
        let judged = judge_minutes(&minutes, &events.config.funding);
        of_symbol.iter_mut().zip(&judged).for_each(|(row, (_, judged))| row.scores = judged.scores);
        rows.extend(of_symbol);
        anomalies.extend(episodes(id, &judged, &[AnomalyKind::Spread], None, &events.config.funding));
    }
    rows.sort();
    (rows, anomalies)
}

fn near(a: Option<Real>, b: Option<Real>) -> bool {
    match (a, b) {
        (Some(Real(a)), Some(Real(b))) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 2e-9,
        (a, b) => a == b,
    }
}

fn near_scores(a: &Scores, b: &Scores) -> bool {
    let volatility = |s: &Scores| s.volatility.map(|v| Real(v.0 * 1e9));
    near(a.z_24h, b.z_24h) && near(a.z_30d, b.z_30d) && near(a.robust_z, b.robust_z) && near(volatility(a), volatility(b))
}

pub fn near_row(a: &FundingRow, b: &FundingRow) -> bool {
    let plain = |r: &FundingRow| FundingRow { scores: Scores::default(), ..*r };
    plain(a) == plain(b) && near_scores(&a.scores, &b.scores)
}

pub fn near_spread(a: &FundingSpread, b: &FundingSpread) -> bool {
    let plain = |r: &FundingSpread| FundingSpread { scores: Scores::default(), weighted_mean: None, ..*r };
    let mean = |r: &FundingSpread| r.weighted_mean.map(|m| Real(m.0 * 1e9));
    plain(a) == plain(b) && near_scores(&a.scores, &b.scores) && near(mean(a), mean(b))
}

pub fn near_anomaly(a: &FundingAnomaly, b: &FundingAnomaly) -> bool {
    let plain = |r: &FundingAnomaly| {
        let reasons = Reasons { z: None, volatility: None, ..r.reasons };
        FundingAnomaly { z: None, score: Real(0.0), reasons, ..*r }
    };
    let volatility = |r: &FundingAnomaly| r.reasons.volatility.map(|v| Real(v.0 * 1e9));
    plain(a) == plain(b)
        && near(a.z, b.z)
        && near(Some(a.score), Some(b.score))
        && near(a.reasons.z, b.reasons.z)
        && near(volatility(a), volatility(b))
}
