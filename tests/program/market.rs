//! A simulated market: made, stripped of its polls, played by the mock venue, and listened to.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::{Program, text};

/// All streams that a simulated market has.
const STREAMS: [(&str, [&str; 4]); 2] = [
    ("binance_usdm", ["aggTrades", "@markPrice", "klines", "liquidations"]),
    ("bybit_linear", ["trades", "tickers", "klines", "liquidations"]),
];

impl Program {
    /// Simulates a market into a directory; `settings` as on the command line.
    pub fn market(&self, dir: &Path, settings: &str) -> anyhow::Result<PathBuf> {
        let path = dir.join("market.frames.zst");
        let settings: Vec<&str> = settings.split_whitespace().collect();
        self.output(&[&["simulate"], &settings[..], &["--out", text(&path)]].concat())?;
        Ok(path)
    }

    /// A mock venue that plays a log as fast as it can, and where it listens; `more` as on the command line.
    pub fn venue(&self, frames: &Path, more: &str) -> (Child, String) {
        let mut command = self.command(&["mock-venue", text(frames), "--listen", "127.0.0.1:0", "--speed", "max"]);
        let mut venue = command.args(more.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(venue.stderr.take().unwrap()).lines();
        let address = loop {
            if let Some(rest) = said.next().unwrap().unwrap().strip_prefix("listening on ") {
                break rest.split(": ").next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || said.count()); // read away, so that it never waits for us
        (venue, address)
    }
}

/// What came over sockets, beside the market: polls would be asked for at other times than they were recorded.
pub fn without_polls(market: &Path) -> PathBuf {
    let path = market.with_file_name("sockets.frames.zst");
    let log = BufReader::new(zstd::Decoder::new(std::fs::File::open(market).unwrap()).unwrap());
    let mut out = zstd::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    for line in log.lines().map(Result::unwrap).filter(|line| !line.contains("\thttp\t")) {
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    path
}

/// A configuration's part about a feed: two symbols of the mock venue at an address. More keys may follow it.
pub fn feed(name: &str, streams: &[&str], address: &str) -> String {
    format!(
        "[feeds.{name}]\nsymbols = ['BTCUSDT', 'ETHUSDT']\nstreams = {streams:?}\nws_url = 'ws://{address}'\nrest_url = 'http://{address}'\n"
    )
}

/// The same for all that is simulated of two symbols; `more` are keys of each.
pub fn feeds(address: &str, more: &str) -> String {
    STREAMS.iter().map(|(name, streams)| feed(name, streams, address) + more).collect()
}
