//! Faults on demand: `name:key=value,key=value`.
//!
//! `after` counts frames of data on a connection (of the stream, where `stream` is given); `times` says how many
//! connections are hit. [`HELP`] lists them all.

use std::collections::BTreeMap;
use std::str::FromStr;

/// All faults with their keys, for `--help` and for error messages.
pub const HELP: &str = "\
drop:after=N[,how=close|rst|cut][,times=1][,lose=true]   close, reset, or cut off in mid-frame after N frames; playback waits
                                                         for the client to come back, or with lose goes on without it
half-open:after=N[,times=1]                              the socket stays, nothing is sent, read or answered any more
silent:stream=S[,after=0][,times=1]                      that stream's frames are withheld
no-ack[:times=N]                                         subscriptions are not answered and not served
ack-only[:times=N]                                       subscriptions are answered and not served
no-pong[:times=N]                                        pings are not answered
garbage:every=N                                          a text frame that is no message before every N-th frame
oversize:after=N[,bytes=2097152][,times=1]               one frame of so many bytes
refuse:status=503[,retry-after=S][,times=1][,rest=true]  the handshake (or a REST call) is answered with this status
burst:frames=N[,after=0]                                 N frames as fast as they are read, whatever --speed says
stale-first                                              a stream's first frame on a connection is the last one of before
duplicate:percent=P                                      so many of 100 frames are sent twice
reorder:within=N                                         frames are shuffled among N neighbours";

/// How a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With a closing handshake, code 1001.
    Close,
    /// TCP RST.
    Reset,
    /// In the middle of a frame.
    Cut,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Drop { after: u64, how: How, lose: bool },
    HalfOpen { after: u64 },
    Silent { stream: String, after: u64 },
    NoAck,
    AckOnly,
    NoPong,
    Garbage { every: u64 },
    Oversize { after: u64, bytes: usize },
    Refuse { status: u16, retry_after: Option<u64>, rest: bool },
    Burst { frames: u64, after: u64 },
    StaleFirst,
    Duplicate { percent: u32 },
    Reorder { within: usize },
}

/// A fault, and how many connections it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// On how many connections (or requests).
    pub times: u64,
}

