//! Self-exciting events: a Hawkes process with an exponential kernel, fitted to the times of a day's events.
//!
//! λ(t) = μ(hour) + Σ α·exp(−β(t − tᵢ)) over the events before; the branching ratio n = α/β is the number of events that one begets
//! by itself. EM (Veen and Schoenberg 2008): who begot whom is a probability, and n, β, μ are ratios of what these add up to.
//! Sums over all pairs are recursions from second to second, so an iteration costs O(events).
//!
//! The order of events inside one second is the venue's batching, not the market's, so they don't explain one another: an event
//! is explained by the background and by the seconds before its own. But what is begotten inside the second is still there, and to
//! ignore it would read n too low (by 40 % of it at 1/β = 1 s). So the intensity is the expected one given the seconds before,
//! which has a closed form: E λ(u) = m + (λ₀ − m)·exp(−(β − α)·u), m = μ/(1 − n), u since the second's begin (Hawkes 1971). What
//! this explains beyond the background and the earlier seconds are the second's own children. They count for n; β comes from
//! the others alone, measured from the end of the parent's second, which loses nothing because the kernel has no memory.
//!
//! A background of one hour rests on a few dozen events, and one of none would make everything self-feeding, so it is drawn to
//! the day's mean with the weight of four events; the sum over the day stays what it was. Expects times in order.

const HOUR_SECS: f64 = 3_600.0;
const SECOND_MS: i64 = 1_000;
/// Bounds of 1/β, seconds.
const DECAY_SECS: (f64, f64) = (1.0, 60.0);
/// Beyond it nothing has an expectation.
const BRANCHING_MAX: f64 = 0.99;
/// Where the search begins: 1/β in seconds, with half of all events begotten. The best after a few steps is followed.
const STARTS: [f64; 3] = [2.0, 8.0, 30.0];
const TRIAL_STEPS: usize = 10;
const STEPS_MAX: usize = 300;
/// Done when no parameter changes by more.
const TOLERANCE: f64 = 1e-5;
/// Events of the day's mean that an hour's background is drawn to it with.
const PRIOR_EVENTS: f64 = 4.0;
/// Of more events only the newest are looked at.
pub const EVENTS_MAX: usize = 20_000;

/// A fitted process. Rates are per second.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Fit {
    /// Background by hour from the beginning of the window.
    pub mu: Vec<f64>,
    /// α/β, at most 0.99.
    pub branching_ratio: f64,
    /// How fast excitation fades.
    pub beta: f64,
}

impl Fit {
    /// By how much an event raises the intensity.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.branching_ratio * self.beta
    }

    /// The intensity at `at` (UTC ms), where the background is `mu`, after the events at `times`.
    pub fn intensity(&self, mu: f64, at: i64, times: impl Iterator<Item = i64>) -> f64 {
        let seconds = |ms: i64| ms as f64 / SECOND_MS as f64;
        mu + self.alpha() * times.map(|time| (-self.beta * seconds(at - time)).exp()).sum::<f64>()
    }
}

/// Fits `times` (UTC ms, ascending) inside the whole seconds from `from` to before `to`. `None` without events.
#[must_use]
pub fn fit(times: &[i64], from: i64, to: i64) -> Option<Fit> {
    let sample = Sample::new(times, from, to)?;
    let tried = STARTS.map(|decay| {
        let mut model = sample.start(decay);
        let mut likelihood = f64::NEG_INFINITY;
        for _ in 0..TRIAL_STEPS {
            (model, likelihood) = sample.step(&model);
        }
        (model, likelihood)
    });
    // Of equals the first.
    let (mut model, _) = tried.into_iter().reduce(|best, other| if other.1 > best.1 + 1e-6 { other } else { best })?;
    for _ in TRIAL_STEPS..STEPS_MAX {
        let (next, _) = sample.step(&model);
        let is_done = next.is_near(&model);
        model = next;
        if is_done {
            break;
        }
    }
    Some(model)
}

impl Fit {
    fn is_near(&self, other: &Self) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * b.abs();
        near(self.branching_ratio, other.branching_ratio)
            && near(self.beta, other.beta)
            && near(self.mu.iter().sum(), other.mu.iter().sum())
    }
}

/// The events by second.
struct Sample {
    seconds: Vec<Second>,
    /// Inside their seconds.
    offsets: Vec<f64>,
    /// Seconds of the window in each hour.
    exposure: Vec<f64>,
    /// Seconds in the window.
    length: f64,
}

struct Second {
    /// Since the window's beginning.
    start: f64,
    hour: usize,
    /// One past its last event.
    until: usize,
}

/// What the seconds before leave at the beginning of a second.
#[derive(Clone, Copy, Default)]
struct Past {
    /// Σ exp(−β·age).
    excitation: f64,
    /// The same, each weighted by the time since the end of the event's second.
    weighted: f64,
}

