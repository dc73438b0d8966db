//! A notice in words: what every channel says, before it is put into the channel's own form.
//!
//! All texts are plain: no markup, no escapes, no limits. A channel escapes and cuts them by its own rules. Titles, names and
//! values are one line each, whatever an event holds.
//!
//! [`kinds`] words what kind of notice it is (news, reminder, digest, …), [`section`] one alert, with a template for each type
//! of event in [`events`]. The numbers come out of `event.data`, so that an alert read back from the outbox or made by another
//! version is worded as well; what is missing in it is left out. Words say what is and what it tends to mean, never what to do.

use crate::chart;
use crate::event::{Severity, Status};
use crate::notice::{Notice, NoticeKind};

mod events;
mod kinds;
mod row;
mod section;

/// A notice in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// What stands in front of the sections: the notice's remark, since when, what a digest counts. May be empty or have several lines.
    pub lead: String,
    /// One for each alert by name.
    pub sections: Vec<Section>,
    /// Where it comes from: rules, labels, the notice's id.
    pub footer: String,
    /// The gravest of its alerts.
    pub severity: Severity,
    /// Resolved only if all its alerts are.
    pub status: Status,
    /// When it was decided, UTC ms.
    pub at_ms: i64,
    /// A chart, as PNG.
    pub png: Option<Vec<u8>>,
}

/// One alert in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// One line. Of a single alert's news it is the message's title.
    pub title: String,
    /// A few sentences: what it means, and what its numbers leave out. Empty in a digest.
    pub text: String,
    /// The numbers. Empty in a digest.
    pub fields: Vec<Field>,
    /// How grave it is.
    pub severity: Severity,
    /// Whether it is true now.
    pub status: Status,
    /// Event time, UTC ms.
    pub at_ms: i64,
}

/// A number with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// `Velocity`.
    pub name: String,
    /// `$12.3M/h, 2.10× critical`.
    pub value: String,
}

impl Message {
    /// Words a notice.
    #[must_use]
    pub fn of(notice: &Notice) -> Self {
        kinds::message(notice)
    }

    /// Words a notice and draws its first alert's chart, for channels that carry pictures. A digest has none: it comes when there
    /// is much to do already. A chart that can't be drawn is left out, and the footer says why.
    #[must_use]
    pub fn with_chart(notice: &Notice) -> Self {
        let mut message = Self::of(notice);
        let is_digest = matches!(notice.kind, NoticeKind::Digest | NoticeKind::LateDigest);
        let figures = notice.alerts.first().and_then(|alert| alert.chart.as_ref()).filter(|_| !is_digest);
        if let (Some(figures), Some(section)) = (figures, message.sections.first()) {
            match chart::draw(figures, &section.title) {
                Ok(png) => message.png = Some(png),
                Err(e) => message.footer.push_str(&format!(" · {e}")),
            }
        }
        message
    }
}

/// One line of text: control characters (line breaks among them) become spaces.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}
