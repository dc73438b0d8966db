//! One insert: a batch of bytes into its table, whole, or without the rows that ClickHouse refuses.
//!
//! Before a table's first insert (and after a failed one) its columns are asked for and compared with the batch's, and every insert
//! declares names and types (RowBinaryWithNamesAndTypes): a table that was changed is an error that names the column, not nonsense in it.
//!
//! A batch that is refused for what is in it is halved until the bad rows are found: 2 log₂(rows) inserts for each. Halves overlap with what
//! was stored before, which is harmless: equal rows are one row. More than [`POISON_ROWS_MAX`] bad rows in a batch are no longer the rows' fault.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Row;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::batch::Batch;
use super::dead_letters::DeadLetters;
use super::error::Class;
use super::migrate::quote_name;
use super::row_binary::{header, row_ends};
use super::{StoreError, migrate};
use crate::crash;

/// So many rows of one batch may end as dead letters; where there are more, a person must look, and nothing is dropped.
pub const POISON_ROWS_MAX: usize = 32;

const SEND_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Sent at a time, compressed by itself.
const PIECE_BYTES: usize = 256 << 10;

/// Where inserts go.
pub(crate) struct Target {
    client: clickhouse::Client,
    database: String,
    /// The database has its tables, as far as we know.
    migrated: Mutex<bool>,
    tables: Mutex<HashMap<String, Arc<[TableColumn]>>>,
    pub dead_letters: DeadLetters,
}

#[derive(Debug, Row, Deserialize)]
struct TableColumn {
    name: String,
    #[serde(rename = "type")]
    column_type: String,
}

impl Target {
    pub fn new(client: clickhouse::Client, database: String, migrated: bool, spool_dir: &Path) -> Self {
        let client = client
            .with_setting("async_insert", "0")
            .with_setting("optimize_on_insert", "0") // equal rows are summed here already
            .with_setting("max_insert_block_size", "4194304") // a batch stays one block
            .with_setting("max_partitions_per_insert_block", "4800"); // months from 1900 to 2299, so no history is refused
        let (migrated, dead_letters) = (Mutex::new(migrated), DeadLetters::in_dir(spool_dir));
        Self { client, database, migrated, tables: Mutex::default(), dead_letters }
    }

    /// Stores a batch. Rows that ClickHouse refuses whatever is done are dead letters when this returns.
    pub async fn store(self: &Arc<Self>, batch: &Arc<Batch>) -> Result<(), StoreError> {
        match self.attempt(batch, 0..batch.bytes.len(), batch.rows).await {
            Err(error) if error.class() == Class::Poison => self.store_without_poison(batch, error).await,
            outcome => outcome,
        }
    }

    async fn store_without_poison(self: &Arc<Self>, batch: &Arc<Batch>, error: StoreError) -> Result<(), StoreError> {
        let Some(ends) = row_ends(&batch.columns, &batch.bytes, batch.rows) else { return Err(error) };
        let start = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
        let (mut bad, mut parts) = (Vec::new(), vec![(0, ends.len(), error)]);
        while let Some((from, to, error)) = parts.pop() {
            if to - from == 1 {
                bad.push((start(from)..ends[from], error.to_string()));
                if bad.len() > POISON_ROWS_MAX {
                    return Err(StoreError::Schema(format!(
                        "table {}: more than {POISON_ROWS_MAX} of {} rows are refused, so it is hardly the rows' fault: {error}",
                        batch.table, batch.rows
                    )));
                }
                continue;
            }
            let middle = from + (to - from) / 2;
            for (from, to) in [(from, middle), (middle, to)] {
                match self.attempt(batch, start(from)..ends[to - 1], (to - from) as u32).await {
                    Ok(()) => {}
                    Err(error) if error.class() == Class::Poison => parts.push((from, to, error)),
                    Err(error) => return Err(error),
                }
            }
        }
        if bad.is_empty() {
            return Ok(()); // too many partitions, say: the parts have fewer
        }
        let (target, batch) = (Arc::clone(self), Arc::clone(batch));
        let written = tokio::task::spawn_blocking(move || target.dead_letters.write(&batch, &bad)).await;
        written.unwrap_or_else(|e| Err(StoreError::Spool(format!("dead letters can't be written: {e}"))))
    }

