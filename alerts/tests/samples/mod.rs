//! Facts, alerts and notices that the tests speak of.
#![allow(dead_code, clippy::unwrap_used)]

use alerts::notice::{Notice, NoticeKind, count};
use alerts::{
    Alert, CascadeFacts, CorrelationFacts, Coverage, Event, FundingEpisode, FundingFacts, LeaderFacts, MarketCascadeFacts,
    OiShockFacts, Regime, RegimeFacts, RegimeTopic, Severity, SideBias, VolatilityFacts, ZoneSide, ZoneTouchFacts,
};

pub const T0: i64 = 1_723_075_200_000;
pub const DECIDED: i64 = T0 + 7_260_000;
const END: i64 = T0 + 1_054_000;

pub fn cascade() -> CascadeFacts {
    CascadeFacts {
        cascade_id: 8_412_075_117_663_002_113,
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        window: "4h".into(),
        onset_ms: T0,
        last_active_ms: T0 + 754_000,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        long_notional_usd: 1_380_000.0,
        short_notional_usd: 120_000.0,
        velocity_usd_per_hour: 375_000.0,
        peak_velocity_usd_per_hour: 412_000.0,
        count: 37,
        side_bias: SideBias::Long,
        critical_usd_per_hour: 200_000.0,
        critical_from: "absolute",
        branching_ratio: Some(0.93),
        self_feeding: true,
        severity: 2.06,
        severity_label: Severity::Critical,
        price_move_bps: Some(-184.2),
        coverage: Coverage::Sampled1s,
    }
}

/// One of many, each of another symbol.
pub fn storm_cascade(n: i64) -> CascadeFacts {
    let severity_label = [Severity::Critical, Severity::Warning, Severity::Info][n as usize % 3];
    let (onset_ms, symbol) = (T0 + n * 1_000, format!("S{n}-USDT-PERP"));
    CascadeFacts { symbol, onset_ms, severity_label, self_feeding: false, coverage: Coverage::Full, ..cascade() }
}

pub fn market_cascade() -> MarketCascadeFacts {
    MarketCascadeFacts {
        onset_ms: T0,
        last_active_ms: T0 + 754_000,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        assets: ["BTC", "ETH", "SOL", "XRP", "kPEPE"].map(String::from).to_vec(),
        cascades: 8,
        long_notional_usd: 1_500_000.0,
        short_notional_usd: 41_000_000.0,
        count: 912,
        side_bias: SideBias::Short,
        largest_asset: "BTC".into(),
        largest_notional_usd: 22_000_000.0,
        coverage: Coverage::Partial,
    }
}

pub fn volatility() -> VolatilityFacts {
    VolatilityFacts {
        venue: "bybit-linear".into(),
        symbol: "ETH-USDT-PERP".into(),
        ts_ms: T0,
        known_at_ms: T0 + 2_020,
        from: Regime::HighVol,
        to: Regime::Explosive,
        close_to_close: 0.0441,
        parkinson: Some(0.0562),
        risk_multiplier_before: 1.2,
        risk_multiplier: 1.8,
    }
}

pub fn zone() -> ZoneTouchFacts {
    ZoneTouchFacts {
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        side: ZoneSide::Long,
        onset_ms: T0,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        price_low: 60_000.0,
        price_high: 60_250.0,
        rank: 1,
        notional_usd: 12_500_000.0,
        touches: 2,
        coverage: Coverage::Full,
    }
}

pub fn funding() -> FundingFacts {
    FundingFacts {
        episode: FundingEpisode::Anomaly,
        venue: "bybit-linear".into(),
        symbol: "DOGE-USDT-PERP".into(),
        onset_ms: T0,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        rate_8h: 0.001_234,
        z_score: Some(4.21),
        anomaly_score: 4.21,
        reasons: vec!["Funding +0.1234 % is 4.2 deviations from its 30 days".into()],
    }
}

pub fn oi_shock() -> OiShockFacts {
    OiShockFacts {
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        onset_ms: T0,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        change: -0.064,
        cascade_id: 8_412_075_117_663_002_113,
    }
}

fn correlation() -> CorrelationFacts {
    CorrelationFacts {
        symbol_a: "BTC-USDT-PERP".into(),
        symbol_b: "ETH-USDT-PERP".into(),
        horizon: "24h".into(),
        onset_ms: T0,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        return_correlation: 0.21,
        divergence_strength: 1.4,
        is_pair_trade: true,
        baseline: Some((0.88, -4.2)),
    }
}

fn regime(topic: RegimeTopic) -> RegimeFacts {
    let is_model = topic != RegimeTopic::Confirmed;
    RegimeFacts {
        topic,
        venue: if is_model { "binance-usdm".into() } else { String::new() },
        symbol: "BTC-USDT-PERP".into(),
        timeframe: if is_model { "1h".into() } else { String::new() },
        onset_ms: T0,
        ended_at_ms: None,
        known_at_ms: T0 + 125,
        from: (topic == RegimeTopic::Change).then_some("CHOP"),
        to: (topic != RegimeTopic::Drift).then_some("BEAR"),
        model: is_model.then(|| "btc-1h.v3".into()),
        strength: if topic == RegimeTopic::Drift { 3.71 } else { 0.87 },
    }
}

