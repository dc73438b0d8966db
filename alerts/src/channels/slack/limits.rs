//! What Slack takes, in characters (we count UTF-16 units of the escaped text, which are never fewer).

/// Blocks of a message.
pub const BLOCKS: usize = 50;
/// A header's text.
pub const HEADER: usize = 150;
/// A section's text.
pub const SECTION: usize = 3_000;
/// Fields of a section.
pub const FIELDS: usize = 10;
/// A field's text.
pub const FIELD: usize = 2_000;
/// A context element's text. Documented for texts in general.
pub const CONTEXT: usize = 3_000;
/// All texts of a message: beyond some 13,200 Slack answers `msg_blocks_too_long`, which it doesn't document.
pub const TOTAL: usize = 13_000;
