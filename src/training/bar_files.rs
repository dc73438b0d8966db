//! Bars out of a CSV file, and the features of them and of longer bars, by the views' own code.
//!
//! A header names the columns: `timestamp_ms` (or `ts`: the bar's opening, UTC ms), `open`, `high`, `low`, `close`, `volume`, and, if it is
//! known, `taker_buy_volume`; others are ignored. Bars rise in time and have one length, which is the least distance between two of
//! them. `.zst` is unpacked here, `.gz` by the program gzip.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dataflows::bars::longer;
use dataflows::fixed::{Notional, Price, Quantity};
use dataflows::model::{Bar, InstrumentId, Timeframe, Venue};

use super::Series;

/// More bars than this (twelve years of minutes) are refused.
const BARS_MAX: usize = 6_500_000;

/// What is wrong with a file of bars.
#[derive(Debug, thiserror::Error)]
pub enum BarFileError {
    /// It can't be read.
    #[error("reading bars from {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("reading bars from {path}, line {line}: {what}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// All of it is not what it should be.
    #[error("reading bars from {path}: {what}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// A file's bars.
#[derive(Clone, Debug)]
pub struct BarFile {
    symbol: String,
    timeframe: Timeframe,
    bars: Vec<Bar>,
    taker_known: bool,
}

impl BarFile {
    /// Reads a file of one symbol's bars.
    ///
    /// # Errors
    /// A file that can't be read or holds something else; the line is told.
    pub fn read(path: &Path, symbol: &str) -> Result<Self, BarFileError> {
        let io = |source| BarFileError::Io { path: path.to_owned(), source };
        let content = |what: String| BarFileError::Content { path: path.to_owned(), what };
        let mut text = BufReader::new(open(path).map_err(io)?);
        let mut header = String::new();
        text.read_line(&mut header).map_err(io)?;
        let columns = Columns::of(&header).map_err(content)?;
        let instrument = InstrumentId::of(Venue::Any, symbol);
        let mut bars: Vec<Bar> = Vec::new();
        for (line, text) in (2..).zip(text.lines()) {
            let text = text.map_err(io)?;
            if text.trim().is_empty() {
                continue;
            }
            let wrong = |what| BarFileError::Line { path: path.to_owned(), line, what };
            let bar = columns.bar(&text, instrument).map_err(wrong)?;
            if let Some(last) = bars.last().filter(|last| last.ts >= bar.ts) {
                return Err(wrong(format!("the bar opens at {}, the one before at {}; sort them, each once", bar.ts, last.ts)));
            }
            if bars.len() == BARS_MAX {
                return Err(content(format!("more than {BARS_MAX} bars; cut the file")));
            }
            bars.push(bar);
        }
        let step = bars.windows(2).map(|pair| pair[1].ts - pair[0].ts).min();
        let step = step.ok_or_else(|| content(format!("{} bars; a length needs two", bars.len())))?;
        let timeframe = Timeframe::ALL
            .into_iter()
            .find(|timeframe| timeframe.ms() == step)
            .ok_or_else(|| content(format!("bars are {step} ms apart; their length must be 1m, 5m, 15m, 1h, 4h, 1d or 1w")))?;
        if let Some(bar) = bars.iter().find(|bar| timeframe.open_of(bar.ts) != bar.ts) {
            return Err(content(format!("the bar at {} doesn't open where a {} bar does (UTC)", bar.ts, timeframe.as_str())));
        }
        bars.iter_mut().for_each(|bar| bar.timeframe = timeframe);
        Ok(Self { symbol: symbol.to_owned(), timeframe, bars, taker_known: columns.taker.is_some() })
    }

    /// The features of its bars, or of longer ones made of them.
    ///
    /// # Errors
    /// A time frame that is shorter than the file's.
    pub fn series(&self, timeframe: Timeframe) -> Result<Series, String> {
        Ok(Series::of_bars(&self.symbol, timeframe, &self.bars(timeframe)?, self.taker_known))
    }

    /// Its bars, or longer ones made of them.
    ///
    /// # Errors
    /// A time frame that is shorter than the file's.
    pub fn bars(&self, timeframe: Timeframe) -> Result<Vec<Bar>, String> {
        let own = self.timeframe;
        if timeframe < own {
            return Err(format!("{}: bars of {} can't be made of bars of {}", self.symbol, timeframe.as_str(), own.as_str()));
        }
        Ok(longer(&self.bars, timeframe))
    }
}

fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    let file = std::fs::File::open(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("zst") => Ok(Box::new(zstd::Decoder::new(file)?)),
        Some("gz") => {
            let unpacked = Command::new("gzip").arg("-dc").stdin(file).stderr(Stdio::null()).output()?;
            if unpacked.status.success() {
                Ok(Box::new(std::io::Cursor::new(unpacked.stdout)))
            } else {
                Err(std::io::Error::other(format!("gzip ended with {}; is it a gzip file?", unpacked.status)))
            }
        }
        _ => Ok(Box::new(file)),
    }
}

