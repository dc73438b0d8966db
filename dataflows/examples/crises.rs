//! Five crises on real hourly bars: volatility regimes, and how the market moved as one.
//!
//! The same estimators, regimes and correlations as in the views, without the dataflow: they are plain functions, told how long a bar is.
//!
//! ```text
//! cargo run -p dataflows --example crises -- ../shared/data/bars/1h/binance-usdm
//! ```
//!
//! The folder holds a file per symbol, `BTCUSDT.csv` or `.csv.gz` (unpacked by `gzip`): a header, then `timestamp_ms,open,high,low,close,…`,
//! the timestamp being the bar's opening. Without an argument the folder beside the project is taken, or the one in `$REGIMEFLOW_DATA`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use dataflows::config::Config;
use dataflows::correlations::{ABSENT, RollingCorrelation, between};
use dataflows::model::{HOUR_MS, VolatilityRegime};
use dataflows::volatility::estimators::{Candle, close_to_close, parkinson, per_day};
use dataflows::volatility::next_regime;

const BAR_MINUTES: f64 = 60.0;
const DAY: i64 = 24;
const WEEK: i64 = 7 * DAY;
/// Hours of the correlations' window: with 24 a correlation of 0.85 is only known to ± 0.06, with 72 to ± 0.03.
const CORRELATED_HOURS: usize = 72;

/// What happened, and 00:00 UTC of the day in hours since the epoch.
const CRISES: [(&str, &str, i64); 5] = [
    ("2020-03-12", "Covid", 439_992),
    ("2021-05-19", "China bans mining", 450_384),
    ("2022-11-09", "FTX", 463_320),
    ("2024-08-05", "yen carry", 478_560),
    ("2025-10-10", "tariffs", 488_904),
];

/// A symbol's bars by hour since the epoch.
type Bars = BTreeMap<i64, Candle>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(usual_folder, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: there are no bars at {}; name their folder as the argument", folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    let symbols = read_all(&folder)?;
    if symbols.is_empty() {
        return Err(format!("reading bars: no .csv or .csv.gz file in {}", folder.display()).into());
    }
    println!("Volatility per day over 24 h of hourly bars, and the regime of the larger\n");
    println!(
        "{:<11}{:<18}{:<9}{:>7}  {:<14}{:>15}{:>11}  {:<22}{:>10}",
        "day", "", "symbol", "before", "peak at", "close-to-close", "Parkinson", "regime", "calm after"
    );
    for (day, what, hour) in CRISES {
        for (symbol, bars) in &symbols {
            if let Some(line) = volatility_line(bars, hour) {
                println!("{day:<11}{what:<18}{symbol:<9}{line}");
            }
        }
    }
    println!(
        "\nCorrelation of hourly returns over {CORRELATED_HOURS} h: mean of all pairs (lowest pair), and the first eigenvector's share of variance\n"
    );
    println!(
        "{:<11}{:<18}{:>7}  {:<26}{:<26}{:<26}",
        "day", "", "symbols", "up to that day", "up to the day after next", "a week after"
    );
    for (day, what, hour) in CRISES {
        let moments = [hour, hour + 2 * DAY, hour + WEEK + DAY].map(|end| correlation_cell(&symbols, end));
        let count = symbols.values().filter(|bars| bars.contains_key(&hour)).count();
        println!("{day:<11}{what:<18}{count:>7}  {:<26}{:<26}{:<26}", moments[0], moments[1], moments[2]);
    }
    Ok(ExitCode::SUCCESS)
}

fn usual_folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("REGIMEFLOW_DATA").map_or(beside, PathBuf::from).join("bars/1h/binance-usdm")
}

fn read_all(folder: &Path) -> Result<BTreeMap<String, Bars>, Box<dyn Error>> {
    let mut symbols = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = match name.split_once('.') {
            Some((_, "csv")) => std::fs::read_to_string(&path)?,
            Some((_, "csv.gz")) => {
                let unpacked = Command::new("gzip").arg("-dc").arg(&path).output()?;
                if !unpacked.status.success() {
                    return Err(format!("unpacking {}: gzip ended with {}", path.display(), unpacked.status).into());
                }
                String::from_utf8(unpacked.stdout)?
            }
            _ => continue,
        };
        let bars =
            text.lines().skip(1).enumerate().map(|(i, line)| {
                bar(line).ok_or_else(|| format!("reading {}: line {} is no bar: {line}", path.display(), i + 2))
            });
        symbols.insert(name.split('.').next().unwrap_or_default().to_owned(), bars.collect::<Result<Bars, _>>()?);
    }
    Ok(symbols)
}

