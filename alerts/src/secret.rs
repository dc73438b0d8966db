//! A text that must not be seen: a receiver's URL, a bot's token, a password.
//!
//! It has no `Display` and no `Serialize`, its `Debug` prints `<secret>`; [`SecretText::expose`] is the one way to its text,
//! so that a search for `expose` finds every place that could leak it. That it is wiped from memory is not promised.

use std::fmt;
use std::path::Path;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4_096;

/// A text that can't be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Why a secret can't be had. No variant holds it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SecretTextError {
    #[error("read a secret from {path}: {source}; check the path and its permissions")]
    File { path: String, source: std::io::Error },
    #[error("read a secret from {path}: more than {FILE_BYTES_MAX} bytes; the file holds one secret and nothing else")]
    FileTooLong { path: String },
    #[error("read a secret from {path}: it is empty; write the secret into it")]
    FileEmpty { path: String },
    #[error("read a secret from the environment variable {name}: it is not set, empty or not UTF-8; set it or name a file")]
    Unset { name: String },
    #[error("read a secret: it is empty; write it, or name a file or an environment variable")]
    Empty,
}

impl SecretText {
    /// From the configuration itself. Space around it is dropped; it must not be empty.
    pub fn literal(text: &str) -> Result<Self, SecretTextError> {
        let text = text.trim();
        if text.is_empty() { Err(SecretTextError::Empty) } else { Ok(Self(text.to_owned())) }
    }

    /// From a file that holds one secret, at most 4 KiB.
    pub fn from_file(path: &Path) -> Result<Self, SecretTextError> {
        use std::io::Read as _;
        let name = || path.display().to_string();
        let failed = |source| SecretTextError::File { path: name(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(SecretTextError::FileTooLong { path: name() });
        }
        Self::literal(&text).map_err(|_| SecretTextError::FileEmpty { path: name() })
    }

    /// From an environment variable.
    pub fn from_env(name: &str) -> Result<Self, SecretTextError> {
        let unset = || SecretTextError::Unset { name: name.to_owned() };
        Self::literal(&std::env::var(name).map_err(|_| unset())?).map_err(|_| unset())
    }

    /// The text itself. Never log it, never put it into an error.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_never_printed() {
        let secret = SecretText::literal(" canary\n").unwrap();
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "<secret> Some(\n    <secret>,\n)");
        assert_eq!(secret.expose(), "canary");
    }

    #[test]
    fn it_comes_from_a_file_or_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            SecretText::from_file(&path).map_err(|e| e.to_string())
        };
        assert_eq!(read("https://example.com/canary\n").unwrap().expose(), "https://example.com/canary");
        let told = |content: &str, message: &str| {
            let error = read(content).unwrap_err();
            assert!(error.contains(message) && !error.contains("canary"), "{error}");
        };
        told(&"canary".repeat(1_000), "more than 4096 bytes");
        told(" \n", "it is empty");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(SecretText::from_file(&path), Err(SecretTextError::File { .. })));
        assert!(matches!(SecretText::from_file(&dir.path().join("absent")), Err(SecretTextError::File { .. })));
        assert!(matches!(SecretText::from_env("REGIMEFLOW_NO_SUCH_SECRET"), Err(SecretTextError::Unset { .. })));
        assert!(SecretText::from_env("PATH").is_ok());
    }
}
