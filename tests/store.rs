//! The store against the real embedded engine: what is written is what is read, whatever is retried, corrected or killed.

#![allow(clippy::unwrap_used, missing_docs)]

mod engine;
mod program;

use std::path::Path;
use std::sync::Arc;

use dataflows::fixed::{Notional, Price, Quantity, Rate};
use dataflows::model::*;
use engine::{bitcoin, check, embedded, open};
use hmm::{Label, Vote};
use program::signal;
use regimeflow::config;
use regimeflow::model_dir::standing::Standing;
use regimeflow::store::edge::{AlertRow, DeliveryRow, EdgeRow, FeedGap, ModelRow, RejectedFrame};
use regimeflow::store::{Mode, Quantum, Store, StoreError, WriterOptions, dump, migrate, views};

/// 2024-08-08 00:00 UTC.
const T0: i64 = 1_723_075_200_000;
const ONE: i64 = 1_000_000_000_000;

async fn write(store: &Store, instruments: &Arc<Instruments>, quanta: Vec<Quantum>) {
    let writer = store.writer(Arc::clone(instruments), WriterOptions::live());
    for quantum in quanta {
        writer.push(quantum).await.unwrap();
    }
    writer.flush().await.unwrap();
}

fn quantum(known_at: i64, changes: Vec<Changes>) -> Quantum {
    Quantum { known_at: known_at as u64, changes, edge: Vec::new() }
}

fn bar(instrument: InstrumentId, ts: i64, close: i64) -> Bar {
    Bar {
        instrument,
        timeframe: Timeframe::M1,
        ts,
        open: Price(61_800 * ONE),
        high: Price(61_900 * ONE),
        low: Price(61_700 * ONE),
        close: Price(close * ONE),
        volume: Quantity(2 * ONE as i128),
        notional: Notional(123_600 * (ONE as i128) * (ONE as i128)),
        taker_buy_volume: Quantity(ONE as i128 / 2),
        trades: 17,
    }
}

fn regime(instrument: InstrumentId) -> Regime {
    Regime {
        instrument,
        timeframe: Timeframe::H4,
        ts: T0,
        model: ModelId { name: "btc-4h".into(), version: 3 },
        state: Some(1),
        label: Some(Label::Bull),
        firm: true,
        probability: Real(0.75),
        probabilities: [Real(0.25), Real(0.75)].into(),
        smoothed: [].into(),
        viterbi_state: 0,
        viterbi_label: Some(Label::Bear),
        surprise: Real(1.25),
        forecast: [Real(0.5), Real(0.5)].into(),
        expected_duration_bars: None,
        entropy: Real(0.5),
    }
}

