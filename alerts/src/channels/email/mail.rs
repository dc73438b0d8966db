//! A notice as a mail: headers, text, HTML, chart.
//!
//! `multipart/alternative` of the text and (where there is a chart) `multipart/related` of HTML and picture. All of it goes out as
//! ASCII: bodies as quoted-printable or base64, headers as encoded words. The Message-ID follows from the notice's id, so it is the
//! same on every attempt; what speaks of an alert that was told before refers to that mail, so that readers show them as one thread.
//! Texts are bounded, and rid of characters that steer the display.

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use crate::event::{Severity, Status};
use crate::message::{Field, Message, Section};
use crate::notice::Notice;

/// Characters.
const SUBJECT_MAX: usize = 200;
/// Characters of a lead, of a section's text.
const TEXT_MAX: usize = 4_000;
/// Characters of a name or value, a title, the footer.
const LINE_MAX: usize = 1_000;
const FIELDS_MAX: usize = 25;
const SECTIONS_MAX: usize = crate::notice::NAMED_MAX;

pub(super) fn mail(
    notice: &Notice,
    message: &Message,
    from: &Mailbox,
    to: &[Mailbox],
    now_ms: i64,
) -> Result<lettre::Message, String> {
    let domain = from.email.domain();
    let id = token(&notice.id);
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .subject(cut(&message.title, SUBJECT_MAX))
        .message_id(Some(format!("<{id}@{domain}>")))
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0).min(253_402_300_799_000)))
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Regimeflow-Notice", &id));
    for to in to {
        builder = builder.to(to.clone());
    }
    if let Some(earlier) = earlier(notice) {
        let earlier = format!("<{}@{domain}>", token(&earlier));
        builder = builder.in_reply_to(earlier.clone()).references(earlier);
    }
    if message.severity == Severity::Critical && message.status == Status::Firing {
        builder = builder.raw_header(header("Importance", "high"));
    }
    let picture = message.png.as_ref().map(|png| (format!("chart.{id}@{domain}"), png.clone()));
    let (text, html) = (text(message), html(message, picture.as_ref().map(|(cid, _)| cid.as_str())));
    // By all that stands between them: no text can hold its own boundary.
    let boundary = |part: &str| {
        let hash = Sha256::new().chain_update(part).chain_update(&id).chain_update(&text).chain_update(&html).finalize();
        hash[..16].iter().fold(format!("regimeflow_{part}_"), |boundary, byte| format!("{boundary}{byte:02x}"))
    };
    let (outer, inner) = (boundary("a"), boundary("r"));
    let alternative = MultiPart::alternative().boundary(outer).singlepart(SinglePart::plain(text));
    let body = match picture {
        None => alternative.singlepart(SinglePart::html(html)),
        Some((cid, png)) => {
            let png_type = ContentType::parse("image/png").map_err(|e| e.to_string())?;
            let picture = Attachment::new_inline_with_name(cid, "chart.png".to_owned()).body(png, png_type);
            let related = MultiPart::related().boundary(inner).singlepart(SinglePart::html(html)).singlepart(picture);
            alternative.multipart(related)
        }
    };
    builder.multipart(body).map_err(|e| e.to_string())
}

/// The first notice of the only alert that this one speaks of, unless it is this one.
fn earlier(notice: &Notice) -> Option<String> {
    let [alert] = notice.alerts.as_slice() else { return None };
    let first = format!("{}_{}", alert.id(), Status::Firing.as_str());
    (notice.total() <= 1 && first != notice.id).then_some(first)
}

