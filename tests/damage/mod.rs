//! Messages to damage, and how. Also used by the crate's own test of the one-pass scan.

use std::path::PathBuf;

use dataflows::model::Venue;
use rand::RngExt;
use rand::rngs::StdRng;

use super::Direction;

/// The payloads of the fixtures.
pub fn messages() -> Vec<(Venue, Direction, Vec<u8>)> {
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

/// Damages a message in one place.
pub fn damage(bytes: &mut Vec<u8>, rng: &mut StdRng) {
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
