//! A1: every status, to every channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use alerts::channels::Verdict::{self, Delivered, Failed, Gone, Retry};

use crate::receiver::{answer, receiver};
use crate::{NOW_MS, channel, http, news};

const OK_BODY: fn(&str) -> &'static str = |kind| match kind {
    "slack" => "ok",
    "telegram" => r#"{"ok":true,"result":{"message_id":7}}"#,
    _ => "{}",
};

/// As each receiver documents it.
fn expected(kind: &str, status: u16) -> Verdict {
    match (kind, status) {
        (_, 408 | 425 | 429 | 500..=599) => Retry,
        ("webhook", 410) => Gone,
        ("webhook" | "discord", 200..=299) => Delivered,
        ("discord", 401 | 403 | 404 | 410) => Gone,
        ("slack" | "telegram", 200) => Delivered,
        // Nothing that Telegram answers: its 2xx is 200. Taken for what the status says.
        ("telegram", 201..=299) => Delivered,
        ("slack", 403 | 404 | 410) => Gone,
        ("telegram", 401 | 403 | 404) => Gone,
        _ => Failed,
    }
}

async fn check(kind: &str) {
    let status = Arc::new(AtomicU16::new(0));
    let next = Arc::clone(&status);
    let ok = OK_BODY(kind);
    let (origin, heard) = receiver(move |_| match next.load(Ordering::SeqCst) {
        // An interim answer; the real one follows.
        interim @ (100 | 102..=199) => [format!("HTTP/1.1 {interim} X\r\n\r\n").as_bytes(), &answer(200, &[], ok)].concat(),
        101 => b"HTTP/1.1 101 X\r\nupgrade: canary\r\nconnection: upgrade\r\n\r\n".to_vec(),
        bodiless @ (204 | 304) => format!("HTTP/1.1 {bodiless} X\r\n\r\n").into_bytes(),
        status => answer(status, &[("location", "/canary")], ok),
    })
    .await;
    let channel = channel(kind, &origin, http(Duration::from_secs(5)));
    for code in 100..=599 {
        status.store(code, Ordering::SeqCst);
        let outcome = channel.send(&news(), NOW_MS).await;
        let (verdict, final_status) = match code {
            100 | 102..=199 => (Delivered, 200),
            code => (expected(kind, code), code),
        };
        assert_eq!((outcome.verdict, outcome.http_status), (verdict, final_status), "{kind} {code}: {}", outcome.reason);
        assert_eq!(outcome.reason.is_empty(), verdict == Delivered, "{kind} {code}");
        assert!(!outcome.reason.contains("canary"), "{}", outcome.reason);
        let is_told = verdict == Delivered || outcome.reason.contains(&format!("{origin}/…: answer {code};"));
        assert!(is_told, "{kind} {code}: {}", outcome.reason);
    }
    assert_eq!(heard.lock().unwrap().len(), 500, "one attempt is one request, and no redirect was followed");
}

#[tokio::test]
async fn webhook() {
    check("webhook").await;
}

#[tokio::test]
async fn discord() {
    check("discord").await;
}

#[tokio::test]
async fn slack() {
    check("slack").await;
}

#[tokio::test]
async fn telegram() {
    check("telegram").await;
}

/// What a body adds to the status.
#[tokio::test]
async fn bodies() {
    let check = async |kind: &str, status: u16, body: &'static str, verdict: Verdict, reason: &str| {
        let (origin, _) = receiver(move |_| answer(status, &[], body)).await;
        let outcome = channel(kind, &origin, http(Duration::from_secs(5))).send(&news(), NOW_MS).await;
        assert_eq!(outcome.verdict, verdict, "{kind} {status} {body}: {}", outcome.reason);
        assert!(
            outcome.reason.contains(reason) && !outcome.reason.contains("canary"),
            "{kind} {status} {body}: {}",
            outcome.reason
        );
    };
    check("slack", 200, "ok\n", Retry, "isn't Slack's `ok`").await;
    check("slack", 200, "<html>canary</html>", Retry, "isn't Slack's `ok`").await;
    check("slack", 200, "invalid_token", Failed, "(invalid_token)").await;
    check("slack", 400, "invalid_payload", Failed, "(invalid_payload)").await;
    check("slack", 400, "canary", Failed, "Slack refuses it").await;
    check("slack", 403, "action_prohibited", Gone, "(action_prohibited)").await;
    check("slack", 404, "channel_not_found", Gone, "(channel_not_found)").await;
    check("slack", 410, "channel_is_archived", Gone, "(channel_is_archived)").await;
    check("slack", 500, "rollup_error", Retry, "rollup_error").await;
    check("telegram", 200, "<html>canary</html>", Retry, "isn't Telegram's").await;
    check("telegram", 200, r#"{"ok":false}"#, Retry, "isn't Telegram's").await;
    check(
        "telegram",
        400,
        r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#,
        Failed,
        "check chat_id",
    )
    .await;
    check(
        "telegram",
        400,
        r#"{"description":"canary","parameters":{"migrate_to_chat_id":-100123}}"#,
        Failed,
        "set chat_id to -100123",
    )
    .await;
    check("telegram", 403, r#"{"description":"Forbidden: bot was blocked by the user"}"#, Gone, "may not write").await;
    check("discord", 400, r#"{"code":50035,"message":"canary","errors":{}}"#, Failed, "error code 50035").await;
    check("discord", 404, r#"{"code":10015,"message":"Unknown Webhook"}"#, Gone, "make a new one").await;
}
