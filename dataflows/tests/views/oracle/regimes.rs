//! What hidden Markov models say of feature rows: log-space recursions written out, over all the bars that count, for each row anew.
//!
//! Diagonal Gaussian models only. It takes parameters as plain numbers ([`Spec`]), never the crate's own inference.

use std::collections::BTreeMap;

use dataflows::config::Config;
use dataflows::model::*;
use dataflows::models::Status;
use hmm::{Label, Vote};

/// A model in plain numbers.
#[derive(Clone, Debug)]
pub struct Spec {
    pub id: ModelId,
    /// Places in [`FEATURES`].
    pub columns: Vec<usize>,
    pub scaling: Vec<(f64, f64)>,
    pub transition: Vec<Vec<f64>>,
    pub means: Vec<Vec<f64>>,
    pub variances: Vec<Vec<f64>>,
    pub labels: Vec<Label>,
    pub trained_to: Option<i64>,
    /// Block, mean, deviation.
    pub drift: Option<(usize, f64, f64)>,
}

/// A release in plain words.
#[derive(Clone, Debug)]
pub struct Order {
    pub symbol: &'static str,
    pub timeframe: Timeframe,
    pub active_from: i64,
    pub status: Status,
    pub spec: Spec,
}

impl Order {
    fn from(&self) -> i64 {
        self.active_from.max(self.spec.trained_to.map_or(i64::MIN, |to| to + 1))
    }
}

pub struct Said {
    pub regimes: Vec<Regime>,
    pub candidates: Vec<CandidateRegime>,
    pub windows: Vec<WindowRegime>,
    pub confirmations: Vec<Confirmation>,
    pub drift: Vec<Drift>,
    pub episodes: Vec<RegimeEpisode>,
}

pub fn regimes(config: &Config, names: &Instruments, orders: &[Order], features: &[Features]) -> Said {
    let mut said = Said {
        regimes: Vec::new(),
        candidates: Vec::new(),
        windows: Vec::new(),
        confirmations: Vec::new(),
        drift: Vec::new(),
        episodes: Vec::new(),
    };
    let mut series: BTreeMap<(InstrumentId, Timeframe), Vec<&Features>> = BTreeMap::new();
    for row in features.iter().filter(|row| config.regimes.timeframes.contains(&row.timeframe)) {
        series.entry((row.instrument, row.timeframe)).or_default().push(row);
    }
    for ((instrument, timeframe), rows) in &mut series {
        rows.sort_by_key(|row| row.ts);
        let symbol = names.get(*instrument).unwrap().symbol.clone();
        let mut orders: Vec<&Order> = orders.iter().filter(|o| o.symbol == symbol && o.timeframe == *timeframe).collect();
        orders.sort_by_key(|order| (order.from(), order.status, order.spec.id.version));
        let mut cache: BTreeMap<(ModelId, i64), Vec<Option<Regime>>> = BTreeMap::new();
        for at in 0..rows.len() {
            let (active, candidate) = roles(&orders, rows[at].ts);
            let mut say = |spec: &Spec| infer(config, spec, rows, at, &mut cache);
            if let Some(spec) = active {
                said.regimes.extend(say(spec));
                if config.regimes.window_timeframes.contains(timeframe)
                    && said.regimes.last().is_some_and(|r| r.ts == rows[at].ts)
                {
                    said.windows.extend(window(config, spec, rows, at));
                }
            }
            said.candidates.extend(candidate.and_then(say).map(CandidateRegime));
        }
    }
    let specs: BTreeMap<ModelId, Spec> = orders.iter().map(|order| (order.spec.id.clone(), order.spec.clone())).collect();
    let points = confirmations(config, names, &specs, &said.regimes);
    said.drift = drift(config, &specs, &said.regimes, features);
    said.episodes = episodes(config, &said.regimes, &points, &said.drift);
    said.confirmations = points.into_iter().filter_map(|(_, _, row)| row).collect();
    said.regimes.sort();
    said.candidates.sort();
    said.windows.sort();
    said.confirmations.sort();
    said.drift.sort();
    said.episodes.sort();
    said
}

