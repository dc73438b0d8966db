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

/// A place in a message: what is left of it.
pub(super) struct Scan<'a>(&'a [u8]);

/// What can be filled from a message.
pub(super) trait Fill<'a>: Default {
    /// Takes the value at hand; `self` must be the default. `None`: not certainly well-formed, or not of this type.
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()>;

    /// As [`Fill::fill`], whatever was there before: of two fields of one name the last counts.
    #[inline]
    fn refill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        *self = Self::default();
        self.fill(scan)
    }
}

impl<'a> Fill<'a> for Text<'a> {
    #[inline]
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        *self = scan.text()?;
        Some(())
    }

    #[inline]
    fn refill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        self.fill(scan)
    }
}

impl<'a, T: Fill<'a>> Fill<'a> for Vec<T> {
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        scan.take(b'[')?;
        loop {
            self.push(T::default());
            self.last_mut()?.fill(scan)?;
            if scan.ends(b']')? {
                return Some(());
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

/// Fills `into`, which must be the default, from a whole message. `None`: undecided, and `into` holds anything.
#[inline]
pub(super) fn whole<'a, T: Fill<'a>>(json: &'a [u8], into: &mut T) -> Option<()> {
    #[cfg(test)]
    if tests::UNUSED.get() {
        return None;
    }
    if !is_plain(json) {
        return None;
    }
    let mut scan = Scan(json);
    into.fill(&mut scan)?;
    if !scan.0.is_empty() {
        return None;
    }
    #[cfg(test)]
    tests::TAKEN.set(tests::TAKEN.get() + 1);
    Some(())
}

/// Printable ASCII without backslashes: then a string ends at the next quote, and nothing in it needs a look. This loop is
/// vectorised (bytes from 0x80 on are negative).
fn is_plain(json: &[u8]) -> bool {
    let is_odd = |byte: u8| byte.cast_signed() < 0x20 || byte == b'\\';
    let (chunks, rest) = json.as_chunks::<32>();
    chunks.iter().all(|chunk| !chunk.iter().fold(false, |odd, &byte| odd | is_odd(byte))) && !rest.iter().any(|&b| is_odd(b))
}

impl<'a> Scan<'a> {
    /// Takes exactly this byte.
    #[inline]
    pub fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Takes any byte.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// Takes what follows a value: a comma, or the end of what it is in (true).
    #[inline]
    pub fn ends(&mut self, close: u8) -> Option<bool> {
        match self.next()? {
            b',' => Some(false),
            byte if byte == close => Some(true),
            _ => None,
        }
    }

    /// Takes `"name":`.
    #[inline]
    pub fn key(&mut self) -> Option<Key<'a>> {
        let [b'"', from @ ..] = self.0 else { return None };
        if let Some(bytes) = from.first_chunk() {
            let word = u64::from_le_bytes(*bytes);
            let quotes = zeros(word ^ QUOTES);
            if quotes != 0 {
                let below = ((quotes & quotes.wrapping_neg()) >> 7).wrapping_sub(1); // the bytes before the first quote
                let (name, rest) = from.split_at_checked(quotes.trailing_zeros() as usize / 8)?;
                let [b'"', b':', rest @ ..] = rest else { return None };
                self.0 = rest;
                return Some(Key { word: word & below, name });
            }
        }
        self.long_key(from)
    }

    fn long_key(&mut self, from: &'a [u8]) -> Option<Key<'a>> {
        let (name, rest) = from.split_at_checked(quote(from)?)?;
        let [b'"', b':', rest @ ..] = rest else { return None };
        self.0 = rest;
        Some(Key { word: key_word(name), name })
    }

    /// Takes a value.
    #[inline]
    fn text(&mut self) -> Option<Text<'a>> {
        let all = self.0;
        if let [b'"', content @ ..] = all {
            let (text, rest) = all.split_at_checked(quote(content)? + 2)?;
            self.0 = rest;
            return Some(Text::scanned(text, true));
        }
        self.skip()?;
        let (text, _) = all.split_at_checked(all.len() - self.0.len())?;
        Some(Text::scanned(text, false))
    }

    /// Passes a value over.
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        self.value(0)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => {
                self.0 = self.0.get(quote(self.0)? + 1..)?;
                Some(())
            }
            first @ (b'0'..=b'9' | b'-') => self.number(first),
            b't' => self.literal(*b"rue"),
            b'f' => self.literal(*b"alse"),
            b'n' => self.literal(*b"ull"),
            b'{' => self.nested(b'}', depth),
            b'[' => self.nested(b']', depth),
            _ => None,
        }
    }

    fn nested(&mut self, close: u8, depth: usize) -> Option<()> {
        if depth == NESTED_MAX {
            return None;
        }
        if let [first, rest @ ..] = self.0
            && *first == close
        {
            self.0 = rest;
            return Some(());
        }
        loop {
            if close == b'}' {
                self.key()?;
            }
            self.value(depth + 1)?;
            if self.ends(close)? {
                return Some(());
            }
        }
    }

    #[inline]
    fn literal<const N: usize>(&mut self, expected: [u8; N]) -> Option<()> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        (*found == expected).then_some(())
    }

    /// `first` was taken. An exponent is refused by what must come next.
    #[inline]
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        let more = self.digits()?;
        if !first.is_ascii_digit() || more > DIGITS_MAX || (first == b'0' && more > 0) {
            return None;
        }
        let [b'.', fraction @ ..] = self.0 else { return Some(()) };
        self.0 = fraction;
        (1..=DIGITS_MAX).contains(&self.digits()?).then_some(())
    }

    /// Takes digits, eight at a time.
    #[inline]
    fn digits(&mut self) -> Option<usize> {
        let from = self.0;
        let mut length = 0;
        for bytes in from.as_chunks().0 {
            let values = u64::from_le_bytes(*bytes) ^ (ONES * b'0' as u64);
            let others = (values.wrapping_add(ONES * 0x76) | values) & HIGHS; // the lowest mark is at the first other byte
            if others != 0 {
                length += others.trailing_zeros() as usize / 8;
                self.0 = from.get(length..)?;
                return Some(length);
            }
            length += 8;
        }
        length += from.get(length..)?.iter().position(|byte| !byte.is_ascii_digit())?;
        self.0 = from.get(length..)?;
        Some(length)
    }
}

/// Where the next quote is, looking at eight bytes at a time.
#[inline]
fn quote(from: &[u8]) -> Option<usize> {
    let (chunks, rest) = from.as_chunks();
    let mut length = 0;
    for bytes in chunks {
        let quotes = zeros(u64::from_le_bytes(*bytes) ^ QUOTES);
        if quotes != 0 {
            return Some(length + quotes.trailing_zeros() as usize / 8);
        }
        length += 8;
    }
    Some(length + rest.iter().position(|&byte| byte == b'"')?)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = ONES * b'"' as u64;

/// Marks bytes that are 0. Marks above the lowest may be wrong.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "scan_tests.rs"]
mod tests;
