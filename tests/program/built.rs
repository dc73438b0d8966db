//! The program that cargo built for this test, in short words. What must not fail ends the test.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Program;

impl Program {
    pub fn built() -> Self {
        Self { path: env!("CARGO_BIN_EXE_regimeflow").into() }
    }
}

pub fn regimeflow(args: &[&str]) -> Command {
    Program::built().command(args)
}

/// Runs a command that must succeed: its stdout.
pub fn ok(args: &[&str]) -> String {
    Program::built().output(args).unwrap()
}

/// The same with `--json`: what it says.
pub fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(&[args, &["--json"]].concat())).unwrap()
}

pub fn answer(store: &Path, sql: &str) -> String {
    Program::built().answer(store, sql).unwrap()
}

/// It ends with this exit code, and says each of `parts` on stderr.
pub fn check_ends(command: &mut Command, code: i32, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{command:?}: {part:?} not in {said}");
    }
    assert!(!said.contains("panicked"), "{command:?}: {said}");
}
