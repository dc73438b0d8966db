//! The store: every view's changes in ClickHouse, embedded or by URL, one code path.
//!
//! Read in this order: [`views`] (what is kept), [`Store`] (how it is opened), [`Writer`] (how changes get in), [`dump`] (how the
//! answer is compared). [`embedded`], [`install`], `engine` and `supervisor` are the engine that comes along; [`migrate`] makes the tables.
//!
//! How rows get in: `waiting` (by table) → `row_binary` (bytes, once) → `collector` (direct, or by way of the spool) → `insert` (one insert, and
//! what is done about poison) with `dead_letters`; `batch` → `spool` → `drain` while ClickHouse is away; `marks` (what may be forgotten).
//!
//! What the writer acknowledged survives kill -9 of everything. A batch that was sent twice is seen once.

mod batch;
pub mod bench;
mod collector;
mod dead_letters;
mod drain;
pub mod dump;
pub mod edge;
pub mod embedded;
mod engine;
mod error;
mod insert;
pub mod install;
mod marks;
pub mod migrate;
mod row_binary;
pub(crate) mod rows;
mod spool;
mod supervisor;
pub mod views;
mod waiting;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::model::Instruments;

pub use engine::{BINARY_ENV, Mode, start_engine_with};
pub use error::{Class, StoreError};
pub use spool::SpoolHealth;
pub use writer::{Quantum, Writer, WriterOptions};

use crate::config;
use engine::Engine;
use insert::Target;
use spool::Spool;

/// A ClickHouse that doesn't answer in this time is away.
const ANSWER_AT_START_MAX: Duration = Duration::from_secs(10);
/// Another process may take so long to make the tables.
const TABLES_MAX: Duration = Duration::from_secs(60);
/// How often is looked for them.
const LOOK: Duration = Duration::from_millis(200);

/// An open store: a ClickHouse database, and the embedded engine behind it if there is one.
#[derive(Debug)]
pub struct Store {
    client: clickhouse::Client,
    url: String,
    database: String,
    engine: Option<Engine>,
    /// The database has its tables; otherwise a writer makes them once ClickHouse answers.
    migrated: bool,
    spool_dir: PathBuf,
    spool_bytes_max: u64,
}

impl Store {
    /// Opens the store that the configuration names. [`Mode::Write`] makes what is missing, [`Mode::Read`] changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; `is_retryable()` tells whether waiting can help, `exit_code()` how a command should end.
    pub async fn open(config: &config::Store, mode: Mode) -> Result<Self, StoreError> {
        let mut store = Self::connect(config, mode).await?;
        match mode {
            Mode::Write(_) => {
                migrate::apply(&store.client, &store.database).await?;
                store.migrated = true;
            }
            Mode::Read(_) => store.must_exist(config).await?,
        }
        Ok(store)
    }

    /// As [`Self::open`] for writing, but a ClickHouse that doesn't answer is no error: a writer that spools takes rows meanwhile, and makes the
    /// tables once there is an answer. For a program that is to come up on its own, whatever comes up first.
    ///
    /// # Errors
    /// As [`Self::open`], where waiting doesn't help.
    pub async fn open_even_if_away(config: &config::Store, role: &'static str) -> Result<Self, StoreError> {
        let mut store = Self::connect(config, Mode::Write(role)).await?;
        let applied = tokio::time::timeout(ANSWER_AT_START_MAX, migrate::apply(&store.client, &store.database)).await;
        let late = || StoreError::Unavailable { what: "making the tables".into(), message: "no answer in time".into() };
        match applied.unwrap_or_else(|_| Err(late())) {
            Ok(_) => store.migrated = true,
            Err(error) if error.is_retryable() && store.engine.is_none() => {
                tracing::warn!(%error, spool = %store.spool_dir.display(), "ClickHouse is away at the start: rows go to the spool until it answers");
            }
            Err(error) => return Err(error),
        }
        Ok(store)
    }

