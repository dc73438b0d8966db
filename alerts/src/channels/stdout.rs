//! Notices as text, or as a line of JSON each, to a writer: the terminal, a file, a test.
//!
//! As text every control character is dropped: an alert can't move the cursor. A line of JSON is the webhook's body ([`super::webhook`])
//! with `notice_id` beside it.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::fit::{Lines, fit, more, verbatim};
use super::webhook::{Format, body};
use super::{Channel, Outcome, Pace, Verdict, mark};
use crate::event::iso;
use crate::message::Message;
use crate::notice::Notice;

/// Longest title, and name and value of a field.
const LINE_MAX: usize = 256;
/// Longest text of an alert.
const TEXT_MAX: usize = 4_096;

/// How a notice is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// A line of JSON each.
    JsonLines,
}

/// A writer that notices go to.
pub struct Stdout {
    name: String,
    form: Form,
    out: Mutex<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Stdout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stdout").field("name", &self.name).field("form", &self.form).finish_non_exhaustive()
    }
}

impl Stdout {
    /// To `out`, which must not block for long.
    #[must_use]
    pub fn new(name: &str, form: Form, out: Box<dyn Write + Send>) -> Self {
        Self { name: name.to_owned(), form, out: Mutex::new(out) }
    }

    fn written(&self, notice: &Notice) -> String {
        match self.form {
            Form::Text => text(&Message::of(notice), notice.total()),
            Form::JsonLines => {
                // The body is an object and never an empty one.
                let body = body(notice, Format::Standard);
                format!("{{\"notice_id\":{},{}\n", Value::from(notice.id.as_str()), body.trim_start_matches('{'))
            }
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        // A writer that panicked once may still write.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Channel for Stdout {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "stdout"
    }

    fn pace(&self) -> Pace {
        Pace { limits: Vec::new(), in_flight_max: 1, digest_above: None }
    }

    fn send<'a>(&'a self, notice: &'a Notice, _now_ms: i64) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        let outcome = match self.write(&self.written(notice)) {
            Ok(()) => Outcome { verdict: Verdict::Delivered, http_status: 0, reason: String::new(), pause: None },
            // Nobody reads it any more, and nobody will.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                Outcome { verdict: Verdict::Gone, http_status: 0, reason: format!("write the notice: {e}"), pause: None }
            }
            Err(e) => Outcome { verdict: Verdict::Retry, http_status: 0, reason: format!("write the notice: {e}"), pause: None },
        };
        Box::pin(std::future::ready(outcome))
    }

    fn preview(&self, notice: &Notice, _now_ms: i64) -> String {
        self.written(notice)
    }
}

fn text(message: &Message, total: u64) -> String {
    let line = |text: &str| fit(text, LINE_MAX, Lines::One, verbatim).text;
    let mut out = format!("{} {} {}\n", iso(message.at_ms), mark(message.severity, message.status), line(&message.title));
    let mut indented = |text: &str, by: &str| {
        for line in fit(text, TEXT_MAX, Lines::Many, verbatim).text.lines() {
            out.push_str(by);
            out.push_str(line);
            out.push('\n');
        }
    };
    indented(&message.lead, "  ");
    for section in &message.sections {
        let is_titled = message.sections.len() == 1 && section.title == message.title;
        if !is_titled {
            indented(&format!("{} {}", mark(section.severity, section.status), line(&section.title)), "  ");
        }
        indented(&section.text, "    ");
        for field in section.fields.iter().take(25) {
            indented(&format!("{}: {}", line(&field.name), line(&field.value)), "    ");
        }
    }
    if let Some(more) = more(total, message.sections.len()).filter(|_| !message.sections.is_empty()) {
        indented(&more, "  ");
    }
    indented(&message.footer, "  ");
    out
}
