//! An event of each type with likely figures, made by the same constructors as real ones: what a drill shows, and what `route` asks about.

use alerts::facts::{
    CascadeFacts, CorrelationFacts, Coverage, FeedGapFacts, FundingEpisode, FundingFacts, LeaderFacts, MarketCascadeFacts,
    OiShockFacts, PipelineLagFacts, Regime, RegimeFacts, RegimeTopic, SideBias, VolatilityFacts, ZoneSide, ZoneTouchFacts,
};
use alerts::{Chart, Event, EventType, Severity};

use crate::rules::{Comparison, Rule};

const MINUTE: i64 = 60_000;
/// So many minutes of a chart.
const POINTS: i64 = 60;

/// Whose sample, and when.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Canonical; of a pair, both with a slash between.
    pub symbol: String,
    pub venue: String,
    pub now_ms: i64,
}

impl Sample {
    /// The event, and a chart where real ones have one.
    pub fn of(&self, event_type: EventType) -> (Event, Option<Chart>) {
        let event = match event_type {
            EventType::MarketCascade => self.market_cascade(),
            EventType::VolatilityRegimeChange => self.volatility(),
            EventType::SupportZoneTouched => self.zone(),
            EventType::FundingAnomaly => self.funding(FundingEpisode::Anomaly),
            EventType::FundingReversal => self.funding(FundingEpisode::Reversal),
            EventType::FundingSpread => self.funding(FundingEpisode::Spread),
            EventType::OiShock => self.oi_shock(),
            EventType::CorrelationBreak => self.correlation(),
            EventType::LeaderChange => self.leader(),
            EventType::RegimeChange => return (self.regime(RegimeTopic::Change), Some(self.regimes())),
            EventType::RegimeConfirmed => self.regime(RegimeTopic::Confirmed),
            EventType::ModelDrift => self.regime(RegimeTopic::Drift),
            EventType::FeedGap => self.feed_gap(),
            EventType::PipelineLag => self.lag(),
            EventType::Threshold => {
                let rule = Rule {
                    name: "sample".into(),
                    view: Some("funding".into()),
                    column: Some("z_30d".into()),
                    comparison: Comparison::Above,
                    fire: Some(4.0),
                    clear: Some(2.0),
                    ..Rule::default()
                };
                return match rule.example(&self.symbol, &self.venue, self.now_ms) {
                    Some((event, chart)) => (event, Some(chart)),
                    None => (self.cascade(), None), // only if `funding` were no view any more
                };
            }
            _ => return (self.cascade(), Some(self.liquidations())),
        };
        (event, None)
    }

    fn onset(&self) -> i64 {
        self.now_ms - self.now_ms.rem_euclid(MINUTE)
    }

    fn cascade(&self) -> Event {
        Event::cascade(CascadeFacts {
            cascade_id: 1,
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            window: "5m".into(),
            onset_ms: self.now_ms,
            last_active_ms: self.now_ms,
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            long_notional_usd: 8.4e6,
            short_notional_usd: 0.6e6,
            velocity_usd_per_hour: 1.08e8,
            peak_velocity_usd_per_hour: 1.12e8,
            count: 143,
            side_bias: SideBias::Long,
            critical_usd_per_hour: 5.0e7,
            critical_from: "adaptive",
            branching_ratio: Some(0.81),
            self_feeding: true,
            severity: 2.16,
            severity_label: Severity::Warning,
            price_move_bps: Some(-142.0),
            coverage: Coverage::Sampled1s,
        })
    }

    fn liquidations(&self) -> Chart {
        let burst = |n: i64| if n > POINTS - 6 { (n - POINTS + 6) as f64 } else { 0.0 };
        let calm = |n: i64| ((n * 37) % 11) as f64 / 11.0;
        Chart::Liquidations {
            ts: (1..=POINTS).map(|n| self.onset() - (POINTS - n) * MINUTE).collect(),
            close: (1..=POINTS).map(|n| 60_000.0 * (1.0 + 0.0008 * calm(n) - 0.0024 * burst(n))).collect(),
            long_usd: (1..=POINTS).map(|n| 2.0e4 * calm(n) + 4.0e5 * burst(n)).collect(),
            short_usd: (1..=POINTS).map(|n| 1.5e4 * calm(n + 5) + 2.0e4 * burst(n)).collect(),
        }
    }

    fn market_cascade(&self) -> Event {
        Event::market_cascade(MarketCascadeFacts {
            onset_ms: self.now_ms,
            last_active_ms: self.now_ms,
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            assets: ["BTC", "ETH", "SOL", "XRP"].map(str::to_owned).to_vec(),
            cascades: 5,
            long_notional_usd: 6.1e7,
            short_notional_usd: 3.0e6,
            count: 1_204,
            side_bias: SideBias::Long,
            largest_asset: "BTC".into(),
            largest_notional_usd: 2.7e7,
            coverage: Coverage::Sampled1s,
        })
    }

    fn volatility(&self) -> Event {
        Event::volatility_regime_change(VolatilityFacts {
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            ts_ms: self.onset(),
            known_at_ms: self.now_ms,
            from: Regime::HighVol,
            to: Regime::Explosive,
            close_to_close: 0.054,
            parkinson: Some(0.061),
            risk_multiplier_before: 0.8,
            risk_multiplier: 0.5,
        })
    }

