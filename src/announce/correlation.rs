//! Pairs that broke apart as events.

use alerts::{CorrelationFacts, Event};
use dataflows::model::{CorrelationBreak, Instruments};

use super::Announced;

impl Announced for CorrelationBreak {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        Some(Event::correlation_break(CorrelationFacts {
            symbol_a: names.get(self.symbol_a)?.symbol.clone(),
            symbol_b: names.get(self.symbol_b)?.symbol.clone(),
            horizon: self.horizon.to_string(),
            onset_ms: self.onset,
            ended_at_ms: self.ended_at,
            known_at_ms,
            return_correlation: self.return_correlation.0,
            divergence_strength: self.divergence_strength.0,
            is_pair_trade: self.is_pair_trade,
            baseline: self.baseline.map(|b| (b.mean.0.tanh(), b.delta_z.0)),
        }))
    }
}
