//! Texts into places of limited length: cleaned, escaped and cut, in one pass, so that no escape is ever cut in two.
//!
//! Lengths are UTF-16 units: receivers count those or characters, and there are never more characters than units. A text is cut between
//! grapheme clusters, so that an emoji of several code points or a letter with its marks stays whole (unless the cluster itself is
//! an attack). What is dropped: control characters, and the ones that turn the direction of the text behind them, with
//! which a line could show other numbers than it has. At most [`SCAN_BYTES_MAX`] of a text are looked at.

use unicode_segmentation::UnicodeSegmentation as _;

/// More of a text than this is never looked at.
const SCAN_BYTES_MAX: usize = 65_536;
/// A cluster of more bytes than this is cut where it must.
const CLUSTER_BYTES_MAX: usize = 128;
/// What stands where something was cut.
const CUT: &str = "…";

/// Writes a character so that the receiver shows it as it is and does nothing with it, and says how much of the limit it takes.
/// `begins_line`: nothing but spaces stands before it in its line.
pub(crate) type Escape = fn(char, begins_line: bool, out: &mut String) -> usize;

/// Whether line breaks stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    One,
    Many,
}

/// A text that is in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub(crate) text: String,
    /// What it takes of a limit.
    pub(crate) units: usize,
}

/// As much of `text` as takes at most `units_max`. Empty if there is nothing to see in it.
pub(crate) fn fit(text: &str, units_max: usize, lines: Lines, escape: Escape) -> Fitted {
    let head = &text[..text.floor_char_boundary(SCAN_BYTES_MAX)];
    let (mut out, mut units, mut begins_line, mut is_seen) = (String::new(), 0, true, false);
    // Where the mark of a cut still has room.
    let mut room = (0, 0);
    let mut is_cut = head.len() < text.len();
    'clusters: for cluster in head.trim().graphemes(true) {
        let is_attack = cluster.len() > CLUSTER_BYTES_MAX;
        for c in cluster.chars() {
            let Some(c) = cleaned(c, lines) else { continue };
            units += escape(c, begins_line, &mut out);
            begins_line = c == '\n' || (begins_line && c == ' ');
            is_seen |= !is_invisible(c);
            if is_attack && units < units_max {
                room = (out.len(), units);
            }
            if units > units_max {
                is_cut = true;
                break 'clusters;
            }
        }
        if units < units_max {
            room = (out.len(), units);
        }
    }
    if is_cut {
        out.truncate(room.0);
        if units_max > 0 {
            out.push_str(CUT);
            units = room.1 + 1;
        } else {
            units = 0;
        }
    }
    if is_seen && units_max > 0 { Fitted { text: out, units } } else { Fitted::default() }
}

/// As it is, for places where nothing has a meaning.
pub(crate) fn verbatim(c: char, _begins_line: bool, out: &mut String) -> usize {
    out.push(c);
    c.len_utf16()
}

/// How long a text is, as receivers count.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A part of what is left for `parts` that are still to come, this one included.
pub(crate) fn share(left: usize, parts: usize) -> usize {
    left / parts.max(1)
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The line that counts what is not shown, if there is something to count.
pub(crate) fn more(total: u64, shown: usize) -> Option<String> {
    let hidden = total.saturating_sub(shown as u64);
    (hidden > 0).then(|| format!("… and {} more", grouped(hidden)))
}

fn cleaned(c: char, lines: Lines) -> Option<char> {
    match c {
        '\n' | '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{b}' | '\u{c}' => Some(if lines == Lines::Many { '\n' } else { ' ' }),
        '\t' => Some(' '),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// White space, and what takes no place of its own: a text of nothing else is refused by receivers as empty.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' | '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_what_a_reader_sees_as_letters() {
        let check = |text: &str, units_max: usize, expected: &str| {
            let got = fit(text, units_max, Lines::One, verbatim);
            assert_eq!((got.text.as_str(), got.units), (expected, units(expected)), "{text:?} in {units_max}");
            assert!(got.units <= units_max);
        };
        check("abc", 3, "abc");
        check("abcd", 3, "ab…");
        check("abc", 1, "…");
        check("abc", 0, "");
        check("  abc\n", 3, "abc");
        check("a👍🏽b", 5, "a…");
        check("a👍🏽b", 6, "a👍🏽b");
        check("e\u{301}e\u{301}", 3, "e\u{301}…");
        check("a\r\nb\u{0}c\u{202e}d", 9, "a bcd");
        check("\u{200b}\u{202e} \n", 9, "");
        check("\u{301}", 9, "");
        check(&format!("a{}", "\u{301}".repeat(1_000)), 5, "a\u{301}\u{301}\u{301}…");
    }

    #[test]
    fn an_escape_is_never_cut() {
        fn doubled(c: char, _: bool, out: &mut String) -> usize {
            out.extend([c, c]);
            2 * c.len_utf16()
        }
        assert_eq!(fit("abc", 6, Lines::One, doubled).text, "aabbcc");
        assert_eq!(fit("abc", 5, Lines::One, doubled).text, "aabb…");
        assert_eq!(fit("abc", 4, Lines::One, doubled).text, "aa…");
        assert_eq!(fit("a\r\nb", 9, Lines::Many, doubled).text, "aa\n\nbb");
    }

    #[test]
    fn a_huge_text_costs_no_more_than_a_long_one() {
        let fitted = fit(&"x".repeat(100_000_000), 200_000, Lines::Many, verbatim);
        assert_eq!(fitted.units, SCAN_BYTES_MAX + 1);
    }
}
