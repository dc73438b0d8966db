//! A10: Standard Webhooks, as a receiver sees it; and CloudEvents.

use std::time::{Duration, SystemTime};

use alerts::channels::webhook::Format;
use alerts::channels::{Channel as _, Verdict, Webhook};
use alerts::{NoticeKind, Secret};
use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;

use crate::receiver::{Request, answer, receiver};
use crate::{NOW_MS, alert, http, news, notice, secret};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn webhook(origin: &str, secrets: &[&str], format: Format) -> Webhook {
    let secrets = secrets.iter().map(|secret| Secret::parse(secret).unwrap()).collect();
    Webhook::new("ops", &secret(&format!("{origin}/hook?token=x")), secrets, format, http(Duration::from_secs(5))).unwrap()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

fn is_verified(request: &Request, secret: &str) -> bool {
    let headers: HeaderMap = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (HeaderName::from_static(name), request.header(name).unwrap().parse().unwrap()))
        .into_iter()
        .collect();
    standardwebhooks::Webhook::new(secret).unwrap().verify(&request.body, &headers).is_ok()
}

#[tokio::test]
async fn a_receiver_verifies_every_attempt_with_either_secret() {
    let (origin, heard) = receiver(|_| answer(204, &[], "")).await;
    for format in [Format::Standard, Format::CloudEvents] {
        heard.lock().unwrap().clear();
        let webhook = webhook(&origin, &[NEW, OLD], format);
        for now_ms in [now_ms() - 5_000, now_ms()] {
            assert_eq!(webhook.send(&news(), now_ms).await.verdict, Verdict::Delivered);
        }
        let heard = heard.lock().unwrap();
        let [first, second] = &heard[..] else { panic!("{heard:?}") };
        assert!(first.head.starts_with("POST /hook?token=x HTTP/1.1\r\n"), "{}", first.head);
        for request in [first, second] {
            assert!(is_verified(request, OLD) && is_verified(request, NEW));
            assert!(!is_verified(request, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
        }
        assert_eq!(first.header("webhook-id"), Some(news().id.as_str()));
        assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
        assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    }
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let (origin, heard) = receiver(|_| answer(200, &[], "")).await;
    webhook(&origin, &[], Format::Standard).send(&news(), NOW_MS).await;
    let heard = heard.lock().unwrap();
    assert_eq!((heard[0].header("webhook-signature"), heard[0].header("webhook-timestamp")), (None, Some("1723075200")));
    assert_eq!(heard[0].header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn one_alerts_news_is_the_event_itself() {
    let (origin, heard) = receiver(|_| answer(200, &[], "")).await;
    let webhook = webhook(&origin, &[], Format::Standard);
    let mut plain = alert();
    plain.rules.clear();
    let mut labelled = alert();
    labelled.labels.insert("desk".into(), "vol".into());
    webhook.send(&notice(NoticeKind::News, vec![plain.clone()], ""), NOW_MS).await;
    webhook.send(&notice(NoticeKind::Drill, vec![labelled], "only a test"), NOW_MS).await;
    let heard = heard.lock().unwrap();
    assert_eq!(String::from_utf8_lossy(&heard[0].body), plain.event.to_json());
    let drill: Value = serde_json::from_slice(&heard[1].body).unwrap();
    assert_eq!(drill["notice"], serde_json::json!({ "kind": "drill", "remark": "only a test" }));
    assert_eq!((&drill["rules"][0], &drill["labels"]["desk"]), (&"volatility".into(), &"vol".into()));
    let schema: Value = serde_json::from_str(include_str!("../../../schemas/events.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(validator.iter_errors(&drill).map(|e| e.to_string()).collect::<Vec<_>>().is_empty());
}

#[tokio::test]
async fn a_cloud_event_has_what_the_specification_requires() {
    let (origin, heard) = receiver(|_| answer(200, &[], "")).await;
    webhook(&origin, &[], Format::CloudEvents).send(&news(), NOW_MS).await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].header("content-type"), Some("application/cloudevents+json"));
    let event: Value = serde_json::from_slice(&heard[0].body).unwrap();
    let told =
        ["specversion", "id", "source", "type", "time", "subject", "datacontenttype"].map(|key| event[key].as_str().unwrap());
    let expected = [
        "1.0",
        "ntc_00112233445566778899aabbccddeeff",
        "/regimeflow/volatility",
        "io.regimeflow.volatility_regime_change",
        "2024-08-07T23:59:00.000Z",
        "ETH-USDT-PERP",
        "application/json",
    ];
    assert_eq!(told, expected);
    assert_eq!(event["data"]["event_type"], "VOLATILITY_REGIME_CHANGE");
}
