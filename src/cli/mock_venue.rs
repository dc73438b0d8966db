//! `regimeflow mock-venue`: serve a frame log over the venues' own protocol, with faults on demand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{EX_IO, EX_UNAVAILABLE, Failure, print, print_json};
use crate::mock_venue::{Fault, MockConfig, MockError, Report, RestMode, Speed, fault, start};

/// Serve a frame log over the venues' own WebSocket and REST protocols.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("Faults (--fault, repeatable):\n{}", fault::HELP))]
pub struct MockVenueArgs {
    /// The frame log, plain or zstd.
    pub log: PathBuf,
    /// Where to listen, for all venues of the log; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9443")]
    pub listen: SocketAddr,
    /// How many times faster than recorded, or `max`: as fast as the client reads.
    #[arg(long, default_value = "1")]
    pub speed: Speed,
    /// Start when so many streams are subscribed; without it: half a second after the last subscription.
    #[arg(long)]
    pub wait_for_subscriptions: Option<usize>,
    /// Close all connections with code 1000 after the last frame, and end.
    #[arg(long)]
    pub once: bool,
    /// Which recorded answer a REST question gets.
    #[arg(long, value_enum, default_value_t)]
    pub rest: RestMode,
    /// What goes wrong, `name:key=value,…`; repeatable.
    #[arg(long, value_name = "SPEC")]
    pub fault: Vec<Fault>,
    /// How long to wait for a subscriber to come back before its frames are given up.
    #[arg(long, default_value_t = 120)]
    pub patience_secs: u64,
    /// For duplicates and shuffling.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The report at the end for machines.
    #[arg(long)]
    pub json: bool,
}

/// Runs until the log has been served (`--once`) or Ctrl-C.
///
/// # Errors
/// If the log can't be opened or the address can't be had.
pub async fn run(args: MockVenueArgs) -> anyhow::Result<ExitCode> {
    let config = MockConfig {
        listen: args.listen,
        speed: args.speed,
        once: args.once,
        faults: args.fault,
        rest: args.rest,
        wait_for_subscriptions: args.wait_for_subscriptions,
        patience: Duration::from_secs(args.patience_secs),
        seed: args.seed,
        ..MockConfig::new(args.log)
    };
    let mock = start(config).await.map_err(|error| match error {
        MockError::Log(error) => anyhow::Error::from(error), // its exit code is known
        listening @ MockError::Listen { .. } => Failure { code: EX_UNAVAILABLE, message: listening.to_string() }.into(),
    })?;
    eprintln!("listening on {0}: ws_url = \"ws://{0}\", rest_url = \"http://{0}\"", mock.addr);
    let stop = mock.stopper();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let report = mock.finished().await;
    if args.json {
        print_json(&report)?
    } else {
        print(&text(&report))?
    }
    if let Some(error) = report.failed {
        return Err(Failure { code: EX_IO, message: format!("{error}; what came before it was served") }.into());
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &Report) -> String {
    format!(
        "sent {} frames over {} connections; {} of unsubscribed streams, {} withheld, {} lost; {} REST answers ({} not asked for), {} about the past; {} lines of no stream, {} of ours, {} malformed\n",
        report.sent,
        report.connections,
        report.unsubscribed,
        report.withheld,
        report.lost,
        report.http,
        report.http_unasked,
        report.about_the_past,
        report.no_stream,
        report.out,
        report.malformed,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: MockVenueArgs,
    }

    #[test]
    fn a_command_line_is_read() {
        let line = "mock-venue a.frames.zst --speed max --once --rest gate --fault no-ack --fault drop:after=5";
        let args = Line::try_parse_from(line.split(' ')).unwrap().args;
        assert_eq!((args.speed, args.once, args.rest, args.fault.len()), (Speed::Max, true, RestMode::Gate, 2));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |line: &str, want: &str| {
            let error = Line::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        };
        check("mock-venue a --speed fast", "\"fast\" is no speed; write max, or how many times faster than recorded: 10");
        check("mock-venue a --speed=-1", "\"-1\" is no speed");
        check("mock-venue a --fault drop:before=1", "fault drop: after is missing; see --help");
    }

    #[tokio::test]
    async fn a_missing_log_is_named() {
        let args = Line::try_parse_from(["mock-venue", "nowhere.frames.zst", "--listen", "127.0.0.1:0"]).unwrap().args;
        let error = run(args).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot open frame log nowhere.frames.zst: "), "{error}");
    }
}
