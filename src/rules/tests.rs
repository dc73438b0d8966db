//! Rules on what views say, quantum by quantum.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use alerts::Status;
use dataflows::fixed::Notional;
use dataflows::model::{Changes, Coverage, Instruments, LiquidationWindow, Venue, Window};

use super::*;
use crate::store::Quantum;
use crate::store::edge::{EdgeRow, FeedGap};

const T0: i64 = 1_723_075_200_000;
const SECOND: i64 = 1_000;

fn rules(text: &str) -> Rules {
    Rules(parse(text, "test.toml").unwrap().0.rules)
}

/// A view at work: what it told, and the rows that are true.
struct Desk {
    view: AlertsView,
    instruments: Arc<Instruments>,
    rows: BTreeMap<(String, String, String), i32>,
}

impl Desk {
    fn new(text: &str) -> Self {
        let instruments = Arc::new(Instruments::default());
        let view = AlertsView::new(Arc::clone(&instruments), rules(text), 7_200_000, true);
        Self { view, instruments, rows: BTreeMap::new() }
    }

    fn gap(&mut self, at: i64, symbol: &str, from: i64, to: Option<i64>) -> Vec<String> {
        let gap = FeedGap {
            venue: "binance-usdm".into(),
            stream: "trades".into(),
            symbol: symbol.into(),
            from_ts: T0 + from * SECOND,
            to_ts: to.map(|to| T0 + to * SECOND),
            recovered: crate::store::edge::Recovered::None,
            cause: "lost".into(),
            known_at: 0,
        };
        self.quantum(at, Vec::new(), vec![EdgeRow::Gap(gap)])
    }

    fn longs(&mut self, at: i64, minute: i64, usd: i64, before: Option<i64>) -> Vec<String> {
        let instrument = self.instruments.intern(Venue::BinanceUsdm, "BTC-USDT-PERP").unwrap();
        let row = |usd: i64| LiquidationWindow {
            instrument,
            window: Window::M5,
            ts: T0 + minute * 60 * SECOND,
            long_notional: Notional(i128::from(usd) * 10i128.pow(24)),
            short_notional: Notional(0),
            count: 1,
            largest: Notional(1),
            coverage: Coverage::Full,
        };
        let changes = before.map(|usd| (row(usd), 1, -1)).into_iter().chain([(row(usd), 1, 1)]).collect();
        self.quantum(at, vec![Changes::LiquidationWindows(changes)], Vec::new())
    }

    fn quantum(&mut self, at: i64, changes: Vec<Changes>, edge: Vec<EdgeRow>) -> Vec<String> {
        let known_at = (T0 + at * SECOND) as u64;
        let said = self.view.observe(&Quantum { known_at, changes, edge });
        self.take(said)
    }

    fn set_rules(&mut self, at: i64, text: &str) -> Vec<String> {
        let said = self.view.set_rules(rules(text), T0 + at * SECOND);
        self.take(said)
    }

    fn take(&mut self, said: Said) -> Vec<String> {
        for row in said.rows {
            *self.rows.entry((row.id, row.status, row.severity)).or_default() += i32::from(row.diff);
        }
        self.rows.retain(|_, diff| *diff != 0);
        assert!(self.rows.values().all(|diff| *diff == 1), "{:?}", self.rows);
        said.alerts
            .iter()
            .map(|alert| {
                let event = &alert.event;
                let status = if event.status == Status::Firing { "fires" } else { "is over" };
                format!("{} {status}, {} by {}", event.symbol, event.severity.as_str(), alert.rules.join("+"))
            })
            .collect()
    }
}

const FEEDS: &str = "[[rules]]\nname = 'feeds'\nevent_types = ['FEED_GAP']\n";

#[test]
fn an_event_that_two_rules_ask_for_is_one_alert() {
    let mut desk = Desk::new(&format!(
        "{FEEDS}labels = {{ a = '1' }}\n[[rules]]\nname = 'grave'\nsymbols = ['BTC*']\nseverity = 'CRITICAL'\n"
    ));
    assert_eq!(desk.gap(1, "BTCUSDT", 0, None), ["BTCUSDT fires, CRITICAL by feeds+grave"]);
    assert_eq!(desk.gap(1, "ETHUSDT", 0, None), ["ETHUSDT fires, WARNING by feeds"]);
    assert_eq!(desk.gap(9, "BTCUSDT", 0, Some(8)), ["BTCUSDT is over, CRITICAL by feeds+grave"]);
}

#[test]
fn what_was_over_before_we_knew_is_a_row_and_never_pages() {
    let mut desk = Desk::new(FEEDS);
    assert!(desk.gap(9, "BTCUSDT", 0, Some(8)).is_empty());
    assert_eq!(desk.rows.len(), 1);
}