/// The active model and the newest candidate of a bar.
fn roles<'a>(orders: &[&'a Order], ts: i64) -> (Option<&'a Spec>, Option<&'a Spec>) {
    let mut active: Option<&Spec> = None;
    let mut candidates: Vec<&Spec> = Vec::new();
    for order in orders.iter().filter(|order| order.from() <= ts) {
        match order.status {
            Status::Active => active = Some(&order.spec),
            Status::Retired if active.is_some_and(|spec| spec.id == order.spec.id) => active = None,
            Status::Retired | Status::Candidate => {}
        }
        candidates.retain(|spec| spec.id != order.spec.id);
        if order.status == Status::Candidate {
            candidates.push(&order.spec);
        }
    }
    (active, candidates.last().copied())
}

fn infer(
    config: &Config,
    spec: &Spec,
    rows: &[&Features],
    at: usize,
    cache: &mut BTreeMap<(ModelId, i64), Vec<Option<Regime>>>,
) -> Option<Regime> {
    let timeframe = rows[at].timeframe;
    let anchor = if timeframe <= Timeframe::H1 { Timeframe::D1.open_of(rows[at].ts) } else { month_of(rows[at].ts) };
    let from = anchor - config.regimes.warm_up_bars as i64 * timeframe.ms();
    let stretch: Vec<&Features> = rows.iter().filter(|r| r.ts >= from && r.ts < anchor + 31 * DAY_MS).copied().collect();
    let rows_of_anchor = cache.entry((spec.id.clone(), anchor)).or_insert_with(|| chain(config, spec, &stretch));
    stretch.iter().position(|row| row.ts == rows[at].ts).and_then(|at| rows_of_anchor[at].clone())
}

fn read(spec: &Spec, row: &Features) -> Vec<Option<f64>> {
    let standard = |(&column, (mean, deviation)): (&usize, &(f64, f64))| row.values[column].map(|x| (x.0 - mean) / deviation);
    spec.columns.iter().zip(&spec.scaling).map(standard).collect()
}

/// log p(row | state), what is missing left out.
fn log_density(spec: &Spec, state: usize, row: &[Option<f64>]) -> f64 {
    let parts = row.iter().zip(&spec.means[state]).zip(&spec.variances[state]);
    let part = |((x, mean), variance): ((&Option<f64>, &f64), &f64)| {
        x.map_or(0.0, |x| -0.5 * ((x - mean).powi(2) / variance + (2.0 * std::f64::consts::PI * variance).ln()))
    };
    parts.map(part).sum()
}

