//! A2: how receivers ask to be left alone, through the whole path.

use std::time::Duration;

use alerts::channels::Verdict::{self, Delivered, Failed, Retry};

use crate::receiver::{answer, receiver};
use crate::{NOW_MS, channel, http, news};

type Headers = &'static [(&'static str, &'static str)];

/// The pause in seconds, and whether all channels of the kind are meant.
async fn check(kind: &str, status: u16, headers: Headers, body: &'static str, verdict: Verdict, pause: Option<(f64, bool)>) {
    let (origin, _) = receiver(move |_| answer(status, headers, body)).await;
    let outcome = channel(kind, &origin, http(Duration::from_secs(5))).send(&news(), NOW_MS).await;
    let got = outcome.pause.map(|pause| (pause.length.as_secs_f64(), pause.is_for_kind));
    assert_eq!((outcome.verdict, got), (verdict, pause), "{kind} {status} {headers:?} {body}: {}", outcome.reason);
}

#[tokio::test]
async fn headers() {
    for kind in ["webhook", "slack", "telegram"] {
        let check = async |value: Headers, verdict, pause| check(kind, 429, value, "", verdict, Some((pause, false))).await;
        check(&[("Retry-After", "30")], Retry, 30.0).await;
        check(&[("Retry-After", "0.376")], Retry, 0.376).await;
        check(&[("Retry-After", "Thu, 08 Aug 2024 00:02:00 GMT")], Retry, 120.0).await;
        check(&[("Retry-After", "1e9")], Failed, 3_600.0).await;
        check(&[("Retry-After", "3601")], Failed, 3_600.0).await;
        check(&[("Retry-After", "whenever")], Retry, 60.0).await;
        check(&[], Retry, 60.0).await;
    }
    check("webhook", 429, &[("Retry-After", "Wed, 07 Aug 2024 23:00:00 GMT")], "", Retry, None).await;
    check("webhook", 503, &[("Retry-After", "7")], "", Retry, Some((7.0, false))).await;
    check("webhook", 503, &[], "", Retry, None).await;
    let used_up: Headers = &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset-After", "1.25")];
    check("webhook", 200, used_up, "", Delivered, Some((1.25, false))).await;
    check("discord", 204, used_up, "", Delivered, Some((1.25, false))).await;
    check("discord", 200, &[("X-RateLimit-Remaining", "4"), ("X-RateLimit-Reset-After", "1.25")], "{}", Delivered, None).await;
}

#[tokio::test]
async fn bodies() {
    check("discord", 429, &[], r#"{"message":"x","retry_after":0.376,"global":false}"#, Retry, Some((0.376, false))).await;
    check("discord", 429, &[("Retry-After", "1")], r#"{"retry_after":0.376,"global":false}"#, Retry, Some((1.0, false))).await;
    check("discord", 429, &[("Retry-After", "1")], r#"{"retry_after":64.57,"global":true}"#, Retry, Some((64.57, true))).await;
    check(
        "discord",
        429,
        &[("Retry-After", "2"), ("X-RateLimit-Global", "true")],
        r#"{"retry_after":2}"#,
        Retry,
        Some((2.0, true)),
    )
    .await;
    check(
        "discord",
        429,
        &[("Retry-After", "5"), ("X-RateLimit-Scope", "shared")],
        r#"{"retry_after":5}"#,
        Retry,
        Some((5.0, false)),
    )
    .await;
    check("discord", 429, &[], r#"{"retry_after":1e9,"global":true}"#, Failed, Some((3_600.0, true))).await;
    check("discord", 429, &[], r#"{"retry_after":-1}"#, Retry, Some((60.0, false))).await;
    // The whole address is banned: no JSON comes.
    check("discord", 429, &[("Retry-After", "3000")], "<html>1015</html>", Retry, Some((3_000.0, true))).await;
    check("telegram", 429, &[], r#"{"ok":false,"parameters":{"retry_after":14}}"#, Retry, Some((14.0, false))).await;
    check("telegram", 429, &[], r#"{"ok":false,"parameters":{"retry_after":90000}}"#, Failed, Some((3_600.0, false))).await;
    check("telegram", 429, &[], "{", Retry, Some((60.0, false))).await;
}

#[tokio::test]
async fn a_wish_beyond_an_hour_says_so() {
    let (origin, _) = receiver(|_| answer(429, &[("retry-after", "1e9")], "")).await;
    let outcome = channel("webhook", &origin, http(Duration::from_secs(5))).send(&news(), NOW_MS).await;
    assert!(outcome.reason.contains("more than an hour"), "{}", outcome.reason);
}
