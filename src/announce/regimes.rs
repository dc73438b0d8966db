//! Changes of regime, confirmations and drift as events.

use alerts::{Event, RegimeFacts, RegimeTopic};
use dataflows::model::{EpisodeKind, Instruments, RegimeEpisode, Timeframe};

use super::Announced;

impl Announced for RegimeEpisode {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        let instrument = names.get(self.instrument)?;
        Some(Event::regime(RegimeFacts {
            topic: match self.kind {
                EpisodeKind::Change => RegimeTopic::Change,
                EpisodeKind::Confirmed => RegimeTopic::Confirmed,
                EpisodeKind::Drift => RegimeTopic::Drift,
            },
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            timeframe: self.timeframe.map_or("", Timeframe::as_str).to_owned(),
            onset_ms: self.onset,
            ended_at_ms: self.ended_at,
            known_at_ms,
            from: self.from.map(hmm::Label::name),
            to: self.to.map(hmm::Label::name),
            model: self.model.as_ref().map(ToString::to_string),
            strength: self.strength.0,
        }))
    }
}