/// What the probabilities add up to.
struct Totals {
    background: Vec<f64>,
    begotten: f64,
    /// Of those, by earlier seconds; and the time that they took.
    from_before: f64,
    lags: f64,
    /// Events, each as far as its children's time lies in the window.
    parents: f64,
    likelihood: f64,
}

impl Sample {
    fn new(times: &[i64], from: i64, to: i64) -> Option<Self> {
        let mut all = Self { seconds: Vec::new(), offsets: Vec::new(), exposure: Vec::new(), length: 0.0 };
        for &time in times.iter().filter(|time| (from..to).contains(time)) {
            let (second, offset) = ((time - from).div_euclid(SECOND_MS) as f64, (time - from).rem_euclid(SECOND_MS) as f64);
            all.offsets.push(offset / SECOND_MS as f64);
            let until = all.offsets.len();
            match all.seconds.last_mut() {
                Some(last) if last.start >= second => last.until = until,
                _ => all.seconds.push(Second { start: second, hour: (second / HOUR_SECS) as usize, until }),
            }
        }
        all.length = (to - from).div_euclid(SECOND_MS) as f64;
        let hours = (all.length / HOUR_SECS).ceil() as usize;
        all.exposure = (0..hours).map(|hour| (all.length - hour as f64 * HOUR_SECS).min(HOUR_SECS)).collect();
        (!all.offsets.is_empty()).then_some(all)
    }

    fn start(&self, decay: f64) -> Fit {
        let rate = self.offsets.len() as f64 / self.length;
        Fit { mu: vec![0.5 * rate; self.exposure.len()], branching_ratio: 0.5, beta: 1.0 / decay }
    }

    /// One step of EM, with the log-likelihood of where it started.
    fn step(&self, model: &Fit) -> (Fit, f64) {
        let totals = self.expect(model);
        let sum: f64 = totals.background.iter().sum();
        let mean = sum / self.length;
        let mu = |(events, exposure): (&f64, &f64)| {
            if mean > 0.0 { (events + PRIOR_EVENTS) / (exposure + PRIOR_EVENTS / mean) } else { 0.0 }
        };
        let beta = if totals.from_before > 0.0 { totals.from_before / totals.lags } else { model.beta };
        let next = Fit {
            mu: totals.background.iter().zip(&self.exposure).map(mu).collect(),
            branching_ratio: (totals.begotten / totals.parents).clamp(0.0, BRANCHING_MAX),
            beta: beta.clamp(1.0 / DECAY_SECS.1, 1.0 / DECAY_SECS.0),
        };
        (next, totals.likelihood)
    }

