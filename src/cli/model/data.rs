//! Where these commands read features: the store, also while a run has it open, or files of bars.

use std::path::PathBuf;

use dataflows::model::Timeframe;

use super::Failure;
use crate::cli::store_args::StoreArgs;
use crate::cli::{EX_DATA, EX_IO, EX_UNAVAILABLE, EX_USAGE};
use crate::config;
use crate::store::{Mode, Store};
use crate::training::Series;
use crate::training::bar_files::{BarFile, BarFileError};
use crate::training::from_store::{self, Held};

/// Where the features come from.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DataArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Instead of a store: a CSV of one symbol's bars (.gz, .zst too); longer bars are made of them. May be repeated.
    #[arg(long, value_name = "FILE", requires = "symbol", conflicts_with = "store")]
    pub bars: Vec<PathBuf>,
    /// Whose bars they are: BTC-USDT-PERP. One for each --bars.
    #[arg(long, value_name = "SYMBOL", requires = "bars")]
    pub symbol: Vec<String>,
}

/// An open source.
pub(super) enum Source {
    Store(Box<Store>),
    Files(Vec<(String, BarFile)>),
}

/// One symbol on one time frame.
pub(super) enum Target {
    Held(Held),
    File { at: usize, symbol: String, timeframe: Timeframe },
}

impl Target {
    pub fn symbol(&self) -> &str {
        match self {
            Self::Held(held) => &held.symbol,
            Self::File { symbol, .. } => symbol,
        }
    }

    pub fn timeframe(&self) -> Timeframe {
        match self {
            Self::Held(held) => held.timeframe,
            Self::File { timeframe, .. } => *timeframe,
        }
    }
}

impl DataArgs {
    pub async fn open(&self) -> anyhow::Result<Source> {
        if self.bars.is_empty() {
            let config = self.store.over(config::Store::default());
            return Ok(Source::Store(Box::new(Store::open(&config, Mode::Read("model")).await?)));
        }
        if self.bars.len() != self.symbol.len() {
            let (bars, symbols) = (self.bars.len(), self.symbol.len());
            let message =
                format!("{bars} files of bars and {symbols} symbols; give --symbol once for each --bars, in the same order");
            return Err(Failure { code: EX_USAGE, message }.into());
        }
        let read = |(path, symbol): (&PathBuf, &String)| match BarFile::read(path, symbol) {
            Ok(file) => Ok((symbol.clone(), file)),
            Err(error) => {
                let code = if matches!(error, BarFileError::Io { .. }) { EX_IO } else { EX_DATA };
                Err(Failure { code, message: error.to_string() })
            }
        };
        Ok(Source::Files(self.bars.iter().zip(&self.symbol).map(read).collect::<Result<_, _>>()?))
    }
}

impl Source {
    /// What there is of some symbols on some time frames; at least one.
    pub async fn targets(&self, globs: &[String], timeframes: &[Timeframe]) -> anyhow::Result<Vec<Target>> {
        let targets: Vec<Target> = match self {
            Self::Store(store) => {
                from_store::held(store.client(), globs, timeframes).await?.into_iter().map(Target::Held).collect()
            }
            Self::Files(files) => {
                let meant = |symbol: &str| globs.iter().any(|glob| from_store::matches(glob, symbol));
                let each = files.iter().enumerate().filter(|(_, (symbol, _))| meant(symbol));
                each.flat_map(|(at, (symbol, _))| {
                    timeframes.iter().map(move |&timeframe| Target::File { at, symbol: symbol.clone(), timeframe })
                })
                .collect()
            }
        };
        if targets.is_empty() {
            let names: Vec<&str> = timeframes.iter().map(|timeframe| timeframe.as_str()).collect();
            let message = format!(
                "there are no features of {} on {}; `regimeflow query \"SELECT symbol, timeframe, count() FROM features GROUP BY ALL\"` \
                 says what the store holds",
                globs.join(", "),
                names.join(", ")
            );
            return Err(Failure { code: EX_UNAVAILABLE, message }.into());
        }
        Ok(targets)
    }

    /// The bars of a target that open before `until` and within `span` of the last of those.
    pub async fn series(
        &self,
        target: &Target,
        from: Option<i64>,
        until: Option<i64>,
        span: Option<i64>,
        bars_max: usize,
    ) -> anyhow::Result<Series> {
        let (whole, until) = match (self, target) {
            (Self::Store(store), Target::Held(held)) => {
                let until = until.unwrap_or(i64::MAX).min(held.to + 1);
                let from = start(from, until, span);
                (from_store::load(store.client(), held, from, until).await?, until)
            }
            (Self::Files(files), Target::File { at, timeframe, .. }) => {
                let refused = |message| Failure { code: EX_DATA, message };
                let series = tokio::task::block_in_place(|| files[*at].1.series(*timeframe)).map_err(refused)?;
                let last = series.ts.last().copied().unwrap_or_default();
                (series, until.unwrap_or(i64::MAX).min(last + 1))
            }
            _ => anyhow::bail!("a target of another source"),
        };
        Ok(whole.window(start(from, until, span), until, bars_max))
    }

    pub async fn close(self) -> anyhow::Result<()> {
        if let Self::Store(store) = self {
            store.close().await?;
        }
        Ok(())
    }
}

fn start(from: Option<i64>, until: i64, span: Option<i64>) -> i64 {
    from.or_else(|| span.map(|span| until.saturating_sub(span))).unwrap_or(0).max(0)
}
