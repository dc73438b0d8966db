//! The real engine, ClickHouse in a process of its own: is it here, a store that it serves, questions.
//!
//! It is installed by the same code that `regimeflow demo` uses; where it can't be had, the tests say so and pass.

#![allow(dead_code)] // cargo builds this into each test, and none uses all of it

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataflows::model::{InstrumentId, Instruments, Venue};
use regimeflow::config;
use regimeflow::store::{Mode, Store, install, start_engine_with};

static ENGINE: Mutex<()> = Mutex::new(());

/// `false`, after saying why, where there is no engine.
pub fn is_here() -> bool {
    start_engine_with(env!("CARGO_BIN_EXE_regimeflow"));
    install::library().inspect_err(|error| eprintln!("skipped: {error}")).is_ok()
}

/// Leave for a test to have programs start engines, one test at a time: each takes a few hundred megabytes. `None` as in [`is_here`].
pub fn alone() -> Option<MutexGuard<'static, ()>> {
    is_here().then(|| ENGINE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A store in a new directory, which goes with the first of the pair. `None` as in [`is_here`].
pub async fn start() -> Option<(tempfile::TempDir, Store)> {
    if !is_here() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    Some((dir, store))
}

pub fn embedded(dir: &Path) -> config::Store {
    config::Store { location: dir.to_string_lossy().into_owned(), ..config::Store::default() }
}

pub async fn open(dir: &Path) -> Store {
    Store::open(&embedded(dir), Mode::Write("test")).await.unwrap()
}

/// The answer, a row a line, cells apart by tabs.
pub async fn query(store: &Store, sql: &str) -> String {
    let mut cursor = store.client().query_raw(sql).fetch_bytes("TabSeparated").unwrap();
    String::from_utf8(cursor.collect().await.unwrap().to_vec()).unwrap().trim_end().to_owned()
}

pub async fn check(store: &Store, sql: &str, expected: &str) {
    assert_eq!(query(store, sql).await, expected, "{sql}");
}

/// Somebody to write rows about.
pub fn bitcoin() -> (Arc<Instruments>, InstrumentId) {
    let instruments = Arc::new(Instruments::default());
    let id = instruments.intern(Venue::BinanceUsdm, "BTC-USDT-PERP").unwrap();
    (instruments, id)
}
