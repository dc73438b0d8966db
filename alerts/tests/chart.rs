//! Charts: figures as they are, and figures as they should not be.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;
use std::time::{Duration, Instant};

use alerts::chart::draw::{HEIGHT, WIDTH};
use alerts::chart::{ChartError, POINTS_MAX, draw};
use alerts::message::Message;
use alerts::notice::{NoticeKind, news_id};
use alerts::{Alert, Chart, Event};
use proptest::prelude::*;

mod samples;
use samples::*;

const BEAR: [u8; 3] = [220, 38, 38];
const BULL: [u8; 3] = [22, 163, 74];
const GREY: [u8; 3] = [156, 163, 175];
const THRESHOLD: [u8; 3] = [217, 119, 6];

fn minutes(count: usize) -> Vec<i64> {
    (0..count as i64).map(|n| T0 + n * 60_000).collect()
}

fn wave(index: usize, period: f64) -> f64 {
    (index as f64 / period).sin()
}

fn liquidations(count: usize) -> Chart {
    let each = |f: &dyn Fn(usize) -> f64| (0..count).map(f).collect();
    Chart::Liquidations {
        ts: minutes(count),
        close: each(&|n| 61_000.0 - n as f64 * 4.0 + 120.0 * wave(n, 9.0) + 35.0 * wave(n, 1.3)),
        long_usd: each(&|n| if n > count / 2 { 400_000.0 * (1.0 + wave(n, 3.0)) } else { 9_000.0 * (1.0 + wave(n, 1.7)) }),
        short_usd: each(&|n| if n % 7 == 0 { 60_000.0 } else { 0.0 }),
    }
}

fn regimes(count: usize) -> Chart {
    let bear: Vec<f64> = (0..count).map(|n| 0.45 + 0.4 * wave(n, 20.0)).collect();
    let chop: Vec<f64> = bear.iter().map(|bear| (1.0 - bear) * 0.6).collect();
    let bull = bear.iter().map(|bear| (1.0 - bear) * 0.4).collect();
    Chart::Regimes {
        ts: (0..count as i64).map(|n| T0 + n * 3_600_000).collect(),
        labels: ["BEAR", "CHOP", "BULL"].map(String::from).to_vec(),
        probabilities: vec![bear, chop, bull],
    }
}

fn line(count: usize) -> Chart {
    Chart::Line {
        ts: minutes(count),
        name: "funding_z_score".into(),
        values: (0..count).map(|n| 2.5 + 2.0 * wave(n, 30.0) + 0.3 * wave(n, 2.0)).collect(),
        threshold: Some(4.0),
    }
}

/// (width, height, RGB)
fn pixels(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.width, info.height, rgb)
}

fn count_of(png: &[u8], colour: [u8; 3]) -> usize {
    pixels(png).2.chunks_exact(3).filter(|pixel| *pixel == colour).count()
}

/// `CHARTS=DIR` writes the pictures there, for people to look at.
fn keep(name: &str, png: &[u8]) {
    if let Some(dir) = std::env::var_os("CHARTS") {
        std::fs::write(std::path::Path::new(&dir).join(name), png).unwrap();
    }
}

#[test]
fn a_full_chart_is_small_and_quick() {
    for (name, chart, colours) in [
        ("liquidations.png", liquidations(POINTS_MAX), vec![BEAR, BULL]),
        ("regimes.png", regimes(POINTS_MAX), vec![BEAR, GREY, BULL]),
        ("line.png", line(POINTS_MAX), vec![THRESHOLD]),
    ] {
        let title = "CRITICAL BTC-USDT-PERP: long liquidation cascade, $1.50M, 2.06× critical on binance-usdm";
        let start = Instant::now();
        let png = draw(&chart, title).unwrap();
        let took = start.elapsed();
        keep(name, &png);
        let (width, height, _) = pixels(&png);
        assert_eq!((width, height), (WIDTH, HEIGHT));
        println!("{name}: {} bytes, {:.1} ms", png.len(), took.as_secs_f64() * 1e3);
        assert!(png.len() < 60_000, "{name}: {} bytes", png.len());
        // A tenth of it is usual; a busy machine gets the rest.
        assert!(took < Duration::from_millis(300), "{name}: {took:?}");
        for colour in colours {
            assert!(count_of(&png, colour) > 150, "{name}: {colour:?} is hardly there");
        }
        assert_eq!(draw(&chart, title).unwrap(), png, "the same figures, the same bytes");
    }
}

#[test]
fn what_is_drawn_follows_the_figures() {
    let of = |long: f64, short: f64| {
        let (ts, close) = (minutes(40), vec![100.0; 40]);
        draw(&Chart::Liquidations { ts, close, long_usd: vec![long; 40], short_usd: vec![short; 40] }, "").unwrap()
    };
    // The legend has a square of each colour.
    let legend = count_of(&of(0.0, 0.0), BEAR);
    let (equal, less) = (of(1e6, 1e6), of(5e5, 1e6));
    let (full, half) = (count_of(&equal, BEAR) - legend, count_of(&less, BEAR) - legend);
    assert!((half as f64 / full as f64 - 0.5).abs() < 0.03, "{half} of {full}");
    assert!(full.abs_diff(count_of(&equal, BULL) - legend) < full / 20);

    // A third of the probability takes a third of the panel.
    let thirds = Chart::Regimes {
        ts: minutes(30),
        labels: ["BULL", "BEAR", "CHOP"].map(String::from).to_vec(),
        probabilities: vec![vec![1.0 / 3.0; 30]; 3],
    };
    let png = draw(&thirds, "").unwrap();
    let (bull, bear) = (count_of(&png, BULL), count_of(&png, BEAR));
    assert!(bull.abs_diff(bear) < bull / 20 && bull > 72_000, "{bull} {bear}");
}

