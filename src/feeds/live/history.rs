//! What a venue's REST still has of the past: which sources there are, how they are asked for, what an answer holds.
//!
//! A [`Source`] of a symbol is asked for by a [`Span`] of the venue's time, page by page. Answers are read only as far as
//! paging and completeness need it; their content goes to the parsers as frames.

pub use crate::store::edge::Recovered;

/// A stretch of the venue's time, UTC ms, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first millisecond.
    pub from_ms: i64,
    /// Its last one.
    pub to_ms: i64,
}

/// Something that REST has of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The prints themselves, by dense ids: what had been heard already does no harm.
    Prints,
    /// Minutes as bars, in the place of their prints.
    Minutes,
    /// Settled funding rates, at full hours.
    Settled,
    /// Open interest, at every fifth minute.
    Interest,
}

/// A source that makes up for a kind of stream, and how well at best. Of prints and minutes the first one that has an
/// answer is enough; the others add to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cure {
    /// What is asked for.
    pub source: Source,
    /// What a complete answer is worth.
    pub worth: Recovered,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Path and query.
    pub path: String,
    /// What it costs of the venue's budget.
    pub weight: u32,
}

/// What an answer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its rows' times, UTC ms, in any order: a print's, a minute's opening, a settlement, a sample.
    pub times: Vec<i64>,
    /// The last print's id.
    pub last_id: Option<u64>,
}

/// Why an answer with status 200 is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not the JSON that belongs there.
    #[error("an answer that can't be read: {0}")]
    Unreadable(String),
    /// The venue says what is wrong.
    #[error("the venue answered: code {code}: {message}")]
    Refused {
        /// The venue's number.
        code: i64,
        /// Its words.
        message: String,
        /// It only wants to be asked later.
        is_retryable: bool,
    },
}

impl PageError {
    /// Would the same question have an answer later?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Refused { is_retryable: true, .. })
    }
}

/// One venue's past.
pub trait History: Send + Sync {
    /// What makes up for a gap of this kind of stream (`aggTrades`, `tickers`); empty: nothing does.
    fn cures(&self, kind: &str) -> &'static [Cure];
    /// Most rows in one answer.
    fn rows_max(&self, source: Source) -> usize;
    /// The question for `span`, which holds at most [`History::rows_max`] rows except of prints; of those, from id `next` on.
    fn question(&self, source: Source, symbol: &str, span: Span, next: Option<u64>) -> Question;
    /// Reads an answer.
    ///
    /// # Errors
    /// If it is none.
    fn page(&self, source: Source, body: &[u8]) -> Result<Page, PageError>;
}