/// One row of every view of the dataflow.
fn every_view(id: InstrumentId, market: InstrumentId) -> Vec<Changes> {
    let usd = |n: i128| Notional(n * (ONE as i128) * (ONE as i128));
    let at = |row| (row, T0 as u64, 1);
    let liquidation = LiquidationRow {
        instrument: id,
        ts: T0 + 7,
        position_side: PositionSide::Long,
        price: Price(61_000 * ONE),
        qty: Quantity(3 * ONE as i128),
        seq: 0,
        price_kind: PriceKind::Bankruptcy,
        notional: usd(183_000),
        coverage: Coverage::Sampled1s,
    };
    let cascade = Cascade {
        cascade_id: 0xab,
        instrument: id,
        window: Window::M5,
        onset: T0,
        last_active: T0 + 60_000,
        ended_at: None,
        total: usd(900_000),
        long_notional: usd(800_000),
        short_notional: usd(100_000),
        count: 12,
        window_notional: usd(500_000),
        peak_window_notional: usd(750_000),
        critical_per_hour: usd(3_000_000),
        critical_from: CriticalFrom::Adaptive,
        severity: Real(3.0),
        severity_label: Severity::Critical,
        side_bias: SideBias::Long,
        price_move_bps: Some(Real(-42.5)),
        branching_ratio: Some(Real(0.875)),
        self_feeding: true,
        coverage: Coverage::Full,
    };
    let estimators = Estimators {
        close_to_close: Real(0.03),
        parkinson: Some(Real(0.031)),
        garman_klass: None,
        rogers_satchell: Some(Real(0.033)),
        yang_zhang: None,
    };
    let check = KlineCheck {
        bar: bar(id, T0, 61_850),
        kline_ohlc: [Price(61_800 * ONE), Price(61_901 * ONE), Price(61_700 * ONE), Price(61_850 * ONE)],
        kline_volume: Quantity(2 * ONE as i128),
        kline_trades: None,
        agrees: false,
    };
    vec![
        Changes::Bars(vec![(bar(id, T0, 61_850), T0 as u64, 1)]),
        Changes::Liquidations(vec![at(liquidation)]),
        Changes::LiquidationWindows(vec![(
            LiquidationWindow {
                instrument: id,
                window: Window::H1,
                ts: T0 + 60_000,
                long_notional: usd(183_000),
                short_notional: usd(0),
                count: 1,
                largest: usd(183_000),
                coverage: Coverage::Sampled1s,
            },
            T0 as u64,
            1,
        )]),
        Changes::LiquidationRatios(vec![(
            LiquidationRatio {
                instrument: id,
                window: Window::H1,
                ts: T0 + 60_000,
                long_to_open_interest: None,
                short_to_open_interest: None,
                to_volume: Some(Real(0.125)),
                open_interest: None,
                traded: Some(Real(1_464_000.0)),
                coverage: Coverage::Sampled1s,
            },
            T0 as u64,
            1,
        )]),
        Changes::Cascades(vec![(cascade, T0 as u64, 1)]),
        Changes::SelfExcitation(vec![(
            SelfExcitation {
                instrument: id,
                position_side: PositionSide::Short,
                ts: T0,
                mu: Real(0.01),
                alpha: Real(0.0875),
                beta: Real(0.1),
                branching_ratio: Real(0.875),
                events: 321,
                coverage: Coverage::Sampled1s,
            },
            T0 as u64,
            1,
        )]),
        Changes::MarketCascades(vec![(
            MarketCascade {
                instrument: market,
                onset: T0,
                last_active: T0 + 90_000,
                ended_at: Some(T0 + 390_000),
                assets: vec!["BTC".into(), "ETH".into(), "SOL".into()],
                cascades: 4,
                long_notional: usd(4_000_000),
                short_notional: usd(500_000),
                count: 77,
                side_bias: SideBias::Long,
                largest_asset: "BTC".into(),
                largest_notional: usd(3_000_000),
                coverage: Coverage::Partial,
            },
            T0 as u64,
            1,
        )]),
        Changes::Volatility(vec![(
            Volatility {
                instrument: id,
                ts: T0,
                day: Some(estimators),
                hour: None,
                ewma: Some(Real(0.02)),
                regime: Some(VolatilityRegime::HighVol),
                regime_share: Some(Real(0.75)),
                reversion_potential: Some(Real(-0.2)),
                half_life_minutes: None,
            },
            T0 as u64,
            1,
        )]),
        Changes::VolatilityRegimes(vec![(
            RegimeSpell {
                instrument: id,
                onset: T0,
                ended_at: None,
                from: VolatilityRegime::Stable,
                to: VolatilityRegime::HighVol,
                close_to_close: Real(0.012),
                parkinson: None,
            },
            T0 as u64,
            1,
        )]),
        Changes::Funding(vec![(
            FundingRow {
                instrument: id,
                kind: FundingKind::Settled,
                ts: T0,
                rate: Rate(100_000_000),
                interval_hours: 4,
                scores: Scores { z_30d: Some(Real(-2.75)), ..Scores::default() },
                paid: Paid { day: Some(Rate(300_000_000)), ..Paid::default() },
            },
            T0 as u64,
            1,
        )]),
        Changes::OpenInterest(vec![(
            OpenInterestRow {
                instrument: id,
                ts: T0,
                base: Quantity(5 * ONE as i128),
                usd: Some(usd(309_000)),
                changes: InterestChanges { h1: Some(Real(0.0125)), ..InterestChanges::default() },
                quadrant: Some(Quadrant::ShortBuildUp),
            },
            T0 as u64,
            1,
        )]),
        Changes::FundingAnomalies(vec![(
            FundingAnomaly {
                instrument: id,
                onset: T0,
                kind: AnomalyKind::Anomaly,
                ended_at: None,
                rate_8h: Rate(600_000_000),
                z: Some(Real(2.3)),
                score: Real(2.8),
                reasons: Reasons { z: Some(Real(2.3)), volatility: Some(Real(0.000_42)), ..Reasons::default() },
            },
            T0 as u64,
            1,
        )]),
        Changes::FundingSpreads(vec![(
            FundingSpread {
                instrument: id,
                ts: T0,
                spread: Rate(200_000_000),
                highest: (Venue::BybitLinear, Rate(300_000_000)),
                lowest: (Venue::BinanceUsdm, Rate(100_000_000)),
                venues: 2,
                weighted_mean: Some(Real(0.000_18)),
                scores: Scores::default(),
            },
            T0 as u64,
            1,
        )]),
        Changes::OpenInterestTotals(vec![(
            OpenInterestTotal { instrument: id, ts: T0, base: Quantity(7 * ONE as i128), usd: None, venues: 2 },
            T0 as u64,
            1,
        )]),
        Changes::OiShocks(vec![(
            OiShock { instrument: id, onset: T0, ended_at: Some(T0 + 60_000), change: Real(-0.04), cascade_id: 255 },
            T0 as u64,
            1,
        )]),
        Changes::Basis(vec![(
            BasisRow {
                instrument: id,
                ts: T0,
                mark: Price(60_030 * ONE),
                index: Price(60_000 * ONE),
                basis_bps: Real(5.0),
                annualised: None,
            },
            T0 as u64,
            1,
        )]),
        Changes::Features(vec![(
            Features { instrument: id, timeframe: Timeframe::H4, ts: T0, values: [Some(Real(0.25)); FEATURES.len()] },
            T0 as u64,
            1,
        )]),
        Changes::SupportZones(vec![(
            SupportZone {
                instrument: id,
                ts: T0,
                side: PositionSide::Long,
                rank: 1,
                price_low: Price(60_000 * ONE),
                price_high: Price(60_060 * ONE),
                notional: usd(750_000),
                distance_bps: Real(-12.5),
                touches: 2,
                coverage: Coverage::Full,
            },
            T0 as u64,
            1,
        )]),
        Changes::Regimes(vec![(regime(id), T0 as u64, 1)]),
        Changes::CandidateRegimes(vec![(CandidateRegime(Regime { state: None, label: None, ..regime(id) }), T0 as u64, 1)]),
        Changes::WindowRegimes(vec![(
            WindowRegime {
                instrument: id,
                timeframe: Timeframe::H4,
                ts: T0,
                model: regime(id).model,
                window_bars: 256,
                state: 1,
                label: Some(Label::Chop),
                probabilities: [Real(0.25), Real(0.5), Real(0.25)].into(),
                share: [Real(0.25), Real(0.5), Real(0.25)].into(),
                labels: [Label::Bear, Label::Chop, Label::Chop].into(),
                switches: 3,
                log_likelihood_per_bar: Real(-1.5),
            },
            T0 as u64,
            1,
        )]),
        Changes::Confirmations(vec![(
            Confirmation {
                instrument: id,
                ts: T0,
                primary: Vote::Bull,
                confidence: Real(0.75),
                confirmed: true,
                agreeing: [Timeframe::H1, Timeframe::D1].into(),
                present: [Timeframe::H1, Timeframe::H4, Timeframe::D1].into(),
                product_posterior: [Real(0.125), Real(0.25), Real(0.625)],
            },
            T0 as u64,
            1,
        )]),
        Changes::ZoneTouches(vec![(
            ZoneTouch {
                instrument: id,
                side: PositionSide::Long,
                onset: T0,
                price_low: Price(60_000 * ONE),
                price_high: Price(60_060 * ONE),
                ended_at: None,
                rank: 1,
                notional: usd(750_000),
                touches: 3,
                coverage: Coverage::Full,
            },
            T0 as u64,
            1,
        )]),
        Changes::Drift(vec![(
            Drift {
                instrument: id,
                timeframe: Timeframe::M1,
                ts: T0,
                model: regime(id).model,
                surprise_z: Real(-1.5),
                drift_score: Real(0.0),
                symmetric_kl: Some(Real(0.25)),
                drifting: false,
            },
            T0 as u64,
            1,
        )]),
        Changes::RegimeEpisodes(vec![(
            RegimeEpisode {
                kind: EpisodeKind::Confirmed,
                instrument: id,
                timeframe: None,
                onset: T0,
                ended_at: None,
                from: None,
                to: Some(Label::Bull),
                model: None,
                strength: Real(0.75),
            },
            T0 as u64,
            1,
        )]),
        Changes::KlineChecks(vec![(check, T0 as u64, 1)]),
        Changes::LateEvents(vec![(
            LateEvent {
                venue: Venue::BybitLinear,
                instrument: id,
                stream: LateStream::Trades,
                ts: T0 - 9_000,
                seq: 3,
                applied: true,
            },
            T0 as u64,
            1,
        )]),
    ]
}

