//! The house rules that a machine can check.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// No line of `dir` holds any of `words`; tests beside the code may.
fn check_absent(dir: &str, words: &[&str], except: &[&str]) {
    for (path, text) in sources(dir) {
        let name = path.file_name().unwrap().to_string_lossy();
        if name.ends_with("tests.rs") || except.iter().any(|file| path.ends_with(file)) {
            continue;
        }
        for (number, line) in text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]")) {
            let code = line.split("//").next().unwrap();
            let found = words.iter().find(|word| code.contains(**word));
            assert!(found.is_none(), "{}:{}: {} has no place here: {line}", path.display(), number + 1, found.unwrap());
        }
    }
}

#[test]
fn the_maths_has_no_clock_and_no_socket() {
    let banned = ["tokio", "SystemTime", "Instant::now", "Utc::now", "std::net", "reqwest", "std::thread::sleep"];
    check_absent("dataflows/src", &banned, &[]);
    check_absent("hmm/src", &banned, &[]);
    for manifest in ["dataflows/Cargo.toml", "hmm/Cargo.toml"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest)).unwrap();
        for dependency in ["tokio", "reqwest", "chrono", "axum"] {
            assert!(!text.lines().any(|line| line.starts_with(dependency)), "{manifest} depends on {dependency}");
        }
    }
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    check_absent("src", &["SystemTime::now", "Utc::now", "Local::now"], &["src/clock.rs"]);
}

#[test]
fn the_hot_path_has_no_generic_json_values() {
    check_absent("src/feeds", &["serde_json::Value", "OwnedValue"], &[]);
    check_absent("dataflows/src", &["serde_json"], &[]);
}

#[test]
fn only_the_command_line_prints() {
    let exceptions = ["src/main.rs"];
    for dir in ["src/engine", "src/feeds", "src/frames", "src/store", "src/simulate", "src/config", "dataflows/src", "alerts/src"]
    {
        check_absent(dir, &["println!(", "eprintln!(", "print!("], &exceptions);
    }
}

#[test]
fn every_crash_point_is_listed_and_passed_somewhere() {
    let mut passed: Vec<String> = Vec::new();
    for (_, text) in sources("src") {
        passed.extend(text.split("crash::point(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    passed.sort_unstable();
    let mut listed = regimeflow::crash::POINTS.map(str::to_owned).to_vec();
    listed.sort_unstable();
    assert_eq!(passed, listed);
}
