//! What is asked for of a gap: arithmetic on the venue's time, without a clock.

use dataflows::model::MINUTE_MS;

use crate::feeds::live::gaps::Missed;
use crate::feeds::live::history::{Source, Span};

/// What the last frame before a gap told of may have been sent before other streams' frames of the same instant.
const BEFORE_MS: i64 = 2_000;
/// A kind is heard again with its first symbol; the last one's subscription stands some seconds later.
const AFTER_MS: i64 = 10_000;
/// A venue's own bar is asked for so long after its end, so that it is complete.
const CLOSED_MS: i64 = 5_000;
/// Settlements and samples are there so long after their time.
const POINT_MS: i64 = 60_000;
/// Longer gaps are filled minute by minute, not print by print.
pub(super) const PRINTS_MS_MAX: i64 = 15 * MINUTE_MS;

/// A gap in the venue's time. Where no frame told it, the gap lasted as long as by our clock, which the venue's is ahead of by `ahead_ms`.
pub(super) fn span(missed: &Missed, ahead_ms: i64) -> Span {
    let to_ms = missed.to.venue.unwrap_or(missed.to.ours.saturating_add(ahead_ms));
    let lasted = (missed.to.ours - missed.from.ours).max(0);
    let from_ms = missed.from.venue.filter(|from_ms| *from_ms <= to_ms).unwrap_or(to_ms - lasted);
    Span { from_ms, to_ms }
}

/// What is asked for of a source. `None`: a gap so short holds nothing of it.
pub(super) fn wanted(source: Source, gap: Span) -> Option<Span> {
    let Span { from_ms, to_ms } = Span { from_ms: gap.from_ms - BEFORE_MS, to_ms: gap.to_ms + AFTER_MS };
    match source {
        Source::Prints => Some(Span { from_ms, to_ms }),
        Source::Minutes => Some(Span { from_ms: floor(from_ms, MINUTE_MS), to_ms: floor(to_ms, MINUTE_MS) + MINUTE_MS - 1 }),
        Source::Settled | Source::Interest => {
            let (first, last) = (floor(gap.from_ms, step(source)) + step(source), floor(gap.to_ms, step(source)));
            // A settlement's time is some milliseconds late.
            (first <= last).then_some(Span { from_ms: first, to_ms: last + MINUTE_MS - 1 })
        }
    }
}

/// From when on, in the venue's time, `wanted` has its final answer.
pub(super) fn due_ms(source: Source, wanted: Span) -> i64 {
    wanted.to_ms
        + match source {
            Source::Prints => 1,
            Source::Minutes => 1 + CLOSED_MS,
            Source::Settled | Source::Interest => POINT_MS,
        }
}

/// From row to row. Prints have no such step.
pub(super) const fn step(source: Source) -> i64 {
    match source {
        Source::Prints | Source::Minutes => MINUTE_MS,
        Source::Settled => 60 * MINUTE_MS,
        Source::Interest => 5 * MINUTE_MS,
    }
}

/// Without what lies before `oldest_ms`, from a whole step on. `None`: nothing is left.
pub(super) fn clipped(source: Source, span: Span, oldest_ms: i64) -> Option<Span> {
    let step = step(source);
    let from_ms = if span.from_ms >= oldest_ms { span.from_ms } else { floor(oldest_ms + step - 1, step) };
    (from_ms <= span.to_ms).then_some(Span { from_ms, ..span })
}

/// Spans of at most `rows_max` steps.
pub(super) fn windows(source: Source, span: Span, rows_max: usize) -> impl Iterator<Item = Span> {
    let length = step(source).saturating_mul(i64::try_from(rows_max.max(1)).unwrap_or(i64::MAX));
    let next = move |window: &Span| {
        let from_ms = window.to_ms + 1;
        (from_ms <= span.to_ms).then_some(Span { from_ms, to_ms: span.to_ms.min(from_ms + length - 1) })
    };
    let first = Span { to_ms: span.to_ms.min(span.from_ms + length - 1), ..span };
    std::iter::successors(Some(first), next)
}

/// The openings of the minutes of a span.
pub(super) fn minutes(span: Span) -> impl Iterator<Item = i64> {
    (floor(span.from_ms, MINUTE_MS)..=span.to_ms).step_by(MINUTE_MS as usize)
}

/// Minutes that lie in the gap as a whole and hold none of these prints, from the first to the last such one: there the
/// venue must say itself that nothing was traded.
pub(super) fn quiet(gap: Span, prints: &std::collections::BTreeSet<i64>) -> Option<Span> {
    let from_ms = floor(gap.from_ms + MINUTE_MS - 1, MINUTE_MS);
    let whole = (from_ms..=gap.to_ms - MINUTE_MS + 1).step_by(MINUTE_MS as usize);
    let quiet: Vec<i64> = whole.filter(|minute| !prints.contains(minute)).collect();
    Some(Span { from_ms: *quiet.first()?, to_ms: quiet.last()? + MINUTE_MS - 1 })
}