    /// Who begot whom, by `model`.
    fn expect(&self, model: &Fit) -> Totals {
        let (alpha, beta, n) = (model.alpha(), model.beta, model.branching_ratio);
        let net = beta - alpha; // above zero: n is below one
        let held = -(-net).exp_m1() / net; // what a second keeps of its first intensity, on average
        let fade = (-beta).exp();
        let mut totals = Totals {
            background: vec![0.0; model.mu.len()],
            begotten: 0.0,
            from_before: 0.0,
            lags: 0.0,
            parents: 0.0,
            likelihood: 0.0,
        };
        let (mut past, mut first, mut expected) = (Past::default(), 0, 0.0);
        for (at, second) in self.seconds.iter().enumerate() {
            let mu = model.mu[second.hour];
            let long_run = mu / (1.0 - n);
            let excited = alpha * past.excitation;
            let mut own = 0.0; // Σ exp(β·offset): the second's events as seen from its beginning
            for &offset in &self.offsets[first..second.until] {
                let grown = (beta * offset).exp();
                own += grown;
                let intensity = long_run + (mu + excited - long_run) * (-net * offset).exp();
                let before = alpha / (grown * intensity);
                totals.background[second.hour] += mu / intensity;
                totals.begotten += 1.0 - mu / intensity;
                totals.from_before += before * past.excitation;
                totals.lags += before * (past.weighted + offset * past.excitation);
                totals.likelihood += intensity.ln();
                totals.parents += 1.0 - (beta * (second.start + offset - self.length)).exp();
            }
            first = second.until;
            let next = self.seconds.get(at + 1).map_or(self.length, |next| next.start);
            let gap = next - second.start;
            let left = (-beta * gap).exp();
            // The intensity of the seconds up to the next one with events.
            expected += alpha * (past.excitation + own) * fade * (1.0 - left) / (1.0 - fade);
            past.weighted = left * (past.weighted + gap * past.excitation + (gap - 1.0) * own);
            past.excitation = left * (past.excitation + own);
        }
        let background: f64 = model.mu.iter().zip(&self.exposure).map(|(mu, exposure)| mu * exposure).sum();
        totals.likelihood -= held * expected + background * (held + (1.0 - held) / (1.0 - n));
        totals
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn exponential(random: &mut StdRng, rate: f64) -> f64 {
        -(1.0 - random.random::<f64>()).ln() / rate
    }

    /// A day of the process by Ogata's thinning (1981), with a background that is half as high in the first twelve hours.
    fn day(seed: u64, events: f64, n: f64, decay: f64) -> (Vec<i64>, f64) {
        let mut random = StdRng::seed_from_u64(seed);
        let (beta, mean) = (1.0 / decay, events * (1.0 - n) / 86_400.0);
        let mu = |t: f64| mean * if t < 43_200.0 { 2.0 / 3.0 } else { 4.0 / 3.0 };
        let (mut t, mut excited, mut times) = (0.0, 0.0, Vec::new());
        loop {
            let bound = mean * 4.0 / 3.0 + excited;
            let wait = exponential(&mut random, bound);
            t += wait;
            excited *= (-beta * wait).exp();
            if t >= 86_400.0 {
                return (times, mean);
            }
            if random.random::<f64>() * bound <= mu(t) + excited {
                times.push((t * 1e3) as i64);
                excited += n * beta;
            }
        }
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Median errors and mean biases of n, β and the mean μ over 20 days.
    fn check(n: f64, decay: f64, error_max: f64, bias_max: f64) {
        let days: Vec<(Vec<i64>, f64)> = (0..20).map(|seed| day(seed, 5_000.0, n, decay)).collect();
        let relative = |(times, mu): &(Vec<i64>, f64)| {
            let fit = fit(times, 0, DAY_MS).unwrap();
            [fit.branching_ratio / n - 1.0, fit.beta * decay - 1.0, fit.mu.iter().sum::<f64>() / 24.0 / mu - 1.0]
        };
        let errors: Vec<[f64; 3]> = days.iter().map(relative).collect();
        for (at, name) in ["n", "β", "μ"].into_iter().enumerate() {
            let error = median(errors.iter().map(|e| e[at].abs()).collect());
            let bias = errors.iter().map(|e| e[at]).sum::<f64>() / 20.0;
            println!("n {n}, 1/β {decay} s: {name} has a median error of {error:.3}, a bias of {bias:+.3}");
            assert!(error <= error_max && bias.abs() <= bias_max, "n {n}, 1/β {decay} s: {name} {error} {bias}");
        }
    }

    #[test]
    fn the_generators_parameters_are_found() {
        check(0.7, 10.0, 0.05, 0.03);
        check(0.5, 2.0, 0.05, 0.03);
        check(0.6, 1.3, 0.05, 0.03);
        check(0.85, 20.0, 0.05, 0.03);
        check(0.7, 40.0, 0.07, 0.07); // beyond 5 %: an hour's own background takes some of what lasts for minutes
        check(0.3, 5.0, 0.08, 0.04); // few are begotten, so little is known of how
    }

    #[test]
    fn a_feed_of_one_a_second_reads_low() {
        let ratios = (0..20).map(|seed| {
            let (mut times, _) = day(seed, 5_000.0, 0.7, 5.0);
            times.dedup_by_key(|time| time.div_euclid(SECOND_MS));
            fit(&times, 0, DAY_MS).unwrap().branching_ratio
        });
        let ratio = median(ratios.collect());
        assert!((0.5..0.68).contains(&ratio), "{ratio}");
    }

    #[test]
    fn events_that_beget_nothing_have_no_branching() {
        let ratios = (0..20).map(|seed| fit(&day(seed, 2_000.0, 0.0, 5.0).0, 0, DAY_MS).unwrap().branching_ratio);
        assert!(median(ratios.collect()) < 0.05);
    }

    #[test]
    fn whatever_the_times_the_fit_is_finite() {
        let check = |times: &[i64], to: i64| {
            let fit = fit(times, 0, to).unwrap();
            assert!(fit.mu.iter().all(|mu| mu.is_finite() && *mu >= 0.0), "{fit:?}");
            assert!((0.0..=BRANCHING_MAX).contains(&fit.branching_ratio) && (1.0 / 60.0..=1.0).contains(&fit.beta), "{fit:?}");
        };
        assert_eq!(fit(&[], 0, DAY_MS), None);
        assert_eq!(fit(&[DAY_MS], 0, DAY_MS), None, "outside");
        check(&[0], 1_000);
        check(&[0], DAY_MS);
        check(&[5_000; 300], DAY_MS);
        check(&[DAY_MS - 1; 300], DAY_MS);
        check(&(0..20_000).map(|i| i * 2).collect::<Vec<_>>(), DAY_MS);
        check(&(0..300).map(|i| i * 288_000).collect::<Vec<_>>(), DAY_MS);
    }
}
