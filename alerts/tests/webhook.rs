//! The webhook against a real HTTP server on loopback, in real time.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use alerts::deliver::{Attempt, AttemptResult, Channel as _, Courier, Message, Options, Verdict, Webhook};
use alerts::{Event, Regime, Secret, VolatilityFacts};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use tokio::net::TcpListener;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

type Heard = Arc<Mutex<Vec<(Uri, HeaderMap, Bytes)>>>;
type Answer = Arc<dyn Fn(usize) -> Response<Body> + Send + Sync>;

/// A receiver that answers the n-th request by `answer(n)`. Its address, and what it heard.
async fn receiver(answer: impl Fn(usize) -> Response<Body> + Send + Sync + 'static) -> (String, Heard) {
    async fn hear(State((heard, answer)): State<(Heard, Answer)>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let n = {
            let mut heard = heard.lock().unwrap();
            heard.push((uri, headers, body));
            heard.len() - 1
        };
        answer(n)
    }
    let heard = Heard::default();
    let state: (Heard, Answer) = (Arc::clone(&heard), Arc::new(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(hear).with_state(state)).await });
    (format!("http://{address}"), heard)
}

fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(Body::from("canary in the answer")).unwrap()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

fn event() -> Event {
    Event::volatility_regime_change(VolatilityFacts {
        venue: "bybit-linear".into(),
        symbol: "ETH-USDT-PERP".into(),
        ts_ms: 1_723_075_260_000,
        known_at_ms: 1_723_075_262_020,
        from: Regime::HighVol,
        to: Regime::Explosive,
        close_to_close: 0.0441,
        parkinson: Some(0.0562),
        risk_multiplier_before: 1.2,
        risk_multiplier: 1.8,
    })
}

fn webhook(url: &str, secrets: &[&str]) -> Webhook {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Webhook::new("ops", url, secrets.iter().map(|s| Secret::parse(s).unwrap()).collect()).unwrap()
}

#[tokio::test]
async fn a_receiver_verifies_what_it_gets_with_either_secret() {
    let (url, heard) = receiver(|_| status(204)).await;
    let outcome = webhook(&format!("{url}/hook?token=x"), &[NEW, OLD]).send(&Message::of(&event()), now_ms()).await;
    assert_eq!((outcome.verdict, outcome.http_status, outcome.reason.as_str()), (Verdict::Delivered, 204, ""));
    let heard = heard.lock().unwrap();
    let (uri, headers, body) = &heard[0];
    assert_eq!(uri, "/hook?token=x");
    for secret in [OLD, NEW] {
        standardwebhooks::Webhook::new(secret).unwrap().verify(body, headers).unwrap();
    }
    let stranger = standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(stranger.verify(body, headers).is_err());
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["webhook-id"], format!("{}_firing", event().id));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(body).unwrap()["id"], event().id);
}

#[tokio::test]
async fn a_retry_has_the_same_id_and_body_and_a_new_signed_time() {
    let (url, heard) = receiver(|n| status(if n == 0 { 503 } else { 200 })).await;
    let reported: Arc<Mutex<Vec<Attempt>>> = Arc::default();
    let sink = Arc::clone(&reported);
    let options = Options { schedule: vec![Duration::from_millis(1_200)], ..Options::default() };
    let on_attempt = Arc::new(move |a| sink.lock().unwrap().push(a));
    let courier = Courier::start(webhook(&url, &[OLD]), options, Arc::new(now_ms), on_attempt);
    courier.enqueue(&event()).unwrap();
    assert_eq!(courier.drain(Duration::from_secs(10)).await, 0);
    let results: Vec<_> = reported.lock().unwrap().iter().map(|a| (a.attempt, a.result, a.http_status)).collect();
    assert_eq!(results, [(1, AttemptResult::Retry, 503), (2, AttemptResult::Delivered, 200)]);
    let heard = heard.lock().unwrap();
    let [(_, first, first_body), (_, second, second_body)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((&first["webhook-id"], first_body), (&second["webhook-id"], second_body));
    assert_ne!(first["webhook-timestamp"], second["webhook-timestamp"]);
    for (_, headers, body) in heard.iter() {
        standardwebhooks::Webhook::new(OLD).unwrap().verify(body, headers).unwrap();
    }
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let (url, heard) = receiver(|_| status(200)).await;
    webhook(&url, &[]).send(&Message::of(&event()), now_ms()).await;
    assert!(!heard.lock().unwrap()[0].1.contains_key("webhook-signature"));
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let (elsewhere, not_asked) = receiver(|_| status(200)).await;
    let (url, _) =
        receiver(move |_| Response::builder().status(307).header("location", &elsewhere).body(Body::empty()).unwrap()).await;
    let outcome = webhook(&url, &[OLD]).send(&Message::of(&event()), now_ms()).await;
    assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Failed, 307));
    assert!(not_asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_receivers_wish_arrives() {
    let (url, _) = receiver(|_| {
        Response::builder().status(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "0.376").body(Body::empty()).unwrap()
    })
    .await;
    let outcome = webhook(&url, &[OLD]).send(&Message::of(&event()), now_ms()).await;
    assert_eq!(outcome.verdict, Verdict::Retry { after: Some(Duration::from_millis(376)) });
}

#[tokio::test]
async fn a_body_that_only_drips_is_cut() {
    let drip = |_| {
        let chunks = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b".")), ()))
        });
        Response::new(Body::from_stream(chunks))
    };
    let (url, _) = receiver(drip).await;
    let start = Instant::now();
    let outcome = webhook(&url, &[OLD]).send(&Message::of(&event()), now_ms()).await;
    assert_eq!(outcome.verdict, Verdict::Delivered, "the status had come");
    let took = start.elapsed().as_secs_f64();
    assert!((14.0..17.0).contains(&took), "{took}");
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let flood = |_| {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 8_192])));
        Response::new(Body::from_stream(chunks))
    };
    let (url, _) = receiver(flood).await;
    let start = Instant::now();
    let outcome = webhook(&url, &[OLD]).send(&Message::of(&event()), now_ms()).await;
    assert_eq!(outcome.verdict, Verdict::Delivered);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn no_reason_tells_the_path_or_what_the_receiver_said() {
    for code in [301, 400, 404, 410, 429, 500] {
        let (url, _) = receiver(move |_| status(code)).await;
        let outcome = webhook(&format!("{url}/canary?canary"), &[OLD]).send(&Message::of(&event()), now_ms()).await;
        assert!(outcome.reason.contains(&code.to_string()) && !outcome.reason.contains("canary"), "{}", outcome.reason);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let outcome = webhook(&format!("http://{nobody}/canary?canary"), &[OLD]).send(&Message::of(&event()), now_ms()).await;
    assert_eq!((outcome.verdict, outcome.http_status), (Verdict::Retry { after: None }, 0));
    assert!(outcome.reason.contains("refused") && !outcome.reason.contains("canary"), "{}", outcome.reason);
}
