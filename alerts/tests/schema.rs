//! Events against `schemas/events.schema.json`, and their words against what a reader should see.
#![allow(clippy::unwrap_used)]

use alerts::{
    CascadeFacts, CorrelationFacts, Coverage, Event, EventType, FundingEpisode, FundingFacts, LeaderFacts, MarketCascadeFacts,
    OiShockFacts, Regime, RegimeFacts, RegimeTopic, Severity, SideBias, VolatilityFacts, ZoneSide, ZoneTouchFacts,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schemas/events.schema.json")).unwrap()
}

fn errors(event: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    validator.iter_errors(event).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

fn cascade() -> CascadeFacts {
    CascadeFacts {
        cascade_id: u64::MAX,
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        window: "4h".into(),
        onset_ms: 1_723_075_200_000,
        last_active_ms: 1_723_075_954_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_200_125,
        long_notional_usd: 1_380_000.0,
        short_notional_usd: 120_000.0,
        velocity_usd_per_hour: 375_000.0,
        peak_velocity_usd_per_hour: 375_000.0,
        count: 37,
        side_bias: SideBias::Long,
        critical_usd_per_hour: 200_000.0,
        critical_from: "absolute",
        branching_ratio: None,
        self_feeding: false,
        severity: 1.875,
        severity_label: Severity::Critical,
        price_move_bps: Some(-184.2),
        coverage: Coverage::Sampled1s,
    }
}

fn market_cascade() -> MarketCascadeFacts {
    MarketCascadeFacts {
        onset_ms: 1_723_075_200_000,
        last_active_ms: 1_723_075_954_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_200_125,
        assets: ["BTC", "ETH", "SOL", "XRP", "kPEPE"].map(String::from).to_vec(),
        cascades: 8,
        long_notional_usd: 41_000_000.0,
        short_notional_usd: 1_500_000.0,
        count: 912,
        side_bias: SideBias::Long,
        largest_asset: "BTC".into(),
        largest_notional_usd: 22_000_000.0,
        coverage: Coverage::Partial,
    }
}

fn regime_change() -> VolatilityFacts {
    VolatilityFacts {
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
    }
}

fn check(event: &Event, golden: &str) {
    let json: Value = serde_json::from_str(&event.to_json()).unwrap();
    assert_eq!(errors(&json), Vec::<String>::new());
    assert_eq!(format!("{} | {}\n{}\n{}", event.timestamp, event.severity.as_str(), event.title, event.description), golden);
}

#[test]
fn a_cascade_reads_well() {
    check(
        &Event::cascade(cascade()),
        "1723075200000 | CRITICAL\n\
         BTC-USDT-PERP long liquidation cascade: $1.50M, $375k/h over 4h on binance-usdm\n\
         $1.38M of longs and $120k of shorts in 37 liquidations. Peak $375k/h over 4h, 1.88× critical (CRITICAL). \
         Price moved -184 bps since its onset at 2024-08-08T00:00:00.000Z. \
         The venue reports at most one liquidation a second: the true size is larger.",
    );
    let feeding = Event::cascade(CascadeFacts { branching_ratio: Some(0.874), self_feeding: true, ..cascade() });
    assert!(feeding.description.contains(" It feeds itself: each liquidation begets 0.87 more. "), "{}", feeding.description);
    let ended =
        CascadeFacts { ended_at_ms: Some(1_723_076_254_000), coverage: Coverage::Full, price_move_bps: None, ..cascade() };
    check(
        &Event::cascade(ended),
        "1723076254000 | CRITICAL\n\
         Resolved: BTC-USDT-PERP long liquidation cascade: $1.50M in all on binance-usdm\n\
         $1.38M of longs and $120k of shorts in 37 liquidations. Peak $375k/h over 4h, 1.88× critical (CRITICAL). \
         It lasted 12 min 34 s.",
    );
}

#[test]
fn a_cascade_of_the_market_reads_well() {
    check(
        &Event::market_cascade(market_cascade()),
        "1723075200000 | CRITICAL\n\
         Market-wide long liquidation cascade: $42.5M in BTC, ETH, SOL and 2 more\n\
         5 assets cascade at once since 2024-08-08T00:00:00.000Z: $41.0M of longs and $1.50M of shorts in 912 liquidations. \
         Largest: BTC with $22.0M. Not every venue reports all its liquidations: the true size is larger.",
    );
    let assets = vec!["BTC".into(), "ETH".into(), "SOL".into()];
    let ended = MarketCascadeFacts { assets, ended_at_ms: Some(1_723_076_254_000), coverage: Coverage::Full, ..market_cascade() };
    let (firing, resolved) = (Event::market_cascade(market_cascade()), Event::market_cascade(ended));
    assert_eq!(firing.id, resolved.id);
    check(
        &resolved,
        "1723076254000 | CRITICAL\n\
         Resolved: Market-wide long liquidation cascade: $42.5M in BTC, ETH, SOL\n\
         3 assets cascade at once since 2024-08-08T00:00:00.000Z: $41.0M of longs and $1.50M of shorts in 912 liquidations. \
         Largest: BTC with $22.0M. It lasted 12 min 34 s.",
    );
    let valid = serde_json::to_value(&firing).unwrap();
    for key in valid["data"].as_object().unwrap().keys() {
        let mut broken = valid.clone();
        broken["data"].as_object_mut().unwrap().remove(key);
        assert!(!errors(&broken).is_empty(), "without data.{key}");
    }
}

#[test]
fn a_regime_change_reads_well() {
    check(
        &Event::volatility_regime_change(regime_change()),
        "1723075260000 | WARNING\n\
         ETH-USDT-PERP volatility up: HIGH_VOL → EXPLOSIVE at 5.62 % per day on bybit-linear\n\
         24 h volatility is 5.62 % per day (close-to-close 4.41 %, Parkinson 5.62 %). Risk multiplier 1.2 → 1.8.",
    );
    let extreme =
        VolatilityFacts { to: Regime::Extreme, parkinson: None, close_to_close: 0.1234, risk_multiplier: 2.5, ..regime_change() };
    check(
        &Event::volatility_regime_change(extreme).resolved(1_723_075_320_000, 1_723_075_320_100),
        "1723075320000 | CRITICAL\n\
         Resolved: ETH-USDT-PERP volatility up: HIGH_VOL → EXTREME at 12.34 % per day on bybit-linear\n\
         24 h volatility is 12.34 % per day (close-to-close 12.34 %, no Parkinson yet). Risk multiplier 1.2 → 2.5.",
    );
}

fn correlation_break() -> CorrelationFacts {
    CorrelationFacts {
        symbol_a: "BTC-USDT-PERP".into(),
        symbol_b: "ETH-USDT-PERP".into(),
        horizon: "24h".into(),
        onset_ms: 1_723_075_200_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_202_020,
        return_correlation: 0.214,
        divergence_strength: 1.43,
        is_pair_trade: true,
        baseline: Some((0.871, -4.29)),
    }
}

#[test]
fn a_correlation_break_reads_well() {
    check(
        &Event::correlation_break(correlation_break()),
        "1723075200000 | WARNING\n\
         BTC-USDT-PERP and ETH-USDT-PERP moved apart: correlation 0.21 over 24h, usually 0.87\n\
         The correlation of returns over 24h fell to 0.21. It was 0.87 over the last month; this is -4.3 deviations from that. \
         Potential pair trade: the two used to move together.",
    );
    let alone = CorrelationFacts {
        symbol_b: String::new(),
        ended_at_ms: Some(1_723_078_800_000),
        return_correlation: -0.61,
        is_pair_trade: false,
        baseline: None,
        ..correlation_break()
    };
    check(
        &Event::correlation_break(alone),
        "1723078800000 | WARNING\n\
         Resolved: BTC-USDT-PERP and MARKET moved apart: correlation -0.61 over 24h\n\
         The correlation of returns over 24h fell to -0.61. There is no month of history to compare it with.",
    );
}

#[test]
fn a_change_of_the_leader_reads_well() {
    let facts = LeaderFacts {
        symbol: "ETH-USDT-PERP".into(),
        before: "BTC-USDT-PERP".into(),
        onset_ms: 1_723_075_200_000,
        known_at_ms: 1_723_075_202_020,
        score: 2,
    };
    check(
        &Event::leader_change(facts),
        "1723075200000 | INFO\n\
         ETH-USDT-PERP leads instead of BTC-USDT-PERP\n\
         By fractions of a second ETH-USDT-PERP now moves before 2 more of the compared symbols than move before it. \
         BTC-USDT-PERP led until now.",
    );
}

#[test]
fn a_pair_has_no_symbol_but_an_asset_pair() {
    let json = serde_json::to_value(Event::correlation_break(correlation_break())).unwrap();
    assert_eq!((&json["asset_pair"], &json["symbol"]), (&json!("BTC-USDT-PERP/ETH-USDT-PERP"), &Value::Null));
    assert_eq!(json["data"]["signal"], "POTENTIAL_PAIR_TRADE");
    let mut both = json.clone();
    both["symbol"] = json!("BTC-USDT-PERP");
    assert!(!errors(&both).is_empty(), "both");
    let mut neither = json;
    neither.as_object_mut().unwrap().remove("asset_pair");
    assert!(!errors(&neither).is_empty(), "neither");
}

#[test]
fn unusual_funding_reads_well() {
    let facts = FundingFacts {
        episode: FundingEpisode::Anomaly,
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        onset_ms: 1_723_075_260_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_262_020,
        rate_8h: -0.000_312,
        z_score: Some(-4.2),
        anomaly_score: 4.7,
        reasons: vec!["Z-score anomaly: -4.20σ".into(), "High volatility: 0.00042".into()],
    };
    check(
        &Event::funding(facts.clone()),
        "1723075260000 | WARNING\n\
         BTC-USDT-PERP funding is unusual: -0.0312 % per 8 h on binance-usdm\n\
         Z-score anomaly: -4.20σ. High volatility: 0.00042. Anomaly score 4.70 at its onset, 2024-08-08T00:01:00.000Z.",
    );
    let ended = Some(1_723_078_860_000);
    let reversal = FundingFacts {
        episode: FundingEpisode::Reversal,
        ended_at_ms: ended,
        z_score: None,
        reasons: vec!["Rate reversal: negative: shorts pay for 4.0 h".into()],
        ..facts.clone()
    };
    check(
        &Event::funding(reversal),
        "1723078860000 | WARNING\n\
         Resolved: BTC-USDT-PERP funding turned negative: -0.0312 % per 8 h on binance-usdm\n\
         Rate reversal: negative: shorts pay for 4.0 h. Anomaly score 4.70 at its onset, 2024-08-08T00:01:00.000Z. \
         It lasted 1 h 0 min.",
    );
    let spread = FundingFacts { episode: FundingEpisode::Spread, venue: String::new(), rate_8h: 0.000_61, ..facts.clone() };
    let spread = Event::funding(spread);
    assert_eq!(errors(&serde_json::to_value(&spread).unwrap()), Vec::<String>::new());
    assert_eq!(spread.title, "BTC-USDT-PERP funding differs by 0.0610 % per 8 h between venues");
    assert_ne!(spread.id, Event::funding(facts.clone()).id);
    assert_eq!(serde_json::to_value(Event::funding(facts)).unwrap()["data"]["funding_z_score"], json!(-4.2));
}

#[test]
fn a_shock_of_open_interest_reads_well() {
    let facts = OiShockFacts {
        venue: "bybit-linear".into(),
        symbol: "ETH-USDT-PERP".into(),
        onset_ms: 1_723_075_260_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_262_020,
        change: -0.0412,
        cascade_id: u64::MAX,
    };
    check(
        &Event::oi_shock(facts.clone()),
        "1723075260000 | WARNING\n\
         ETH-USDT-PERP open interest fell 4.12 % in 5 min during a cascade on bybit-linear\n\
         Open interest fell 4.12 % in the 5 minutes before 2024-08-08T00:01:00.000Z while a liquidation cascade was going on: \
         positions were closed, which confirms it.",
    );
    let ended = Event::oi_shock(OiShockFacts { ended_at_ms: Some(1_723_075_380_000), ..facts.clone() });
    assert_eq!((ended.id.clone(), ended.status.as_str()), (Event::oi_shock(facts).id, "resolved"));
    assert!(ended.description.ends_with("It lasted 2 min 0 s."), "{}", ended.description);
}

#[test]
fn the_json_of_a_cascade() {
    let json = serde_json::to_value(Event::cascade(cascade())).unwrap();
    assert_eq!(json["event_type"], "LIQUIDATION_CASCADE");
    assert_eq!(json["status"], "firing");
    assert_eq!(json["timestamp"], "2024-08-08T00:00:00.000Z");
    assert_eq!(json["known_at"], "2024-08-08T00:00:00.125Z");
    assert_eq!(
        json["data"],
        json!({
            "cascade_id": "18446744073709551615", "window": "4h", "onset": "2024-08-08T00:00:00.000Z",
            "last_active": "2024-08-08T00:12:34.000Z", "ended_at": null, "total_liquidated_usd": 1_500_000.0,
            "long_notional_usd": 1_380_000.0, "short_notional_usd": 120_000.0, "velocity_usd_per_hour": 375_000.0,
            "peak_velocity_usd_per_hour": 375_000.0, "count": 37, "side_bias": "LONG", "severity": 1.875,
            "critical_usd_per_hour": 200_000.0, "critical_from": "absolute", "branching_ratio": null, "self_feeding": false,
            "price_move_bps": -184.2, "coverage": "sampled_1s"
        })
    );
}

#[test]
fn firing_and_resolved_share_an_id_whatever_else_was_learnt() {
    let firing = Event::cascade(cascade());
    let resolved = Event::cascade(CascadeFacts { ended_at_ms: Some(1), severity: 9.0, count: 99, known_at_ms: 7, ..cascade() });
    assert_eq!(firing.id, resolved.id);
    let other = Event::cascade(CascadeFacts { window: "1h".into(), ..cascade() });
    assert_ne!(firing.id, other.id);
}

/// The schema must be able to fail: every part of an event that is taken away or spoilt is noticed.
#[test]
fn the_schema_refuses_what_is_not_an_event() {
    let valid = serde_json::to_value(Event::cascade(cascade())).unwrap();
    for key in valid.as_object().unwrap().keys() {
        let mut broken = valid.clone();
        broken.as_object_mut().unwrap().remove(key);
        assert!(!errors(&broken).is_empty(), "without {key}");
    }
    for key in valid["data"].as_object().unwrap().keys() {
        let mut broken = valid.clone();
        broken["data"].as_object_mut().unwrap().remove(key);
        assert!(!errors(&broken).is_empty(), "without data.{key}");
    }
    for (path, value) in [
        ("/event_type", json!("CASCADE")),
        ("/id", json!("evt_1.2")),
        ("/timestamp", json!("2024-08-08 00:00:00")),
        ("/severity", json!("critical")),
        ("/data/side_bias", json!("long")),
        ("/data/total_liquidated_usd", json!("1500000")),
        ("/data/cascade_id", json!(1)),
        ("/source", json!("volatility")),
        ("/symbol", json!("")),
        ("/data/critical_from", json!("")),
    ] {
        let mut broken = valid.clone();
        *broken.pointer_mut(path).unwrap() = value;
        assert!(!errors(&broken).is_empty(), "{path}");
    }
}

#[test]
fn returns_to_support_zones_in_words() {
    let touch = ZoneTouchFacts {
        venue: "bybit-linear".into(),
        symbol: "BTC-USDT-PERP".into(),
        side: ZoneSide::Long,
        onset_ms: 1_723_075_260_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_262_020,
        price_low: 59_961.234_567,
        price_high: 60_081.171_2,
        rank: 2,
        notional_usd: 4_180_000.0,
        touches: 3,
        coverage: Coverage::Full,
    };
    check(
        &Event::support_zone_touched(touch.clone()),
        "1723075260000 | INFO
BTC-USDT-PERP back in a long liquidation zone at 59961.2–60081.2 on bybit-linear
$4.18M of longs were liquidated at 59961.2–60081.2, the symbol's number 2 zone of that side. Return number 3 of the window.",
    );
    let left = ZoneTouchFacts { ended_at_ms: Some(1_723_075_560_000), coverage: Coverage::Sampled1s, ..touch.clone() };
    check(
        &Event::support_zone_touched(left.clone()),
        "1723075560000 | INFO
Resolved: BTC-USDT-PERP left the long liquidation zone at 59961.2–60081.2 on bybit-linear
$4.18M of longs were liquidated at 59961.2–60081.2, the symbol's number 2 zone of that side. Return number 3 of the window. \
The price stayed for 5 min 0 s. The venue reports only part of its liquidations: the true size is larger.",
    );
    let id = |facts: &ZoneTouchFacts| Event::support_zone_touched(facts.clone()).id;
    assert_eq!(id(&touch), id(&left));
    assert_ne!(id(&touch), id(&ZoneTouchFacts { price_low: 60_201.0, ..touch.clone() }));
    assert_ne!(id(&touch), id(&ZoneTouchFacts { side: ZoneSide::Short, ..touch.clone() }));
}

#[test]
fn regimes_in_words() {
    let change = RegimeFacts {
        topic: RegimeTopic::Change,
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        timeframe: "4h".into(),
        onset_ms: 1_723_075_200_000,
        ended_at_ms: None,
        known_at_ms: 1_723_075_202_020,
        from: Some("BULL"),
        to: Some("BEAR"),
        model: Some("btc-4h.v3".into()),
        strength: 0.8732,
    };
    check(
        &Event::regime(change.clone()),
        "1723075200000 | INFO
BTC-USDT-PERP 4h regime: BULL → BEAR on binance-usdm
Model btc-4h.v3 decided BEAR with a probability of 87.32 %; before, it was BULL.",
    );
    let ended = RegimeFacts { ended_at_ms: Some(1_723_104_000_000), ..change.clone() };
    check(
        &Event::regime(ended.clone()),
        "1723104000000 | INFO
Resolved: BTC-USDT-PERP 4h regime: BULL → BEAR on binance-usdm
Model btc-4h.v3 decided BEAR with a probability of 87.32 %; before, it was BULL. It lasted for 8 h 0 min.",
    );
    assert_eq!(Event::regime(ended).id, Event::regime(change.clone()).id);
    let confirmed = RegimeFacts {
        topic: RegimeTopic::Confirmed,
        venue: String::new(),
        timeframe: String::new(),
        model: None,
        ..change.clone()
    };
    check(
        &Event::regime(RegimeFacts { from: None, strength: 0.75, ..confirmed }),
        "1723075200000 | INFO
BTC-USDT-PERP: BEAR confirmed by its time frames
75.00 % of the weight of its time frames agrees on BEAR.",
    );
    check(
        &Event::regime(RegimeFacts { topic: RegimeTopic::Drift, from: None, to: None, strength: 0.616, ..change }),
        "1723075200000 | WARNING
BTC-USDT-PERP 4h: model btc-4h.v3 no longer fits on binance-usdm
The drift score is 0.62: recent bars surprise btc-4h.v3 far more than those it was trained on. Refit it.",
    );
}

#[test]
fn the_schema_knows_every_type() {
    let names: Vec<Value> = EventType::ALL.iter().map(|t| Value::from(t.as_str())).collect();
    assert_eq!(schema()["properties"]["event_type"]["enum"], Value::from(names));
}

proptest! {
    #[test]
    fn any_finite_facts_make_a_valid_event(
        (long, short, velocity) in (0.0..1e13f64, 0.0..1e13f64, 0.0..1e13f64),
        (onset, lasted, known) in (any::<i64>(), any::<i64>(), any::<i64>()),
        bps in proptest::option::of(-1e5..1e5f64),
        ended in proptest::option::of(any::<i64>()),
        count in 1..u64::MAX,
        symbol in "[A-Z0-9]{1,20}-USDT-PERP",
    ) {
        let event = Event::cascade(CascadeFacts {
            symbol, onset_ms: onset, last_active_ms: lasted, ended_at_ms: ended, known_at_ms: known, long_notional_usd: long,
            short_notional_usd: short, velocity_usd_per_hour: velocity, count, price_move_bps: bps, ..cascade()
        });
        let json: Value = serde_json::from_str(&event.to_json()).unwrap();
        prop_assert_eq!(errors(&json), Vec::<String>::new());
        prop_assert!(event.to_json().len() < 20_000);
    }
}