#[test]
fn a_hold_is_waited_for_and_a_cooldown_kept() {
    let mut desk = Desk::new(&format!("{FEEDS}hold_s = 30\ncooldown_s = 600\n"));
    assert!(desk.gap(1, "BTCUSDT", 0, None).is_empty());
    assert!(desk.quantum(29, Vec::new(), Vec::new()).is_empty());
    assert_eq!(desk.quantum(30, Vec::new(), Vec::new()), ["BTCUSDT fires, WARNING by feeds"]);
    assert_eq!(desk.gap(50, "BTCUSDT", 0, Some(49)), ["BTCUSDT is over, WARNING by feeds"]);
    // Within ten minutes of the first: not again. A short one is none at all.
    assert!(desk.gap(100, "BTCUSDT", 60, None).is_empty());
    assert!(desk.gap(650, "ETHUSDT", 645, None).is_empty());
    assert!(desk.gap(655, "ETHUSDT", 645, Some(655)).is_empty());
    assert_eq!(desk.gap(900, "BTCUSDT", 800, None), ["BTCUSDT fires, WARNING by feeds"]);
}

#[test]
fn a_new_rule_is_judged_against_what_is_true_now_and_a_removed_one_resolves() {
    const LONGS: &str = "[[rules]]\nname = 'longs'\nview = 'liquidation_windows'\ncolumn = 'long_notional'\nonly = { window = '5m' }\nfire = 1e6\nclear = 5e5\n";
    let mut desk = Desk::new("[[rules]]\nname = 'none'\nevent_types = ['MODEL_DRIFT']\n");
    assert!(desk.gap(1, "BTCUSDT", 0, None).is_empty());
    assert!(desk.longs(60, 0, 2_000_000, None).is_empty());
    let both = format!("{FEEDS}{LONGS}");
    assert_eq!(desk.set_rules(61, &both), ["BTCUSDT fires, WARNING by feeds", "BTC-USDT-PERP fires, WARNING by longs"]);
    assert!(desk.set_rules(62, &both).is_empty(), "the same rules again change nothing");
    // An edit goes on with what it still asks for, and ends what it doesn't.
    assert!(desk.set_rules(63, &both.replace("fire = 1e6", "fire = 1.5e6")).is_empty());
    let higher = both.replace("fire = 1e6\nclear = 5e5", "fire = 9e6\nclear = 8e6");
    assert_eq!(desk.set_rules(63, &higher), ["BTC-USDT-PERP is over, WARNING by longs"]);
    assert_eq!(desk.set_rules(64, LONGS), ["BTCUSDT is over, WARNING by feeds"]);
    // What a removed rule resolved is not told again when the gap itself ends.
    assert!(desk.gap(70, "BTCUSDT", 0, Some(69)).is_empty());
}

#[test]
fn a_threshold_follows_its_number_also_where_it_is_corrected() {
    let mut desk = Desk::new(
        "[[rules]]\nname = 'longs'\nview = 'liquidation_windows'\ncolumn = 'long_notional'\nfire = 1e6\nclear = 5e5\nseverity = 'INFO'\n",
    );
    assert!(desk.longs(60, 0, 900_000, None).is_empty());
    assert_eq!(desk.longs(120, 1, 1_200_000, None), ["BTC-USDT-PERP fires, INFO by longs"]);
    assert!(desk.longs(180, 2, 700_000, None).is_empty(), "between the bounds nothing changes");
    assert_eq!(desk.longs(240, 3, 400_000, None), ["BTC-USDT-PERP is over, INFO by longs"]);
    assert_eq!(desk.rows.len(), 1);
    // A back-fill says that there never was so much: the row goes, nobody is paged.
    assert!(desk.longs(300, 1, 800_000, Some(1_200_000)).is_empty());
    assert!(desk.rows.is_empty(), "{:?}", desk.rows);
}

#[test]
fn bad_rules_are_refused_with_all_their_errors() {
    let text = "[[rules]]\nname = 'a'\nview = 'fundng'\n[[rules]]\nname = 'a'\nview = 'volatility'\ncolumn = 'ewma'\nfire = 1.0\nclear = 2.0\nonly = { timeframe = '1h' }\nhold = 3\n";
    let problems: Vec<String> = parse(text, "r.toml").unwrap_err().problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "r.toml:3:1: rules[0].view: \"fundng\" is not known; did you mean `funding`?",
            "r.toml:5:1: rules[1].name: \"a\" is the name of rule 0 too; a rule's name is unique",
            "r.toml:9:1: rules[1].clear: 2 lies beyond `fire`, 1; it would be over while it still fires: bring it back within",
            "r.toml:10:10: rules[1].only.timeframe: \"timeframe\" is no key of volatility; there are venue, symbol, ts",
            "r.toml:11:1: rules[1].hold: unknown key; did you mean `hold_s`?",
        ]
    );
}