/// One row of every view that speaks of symbols together.
fn every_view_across(market: InstrumentId, btc: InstrumentId, eth: InstrumentId) -> Vec<Changes> {
    let (t, horizon) = (T0 as u64, Horizon(1_440));
    let baseline = Some(Baseline { mean: Real(0.9), sd: Real(0.2), delta_z: Real(-3.5) });
    let correlation = Correlation {
        symbol_a: btc,
        symbol_b: eth,
        horizon,
        ts: T0,
        r: Real(0.75),
        ewma_r: Real(0.7),
        fisher_z: Real(0.972_955),
        baseline,
        bars: 280,
    };
    let mode = MarketMode { market, horizon, ts: T0, absorption_ratio: Real(0.6), change_24h: None, symbols: 20 };
    let (beta, residual_volatility) = (Real(1.25), Real(0.01));
    let beta = Beta { instrument: eth, horizon, ts: T0, beta, residual_volatility, r2: Real(0.5), bars: 280 };
    let broken = CorrelationBreak {
        symbol_a: btc,
        symbol_b: eth,
        horizon,
        onset: T0,
        ended_at: None,
        return_correlation: Real(0.1),
        divergence_strength: Real(1.2),
        is_pair_trade: true,
        baseline,
    };
    let pair = LeadLag {
        symbol_a: btc,
        symbol_b: eth,
        ts: T0,
        best_lag: 1,
        lag_r: Real(0.4),
        r: Real(0.3),
        strength: Real(5.5),
        leader: Some(btc),
        buckets: 9_000,
    };
    vec![
        Changes::Correlations(vec![(correlation, t, 1)]),
        Changes::MarketMode(vec![(mode, t, 1)]),
        Changes::Betas(vec![(beta, t, 1)]),
        Changes::CorrelationBreaks(vec![(broken, t, 1)]),
        Changes::LeadLag(vec![(pair, t, 1)]),
        Changes::LeadScores(vec![(LeadScore { instrument: btc, ts: T0, leads: 2, lags: 0 }, t, 1)]),
        Changes::Leaders(vec![(Leader { instrument: btc, onset: T0, ended_at: None, before: Some(eth), score: 2 }, t, 1)]),
    ]
}

