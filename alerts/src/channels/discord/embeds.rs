//! A message as Discord's JSON.

use serde_json::{Map, Value, json};

use super::limits;
use crate::channels::fit::{Fitted, Lines, fit, more, share, units};
use crate::event::{Severity, Status, iso};
use crate::message::{Message, Section};

/// Of the total, so much is kept for the last embed's footer.
const FOOTER_RESERVED: usize = 400;
/// Fields that are no longer than this stand beside each other.
const INLINE_MAX: usize = 48;

/// The payload, and the chart if it is to be attached. `total`: how many alerts the notice speaks of.
#[must_use]
pub fn payload(message: &Message, total: u64) -> (Value, Option<&[u8]>) {
    let mut left = limits::TOTAL - FOOTER_RESERVED;
    let mut embeds = Vec::new();
    let (worded, bare): (Vec<&Section>, Vec<&Section>) = message.sections.iter().partition(|section| is_worded(section));
    let room = limits::EMBEDS - usize::from(!bare.is_empty());
    let parts = worded.len().min(room) + usize::from(!bare.is_empty());
    for (i, section) in worded.iter().take(room).enumerate() {
        let (embed, used) = one(section, share(left, parts - i));
        left -= used;
        embeds.push(embed);
    }
    let mut shown = embeds.len();
    if !bare.is_empty() {
        let (embed, lines) = list(message, &bare, left);
        shown += lines;
        embeds.push(embed);
    }
    if embeds.is_empty() {
        embeds.push(Map::from_iter([("color".to_owned(), colour(message.severity, message.status).into())]));
    }
    // A footer knows no markup.
    let footer = fit(&message.footer, FOOTER_RESERVED, Lines::One, unnamed);
    if let (Some(last), false) = (embeds.last_mut(), footer.text.is_empty()) {
        last.insert("footer".to_owned(), json!({ "text": footer.text }));
    }
    let png = message.png.as_deref().filter(|png| !png.is_empty() && png.len() <= limits::FILE_BYTES);
    let mut payload = json!({ "content": content(message, more(total, shown)), "allowed_mentions": { "parse": [] } });
    if let (Some(_), Some(first)) = (png, embeds.first_mut()) {
        first.insert("image".to_owned(), json!({ "url": "attachment://chart.png" }));
        payload["attachments"] = json!([{ "id": 0, "filename": "chart.png" }]);
    }
    // An embed of nothing but a colour is refused.
    embeds.retain(|embed| embed.keys().any(|key| key != "color" && key != "timestamp"));
    payload["embeds"] = embeds.into_iter().map(Value::Object).collect();
    (payload, png)
}

/// The title in bold behind its mark (a colour is not for everyone), the lead, and how many alerts are not shown.
fn content(message: &Message, more: Option<String>) -> String {
    let title = fit(&message.title, limits::TITLE, Lines::One, escape);
    let title = if title.text.is_empty() { "regimeflow".to_owned() } else { title.text };
    let more = more.filter(|_| !message.sections.is_empty()).map(|more| format!("\n{more}")).unwrap_or_default();
    let mut text = format!("{} **{title}**", crate::channels::mark(message.severity, message.status));
    let left = limits::CONTENT - units(&text) - units(&more) - 1;
    let lead = fit(&message.lead, left, Lines::Many, escape);
    if !lead.text.is_empty() {
        text.push('\n');
        text.push_str(&lead.text);
    }
    text + &more
}

/// An alert's embed within a budget, and what it takes of it.
fn one(section: &Section, budget: usize) -> (Map<String, Value>, usize) {
    let mut embed = frame(section.severity, section.status, section.at_ms);
    let title = fit(&section.title, limits::TITLE.min(budget), Lines::One, escape);
    let mut used = title.units;
    insert(&mut embed, "title", title);
    // The numbers come before the words: these get what is left, but half of the budget at least.
    let fields: Vec<(Fitted, Fitted)> = section.fields.iter().take(limits::FIELDS).map(field).collect();
    let wanted: usize = fields.iter().map(|(name, value)| name.units + value.units).sum();
    let left = budget - used;
    let text = fit(&section.text, limits::DESCRIPTION.min(left - wanted.min(left / 2)), Lines::Many, escape);
    used += text.units;
    insert(&mut embed, "description", text);
    let mut shown = Vec::new();
    for (name, value) in fields {
        let length = name.units + value.units;
        if used + length > budget {
            break;
        }
        used += length;
        shown.push(json!({ "name": name.text, "value": value.text, "inline": length <= INLINE_MAX }));
    }
    if !shown.is_empty() {
        embed.insert("fields".to_owned(), shown.into());
    }
    (embed, used)
}

fn field(field: &crate::message::Field) -> (Fitted, Fitted) {
    // Neither may be empty.
    let dash = |fitted: Fitted| if fitted.text.is_empty() { Fitted { text: "–".to_owned(), units: 1 } } else { fitted };
    let name = fit(&field.name, limits::FIELD_NAME, Lines::One, escape);
    (dash(name), dash(fit(&field.value, limits::FIELD_VALUE, Lines::Many, escape)))
}

/// Alerts that have a title only, a line each; and how many lines there are.
fn list(message: &Message, sections: &[&Section], budget: usize) -> (Map<String, Value>, usize) {
    let mut embed = frame(message.severity, message.status, message.at_ms);
    let (mut text, mut used, mut lines) = (String::new(), 0, 0);
    for section in sections {
        let mark = crate::channels::mark(section.severity, section.status);
        let title = fit(&section.title, limits::TITLE, Lines::One, escape);
        let length = units(mark) + 2 + title.units;
        if used + length > limits::DESCRIPTION.min(budget) {
            break;
        }
        used += length;
        lines += 1;
        text.push_str(&format!("{mark} {}\n", title.text));
    }
    embed.insert("description".to_owned(), text.trim_end().into());
    (embed, lines)
}

fn frame(severity: Severity, status: Status, at_ms: i64) -> Map<String, Value> {
    let mut embed = Map::new();
    embed.insert("color".to_owned(), colour(severity, status).into());
    // Before 1970 is no time of a market, and the year 0 is refused.
    embed.insert("timestamp".to_owned(), iso(at_ms.max(0)).into());
    embed
}

fn insert(embed: &mut Map<String, Value>, key: &str, fitted: Fitted) {
    if !fitted.text.is_empty() {
        embed.insert(key.to_owned(), fitted.text.into());
    }
}

fn is_worded(section: &Section) -> bool {
    !section.fields.is_empty() || !section.text.trim().is_empty()
}

fn colour(severity: Severity, status: Status) -> u32 {
    match (status, severity) {
        (Status::Resolved, _) => 0x2e_cc71,
        (_, Severity::Critical) => 0xe7_4c3c,
        (_, Severity::Warning) => 0xf3_9c12,
        (_, Severity::Info) => 0x34_98db,
    }
}

/// Discord takes a backslash before any punctuation. An invisible space behind `@` is one more lock on mentions.
fn escape(c: char, begins_line: bool, out: &mut String) -> usize {
    let is_markup = matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '[' | ']');
    if is_markup || (begins_line && matches!(c, '#' | '>' | '-' | '+')) {
        out.push('\\');
        out.push(c);
        return 2;
    }
    unnamed(c, begins_line, out)
}

fn unnamed(c: char, _begins_line: bool, out: &mut String) -> usize {
    out.push(c);
    if c == '@' {
        out.push('\u{200b}');
        return 2;
    }
    c.len_utf16()
}
