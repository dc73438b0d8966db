//! `regimeflow config`: check a file, show what it amounts to, print its schema.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::{EX_CONFIG, print};
use crate::config::{Config, ConfigErrors, Problem, load, redact, schema};

/// Check, show and describe the configuration.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Report everything that is wrong with a configuration file
    Check {
        /// The file (TOML)
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration with all defaults filled in and secrets left out
    Show {
        /// The file (TOML); without it, the defaults
        file: Option<PathBuf>,
        /// As JSON instead of TOML
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration file
    Schema,
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// If stdout can't be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check { file, json } => check(&file, json),
            Self::Show { file, json } => show(file.as_deref(), json),
            Self::Schema => print(&schema::text()).map(|()| ExitCode::SUCCESS),
        }
    }
}

fn check(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (ok, problems) = match load::read(file) {
        Ok((_, warnings)) => (true, warnings),
        Err(ConfigErrors { problems }) => (false, problems),
    };
    if json {
        let problems: Vec<_> = problems.iter().map(to_json).collect();
        print(&format!("{:#}\n", serde_json::json!({ "ok": ok, "problems": problems })))?;
    } else {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        let errors = problems.iter().filter(|p| !p.warning).count();
        let warnings = problems.len() - errors;
        let verdict = if ok { "ok".to_owned() } else { plural(errors, "error") };
        let warned = if warnings > 0 { format!(", {}", plural(warnings, "warning")) } else { String::new() };
        print(&format!("{}: {verdict}{warned}\n", file.display()))?;
    }
    Ok(ExitCode::from(if ok { 0 } else { EX_CONFIG }))
}

fn show(file: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let config = match file.map(load::read) {
        None => Config::default(),
        Some(Ok((config, warnings))) => {
            warnings.iter().for_each(|warning| eprintln!("{warning}"));
            config
        }
        Some(Err(errors)) => {
            eprintln!("{errors}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    let shown = redact::redacted(&config);
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&shown).context("write the configuration as JSON")?)
    } else {
        toml::to_string(&shown).context("write the configuration as TOML")?
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn to_json(problem: &Problem) -> serde_json::Value {
    let Problem { file, line, column, key, message, hint, warning } = problem;
    let level = if *warning { "warning" } else { "error" };
    serde_json::json!({
        "level": level, "file": file, "line": line, "column": column, "key": key, "message": message, "hint": hint
    })
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
