//! The policy by timelines: `tests/timelines/*.txt`, each a small story with a virtual clock.
//!
//! A timeline opens with the configuration (TOML) up to a line `---`; `start` sets its zero (UTC). Then each line bears a time
//! (from the zero, or absolute) and says what happens or what is wanted:
//!
//! ```text
//! 00:00:00 fire A LIQUIDATION_CASCADE BTC-USDT-PERP critical [venue=V] [rule=R] [label.NAME=V] [correction]
//! 00:00:00 want discord news! +A        channel, kind (! = urgent), + begins, - over, ~N more that are only counted
//! 00:05:00 resolve A [correction]       fires from lines of the same time are pushed one by one; `push A, B` … as one batch
//! 00:06:00 nothing                      nobody is told anything up to here
//! 00:06:00 silence S for 01:00:00 symbols=BTC-* severity_min=WARNING | unsilence S | ack A by anna [for 00:30:00] | unack A
//! 00:06:00 explain A: now | at 00:07:00 | held until 00:07:00 | muted by silence `S` … | never …  (of the first route)
//! 00:07:00 config … up to a line `---`  | 00:08:00 restart
//! ```
//!
//! Whatever is told and not wanted fails, at its time, with the timeline's name and line. Every timeline is run three times:
//! as it is, with a restart after every line, and with what fires being pushed again after every line.
#![allow(clippy::unwrap_used)]

mod timeline;

use timeline::{Mode, run};

#[test]
fn timelines() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/timelines");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    paths.sort();
    assert!(paths.len() >= 40, "{} timelines", paths.len());
    let mut faults = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for mode in [Mode::Plain, Mode::Restarts, Mode::Repeats] {
            if let Err(fault) = run(&text, mode) {
                faults.push(format!("{name} ({mode:?}), {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The harness itself: what is told and not wanted, wanted and not told, or told at another time, fails.
#[test]
fn a_timeline_can_fail() {
    let check = |lines: &str, want: &str| {
        let text = format!("[[routes]]\nname = 'all'\nchannels = ['discord']\n---\n{lines}");
        let fault = run(&text, Mode::Plain).unwrap_err();
        assert!(fault.contains(want), "{fault}");
    };
    check(
        "00:00:00 fire A OI_SHOCK BTC-USDT-PERP warning\n00:00:01 nothing",
        "line 6: at 00:00:00 told and not wanted: discord news +A",
    );
    check(
        "00:00:00 fire A OI_SHOCK BTC-USDT-PERP warning\n00:00:01 want discord news +A",
        "told and not wanted: discord news +A",
    );
    check(
        "00:00:00 fire A OI_SHOCK BTC-USDT-PERP warning\n00:00:00 want discord news +B",
        "line 6: wanted and not told: discord news +B",
    );
    check("00:00:00 fire A OI_SHOCK BTC-USDT-PERP warning", "at 00:00:00 told and not wanted: discord news +A");
    check("00:00:00 fier A", "line 5: `fier`");
}
