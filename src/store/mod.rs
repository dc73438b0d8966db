//! The store: every view's changes in ClickHouse, embedded or by URL, one code path.
//!
//! Read in this order: [`views`] (what is kept), [`Store`] (how it is opened), [`Writer`] (how changes get in), [`dump`] (how the
//! answer is compared). [`embedded`], [`install`] and `engine` are the engine that comes along; [`migrate`] makes the tables.
//!
//! What the writer acknowledged survives kill -9 of everything. A batch that was sent twice is seen once.

pub mod bench;
pub mod dump;
pub mod edge;
pub mod embedded;
mod engine;
mod error;
pub mod install;
pub mod migrate;
pub(crate) mod rows;
pub mod views;
mod writer;

use std::path::Path;
use std::sync::Arc;

use dataflows::model::Instruments;

pub use engine::{BINARY_ENV, Mode, start_engine_with};
pub use error::StoreError;
pub use writer::{Quantum, Writer, WriterOptions};

use crate::config;
use engine::Engine;

/// An open store: a ClickHouse database, and the embedded engine behind it if there is one.
#[derive(Debug)]
pub struct Store {
    client: clickhouse::Client,
    url: String,
    database: String,
    engine: Option<Engine>,
}

impl Store {
    /// Opens the store that the configuration names. [`Mode::Write`] makes what is missing, [`Mode::Read`] changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; `is_retryable()` tells whether waiting can help, `exit_code()` how a command should end.
    pub async fn open(config: &config::Store, mode: Mode) -> Result<Self, StoreError> {
        let store = Self::connect(config, mode).await?;
        match mode {
            Mode::Write(_) => {
                migrate::apply(&store.client, &store.database).await?;
            }
            Mode::Read(_) => store.must_exist(config).await?,
        }
        Ok(store)
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
        Ok(Self { client, url, database: config.database.clone(), engine })
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

    /// The embedded engine's process, if this store started it.
    #[must_use]
    pub fn engine_pid(&self) -> Option<u32> {
        self.engine.as_ref().and_then(Engine::child_pid)
    }

    /// Starts a writer. Its rows' instruments are named by `instruments`.
    #[must_use]
    pub fn writer(&self, instruments: Arc<Instruments>, options: WriterOptions) -> Writer {
        Writer::start(self.client.clone(), instruments, options)
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
