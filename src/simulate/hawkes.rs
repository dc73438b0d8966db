//! Self-exciting liquidations: a Hawkes process with an exponential kernel, drawn exactly.
//!
//! λ(t) = μ + Σ α·exp(−β(t − t_i)), branching ratio n = α/β. μ is constant inside a second, and has two parts: the background
//! and a cascade's; every event inherits the part that begot it, so a cascade's own liquidations are known.
//! Instead of thinning, the time to the next event is where the integrated intensity reaches an exponential draw: a second
//! without an event costs a few multiplications and no random number (Brémaud & Massoulié 1996; Ogata 1981 for the kernel).

use super::chance::Chance;

/// Events of one second at most. Reached only by absurd settings; the rest of the second stays empty.
const EVENTS_PER_SECOND_MAX: usize = 2_000;

/// One side's process.
#[derive(Debug)]
pub(super) struct Hawkes {
    chance: Chance,
    branching: f64,
    beta: f64,
    /// exp(−β · 1 s)
    decay: f64,
    /// Excitation left by the background's and by the cascade's events.
    excited: [f64; 2],
    /// Integrated intensity still to come until the next event.
    due: f64,
}

impl Hawkes {
    /// `beta` per second.
    pub(super) fn new(mut chance: Chance, branching: f64, beta: f64) -> Self {
        let due = chance.exponential();
        Self { chance, branching, beta, decay: (-beta).exp(), excited: [0.0; 2], due }
    }

    /// One second with immigrants per second from the background and from a cascade. Calls `event` with the offset in the
    /// second and whether it is the cascade's.
    pub(super) fn second(&mut self, immigrants: [f64; 2], mut event: impl FnMut(f64, bool)) {
        let mu = immigrants[0] + immigrants[1];
        let mut at = 0.0;
        for _ in 0..EVENTS_PER_SECOND_MAX {
            let left = 1.0 - at;
            let fade = if at == 0.0 { self.decay } else { (-self.beta * left).exp() };
            let excited = self.excited[0] + self.excited[1];
            let hazard = mu * left + excited * (1.0 - fade) / self.beta;
            if hazard < self.due {
                self.due -= hazard;
                self.excited = self.excited.map(|e| e * fade);
                return;
            }
            let wait = self.wait(mu, excited, left);
            let fade = (-self.beta * wait).exp();
            self.excited = self.excited.map(|e| e * fade);
            at += wait;
            let cascade = immigrants[1] + self.excited[1];
            let of_cascade = self.chance.unit() * (mu + self.excited[0] + self.excited[1]) <= cascade;
            self.excited[usize::from(of_cascade)] += self.branching * self.beta;
            self.due = self.chance.exponential();
            event(at.min(1.0), of_cascade);
        }
    }

    /// Where the integrated intensity reaches what is due, by bisection.
    fn wait(&self, mu: f64, excited: f64, left: f64) -> f64 {
        let (mut low, mut high) = (0.0, left);
        for _ in 0..30 {
            let middle = 0.5 * (low + high);
            let hazard = mu * middle + excited * (1.0 - (-self.beta * middle).exp()) / self.beta;
            if hazard < self.due { low = middle } else { high = middle }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean rate μ/(1 − n), and the variance of counts in long windows is mean/(1 − n)² (Hawkes 1971).
    fn check(branching: f64, beta: f64) {
        let mut hawkes = Hawkes::new(Chance::new(7, "test", "hawkes"), branching, beta);
        let (windows, secs, mu) = (2_000, 1_000, 0.05);
        let counts: Vec<f64> = (0..windows)
            .map(|_| {
                let mut count = 0.0;
                (0..secs).for_each(|_| hawkes.second([mu, 0.0], |_, _| count += 1.0));
                count
            })
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        let expected = mu * f64::from(secs) / (1.0 - branching);
        assert!((mean / expected - 1.0).abs() < 0.05, "n {branching}: mean {mean}, expected {expected}");
        let dispersion = variance / mean * (1.0 - branching).powi(2);
        assert!((dispersion - 1.0).abs() < 0.2, "n {branching}: dispersion {dispersion} of what Hawkes 1971 says");
    }

    #[test]
    fn counts_have_the_mean_and_dispersion_of_a_hawkes_process() {
        check(0.0001, 1.0);
        check(0.5, 0.5);
        check(0.75, 0.2);
    }

    #[test]
    fn events_of_a_second_are_in_order_and_keep_their_origin() {
        let mut hawkes = Hawkes::new(Chance::new(7, "test", "hawkes"), 0.5, 1.0);
        let mut count = 0;
        for _ in 0..200 {
            let mut last = 0.0;
            hawkes.second([0.0, 20.0], |at, of_cascade| {
                assert!(of_cascade && at >= last && at <= 1.0);
                (last, count) = (at, count + 1);
            });
        }
        assert!((6_000..10_000).contains(&count), "{count}");
    }
}
