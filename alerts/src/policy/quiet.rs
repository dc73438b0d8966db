//! Quiet hours on the clock: whether an instant lies in them, and when they end.
//!
//! A stretch begins on a local day at `from` and ends at `to`. A time of day that a change of clocks leaves out is taken as
//! the instant of the change; one that comes twice begins a stretch the first time and ends one the second time, so that
//! nobody is woken in between. So a stretch over the change is an hour shorter or longer than its name says, and there is
//! exactly one of them, and one digest.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Weekday};
use chrono_tz::Tz;

use super::config::QuietHours;
use crate::event::Severity;

/// Quiet hours, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Quiet {
    pub name: String,
    zone: Tz,
    days: Vec<Weekday>,
    from: NaiveTime,
    to: NaiveTime,
    pub lets_through: Severity,
}

impl Quiet {
    /// `None`: the time zone is unknown.
    pub fn of(hours: &QuietHours) -> Option<Self> {
        let zone = hours.time_zone.parse().ok()?;
        let days = hours.days.iter().map(|day| Weekday::from(*day)).collect();
        Some(Self { name: hours.name.clone(), zone, days, from: hours.from, to: hours.to, lets_through: hours.lets_through })
    }

    /// When the stretch that `now` lies in ends; `None`: `now` is not quiet. Another stretch may begin there.
    pub fn end(&self, now: i64) -> Option<i64> {
        let today = DateTime::from_timestamp_millis(now)?.with_timezone(&self.zone).date_naive();
        // A stretch is at most 25 hours long (a day skipped by a zone apart), so it began today, or one or two days ago.
        (0..3)
            .filter_map(|ago| self.stretch(today.checked_sub_days(Days::new(ago))?))
            .find(|(a, b)| (*a..*b).contains(&now))
            .map(|s| s.1)
    }

    fn stretch(&self, day: NaiveDate) -> Option<(i64, i64)> {
        if !self.days.is_empty() && !self.days.contains(&chrono::Datelike::weekday(&day)) {
            return None;
        }
        let last = if self.to <= self.from { day.checked_add_days(Days::new(1))? } else { day };
        let (from, to) = (instants(self.zone, day.and_time(self.from)), instants(self.zone, last.and_time(self.to)));
        Some((from?.0, to?.1))
    }
}

