//! When a lag is told: after three checks in a row above the limit, until one below half of it.

/// In a row.
const CHECKS: u32 = 3;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// 0: never.
    limit_ms: u64,
    above: u32,
    /// Of the checks in a row: when the first one was.
    first_ms: i64,
    /// It fires since.
    since_ms: Option<i64>,
    worst_ms: u64,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it began, UTC ms.
    pub onset_ms: i64,
    /// It is over.
    pub is_over: bool,
    /// The longest lag meanwhile.
    pub worst_ms: u64,
}

impl Alarm {
    /// `since_ms`: an earlier run told of a lag that began then, and never of its end.
    #[must_use]
    pub const fn new(limit_ms: u64, since_ms: Option<i64>) -> Self {
        Self { limit_ms, above: 0, first_ms: 0, since_ms, worst_ms: 0 }
    }

    /// It fires since then.
    #[must_use]
    pub const fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// One check.
    pub fn check(&mut self, now_ms: i64, lag_ms: u64) -> Option<Change> {
        if let Some(onset_ms) = self.since_ms {
            self.worst_ms = self.worst_ms.max(lag_ms);
            // Turned off meanwhile: it is over, too.
            if self.limit_ms > 0 && lag_ms >= self.limit_ms / 2 {
                return None;
            }
            (self.since_ms, self.above) = (None, 0);
            return Some(Change { onset_ms, is_over: true, worst_ms: std::mem::take(&mut self.worst_ms) });
        }
        if self.limit_ms == 0 || lag_ms <= self.limit_ms {
            (self.above, self.worst_ms) = (0, 0);
            return None;
        }
        if self.above == 0 {
            self.first_ms = now_ms;
        }
        self.above += 1;
        self.worst_ms = self.worst_ms.max(lag_ms);
        (self.above >= CHECKS).then(|| {
            self.since_ms = Some(self.first_ms);
            Change { onset_ms: self.first_ms, is_over: false, worst_ms: self.worst_ms }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lags at 0, 2, 4, … s, and at which of them what is said.
    fn check(mut alarm: Alarm, lags: &[u64], want: &[(usize, i64, bool, u64)]) {
        let said = lags.iter().enumerate().filter_map(|(n, lag)| {
            let change = alarm.check(n as i64 * 2_000, *lag)?;
            Some((n, change.onset_ms, change.is_over, change.worst_ms))
        });
        assert_eq!(said.collect::<Vec<_>>(), want, "{lags:?}");
    }

    #[test]
    fn it_takes_three_in_a_row_and_less_than_half() {
        let alarm = Alarm::new(5_000, None);
        check(alarm, &[6_000, 6_000, 100, 6_000, 6_000], &[]);
        check(
            alarm,
            &[0, 6_000, 7_000, 8_000, 9_000, 4_000, 2_500, 2_499, 0],
            &[(3, 2_000, false, 8_000), (7, 2_000, true, 9_000)],
        );
        check(alarm, &[5_000, 5_000, 5_000, 5_000], &[]);
    }

    #[test]
    fn what_an_earlier_run_told_is_ended_by_this_one() {
        check(Alarm::new(5_000, Some(-70)), &[9_000, 10], &[(1, -70, true, 9_000)]);
        check(Alarm::new(0, Some(-70)), &[9_000, 9_000], &[(0, -70, true, 9_000)]);
    }

    #[test]
    fn nought_is_off() {
        check(Alarm::new(0, None), &[60_000; 5], &[]);
    }
}