    /// As [`Self::open`] for writing, but on a server another process makes the tables: waits until they are there. `even_without`: goes on
    /// if they don't come, as [`Self::open_even_if_away`] does.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_beside(config: &config::Store, role: &'static str, even_without: bool) -> Result<Self, StoreError> {
        let mut store = Self::connect(config, Mode::Write(role)).await?;
        if store.engine.is_some() {
            migrate::apply(&store.client, &store.database).await?;
            store.migrated = true;
            return Ok(store);
        }
        let until = Instant::now() + TABLES_MAX;
        loop {
            let why = match migrate::pending(&store.client, &store.database).await {
                Ok(pending) if pending.is_empty() => {
                    store.migrated = true;
                    return Ok(store);
                }
                Ok(pending) => format!("{} migrations are missing; the first process of --hosts makes them", pending.len()),
                Err(error) if error.is_retryable() => error.to_string(),
                Err(error) => return Err(error),
            };
            if Instant::now() >= until {
                let what = format!("waiting for the tables of {}", store.database);
                let error = StoreError::Unavailable { what, message: why };
                if !even_without {
                    return Err(error);
                }
                tracing::warn!(%error, spool = %store.spool_dir.display(), "rows go to the spool until ClickHouse has its tables");
                return Ok(store);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// As [`Self::open`], but leaves the database as it is.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn connect(config: &config::Store, mode: Mode) -> Result<Self, StoreError> {
        let location = config.location.as_str();
        let is_url = location.starts_with("http://") || location.starts_with("https://");
        let (engine, client) = if is_url {
            (None, server(config)?)
        } else if location.is_empty() || location == "none" {
            return Err(StoreError::Config(format!("store.location is {location:?}: give a directory or a ClickHouse URL")));
        } else if location.contains("://") {
            return Err(StoreError::Config(format!(
                "store {location}: only http:// and https:// are spoken; give a directory or such a URL"
            )));
        } else {
            let engine = Engine::open(Path::new(location), mode).await?;
            let client = clickhouse::Client::default().with_url(engine.url());
            (Some(engine), client)
        };
        let url = engine.as_ref().map_or_else(|| location.to_owned(), Engine::url);
        let client = client.with_database(&config.database);
        let database = config.database.clone();
        let (spool_dir, spool_bytes_max) = (config.spool_dir(), config.spool_bytes_max);
        Ok(Self { client, url, database, engine, migrated: false, spool_dir, spool_bytes_max })
    }

    async fn must_exist(&self, config: &config::Store) -> Result<(), StoreError> {
        let query = self.client.clone().with_database("default");
        let query = query.query("SELECT count() FROM system.databases WHERE name = ?").bind(&self.database);
        let found =
            query.fetch_one::<u64>().await.map_err(|e| StoreError::of(format!("looking for database {}", self.database), &e))?;
        if found == 0 { Err(StoreError::Absent((&config.location).into())) } else { Ok(()) }
    }

    /// A ClickHouse client whose database is the store's.
    #[must_use]
    pub fn client(&self) -> &clickhouse::Client {
        &self.client
    }

    /// Where ClickHouse's HTTP interface is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The embedded engine's process, if this store started it. Another one after the engine died and was started again; `None` in between.
    #[must_use]
    pub fn engine_pid(&self) -> Option<u32> {
        self.engine.as_ref().and_then(Engine::child_pid)
    }

    /// Where rows go while ClickHouse takes none, and where dead letters are.
    #[must_use]
    pub fn spool_dir(&self) -> &Path {
        &self.spool_dir
    }

    /// Starts a writer. Its rows' instruments are named by `instruments`. If it spools, what an earlier run left in the spool is
    /// stored, too, beside the new rows.
    #[must_use]
    pub fn writer(&self, instruments: Arc<Instruments>, options: WriterOptions) -> Writer {
        let target = Target::new(self.client.clone(), self.database.clone(), self.migrated, &self.spool_dir);
        let spool = options.spool.then(|| Spool::new(Arc::new(journal::RealDisk), &self.spool_dir, self.spool_bytes_max));
        Writer::start(target, spool, instruments, options)
    }

    /// Ends the embedded engine in order, if this store started it. Flush and drop its writers first: the engine waits a while
    /// for connections that stay open.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the engine can't be ended.
    pub async fn close(self) -> Result<(), StoreError> {
        drop(self.client); // its idle connections too
        match self.engine {
            Some(engine) => engine.close().await,
            None => Ok(()),
        }
    }
}

fn server(config: &config::Store) -> Result<clickhouse::Client, StoreError> {
    let mut client = clickhouse::Client::default().with_url(&config.location);
    if let Some(user) = &config.user {
        client = client.with_user(user);
    }
    if let Some(path) = &config.password_file {
        let password = std::fs::read_to_string(path).map_err(StoreError::io("can't read store.password_file", path))?;
        client = client.with_password(password.trim_end_matches(['\r', '\n']));
    }
    Ok(client)
}