#[test]
fn few_points_and_constants_are_drawn() {
    for count in [1, 2, 3] {
        for (name, chart) in [("l", liquidations(count)), ("r", regimes(count)), ("t", line(count))] {
            keep(&format!("{name}{count}.png"), &draw(&chart, "few").unwrap());
        }
    }
    for value in [0.0, -0.0, 1e-12, 1e15, -1e15, 61_234.5, f64::MIN_POSITIVE] {
        let chart = Chart::Line { ts: minutes(9), name: "x".into(), values: vec![value; 9], threshold: Some(value) };
        draw(&chart, "constant").unwrap();
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let of = |ts: Vec<i64>, values: Vec<f64>| draw(&Chart::Line { ts, name: "x".into(), values, threshold: Some(1.0) }, "");
    assert_eq!(of(vec![], vec![]), Err(ChartError::Empty));
    assert_eq!(of(minutes(2), vec![f64::NAN, f64::INFINITY]), Err(ChartError::Empty));
    assert_eq!(of(minutes(2), vec![1.0]), Err(ChartError::Lengths { series: "values", len: 1, times: 2 }));
    let many = POINTS_MAX + 1;
    assert_eq!(of(minutes(many), vec![1.0; many]), Err(ChartError::TooMany { what: "points", count: many, max: POINTS_MAX }));
    for ts in [vec![2, 1], vec![1, 1], vec![i64::MIN, i64::MAX], vec![i64::MAX - 1, i64::MAX], vec![0, i64::MAX]] {
        assert_eq!(of(ts, vec![1.0; 2]), Err(ChartError::Times));
    }
    let regimes = |labels: usize, series: usize| {
        draw(&Chart::Regimes { ts: minutes(1), labels: vec!["x".into(); labels], probabilities: vec![vec![0.5]; series] }, "")
    };
    assert_eq!(regimes(0, 0), Err(ChartError::Empty));
    assert_eq!(regimes(2, 1), Err(ChartError::Lengths { series: "labels", len: 2, times: 1 }));
    assert_eq!(regimes(13, 13), Err(ChartError::TooMany { what: "states", count: 13, max: 12 }));
}

#[test]
fn a_message_has_a_chart_only_where_one_was_asked_for() {
    let charted = |chart| Alert { chart, ..alert(Event::cascade(cascade())) };
    let of = |kind, chart| {
        let alert = charted(chart);
        notice(kind, news_id(&alert, false), vec![alert])
    };
    let news = of(NoticeKind::News, Some(liquidations(30)));
    assert_eq!(Message::of(&news).png, None);
    assert!(Message::with_chart(&news).png.unwrap().starts_with(b"\x89PNG"));
    assert_eq!(Message::with_chart(&of(NoticeKind::News, None)).png, None);
    assert_eq!(Message::with_chart(&of(NoticeKind::Digest, Some(liquidations(30)))).png, None);
    let bad = Message::with_chart(&of(NoticeKind::News, Some(line(0))));
    assert_eq!(bad.png, None);
    assert!(bad.footer.ends_with("· draw a chart: it has no point that can be drawn; give at least one finite value"));
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), -1e6..1e6, Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(-1e300), Just(1e15)]
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    let regular = (any::<i64>(), 1i64..200_000_000, 0usize..12)
        .prop_map(|(first, step, count)| (0..count as i64).map(|n| first.saturating_add(n * step)).collect());
    let usual = (0i64..4_000_000_000_000, prop::collection::vec(1i64..90_000_000_000, 0..12)).prop_map(|(first, steps)| {
        steps
            .iter()
            .scan(first, |at, step| {
                *at += step;
                Some(*at)
            })
            .collect()
    });
    prop_oneof![prop::collection::vec(any::<i64>(), 0..4), regular, usual]
}

proptest! {
    #[test]
    fn hostile_figures_never_panic(
        ts in times(), series in prop::collection::vec(prop::collection::vec(value(), 12), 3), threshold in prop::option::of(value()),
        text in "\\PC{0,40}", same_length in prop::bool::weighted(0.9), kind in 0..3,
    ) {
        let count = if same_length { ts.len() } else { 7 };
        let take = |n: usize| series[n].iter().copied().take(count).collect::<Vec<f64>>();
        let chart = match kind {
            0 => Chart::Liquidations { ts, close: take(0), long_usd: take(1), short_usd: take(2) },
            1 => Chart::Regimes { ts, labels: vec!["BEAR".into(), text.clone(), "BULL".into()], probabilities: vec![take(0), take(1), take(2)] },
            _ => Chart::Line { ts, name: text.clone(), values: take(0), threshold },
        };
        if let Ok(png) = draw(&chart, &text) {
            prop_assert!(png.len() < 60_000);
        }
    }
}