/// The first and last instants, UTC ms, at which the clocks of a zone show a time.
fn instants(zone: Tz, local: NaiveDateTime) -> Option<(i64, i64)> {
    // No zone ever left out more than a day; every change of today's rules falls on a full minute.
    for minutes in 0..=25 * 60 {
        match zone.from_local_datetime(&local.checked_add_signed(TimeDelta::minutes(minutes))?) {
            LocalResult::Single(at) => return Some((at.timestamp_millis(), at.timestamp_millis())),
            LocalResult::Ambiguous(a, b) => return Some((a.timestamp_millis(), b.timestamp_millis())),
            LocalResult::None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The stretches of some days, found by asking every minute, in UTC.
    fn check(zone: &str, hours: (&str, &str), days: &str, span: (&str, &str), want: &[(&str, &str)]) {
        let toml = format!("name = 'n'\ntime_zone = '{zone}'\nfrom = '{}'\nto = '{}'\ndays = {days}", hours.0, hours.1);
        let quiet = Quiet::of(&toml::from_str(&toml).unwrap()).unwrap();
        let ms = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_millis();
        let text = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%d %H:%M").to_string();
        let mut found: Vec<(String, String)> = Vec::new();
        let mut was = None;
        for now in (ms(span.0)..ms(span.1)).step_by(60_000) {
            let end = quiet.end(now);
            if let Some(end) = end.filter(|_| was != end) {
                assert_ne!(quiet.end(now - 1), Some(end), "begins on a minute");
                assert_ne!(quiet.end(end), Some(end));
                assert_eq!(quiet.end(end - 1), Some(end));
                found.push((text(now), text(end)));
            }
            was = end;
        }
        let want: Vec<_> = want.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(found, want, "{zone} {hours:?}");
    }

    #[test]
    fn stretches_over_changes_of_clocks() {
        let spring = ("2026-03-28 12:00", "2026-03-30 12:00");
        let autumn = ("2026-10-24 12:00", "2026-10-26 12:00");
        // Spring: 01:00 UTC, 02:00 becomes 03:00. The night is an hour shorter.
        check(
            "Europe/Berlin",
            ("22:00", "07:00"),
            "[]",
            spring,
            &[("2026-03-28 21:00", "2026-03-29 05:00"), ("2026-03-29 20:00", "2026-03-30 05:00")],
        );
        // An end, a begin, both in the hour that there is not.
        check("Europe/Berlin", ("23:00", "02:30"), "['sat']", spring, &[("2026-03-28 22:00", "2026-03-29 01:00")]);
        check("Europe/Berlin", ("02:30", "04:00"), "['sun']", spring, &[("2026-03-29 01:00", "2026-03-29 02:00")]);
        check("Europe/Berlin", ("02:10", "02:50"), "['sun']", spring, &[]);
        // Autumn: 01:00 UTC, 03:00 becomes 02:00. The night is an hour longer.
        check("Europe/Berlin", ("22:00", "07:00"), "['sat']", autumn, &[("2026-10-24 20:00", "2026-10-25 06:00")]);
        // An end in the hour that comes twice is the second; a begin the first; both: from the first to the second.
        check("Europe/Berlin", ("23:00", "02:30"), "['sat']", autumn, &[("2026-10-24 21:00", "2026-10-25 01:30")]);
        check("Europe/Berlin", ("02:30", "04:00"), "['sun']", autumn, &[("2026-10-25 00:30", "2026-10-25 03:00")]);
        check("Europe/Berlin", ("02:10", "02:50"), "['sun']", autumn, &[("2026-10-25 00:10", "2026-10-25 01:50")]);
        // America changes on other days, at its own 02:00.
        check(
            "America/New_York",
            ("22:00", "06:00"),
            "['sat']",
            ("2026-03-07 12:00", "2026-03-09 12:00"),
            &[("2026-03-08 03:00", "2026-03-08 10:00")],
        );
        check(
            "America/New_York",
            ("22:00", "06:00"),
            "['sat']",
            ("2026-10-31 12:00", "2026-11-02 12:00"),
            &[("2026-11-01 02:00", "2026-11-01 11:00")],
        );
        // Half an hour, and at midnight: 00:00 does not exist that day in Beirut.
        check(
            "Australia/Lord_Howe",
            ("23:00", "02:15"),
            "['sat']",
            ("2026-10-03 06:00", "2026-10-04 06:00"),
            &[("2026-10-03 12:30", "2026-10-03 15:30")],
        );
        check(
            "Asia/Beirut",
            ("00:00", "06:00"),
            "['sun']",
            ("2026-03-28 12:00", "2026-03-30 12:00"),
            &[("2026-03-28 22:00", "2026-03-29 03:00")],
        );
    }

    #[test]
    fn days_are_those_of_the_begin() {
        let span = ("2026-06-05 00:00", "2026-06-09 00:00");
        check("UTC", ("22:00", "06:00"), "['fri']", span, &[("2026-06-05 22:00", "2026-06-06 06:00")]);
        let weekend = &[("2026-06-06 00:00", "2026-06-07 00:00"), ("2026-06-07 00:00", "2026-06-08 00:00")];
        check("UTC", ("00:00", "00:00"), "['sat', 'sun']", span, weekend);
        check("UTC", ("12:00", "13:00"), "['mon']", span, &[("2026-06-08 12:00", "2026-06-08 13:00")]);
    }

    #[test]
    fn a_zone_may_leave_out_a_whole_day() {
        check("Pacific/Apia", ("08:00", "09:00"), "['fri']", ("2011-12-29 00:00", "2012-01-01 00:00"), &[]);
    }
}
