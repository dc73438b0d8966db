//! JSON of the wire, borrowed: field values stay the bytes that came, until something reads a number out of them.
//!
//! Venues send numbers as strings, sometimes as numbers, and add fields without notice. So a field is a [`Text`] (any JSON
//! value, unread) and [`wire!`] makes message types that skip what they know to be useless and count what they don't know.
//! Nearly all messages are read in one pass by [`scan`]; what it leaves undecided goes through sonic-rs.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sonic_rs::LazyValue;

use super::reason;
use super::scan::{self, Fill, Scan};

/// Real messages nest five deep.
const DEPTH_MAX: usize = 64;

/// An unread JSON value. Absent, `null` and `""` are the same to us: not said.
#[derive(Debug, Default)]
pub(super) struct Text<'a> {
    json: &'a [u8],
    form: Form,
}

#[derive(Debug, Default)]
enum Form {
    #[default]
    Unsaid,
    /// A string without escapes.
    Plain,
    /// No string.
    Bare,
    /// With escapes somewhere: sonic-rs lends it too briefly to borrow it, so here it is instead of in `json`.
    Escaped(Box<Escaped>),
}

#[derive(Debug)]
struct Escaped(String);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LazyValue::deserialize(deserializer).map(|value| Self::lazy(&value))
    }
}

impl<'a> Text<'a> {
    /// What sonic-rs found.
    fn lazy(value: &LazyValue<'a>) -> Self {
        match value.as_raw_cow() {
            Cow::Borrowed(json) if !json.contains('\\') => Self::scanned(json.as_bytes(), json.starts_with('"')),
            json => Self { json: b"", form: Form::Escaped(Box::new(Escaped(json.into_owned()))) },
        }
    }

    /// A value as it came, and whether it is a string (without escapes).
    #[inline]
    pub fn scanned(json: &'a [u8], is_string: bool) -> Self {
        let form = match (is_string, json.len()) {
            (true, 2) => Form::Unsaid,
            (true, _) => Form::Plain,
            (false, 4) if json == b"null" => Form::Unsaid,
            (false, _) => Form::Bare,
        };
        Self { json, form }
    }

    /// The JSON as it came (`""` if absent).
    pub fn json(&self) -> &str {
        match &self.form {
            Form::Escaped(raw) => &raw.0,
            _ => std::str::from_utf8(self.json).unwrap_or_default(), // both ways of reading let only UTF-8 through
        }
    }

    /// What it says: a string's content, or a number's digits.
    #[inline]
    pub fn said(&self) -> Option<Cow<'_, [u8]>> {
        match (&self.form, self.json) {
            (Form::Unsaid, _) => None,
            (Form::Plain, [_, content @ .., _]) => Some(Cow::Borrowed(content)),
            (Form::Escaped(raw), _) => raw.said(),
            (_, json) => Some(Cow::Borrowed(json)),
        }
    }

    /// Whether it says exactly this.
    #[inline]
    pub fn is(&self, expected: &str) -> bool {
        self.said().is_some_and(|said| *said == *expected.as_bytes())
    }

    /// A whole number without sign.
    #[inline]
    pub fn integer(&self) -> Option<Result<u64, ()>> {
        self.said().map(|said| digits(&said))
    }
}

impl Escaped {
    #[cold]
    fn said(&self) -> Option<Cow<'_, [u8]>> {
        match self.0.starts_with('"').then(|| sonic_rs::from_str::<String>(&self.0)) {
            Some(Ok(text)) => (!text.is_empty()).then(|| Cow::Owned(text.into_bytes())),
            _ => Some(Cow::Borrowed(self.0.as_bytes())),
        }
    }
}