fn bar(line: &str) -> Option<(i64, Candle)> {
    let mut fields = line.split(',');
    let hour = fields.next()?.parse::<i64>().ok()?.div_euclid(HOUR_MS);
    let mut price = || fields.next()?.parse::<f64>().ok().filter(|price| *price > 0.0);
    Some((hour, Candle { open: price()?, high: price()?, low: price()?, close: price()? }))
}

/// Close-to-close and Parkinson over the 24 bars that end with the one of `hour`. `None` where one of them is missing.
fn levels(bars: &Bars, hour: i64) -> Option<(f64, f64)> {
    let candles: Vec<Candle> = bars.range(hour - DAY + 1..=hour).map(|(_, candle)| *candle).collect();
    let returns = (hour - DAY + 1..=hour).map(|hour| Some((bars.get(&hour)?.close / bars.get(&(hour - 1))?.close).ln().powi(2)));
    let squares: Vec<f64> = returns.collect::<Option<_>>()?;
    Some((per_day(close_to_close(squares.into_iter())?, BAR_MINUTES)?, per_day(parkinson(&candles), BAR_MINUTES)?))
}

/// The level and its regime at the end of each bar of `hours`, hysteresis and all.
fn regimes(bars: &Bars, hours: std::ops::Range<i64>) -> Vec<(i64, f64, VolatilityRegime)> {
    let settings = Config::default().volatility;
    let mut regime = None;
    let mut said = Vec::new();
    for hour in hours {
        let Some((close_to_close, parkinson)) = levels(bars, hour) else { continue };
        let level = close_to_close.max(parkinson);
        let now = next_regime(regime, level, &settings.boundaries, settings.hysteresis);
        regime = Some(now);
        said.push((hour, level, now));
    }
    said
}

/// The day before, the peak within two days, its regime, and how long it took to fall back to HIGH_VOL.
fn volatility_line(bars: &Bars, midnight: i64) -> Option<String> {
    let said = regimes(bars, midnight - WEEK..midnight + 4 * WEEK);
    let (_, before, from) = said.iter().rfind(|(hour, _, _)| *hour < midnight)?;
    let crisis = said.iter().filter(|(hour, _, _)| (midnight..midnight + 2 * DAY).contains(hour));
    let (peak, _, to) = crisis.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (close_to_close, parkinson) = levels(bars, *peak)?;
    let calm = said.iter().find(|(hour, _, regime)| hour > peak && *regime <= VolatilityRegime::HighVol);
    let after = match calm {
        _ if *to <= VolatilityRegime::HighVol => "–".to_owned(),
        Some((hour, _, _)) => format!("{} h", hour - peak),
        None => "> 26 days".to_owned(),
    };
    let (days, hour) = ((peak + 1 - midnight).div_euclid(DAY), (peak + 1).rem_euclid(DAY));
    let at = if days == 0 { format!("{hour:02}:00") } else { format!("{hour:02}:00 + {days} d") };
    let [before, close_to_close, parkinson] = [*before, close_to_close, parkinson].map(|x| format!("{:.1} %", x * 100.0));
    let regime = format!("{} → {}", from.as_str(), to.as_str());
    Some(format!("{before:>7}  {at:<14}{close_to_close:>15}{parkinson:>11}  {regime:<22}{after:>10}"))
}

/// Over the window that ends where the bar of `end` opens.
fn correlation_cell(symbols: &BTreeMap<String, Bars>, end: i64) -> String {
    let mut rolling = RollingCorrelation::new(symbols.len(), CORRELATED_HOURS, 0.8);
    for hour in end - CORRELATED_HOURS as i64..end {
        let close = |bars: &Bars, hour: i64| bars.get(&hour).map(|candle| candle.close);
        let of = |bars: &Bars| close(bars, hour - 1).zip(close(bars, hour)).map_or(ABSENT, |(before, now)| between(before, now));
        rolling.push(&symbols.values().map(of).collect::<Vec<i32>>());
    }
    let pairs: Vec<f64> = rolling.triangle().into_iter().filter(|r| r.is_finite()).collect();
    let Some(share) = rolling.absorption_ratio() else { return "–".into() };
    let lowest = pairs.iter().copied().fold(f64::INFINITY, f64::min);
    format!("{:.2} ({lowest:.2})  {:.0} %", pairs.iter().sum::<f64>() / pairs.len() as f64, share * 100.0)
}
