//! Hourly fits, with every pair of events looked at in every step.
//!
//! A step: with the intensity expected at each event given the seconds before its own, background and each earlier second's
//! events have their shares in it; what is left over was begotten inside the second. The ratios of the sums of these are the next
//! parameters.

use dataflows::model::*;

use super::Events;

#[derive(Clone)]
struct Model {
    mu: [f64; 24],
    n: f64,
    beta: f64,
}

/// Seconds since the window's beginning.
struct Window24 {
    times: Vec<f64>,
}

const T: f64 = 86_400.0;

impl Window24 {
    fn step(&self, m: &Model) -> (Model, f64) {
        let alpha = m.n * m.beta;
        let kappa = m.beta - alpha;
        let (mut background, mut begotten, mut before, mut lags, mut parents) = ([0.0; 24], 0.0, 0.0, 0.0, 0.0);
        let mut likelihood = 0.0;
        for &t in &self.times {
            let second = t.floor();
            let hour = (second / 3_600.0) as usize;
            let earlier: Vec<f64> = self.times.iter().copied().filter(|s| s.floor() < second).collect();
            let excited: f64 = earlier.iter().map(|s| alpha * (-m.beta * (second - s)).exp()).sum();
            let long_run = m.mu[hour] / (1.0 - m.n);
            let intensity = long_run + (m.mu[hour] + excited - long_run) * (-kappa * (t - second)).exp();
            likelihood += intensity.ln();
            background[hour] += m.mu[hour] / intensity;
            begotten += 1.0 - m.mu[hour] / intensity;
            for s in earlier {
                let share = alpha * (-m.beta * (t - s)).exp() / intensity;
                before += share;
                lags += share * (t - s.floor() - 1.0);
            }
            parents += 1.0 - (-m.beta * (T - t)).exp();
        }
        // Expected events: in each second, given those before.
        let kept = (1.0 - (-kappa).exp()) / kappa;
        let long_run: f64 = m.mu.iter().map(|mu| mu * 3_600.0 * (kept + (1.0 - kept) / (1.0 - m.n))).sum();
        let mut excited = 0.0;
        for s in &self.times {
            let first = s.floor() + 1.0;
            let seconds = T - first;
            let at_first = (-m.beta * (first - s)).exp();
            excited += alpha * at_first * (1.0 - (-m.beta * seconds).exp()) / (1.0 - (-m.beta).exp());
        }
        likelihood -= long_run + kept * excited;
        let mean = background.iter().sum::<f64>() / T;
        let next = Model {
            mu: background.map(|b| if mean > 0.0 { (b + 4.0) / (3_600.0 + 4.0 / mean) } else { 0.0 }),
            n: (begotten / parents).clamp(0.0, 0.99),
            beta: if before > 0.0 { (before / lags).clamp(1.0 / 60.0, 1.0) } else { m.beta },
        };
        (next, likelihood)
    }

    fn fit(&self) -> Model {
        let rate = self.times.len() as f64 / T;
        let mut best: Option<(Model, f64)> = None;
        for decay in [2.0, 8.0, 30.0] {
            let mut model = Model { mu: [rate / 2.0; 24], n: 0.5, beta: 1.0 / decay };
            let mut likelihood = 0.0;
            for _ in 0..10 {
                (model, likelihood) = self.step(&model);
            }
            if best.as_ref().is_none_or(|(_, other)| likelihood > other + 1e-6) {
                best = Some((model, likelihood));
            }
        }
        let mut model = best.unwrap().0;
        for _ in 10..300 {
            let next = self.step(&model).0;
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs();
            let mu = |m: &Model| m.mu.iter().sum::<f64>();
            let done = near(next.n, model.n) && near(next.beta, model.beta) && near(mu(&next), mu(&model));
            model = next;
            if done {
                break;
            }
        }
        model
    }
}

/// The row of the window that ends with the full hour, seconds since the epoch.
fn row(events: &Events<'_>, liquidations: &[Liquidation], side: PositionSide, hour: i64) -> Option<SelfExcitation> {
    let from = hour - 86_400 + 1;
    let inside = |e: &&Liquidation| e.position_side == side && (from..=hour).contains(&e.ts.div_euclid(1_000));
    let events_inside: Vec<&Liquidation> = liquidations.iter().filter(inside).collect();
    if hour > events.watermark(events_inside.first()?.instrument).div_euclid(1_000) - 1
        || events_inside.len() < events.config.cascades.self_excitation.events_min
    {
        return None;
    }
    let mut times: Vec<f64> = events_inside.iter().map(|e| (e.ts - from * 1_000) as f64 / 1_000.0).collect();
    times.sort_by(f64::total_cmp);
    let fit = Window24 { times }.fit();
    Some(SelfExcitation {
        instrument: events_inside[0].instrument,
        position_side: side,
        ts: hour * 1_000,
        mu: Real(fit.mu[0]),
        alpha: Real(fit.n * fit.beta),
        beta: Real(fit.beta),
        branching_ratio: Real(fit.n),
        events: events_inside.len() as u64,
        coverage: events_inside.iter().map(|e| e.coverage).max()?,
    })
}

pub fn rows(events: &Events<'_>) -> Vec<SelfExcitation> {
    let mut rows = Vec::new();
    for (_, liquidations) in events.liquidations() {
        let seconds = || liquidations.iter().map(|e| e.ts.div_euclid(1_000));
        let hours = seconds().min().unwrap().div_euclid(3_600)..=seconds().max().unwrap().div_euclid(3_600) + 25;
        for side in [PositionSide::Long, PositionSide::Short] {
            rows.extend(hours.clone().filter_map(|hour| row(events, &liquidations, side, hour * 3_600)));
        }
    }
    rows.sort();
    rows
}

/// The branching ratio in force at the onset, and whether the side fed itself.
pub fn at_onset(events: &Events<'_>, liquidations: &[Liquidation], side: PositionSide, onset: i64) -> Option<(Real, bool)> {
    let hour = (onset + 3_599).div_euclid(3_600) * 3_600 - 3_600; // the last full hour before the onset's second
    let fit = row(events, liquidations, side, hour)?;
    let recent = liquidations.iter().filter(|e| {
        let second = e.ts.div_euclid(1_000);
        e.position_side == side && second > onset - 900 && second <= onset
    });
    let age = |e: &Liquidation| ((onset + 1) * 1_000 - e.ts) as f64 / 1_000.0;
    let intensity = fit.mu.0 + recent.map(|e| fit.alpha.0 * (-fit.beta.0 * age(e)).exp()).sum::<f64>();
    let usual = fit.mu.0 / (1.0 - fit.branching_ratio.0);
    let feeds = fit.branching_ratio.0 >= events.config.cascades.self_excitation.feeding_ratio && intensity > 5.0 * usual;
    Some((fit.branching_ratio, feeds))
}
