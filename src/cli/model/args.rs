//! Words of these commands: time frames, names of models; times and spans are those of all commands.

use std::str::FromStr;

use dataflows::model::{ModelId, Timeframe};

pub(super) use crate::cli::time::{Span, Time, shown};

/// A time frame's name.
pub(super) fn timeframe(text: &str) -> Result<Timeframe, String> {
    Timeframe::from_name(text).ok_or_else(|| format!("`{text}` is no time frame; there are 1m, 5m, 15m, 1h, 4h, 1d and 1w"))
}

/// `NAME`, or `NAME.vN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of all versions.
    pub name: String,
    /// `None`: the active one, or else the newest.
    pub version: Option<u32>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let versioned = text.rsplit_once(".v").and_then(|(name, version)| Some((name, version.parse().ok()?)));
        Ok(match versioned {
            Some((name, version)) => Self { name: name.to_owned(), version: Some(version) },
            None => Self { name: text.to_owned(), version: None },
        })
    }
}

impl Wanted {
    /// Of a known version.
    pub fn id(&self, version: u32) -> ModelId {
        ModelId { name: self.name.as_str().into(), version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_and_time_frames() {
        assert_eq!("btc.v2-4h.v12".parse::<Wanted>(), Ok(Wanted { name: "btc.v2-4h".into(), version: Some(12) }));
        assert_eq!("btc-4h".parse::<Wanted>(), Ok(Wanted { name: "btc-4h".into(), version: None }));
        assert!(timeframe("2h").is_err_and(|error| error.contains("`2h` is no time frame")));
    }
}
