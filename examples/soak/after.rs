//! What lane 2 came to.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::Lane;
use crate::live::Live;
use crate::verdict::{Finding, Tally, listed, slope, spread};
use crate::watch::Sample;

/// The catalogue's S2.
const LAG_P99_MS_MAX: u64 = 1_000;
/// K7.
const STOP_MS_MAX: u64 = 10_000;
/// MiB an hour, if there are two hours to judge by.
const SLOPE_MAX: f64 = 1.0;
/// MiB between the first and the last quarter of a shorter time: views fill up in it.
const GROWTH_MAX: f64 = 64.0;
const FILES_MORE_MAX: i64 = 8;

fn finding(what: &str, found: String, passed: Option<bool>) -> Finding {
    Finding { lane: "live", what: what.to_owned(), found, passed }
}

/// The table's lines of a live run that has ended; its last process wrote under `last_pid`.
pub fn findings(live: &Live, last_pid: u64, spool_rows: u64, lane: &Lane) -> Vec<Finding> {
    let mut all = vec![lag(live)];
    let lived = live.watch.of(last_pid, Duration::ZERO);
    let span = lived.last().zip(lived.first()).map_or(Duration::ZERO, |(last, first)| last.at - first.at);
    let warm = live.watch.of(last_pid, (span / 3).min(Duration::from_secs(3_600)));
    all.extend(memory(&warm));
    let (p50, _, max) = spread(&live.starts_ms);
    all.push(finding(
        "starts, until the first status",
        format!("{} of them, {p50} ms usual, at most {max}", live.starts_ms.len()),
        None,
    ));
    let (_, _, max) = spread(&live.stops_ms);
    all.push(finding("SIGTERM", format!("{} times, at most {max} ms", live.stops_ms.len()), Some(max <= STOP_MS_MAX)));
    all.push(finding(
        "exits",
        if live.strange.is_empty() { "as asked for".into() } else { live.strange.join("; ") },
        Some(live.strange.is_empty()),
    ));
    all.push(finding(
        "spool at the end",
        format!("{spool_rows} rows; at most {}", most(&live.watch.samples, |s| s.spool_rows)),
        Some(spool_rows == 0),
    ));
    let explained: u64 = live.watch.explained.values().sum();
    all.push(finding("ERROR lines that a fault explains", format!("{explained}: {}", listed(&live.watch.explained)), None));
    all.push(finding("other ERROR lines", listed(&live.watch.unexplained), Some(live.watch.unexplained.is_empty())));
    all.extend(gaps(live));
    all.push(finding("faults", listed(&lane.faults()), None));
    all.push(finding("restarts", lane.count("restarts").to_string(), None));
    all
}

fn most(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    samples.iter().map(of).max().unwrap_or(0)
}

fn lag(live: &Live) -> Finding {
    let all: Vec<_> = live.watch.samples.iter().map(|sample| sample.lag_ms).collect();
    let calm: Vec<_> = live.watch.samples.iter().filter(|sample| sample.calm).map(|sample| sample.lag_ms).collect();
    let ((p50, p99, max), worst) = (spread(&calm), most(&live.watch.samples, |sample| sample.lag_max_ms.max(sample.lag_ms)));
    let (all_p50, all_p99, _) = spread(&all);
    let found = format!(
        "away from faults p50 {p50}, p99 {p99}, max {max} ms ({} looks); all the time p50 {all_p50}, p99 {all_p99}, max {worst}; intake max {}",
        calm.len(),
        most(&live.watch.samples, |sample| sample.intake_max_ms)
    );
    finding("lag", found, Some(!calm.is_empty() && p99 <= LAG_P99_MS_MAX))
}