    fn zone(&self) -> Event {
        Event::support_zone_touched(ZoneTouchFacts {
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            side: ZoneSide::Long,
            onset_ms: self.onset(),
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            price_low: 58_200.0,
            price_high: 58_400.0,
            rank: 1,
            notional_usd: 1.9e7,
            touches: 2,
            coverage: Coverage::Sampled1s,
        })
    }

    fn funding(&self, episode: FundingEpisode) -> Event {
        let (venue, rate_8h, reason) = match episode {
            FundingEpisode::Anomaly => (self.venue.as_str(), 0.0009, "z-score 4.2 against 30 days"),
            FundingEpisode::Reversal => (self.venue.as_str(), -0.0002, "negative for 3 hours, positive before"),
            FundingEpisode::Spread => ("", 0.0006, "binance-usdm pays 0.0007, bybit-linear 0.0001"),
        };
        Event::funding(FundingFacts {
            episode,
            venue: venue.to_owned(),
            symbol: self.symbol.clone(),
            onset_ms: self.onset(),
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            rate_8h,
            z_score: Some(4.2),
            anomaly_score: 4.2,
            reasons: vec![reason.to_owned()],
        })
    }

    fn oi_shock(&self) -> Event {
        Event::oi_shock(OiShockFacts {
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            onset_ms: self.now_ms,
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            change: -0.061,
            cascade_id: 1,
        })
    }

    fn correlation(&self) -> Event {
        let (a, b) = self.symbol.split_once('/').unwrap_or((&self.symbol, "ETH-USDT-PERP"));
        Event::correlation_break(CorrelationFacts {
            symbol_a: a.to_owned(),
            symbol_b: if b == "MARKET" { String::new() } else { b.to_owned() },
            horizon: "24h".into(),
            onset_ms: self.onset(),
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            return_correlation: 0.31,
            divergence_strength: 0.52,
            is_pair_trade: true,
            baseline: Some((0.86, -4.4)),
        })
    }

    fn leader(&self) -> Event {
        let before = if self.symbol.starts_with("BTC") { "ETH-USDT-PERP" } else { "BTC-USDT-PERP" };
        let (symbol, before) = (self.symbol.clone(), before.to_owned());
        Event::leader_change(LeaderFacts { symbol, before, onset_ms: self.onset(), known_at_ms: self.now_ms, score: 4 })
    }

    fn regime(&self, topic: RegimeTopic) -> Event {
        let is_drift = topic == RegimeTopic::Drift;
        Event::regime(RegimeFacts {
            topic,
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            timeframe: if topic == RegimeTopic::Confirmed { String::new() } else { "4h".into() },
            onset_ms: self.onset(),
            ended_at_ms: None,
            known_at_ms: self.now_ms,
            from: (!is_drift).then_some("Sideways"),
            to: (!is_drift).then_some("Bear"),
            model: (topic != RegimeTopic::Confirmed).then(|| "sample-4h.v1".to_owned()),
            strength: if is_drift { 3.4 } else { 0.93 },
        })
    }

    fn regimes(&self) -> Chart {
        const BAR: i64 = 4 * 60 * MINUTE;
        let bear = |n: i64| 1.0 / (1.0 + (-0.35 * (n - POINTS + 8) as f64).exp());
        let shared = |share: f64| (1..=POINTS).map(|n| share * (1.0 - bear(n))).collect();
        Chart::Regimes {
            ts: (1..=POINTS).map(|n| self.onset() - (POINTS - n + 1) * BAR).collect(),
            labels: ["Bull", "Sideways", "Bear"].map(str::to_owned).to_vec(),
            probabilities: vec![shared(0.3), shared(0.7), (1..=POINTS).map(bear).collect()],
        }
    }

    fn lag(&self) -> Event {
        Event::pipeline_lag(PipelineLagFacts {
            onset_ms: self.now_ms - 6_000,
            ended_at_ms: None,
            worst_ms: 7_400,
            limit_ms: 5_000,
            known_at_ms: self.now_ms,
        })
    }

    fn feed_gap(&self) -> Event {
        Event::feed_gap(FeedGapFacts {
            venue: self.venue.clone(),
            stream: "trades".into(),
            symbol: self.symbol.replace("-PERP", "").replace('-', ""),
            from_ms: self.now_ms - 45_000,
            to_ms: None,
            cause: "silence".into(),
            known_at_ms: self.now_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_sample_of_its_type_whose_chart_can_be_drawn() {
        let sample = Sample { symbol: "ETH-USDT-PERP".into(), venue: "bybit-linear".into(), now_ms: 1_723_075_212_345 };
        for event_type in EventType::ALL {
            let (event, chart) = sample.of(event_type);
            assert_eq!(event.event_type, event_type);
            let speaks_of_us = event_type == EventType::PipelineLag;
            assert!(speaks_of_us || event.title.contains("ETH"), "{}", event.title);
            assert!(chart.is_none_or(|chart| alerts::chart::draw(&chart, &event.title).is_ok()), "{event_type:?}");
        }
    }
}
