//! Rows by table that have not been sent yet, and turning them into bytes.

use std::any::Any;
use std::time::Duration;

use dataflows::model::{Change, Changes, Instruments};
use tokio::time::Instant;

use super::StoreError;
use super::batch::Batch;
use super::edge::EdgeRow;
use super::row_binary::Encoder;
use super::rows::{self, Stored, millis};
use super::writer::Quantum;

/// The waiting rows of all tables.
#[derive(Default)]
pub(crate) struct Waiting {
    tables: Vec<Table>,
}

/// The waiting rows of one table.
pub(crate) struct Table {
    rows: Box<dyn Rows>,
    /// Of the first quantum in it.
    pub known_at: u64,
    /// When that came.
    pub since: Instant,
}

/// `Vec<Change<R>>` for any `R`.
trait Rows: Send + Any {
    fn count(&self) -> usize;
    fn encode(self: Box<Self>, known_at: u64, instruments: &Instruments) -> Result<Option<Batch>, StoreError>;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl Table {
    pub fn count(&self) -> usize {
        self.rows.count()
    }

    /// Equal changes are summed first; `None`: nothing is left.
    pub fn encode(self, instruments: &Instruments) -> Result<Option<Batch>, StoreError> {
        self.rows.encode(self.known_at, instruments)
    }
}

impl<R: Stored> Rows for Vec<Change<R>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn encode(mut self: Box<Self>, known_at: u64, instruments: &Instruments) -> Result<Option<Batch>, StoreError> {
        R::consolidate(&mut self);
        if self.is_empty() {
            return Ok(None);
        }
        let names = rows::names(&self, instruments)?;
        let mut encoder = Encoder::default();
        for (row, known_at, diff) in self.iter() {
            // Always there: `names` has all of this batch.
            if let Some(stored) = row.stored(millis(*known_at), (*diff).clamp(-1, 1) as i8, &names) {
                encoder.row(&stored)?;
            }
        }
        let Encoder { bytes, columns, rows, .. } = encoder;
        Ok(Some(Batch { table: R::TABLE.into(), columns, rows, known_at, bytes }))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub fn count(&self) -> usize {
        self.tables.iter().map(Table::count).sum()
    }

    /// Adds a quantum's rows; answers with how many tables had none before.
    pub fn add(&mut self, quantum: Quantum) -> usize {
        let before = self.tables.len();
        let Quantum { known_at: at, changes: of_views, edge } = quantum;
        macro_rules! extend {
            ($($view:ident: $kind:ident($row:ty),)*) => {
                for changes in of_views {
                    match changes { $(Changes::$kind(rows) => self.extend(at, rows),)* }
                }
            };
        }
        dataflows::for_each_view!(extend);
        for row in edge {
            match row {
                EdgeRow::Rejected(row) => self.extend(at, vec![entered((row.known_at, row))]),
                EdgeRow::Gap(row) => self.extend(at, vec![entered((row.known_at, row))]),
                EdgeRow::Delivery(row) => self.extend(at, vec![entered((row.known_at, row))]),
                EdgeRow::Model(row) => {
                    let (known_at, diff) = (row.known_at, isize::from(row.diff));
                    self.extend(at, vec![(*row, known_at, diff)]);
                }
                EdgeRow::Alert(row) => {
                    let (known_at, diff) = (row.known_at, isize::from(row.diff));
                    self.extend(at, vec![(row, known_at, diff)]);
                }
            }
        }
        self.tables.len() - before
    }

    /// There are a few dozen tables: a scan is as quick as a map.
    fn extend<R: Stored>(&mut self, known_at: u64, mut changes: Vec<Change<R>>) {
        for table in &mut self.tables {
            if let Some(rows) = table.rows.as_any().downcast_mut::<Vec<Change<R>>>() {
                rows.append(&mut changes);
                return;
            }
        }
        if !changes.is_empty() {
            self.tables.push(Table { rows: Box::new(changes), known_at, since: Instant::now() });
        }
    }

    /// The table that has waited longest of those with so many rows, or so old.
    pub fn take_due(&mut self, rows: usize, age: Duration) -> Option<Table> {
        let is_due = |table: &Table| table.count() >= rows || table.since.elapsed() >= age;
        let due = self.tables.iter().enumerate().filter(|(_, table)| is_due(table));
        let (oldest, _) = due.min_by_key(|(_, table)| table.since)?;
        Some(self.tables.swap_remove(oldest))
    }

    /// Since when the longest waiting table waits.
    pub fn oldest(&self) -> Option<Instant> {
        self.tables.iter().map(|table| table.since).min()
    }

    /// The most rows of one table.
    pub fn largest(&self) -> usize {
        self.tables.iter().map(Table::count).max().unwrap_or(0)
    }
}

fn entered<R>((known_at, row): (u64, R)) -> Change<R> {
    (row, known_at, 1)
}
