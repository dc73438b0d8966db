//! Damaged messages: flipped, cut, doubled, blown up, nested. No bytes may make a parser panic, and each frame has an outcome.
//!
//! `REGIMEFLOW_MUTATIONS` sets the number, `REGIMEFLOW_SEED` repeats a run.

#![allow(clippy::unwrap_used)]

mod damage;

use std::sync::Arc;

use damage::{damage, messages};
use dataflows::fixed::NOTIONAL_MAX;
use dataflows::model::{Instruments, Tick, Venue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use regimeflow::feeds::{ParseContext, parser_for};
use regimeflow::frames::Direction;

#[test]
fn no_damage_makes_a_parser_panic() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let mutations = from_environment("REGIMEFLOW_MUTATIONS").unwrap_or(1_000_000);
    let seed = from_environment("REGIMEFLOW_SEED").unwrap_or_else(rand::random);
    println!("{mutations} mutations, REGIMEFLOW_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let messages = messages();
    let instruments = Arc::new(Instruments::default());
    let context = ParseContext { instruments: Arc::clone(&instruments), skew_ms_max: 0 };
    let mut parsers = [Venue::BinanceUsdm, Venue::BybitLinear].map(|v| (v, parser_for(v, context.clone()).unwrap()));
    let (mut ticks, mut bytes, mut kept) = (Vec::new(), Vec::new(), 0u64);
    for _ in 0..mutations {
        let (venue, direction, message) = &messages[rng.random_range(0..messages.len())];
        bytes.clear();
        bytes.extend_from_slice(message);
        for _ in 0..rng.random_range(1..4) {
            damage(&mut bytes, &mut rng);
        }
        let parser = parsers.iter_mut().find(|(v, _)| v == venue).unwrap();
        parser.1.parse(&bytes, *direction, 1_700_000_000_000_000_000, &mut ticks);
        kept += ticks.len() as u64;
        for tick in ticks.drain(..) {
            assert!(instruments.get(tick.instrument()).is_some());
            assert!((1_230_768_000_000..4_133_980_800_000 + 700_000_000).contains(&tick.ts()), "{tick:?}");
            match tick {
                Tick::Trade(t) => assert!(t.price.0 > 0 && t.qty.0 > 0 && t.price.notional(t.qty).0 <= NOTIONAL_MAX),
                Tick::Liquidation(l) => assert!(l.price.0 > 0 && l.qty.0 > 0 && l.price.notional(l.qty).0 <= NOTIONAL_MAX),
                Tick::OpenInterest(o) => assert!(o.base.0 >= 0),
                Tick::Kline(k) => assert!(k.high >= k.open && k.low <= k.close && k.volume.0 >= 0),
                Tick::Mark(m) => assert!(m.mark.is_some() || m.index.is_some()),
                Tick::Funding(f) => assert!(f.rate.is_some() || f.interval_hours.is_some() || f.next_ts.is_some()),
            }
        }
    }
    assert!(mutations < 1000 || kept > 0, "some damage is harmless");
}
