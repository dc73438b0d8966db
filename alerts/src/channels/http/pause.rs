//! A receiver's wish to be left alone, in every form it comes in.
//!
//! - `Retry-After` on any answer that is no success: whole seconds, a fraction (`0.376`), an HTTP date in all three forms.
//! - `X-RateLimit-Remaining: 0` with `X-RateLimit-Reset-After`, on a success too: the next message would be one too many.
//! - What a channel finds in a body ([`Wish`] of its own). Of several wishes the longest counts: never before any of them.
//!
//! A 429 without any of that means [`PAUSE_OF_429`]. After a timeout or a lost connection there is no pause: the outbox's schedule decides.
//! A wish of more than [`PAUSE_MAX`] is granted for that long only, and what was to be sent again fails: by then it is old.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::channels::{Outcome, Pause, Verdict};

/// Longest pause that is granted.
pub const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// The pause after a 429 that doesn't say how long.
pub const PAUSE_OF_429: Duration = Duration::from_secs(60);

/// For how long, and whether all channels of the kind are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) length: Option<Duration>,
    pub(crate) is_for_kind: bool,
}

impl Wish {
    pub(crate) fn max(self, other: Self) -> Self {
        Self { length: self.length.max(other.length), is_for_kind: self.is_for_kind || other.is_for_kind }
    }
}

/// What the headers ask for.
pub(crate) fn of_headers(status: u16, headers: &HeaderMap, now_ms: i64) -> Wish {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER.as_str()).filter(|_| !(200..300).contains(&status)).and_then(|text| retry_after(text, now_ms));
    let is_used_up = text("x-ratelimit-remaining").and_then(|text| text.parse::<f64>().ok()).is_some_and(|left| left <= 0.0);
    let reset = text("x-ratelimit-reset-after").filter(|_| is_used_up).and_then(|text| seconds(text.parse().ok()?));
    let is_global = text("x-ratelimit-global").is_some_and(|text| text.eq_ignore_ascii_case("true"))
        || text("x-ratelimit-scope").is_some_and(|text| text.eq_ignore_ascii_case("global"));
    Wish { length: after.max(reset), is_for_kind: is_global && status == 429 }
}

/// Seconds as receivers write them; negative and endless ones are no wish.
pub(crate) fn seconds(secs: f64) -> Option<Duration> {
    let is_wish = secs.is_finite() && secs >= 0.0;
    is_wish.then(|| Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX))
}

/// `30`, `0.376`, or an HTTP date, of which a past one asks for nothing.
fn retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(secs) = text.parse() {
        return seconds(secs);
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(now_ms).ok()?))?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// An attempt's outcome: what the answer means, with the pause that was asked for. `why` puts words around an advice.
pub(crate) fn settle(
    verdict: Verdict,
    status: u16,
    wish: Wish,
    why: impl Fn(&str) -> String,
    advice: Cow<'static, str>,
) -> Outcome {
    let length = wish.length.or((status == 429).then_some(PAUSE_OF_429)).filter(|length| !length.is_zero());
    let pause = length.map(|length| Pause { length: length.min(PAUSE_MAX), is_for_kind: wish.is_for_kind });
    let is_too_long = length.is_some_and(|length| length > PAUSE_MAX);
    match verdict {
        Verdict::Delivered => Outcome { verdict, http_status: status, reason: String::new(), pause },
        Verdict::Retry if is_too_long => {
            let reason = why("the receiver wants to be left alone for more than an hour, by then it is old");
            Outcome { verdict: Verdict::Failed, http_status: status, reason, pause }
        }
        _ => Outcome { verdict, http_status: status, reason: why(&advice), pause },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use reqwest::header::HeaderName;

    use super::*;

    const NOW_MS: i64 = 1_723_075_200_000; // 2024-08-08T00:00:00Z

    fn outcome(status: u16, verdict: Verdict, headers: &[(&'static str, &str)]) -> Outcome {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        settle(verdict, status, of_headers(status, &headers, NOW_MS), str::to_owned, "later".into())
    }

    #[test]
    fn a_wish_is_read_in_every_form() {
        let check = |value: &str, verdict: Verdict, pause_ms: u64| {
            let got = outcome(429, Verdict::Retry, &[("retry-after", value)]);
            let pause = got.pause.map_or(0, |pause| u64::try_from(pause.length.as_millis()).unwrap());
            assert_eq!((got.verdict, pause), (verdict, pause_ms), "{value:?}");
        };
        check("30", Verdict::Retry, 30_000);
        check("0.376", Verdict::Retry, 376);
        check(" 5 ", Verdict::Retry, 5_000);
        check("0", Verdict::Retry, 0);
        check("3600", Verdict::Retry, 3_600_000);
        check("Thu, 08 Aug 2024 00:02:00 GMT", Verdict::Retry, 120_000);
        check("Thursday, 08-Aug-24 00:02:00 GMT", Verdict::Retry, 120_000);
        check("Thu Aug  8 00:02:00 2024", Verdict::Retry, 120_000);
        check("Wed, 07 Aug 2024 23:00:00 GMT", Verdict::Retry, 0);
        // More than an hour.
        check("3600.1", Verdict::Failed, 3_600_000);
        check("1e9", Verdict::Failed, 3_600_000);
        check("1000000000", Verdict::Failed, 3_600_000);
        check("99999999999999999999", Verdict::Failed, 3_600_000);
        check("Fri, 31 Dec 9999 23:59:59 GMT", Verdict::Failed, 3_600_000);
        // No wish that could be granted: as if there were none.
        for text in ["-1", "NaN", "inf", "-inf", "soon", "", "12 s", "Thu, 99 Aug 2024 00:02:00 GMT"] {
            check(text, Verdict::Retry, 60_000);
        }
    }

    #[test]
    fn the_longest_wish_counts_and_a_success_may_have_one() {
        let check = |status, verdict, headers: &[(&'static str, &str)], pause: Option<(f64, bool)>| {
            let got = outcome(status, verdict, headers);
            assert_eq!(got.pause.map(|p| (p.length.as_secs_f64(), p.is_for_kind)), pause, "{status} {headers:?}");
            assert_eq!((got.verdict, got.reason.is_empty()), (verdict, verdict == Verdict::Delivered));
        };
        use Verdict::{Delivered, Failed, Retry};
        let (left, reset) = ("x-ratelimit-remaining", "x-ratelimit-reset-after");
        check(200, Delivered, &[(left, "0"), (reset, "1.5")], Some((1.5, false)));
        check(200, Delivered, &[(left, "1"), (reset, "1.5")], None);
        check(200, Delivered, &[(left, "0")], None);
        check(200, Delivered, &[(left, "0"), (reset, "1e9")], Some((3_600.0, false)));
        check(200, Delivered, &[("retry-after", "9")], None);
        check(429, Retry, &[(left, "0"), (reset, "7"), ("retry-after", "2")], Some((7.0, false)));
        check(429, Retry, &[("retry-after", "2"), ("x-ratelimit-global", "true")], Some((2.0, true)));
        check(429, Retry, &[("retry-after", "2"), ("x-ratelimit-scope", "global")], Some((2.0, true)));
        check(429, Retry, &[("retry-after", "2"), ("x-ratelimit-scope", "shared")], Some((2.0, false)));
        check(429, Retry, &[], Some((60.0, false)));
        check(503, Retry, &[("retry-after", "2")], Some((2.0, false)));
        check(503, Retry, &[], None);
        check(400, Failed, &[("retry-after", "2")], Some((2.0, false)));
    }
}
