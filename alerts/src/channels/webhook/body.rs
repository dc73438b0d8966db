//! The webhook's bodies. The same notice gives the same bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::fit::{Lines, fit, verbatim};
use crate::alert::Alert;
use crate::event::{Event, iso};
use crate::notice::{Count, Notice, NoticeKind};

/// Longest body.
pub const BODY_BYTES_MAX: usize = 20_000;
/// What a wrapping takes at most.
const WRAPPING_BYTES_MAX: usize = 2_000;
/// The schema's limits of a title and a description.
const TITLE_MAX: usize = 256;
const DESCRIPTION_MAX: usize = 4_096;

/// One alert: its event's keys, then ours.
#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    event: Event,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    rules: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<About>,
}

/// What a notice is, where that isn't plain news, and what had no room.
#[derive(Serialize)]
struct About {
    kind: NoticeKind,
    #[serde(skip_serializing_if = "String::is_empty")]
    remark: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<&'static str>,
}

/// Several alerts, or none.
#[derive(Serialize)]
struct Many<'a> {
    #[serde(rename = "type")]
    kind: NoticeKind,
    timestamp: String,
    data: ManyData<'a>,
}

#[derive(Serialize)]
struct ManyData<'a> {
    kind: NoticeKind,
    group: String,
    remark: String,
    total: u64,
    counts: &'a [Count],
    events_omitted: u64,
    events: Vec<Event>,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    datacontenttype: &'static str,
    data: Value,
}

pub(super) fn standard(notice: &Notice) -> String {
    within(notice, BODY_BYTES_MAX)
}

pub(super) fn cloud_event(notice: &Notice) -> String {
    let data = serde_json::from_str(&within(notice, BODY_BYTES_MAX - WRAPPING_BYTES_MAX)).unwrap_or_default();
    let (kind, source, time, subject) = match single(notice) {
        Some(Alert { event, .. }) => (event.event_type.as_str(), short(&event.source), event.timestamp, short(&event.symbol)),
        None => (notice.kind.as_str(), "notices".to_owned(), notice.decided_at, short(&notice.group)),
    };
    // A URI reference: what has a meaning in one, or none at all, becomes `_`.
    let source = source.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' });
    json(&CloudEvent {
        specversion: "1.0",
        id: &short(&notice.id),
        source: format!("/regimeflow/{}", source.collect::<String>()),
        kind: format!("io.regimeflow.{}", kind.to_lowercase()),
        time: iso(time),
        subject: Some(subject).filter(|text| !text.is_empty()),
        datacontenttype: "application/json",
        data,
    })
}

/// The alert that the notice is about, if it is about one alone.
fn single(notice: &Notice) -> Option<&Alert> {
    use NoticeKind::{Drill, Escalation, News, Reminder};
    match (notice.kind, notice.alerts.as_slice()) {
        (News | Reminder | Escalation | Drill, [alert]) if notice.total() <= 1 => Some(alert),
        _ => None,
    }
}

fn within(notice: &Notice, bytes_max: usize) -> String {
    match single(notice) {
        Some(alert) => one(notice, alert, bytes_max),
        None => many(notice, bytes_max),
    }
}

fn one(notice: &Notice, alert: &Alert, bytes_max: usize) -> String {
    let remark = fit(&notice.remark, DESCRIPTION_MAX / 4, Lines::Many, verbatim).text;
    let about = |cut: Vec<&'static str>| {
        let is_plain = notice.kind == NoticeKind::News && remark.is_empty() && cut.is_empty();
        (!is_plain).then(|| About { kind: notice.kind, remark: remark.clone(), cut })
    };
    let mut body =
        One { event: trimmed(&alert.event), rules: &alert.rules, labels: Some(&alert.labels), notice: about(Vec::new()) };
    body.labels = body.labels.filter(|labels| !labels.is_empty());
    // What matters least goes first.
    let mut cut = Vec::new();
    for part in ["labels", "rules", "data", "description"] {
        let text = json(&body);
        if text.len() <= bytes_max {
            return text;
        }
        cut.push(part);
        match part {
            "labels" => body.labels = None,
            "rules" => body.rules = &[],
            "data" => body.event.data = Map::new(),
            _ => body.event.description = body.event.title.clone(),
        }
        body.notice = about(cut.clone());
    }
    json(&body)
}

fn many(notice: &Notice, bytes_max: usize) -> String {
    let mut body = Many {
        kind: notice.kind,
        timestamp: iso(notice.decided_at),
        data: ManyData {
            kind: notice.kind,
            group: short(&notice.group),
            remark: fit(&notice.remark, DESCRIPTION_MAX / 4, Lines::Many, verbatim).text,
            total: notice.total(),
            // There are fewer combinations than this; a file that somebody wrote by hand might have more.
            counts: &notice.counts[..notice.counts.len().min(100)],
            events_omitted: notice.total(),
            events: Vec::new(),
        },
    };
    let mut bytes = json(&body).len();
    for alert in &notice.alerts {
        let event = trimmed(&alert.event);
        bytes += json(&event).len() + 1;
        if bytes > bytes_max {
            break;
        }
        body.data.events.push(event);
    }
    body.data.events_omitted = notice.total().saturating_sub(body.data.events.len() as u64);
    json(&body)
}

/// An event whose texts are within the schema's limits. What can't be written in JSON by numbers alone isn't in one.
fn trimmed(event: &Event) -> Event {
    let is_small = |text: &str, max: usize| text.len() <= max;
    // The common case: nothing to do, and the bytes are those of `Event::to_json`.
    if is_small(&event.title, TITLE_MAX) && is_small(&event.description, DESCRIPTION_MAX) && is_small(&event.symbol, 64) {
        return Event { id: short(&event.id), venue: short(&event.venue), source: short(&event.source).into(), ..event.clone() };
    }
    Event {
        id: short(&event.id),
        venue: short(&event.venue),
        source: short(&event.source).into(),
        symbol: short(&event.symbol),
        title: fit(&event.title, TITLE_MAX, Lines::One, verbatim).text,
        description: fit(&event.description, DESCRIPTION_MAX, Lines::Many, verbatim).text,
        ..event.clone()
    }
}

/// A name: never longer than this in honest data.
fn short(text: &str) -> String {
    if text.len() <= 64 { text.to_owned() } else { fit(text, 64, Lines::One, verbatim).text }
}

fn json(value: &impl Serialize) -> String {
    // Only a map with keys that are not strings, or a failing `Serialize`, can make serde_json fail; there is neither.
    serde_json::to_string(value).unwrap_or_default()
}
