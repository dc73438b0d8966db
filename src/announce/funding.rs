//! Unusual funding and shocks of open interest as events.

use alerts::{Event, FundingEpisode, FundingFacts, OiShockFacts};
use dataflows::model::{AnomalyKind, FundingAnomaly, Instruments, OiShock};

use super::Announced;

impl Announced for FundingAnomaly {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        let episode = match self.kind {
            AnomalyKind::Anomaly => FundingEpisode::Anomaly,
            AnomalyKind::Reversal => FundingEpisode::Reversal,
            AnomalyKind::Spread => FundingEpisode::Spread,
            AnomalyKind::Deviation => return None, // common: a row, nothing to be called for
        };
        let instrument = names.get(self.instrument)?;
        Some(Event::funding(FundingFacts {
            episode,
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            onset_ms: self.onset,
            ended_at_ms: self.ended_at,
            known_at_ms,
            rate_8h: self.rate_8h.to_f64(),
            z_score: self.z.map(|z| z.0),
            anomaly_score: self.score.0,
            reasons: self.reasons.words(),
        }))
    }
}

impl Announced for OiShock {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        let instrument = names.get(self.instrument)?;
        Some(Event::oi_shock(OiShockFacts {
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            onset_ms: self.onset,
            ended_at_ms: self.ended_at,
            known_at_ms,
            change: self.change.0,
            cascade_id: self.cascade_id,
        }))
    }
}
