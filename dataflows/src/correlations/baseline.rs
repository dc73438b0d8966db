//! A pair's own history: Fisher's z, sampled once an hour, as sums per UTC day.
//!
//! z is counted in thousandths, so a day (at most 24 samples within ±4.952) packs into 8 bytes, exactly, and a sample can be taken out
//! again: 500 symbols × 33 days × two horizons are 66 MB. The baseline is that of complete days, so it changes at midnight only and
//! is worked out then. Sample deviation (n − 1); too few days with a sample: none.

use super::returns::fisher_z;

const THOUSANDTHS: f64 = 1_000.0;

/// Samples of one day: their number in the low five bits and their sum above them, and the sum of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct DaySum {
    packed: i32,
    squares: u32,
}

impl DaySum {
    fn count(&mut self, z: i32, sign: i32) {
        self.packed += sign * (z * 32 + 1);
        self.squares = self.squares.wrapping_add_signed(sign * (z * z));
    }

    fn samples(self) -> i64 {
        i64::from(self.packed & 31)
    }

    fn sum(self) -> i64 {
        i64::from(self.packed >> 5)
    }
}

/// Mean and deviation of z. NaN: none.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct History {
    pub mean: f64,
    pub sd: f64,
}

const NONE: History = History { mean: f64::NAN, sd: f64::NAN };

/// The histories of many pairs, numbered from 0.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Histories {
    days: i64,
    days_min: i64,
    /// By day, modulo their number: the day, and its sums. More days than a baseline has, so that the correction horizon's
    /// beginning still finds its own.
    ring: Vec<(i64, Vec<DaySum>)>,
    /// Of the day at hand.
    baselines: Vec<History>,
}

impl Histories {
    /// `days` complete days, of which `days_min` must have a sample; corrections reach `back` days.
    pub fn new(days: i64, days_min: i64, back: i64) -> Self {
        let slots = usize::try_from(days + back + 2).unwrap_or(2);
        Self { days, days_min, ring: vec![(i64::MIN, Vec::new()); slots], baselines: Vec::new() }
    }

    /// Counts r among the samples of `day`, or takes it out.
    pub fn sample(&mut self, day: i64, pair: usize, r: f64, sign: i32) {
        let slot = day.rem_euclid(self.ring.len() as i64) as usize;
        let (of, sums) = &mut self.ring[slot];
        if *of != day {
            *of = day;
            sums.clear();
        }
        if sums.len() <= pair {
            sums.resize(pair + 1, DaySum::default());
        }
        sums[pair].count((fisher_z(r) * THOUSANDTHS).round() as i32, sign);
    }

    /// It is `day`: the baselines are those of the complete days before it.
    pub fn turn_to(&mut self, day: i64) {
        let days: Vec<&[DaySum]> =
            self.ring.iter().filter(|(of, _)| (day - self.days..day).contains(of)).map(|(_, sums)| &sums[..]).collect();
        let pairs = days.iter().map(|sums| sums.len()).max().unwrap_or(0);
        self.baselines.clear();
        if (days.len() as i64) < self.days_min {
            return;
        }
        self.baselines.extend((0..pairs).map(|pair| {
            let there = days.iter().filter_map(|sums| sums.get(pair)).filter(|sum| sum.samples() > 0);
            let [with, n, sum, squares] = there.fold([0i64; 4], |[with, n, sum, squares], day| {
                [with + 1, n + day.samples(), sum + day.sum(), squares + i64::from(day.squares)]
            });
            if with < self.days_min || n < 2 {
                return NONE;
            }
            let mean = sum as f64 / n as f64 / THOUSANDTHS;
            let variance = (n * squares - sum * sum) as f64 / (n * (n - 1)) as f64;
            History { mean, sd: variance.sqrt() / THOUSANDTHS }
        }));
    }

    /// The pair's baseline on the day at hand.
    pub fn of(&self, pair: usize) -> Option<History> {
        self.baselines.get(pair).copied().filter(|history| !history.mean.is_nan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_packs_its_samples_and_gives_them_back() {
        let mut day = DaySum::default();
        let samples = [-4_952, 4_952, -1, 0, 17];
        for _ in 0..4 {
            samples.iter().for_each(|&z| day.count(z, 1));
        }
        assert_eq!((day.samples(), day.sum()), (20, 4 * 16));
        assert_eq!(u64::from(day.squares), 4 * (2 * 4_952 * 4_952 + 1 + 289));
        for _ in 0..4 {
            samples.iter().for_each(|&z| day.count(z, -1));
        }
        assert_eq!(day, DaySum::default());
    }

    #[test]
    fn a_baseline_is_of_complete_days_and_needs_enough_of_them() {
        let mut histories = Histories::new(3, 2, 1);
        for (day, r) in [(1, 0.1), (2, 0.5), (2, 0.6), (4, 0.7), (5, 0.9)] {
            histories.sample(day, 1, r, 1);
        }
        histories.turn_to(5);
        let z = [0.549, 0.693, 0.867]; // days 2 to 4, in thousandths
        let mean = z.iter().sum::<f64>() / 3.0;
        let sd = (z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        let Some(ours) = histories.of(1) else { panic!("no baseline") };
        assert!((ours.mean - mean).abs() < 1e-12 && (ours.sd - sd).abs() < 1e-12, "{ours:?}");
        assert!(histories.of(0).is_none(), "no sample");
        histories.turn_to(3);
        assert!(histories.of(1).is_some());
        histories.turn_to(2);
        assert!(histories.of(1).is_none(), "one day");
    }
}
