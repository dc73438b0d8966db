//! A message as Slack's JSON.

use serde_json::{Value, json};

use super::limits;
use crate::channels::fit::{Fitted, Lines, fit, more, share, units};
use crate::channels::mark;
use crate::event::iso;
use crate::message::{Field, Message, Section};

/// Of the total, so much is kept for what stands around the alerts: fallback, header, footer, the count of what is left out.
const AROUND: usize = 1_200;
/// Of the total, so much may be the lead.
const LEAD_MAX: usize = 2_000;
/// The footer's part of [`AROUND`].
const FOOTER_MAX: usize = 500;
/// What an alert's context line takes at most: severity, status, time.
const CONTEXT_RESERVED: usize = 80;

/// The payload. `total`: how many alerts the notice speaks of.
#[must_use]
pub fn payload(message: &Message, total: u64) -> Value {
    let title = or_dash(fit(&message.title, limits::HEADER, Lines::One, escape));
    let mut blocks = vec![json!({ "type": "header", "text": { "type": "plain_text", "text": title.text, "emoji": false } })];
    let mut left = limits::TOTAL - AROUND;
    let lead = fit(&message.lead, LEAD_MAX, Lines::Many, escape);
    if !lead.text.is_empty() {
        left -= lead.units;
        blocks.push(json!({ "type": "section", "text": mrkdwn(&lead.text) }));
    }
    let (worded, bare): (Vec<&Section>, Vec<&Section>) =
        message.sections.iter().partition(|section| !section.fields.is_empty() || !section.text.trim().is_empty());
    // Each alert takes two blocks; at the end there are the list, the count and the footer.
    let room = (limits::BLOCKS - blocks.len() - 3) / 2;
    let parts = worded.len().min(room) + usize::from(!bare.is_empty());
    let is_alone = message.sections.len() == 1;
    for (i, section) in worded.iter().take(room).enumerate() {
        left -= one(section, is_alone && section.title == message.title, share(left, parts - i), &mut blocks);
    }
    let mut shown = worded.len().min(room);
    if !bare.is_empty() {
        shown += list(&bare, left.min(limits::SECTION), &mut blocks);
    }
    if let Some(more) = more(total, shown).filter(|_| !message.sections.is_empty()) {
        blocks.push(context(&more));
    }
    let footer = fit(&message.footer, FOOTER_MAX, Lines::One, escape);
    if !footer.text.is_empty() {
        blocks.push(context(&footer.text));
    }
    let fallback = format!("{} {}", mark(message.severity, message.status), title.text);
    json!({ "text": fallback, "mrkdwn": false, "link_names": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks })
}

/// An alert's blocks within a budget, and what they take of it.
fn one(section: &Section, is_titled: bool, budget: usize, blocks: &mut Vec<Value>) -> usize {
    let state = format!(
        "{} {} · {} · {}",
        mark(section.severity, section.status),
        section.severity.as_str(),
        section.status.as_str(),
        // `2024-08-08T00:00:00.000Z`, always of this length.
        iso(section.at_ms).replace('T', " ").replace('Z', " UTC")
    );
    debug_assert!(units(&state) <= CONTEXT_RESERVED);
    let budget = budget - CONTEXT_RESERVED;
    let fields: Vec<Fitted> = section.fields.iter().take(limits::FIELDS).map(field).collect();
    let wanted: usize = fields.iter().map(|field| field.units).sum();
    let mut text = String::new();
    if !is_titled {
        let title = or_dash(fit(&section.title, 256.min(budget / 4), Lines::One, escape));
        text = format!("*{}*\n", title.text);
    }
    // The numbers come before the words: these get what is left, but half of the budget at least.
    let room = budget.saturating_sub(units(&text));
    let room = (room - wanted.min(room / 2)).min(limits::SECTION - units(&text));
    text.push_str(&fit(&section.text, room, Lines::Many, escape).text);
    let text = text.trim_end();
    let mut used = units(text);
    let mut shown = Vec::new();
    for field in fields {
        if used + field.units > budget {
            break;
        }
        used += field.units;
        shown.push(mrkdwn(&field.text));
    }
    let mut block = json!({ "type": "section" });
    if !text.is_empty() {
        block["text"] = mrkdwn(text);
    }
    if !shown.is_empty() {
        block["fields"] = shown.into();
    }
    if block.get("text").or(block.get("fields")).is_some() {
        blocks.push(block);
    }
    blocks.push(context(&state));
    used + CONTEXT_RESERVED
}

/// A name in bold over its value.
fn field(field: &Field) -> Fitted {
    let name = or_dash(fit(&field.name, 256, Lines::One, escape));
    let value = or_dash(fit(&field.value, limits::FIELD - name.units - 3, Lines::Many, escape));
    Fitted { text: format!("*{}*\n{}", name.text, value.text), units: name.units + value.units + 3 }
}

/// Alerts that have a title only, a line each; and how many lines there are.
fn list(sections: &[&Section], budget: usize, blocks: &mut Vec<Value>) -> usize {
    let (mut text, mut used, mut lines) = (String::new(), 0, 0);
    for section in sections {
        let title = or_dash(fit(&section.title, 256, Lines::One, escape));
        let line = format!("{} {}\n", mark(section.severity, section.status), title.text);
        used += units(&line);
        if used > budget {
            break;
        }
        lines += 1;
        text.push_str(&line);
    }
    blocks.push(json!({ "type": "section", "text": mrkdwn(text.trim_end()) }));
    lines
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [mrkdwn(text)] })
}

/// Slack refuses empty texts.
fn or_dash(fitted: Fitted) -> Fitted {
    if fitted.text.is_empty() { Fitted { text: "–".to_owned(), units: 1 } } else { fitted }
}

fn escape(c: char, _begins_line: bool, out: &mut String) -> usize {
    let (text, length) = match c {
        '&' => ("&amp;", 5),
        '<' => ("&lt;", 4),
        '>' => ("&gt;", 4),
        '@' => ("@\u{200b}", 2),
        c => {
            out.push(c);
            return c.len_utf16();
        }
    };
    out.push_str(text);
    length
}
