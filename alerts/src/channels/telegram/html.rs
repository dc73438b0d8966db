//! A message as Telegram's HTML.

use super::limits;
use crate::channels::fit::{Fitted, Lines, fit, more, share, units, verbatim};
use crate::channels::mark;
use crate::message::{Message, Section};

const TITLE_MAX: usize = 256;
const LEAD_MAX: usize = 1_024;
const FOOTER_MAX: usize = 256;
/// The line that counts what is not shown.
const MORE_MAX: usize = 40;
const NAME_MAX: usize = 128;
const VALUE_MAX: usize = 512;
const FIELDS_MAX: usize = 25;

/// A text that grows within a budget.
struct Page {
    text: String,
    units: usize,
    entities: usize,
    /// The last lines are alerts of a line each.
    is_in_list: bool,
}

impl Page {
    /// What stands around a text counts as well; `tag` doesn't.
    fn push(&mut self, before: &str, tag: &str, fitted: &Fitted, after: &str) {
        self.text.push_str(before);
        let is_tagged = !tag.is_empty() && self.entities < limits::ENTITIES && !fitted.text.is_empty();
        if is_tagged {
            self.entities += 1;
            self.text.push_str(&format!("<{tag}>{}</{tag}>", fitted.text));
        } else {
            self.text.push_str(&fitted.text);
        }
        self.text.push_str(after);
        self.units += units(before) + fitted.units + units(after);
    }
}

/// The whole message in at most `units_max`. `total`: how many alerts the notice speaks of.
pub(super) fn text(message: &Message, total: u64, units_max: usize) -> Fitted {
    let mut page = Page { text: String::new(), units: 0, entities: 0, is_in_list: false };
    let title = fit(&message.title, TITLE_MAX, Lines::One, escape);
    let title = if title.text.is_empty() { fit("regimeflow", TITLE_MAX, Lines::One, verbatim) } else { title };
    page.push(&format!("{} ", mark(message.severity, message.status)), "b", &title, "\n");
    let lead = fit(&message.lead, LEAD_MAX, Lines::Many, escape);
    if !lead.text.is_empty() {
        page.push("", "", &lead, "\n");
    }
    let footer = fit(&message.footer, FOOTER_MAX, Lines::One, escape);
    // The line break before it, too.
    let end = units_max - footer.units - 1 - MORE_MAX;
    let mut shown = 0;
    let count = message.sections.len();
    for (i, section) in message.sections.iter().enumerate() {
        let end = page.units + share(end.saturating_sub(page.units), count - i);
        shown += usize::from(one(&mut page, section, count == 1 && section.title == message.title, end));
    }
    if let Some(more) = more(total, shown).filter(|_| count > 0) {
        page.push(&more, "", &Fitted::default(), "\n");
    }
    if !footer.text.is_empty() {
        page.push("\n", "i", &footer, "");
    }
    let trimmed = page.text.trim_end();
    Fitted { units: page.units - (page.text.len() - trimmed.len()), text: trimmed.to_owned() }
}

/// An alert's lines, up to `end` of the page; and whether there was room for any.
fn one(page: &mut Page, section: &Section, is_titled: bool, end: usize) -> bool {
    let left = |page: &Page| end.saturating_sub(page.units);
    let is_bare = section.fields.is_empty() && section.text.trim().is_empty();
    if !is_titled {
        let before = format!("{}{} ", if is_bare && page.is_in_list { "" } else { "\n" }, mark(section.severity, section.status));
        let title = fit(&section.title, TITLE_MAX.min(left(page).saturating_sub(units(&before) + 1)), Lines::One, escape);
        let title = or_dash(title);
        if left(page) < units(&before) + title.units + 1 {
            return false;
        }
        page.is_in_list = is_bare;
        page.push(&before, if is_bare { "" } else { "b" }, &title, "\n");
    }
    // The numbers come before the words: these get what is left, but half at least.
    let fit_or_dash = |text: &str, max| or_dash(fit(text, max, Lines::One, escape));
    let fields = section.fields.iter().take(FIELDS_MAX);
    let fields: Vec<(Fitted, Fitted)> =
        fields.map(|field| (fit_or_dash(&field.name, NAME_MAX), fit_or_dash(&field.value, VALUE_MAX))).collect();
    let wanted: usize = fields.iter().map(|(name, value)| name.units + value.units + 3).sum();
    let room = left(page) - wanted.min(left(page) / 2);
    let text = fit(&section.text, room.saturating_sub(1), Lines::Many, escape);
    if !text.text.is_empty() {
        page.push("", "", &text, "\n");
    }
    for (name, value) in &fields {
        if name.units + value.units + 3 > left(page) {
            break;
        }
        page.push("", "", name, ": ");
        page.push("", "b", value, "\n");
    }
    true
}

/// In the place of nothing.
fn or_dash(fitted: Fitted) -> Fitted {
    if fitted.text.is_empty() { Fitted { text: "–".to_owned(), units: 1 } } else { fitted }
}

/// What counts is what is shown: an escape counts as the character it stands for.
fn escape(c: char, _begins_line: bool, out: &mut String) -> usize {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '@' => {
            out.push_str("@\u{2060}");
            return 2;
        }
        c => out.push(c),
    }
    c.len_utf16()
}
