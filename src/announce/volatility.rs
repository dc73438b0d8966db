//! Changes of volatility regime as events.

use alerts::{Event, VolatilityFacts};
use dataflows::model::{Instruments, RegimeSpell, VolatilityRegime};

use super::Announced;

impl Announced for RegimeSpell {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        let instrument = names.get(self.instrument)?;
        let event = Event::volatility_regime_change(VolatilityFacts {
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            ts_ms: self.onset,
            known_at_ms,
            from: regime(self.from),
            to: regime(self.to),
            close_to_close: self.close_to_close.0,
            parkinson: self.parkinson.map(|p| p.0),
            risk_multiplier_before: self.from.risk_multiplier(),
            risk_multiplier: self.to.risk_multiplier(),
        });
        Some(match self.ended_at {
            Some(ended_at) => event.resolved(ended_at, known_at_ms),
            None => event,
        })
    }
}

fn regime(regime: VolatilityRegime) -> alerts::Regime {
    match regime {
        VolatilityRegime::Stable => alerts::Regime::Stable,
        VolatilityRegime::HighVol => alerts::Regime::HighVol,
        VolatilityRegime::Explosive => alerts::Regime::Explosive,
        VolatilityRegime::Extreme => alerts::Regime::Extreme,
    }
}
