//! What can go wrong with the store, and whether trying again can help.

use std::path::PathBuf;

/// Why the store can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process owns the directory.
    #[error("store {dir}: in use by process {pid} ({role}); stop it, or choose another directory with --store")]
    Busy {
        /// The directory.
        dir: PathBuf,
        /// The owner.
        pid: u32,
        /// What the owner is doing: `run`, `query`, …
        role: String,
    },
    /// Nothing to read there.
    #[error("store {0}: nothing there; write one first with `regimeflow demo`, `run` or `replay`, or give another --store")]
    Absent(PathBuf),
    /// The embedded engine is not installed and can't be.
    #[error(
        "the embedded ClickHouse engine (libchdb.so) is missing: {0}; run `npm ci` beside package.json, or set REGIMEFLOW_CHDB to \
         the library, or give a ClickHouse URL with --store (docker/ starts one)"
    )]
    EngineMissing(String),
    /// The embedded engine did not start, or died.
    #[error("the embedded ClickHouse engine in {dir} {what}; its log is {}", dir.join("engine.log").display())]
    Engine {
        /// The directory.
        dir: PathBuf,
        /// What happened.
        what: String,
    },
    /// A configured value makes no sense.
    #[error("{0}")]
    Config(String),
    /// The database is of another version than this program.
    #[error("{0}")]
    Schema(String),
    /// ClickHouse refused.
    #[error("clickhouse refused {what}: {message}")]
    Refused {
        /// What was tried.
        what: String,
        /// ClickHouse's code; 0: none was given.
        code: u32,
        /// ClickHouse's own words.
        message: String,
    },
    /// ClickHouse did not answer.
    #[error("clickhouse does not answer {what}: {message}; is it running, and is the URL right?")]
    Unavailable {
        /// What was tried.
        what: String,
        /// How it failed.
        message: String,
    },
    /// A row speaks of an instrument that nobody registered.
    #[error("table {table}: no name for instrument {instrument:016x}; this is a defect of regimeflow, please report it")]
    UnknownInstrument {
        /// Into which table.
        table: &'static str,
        /// Its id.
        instrument: u64,
    },
    /// The writer had stopped before, for this reason.
    #[error("the store's writer has stopped: {0}")]
    Stopped(String),
    /// Neither ClickHouse nor the disk took rows.
    #[error("{0}")]
    Spool(String),
    /// A file.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// What is to be done about an insert that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again: the network, a restart, load. Heals by itself.
    Retry,
    /// Nothing but a person mends it: access, tables that are missing or changed, a defect. Nothing is dropped meanwhile.
    Stop,
    /// Something in the rows: the others can be stored without it.
    Poison,
}

/// Codes of ClickHouse that time may heal: timeouts, load, quotas, memory, disk space, too many parts, a read-only or restarting replica.
const RETRYABLE: [u32; 20] = [159, 160, 201, 202, 203, 209, 210, 236, 241, 242, 243, 252, 279, 285, 319, 394, 425, 439, 745, 999];

/// Codes that speak of what is in the rows: text, numbers, dates and enums that can't be read, types and ranges that don't fit, a null
/// where none may be, a constraint of the table.
const POISON: [u32; 18] = [6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 395, 407, 469, 691];

impl StoreError {
    /// Sorts an error of the client.
    #[must_use]
    pub fn of(what: impl Into<String>, error: &clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        let what = what.into();
        match error {
            Error::Network(source) => Self::Unavailable { what, message: chain(source.as_ref()) },
            Error::TimedOut => Self::Unavailable { what, message: "timed out".into() },
            // An answer that was cut off, wherever that happened: in its header, in a row, in a compressed block, before its only row.
            Error::NotEnoughData
            | Error::InvalidColumnsHeader(_)
            | Error::Decompression(_)
            | Error::DataFormat(_)
            | Error::RowNotFound
            | Error::Other(_) => Self::Unavailable { what, message: format!("its answer ends too early: {}", chain(error)) },
            Error::BadResponse(text) => Self::refused(what, text),
            other => Self::Refused { what, code: 0, message: chain(other) },
        }
    }

    fn refused(what: String, text: &str) -> Self {
        let code = text.strip_prefix("Code: ").and_then(|t| t.split(['.', ' ']).next()).and_then(|t| t.parse().ok()).unwrap_or(0);
        let gateway = ["429 ", "502 ", "503 ", "504 "].iter().any(|status| text.starts_with(status));
        if gateway || text.trim().is_empty() {
            return Self::Unavailable { what, message: text.to_owned() };
        }
        Self::Refused { what, code, message: first_sentence(text) }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.class() == Class::Retry
    }

