//! The view `confirmations` around five crises, with models that saw nothing of them.
//!
//! For each crisis and symbol one model a frame (1h, 4h, 1d; settings as `model fit` has them) is trained on the two years of bars that had
//! closed a week before the day. Then closed bars go through the real views features ─▶ regimes ─▶ confirmations, hour by hour, from
//! 400 days before on; the models are released at that week's beginning. A week's frame has too few bars for a model, so
//! three frames vote, and three votes are what the view asks for by default. Spot bars, because the perpetuals begin too late for 2020.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, mpsc};

use dataflows::config::Config;
use dataflows::keeping::Keeping;
use dataflows::model::{Bar, Clock, Confirmation, DAY_MS, HOUR_MS, Instruments, ModelId, Timeframe, Venue};
use dataflows::models::{Model, Release, Status};
use dataflows::operators::{Clocks, per_quantum};
use dataflows::{confirmations, features, regimes};
use hmm::{Label, Vote};
use regimeflow::training::bar_files::BarFile;
use regimeflow::training::{Fitted, Rows, Settings, TrainingError, feature_names, fit, parallel};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Input, Inspect};

use crate::{bar_files, threads};

pub const EXPLAINED: &str = "\
What the view confirmations said around five crises (spot, 1h + 4h + 1d; models trained on two years up to a week before the day).
models: what the states mean, per frame (- Bear, 0 Chop, + Bull, doubled if strong; v calm, V turbulent: these don't vote).
bear leads, confirmed: the first hour after 00:00 of the day, within seven days, at which Bear had most votes, and at which it was
confirmed (.70 of three votes is all three); then: the price since 00:00. low: the lowest close of these days. Below, the view at
the end of each day: the leading regime, its share of votes, capitals where confirmed.
";

const FRAMES: [Timeframe; 3] = [Timeframe::H1, Timeframe::H4, Timeframe::D1];
/// What happened, and 00:00 UTC of the day in hours since the epoch.
const CRISES: [(&str, &str, i64); 5] = [
    ("2020-03-12", "Covid", 439_992),
    ("2021-05-19", "China bans mining", 450_384),
    ("2022-11-09", "FTX", 463_320),
    ("2024-08-05", "yen carry", 478_560),
    ("2025-10-10", "tariffs", 488_904),
];
const QUIET_DAYS: i64 = 7;
const TRAINED_DAYS: i64 = 730;
const FED_DAYS: i64 = 400;
const WATCHED_DAYS: i64 = 7;

pub fn around_crises(folder: &Path) -> Result<(), Box<dyn Error>> {
    let files = bar_files(folder)?;
    let files = files.iter().map(|(symbol, path)| Ok((symbol.as_str(), BarFile::read(path, symbol)?)));
    let files = files.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let jobs: Vec<_> = CRISES.iter().flat_map(|crisis| files.iter().map(move |file| (crisis, file))).collect();
    let mut said: BTreeMap<usize, Result<String, String>> = BTreeMap::new();
    parallel::run(
        &jobs,
        threads(),
        |((day, what, hour), (symbol, file))| match around(symbol, file, hour * HOUR_MS) {
            Ok(text) => Ok(format!("{day}  {what:<18} {symbol:<8} {text}")),
            Err(error) => Err(format!("{day}  {what:<18} {symbol:<8} {error}")),
        },
        |job, answer| {
            said.insert(job, answer);
        },
    );
    said.into_values().for_each(|line| println!("{}", line.unwrap_or_else(|line| line)));
    Ok(())
}

fn around(symbol: &str, file: &BarFile, midnight: i64) -> Result<String, Box<dyn Error + Send + Sync>> {
    let (cutoff, end) = (midnight - QUIET_DAYS * DAY_MS, midnight + WATCHED_DAYS * DAY_MS);
    let names = Arc::new(Instruments::default());
    let instrument = names.intern(Venue::BinanceSpot, symbol).ok_or("the symbol's id is another's")?;
    let (mut releases, mut meanings, mut fed) = (Vec::new(), Vec::new(), Vec::new());
    for timeframe in FRAMES {
        let fitted = trained(file, timeframe, cutoff)?;
        let labels = fitted.file.labels.iter().flatten().map(|state| short(state.label));
        meanings.push(format!("{}: {}", timeframe.as_str(), labels.collect::<Vec<_>>().join(" ")));
        let id = ModelId { name: timeframe.as_str().into(), version: 1 };
        let model = Arc::new(Model::from_json(id, &fitted.file.to_json()?)?);
        releases.push(Release { symbol: symbol.into(), timeframe, active_from: cutoff, status: Status::Active, model });
        let bars = file.bars(timeframe)?.into_iter().map(|bar| Bar { instrument, ..bar });
        fed.extend(bars.filter(|bar| bar.ts >= cutoff - FED_DAYS * DAY_MS && bar.ts + timeframe.ms() <= end));
    }
    let closes: BTreeMap<i64, f64> = file.bars(Timeframe::H1)?.iter().map(|bar| (bar.ts + HOUR_MS, bar.close.to_f64())).collect();
    let rows = view(fed, releases, &names)?;
    Ok(format!("models {}\n{}", meanings.join(", "), text(&rows, &closes, midnight)))
}

/// A model of the bars that had closed by `cutoff`.
fn trained(file: &BarFile, timeframe: Timeframe, cutoff: i64) -> Result<Fitted, Box<dyn Error + Send + Sync>> {
    let settings = Settings::new(feature_names("trend")?);
    let closed = cutoff - timeframe.ms() + 1;
    let window = file.series(timeframe)?.window(cutoff - TRAINED_DAYS * DAY_MS, closed, usize::MAX);
    let rows: Result<Rows, TrainingError> = window.rows(&settings.features);
    Ok(fit(&rows?, &settings, None)?)
}

/// Bars through the views, each known when it has closed. The rows by time.
fn view(mut bars: Vec<Bar>, releases: Vec<Release>, names: &Arc<Instruments>) -> Result<BTreeMap<i64, Confirmation>, String> {
    let closed_at = |bar: &Bar| bar.ts + bar.timeframe.ms();
    bars.sort_by_key(closed_at);
    let mut config = Config { features_timeframes: FRAMES.to_vec(), ..Config::default() };
    config.regimes.timeframes = FRAMES.to_vec();
    config.regimes.window_timeframes.clear();
    let (said, changes) = mpsc::channel();
    let names = Arc::clone(names);
    timely::execute_directly(move |worker| {
        let (mut closed, mut clocks, mut released) = (InputHandle::new(), InputHandle::new(), InputHandle::new());
        worker.dataflow::<u64, _, _>(|scope| {
            let bars = scope.input_from(&mut closed).container::<Vec<Bar>>();
            let records = scope.input_from(&mut clocks).container::<Vec<Clock>>();
            let clocks = Clocks { records, keeping: Keeping::default() };
            let releases = scope.input_from(&mut released).container::<Vec<Release>>();
            let bars = per_quantum(bars, clocks.clone(), "closed bars", (), |(), _, bars: Vec<Bar>, _, changes| {
                changes.extend(bars.into_iter().map(|bar| (bar, 1)));
            });
            let features = features::features(features::Inputs::bars_alone(bars), clocks.clone(), &config, Arc::clone(&names));
            let regimes = regimes::regimes(features, releases.broadcast(), clocks.clone(), &config, Arc::clone(&names));
            let rows = confirmations::confirmations(regimes.ballots, clocks, &config, Arc::clone(&names)).confirmations;
            rows.inner.inspect(move |change| drop(said.send(change.clone())));
        });
        releases.into_iter().for_each(|release| released.send(release));
        for bars in bars.chunk_by(|a, b| closed_at(a) == closed_at(b)) {
            let known_at = closed_at(&bars[0]).unsigned_abs();
            closed.advance_to(known_at);
            clocks.advance_to(known_at);
            released.advance_to(known_at);
            bars.iter().for_each(|bar| closed.send(*bar));
            worker.step();
        }
    });
    let mut rows = BTreeMap::new();
    for (row, known_at, diff) in changes {
        if diff < 0 || known_at != row.ts.unsigned_abs() {
            return Err(format!("nothing was corrected, and yet a row of {} changed at {known_at}", row.ts));
        }
        rows.insert(row.ts, row);
    }
    Ok(rows)
}

fn text(rows: &BTreeMap<i64, Confirmation>, closes: &BTreeMap<i64, f64>, midnight: i64) -> String {
    let is_bear = |row: &&Confirmation| row.confirmed && row.primary == Vote::Bear;
    let price = |ts: i64| closes.range(..=ts).next_back().map_or(f64::NAN, |(_, close)| *close);
    let moved = |to: f64| format!("{:+.1} %", (to / price(midnight) - 1.0) * 100.0);
    let days = |range: std::ops::RangeInclusive<i64>| midnight + range.start() * DAY_MS + 1..=midnight + range.end() * DAY_MS;
    let was_bear = rows.range(..=midnight).next_back().is_some_and(|(_, row)| is_bear(&row));
    let mut watched = rows.range(days(0..=WATCHED_DAYS)).map(|(_, row)| row);
    let since = |row: &Confirmation| format!("{} h, then {}", (row.ts - midnight) / HOUR_MS, moved(price(row.ts)));
    let leads = watched.clone().find(|row| row.primary == Vote::Bear).map_or_else(|| "never".to_owned(), since);
    let bear = match watched.find(is_bear) {
        _ if was_bear => "already at 00:00".to_owned(),
        Some(row) => since(row),
        None => "never".to_owned(),
    };
    let low = closes.range(days(0..=WATCHED_DAYS)).map(|(_, close)| *close).fold(f64::INFINITY, f64::min);
    let at = |day: i64| format!("{day:+} {}", rows.get(&(midnight + day * DAY_MS)).map_or_else(|| "–".to_owned(), word));
    let strip: Vec<String> = (-3..=WATCHED_DAYS).map(at).collect();
    format!("    bear leads: {leads}; confirmed: {bear}; low {}\n    {}", moved(low), strip.join(" | "))
}

fn word(row: &Confirmation) -> String {
    let word = match (row.primary, row.confirmed) {
        (Vote::Bear, false) => "bear",
        (Vote::Chop, false) => "chop",
        (Vote::Bull, false) => "bull",
        (Vote::Bear, true) => "BEAR",
        (Vote::Chop, true) => "CHOP",
        (Vote::Bull, true) => "BULL",
    };
    format!("{word} {:.2}", row.confidence.0)
}

fn short(label: Label) -> &'static str {
    match label {
        Label::StrongBear => "--",
        Label::Bear => "-",
        Label::Chop => "0",
        Label::Bull => "+",
        Label::StrongBull => "++",
        Label::Calm => "v",
        Label::Turbulent => "V",
    }
}