fn log_sum(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

fn stationary(transition: &[Vec<f64>]) -> Vec<f64> {
    let k = transition.len();
    let mut p = vec![1.0 / k as f64; k];
    for _ in 0..20_000 {
        p = (0..k).map(|j| (0..k).map(|i| p[i] * transition[i][j]).sum()).collect();
    }
    p
}

/// Forward in logs: for each row log α (not normalised), and log p(row | before).
fn forward(spec: &Spec, rows: &[Vec<Option<f64>>]) -> Vec<Vec<f64>> {
    let k = spec.means.len();
    let mut alphas: Vec<Vec<f64>> = Vec::new();
    for row in rows {
        let prior: Vec<f64> = match alphas.last() {
            None => stationary(&spec.transition).iter().map(|p| p.ln()).collect(),
            Some(a) => (0..k).map(|j| log_sum(&(0..k).map(|i| a[i] + spec.transition[i][j].ln()).collect::<Vec<_>>())).collect(),
        };
        alphas.push((0..k).map(|s| prior[s] + log_density(spec, s, row)).collect());
    }
    alphas
}

fn normal(logs: &[f64]) -> Vec<f64> {
    let total = log_sum(logs);
    logs.iter().map(|l| (l - total).exp()).collect()
}

/// P(S_at | rows up to `to`).
fn smoothed(spec: &Spec, rows: &[Vec<Option<f64>>], alphas: &[Vec<f64>], at: usize, to: usize) -> Vec<f64> {
    let k = spec.means.len();
    let mut beta = vec![0.0; k];
    for t in (at + 1..=to).rev() {
        beta = (0..k)
            .map(|i| {
                log_sum(
                    &(0..k).map(|j| spec.transition[i][j].ln() + log_density(spec, j, &rows[t]) + beta[j]).collect::<Vec<_>>(),
                )
            })
            .collect();
    }
    normal(&(0..k).map(|i| alphas[at][i] + beta[i]).collect::<Vec<_>>())
}

/// The most probable path.
fn viterbi(spec: &Spec, rows: &[Vec<Option<f64>>]) -> Vec<usize> {
    let k = spec.means.len();
    let first = |values: &[f64]| (0..values.len()).fold(0, |top, i| if values[i] > values[top] { i } else { top });
    let mut scores: Vec<f64> =
        stationary(&spec.transition).iter().enumerate().map(|(s, p)| p.ln() + log_density(spec, s, &rows[0])).collect();
    let mut from: Vec<Vec<usize>> = Vec::new();
    for row in &rows[1..] {
        let to = |j: usize| (0..k).map(|i| scores[i] + spec.transition[i][j].ln()).collect::<Vec<f64>>();
        let best: Vec<usize> = (0..k).map(|j| first(&to(j))).collect();
        scores = (0..k).map(|j| to(j)[best[j]] + log_density(spec, j, row)).collect();
        from.push(best);
    }
    let mut path = vec![first(&scores)];
    for best in from.iter().rev() {
        path.push(best[*path.last().unwrap()]);
    }
    path.reverse();
    path
}

fn chain(config: &Config, spec: &Spec, stretch: &[&Features]) -> Vec<Option<Regime>> {
    let settings = &config.regimes;
    let read_rows: Vec<Vec<Option<f64>>> = stretch.iter().map(|row| read(spec, row)).collect();
    let can_read = |row: &Vec<Option<f64>>| row.iter().any(Option::is_some);
    let Some(begin) = read_rows.iter().position(can_read) else { return vec![None; stretch.len()] };
    let rows = &read_rows[begin..];
    let alphas = forward(spec, rows);
    let mut decided: Option<usize> = None;
    let mut said: Vec<Option<Regime>> = vec![None; begin];
    for (t, row) in rows.iter().enumerate() {
        if !can_read(row) {
            said.push(None);
            continue;
        }
        let p = normal(&alphas[t]);
        let top = (0..p.len()).fold(0, |top, s| if p[s] > p[top] { s } else { top });
        decided = p.iter().position(|p| *p >= settings.enter).or(decided);
        let of = decided.unwrap_or(top);
        let mut ahead = p.clone();
        let mut forecast = Vec::new();
        for _ in 0..settings.forecast_bars {
            ahead = (0..p.len()).map(|j| (0..p.len()).map(|i| ahead[i] * spec.transition[i][j]).sum()).collect();
            forecast.extend(ahead.iter().copied().map(Real));
        }
        let back = if t >= settings.lag { smoothed(spec, rows, &alphas, t - settings.lag, t) } else { Vec::new() };
        // A path's last state needs no walk back, so a short stretch is enough to find it only if it is the whole one.
        let last = *viterbi(spec, &rows[..=t]).last().unwrap();
        let before = if t == 0 { 0.0 } else { log_sum(&alphas[t - 1]) };
        let Features { instrument, timeframe, ts, .. } = *stretch[begin + t];
        said.push(Some(Regime {
            instrument,
            timeframe,
            ts,
            model: spec.id.clone(),
            state: decided.map(|s| s as u8),
            label: decided.and_then(|s| spec.labels.get(s).copied()),
            firm: decided.is_some_and(|s| p[s] >= settings.leave),
            probability: Real(p[of]),
            probabilities: p.iter().copied().map(Real).collect(),
            smoothed: back.into_iter().map(Real).collect(),
            viterbi_state: last as u8,
            viterbi_label: spec.labels.get(last).copied(),
            surprise: Real(before - log_sum(&alphas[t])),
            forecast: forecast.into(),
            expected_duration_bars: Some(Real(1.0 / (1.0 - spec.transition[of][of]))),
            entropy: Real(-p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()),
        }));
    }
    said
}

fn window(config: &Config, spec: &Spec, rows: &[&Features], at: usize) -> Option<WindowRegime> {
    let bars = config.regimes.window_bars;
    let inside: Vec<Vec<Option<f64>>> = rows[(at + 1).checked_sub(bars)?..=at].iter().map(|row| read(spec, row)).collect();
    let unread = inside.iter().filter(|row| row.iter().all(Option::is_none)).count();
    if unread as f64 > 0.2 * bars as f64 {
        return None;
    }
    let alphas = forward(spec, &inside);
    let p = normal(&alphas[bars - 1]);
    let state = (0..p.len()).fold(0, |top, s| if p[s] > p[top] { s } else { top });
    let path = viterbi(spec, &inside);
    let share = |s: usize| Real(path.iter().filter(|&&on| on == s).count() as f64 / bars as f64);
    Some(WindowRegime {
        instrument: rows[at].instrument,
        timeframe: rows[at].timeframe,
        ts: rows[at].ts,
        model: spec.id.clone(),
        window_bars: bars as u32,
        state: state as u8,
        label: spec.labels.get(state).copied(),
        probabilities: p.iter().copied().map(Real).collect(),
        share: (0..p.len()).map(share).collect(),
        labels: spec.labels.clone().into(),
        switches: path.windows(2).filter(|pair| pair[0] != pair[1]).count() as u32,
        log_likelihood_per_bar: Real(log_sum(&alphas[bars - 1]) / bars as f64),
    })
}

/// By the end of the bar.
type Votes = BTreeMap<(i64, Venue, Timeframe), (Vote, [f64; 3])>;

/// Every point of every symbol, with its row where there is one.
type Point = (InstrumentId, i64, Option<Confirmation>);

fn confirmations(config: &Config, names: &Instruments, specs: &BTreeMap<ModelId, Spec>, regimes: &[Regime]) -> Vec<Point> {
    let settings = &config.regimes.confirmation;
    let mut votes: BTreeMap<&str, Votes> = BTreeMap::new();
    let instruments: BTreeMap<InstrumentId, _> =
        regimes.iter().map(|r| (r.instrument, names.get(r.instrument).unwrap())).collect();
    for row in regimes.iter().filter(|row| settings.weight(row.timeframe).is_some()) {
        let Some(vote) = row.label.and_then(Label::vote) else { continue };
        let labels = &specs[&row.model].labels;
        let class =
            |class: Vote| (0..labels.len()).filter(|&s| labels[s].vote() == Some(class)).map(|s| row.probabilities[s].0).sum();
        let key = (row.ts + row.timeframe.ms(), instruments[&row.instrument].venue, row.timeframe);
        let of_symbol = votes.entry(&instruments[&row.instrument].symbol).or_default();
        of_symbol.insert(key, (vote, [class(Vote::Bear), class(Vote::Chop), class(Vote::Bull)]));
    }
    let mut points = Vec::new();
    for (symbol, votes) in votes {
        let instrument = names.across(symbol).unwrap();
        let mut ends: Vec<i64> = votes.keys().map(|key| key.0).collect();
        ends.dedup();
        let counts: Vec<Option<Confirmation>> = ends.iter().map(|&ts| count(config, instrument, &votes, ts)).collect();
        for (at, &ts) in ends.iter().enumerate() {
            // The hysteresis of this point, from its anchor's warm-up on.
            let fastest = settings.weights.iter().map(|(timeframe, _)| *timeframe).min().unwrap();
            assert!(fastest <= Timeframe::H1);
            let from = Timeframe::D1.open_of(ts) - config.regimes.warm_up_bars as i64 * fastest.ms();
            let (mut confirmed, mut run, mut leader) = (false, 0, None);
            for count in counts[..=at].iter().zip(&ends).filter(|(_, end)| **end >= from).map(|(count, _)| count) {
                let primary = count.as_ref().map(|count| count.primary);
                if primary != leader || primary.is_none() {
                    (confirmed, run, leader) = (false, 0, primary);
                }
                let Some(count) = count else { continue };
                run = if count.confidence.0 >= settings.enter { run + 1 } else { 0 };
                confirmed = if confirmed { count.confidence.0 >= settings.leave } else { run >= settings.hold_bars };
            }
            points.push((instrument, ts, counts[at].clone().map(|count| Confirmation { confirmed, ..count })));
        }
    }
    points
}

fn count(config: &Config, instrument: InstrumentId, votes: &Votes, ts: i64) -> Option<Confirmation> {
    let settings = &config.regimes.confirmation;
    let of_venue = |venue: Venue| -> Vec<(Timeframe, f64, Vote, [f64; 3])> {
        let vote = |&(timeframe, weight): &(Timeframe, f64)| {
            let end = ts.div_euclid(timeframe.ms()) * timeframe.ms();
            votes.get(&(end, venue, timeframe)).map(|(vote, p)| (timeframe, weight, *vote, *p))
        };
        settings.weights.iter().filter_map(vote).collect()
    };
    let present = Venue::ALL.into_iter().map(of_venue).find(|votes| votes.len() >= settings.present_min)?;
    let total: f64 = present.iter().map(|vote| vote.1).sum();
    let weight = |class: Vote| present.iter().filter(|vote| vote.2 == class).map(|vote| vote.1).sum::<f64>();
    let (bear, chop, bull) = (weight(Vote::Bear), weight(Vote::Chop), weight(Vote::Bull));
    let primary = match () {
        () if bear > chop && bear > bull => Vote::Bear,
        () if bull > chop && bull > bear => Vote::Bull,
        () => Vote::Chop,
    };
    let pooled: Vec<f64> =
        (0..3).map(|c| present.iter().map(|vote| vote.3[c].max(1e-3).powf(vote.1 / total)).product()).collect();
    Some(Confirmation {
        instrument,
        ts,
        primary,
        confidence: Real(weight(primary) / total),
        confirmed: false,
        agreeing: present.iter().filter(|vote| vote.2 == primary).map(|vote| vote.0).collect(),
        present: present.iter().map(|vote| vote.0).collect(),
        product_posterior: [0, 1, 2].map(|c| Real(pooled[c] / pooled.iter().sum::<f64>())),
    })
}

fn drift(config: &Config, specs: &BTreeMap<ModelId, Spec>, regimes: &[Regime], features: &[Features]) -> Vec<Drift> {
    let mut rows = Vec::new();
    let features: BTreeMap<_, _> = features.iter().map(|row| ((row.instrument, row.timeframe, row.ts), row)).collect();
    for regimes in regimes.chunk_by(|a, b| (a.instrument, a.timeframe) == (b.instrument, b.timeframe)) {
        for (at, row) in regimes.iter().enumerate() {
            let Some((block, mean, deviation)) = specs[&row.model].drift else { continue };
            let z = |at: usize| -> Option<f64> {
                let last = &regimes[(at + 1).checked_sub(block)?..=at];
                let of_model = last.iter().all(|other| other.model == row.model);
                of_model.then(|| (last.iter().map(|other| other.surprise.0).sum::<f64>() / block as f64 - mean) / deviation)
            };
            let Some(surprise_z) = z(at) else { continue };
            let drifting = (0..config.regimes.drift_bars).all(|back| {
                let z = at.checked_sub(back).and_then(z);
                z.is_some_and(|z| z / 6.0 > config.regimes.drift_score)
            });
            let Regime { instrument, timeframe, ts, .. } = *row;
            let drift_score = Real(surprise_z.max(0.0) / 6.0);
            let last = &regimes[at + 1 - block..=at];
            let read: Vec<_> =
                last.iter().map(|r| read(&specs[&r.model], features[&(r.instrument, r.timeframe, r.ts)])).collect();
            rows.push(Drift {
                instrument,
                timeframe,
                ts,
                model: row.model.clone(),
                surprise_z: Real(surprise_z),
                drift_score,
                symmetric_kl: symmetric_kl(&read),
                drifting,
            });
        }
    }
    rows
}

/// The integrals written out, between N(m, v) of each feature's values (to six decimals) and N(0, 1).
fn symmetric_kl(rows: &[Vec<Option<f64>>]) -> Option<Real> {
    let mut parts = Vec::new();
    for feature in 0..rows[0].len() {
        let values: Vec<f64> = rows.iter().filter_map(|row| row[feature]).map(|x| (x * 1e6).round() / 1e6).collect();
        let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), &x| (x.min(least), x.max(most)));
        if values.len() * 2 < rows.len() || least >= most {
            continue;
        }
        assert!(least > -100.0 && most < 100.0, "beyond what is clipped");
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let one_way = (variance + mean * mean - 1.0 - variance.ln()) / 2.0;
        let other_way = ((1.0 + mean * mean) / variance - 1.0 + variance.ln()) / 2.0;
        parts.push(one_way + other_way);
    }
    (!parts.is_empty()).then(|| Real(parts.iter().sum()))
}