    /// What is to be done if an insert ends with this.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. } | Self::Busy { .. } | Self::Spool(_) => Class::Retry,
            // 252 has two causes: too many parts (wait for the merges), and too many partitions in one insert (fewer rows have fewer).
            Self::Refused { code: 252, message, .. } if message.contains("partitions for single INSERT") => Class::Poison,
            Self::Refused { code, .. } if RETRYABLE.contains(code) => Class::Retry,
            Self::Refused { code, .. } if POISON.contains(code) => Class::Poison,
            _ => Class::Stop,
        }
    }

    /// What a person can do about it, in a run that goes on meanwhile.
    #[must_use]
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Refused { code: 192..=194 | 516, .. } => {
                "check store.user and store.password_file, or the user in ClickHouse; a new password in the file needs a restart"
            }
            Self::Refused { code: 60 | 81, .. } => {
                "make the database and its tables again (`regimeflow migrate`, or restore a backup)"
            }
            Self::Refused { code: 164 | 291 | 497, .. } => {
                "give the user INSERT and SELECT rights, and a profile that is not readonly"
            }
            Self::Schema(_) => "bring the table's columns back to what schemas/clickhouse says",
            Self::Refused { .. } => "see ClickHouse's own log; rows wait until it takes them",
            _ => "see that ClickHouse runs and can be reached",
        }
    }

    /// The exit code of sysexits.h that a command ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Busy { .. } => 75,
            Self::Absent(_) | Self::EngineMissing(_) | Self::Engine { .. } | Self::Unavailable { .. } | Self::Stopped(_) => 69,
            Self::Config(_) | Self::Schema(_) => 78,
            Self::Refused { code: 516 | 194, .. } => 78,
            Self::Refused { .. } => 65,
            Self::UnknownInstrument { .. } => 70,
            Self::Io { .. } | Self::Spool(_) => 74,
        }
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// ClickHouse's message without the advice about its cloud, the stack and the version, in one line of at most 2,000 characters.
fn first_sentence(text: &str) -> String {
    let text = text.split("\n\nIf you use ClickHouse Cloud").next().unwrap_or(text);
    let text = text.split("Stack trace:").next().unwrap_or(text);
    let text = text.split(" (version ").next().unwrap_or(text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("DB::Exception: ", "");
    line.chars().take(2_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: u32, class: Class) {
        let error = StoreError::refused("an insert".into(), text);
        assert_eq!(error.class(), class, "{text}");
        if let StoreError::Refused { code: found, .. } = error {
            assert_eq!(found, code, "{text}");
        }
    }

    #[test]
    fn errors_are_sorted_by_code() {
        use Class::{Poison, Retry, Stop};
        check("Code: 252. DB::Exception: Too many parts (3000). Merges are slower than inserts. (TOO_MANY_PARTS)", 252, Retry);
        check("Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100).", 252, Poison);
        check("Code: 241. DB::Exception: Memory limit (total) exceeded (MEMORY_LIMIT_EXCEEDED)", 241, Retry);
        check("Code: 242. DB::Exception: Table is in readonly mode (TABLE_IS_READ_ONLY)", 242, Retry);
        check("Code: 516. DB::Exception: default: Authentication failed", 516, Stop);
        check("Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)", 164, Stop);
        check("Code: 60. DB::Exception: Table regimeflow.nothing does not exist. (UNKNOWN_TABLE)", 60, Stop);
        check("Code: 81. DB::Exception: Database regimeflow does not exist. (UNKNOWN_DATABASE)", 81, Stop);
        check("Code: 16. DB::Exception: No such column x in table (NO_SUCH_COLUMN_IN_TABLE)", 16, Stop);
        check("Code: 27. DB::Exception: Cannot parse input: expected (CANNOT_PARSE_INPUT_ASSERTION_FAILED)", 27, Poison);
        check("Code: 53. DB::Exception: Type mismatch (TYPE_MISMATCH)", 53, Poison);
        check("Code: 349. DB::Exception: Cannot insert NULL (CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN)", 349, Poison);
        check("Code: 469. DB::Exception: Constraint c is violated (VIOLATED_CONSTRAINT)", 469, Poison);
        check("503 Service Unavailable", 0, Retry);
        check("", 0, Retry);
        check("something else", 0, Stop);
    }

    #[test]
    fn an_answer_that_was_cut_off_may_be_asked_for_again() {
        use clickhouse::error::Error;
        for error in [Error::NotEnoughData, Error::RowNotFound, Error::TimedOut, Error::Decompression("short".into())] {
            assert_eq!(StoreError::of("a query", &error).class(), Class::Retry, "{error}");
        }
        assert_eq!(StoreError::of("a query", &Error::SchemaMismatch("x".into())).class(), Class::Stop);
    }

    #[test]
    fn messages_are_one_line() {
        let long = "Code: 516. DB::Exception: default: Authentication failed\n\nIf you use ClickHouse Cloud, the password …";
        assert_eq!(first_sentence(long), "Code: 516. default: Authentication failed");
    }
}
