//! Where recursions restart (ANALYTICS "Finite memory"): frames up to 1h at midnight UTC, slower ones at the first of the month.

use crate::model::{DAY_MS, Timeframe};

/// The last anchor at or before `ts`, UTC ms.
#[must_use]
pub fn anchor_of(timeframe: Timeframe, ts: i64) -> i64 {
    let day = ts.div_euclid(DAY_MS);
    if timeframe <= Timeframe::H1 { day * DAY_MS } else { (day - day_of_month(day)) * DAY_MS }
}

/// 0 for the first of a month. Counts in years of 400 that begin on the 1st of March, so that leap days come last.
fn day_of_month(day: i64) -> i64 {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        let lengths = |leap: bool| [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut day = 0; // 1970-01-01
        for year in 1970..2400 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for length in lengths(leap) {
                for of_month in [0, 1, length - 1] {
                    assert_eq!(day_of_month(day + of_month), of_month, "year {year}, day {day}");
                }
                day += length;
            }
        }
    }

    #[test]
    fn fast_frames_restart_each_day_and_slow_ones_each_month() {
        let ts = 1_760_218_200_000; // 2025-10-11 21:30
        assert_eq!(anchor_of(Timeframe::H1, ts), 1_760_140_800_000); // 2025-10-11
        assert_eq!(anchor_of(Timeframe::H4, ts), 1_759_276_800_000); // 2025-10-01
        assert_eq!(anchor_of(Timeframe::W1, 1_759_276_800_000), 1_759_276_800_000);
        assert_eq!(anchor_of(Timeframe::M1, 1_760_140_800_000 - 1), 1_760_140_800_000 - DAY_MS);
    }
}