fn episodes(config: &Config, regimes: &[Regime], points: &[Point], drift: &[Drift]) -> Vec<RegimeEpisode> {
    let mut found = Vec::new();
    for rows in regimes.chunk_by(|a, b| (a.instrument, a.timeframe) == (b.instrument, b.timeframe)) {
        let (instrument, timeframe) = (rows[0].instrument, rows[0].timeframe);
        let end = |row: &Regime| row.ts + timeframe.ms();
        let decided: Vec<&Regime> = rows.iter().filter(|row| row.label.is_some()).collect();
        let changes: Vec<usize> = (1..decided.len()).filter(|&at| decided[at].label != decided[at - 1].label).collect();
        if config.regimes.change_timeframes.contains(&timeframe) {
            found.extend(changes.iter().enumerate().map(|(n, &at)| RegimeEpisode {
                kind: EpisodeKind::Change,
                instrument,
                timeframe: Some(timeframe),
                onset: end(decided[at]),
                ended_at: changes.get(n + 1).map(|&next| end(decided[next])),
                from: decided[at - 1].label,
                to: decided[at].label,
                model: Some(decided[at].model.clone()),
                strength: decided[at].probability,
            }));
        }
        let row_of =
            |row: &Regime| drift.iter().find(|d| (d.instrument, d.timeframe, d.ts) == (row.instrument, row.timeframe, row.ts));
        let drifting: Vec<Option<&Drift>> = rows.iter().map(|row| row_of(row).filter(|d| d.drifting)).collect();
        for at in (0..rows.len()).filter(|&at| drifting[at].is_some() && (at == 0 || drifting[at - 1].is_none())) {
            found.push(RegimeEpisode {
                kind: EpisodeKind::Drift,
                instrument,
                timeframe: Some(timeframe),
                onset: end(&rows[at]),
                ended_at: (at..rows.len()).find(|&later| drifting[later].is_none()).map(|later| end(&rows[later])),
                from: None,
                to: None,
                model: Some(rows[at].model.clone()),
                strength: drifting[at].unwrap().drift_score,
            });
        }
    }
    for points in points.chunk_by(|a, b| a.0 == b.0) {
        let leader = |at: usize| points[at].2.as_ref().filter(|row| row.confirmed).map(|row| row.primary);
        for at in (0..points.len()).filter(|&at| leader(at).is_some() && (at == 0 || leader(at - 1) != leader(at))) {
            let label = |vote: Vote| [Label::Bear, Label::Chop, Label::Bull].into_iter().find(|label| label.vote() == Some(vote));
            found.push(RegimeEpisode {
                kind: EpisodeKind::Confirmed,
                instrument: points[at].0,
                timeframe: None,
                onset: points[at].1,
                ended_at: (at..points.len()).find(|&later| leader(later) != leader(at)).map(|later| points[later].1),
                from: at.checked_sub(1).and_then(leader).and_then(label),
                to: leader(at).and_then(label),
                model: None,
                strength: points[at].2.as_ref().unwrap().confidence,
            });
        }
    }
    found
}