/// A fault that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum FaultError {
    #[error(
        "there is no fault {0:?}; there are drop, half-open, silent, no-ack, ack-only, no-pong, garbage, oversize, refuse, burst, stale-first, duplicate, reorder"
    )]
    Unknown(String),
    #[error("fault {fault}: {text:?} is not key=value; write for example drop:after=1000")]
    NoPair { fault: String, text: String },
    #[error("fault {fault}: there is no key {key:?} here; see --help")]
    UnknownKey { fault: String, key: String },
    #[error("fault {fault}: {key} is missing; see --help")]
    Missing { fault: String, key: &'static str },
    #[error("fault {fault}: {key}={value} can't be; {want}")]
    Bad { fault: String, key: &'static str, value: String, want: &'static str },
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(spec: &str) -> Result<Self, FaultError> {
        let (name, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let mut keys = Keys { fault: name.to_owned(), pairs: BTreeMap::new() };
        for text in rest.split(',').filter(|text| !text.is_empty()) {
            let pair = text.split_once('=').ok_or_else(|| FaultError::NoPair { fault: name.into(), text: text.into() })?;
            keys.pairs.insert(pair.0.trim().to_owned(), pair.1.trim().to_owned());
        }
        let (kind, times) = keys.kind()?;
        let times = keys.number("times", times, 0..=u64::MAX)?;
        if let Some(key) = keys.pairs.into_keys().next() {
            return Err(FaultError::UnknownKey { fault: name.into(), key });
        }
        Ok(Self { kind, times: times.unwrap_or(u64::MAX) })
    }
}

struct Keys {
    fault: String,
    pairs: BTreeMap<String, String>,
}

impl Keys {
    /// The kind, and how many times it strikes if nothing is said.
    fn kind(&mut self) -> Result<(Kind, Option<u64>), FaultError> {
        const ANY: std::ops::RangeInclusive<u64> = 0..=u64::MAX;
        let once = Some(1);
        Ok(match self.fault.as_str() {
            "drop" => {
                let how = match self.pairs.remove("how").as_deref() {
                    None | Some("close") => How::Close,
                    Some("rst") => How::Reset,
                    Some("cut") => How::Cut,
                    Some(other) => return Err(self.bad("how", other, "it is close, rst or cut")),
                };
                (Kind::Drop { after: self.needed("after", ANY)?, how, lose: self.flag("lose")? }, once)
            }
            "half-open" => (Kind::HalfOpen { after: self.needed("after", ANY)? }, once),
            "silent" => {
                let missing = || FaultError::Missing { fault: "silent".into(), key: "stream" };
                let stream = self.pairs.remove("stream").ok_or_else(missing)?;
                (Kind::Silent { stream, after: self.number("after", Some(0), ANY)?.unwrap_or(0) }, once)
            }
            "no-ack" => (Kind::NoAck, None),
            "ack-only" => (Kind::AckOnly, None),
            "no-pong" => (Kind::NoPong, None),
            "garbage" => (Kind::Garbage { every: self.needed("every", 1..=u64::MAX)? }, None),
            "oversize" => {
                let bytes = self.number("bytes", Some(2 << 20), 1..=64 << 20)?.unwrap_or(2 << 20) as usize;
                (Kind::Oversize { after: self.needed("after", ANY)?, bytes }, once)
            }
            "refuse" => {
                let status = self.needed("status", 300..=599)? as u16;
                let retry_after = self.number("retry-after", None, ANY)?;
                (Kind::Refuse { status, retry_after, rest: self.flag("rest")? }, once)
            }
            "burst" => {
                let after = self.number("after", Some(0), ANY)?.unwrap_or(0);
                (Kind::Burst { frames: self.needed("frames", 1..=u64::MAX)?, after }, None)
            }
            "stale-first" => (Kind::StaleFirst, None),
            "duplicate" => (Kind::Duplicate { percent: self.needed("percent", 0..=100)? as u32 }, None),
            "reorder" => (Kind::Reorder { within: self.needed("within", 2..=10_000)? as usize }, None),
            other => return Err(FaultError::Unknown(other.to_owned())),
        })
    }

    fn number(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, FaultError> {
        let Some(text) = self.pairs.remove(key) else { return Ok(default) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(self.bad(key, &text, "it is a whole number in the range that --help names")),
        }
    }

    fn needed(&mut self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Result<u64, FaultError> {
        let fault = self.fault.clone();
        self.number(key, None, range)?.ok_or(FaultError::Missing { fault, key })
    }

    fn flag(&mut self, key: &'static str) -> Result<bool, FaultError> {
        match self.pairs.remove(key).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(self.bad(key, other, "it is true or false")),
        }
    }

    fn bad(&self, key: &'static str, value: &str, want: &'static str) -> FaultError {
        FaultError::Bad { fault: self.fault.clone(), key, value: value.to_owned(), want }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(spec: &str, want: Result<Fault, &str>) {
        assert_eq!(spec.parse::<Fault>().map_err(|error| error.to_string()), want.map_err(str::to_owned), "{spec}");
    }

    #[test]
    fn faults_are_read() {
        let fault = |kind, times| Ok(Fault { kind, times });
        check("drop:after=1000", fault(Kind::Drop { after: 1000, how: How::Close, lose: false }, 1));
        check("drop:after=5,how=rst,times=3,lose=true", fault(Kind::Drop { after: 5, how: How::Reset, lose: true }, 3));
        check(
            "silent:stream=btcusdt@aggTrade,after=500",
            fault(Kind::Silent { stream: "btcusdt@aggTrade".into(), after: 500 }, 1),
        );
        check("no-ack", fault(Kind::NoAck, u64::MAX));
        check("ack-only:times=1", fault(Kind::AckOnly, 1));
        check("garbage:every=100", fault(Kind::Garbage { every: 100 }, u64::MAX));
        check("oversize:after=7", fault(Kind::Oversize { after: 7, bytes: 2 << 20 }, 1));
        check(
            "refuse:status=503,retry-after=2,times=3",
            fault(Kind::Refuse { status: 503, retry_after: Some(2), rest: false }, 3),
        );
        check("duplicate:percent=30", fault(Kind::Duplicate { percent: 30 }, u64::MAX));
        check("reorder:within=50", fault(Kind::Reorder { within: 50 }, u64::MAX));
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("drop", Err("fault drop: after is missing; see --help"));
        check("drop:after", Err("fault drop: \"after\" is not key=value; write for example drop:after=1000"));
        check("drop:after=-1", Err("fault drop: after=-1 can't be; it is a whole number in the range that --help names"));
        check("drop:after=1,how=gently", Err("fault drop: how=gently can't be; it is close, rst or cut"));
        check("drop:after=1,when=now", Err("fault drop: there is no key \"when\" here; see --help"));
        check(
            "duplicate:percent=101",
            Err("fault duplicate: percent=101 can't be; it is a whole number in the range that --help names"),
        );
        assert!(
            "dorp:after=1".parse::<Fault>().unwrap_err().to_string().starts_with("there is no fault \"dorp\"; there are drop,")
        );
    }
}
