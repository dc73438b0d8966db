//! Reference data, where it is present, and comparisons.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part; a broken reference file should fail loudly")]

use ndarray::{Array1, Array2, Array3};
use serde_json::Value;
use std::path::PathBuf;

/// `reference/` of the shared data, or `None` (and a note) where there is none.
pub fn reference(file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("REGIMEFLOW_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let path = root.join("reference").join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no reference/{file} (set REGIMEFLOW_DATA)");
    None
}

pub fn json(path: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Columns of numbers under one header line.
pub fn csv(path: PathBuf) -> Array2<f64> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|line| line.split(',').map(|v| v.trim().parse().unwrap()).collect()).collect();
    let width = rows[0].len();
    Array2::from_shape_vec((rows.len(), width), rows.concat()).unwrap()
}

/// Daily log returns of the Nasdaq-100.
pub fn nasdaq() -> Option<Array2<f64>> {
    let text = std::fs::read_to_string(reference("NDX.csv")?).unwrap();
    let returns: Vec<f64> = text.lines().skip(1).filter_map(|l| l.split(',').nth(2)?.trim().parse().ok()).collect();
    Some(Array2::from_shape_vec((returns.len(), 1), returns).unwrap())
}

/// A number, or a number in quotes.
pub fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| v.as_str().unwrap().parse().unwrap())
}

pub fn vector(v: &Value) -> Array1<f64> {
    v.as_array().unwrap().iter().map(number).collect()
}

pub fn matrix(v: &Value) -> Array2<f64> {
    let rows: Vec<Array1<f64>> = v.as_array().unwrap().iter().map(vector).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

pub fn tensor(v: &Value) -> Array3<f64> {
    let parts: Vec<Array2<f64>> = v.as_array().unwrap().iter().map(matrix).collect();
    Array3::from_shape_fn((parts.len(), parts[0].nrows(), parts[0].ncols()), |(k, i, j)| parts[k][[i, j]])
}

/// Equal within `tolerance` relative to max(1, size).
pub fn check_close(what: &str, got: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>, tolerance: f64) {
    let (got, expected): (Vec<f64>, Vec<f64>) = (got.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    for (n, (g, e)) in got.iter().zip(&expected).enumerate() {
        assert!((g - e).abs() <= tolerance * e.abs().max(1.0), "{what}[{n}]: {g} against {e}");
    }
}