fn every_edge_row() -> Vec<EdgeRow> {
    let known_at = T0 as u64 + 5;
    vec![
        EdgeRow::Rejected(RejectedFrame {
            venue: "bybit-linear".into(),
            stream: "trades".into(),
            known_at,
            seq: 41,
            reason: "price out of range".into(),
            payload: "{\"p\":\"1e400\"} \t'\\ ü".into(),
        }),
        EdgeRow::Gap(FeedGap {
            venue: "bybit-linear".into(),
            stream: "trades".into(),
            symbol: "BTCUSDT".into(),
            from_ts: T0,
            to_ts: None,
            recovered: regimeflow::store::edge::Recovered::None,
            cause: "disconnect".into(),
            known_at,
        }),
        EdgeRow::Alert(AlertRow {
            id: "a1".into(),
            event_type: "LIQUIDATION_CASCADE".into(),
            status: "firing".into(),
            severity: "CRITICAL".into(),
            symbol: "BTC-USDT-PERP".into(),
            venue: "bybit-linear".into(),
            onset: T0,
            resolved_at: None,
            title: "a cascade".into(),
            description: String::new(),
            data: "{}".into(),
            known_at,
            diff: 1,
        }),
        EdgeRow::Model(Box::new(ModelRow {
            standing: Standing {
                model: "btc-4h".into(),
                version: 3,
                symbol: "BTC-USDT-PERP".into(),
                timeframe: "4h".into(),
                status: "active",
                active_from: Some(T0),
                trained_from: Some(T0 - 86_400_000),
                trained_to: Some(T0 - 1),
                bars: Some(4_380),
                states: 2,
                covariance: "diagonal".into(),
                emissions: "t".into(),
                features: vec!["log_return".into()],
                labels: vec!["BEAR".into(), "BULL".into()],
                log_likelihood: Some(-6_000.5),
                bic: None,
                oos_log_likelihood_per_bar: Some(-1.25),
                switches_per_year: Some(120.0),
            },
            known_at,
            diff: 1,
        })),
        EdgeRow::Delivery(DeliveryRow {
            alert_id: "a1.firing".into(),
            channel: "ops".into(),
            attempt: 1,
            sent_at: T0 + 6,
            result: "delivered".into(),
            http_status: 200,
            latency_ms: 3.5,
            reason: String::new(),
            known_at,
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_type_is_read_as_it_was_written() {
    let Some((_dir, store)) = engine::start().await else { return };
    assert!(migrate::apply(store.client(), store.database()).await.unwrap().is_empty(), "the second time there is nothing to do");

    let instruments = Arc::new(Instruments::default());
    let id = instruments.intern(Venue::BybitLinear, "BTC-USDT-PERP").unwrap();
    let [market, btc, eth] = ["", "BTC-USDT-PERP", "ETH-USDT-PERP"].map(|name| instruments.across(name).unwrap());
    let changes = [every_view(id, market), every_view_across(market, btc, eth)].concat();
    let all = Quantum { known_at: T0 as u64, changes, edge: every_edge_row() };
    for _ in 0..2 {
        write(&store, &instruments, vec![all.clone()]).await; // the second time is a retry: it must not show
        for view in views::VIEWS {
            check(&store, &format!("SELECT count() FROM {}", view.name), "1").await;
        }
    }
    check(
        &store,
        "SELECT * FROM bars",
        "bybit-linear\tBTC-USDT-PERP\t1m\t2024-08-08 00:00:00.000\t61800\t61900\t61700\t61850\t2\t123600\t61800\t0.5\t17",
    )
    .await;
    check(
        &store,
        "SELECT name, version, status, active_from, bars, features, labels, bic, oos_log_likelihood_per_bar FROM models",
        "btc-4h\t3\tactive\t2024-08-08 00:00:00.000\t4380\t['log_return']\t['BEAR','BULL']\t\\N\t-1.25",
    )
    .await;
    check(
        &store,
        "SELECT symbol_a, symbol_b, horizon, r, ewma_r, baseline_mean, baseline_sd, fisher_z FROM correlations",
        "BTC-USDT-PERP\tETH-USDT-PERP\t24h\t0.75\t0.7\t0.9\t0.2\t0.972955",
    )
    .await;
    check(
        &store,
        "SELECT symbol_a, symbol_b, best_lag, lag_r, leader FROM lead_lag",
        "BTC-USDT-PERP\tETH-USDT-PERP\t1\t0.4\tBTC-USDT-PERP",
    )
    .await;
    check(
        &store,
        "SELECT * FROM support_zones",
        "bybit-linear\tBTC-USDT-PERP\t2024-08-08 00:00:00.000\tLONG\t1\t60000\t60060\t750000\t-12.5\t2\tfull",
    )
    .await;
    check(
        &store,
        "SELECT * FROM liquidations",
        "bybit-linear\tBTC-USDT-PERP\t2024-08-08 00:00:00.007\tLONG\t61000\t3\t0\tbankruptcy\t183000\tsampled_1s",
    )
    .await;
    check(
        &store,
        "SELECT cascade_id, window, ended_at, velocity_usd_per_hour, peak_velocity, side_bias, severity_label, price_move_bps FROM cascades",
        "00000000000000ab\t5m\t\\N\t6000000\t9000000\tLONG\tCRITICAL\t-42.5",
    )
    .await;
    check(
        &store,
        "SELECT critical_velocity, critical_from, branching_ratio, self_feeding FROM cascades",
        "3000000\tadaptive\t0.875\t1",
    )
    .await;
    check(&store, "SELECT coverage FROM liquidation_windows", "sampled_1s").await;
    check(
        &store,
        "SELECT * FROM liquidation_ratios",
        "bybit-linear\tBTC-USDT-PERP\t1h\t2024-08-08 00:01:00.000\t\\N\t\\N\t0.125\t\\N\t1464000\tsampled_1s\t1",
    )
    .await;
    check(
        &store,
        "SELECT * FROM self_excitation",
        "bybit-linear\tBTC-USDT-PERP\tSHORT\t2024-08-08 00:00:00.000\t0.01\t0.0875\t0.1\t0.875\t321\tsampled_1s\t1",
    )
    .await;
    check(
        &store,
        "SELECT venue, symbol, onset, assets, cascades, total_liquidated_usd, largest_asset, coverage FROM market_cascades",
        "\t\t2024-08-08 00:00:00.000\t['BTC','ETH','SOL']\t4\t4500000\tBTC\tpartial",
    )
    .await;
    check(
        &store,
        "SELECT close_to_close, garman_klass, rogers_satchell, parkinson_1h, ewma, regime, risk_multiplier, regime_share, reversion_potential, half_life_minutes FROM volatility",
        "0.03\t\\N\t0.033\t\\N\t0.02\tHIGH_VOL\t1.2\t0.75\t-0.2\t\\N",
    )
    .await;
    check(&store, "SELECT kind, rate, rate_8h, round(annualised, 6) FROM funding", "settled\t0.0001\t0.0002\t0.219").await;
    check(&store, "SELECT z_24h, z_30d, paid_24h, paid_30d FROM funding", "\\N\t-2.75\t0.0003\t\\N").await;
    check(
        &store,
        "SELECT type, severity, anomaly_score, reasons, rate_8h FROM funding_anomalies",
        "ANOMALY\tWARNING\t2.8\t['Z-score anomaly: 2.30σ','High volatility: 0.00042']\t0.0006",
    )
    .await;
    check(
        &store,
        "SELECT spread_8h, highest_venue, lowest_venue, venues, weighted_mean_8h FROM funding_spreads",
        "0.0002\tbybit-linear\tbinance-usdm\t2\t0.00018",
    )
    .await;
    check(&store, "SELECT change_5m, change_1h, quadrant FROM open_interest", "\\N\t0.0125\tSHORT_BUILD_UP").await;
    check(&store, "SELECT base, usd, venues FROM open_interest_totals", "7\t\\N\t2").await;
    check(&store, "SELECT change, cascade_id FROM oi_shocks", "-0.04\t00000000000000ff").await;
    check(&store, "SELECT mark, index, basis_bps, annualised FROM basis", "60030\t60000\t5\t\\N").await;
    check(
        &store,
        "SELECT model, state, label, firm, probabilities, smoothed, viterbi_label, forecast, expected_duration_bars FROM regimes",
        "btc-4h.v3\t1\tBULL\t1\t[0.25,0.75]\t[]\tBEAR\t[0.5,0.5]\t\\N",
    )
    .await;
    check(&store, "SELECT state, label, surprise FROM candidate_regimes", "\\N\t\t1.25").await;
    check(&store, "SELECT label, share['BEAR'], share['CHOP'], switches FROM window_regimes", "CHOP\t0.25\t0.75\t3").await;
    check(
        &store,
        "SELECT primary_regime, confirmed, agreeing, product_posterior FROM confirmations",
        "BULL\t1\t['1h','1d']\t[0.125,0.25,0.625]",
    )
    .await;
    check(&store, "SELECT surprise_z, drift_score, drifting FROM drift", "-1.5\t0\t0").await;
    check(&store, "SELECT type, timeframe, from, to, model FROM regime_episodes", "REGIME_CONFIRMED\t\t\tBULL").await;
    check(&store, "SELECT kline_high, kline_trades, agrees FROM kline_checks", "61901\t\\N\t0").await;
    check(
        &store,
        "SELECT stream, seq, symbol, reason FROM late_events",
        "trades\t3\tBTC-USDT-PERP\tlate, applied as a correction",
    )
    .await;
    check(&store, "SELECT seq, payload = '{\"p\":\"1e400\"} \\t\\'\\\\ ü' FROM rejected_frames", "41\t1").await;

    // Values only ever travel as bound parameters.
    let hostile = "x' OR '1'='1";
    let found = store.client().query("SELECT count() FROM bars WHERE symbol = ?").bind(hostile).fetch_one::<u64>().await;
    assert_eq!(found.unwrap(), 0);
    let echoed = store.client().query("SELECT {v:String}").param("v", hostile).fetch_one::<String>().await;
    assert_eq!(echoed.unwrap(), hostile);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_is_seen_now_and_not_before() {
    let Some((_dir, store)) = engine::start().await else { return };
    let (instruments, id) = bitcoin();
    let (known, fixed, gone) = (T0 + 60_000, T0 + 120_000, T0 + 180_000);
    let change = |close, known_at: i64, diff| (bar(id, T0, close), known_at as u64, diff);
    let first = quantum(known, vec![Changes::Bars(vec![change(1, known, 1), change(9, known, 1), change(9, known, -1)])]);
    let second = quantum(fixed, vec![Changes::Bars(vec![change(1, fixed, -1), change(2, fixed, 1)])]);
    let third = quantum(gone, vec![Changes::Bars(vec![change(2, gone, -1)])]);

    write(&store, &instruments, vec![first.clone()]).await;
    check(&store, "SELECT close FROM bars", "1").await;
    write(&store, &instruments, vec![second.clone(), first.clone()]).await;
    check(&store, "SELECT close FROM bars", "2").await;
    check(&store, "SELECT uniqExact(known_at, diff) FROM bars_changes", "3").await;
    write(&store, &instruments, vec![third]).await;
    check(&store, "SELECT close FROM bars", "").await;
    store.client().query("OPTIMIZE TABLE bars_changes FINAL").execute().await.unwrap();
    check(&store, "SELECT count() FROM bars_changes", "4").await;
    for (t, close) in [(known - 1, ""), (known, "1"), (fixed - 1, "1"), (fixed, "2"), (gone - 1, "2"), (gone, "")] {
        check(&store, &format!("SELECT close FROM bars_asof(t = fromUnixTimestamp64Milli({t}, 'UTC'))"), close).await;
    }
    check(&store, "SELECT close FROM bars_asof(t = '2024-08-08 00:01:30')", "1").await;
    store.close().await.unwrap();
}

/// The hash over all views after writing these quanta, each a batch of its own or all in one.
async fn hash(quanta: Vec<Quantum>, instruments: &Arc<Instruments>, batch_rows: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let writer = store.writer(Arc::clone(instruments), WriterOptions { batch_rows, ..WriterOptions::live() });
    for quantum in quanta {
        writer.push(quantum).await.unwrap();
    }
    writer.flush().await.unwrap();
    drop(writer);
    let mut dumps = Vec::new();
    for view in views::VIEWS {
        dumps.push(dump::view(&store, view, &mut std::io::sink()).await.unwrap());
    }
    store.close().await.unwrap();
    assert_eq!(dumps[0].rows, 300);
    dump::overall(&dumps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dump_does_not_depend_on_order_or_batching() {
    if !engine::is_here() {
        return;
    }
    let (instruments, id) = bitcoin();
    let mut quanta: Vec<Quantum> = (0..300)
        .map(|m| quantum(T0 + m, vec![Changes::Bars(vec![(bar(id, T0 + m * 60_000, 61_000 + m), (T0 + m) as u64, 1)])]))
        .collect();
    let forward = hash(quanta.clone(), &instruments, 1).await;
    quanta.reverse();
    assert_eq!(hash(quanta.clone(), &instruments, 1_000_000).await, forward);
    quanta[0].changes = vec![Changes::Bars(vec![(bar(id, T0 + 299 * 60_000, 1), T0 as u64 + 299, 1)])];
    assert_ne!(hash(quanta, &instruments, 1_000_000).await, forward, "another close is another hash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let Some((dir, store)) = engine::start().await else { return };
    let (instruments, id) = bitcoin();
    let rows = (0..5_000).map(|m| (bar(id, T0 + m * 60_000, 61_000), T0 as u64, 1)).collect();
    write(&store, &instruments, vec![quantum(T0, vec![Changes::Bars(rows)])]).await;
    assert!(signal(store.engine_pid().unwrap(), "KILL"));
    drop(store); // as if our process had died as well: engine.json stays behind

    assert!(dir.path().join("engine.json").exists());
    let store = Store::open(&embedded(dir.path()), Mode::Read("query")).await.unwrap();
    check(&store, "SELECT count() FROM bars", "5000").await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_opener_attaches_or_is_told_who_is_there() {
    if !engine::is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let absent = Store::open(&embedded(&dir.path().join("nothing")), Mode::Read("query")).await.unwrap_err();
    assert!(matches!(absent, StoreError::Absent(_)), "{absent}");
    let store = open(dir.path()).await;
    let busy = Store::open(&embedded(dir.path()), Mode::Write("replay")).await.unwrap_err();
    assert_eq!(busy.exit_code(), 75);
    assert!(busy.to_string().contains(&format!("by process {} (test)", std::process::id())), "{busy}");
    let reader = Store::open(&embedded(dir.path()), Mode::Read("query")).await.unwrap();
    assert_eq!(reader.engine_pid(), None, "it attached");
    check(&reader, "SELECT count() FROM bars", "0").await;
    reader.close().await.unwrap();
    let refused = store.client().query("SELECT nothing FROM bars").execute().await.unwrap_err();
    let refused = StoreError::of("a query", &refused);
    assert_eq!((refused.exit_code(), refused.is_retryable()), (65, false), "{refused}");
    store.close().await.unwrap();
    Store::open(&embedded(dir.path()), Mode::Write("replay")).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_migration_is_refused() {
    let Some((_dir, store)) = engine::start().await else { return };
    let tamper = "ALTER TABLE schema_migrations UPDATE checksum = 'x' WHERE version = 1 SETTINGS mutations_sync = 2";
    store.client().query(tamper).execute().await.unwrap();
    let error = migrate::pending(store.client(), store.database()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(text) if text.contains("0001_views")), "{error}");
    store.close().await.unwrap();
}

/// Reads a command's arguments as the command line would.
#[derive(clap::Parser)]
struct Line<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

fn line<A: clap::Args>(words: &[&str]) -> A {
    use clap::Parser;
    Line::<A>::parse_from([&["regimeflow"], words].concat()).args
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_end_with_their_exit_codes() {
    use regimeflow::cli::{dump, migrate, query};
    use std::process::ExitCode;
    if !engine::is_here() {
        return;
    }
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, out) = (dir.path().to_str().unwrap(), out.path().to_str().unwrap());
    let migrated = |words: &[&str]| migrate::run(line(words));
    assert_eq!(query::run(line(&["SELECT 1", "--store", &format!("{dir}/nothing")])).await.unwrap(), ExitCode::from(69));
    assert_eq!(migrated(&["--dry-run", "--store", dir]).await.unwrap(), ExitCode::SUCCESS);
    assert!(!Path::new(dir).join("engine").exists(), "a dry run makes nothing");
    assert_eq!(migrated(&["--store", dir]).await.unwrap(), ExitCode::SUCCESS);
    for (words, code) in [
        (vec!["SELECT count() FROM bars WHERE symbol = {s:String}", "--param", "s=it's", "--json"], 0),
        (vec!["SELECT nonsense FROM bars"], 65),
        (vec!["SELECT throwIf(number = 100000) FROM numbers(200000)", "--format", "Null"], 65),
        (vec!["SELECT 1", "--format", "NoSuchFormat"], 65),
        (vec!["DROP TABLE bars_changes"], 65),
        (vec!["SELECT {s:String}", "--param", "s"], 64),
        (vec![" "], 64),
    ] {
        let words = [words.as_slice(), &["--store", dir]].concat();
        assert_eq!(query::run(line(&words)).await.unwrap(), ExitCode::from(code), "{words:?}");
    }
    assert_eq!(dump::run(line(&["--store", dir, "--out", out])).await.unwrap(), ExitCode::SUCCESS);
    let bars = std::fs::read_to_string(Path::new(out).join("bars.tsv")).unwrap();
    assert!(bars.starts_with("venue\tsymbol\ttimeframe\tts\topen"), "{bars}");
    assert_eq!(dump::run(line(&["--store", dir, "--view", "rubbish"])).await.unwrap(), ExitCode::from(64));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let nowhere = config::Store { location: "http://127.0.0.1:9".into(), ..config::Store::default() };
    let error = Store::open(&nowhere, Mode::Read("query")).await.unwrap_err();
    assert_eq!((error.exit_code(), error.is_retryable()), (69, true), "{error}");
    let wrong = config::Store { location: "ftp://x".into(), ..config::Store::default() };
    assert_eq!(Store::open(&wrong, Mode::Read("query")).await.unwrap_err().exit_code(), 78);
}

/// Figures on demand: `cargo test --profile ci --test store -- --ignored --nocapture bench`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bench() {
    if !engine::is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rows = std::env::var("ROWS").ok().and_then(|r| r.parse().ok()).unwrap_or(2_000_000);
    let figures = regimeflow::store::bench::bench(dir.path(), rows).await.unwrap();
    assert_eq!(figures.rows_found, rows);
    eprintln!("{}", serde_json::to_string_pretty(&figures).unwrap());
}