fn digits(text: &[u8]) -> Result<u64, ()> {
    if let 8..=16 = text.len()
        && let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk())
    {
        let more = text.len() - 8; // digits of `tail` that are not in `head`
        let tail_mask = if more == 0 { 0 } else { u64::MAX << (64 - 8 * more) };
        let (head, tail) = (eight_digits(*head, u64::MAX).ok_or(())?, eight_digits(*tail, tail_mask).ok_or(())?);
        return Ok(head * POWERS[more] + tail);
    }
    if text.is_empty() || text.len() > 20 {
        return Err(());
    }
    text.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10).and_then(|v| v.checked_add(u64::from(byte - b'0'))).ok_or(()),
        _ => Err(()),
    })
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that eight digits make, those outside the mask counted as 0: neighbours are put together to pairs, pairs to fours.
#[inline]
fn eight_digits(text: [u8; 8], mask: u64) -> Option<u64> {
    let values = u64::from_le_bytes(text) ^ 0x3030_3030_3030_3030;
    if (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let ones = values & mask;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The first N values of a JSON array; what follows is ignored.
#[derive(Debug)]
pub(super) struct Row<'a, const N: usize>(pub [Text<'a>; N]);

impl<'de: 'a, 'a, const N: usize> Deserialize<'de> for Row<'a, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<'a, const N: usize>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a, const N: usize> Visitor<'de> for Values<'a, N> {
            type Value = Row<'a, N>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut row = [const { Text { json: b"", form: Form::Unsaid } }; N];
                for slot in &mut row {
                    *slot = seq.next_element()?.ok_or_else(|| A::Error::custom("too few values"))?;
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Row(row))
            }
        }
        deserializer.deserialize_seq(Values(PhantomData))
    }
}

impl<const N: usize> Default for Row<'_, N> {
    fn default() -> Self {
        Self([const { Text { json: b"", form: Form::Unsaid } }; N])
    }
}

/// Rows come by the hundred in answers to requests, which are rare.
impl<'a, const N: usize> Fill<'a> for Row<'a, N> {
    fn fill(&mut self, _scan: &mut Scan<'a>) -> Option<()> {
        None
    }
}

/// `{"stream":…,"data":T}`, as Binance's combined streams wrap it.
#[derive(Debug, Default)]
pub(super) struct Wrapped<T> {
    pub data: T,
    pub unknown: u64,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum WrapperKey {
    Stream,
    Data,
    #[serde(other)]
    Other,
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Wrapped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Fields<T> {
            type Value = Wrapped<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut wrapped = Wrapped::default();
                while let Some(key) = map.next_key::<WrapperKey>()? {
                    if matches!(key, WrapperKey::Data) {
                        wrapped.data = map.next_value()?;
                    } else {
                        wrapped.unknown += u64::from(matches!(key, WrapperKey::Other));
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(wrapped)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

impl<'a, T: Fill<'a>> Fill<'a> for Wrapped<T> {
    #[inline]
    fn fill(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        let mut is_first = true;
        scan.take(b'{')?;
        loop {
            match scan.key()?.name {
                b"stream" => scan.skip()?,
                b"data" if is_first => {
                    is_first = false;
                    self.data.fill(scan)?;
                }
                b"data" => self.data.refill(scan)?,
                _ => {
                    self.unknown += 1;
                    scan.skip()?;
                }
            }
            if scan.ends(b'}')? {
                return Some(());
            }
        }
    }
}

/// A message type: fields that are used (`name = "wire name"`), fields known to be of no use, and a count of all others.
macro_rules! wire {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident : $type:ty = $key:literal),* $(,)? } ignored { $($ignored:literal)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'a> {
            $(pub $field: $type,)*
            /// Fields that this type does not name.
            pub unknown: u64,
        }

        impl<'a> $crate::feeds::scan::Fill<'a> for $name<'a> {
            #[inline]
            fn fill(&mut self, scan: &mut $crate::feeds::scan::Scan<'a>) -> Option<()> {
                use $crate::feeds::scan::{Fill, key_word};
                scan.take(b'{')?;
                loop {
                    let key = scan.key()?;
                    // Eight bytes tell short names apart; long ones are compared.
                    match key.word {
                        $(word if word == const { key_word($key.as_bytes()) }
                            && ($key.len() < 8 || key.name == $key.as_bytes()) => Fill::refill(&mut self.$field, scan)?,)*
                        $(word if word == const { key_word($ignored.as_bytes()) }
                            && ($ignored.len() < 8 || key.name == $ignored.as_bytes()) => scan.skip()?,)*
                        _ => {
                            self.unknown += 1;
                            scan.skip()?;
                        }
                    }
                    if scan.ends(b'}')? {
                        return Some(());
                    }
                }
            }
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[allow(non_camel_case_types, dead_code)] // types without useless fields
                enum Key { $($field,)* known_useless, unknown }
                impl<'de> serde::Deserialize<'de> for Key {
                    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        struct Name;
                        impl serde::de::Visitor<'_> for Name {
                            type Value = Key;
                            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                                f.write_str("a field's name")
                            }
                            #[allow(unreachable_patterns)]
                            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                                Ok(match name {
                                    $($key => Key::$field,)*
                                    $($ignored => Key::known_useless,)*
                                    _ => Key::unknown,
                                })
                            }
                        }
                        deserializer.deserialize_identifier(Name)
                    }
                }
                struct Fields<'a>(std::marker::PhantomData<&'a ()>);
                impl<'de: 'a, 'a> serde::de::Visitor<'de> for Fields<'a> {
                    type Value = $name<'a>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut message = $name::default();
                        while let Some(key) = map.next_key::<Key>()? {
                            match key {
                                $(Key::$field => message.$field = map.next_value()?,)*
                                Key::known_useless => { map.next_value::<serde::de::IgnoredAny>()?; }
                                Key::unknown => {
                                    message.unknown += 1;
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(message)
                    }
                }
                deserializer.deserialize_map(Fields(std::marker::PhantomData))
            }
        }
    };
}
pub(super) use wire;

