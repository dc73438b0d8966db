//! With and without the scan everything must come out the same: outcomes, ticks, unknown fields.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use dataflows::model::{Instruments, Tick, Venue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{Outcome, ParseContext, Parser, parser_for};
use super::*;
use crate::frames::{BatchLimits, Direction, FrameBatch, FrameLogReader};

#[path = "../../tests/damage/mod.rs"]
mod damage;

thread_local! {
    /// The full parser decides everything.
    pub(super) static UNUSED: Cell<bool> = const { Cell::new(false) };
    /// How many messages the scan took.
    pub(super) static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// The same parser twice.
struct Pair {
    venue: Venue,
    scanning: Box<dyn Parser>,
    full: Box<dyn Parser>,
    ticks: (Vec<Tick>, Vec<Tick>),
}

impl Pair {
    fn new(venue: Venue) -> Self {
        let context = ParseContext { instruments: Arc::new(Instruments::default()), skew_ms_max: 0 };
        let parser = || parser_for(venue, context.clone()).unwrap();
        Self { venue, scanning: parser(), full: parser(), ticks: Default::default() }
    }

    fn check(&mut self, payload: &[u8], direction: Direction) -> Outcome {
        self.ticks.0.clear();
        self.ticks.1.clear();
        let scanned = self.scanning.parse(payload, direction, 1_700_000_000_000_000_000, &mut self.ticks.0);
        UNUSED.set(true);
        let full = self.full.parse(payload, direction, 1_700_000_000_000_000_000, &mut self.ticks.1);
        UNUSED.set(false);
        let message = || format!("{} {direction:?} {}", self.venue, String::from_utf8_lossy(payload));
        assert_eq!(scanned, full, "{}", message());
        assert_eq!(self.ticks.0, self.ticks.1, "{}", message());
        assert_eq!(self.scanning.unknown_fields(), self.full.unknown_fields(), "{}", message());
        scanned
    }
}

#[test]
fn damaged_messages_come_out_the_same() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let mutations = from_environment("REGIMEFLOW_MUTATIONS").unwrap_or(200_000);
    let seed = from_environment("REGIMEFLOW_SEED").unwrap_or_else(rand::random);
    println!("{mutations} mutations, REGIMEFLOW_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let messages = damage::messages();
    let mut pairs = [Venue::BinanceUsdm, Venue::BybitLinear].map(Pair::new);
    for (venue, direction, message) in &messages {
        pairs.iter_mut().find(|pair| pair.venue == *venue).unwrap().check(message, *direction);
    }
    let whole = TAKEN.take();
    assert!(whole > messages.len() as u64 / 3, "the scan took only {whole} of {} messages", messages.len());
    let mut bytes = Vec::new();
    for _ in 0..mutations {
        let (venue, direction, message) = &messages[rng.random_range(0..messages.len())];
        bytes.clear();
        bytes.extend_from_slice(message);
        for _ in 0..rng.random_range(1..3) {
            damage::damage(&mut bytes, &mut rng);
        }
        pairs.iter_mut().find(|pair| pair.venue == *venue).unwrap().check(&bytes, *direction);
    }
    println!("the scan took {whole} of {} messages, {} when damaged", messages.len(), TAKEN.get());
}

#[test]
fn recorded_frames_come_out_the_same() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("REGIMEFLOW_DATA").map(PathBuf::from);
    let data = named.into_iter().chain([folder.join("../shared/data"), folder.join("../../shared/data")]);
    let Some(wire) = data.map(|data| data.join("wire")).find(|wire| wire.is_dir()) else {
        return println!("skipped: no recorded data (set REGIMEFLOW_DATA)");
    };
    for (file, venue) in [
        ("binance-usdm-20240808", Venue::BinanceUsdm),
        ("binance-usdm-20210722", Venue::BinanceUsdm),
        ("bybit-linear-20260809", Venue::BybitLinear),
    ] {
        let mut reader = FrameLogReader::open(&[wire.join(format!("{file}.frames.zst"))], BatchLimits::default()).unwrap();
        let (mut pair, mut batch, mut used) = (Pair::new(venue), FrameBatch::default(), 0);
        TAKEN.set(0);
        while reader.next_batch(&mut batch).unwrap() {
            for frame in batch.frames.iter().filter(|frame| frame.venue == venue) {
                used += u64::from(matches!(pair.check(batch.payload(frame), frame.direction), Outcome::Used(_)));
            }
        }
        println!("{file}: {used} frames used, the scan took {}", TAKEN.get());
        assert!(TAKEN.get() > used / 2, "real messages are what the scan is for");
    }
}

/// Grammar at its edges: what the scan takes must be JSON; what is usual must be taken.
#[test]
fn the_scan_takes_json_only() {
    for (json, taken) in [
        (r#"{"a":1}"#, true),
        (r#"{"a":-0.5,"b":[],"c":{},"d":[1,"x",{"y":null}],"e":true,"f":false}"#, true),
        (r#"{"key of more than eight bytes":"and a value of more than eight bytes"}"#, true),
        (r#"{"":""}"#, true),
        (r#"{"a":"牛来"}"#, false),
        (r#"{"a":01}"#, false),
        (r#"{"a":-}"#, false),
        (r#"{"a":1.}"#, false),
        (r#"{"a":.1}"#, false),
        (r#"{"a":tru}"#, false),
        (r#"{"a":[1,]}"#, false),
        (r#"{"a":[1}"#, false),
        (r#"{"a":{"b"}}"#, false),
        (r#"{"a":1}}"#, false),
        (r#"{"a":1,}"#, false),
        (r#"{"a":1"#, false),
        (r#"{"a":"1"#, false),
        ("{\"a\":\"\t\"}", false),
        (r#"{"a": 1}"#, false),
        (r#"{"a":"\n"}"#, false),
        (r#"{"a":1e5}"#, false),
    ] {
        let mut fields = Fields::default();
        assert_eq!(whole(json.as_bytes(), &mut fields).is_some(), taken, "{json}");
        assert!(!taken || serde_json::from_str::<serde_json::Value>(json).is_ok(), "{json}");
    }
}

#[derive(Default)]
struct Fields(u64);

impl<'a> Fill<'a> for Fields {
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        scan.take(b'{')?;
        loop {
            scan.key()?;
            scan.skip()?;
            self.0 += 1;
            if scan.ends(b'}')? {
                return Some(());
            }
        }
    }
}
