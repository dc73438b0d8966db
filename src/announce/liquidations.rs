//! Cascades, of one symbol and of the market, as events.

use alerts::{CascadeFacts, Event, MarketCascadeFacts};
use dataflows::model::{Cascade, Instruments, MarketCascade, SideBias};

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
            side_bias: side_bias(self.side_bias),
            critical_usd_per_hour: self.critical_per_hour.to_f64(),
            critical_from: self.critical_from.as_str(),
            branching_ratio: self.branching_ratio.map(|ratio| ratio.0),
            self_feeding: self.self_feeding,
            severity: self.severity.0,
            severity_label: severity(self.severity_label),
            price_move_bps: self.price_move_bps.map(|bps| bps.0),
            coverage: coverage(self.coverage),
        }))
    }
}

impl Announced for MarketCascade {
    fn onset(&self) -> i64 {
        self.onset
    }

    fn event(&self, _names: &Instruments, known_at_ms: i64) -> Option<Event> {
        Some(Event::market_cascade(MarketCascadeFacts {
            onset_ms: self.onset,
            last_active_ms: self.last_active,
            ended_at_ms: self.ended_at,
            known_at_ms,
            assets: self.assets.clone(),
            cascades: self.cascades,
            long_notional_usd: self.long_notional.to_f64(),
            short_notional_usd: self.short_notional.to_f64(),
            count: self.count,
            side_bias: side_bias(self.side_bias),
            largest_asset: self.largest_asset.clone(),
            largest_notional_usd: self.largest_notional.to_f64(),
            coverage: coverage(self.coverage),
        }))
    }
}

fn side_bias(bias: SideBias) -> alerts::SideBias {
    match bias {
        SideBias::Long => alerts::SideBias::Long,
        SideBias::Short => alerts::SideBias::Short,
        SideBias::Balanced => alerts::SideBias::Balanced,
    }
}
