//! What happened before an alert, as figures to draw: price with liquidations by minute, probabilities of regimes by bar.
//!
//! The last [`POINTS`] minutes and bars are kept for each instrument that is heard: 4 kB a symbol, 3 kB a symbol and time frame with models.

use std::collections::{BTreeMap, HashMap};

use alerts::{Alert, Chart, Event, EventType};
use dataflows::model::{Bar, Change, Changes, InstrumentId, LiquidationRow, PositionSide, Regime, Timeframe, Venue};

/// So many minutes or bars are drawn.
const POINTS: usize = 120;
const MINUTE_MS: i64 = 60_000;

/// One minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    close: Option<f64>,
    long_usd: f64,
    short_usd: f64,
}

#[derive(Debug, Default)]
struct Regimes {
    /// By state, where a bar has told.
    labels: BTreeMap<usize, &'static str>,
    probabilities: BTreeMap<i64, Vec<f32>>,
}

/// The figures of all instruments.
#[derive(Debug, Default)]
pub struct Charts {
    minutes: HashMap<InstrumentId, BTreeMap<i64, Minute>>,
    regimes: HashMap<(InstrumentId, Timeframe), Regimes>,
}

impl Charts {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what became known.
    pub fn observe(&mut self, changes: &[Changes]) {
        for changes in changes {
            match changes {
                Changes::Bars(rows) => rows.iter().for_each(|row| self.bar(row)),
                Changes::Liquidations(rows) => rows.iter().for_each(|row| self.liquidation(row)),
                Changes::Regimes(rows) => rows.iter().for_each(|row| self.regime(row)),
                _ => {} // not drawn
            }
        }
    }

    /// Gives alerts that begin what there is to draw.
    pub fn add_to(&self, alerts: &mut [Alert]) {
        for alert in alerts.iter_mut().filter(|alert| alert.is_firing() && alert.chart.is_none()) {
            alert.chart = self.of(&alert.event);
        }
    }

    fn of(&self, event: &Event) -> Option<Chart> {
        let venue = Venue::from_name(event.venue.as_bytes())?;
        let instrument = InstrumentId::of(venue, &event.symbol);
        match event.event_type {
            EventType::LiquidationCascade | EventType::OiShock | EventType::SupportZoneTouched => self.liquidations(instrument),
            EventType::RegimeChange => {
                let timeframe = event.data.get("timeframe")?.as_str()?;
                self.probabilities(instrument, Timeframe::ALL.into_iter().find(|t| t.as_str() == timeframe)?)
            }
            _ => None,
        }
    }

    fn bar(&mut self, (bar, _, diff): &Change<Bar>) {
        if bar.timeframe == Timeframe::M1 && *diff > 0 {
            let minutes = self.minutes.entry(bar.instrument).or_default();
            minutes.entry(bar.ts).or_default().close = Some(bar.close.to_f64());
            bound(minutes);
        }
    }

    fn liquidation(&mut self, (row, _, diff): &Change<LiquidationRow>) {
        let minutes = self.minutes.entry(row.instrument).or_default();
        let minute = minutes.entry(row.ts.div_euclid(MINUTE_MS) * MINUTE_MS).or_default();
        let usd = row.notional.to_f64() * *diff as f64;
        match row.position_side {
            PositionSide::Long => minute.long_usd += usd,
            PositionSide::Short => minute.short_usd += usd,
        }
        bound(minutes);
    }

    fn regime(&mut self, (row, _, diff): &Change<Regime>) {
        if *diff > 0 {
            let regimes = self.regimes.entry((row.instrument, row.timeframe)).or_default();
            if let Some(label) = row.viterbi_label {
                regimes.labels.insert(usize::from(row.viterbi_state), label.name());
            }
            regimes.probabilities.insert(row.ts, row.probabilities.iter().map(|p| p.0 as f32).collect());
            bound(&mut regimes.probabilities);
        }
    }

    fn liquidations(&self, instrument: InstrumentId) -> Option<Chart> {
        let minutes = self.minutes.get(&instrument)?;
        // A minute without a price has that of the one before.
        let mut last = minutes.values().find_map(|minute| minute.close)?;
        let close = minutes.values().map(|minute| {
            last = minute.close.unwrap_or(last);
            last
        });
        Some(Chart::Liquidations {
            close: close.collect(),
            ts: minutes.keys().copied().collect(),
            long_usd: minutes.values().map(|minute| minute.long_usd.max(0.0)).collect(),
            short_usd: minutes.values().map(|minute| minute.short_usd.max(0.0)).collect(),
        })
    }

    fn probabilities(&self, instrument: InstrumentId, timeframe: Timeframe) -> Option<Chart> {
        let regimes = self.regimes.get(&(instrument, timeframe))?;
        let states = regimes.probabilities.last_key_value()?.1.len();
        // Of the model that speaks now: one with other states is not comparable.
        let bars: Vec<(i64, &Vec<f32>)> =
            regimes.probabilities.iter().filter(|(_, p)| p.len() == states).map(|(ts, p)| (*ts, p)).collect();
        let label =
            |state: usize| regimes.labels.get(&state).map_or_else(|| format!("state {state}"), |label| (*label).to_owned());
        Some(Chart::Regimes {
            ts: bars.iter().map(|(ts, _)| *ts).collect(),
            labels: (0..states).map(label).collect(),
            probabilities: (0..states).map(|state| bars.iter().map(|(_, p)| f64::from(p[state])).collect()).collect(),
        })
    }
}

fn bound<T>(points: &mut BTreeMap<i64, T>) {
    while points.len() > POINTS {
        points.pop_first();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dataflows::fixed::{Notional, Price, Quantity};
    use dataflows::model::{Coverage, PriceKind};

    use super::*;

    #[test]
    fn a_cascade_is_drawn_with_the_minutes_before_it() {
        let instrument = InstrumentId::of(Venue::BinanceUsdm, "BTC-USDT-PERP");
        let price = Price(1_000_000_000_000);
        let bar = |minute: i64| Bar {
            instrument,
            timeframe: Timeframe::M1,
            ts: minute * MINUTE_MS,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: Quantity(1),
            notional: Notional(1),
            taker_buy_volume: Quantity(1),
            trades: 1,
        };
        let row = LiquidationRow {
            instrument,
            ts: 199 * MINUTE_MS + 7,
            position_side: PositionSide::Long,
            price,
            qty: Quantity(1),
            seq: 0,
            price_kind: PriceKind::Fill,
            notional: Notional(10i128.pow(30)),
            coverage: Coverage::Full,
        };
        let mut charts = Charts::new();
        charts.observe(&[Changes::Bars((0..200).map(|minute| (bar(minute), 1, 1)).collect())]);
        charts.observe(&[Changes::Liquidations(vec![(row, 1, 1), (row, 1, 1), (row, 2, -1)])]);
        let Some(Chart::Liquidations { ts, close, long_usd, short_usd }) = charts.liquidations(instrument) else {
            panic!("no chart")
        };
        assert_eq!((ts.len(), close.len(), long_usd.len()), (POINTS, POINTS, POINTS));
        assert_eq!(ts.last(), Some(&(199 * MINUTE_MS)));
        assert_eq!(long_usd.last(), Some(&Notional(10i128.pow(30)).to_f64()));
        assert!(short_usd.iter().all(|usd| *usd == 0.0));
    }
}
