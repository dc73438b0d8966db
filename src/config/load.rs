//! From a file to a [`Config`], or to all that is wrong with it.

use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{self, Places};
use super::{Config, ConfigErrors, Problem, rules, schema};

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks a TOML file. Warnings are logged.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let (config, warnings) = read(path)?;
        for warning in warnings {
            tracing::warn!(%warning, "the configuration may not do what was meant");
        }
        Ok(config)
    }
}

/// Reads and checks a TOML file: the configuration and its warnings.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn read(path: &Path) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    let text = text(path, "the configuration", "`config show` prints the defaults to begin with")?;
    parse(&text, &path.display().to_string())
}

/// A file's text, if it is one.
///
/// # Errors
/// If it can't be read, is longer than a megabyte or not UTF-8.
pub fn text(path: &Path, what: &str, hint: &str) -> Result<String, ConfigErrors> {
    let failed = |message: String, hint: &str| {
        let (file, key, hint) = (path.display().to_string(), String::new(), hint.to_owned());
        ConfigErrors { problems: vec![Problem { file, line: 0, column: 0, key, message, hint, warning: false }] }
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|e| failed(format!("read {what}: {e}"), hint))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("read {what}: more than {FILE_BYTES_MAX} bytes"), "is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        failed(format!("read {what}: line {line} is not UTF-8 (byte {at})"), "save it as UTF-8")
    })
}

/// Checks the text of a TOML file; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn parse(text: &str, file: &str) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    parse_as(text, file, &schema::config(), rules::check)
}

/// Checks a text against the schema of what it is to be, then against the rules between its keys.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn parse_as<T: DeserializeOwned>(
    text: &str,
    file: &str,
    schema: &Value,
    rules: impl FnOnce(&T, &mut Places),
) -> Result<(T, Vec<Problem>), ConfigErrors> {
    let mut places = Places::new(text, file);
    let usable = document::check(text, schema, &mut places);
    let config = usable.and_then(|value| match serde_json::from_value::<T>(value) {
        Ok(config) => Some(config),
        // A required key is missing from what is usable; it has been reported. If nothing was, this is the report.
        Err(e) => {
            if places.problems.is_empty() {
                places.error("", format!("read the file: {e}"), "mend that value");
            }
            None
        }
    });
    if let Some(config) = &config {
        rules(config, &mut places);
    }
    let mut problems = places.problems;
    problems.sort();
    problems.dedup();
    match config {
        Some(config) if problems.iter().all(|p| p.warning) => Ok((config, problems)),
        _ => Err(ConfigErrors { problems }),
    }
}
