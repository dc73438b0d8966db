//! Damaged messages: flipped, cut, doubled, blown up, nested. No bytes may make a parser panic, and each frame has an outcome.
//!
//! `REGIMEFLOW_MUTATIONS` sets the number, `REGIMEFLOW_SEED` repeats a run.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use dataflows::fixed::NOTIONAL_MAX;
use dataflows::model::{Instruments, Tick, Venue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use regimeflow::feeds::{ParseContext, parser_for};
use regimeflow::frames::Direction;

/// The payloads of the fixtures.
fn messages() -> Vec<(Venue, Direction, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut messages = Vec::new();
    for file in ["binance_usdm.txt", "bybit_linear.txt"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        for paragraph in text.split("\n\n").filter(|p| !p.starts_with('#')) {
            let mut lines = paragraph.trim().lines();
            let (Some(head), Some(payload)) = (lines.next(), lines.next()) else { continue };
            let mut fields = head.split(' ');
            let venue = Venue::from_name(fields.next().unwrap().as_bytes()).unwrap();
            let direction = if fields.next() == Some("http") { Direction::Http } else { Direction::In };
            messages.push((venue, direction, payload.as_bytes().to_vec()));
        }
    }
    assert!(messages.len() > 60);
    messages
}

fn damage(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    let at = rng.random_range(0..=bytes.len().saturating_sub(1));
    if bytes.is_empty() {
        return bytes.push(rng.random());
    }
    match rng.random_range(0..10) {
        0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => bytes[at] = rng.random(),
        3 => bytes.truncate(at),
        4 => drop(bytes.remove(at)),
        5 => {
            let end = (at + rng.random_range(1..40)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        6 => {
            if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                let digits = vec![b'0' + rng.random_range(0..10u8); rng.random_range(1..60)];
                bytes.splice(at + digit..at + digit, digits);
            }
        }
        7 => {
            let words: [&[u8]; 12] = [
                b"-",
                b"e400",
                b"null",
                b"\"\"",
                b"\\u0000",
                b"\\",
                b"NaN",
                b"{}",
                b"[",
                b"\xff\xfe",
                b"\",\"s\":\"",
                b"\"data\":",
            ];
            let word = words[rng.random_range(0..words.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        8 => {
            let other = rng.random_range(0..bytes.len());
            bytes.swap(at, other);
        }
        _ => {
            if rng.random_range(0..500) == 0 {
                let open: &[u8] = if rng.random() { b"[" } else { b"{\"a\":" };
                bytes.splice(at..at, open.repeat(10_000));
            }
        }
    }
}

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
