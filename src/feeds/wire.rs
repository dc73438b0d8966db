//! JSON of the wire, borrowed: field values stay the bytes that came, until something reads a number out of them.
//!
//! Venues send numbers as strings, sometimes as numbers, and add fields without notice. So a field is a [`Text`] (any JSON
//! value, unread) and [`wire!`] makes message types that skip what they know to be useless and count what they don't know.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sonic_rs::LazyValue;

use super::reason;

/// Real messages nest five deep.
const DEPTH_MAX: usize = 64;

/// An unread JSON value. Absent, `null` and `""` are the same to us: not said.
#[derive(Clone, Debug, Default)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LazyValue::deserialize(deserializer).map(|value| Self(value.as_raw_cow()))
    }
}

impl<'a> Text<'a> {
    /// The JSON as it came (`""` if absent).
    pub fn json(&self) -> &str {
        &self.0
    }

    /// What it says: a string's content, or a number's digits.
    pub fn said(&self) -> Option<Cow<'_, [u8]>> {
        let raw = self.0.as_bytes();
        match raw {
            [] | b"null" | b"\"\"" => None,
            [b'"', content @ .., b'"'] if !content.contains(&b'\\') => Some(Cow::Borrowed(content)),
            [b'"', ..] => match sonic_rs::from_str::<String>(&self.0) {
                Ok(text) if text.is_empty() => None,
                Ok(text) => Some(Cow::Owned(text.into_bytes())),
                Err(_) => Some(Cow::Borrowed(raw)),
            },
            _ => Some(Cow::Borrowed(raw)),
        }
    }

    /// Whether it says exactly this.
    pub fn is(&self, expected: &str) -> bool {
        self.said().is_some_and(|said| *said == *expected.as_bytes())
    }

    /// A whole number without sign.
    pub fn integer(&self) -> Option<Result<u64, ()>> {
        self.said().map(|said| digits(&said))
    }
}

fn digits(text: &[u8]) -> Result<u64, ()> {
    if text.is_empty() || text.len() > 20 {
        return Err(());
    }
    text.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10).and_then(|v| v.checked_add(u64::from(byte - b'0'))).ok_or(()),
        _ => Err(()),
    })
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
                let mut row = [const { Text(Cow::Borrowed("")) }; N];
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

/// Parses JSON into a message type.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, &'static str> {
    sonic_rs::from_str(json).map_err(|e| if e.is_unmatched_type() { reason::JSON_TYPE } else { reason::JSON })
}

/// The items of a JSON array, unread. Anything but an array is one bad item.
pub(super) fn items<'a>(json: &'a str) -> impl Iterator<Item = Result<Text<'a>, &'static str>> {
    let is_array = json.trim_start().starts_with('[');
    let array = is_array.then(|| sonic_rs::to_array_iter(json));
    let no_array = (!is_array).then_some(Err(if json.is_empty() { reason::MISSING } else { reason::JSON_TYPE }));
    no_array.into_iter().chain(array.into_iter().flatten().map(|item| match item {
        Ok(value) => Ok(Text(value.as_raw_cow())),
        Err(_) => Err(reason::JSON),
    }))
}
