//! One pass over a message written the way venues write it.
//!
//! The grammar is JSON without what they don't send: white space between values, escapes, exponents, deep nesting. A [`Scan`]
//! takes only what is certainly well-formed and gives up (`None`) on all else, which the full parser then decides. So it has to
//! be right about what it takes, and need not take everything; a differential test holds it to that.

use super::wire::Text;

/// Values nest this deep below a field before the scan gives up. Real ones: two.
const NESTED_MAX: usize = 8;
/// Longer runs of digits are somebody's joke.
const DIGITS_MAX: usize = 40;

/// A place in a message.
pub(super) struct Scan<'a> {
    json: &'a str,
    at: usize,
}

/// What can be filled from a message.
pub(super) trait Fill<'a>: Default {
    /// Takes the value at hand, whatever was there before. `None`: not certainly well-formed, or not of this type.
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()>;
}

impl<'a> Fill<'a> for Text<'a> {
    #[inline]
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        let from = scan.at;
        let scalar = scan.value(0)?;
        *self = Text::scanned(scan.json.get(from..scan.at)?, scalar == Scalar::String);
        Some(())
    }
}

impl<'a, T: Fill<'a>> Fill<'a> for Vec<T> {
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        self.clear();
        scan.take(b'[')?;
        loop {
            let mut item = T::default();
            item.fill(scan)?;
            self.push(item);
            match scan.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}

/// An object's key: its first eight bytes, and all of it.
pub(super) struct Key<'a> {
    pub word: u64,
    pub name: &'a [u8],
}

/// The first eight bytes of a key, the first lowest, padded with zeros.
pub(super) const fn key_word(name: &[u8]) -> u64 {
    let (mut word, mut i) = (0, 0);
    while i < name.len() && i < 8 {
        word |= (name[i] as u64) << (8 * i);
        i += 1;
    }
    word
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scalar {
    String,
    Other,
}

/// Fills `into` from a whole message. `None`: undecided, and `into` holds anything.
#[inline]
pub(super) fn whole<'a, T: Fill<'a>>(json: &'a str, into: &mut T) -> Option<()> {
    #[cfg(test)]
    if tests::UNUSED.get() {
        return None;
    }
    let mut scan = Scan { json, at: 0 };
    into.fill(&mut scan)?;
    if scan.at != json.len() {
        return None;
    }
    #[cfg(test)]
    tests::TAKEN.set(tests::TAKEN.get() + 1);
    Some(())
}

impl<'a> Scan<'a> {
    /// Takes exactly this byte.
    #[inline]
    pub fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Takes any byte.
    #[inline]
    pub fn next(&mut self) -> Option<u8> {
        let byte = *self.json.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Takes `"name":`.
    #[inline]
    pub fn key(&mut self) -> Option<Key<'a>> {
        self.take(b'"')?;
        let start = self.at;
        let word = self.word(start);
        let end = self.string_end()?;
        let length = end - start;
        let word = if length < 8 { word & ((1 << (8 * length)) - 1) } else { word };
        self.take(b':')?;
        Some(Key { word, name: self.json.as_bytes().get(start..end)? })
    }

    /// Passes a value over.
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        self.value(0).map(drop)
    }

    #[inline]
    fn value(&mut self, depth: usize) -> Option<Scalar> {
        match self.next()? {
            b'"' => {
                self.string_end()?;
                return Some(Scalar::String);
            }
            first @ (b'0'..=b'9' | b'-') => self.number(first)?,
            b't' => self.literal(b"rue")?,
            b'f' => self.literal(b"alse")?,
            b'n' => self.literal(b"ull")?,
            open => self.nested(open, depth)?,
        }
        Some(Scalar::Other)
    }

    fn nested(&mut self, open: u8, depth: usize) -> Option<()> {
        let close = match open {
            b'{' => b'}',
            b'[' => b']',
            _ => return None,
        };
        if depth == NESTED_MAX {
            return None;
        }
        if self.json.as_bytes().get(self.at) == Some(&close) {
            self.at += 1;
            return Some(());
        }
        loop {
            if open == b'{' {
                self.key()?;
            }
            self.value(depth + 1)?;
            match self.next()? {
                b',' => {}
                end => return (end == close).then_some(()),
            }
        }
    }

    #[inline]
    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let is_it = self.json.as_bytes().get(self.at..)?.starts_with(rest);
        self.at += rest.len();
        is_it.then_some(())
    }

    /// `first` was taken.
    #[inline]
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        let more = self.digits();
        if !first.is_ascii_digit() || more > DIGITS_MAX || (first == b'0' && more > 0) {
            return None;
        }
        if self.json.as_bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            let fraction = self.digits();
            return (fraction > 0 && fraction <= DIGITS_MAX).then_some(()); // an exponent is refused by what comes next
        }
        Some(())
    }

    /// Takes digits, eight at a time.
    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        loop {
            let values = self.word(self.at) ^ (ONES * b'0' as u64);
            let others = (values.wrapping_add(ONES * 0x76) | values) & HIGHS; // the lowest mark is at the first other byte
            if others != 0 {
                self.at += others.trailing_zeros() as usize / 8;
                return self.at - start;
            }
            self.at += 8;
        }
    }

    /// Takes a string's content and its closing quote, eight bytes at a time. The content's end.
    #[inline]
    fn string_end(&mut self) -> Option<usize> {
        loop {
            let word = self.word(self.at);
            let special = zeros(word ^ (ONES * b'"' as u64))
                | zeros(word ^ (ONES * b'\\' as u64))
                | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS);
            if special != 0 {
                let end = self.at + special.trailing_zeros() as usize / 8;
                self.at = end;
                self.take(b'"')?;
                return Some(end);
            }
            self.at += 8;
        }
    }

    /// Eight bytes from there on, the first lowest. Beyond the message's end they are 0, which ends strings and numbers.
    #[inline]
    fn word(&self, at: usize) -> u64 {
        let rest = self.json.as_bytes().get(at..).unwrap_or_default();
        rest.first_chunk().map_or_else(|| key_word(rest), |bytes| u64::from_le_bytes(*bytes))
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks bytes that are 0. Marks above the lowest may be wrong.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "scan_tests.rs"]
mod tests;
