//! A notice in words: what every channel says, before it is put into the channel's own form.
//!
//! All texts are plain: no markup, no escapes, no limits. A channel escapes and cuts them by its own rules.

use crate::event::{Event, Severity, Status};
use crate::notice::Notice;

/// A notice in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// A sentence in front of the sections: the notice's remark, what a digest counts. May be empty.
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
    /// One line.
    pub title: String,
    /// A few sentences.
    pub text: String,
    /// The numbers.
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
    /// `12.3 M USD/h, 2.1 × critical`.
    pub value: String,
}

impl Message {
    /// Words a notice.
    #[must_use]
    pub fn of(notice: &Notice) -> Self {
        let sections: Vec<Section> = notice.alerts.iter().map(|alert| Section::of(&alert.event)).collect();
        let title = match sections.as_slice() {
            [one] => one.title.clone(),
            _ => format!("{} alerts", notice.total()),
        };
        let rules: std::collections::BTreeSet<&str> =
            notice.alerts.iter().flat_map(|alert| alert.rules.iter().map(String::as_str)).collect();
        let footer = format!("regimeflow · {} · {}", rules.into_iter().collect::<Vec<_>>().join(", "), notice.id);
        let (severity, status) = (notice.severity(), notice.status());
        Self { title, lead: notice.remark.clone(), sections, footer, severity, status, at_ms: notice.decided_at, png: None }
    }
}

impl Section {
    fn of(event: &Event) -> Self {
        Self {
            title: event.title.clone(),
            text: event.description.clone(),
            fields: Vec::new(),
            severity: event.severity,
            status: event.status,
            at_ms: event.timestamp,
        }
    }
}