/// The last multiple of `step` up to `ms`.
pub(super) const fn floor(ms: i64, step: i64) -> i64 {
    ms.div_euclid(step) * step
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::feeds::live::gaps::Moment;

    /// 2026-08-09 14:00:00 UTC.
    const T: i64 = 1_786_284_000_000;

    /// `14:03:20.5` as UTC ms.
    fn at(text: &str) -> i64 {
        let parts: Vec<f64> = text.split(':').map(|part| part.parse().unwrap()).collect();
        T + (((parts[0] - 14.0) * 3_600.0 + parts[1] * 60.0 + parts[2]) * 1_000.0).round() as i64
    }

    fn text(ms: i64) -> String {
        chrono::DateTime::from_timestamp_millis(ms).unwrap().format("%H:%M:%S%.3f").to_string()
    }

    fn of(from: &str, to: &str) -> Span {
        Span { from_ms: at(from), to_ms: at(to) }
    }

    /// What is asked for of a gap, and from when on.
    fn check(source: Source, from: &str, to: &str, want: &str) {
        let said = wanted(source, of(from, to)).map_or("nothing".to_owned(), |wanted| {
            format!("{} to {}, at {}", text(wanted.from_ms), text(wanted.to_ms), text(due_ms(source, wanted)))
        });
        assert_eq!(said, want);
    }

    #[test]
    fn prints_are_asked_for_with_some_overlap() {
        check(Source::Prints, "14:03:20", "14:03:25", "14:03:18.000 to 14:03:35.000, at 14:03:35.001");
    }

    #[test]
    fn minutes_are_those_that_the_gap_touches_once_they_are_over() {
        check(Source::Minutes, "14:03:20", "14:03:25", "14:03:00.000 to 14:03:59.999, at 14:04:05.000");
        check(Source::Minutes, "14:03:01", "14:05:49", "14:02:00.000 to 14:05:59.999, at 14:06:05.000");
        check(Source::Minutes, "14:03:20", "14:05:50", "14:03:00.000 to 14:06:59.999, at 14:07:05.000");
    }

    #[test]
    fn settlements_and_samples_are_asked_for_only_if_one_was_missed() {
        check(Source::Settled, "14:03:20", "14:59:59", "nothing");
        check(Source::Settled, "14:59:59", "15:00:03", "15:00:00.000 to 15:00:59.999, at 15:01:59.999");
        check(Source::Settled, "15:00:00", "15:00:03", "nothing");
        check(Source::Interest, "14:03:20", "14:04:59", "nothing");
        check(Source::Interest, "14:03:20", "14:11:00", "14:05:00.000 to 14:10:59.999, at 14:11:59.999");
    }

    #[test]
    fn the_venues_time_comes_first_and_ours_says_how_long() {
        let moment = |ours, venue| Moment { ours, venue };
        let check = |from, to, want: (i64, i64)| {
            // Our clock began at the market's `T`.
            let Span { from_ms, to_ms } = span(&Missed { symbols: Vec::new(), from, to }, T);
            assert_eq!((from_ms - T, to_ms - T), want);
        };
        check(moment(50, Some(T - 9_000)), moment(60, Some(T - 4_000)), (-9_000, -4_000));
        check(moment(1_000, None), moment(7_000, Some(T - 500)), (-6_500, -500));
        check(moment(1_000, None), moment(7_000, None), (1_000, 7_000));
        // A frame before the gap that is later than the one after it told nonsense; a clock of ours that was set back, too.
        check(moment(1_000, Some(T + 1)), moment(7_000, Some(T)), (-6_000, 0));
        check(moment(7_000, None), moment(1_000, Some(T)), (0, 0));
    }

    #[test]
    fn what_is_beyond_reach_is_cut_off() {
        let gap = of("14:00:00", "14:09:59.999");
        let cut = |oldest: &str| clipped(Source::Minutes, gap, at(oldest)).map(|span| text(span.from_ms));
        assert_eq!(cut("13:00:00").unwrap(), "14:00:00.000");
        assert_eq!(cut("14:03:00").unwrap(), "14:03:00.000");
        assert_eq!(cut("14:03:01").unwrap(), "14:04:00.000");
        assert_eq!(cut("14:10:00"), None);
    }

    #[test]
    fn long_spans_are_asked_for_in_windows() {
        let check = |span: Span, rows_max, want: &[&str]| {
            let windows: Vec<String> =
                windows(Source::Minutes, span, rows_max).map(|w| format!("{} {}", text(w.from_ms), text(w.to_ms))).collect();
            assert_eq!(windows, want);
        };
        check(of("14:00:00", "14:02:59.999"), 1_000, &["14:00:00.000 14:02:59.999"]);
        check(of("14:00:00", "14:02:59.999"), 2, &["14:00:00.000 14:01:59.999", "14:02:00.000 14:02:59.999"]);
        check(of("14:00:00", "14:01:59.999"), 2, &["14:00:00.000 14:01:59.999"]);
        assert_eq!(minutes(of("14:00:00", "14:02:59.999")).count(), 3);
    }

    #[test]
    fn quiet_minutes_are_those_without_prints_that_the_gap_holds_wholly() {
        let check = |from: &str, to: &str, prints: &[&str], want: Option<(&str, &str)>| {
            let prints = prints.iter().map(|minute| at(minute)).collect();
            let got = quiet(of(from, to), &prints);
            assert_eq!(got, want.map(|(from, to)| of(from, to)), "{from} {to}");
        };
        check("14:00:20", "14:01:30", &[], None);
        check("14:00:20", "14:03:30", &["14:01:00", "14:02:00"], None);
        check("14:00:20", "14:05:30", &["14:02:00"], Some(("14:01:00", "14:04:59.999")));
        check("14:00:20", "14:05:30", &["14:01:00", "14:02:00", "14:04:00"], Some(("14:03:00", "14:03:59.999")));
        check("14:00:00", "14:01:00", &[], Some(("14:00:00", "14:00:59.999")));
    }
}
