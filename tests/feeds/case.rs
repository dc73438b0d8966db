//! A case: a recording, a feed, what goes wrong, and what was heard.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use dataflows::model::Venue;
use regimeflow::config::Feed;
use regimeflow::feeds::live::{End, FeedOutput, Silent, State, Tempo, run_feed_at};
use regimeflow::frames::{Defect, Direction};
use regimeflow::mock_venue::{MockConfig, Report, start};
use regimeflow::store::edge::FeedGap;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// When the recordings begin.
pub const T0_NS: i64 = 1_723_161_255_000_000_000;

/// A line of a frame log, `at` ms after its beginning.
pub fn line(at: i64, venue: Venue, direction: &str, payload: &str) -> String {
    format!("{}\t{venue}\tc1\t{direction}\t{payload}\n", T0_NS + at * 1_000_000)
}

/// `rounds` of an aggregate trade and a mark price every 10 ms.
pub fn binance(rounds: i64) -> String {
    let round = |n: i64| {
        let t = T0_NS / 1_000_000 + n * 10;
        let trade = format!(
            r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":{t},"s":"BTCUSDT","a":{n},"p":"61800.30","q":"0.006","nq":"0.006","f":{n},"l":{n},"T":{t},"m":false}}}}"#
        );
        let mark = format!(
            r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{t},"s":"BTCUSDT","p":"61800.1{n}","ap":"61800.10","i":"61810.5","P":"61790.0","r":"0.00010000","T":1723190400000}}}}"#
        );
        line(n * 10, Venue::BinanceUsdm, "in", &trade) + &line(n * 10 + 1, Venue::BinanceUsdm, "in", &mark)
    };
    (0..rounds).map(round).collect()
}