/// Of each type: firing and resolved.
pub fn events() -> Vec<(Event, Event)> {
    let ended_at_ms = Some(END);
    let mut events = vec![
        (Event::cascade(cascade()), Event::cascade(CascadeFacts { ended_at_ms, ..cascade() })),
        (Event::market_cascade(market_cascade()), Event::market_cascade(MarketCascadeFacts { ended_at_ms, ..market_cascade() })),
        (Event::support_zone_touched(zone()), Event::support_zone_touched(ZoneTouchFacts { ended_at_ms, ..zone() })),
        (Event::oi_shock(oi_shock()), Event::oi_shock(OiShockFacts { ended_at_ms, ..oi_shock() })),
        (Event::correlation_break(correlation()), Event::correlation_break(CorrelationFacts { ended_at_ms, ..correlation() })),
    ];
    // What has no end of its own is resolved by a correction, or by the next one.
    let change = Event::volatility_regime_change(volatility());
    events.push((change.clone(), change.resolved(END, END + 125)));
    let leader = Event::leader_change(LeaderFacts {
        symbol: "BTC-USDT-PERP".into(),
        before: "ETH-USDT-PERP".into(),
        onset_ms: T0,
        known_at_ms: T0 + 125,
        score: 14,
    });
    events.push((leader.clone(), leader.resolved(END, END + 125)));
    for (episode, rate_8h) in [(FundingEpisode::Anomaly, 0.001_234), (FundingEpisode::Reversal, -0.000_31)] {
        let facts = FundingFacts { episode, rate_8h, ..funding() };
        events.push((Event::funding(facts.clone()), Event::funding(FundingFacts { ended_at_ms, ..facts })));
    }
    let spread = FundingFacts {
        episode: FundingEpisode::Spread,
        venue: String::new(),
        z_score: None,
        reasons: vec!["Highest on okx-swap, lowest on bybit-linear".into()],
        ..funding()
    };
    events.push((Event::funding(spread.clone()), Event::funding(FundingFacts { ended_at_ms, ..spread })));
    for topic in [RegimeTopic::Change, RegimeTopic::Confirmed, RegimeTopic::Drift] {
        events.push((Event::regime(regime(topic)), Event::regime(RegimeFacts { ended_at_ms, ..regime(topic) })));
    }
    let gap = alerts::FeedGapFacts {
        venue: "binance-usdm".into(),
        stream: "trades".into(),
        symbol: "BTCUSDT".into(),
        from_ms: T0,
        to_ms: None,
        cause: "the connection was lost".into(),
        known_at_ms: T0 + 125,
    };
    events.push((Event::feed_gap(gap.clone()), Event::feed_gap(alerts::FeedGapFacts { to_ms: ended_at_ms, ..gap })));
    let lag =
        alerts::PipelineLagFacts { onset_ms: T0, ended_at_ms: None, worst_ms: 7_400, limit_ms: 5_000, known_at_ms: T0 + 4_000 };
    events
        .push((Event::pipeline_lag(lag), Event::pipeline_lag(alerts::PipelineLagFacts { ended_at_ms, worst_ms: 12_600, ..lag })));
    let threshold = alerts::ThresholdFacts {
        rule: "funding-z".into(),
        view: "funding".into(),
        column: "z_30d".into(),
        comparison: "outside",
        fire: 4.0,
        clear: 2.0,
        venue: "bybit-linear".into(),
        symbol: "ETH-USDT-PERP".into(),
        rest: [("kind".to_owned(), "predicted".to_owned())].into(),
        value: -4.7,
        extreme: -4.7,
        onset_ms: T0,
        ended_at_ms: None,
        severity: alerts::Severity::Warning,
        known_at_ms: T0 + 125,
    };
    let over = alerts::ThresholdFacts { ended_at_ms, value: -1.9, extreme: -6.2, ..threshold.clone() };
    events.push((Event::threshold(threshold), Event::threshold(over)));
    events
}

/// As rules would ask for it.
pub fn alert(event: Event) -> Alert {
    Alert {
        event,
        rules: vec!["big-moves".into()],
        labels: [("desk".to_owned(), "asia".to_owned())].into(),
        chart: None,
        is_correction: false,
    }
}

pub fn notice(kind: NoticeKind, id: String, alerts: Vec<Alert>) -> Notice {
    Notice {
        id,
        channel: "desk".into(),
        kind,
        is_urgent: false,
        group: String::new(),
        counts: count(&alerts),
        alerts,
        remark: String::new(),
        decided_at: DECIDED,
    }
}
