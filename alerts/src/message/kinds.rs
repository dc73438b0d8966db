//! What kind of notice it is, in words: its title, its lead, its footer.
//!
//! What a digest leaves out is counted in the lead, because a channel cuts sections before it cuts the lead.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::row::{Row, utc};
use super::section::{section, short};
use super::{Message, Section, one_line};
use crate::event::{Severity, Status};
use crate::facts::words::duration;
use crate::notice::{Count, Notice, NoticeKind};

/// Lines of counts in a digest's lead; what is left is summed up in one more.
const COUNTS_MAX: usize = 12;
/// Rules in the footer, and labels.
const FOOTER_MAX: usize = 6;

pub(super) fn message(notice: &Notice) -> Message {
    let is_digest = matches!(notice.kind, NoticeKind::Digest | NoticeKind::LateDigest);
    let mut sections: Vec<Section> = notice.alerts.iter().map(if is_digest { short } else { section }).collect();
    let news = news_title(notice, &sections);
    let remark = notice.remark.trim();
    let (title, lead) = match notice.kind {
        NoticeKind::News => (news, vec![remark.to_owned()]),
        NoticeKind::Reminder => (format!("STILL GOING ON: {news}"), vec![still(notice), remark.to_owned()]),
        NoticeKind::Escalation => (format!("NOT ACKNOWLEDGED: {news}"), vec![unacknowledged(notice), remark.to_owned()]),
        NoticeKind::Digest => (format!("DIGEST, {news}"), vec![remark.to_owned(), counts(notice)]),
        NoticeKind::LateDigest => (format!("LATE, {news}"), vec![late(notice), remark.to_owned(), counts(notice)]),
        NoticeKind::Drill => {
            for section in &mut sections {
                section.title.insert_str(0, "DRILL: ");
            }
            let lead = "DRILL: this is a test, nothing happened.".to_owned();
            (format!("DRILL: this is a test. {news}"), vec![lead, remark.to_owned()])
        }
        NoticeKind::Trouble => ("TROUBLE: an alert channel does not work".to_owned(), vec![remark.to_owned()]),
    };
    Message {
        title: one_line(&title),
        lead: lead.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"),
        sections,
        footer: footer(notice),
        // Trouble counts no alerts: by them it would be information.
        severity: if notice.kind == NoticeKind::Trouble { Severity::Warning.max(notice.severity()) } else { notice.severity() },
        status: notice.status(),
        at_ms: notice.decided_at,
        png: None,
    }
}

/// Of one alert its own title, of several what they have in common and how many they are.
fn news_title(notice: &Notice, sections: &[Section]) -> String {
    let total = notice.total();
    if let ([one], 0 | 1) = (sections, total) {
        return one.title.clone();
    }
    let resolved: u64 = notice.counts.iter().filter(|count| count.status == Status::Resolved).map(|count| count.count).sum();
    let word = if notice.status() == Status::Resolved { "RESOLVED" } else { notice.severity().as_str() };
    let group = if notice.group.is_empty() { String::new() } else { format!(" {}", notice.group) };
    let alerts = if total == 1 { "alert" } else { "alerts" };
    match total - resolved {
        0 => format!("{word}{group}: {total} {alerts}"),
        firing if resolved == 0 => format!("{word}{group}: {firing} {alerts}"),
        firing => format!("{word}{group}: {total} {alerts}, {firing} firing, {resolved} resolved"),
    }
}

fn still(notice: &Notice) -> String {
    let since =
        notice.alerts.iter().filter(|alert| alert.is_firing()).filter_map(|alert| Row { event: &alert.event }.onset()).min();
    since.map_or_else(
        || "Still going on.".to_owned(),
        |since| format!("Still going on, since {}: for {}.", utc(since), duration(notice.decided_at.saturating_sub(since))),
    )
}

fn unacknowledged(notice: &Notice) -> String {
    let known = notice.alerts.iter().map(|alert| alert.event.known_at).min();
    known.map_or_else(
        || "Nobody acknowledged it.".to_owned(),
        |known| {
            let waited = duration(notice.decided_at.saturating_sub(known));
            format!("Nobody acknowledged it in the {waited} since it became known at {}.", utc(known))
        },
    )
}

fn late(notice: &Notice) -> String {
    let times = || notice.alerts.iter().map(|alert| alert.event.timestamp);
    let what = "LATE: these could not be delivered while they mattered";
    match (times().min(), times().max()) {
        (Some(from), Some(to)) if from < to => format!("{what}. They happened from {} to {}.", utc(from), utc(to)),
        (Some(at), _) => format!("{what}. It happened at {}.", utc(at)),
        _ => format!("{what}."),
    }
}

/// How many of what, gravest first, and how many have no name here.
fn counts(notice: &Notice) -> String {
    let mut sorted: Vec<&Count> = notice.counts.iter().filter(|count| count.count > 0).collect();
    sorted.sort_by_key(|count| (count.status, Reverse(count.severity), Reverse(count.count), count.event_type));
    let mut lines: Vec<String> = sorted
        .iter()
        .take(COUNTS_MAX)
        .map(|count| {
            let word = if count.status == Status::Resolved { "RESOLVED" } else { count.severity.as_str() };
            format!("{} × {word} {}", count.count, count.event_type.as_str())
        })
        .collect();
    let others: u64 = sorted.iter().skip(COUNTS_MAX).map(|count| count.count).sum();
    if others > 0 {
        lines.push(format!("{others} × others"));
    }
    let named = notice.alerts.len() as u64;
    match notice.total().saturating_sub(named) {
        0 => {}
        more if named == 0 => lines.push(format!("{more} in all.")),
        more => lines.push(format!("{named} by name, and {more} more.")),
    }
    lines.join("\n")
}

/// `regimeflow · rules: cascades · labels: desk=asia · ntc_…`.
fn footer(notice: &Notice) -> String {
    let rules: BTreeSet<&str> = notice.alerts.iter().flat_map(|alert| alert.rules.iter().map(String::as_str)).collect();
    let labels: BTreeSet<String> =
        notice.alerts.iter().flat_map(|alert| alert.labels.iter().map(|(name, value)| format!("{name}={value}"))).collect();
    let mut parts = vec!["regimeflow".to_owned()];
    parts.extend(listed("rules", rules.into_iter()));
    parts.extend(listed("labels", labels.iter().map(String::as_str)));
    parts.push(notice.id.clone());
    one_line(&parts.join(" · "))
}

fn listed<'a>(name: &str, items: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let count = items.len();
    let shown: Vec<&str> = items.take(FOOTER_MAX).collect();
    let more = if count > FOOTER_MAX { format!(" and {} more", count - FOOTER_MAX) } else { String::new() };
    (count > 0).then(|| format!("{name}: {}{more}", shown.join(", ")))
}