/// `rounds` of a ticker and a trade of each symbol every 10 ms.
pub fn bybit(rounds: i64, symbols: &[&str]) -> String {
    let mut log = line(0, Venue::BybitLinear, "out", r#"{"op":"subscribe","args":["tickers.BTCUSDT"]}"#);
    log += &line(0, Venue::BybitLinear, "in", r#"{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}"#);
    for n in 0..rounds {
        for symbol in symbols {
            let ticker = format!(
                r#"{{"topic":"tickers.{symbol}","type":"delta","data":{{"symbol":"{symbol}","markPrice":"6666{n}.10"}},"cs":{n},"ts":{n}}}"#
            );
            let trade = format!(
                r#"{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{n},"data":[{{"T":{n},"s":"{symbol}","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"{n}","BT":false,"seq":{n}}}]}}"#
            );
            log += &line(n * 10, Venue::BybitLinear, "in", &ticker);
            log += &line(n * 10 + 1, Venue::BybitLinear, "in", &trade);
        }
    }
    log
}

/// The data frames of a log, as the venue would send them.
pub fn data(log: &str) -> Vec<String> {
    let payload = |line: &str| line.splitn(5, '\t').nth(4).unwrap().to_owned();
    log.lines().filter(|line| line.contains("\tin\t") && !line.contains("success")).map(payload).collect()
}

/// A case: what is recorded, what is listened to, what goes wrong.
pub struct Case {
    pub venue: Venue,
    pub log: String,
    pub faults: Vec<&'static str>,
    pub feed: Feed,
    pub tempo: Tempo,
    pub since_ms: Option<i64>,
    pub mock: Box<dyn Fn(&mut MockConfig)>,
    /// The venue stays until this was heard, at most 20 s; `None`: until it has played all.
    pub until: Option<fn(&Heard) -> bool>,
}

/// What the feed said until the venue was done.
#[derive(Debug, Default)]
pub struct Heard {
    /// Text frames with the time (UTC ms) at which they came, and REST answers.
    pub frames: Vec<(i64, String)>,
    pub http: Vec<String>,
    pub defects: Vec<Defect>,
    pub gaps: Vec<FeedGap>,
    pub silent: Vec<Silent>,
    pub states: Vec<State>,
    pub report: Report,
    pub took: Duration,
}

impl Case {
    pub fn new(venue: Venue, log: String) -> Self {
        let streams = if venue == Venue::BinanceUsdm { vec!["aggTrades", "mark"] } else { vec!["tickers", "trades"] };
        let feed = Feed {
            symbols: vec!["BTCUSDT".into()],
            streams: streams.into_iter().map(str::to_owned).collect(),
            backoff_ms_min: 50,
            ..Feed::default()
        };
        Self {
            venue,
            log,
            faults: Vec::new(),
            feed,
            tempo: Tempo::default(),
            since_ms: None,
            mock: Box::new(|_| ()),
            until: None,
        }
    }

    pub fn fault(mut self, spec: &'static str) -> Self {
        self.faults.push(spec);
        self
    }

    pub fn feed(mut self, change: impl FnOnce(&mut Feed)) -> Self {
        change(&mut self.feed);
        self
    }

    pub fn tempo(mut self, change: impl FnOnce(&mut Tempo)) -> Self {
        change(&mut self.tempo);
        self
    }

    pub fn mock(mut self, change: impl Fn(&mut MockConfig) + 'static) -> Self {
        self.mock = Box::new(change);
        self
    }

    /// The venue goes on answering after the last frame, until this was heard.
    pub fn until(mut self, is_enough: fn(&Heard) -> bool) -> Self {
        self.until = Some(is_enough);
        self
    }

    /// Plays the whole log to a feed and says what it heard.
    pub async fn play(self) -> Heard {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&zstd::encode_all(self.log.as_bytes(), 1).unwrap()).unwrap();
        let mut config = MockConfig::new(file.path().to_owned());
        config.faults = self.faults.iter().map(|spec| spec.parse().unwrap()).collect();
        config.settle = Duration::from_millis(100);
        config.patience = Duration::from_secs(10);
        config.once = self.until.is_none();
        (self.mock)(&mut config);
        let mock = start(config).await.unwrap();
        let stopper = mock.stopper();
        let feed =
            Feed { ws_url: Some(format!("ws://{}", mock.addr)), rest_url: Some(format!("http://{}", mock.addr)), ..self.feed };
        let (out, mut said) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let began = Instant::now();
        let running = tokio::spawn(run_feed_at(self.tempo, self.venue, feed, self.since_ms, out, shutdown.clone()));
        let ending = tokio::spawn(async move {
            let report = timeout(Duration::from_secs(20), mock.finished()).await.expect("the mock venue did not come to its end");
            // The venue's last close is read, then the feed is told to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            shutdown.cancel();
            report
        });
        let mut heard = Heard::default();
        while let Some(output) = said.recv().await {
            heard.add(output);
            if self.until.is_some_and(|is_enough| is_enough(&heard)) {
                stopper.cancel();
            }
        }
        running.await.unwrap().unwrap();
        heard.took = began.elapsed();
        heard.report = ending.await.unwrap();
        heard
    }
}

impl Heard {
    pub fn add(&mut self, output: FeedOutput) {
        match output {
            FeedOutput::Frames(batch) => {
                for frame in &batch.frames {
                    let text = String::from_utf8(batch.payload(frame).to_vec()).unwrap();
                    match frame.direction {
                        Direction::Http => self.http.push(text),
                        _ => self.frames.push((frame.recv_ns / 1_000_000, text)),
                    }
                }
                self.defects.extend(batch.defects);
            }
            FeedOutput::Gap(gap) => self.gaps.push(gap),
            FeedOutput::Silent(silent) => self.silent.push(silent),
            FeedOutput::Status(status) => self.states.push(status.state),
        }
    }

    /// Market data only.
    pub fn data(&self) -> Vec<String> {
        let is_data = |text: &&String| text.starts_with(r#"{"stream":"#) || text.starts_with(r#"{"topic":"#);
        self.frames.iter().map(|(_, text)| text).filter(is_data).cloned().collect()
    }

    /// Why connections ended, until the venue closed for good.
    pub fn ends(&self) -> Vec<End> {
        let end = |state: &State| match state {
            State::Lost { end, .. } => Some(end.clone()),
            _ => None,
        };
        let bye = |end: &End| matches!(end, End::Closed { code: 1000, .. });
        self.states.iter().filter_map(end).take_while(|end| !bye(end)).collect()
    }

    /// Gaps that ended: kind, symbol, cause, from, to.
    pub fn closed_gaps(&self) -> Vec<(&str, &str, &str, i64, i64)> {
        let ended = |gap: &&FeedGap| gap.to_ts.is_some();
        let row = |gap: &'_ FeedGap| (gap.from_ts, gap.to_ts.unwrap());
        let mut rows: Vec<_> = self
            .gaps
            .iter()
            .filter(ended)
            .map(|gap| (gap.stream.as_str(), gap.symbol.as_str(), gap.cause.as_str(), row(gap).0, row(gap).1))
            .collect();
        rows.sort_unstable();
        rows
    }

    /// The last word about each gap that ended, in order: `stream cause recovered`, and how often it was told.
    pub fn recovered(&self) -> Vec<String> {
        let mut gaps: BTreeMap<(&str, &str, i64), (u32, &FeedGap)> = BTreeMap::new();
        for gap in &self.gaps {
            let told = gaps.entry((&gap.stream, &gap.symbol, gap.from_ts)).or_insert((0, gap));
            assert!(told.0 == 0 || told.1.known_at <= gap.known_at, "{gap:?} after {told:?}");
            *told = (told.0 + 1, gap);
        }
        let ended = gaps.values().filter(|(_, gap)| gap.to_ts.is_some());
        ended.map(|(times, gap)| format!("{} {} {} {times}", gap.stream, gap.cause, gap.recovered.as_str())).collect()
    }

    /// When the n-th frame of data came.
    pub fn at(&self, n: usize) -> i64 {
        let text = &self.data()[n];
        self.frames.iter().find(|(_, other)| other == text).unwrap().0
    }
}

/// A real recording, or `None` where there is none.
pub fn recorded(name: &str) -> Option<String> {
    let file = std::fs::File::open(crate::recordings::find(name)?).unwrap();
    Some(String::from_utf8(zstd::decode_all(file).unwrap()).unwrap())
}