    async fn attempt(&self, batch: &Batch, range: std::ops::Range<usize>, rows: u32) -> Result<(), StoreError> {
        let outcome = self.send(batch, range, rows).await;
        if let Err(error) = &outcome {
            self.tables.lock().await.remove(&*batch.table); // it may have been changed
            if matches!(error, StoreError::Refused { code: 60 | 81, .. }) {
                *self.migrated.lock().await = false; // an empty ClickHouse in the place of ours gets its tables before the next attempt
            }
        }
        outcome
    }

    async fn send(&self, batch: &Batch, range: std::ops::Range<usize>, rows: u32) -> Result<(), StoreError> {
        let prepared = timeout(ANSWER_MAX, async {
            self.migrate().await?;
            self.table(&batch.table).await
        });
        let late = || StoreError::Unavailable { what: format!("the columns of {}", batch.table), message: "timed out".into() };
        let table = prepared.await.unwrap_or_else(|_| Err(late()))?;
        let types = batch.columns.iter().map(|column| {
            let found = table.iter().find(|of_table| of_table.name == column.name);
            match found {
                Some(of_table) if column.kind.fits(&of_table.column_type) => Ok((&*column.name, &*of_table.column_type)),
                Some(of_table) => Err(format!("{} is {}, rows have {:?}", column.name, of_table.column_type, column.kind)),
                None => Err(format!("{} is missing", column.name)),
            }
        });
        let types = types.collect::<Result<Vec<_>, _>>().map_err(|what| {
            StoreError::Schema(format!("table {}.{} is not as this program made it: column {what}", self.database, batch.table))
        })?;
        let names = batch.columns.iter().map(|column| quote_name(&column.name)).collect::<Vec<_>>().join(", ");
        let sql = format!("INSERT INTO {} ({names}) FORMAT RowBinaryWithNamesAndTypes", quote_name(&batch.table));

        let failed = |error: clickhouse::error::Error| StoreError::of(format!("{rows} rows for {}", batch.table), &error);
        let mut insert = self.client.insert_formatted_with(sql).with_timeouts(Some(SEND_MAX), Some(ANSWER_MAX));
        let mut piece = header(types.iter().copied());
        for bytes in batch.bytes[range].chunks(PIECE_BYTES) {
            piece.extend_from_slice(bytes);
            insert.send(std::mem::take(&mut piece).into()).await.map_err(failed)?;
        }
        crash::point("store: before an insert");
        insert.end().await.map_err(failed)?;
        crash::point("store: after an insert");
        Ok(())
    }

    /// Makes what is missing in a ClickHouse that was away when the program started, or was replaced by an empty one.
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut migrated = self.migrated.lock().await;
        if !*migrated {
            migrate::apply(&self.client, &self.database).await?;
            *migrated = true;
        }
        Ok(())
    }

    async fn table(&self, table: &str) -> Result<Arc<[TableColumn]>, StoreError> {
        if let Some(known) = self.tables.lock().await.get(table) {
            return Ok(Arc::clone(known));
        }
        let query = self.client.query("SELECT name, type FROM system.columns WHERE database = ? AND table = ? ORDER BY position");
        let columns = query.bind(&self.database).bind(table).fetch_all::<TableColumn>().await;
        let columns = columns.map_err(|e| StoreError::of(format!("reading the columns of {table}"), &e))?;
        if columns.is_empty() {
            let (what, message) = (
                format!("rows for {table}"),
                format!("table {}.{table} does not exist, or the user may not see it", self.database),
            );
            return Err(StoreError::Refused { what, code: 60, message });
        }
        let columns: Arc<[TableColumn]> = columns.into();
        self.tables.lock().await.insert(table.to_owned(), Arc::clone(&columns));
        Ok(columns)
    }
}
