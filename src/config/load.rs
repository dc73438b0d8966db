//! From a file to a [`Config`], or to all that is wrong with it.

use std::io::Read as _;
use std::path::Path;

use super::document::{self, Places};
use super::{Config, ConfigErrors, Problem, rules};

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
    let file = path.display().to_string();
    let failed = |message: String, hint: &str| {
        let (file, key, hint) = (file.clone(), String::new(), hint.to_owned());
        ConfigErrors { problems: vec![Problem { file, line: 0, column: 0, key, message, hint, warning: false }] }
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|e| failed(format!("read the configuration: {e}"), "`config show` prints the defaults to begin with"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("read the configuration: more than {FILE_BYTES_MAX} bytes"), "is it the right file?"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        failed(format!("read the configuration: line {line} is not UTF-8 (byte {at})"), "save it as UTF-8")
    })?;
    parse(&text, &file)
}

/// Checks the text of a TOML file; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn parse(text: &str, file: &str) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    let mut places = Places::new(text, file);
    let usable = document::check(text, &mut places);
    let config = usable.and_then(|value| match serde_json::from_value::<Config>(value) {
        Ok(config) => Some(config),
        // A required key is missing from what is usable; it has been reported. If nothing was, this is the report.
        Err(e) => {
            if places.problems.is_empty() {
                places.error("", format!("read the configuration: {e}"), "please report it: the schema should have said so");
            }
            None
        }
    });
    if let Some(config) = &config {
        rules::check(config, &mut places);
    }
    let mut problems = places.problems;
    problems.sort();
    problems.dedup();
    match config {
        Some(config) if problems.iter().all(|p| p.warning) => Ok((config, problems)),
        _ => Err(ConfigErrors { problems }),
    }
}