/// Of the last process, warm.
fn memory(warm: &[&Sample]) -> Vec<Finding> {
    let (Some(first), Some(last)) = (warm.first(), warm.last()) else {
        return vec![finding("memory", "no looks".into(), Some(false))];
    };
    let points: Vec<_> = warm.iter().map(|s| ((s.at - first.at).as_secs_f64() / 3_600.0, s.rss_mib)).collect();
    let (per_hour, hours) = (slope(&points), (last.at - first.at).as_secs_f64() / 3_600.0);
    let quarter = (warm.len() / 4).max(1);
    let (early, late) = (&warm[..quarter], &warm[warm.len() - quarter..]);
    let mean = |of: &[&Sample]| of.iter().map(|s| s.rss_mib).sum::<f64>() / of.len() as f64;
    let median = |of: &[&Sample], number: fn(&Sample) -> u64| spread(&of.iter().map(|s| number(s)).collect::<Vec<_>>()).0;
    let growth = mean(late) - mean(early);
    let fine = if hours >= 2.0 { per_hour < SLOPE_MAX } else { growth < GROWTH_MAX };
    let found = format!(
        "{:.0} to {:.0} MiB, {growth:+.1} MiB from the first to the last quarter, slope {per_hour:+.1} MiB/h over {:.0} min{}",
        points.iter().map(|p| p.1).fold(f64::MAX, f64::min),
        points.iter().map(|p| p.1).fold(0.0, f64::max),
        hours * 60.0,
        if hours >= 2.0 { "" } else { " (judged by growth: too short for a slope)" }
    );
    let files = |of: &[&Sample]| median(of, |s| s.files);
    let threads = |of: &[&Sample]| median(of, |s| s.threads);
    let (from, to) = (files(early), files(late));
    vec![
        finding("memory of the last run", found, Some(fine)),
        finding("open files", format!("{from} to {to}"), Some(to as i64 - from as i64 <= FILES_MORE_MAX)),
        finding("threads", format!("{} to {}", threads(early), threads(late)), Some(threads(late) <= threads(early) + 4)),
    ]
}

/// Gaps by kind; all of them closed, each that was to be told told to its end, and no notice given up.
fn gaps(live: &Live) -> Vec<Finding> {
    // One question: each starts an engine.
    let sql = "SELECT concat('gap ', cause, ' ', recovered), toUInt64(count()), toUInt64(countIf(to_ts IS NULL)) FROM feed_gaps GROUP BY cause, recovered \
               UNION ALL SELECT DISTINCT concat('event ', id), toUInt64(1), toUInt64(0) FROM alerts_changes \
                         WHERE event_type = 'FEED_GAP' AND status = 'firing' \
               UNION ALL SELECT 'given-up', toUInt64(count()), toUInt64(0) FROM deliveries WHERE result IN ('failed', 'gone')";
    let answer = match live.program.answer(&live.store(), sql) {
        Ok(answer) => answer,
        Err(error) => return vec![finding("gaps", format!("{error:#}"), Some(false))],
    };
    let (mut kinds, mut open, mut events, mut given_up) = (Tally::new(), Tally::new(), BTreeSet::new(), 0);
    for line in answer.lines() {
        let mut cells = line.split('\t');
        let (Some(what), Some(count), Some(still)) = (cells.next(), cells.next(), cells.next()) else { continue };
        let (count, still): (u64, u64) = (count.parse().unwrap_or(0), still.parse().unwrap_or(0));
        match what.split_once(' ') {
            Some(("gap", kind)) => {
                kinds.insert(kind.to_owned(), count);
                if still > 0 {
                    open.insert(kind.to_owned(), still);
                }
            }
            Some(("event", id)) => _ = events.insert(id.to_owned()),
            _ => given_up = count,
        }
    }
    let told = live.hook.told();
    let has = |id: &str, status: &str| told.iter().any(|(of, is, _)| of == id && is == status);
    let unended =
        told.iter().filter(|(id, status, kind)| kind == "FEED_GAP" && status == "firing" && !has(id, "resolved")).count();
    let untold = events.iter().filter(|id| !has(id, "firing") && !has(id, "resolved")).count();
    let lags = told.iter().filter(|(_, status, kind)| kind == "PIPELINE_LAG" && status == "firing").count();
    let lags_open =
        told.iter().filter(|(id, status, kind)| kind == "PIPELINE_LAG" && status == "firing" && !has(id, "resolved")).count();
    let by_type = told.iter().fold(Tally::new(), |mut tally, (_, status, kind)| {
        *tally.entry(format!("{kind} {status}")).or_default() += 1;
        tally
    });
    vec![
        finding("gaps by cause and what came back", listed(&kinds), None),
        finding("gaps that are still open", listed(&open), Some(open.is_empty())),
        finding(
            "gaps told",
            format!("{} events; {untold} never told, {unended} told without an end", events.len()),
            Some(untold == 0 && unended == 0),
        ),
        finding("notices given up", given_up.to_string(), Some(given_up == 0)),
        finding("lags told", format!("{lags}, {lags_open} without an end"), Some(lags_open == 0)),
        finding("told", listed(&by_type), None),
    ]
}

/// For those who write figures down.
pub fn json(findings: &[Finding]) -> Value {
    findings.iter().map(|f| serde_json::json!({ "lane": f.lane, "what": f.what, "found": f.found, "passed": f.passed })).collect()
}