/// What follows this beginning (`strip_prefix`, whose comparison of a constant is not inlined).
#[inline]
pub(super) fn after<'a, const N: usize>(text: &'a [u8], beginning: &[u8; N]) -> Option<&'a [u8]> {
    let (found, rest) = text.split_first_chunk()?;
    (found == beginning).then_some(rest)
}

/// The payload as text, if it can be parsed without harm: UTF-8, and not nested so deep that a recursive parser would
/// run out of stack.
pub(super) fn text(payload: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(payload).map_err(|_| reason::UTF8)?;
    if payload.len() > DEPTH_MAX && depth(payload) > DEPTH_MAX { Err(reason::DEPTH) } else { Ok(text) }
}

/// How deep brackets nest outside strings.
fn depth(payload: &[u8]) -> usize {
    if payload.len() < 2048 && payload.iter().filter(|&&b| b == b'[' || b == b'{').count() <= DEPTH_MAX {
        return 0; // not enough brackets to matter; this loop is vectorised
    }
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in payload {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Parses a whole frame, of which nothing is known yet, into a message; `into` must be the default.
#[inline]
pub(super) fn read_frame<'a, T: Deserialize<'a> + Fill<'a>>(payload: &'a [u8], into: &mut T) -> Result<(), &'static str> {
    match scan::whole(payload, into) {
        Some(()) => Ok(()),
        None => text(payload).and_then(read_slowly).map(|message| *into = message),
    }
}

/// Parses JSON, known not to be deep, into a message type.
pub(super) fn read<'a, T: Deserialize<'a> + Fill<'a>>(json: &'a str) -> Result<T, &'static str> {
    let mut message = T::default();
    scan::whole(json.as_bytes(), &mut message).map_or_else(|| read_slowly(json), |()| Ok(message))
}

#[cold]
#[inline(never)]
fn read_slowly<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, &'static str> {
    sonic_rs::from_str(json).map_err(|e| if e.is_unmatched_type() { reason::JSON_TYPE } else { reason::JSON })
}

/// The items of a JSON array, unread. Anything but an array is one bad item.
pub(super) fn items<'a>(json: &'a str) -> impl Iterator<Item = Result<Text<'a>, &'static str>> {
    let is_array = json.trim_start().starts_with('[');
    let array = is_array.then(|| sonic_rs::to_array_iter(json));
    let no_array = (!is_array).then_some(Err(if json.is_empty() { reason::MISSING } else { reason::JSON_TYPE }));
    let items = array.into_iter().flatten().map(|item| item.map(|value| Text::lazy(&value)).map_err(|_| reason::JSON));
    no_array.into_iter().chain(items)
}
