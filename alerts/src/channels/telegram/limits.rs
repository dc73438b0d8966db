//! What Telegram takes, in UTF-16 units of what is shown: tags and escapes don't count.

/// A message's text.
pub const TEXT: usize = 4_096;
/// A photo's caption.
pub const CAPTION: usize = 1_024;
/// Emphases in a message; later ones are ignored.
pub const ENTITIES: usize = 100;
/// A photo, in bytes: 10 MB, less the rest of the form.
pub const PHOTO_BYTES: usize = 9_000_000;
