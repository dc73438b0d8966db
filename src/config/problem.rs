//! What is wrong with a configuration, and where: `file:line:col: key: message; hint`.

use std::fmt;

/// One thing to mend, or (`warning`) to think about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was given.
    pub file: String,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// `views.cascades.m5.minimum_usd`, `webhooks[0].url`; empty: no key.
    pub key: String,
    /// What is there and what should be.
    pub message: String,
    /// What to do. May be empty.
    pub hint: String,
    /// The configuration works as it is.
    pub warning: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if self.warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// At least one that is not a warning.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The candidate that `word` is most likely a slip for.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if let Some(longer) = candidates.clone().into_iter().find(|c| word.len() >= 4 && c.starts_with(word)) {
        return Some(longer);
    }
    let likeness = |c: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase());
    let (distance, best) = candidates.into_iter().map(|c| (likeness(c), c)).min_by_key(|(d, _)| *d)?;
    (distance <= word.chars().count().max(best.chars().count()) / 3).then_some(best)
}