/// What may stand in a Message-ID: ids of ours pass unchanged.
fn token(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    id.chars().take(100).map(plain).collect()
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The text part.
pub(super) fn text(message: &Message) -> String {
    let mut text = format!("{}\n", cut(&message.title, LINE_MAX));
    if !message.lead.is_empty() {
        text.push_str(&format!("\n{}\n", lines(&message.lead)));
    }
    for section in message.sections.iter().take(SECTIONS_MAX) {
        text.push('\n');
        if section.title != message.title {
            text.push_str(&format!("{}\n", cut(&section.title, LINE_MAX)));
        }
        if !section.text.is_empty() {
            text.push_str(&format!("{}\n", lines(&section.text)));
        }
        for Field { name, value } in section.fields.iter().take(FIELDS_MAX) {
            text.push_str(&format!("  {}: {}\n", cut(name, LINE_MAX), cut(value, LINE_MAX)));
        }
    }
    text.push_str(&format!("\n-- \n{}\n", cut(&message.footer, LINE_MAX)));
    text
}

/// The HTML part: tables and inline styles, which is what mail readers agree on. It loads nothing.
fn html(message: &Message, cid: Option<&str>) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html><body style=\"margin:0;padding:16px;font:14px/1.45 sans-serif;color:#1f2937\">\n\
         <h2 style=\"margin:0 0 8px;font-size:17px;border-left:6px solid {};padding-left:10px\">{}</h2>\n",
        colour(message.severity, message.status),
        escaped(&cut(&message.title, LINE_MAX)),
    );
    if !message.lead.is_empty() {
        html.push_str(&format!("<p>{}</p>\n", escaped(&lines(&message.lead)).replace('\n', "<br>\n")));
    }
    if let Some(cid) = cid {
        html.push_str(&format!(
            "<p><img src=\"cid:{}\" alt=\"chart\" width=\"800\" style=\"max-width:100%\"></p>\n",
            escaped(cid)
        ));
    }
    for section in message.sections.iter().take(SECTIONS_MAX) {
        html.push_str(&section_html(section, section.title != message.title));
    }
    let footer = escaped(&cut(&message.footer, LINE_MAX));
    html.push_str(&format!("<p style=\"color:#6b7280;font-size:12px\">{footer}</p>\n</body></html>\n"));
    html
}

fn section_html(section: &Section, is_titled: bool) -> String {
    let mut html = String::new();
    if is_titled {
        html.push_str(&format!(
            "<h3 style=\"margin:14px 0 4px;font-size:15px;border-left:4px solid {};padding-left:8px\">{}</h3>\n",
            colour(section.severity, section.status),
            escaped(&cut(&section.title, LINE_MAX)),
        ));
    }
    if !section.text.is_empty() {
        html.push_str(&format!("<p>{}</p>\n", escaped(&lines(&section.text)).replace('\n', "<br>\n")));
    }
    if !section.fields.is_empty() {
        html.push_str("<table cellpadding=\"4\" style=\"border-collapse:collapse\">\n");
        for Field { name, value } in section.fields.iter().take(FIELDS_MAX) {
            let (name, value) = (escaped(&cut(name, LINE_MAX)), escaped(&cut(value, LINE_MAX)));
            html.push_str(&format!("<tr><td style=\"color:#6b7280\">{name}</td><td>{value}</td></tr>\n"));
        }
        html.push_str("</table>\n");
    }
    html
}

const fn colour(severity: Severity, status: Status) -> &'static str {
    match (status, severity) {
        (Status::Resolved, _) => "#16a34a",
        (_, Severity::Critical) => "#dc2626",
        (_, Severity::Warning) => "#d97706",
        (_, Severity::Info) => "#2563eb",
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// One line of at most `max` characters.
fn cut(text: &str, max: usize) -> String {
    let mut cut: String = shown(text).map(|c| if c == '\n' { ' ' } else { c }).take(max).collect();
    if shown(text).nth(max).is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Several lines.
fn lines(text: &str) -> String {
    let mut lines: String = shown(text).take(TEXT_MAX).collect();
    if shown(text).nth(TEXT_MAX).is_some() {
        lines.push('…');
    }
    lines
}

/// Without what is not seen: controls, and what turns the direction of writing or hides in it.
fn shown(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter_map(|c| match c {
        '\n' => Some('\n'),
        '\u{2028}' | '\u{2029}' | '\t' => Some(' '),
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => None,
        c if c.is_control() => None,
        c => Some(c),
    })
}
