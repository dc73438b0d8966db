//! Cascades as events.

use alerts::{CascadeFacts, Event};
use dataflows::model::{Cascade, Instruments, SideBias};

use super::{Announced, coverage, severity};

impl Announced for Cascade {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, names: &Instruments, known_at_ms: i64) -> Option<Event> {
        let instrument = names.get(self.instrument)?;
        Some(Event::cascade(CascadeFacts {
            cascade_id: self.cascade_id,
            venue: instrument.venue.to_string(),
            symbol: instrument.symbol.clone(),
            window: self.window.as_str().to_owned(),
            onset_ms: self.onset,
            last_active_ms: self.last_active,
            ended_at_ms: self.ended_at,
            known_at_ms,
            long_notional_usd: self.long_notional.to_f64(),
            short_notional_usd: self.short_notional.to_f64(),
            velocity_usd_per_hour: self.velocity(self.window_notional),
            peak_velocity_usd_per_hour: self.velocity(self.peak_window_notional),
            count: self.count,
            side_bias: match self.side_bias {
                SideBias::Long => alerts::SideBias::Long,
                SideBias::Short => alerts::SideBias::Short,
                SideBias::Balanced => alerts::SideBias::Balanced,
            },
            severity: self.severity.0,
            severity_label: severity(self.severity_label),
            price_move_bps: self.price_move_bps.map(|bps| bps.0),
            coverage: coverage(self.coverage),
        }))
    }
}
