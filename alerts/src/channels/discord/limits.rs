//! What Discord takes, in characters (we count UTF-16 units, which are never fewer). A message beyond is refused as a whole.

/// `content`.
pub const CONTENT: usize = 2_000;
/// Embeds of a message.
pub const EMBEDS: usize = 10;
/// Titles, descriptions, fields' names and values and footers of all embeds of a message.
pub const TOTAL: usize = 6_000;
/// An embed's title.
pub const TITLE: usize = 256;
/// An embed's description.
pub const DESCRIPTION: usize = 4_096;
/// Fields of an embed.
pub const FIELDS: usize = 25;
/// A field's name.
pub const FIELD_NAME: usize = 256;
/// A field's value.
pub const FIELD_VALUE: usize = 1_024;
/// An embed's footer.
pub const FOOTER: usize = 2_048;
/// A file, in bytes. Servers without boosts take 10 MiB; a chart has a few dozen KiB.
pub const FILE_BYTES: usize = 8 * 1_024 * 1_024;
