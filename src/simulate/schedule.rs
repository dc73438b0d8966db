//! What is planned ahead for a symbol: cascades and funding episodes, at random times drawn before the market opens.

use dataflows::model::PositionSide;

use super::Settings;
use super::chance::Chance;

/// The absolute notional of a 5m cascade, USD (ANALYTICS.md).
pub(super) const THRESHOLD_5M_USD: f64 = 250_000.0;
/// Seconds from one cascade's end to the next one's onset, at least, so that their 1h windows don't overlap.
const GAP_SECS: i64 = 75 * 60;
/// Seconds from the start to the first onset.
const QUIET_SECS: i64 = 15 * 60;
/// Seconds from the last end to the market's end.
pub(super) const TAIL_SECS: i64 = 10 * 60;
/// A funding episode's premium does not come nearer to the next than this, s.
const EPISODE_GAP_SECS: i64 = 4 * 3_600;

/// A planned cascade.
#[derive(Clone, Debug)]
pub(super) struct PlannedBurst {
    pub(super) side: PositionSide,
    pub(super) onset: i64,
    pub(super) secs: i64,
    pub(super) expected_usd: f64,
    pub(super) decoy: bool,
    pub(super) market_wide: bool,
    pub(super) log_move: f64,
    pub(super) interest_cut: f64,
}

impl PlannedBurst {
    fn draw(chance: &mut Chance, onset: i64, side: PositionSide, decoy: bool, market_wide: bool) -> Self {
        let multiple = if decoy { chance.log_between(0.2, 0.45) } else { chance.log_between(2.0, 20.0) };
        let direction = if side == PositionSide::Long { -1.0 } else { 1.0 };
        Self {
            side,
            onset,
            secs: chance.between(45.0, 210.0) as i64,
            expected_usd: multiple * THRESHOLD_5M_USD,
            decoy,
            market_wide,
            log_move: direction * 0.007 * multiple.sqrt() * chance.between(0.7, 1.3),
            interest_cut: (0.017 * multiple.sqrt() * chance.between(0.8, 1.2)).clamp(0.004, 0.09),
        }
    }

    /// The share of the whole that falls into second `now`: most at once, falling linearly to nothing.
    pub(super) fn share(&self, now: i64) -> f64 {
        let elapsed = now - self.onset;
        if !(0..self.secs).contains(&elapsed) {
            return 0.0;
        }
        let secs = self.secs as f64;
        2.0 / secs * (1.0 - (elapsed as f64 + 0.5) / secs)
    }

    pub(super) fn end(&self) -> i64 {
        self.onset + self.secs
    }
}

/// A planned stretch of extreme premium.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedEpisode {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) premium: f64,
}

/// Onset seconds and sides of the cascades that many symbols share.
pub(super) fn market_wide(settings: &Settings) -> Vec<(i64, PositionSide)> {
    let mut chance = Chance::new(settings.seed, "market", "bursts");
    times(&mut chance, settings, settings.bursts_per_day / 4.0)
        .into_iter()
        .map(|onset| (onset, if chance.unit() < 0.75 { PositionSide::Long } else { PositionSide::Short }))
        .collect()
}

/// A symbol's cascades in order of time: its share of the market-wide ones, and its own where there is room.
pub(super) fn bursts(settings: &Settings, base: &str, shared: &[(i64, PositionSide)]) -> Vec<PlannedBurst> {
    let mut chance = Chance::new(settings.seed, base, "bursts");
    let mut planned: Vec<PlannedBurst> = Vec::new();
    for &(onset, side) in shared {
        let onset = onset + chance.between(0.0, 30.0) as i64;
        let burst = PlannedBurst::draw(&mut chance, onset, side, false, true);
        if chance.unit() < 0.85 {
            insert(&mut planned, burst, settings);
        }
    }
    for onset in times(&mut chance, settings, settings.bursts_per_day) {
        let side = if chance.unit() < 0.6 { PositionSide::Long } else { PositionSide::Short };
        let decoy = chance.unit() < 0.25;
        insert(&mut planned, PlannedBurst::draw(&mut chance, onset, side, decoy, false), settings);
    }
    planned
}

/// A symbol's funding episodes in order of time.
pub(super) fn episodes(settings: &Settings, base: &str) -> Vec<PlannedEpisode> {
    let mut chance = Chance::new(settings.seed, base, "episodes");
    let mut planned: Vec<PlannedEpisode> = Vec::new();
    for from in times(&mut chance, settings, settings.episodes_per_day) {
        let to = from + (chance.between(3.0, 12.0) * 3_600.0) as i64;
        let sign = if chance.unit() < 0.7 { 1.0 } else { -1.0 };
        let episode = PlannedEpisode { from, to, premium: sign * chance.log_between(0.0015, 0.004) };
        if to <= settings.end_second() && planned.last().is_none_or(|last| from >= last.to + EPISODE_GAP_SECS) {
            planned.push(episode);
        }
    }
    planned
}

/// Seconds of a Poisson process.
fn times(chance: &mut Chance, settings: &Settings, per_day: f64) -> Vec<i64> {
    let mut times = Vec::new();
    if per_day <= 0.0 {
        return times;
    }
    let mut at = (settings.first_second() + QUIET_SECS) as f64;
    loop {
        at += chance.exponential() * 86_400.0 / per_day;
        if at >= settings.end_second() as f64 {
            return times;
        }
        times.push(at as i64);
    }
}

/// Keeps the plan in order of time and its cascades apart; what doesn't fit is dropped.
fn insert(planned: &mut Vec<PlannedBurst>, burst: PlannedBurst, settings: &Settings) {
    let at = planned.partition_point(|p| p.onset < burst.onset);
    let after = at == 0 || planned[at - 1].end() + GAP_SECS <= burst.onset;
    let before = planned.get(at).is_none_or(|next| burst.end() + GAP_SECS <= next.onset);
    if after && before && burst.end() + TAIL_SECS <= settings.end_second() {
        planned.insert(at, burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cascades_keep_apart_and_inside() {
        let settings = Settings { bursts_per_day: 20.0, ..Settings::default() };
        let planned = bursts(&settings, "BTC", &market_wide(&settings));
        assert!(planned.len() > 50 && planned.iter().any(|b| b.decoy) && planned.iter().any(|b| b.market_wide));
        assert!(planned.windows(2).all(|w| w[0].end() + GAP_SECS <= w[1].onset));
        for burst in &planned {
            let whole: f64 = (burst.onset - 5..burst.end() + 5).map(|now| burst.share(now)).sum();
            assert!((whole - 1.0).abs() < 1e-9);
            assert_eq!(burst.decoy, burst.expected_usd < THRESHOLD_5M_USD);
            assert!(burst.onset >= settings.first_second() && burst.end() + TAIL_SECS <= settings.end_second());
        }
    }
}