/// Where the columns are.
struct Columns {
    ts: usize,
    prices: [usize; 4],
    volume: usize,
    taker: Option<usize>,
}

impl Columns {
    fn of(header: &str) -> Result<Self, String> {
        let names: Vec<&str> = header.trim().split(',').map(str::trim).collect();
        let find = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let need = |name: &str| find(name).ok_or_else(|| format!("the header `{}` has no column {name}", header.trim()));
        Ok(Self {
            ts: find("timestamp_ms").map_or_else(|| need("ts"), Ok).map_err(|_| {
                format!("the header `{}` has no column timestamp_ms (or ts): the bars' openings, UTC ms", header.trim())
            })?,
            prices: [need("open")?, need("high")?, need("low")?, need("close")?],
            volume: need("volume")?,
            taker: find("taker_buy_volume"),
        })
    }

    fn bar(&self, line: &str, instrument: InstrumentId) -> Result<Bar, String> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let cell = |at: usize| cells.get(at).copied().ok_or_else(|| format!("{} cells; the header has more", cells.len()));
        let ts = cell(self.ts)?.parse::<i64>().map_err(|_| format!("`{}` is no time in UTC ms", cells[self.ts]))?;
        let price = |at: usize| -> Result<Price, String> {
            let text = cell(at)?;
            Price::parse(text.as_bytes()).map_err(|error| format!("the price `{text}`: {error}; it must be above 0"))
        };
        let quantity = |at: usize| -> Result<Quantity, String> {
            let text = cell(at)?;
            Quantity::parse(text.as_bytes()).map_err(|error| format!("the volume `{text}`: {error}; it must be 0 or above"))
        };
        let [open, high, low, close] =
            [price(self.prices[0])?, price(self.prices[1])?, price(self.prices[2])?, price(self.prices[3])?];
        if low > open.min(close) || high < open.max(close) {
            return Err(format!(
                "the range {}–{} doesn't hold the open and the close",
                cells[self.prices[2]], cells[self.prices[1]]
            ));
        }
        let (notional, trades) = (Notional(0), 0); // not in the file, and no feature reads them
        let taker_buy_volume = self.taker.map_or(Ok(Quantity(0)), quantity)?;
        let (timeframe, volume) = (Timeframe::M1, quantity(self.volume)?); // its length is known when all are read
        Ok(Bar { instrument, timeframe, ts, open, high, low, close, volume, notional, taker_buy_volume, trades })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BarFile, BarFileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bars.csv");
        std::fs::write(&path, text).unwrap();
        BarFile::read(&path, "X-USDT-PERP")
    }

    fn check_refused(text: &str, said: &str) {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check_refused("time,open\n", "no column timestamp_ms (or ts)");
        check_refused("ts,open,high,low,volume\n", "no column close");
        let lines = |lines: &str| format!("{HEADER}{lines}");
        check_refused(&lines("0,10,11,9,10,5\n3600000,10,11,9,ten,5\n"), "line 3: the price `ten`: not a decimal number");
        check_refused(&lines("0,10,11,9,10,5\n3600000,10,11,9,0,5\n"), "line 3: the price `0`");
        check_refused(&lines("0,10,11,9,10,-5\n"), "line 2: the volume `-5`");
        check_refused(&lines("x,10,11,9,10,5\n"), "line 2: `x` is no time in UTC ms");
        check_refused(&lines("0,10,11,9\n"), "line 2: 4 cells");
        check_refused(&lines("0,10,11,9,12,5\n"), "line 2: the range 9–11 doesn't hold");
        check_refused(&lines("3600000,10,11,9,10,5\n0,10,11,9,10,5\n"), "line 3: the bar opens at 0, the one before at 3600000");
        check_refused(&lines("0,10,11,9,10,5\n"), "1 bars; a length needs two");
        check_refused(&lines("0,10,11,9,10,5\n7200000,10,11,9,10,5\n"), "bars are 7200000 ms apart");
        check_refused(&lines("1800000,10,11,9,10,5\n5400000,10,11,9,10,5\n"), "doesn't open where a 1h bar does");
    }

    #[test]
    fn longer_bars_are_made_and_shorter_ones_refused() {
        let bars: String = (0..48).map(|hour| format!("{},10,11,9,{},5\n", hour * 3_600_000, 10 + hour % 2)).collect();
        let file = read(&format!("{HEADER}{bars}")).unwrap();
        let [hours, fours] = [Timeframe::H1, Timeframe::H4].map(|timeframe| file.series(timeframe).unwrap());
        assert_eq!((hours.ts.len(), fours.ts.len()), (48, 12));
        assert!(
            hours.values[1][0] > 0.09 && hours.values[1][7].is_nan(),
            "a return, and no word of takers: {:?}",
            hours.values[1]
        );
        assert!(file.series(Timeframe::M15).unwrap_err().contains("bars of 15m can't be made of bars of 1h"));
    }
}
