//! The channels and the guard, against real sockets on loopback. The fault table's A1–A3 and A9–A11 are the modules below.
#![allow(clippy::unwrap_used)]

mod golden;
mod guard;
mod hostile;
mod misbehaviour;
mod pauses;
mod receiver;
mod signature;
mod status;

use std::time::Duration;

use alerts::channels::webhook::Format;
use alerts::channels::{Channel, Discord, HttpSender, Slack, Telegram, Webhook};
use alerts::notice::count;
use alerts::{Alert, Event, Guard, Notice, NoticeKind, Regime, SecretText, VolatilityFacts};

/// 2024-08-08T00:00:00Z.
const NOW_MS: i64 = 1_723_075_200_000;

/// A sender that may post to loopback.
fn http(attempt_max: Duration) -> HttpSender {
    tls();
    HttpSender::new(Guard::new(&["127.0.0.0/8", "::1/128"]).unwrap(), attempt_max).unwrap()
}

fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn secret(text: &str) -> SecretText {
    SecretText::literal(text).unwrap()
}

/// The channel of a kind that posts to `origin`. Its path is a canary: no reason may hold it.
fn channel(kind: &str, origin: &str, http: HttpSender) -> Box<dyn Channel> {
    let url = secret(&format!("{origin}/canary/path?canary=query"));
    match kind {
        "webhook" => Box::new(Webhook::new("ops", &url, Vec::new(), Format::Standard, http).unwrap()),
        "discord" => Box::new(Discord::new("ops", &url, http, None).unwrap()),
        "slack" => Box::new(Slack::new("ops", &url, http, None).unwrap()),
        "telegram" => Box::new(Telegram::new("ops", origin, &secret("123:canary"), "-100", http, None).unwrap()),
        _ => panic!("{kind}"),
    }
}

fn alert() -> Alert {
    let event = Event::volatility_regime_change(VolatilityFacts {
        venue: "bybit-linear".into(),
        symbol: "ETH-USDT-PERP".into(),
        ts_ms: 1_723_075_140_000,
        known_at_ms: 1_723_075_142_020,
        from: Regime::HighVol,
        to: Regime::Explosive,
        close_to_close: 0.0441,
        parkinson: Some(0.0562),
        risk_multiplier_before: 1.2,
        risk_multiplier: 1.8,
    });
    Alert { event, rules: vec!["volatility".into()], labels: Default::default(), chart: None, is_correction: false }
}

fn notice(kind: NoticeKind, alerts: Vec<Alert>, remark: &str) -> Notice {
    Notice {
        id: "ntc_00112233445566778899aabbccddeeff".into(),
        channel: "ops".into(),
        kind,
        is_urgent: false,
        group: String::new(),
        counts: count(&alerts),
        alerts,
        remark: remark.into(),
        decided_at: NOW_MS,
    }
}

fn news() -> Notice {
    notice(NoticeKind::News, vec![alert()], "")
}
