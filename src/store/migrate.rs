//! Migrations: schemas/clickhouse/NNNN_*.sql, carried by the binary, applied once each, in order.
//!
//! What has been applied stands in the table `schema_migrations` with the text's sha256. A text that changed after it was
//! applied is refused, and so is a database that a newer regimeflow has written. Statements say IF NOT EXISTS, so a migration
//! that was interrupted is simply run again.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;
use super::views::{VIEWS, View};

/// One file of schemas/clickhouse.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// NNNN.
    pub version: u32,
    /// What stands behind the number.
    pub name: &'static str,
    /// The statements, each ended by a semicolon at the end of a line.
    pub sql: &'static str,
}

/// All migrations, in order.
pub const MIGRATIONS: &[Migration] = &[
    migration(1, "views", include_str!("../../schemas/clickhouse/0001_views.sql")),
    migration(2, "volatility_regimes", include_str!("../../schemas/clickhouse/0002_volatility_regimes.sql")),
    migration(3, "correlations", include_str!("../../schemas/clickhouse/0003_correlations.sql")),
    migration(4, "liquidations", include_str!("../../schemas/clickhouse/0004_liquidations.sql")),
    migration(5, "support_zones", include_str!("../../schemas/clickhouse/0005_support_zones.sql")),
    migration(6, "funding_and_open_interest", include_str!("../../schemas/clickhouse/0006_funding_and_open_interest.sql")),
    migration(7, "volatility_history", include_str!("../../schemas/clickhouse/0007_volatility_history.sql")),
    migration(8, "features", include_str!("../../schemas/clickhouse/0008_features.sql")),
    migration(9, "regimes", include_str!("../../schemas/clickhouse/0009_regimes.sql")),
    migration(10, "models", include_str!("../../schemas/clickhouse/0010_models.sql")),
    migration(11, "liquidation_ratios", include_str!("../../schemas/clickhouse/0011_liquidation_ratios.sql")),
    migration(12, "drift_divergence", include_str!("../../schemas/clickhouse/0012_drift_divergence.sql")),
    migration(13, "features_of_flows", include_str!("../../schemas/clickhouse/0013_features_of_flows.sql")),
];

const fn migration(version: u32, name: &'static str, sql: &'static str) -> Migration {
    Migration { version, name, sql }
}

impl Migration {
    /// sha256 of the text, hex.
    #[must_use]
    pub fn checksum(&self) -> String {
        hex(&Sha256::digest(self.sql.as_bytes()))
    }

    fn statements(&self) -> impl Iterator<Item = String> {
        let without_comments: String =
            self.sql.lines().filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]).collect();
        let statements: Vec<String> =
            without_comments.split(";\n").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
        statements.into_iter()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}

#[derive(Row, Serialize, Deserialize)]
struct Applied {
    version: u32,
    name: String,
    checksum: String,
}

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS schema_migrations
(version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY version";

/// The migrations that are not applied yet. Writes nothing.
///
/// # Errors
/// [`StoreError::Schema`] if the database's history and ours disagree; whatever the server says.
pub async fn pending(client: &clickhouse::Client, database: &str) -> Result<Vec<Migration>, StoreError> {
    let what = || format!("reading {database}.schema_migrations");
    let anywhere = client.clone().with_database("default"); // ours may not exist yet
    let exists = anywhere
        .query("SELECT count() FROM system.tables WHERE database = ? AND name = 'schema_migrations'")
        .bind(database)
        .fetch_one::<u64>()
        .await
        .map_err(|e| StoreError::of(what(), &e))?;
    if exists == 0 {
        return Ok(MIGRATIONS.to_vec());
    }
    let applied = client
        .query("SELECT ?fields FROM schema_migrations FINAL ORDER BY version")
        .fetch_all::<Applied>()
        .await
        .map_err(|e| StoreError::of(what(), &e))?;
    for row in &applied {
        let Some(ours) = MIGRATIONS.iter().find(|m| m.version == row.version) else {
            return Err(StoreError::Schema(format!(
                "database {database} has migration {:04}_{}, which this regimeflow does not know: it was written by a newer one; \
                 upgrade, or choose another database",
                row.version, row.name
            )));
        };
        if ours.checksum() != row.checksum {
            return Err(StoreError::Schema(format!(
                "database {database}: migration {:04}_{} was applied with another text than this regimeflow carries; choose another \
                 database or directory, or use the version that wrote this one",
                ours.version, ours.name
            )));
        }
    }
    Ok(MIGRATIONS.iter().filter(|m| !applied.iter().any(|a| a.version == m.version)).copied().collect())
}

/// Makes the database and brings its tables up to date. Returns what was applied.
///
/// # Errors
/// As [`pending`].
pub async fn apply(client: &clickhouse::Client, database: &str) -> Result<Vec<Migration>, StoreError> {
    let execute = async |client: &clickhouse::Client, what: String, sql: &str| {
        client.query_raw(sql).execute().await.map_err(|e| StoreError::of(what, &e))
    };
    let anywhere = client.clone().with_database("default");
    execute(
        &anywhere,
        format!("creating database {database}"),
        &format!("CREATE DATABASE IF NOT EXISTS {}", quote_name(database)),
    )
    .await?;
    let todo = pending(client, database).await?;
    execute(client, "creating schema_migrations".into(), LEDGER).await?;
    for migration in &todo {
        for statement in migration.statements() {
            let first = statement.lines().next().unwrap_or_default().to_owned();
            execute(client, format!("{first} (migration {:04}_{})", migration.version, migration.name), &statement).await?;
        }
    }
    if !todo.is_empty() {
        make_views(client, database).await?;
    }
    // Last: who is killed before begins again, and the views are made of whatever the tables have come to.
    for migration in &todo {
        let row = Applied { version: migration.version, name: migration.name.into(), checksum: migration.checksum() };
        let what = || "recording a migration".to_owned();
        let mut insert = client.insert::<Applied>("schema_migrations").await.map_err(|e| StoreError::of(what(), &e))?;
        insert.write(&row).await.map_err(|e| StoreError::of(what(), &e))?;
        insert.end().await.map_err(|e| StoreError::of(what(), &e))?;
        tracing::info!(version = migration.version, name = migration.name, "migration applied");
    }
    Ok(todo)
}

/// Makes NAME and NAME_asof of every view from the columns of NAME_changes and its key.
async fn make_views(client: &clickhouse::Client, database: &str) -> Result<(), StoreError> {
    for view in VIEWS {
        let what = || format!("making view {}", view.name);
        let columns = client
            .query("SELECT name FROM system.columns WHERE database = ? AND table = ? ORDER BY position")
            .bind(database)
            .bind(format!("{}_changes", view.name))
            .fetch_all::<String>()
            .await
            .map_err(|e| StoreError::of(what(), &e))?;
        for sql in view_statements(view, &columns) {
            client.query_raw(&sql).execute().await.map_err(|e| StoreError::of(what(), &e))?;
        }
    }
    Ok(())
}

/// The statements that define NAME and NAME_asof: the newest change of each key, where it says +1. ORDER BY is the table's
/// key exactly reversed, so that the engine reads in order and LIMIT 1 BY keeps the first row of each key.
fn view_statements(view: &View, columns: &[String]) -> [String; 2] {
    let quoted = |names: &[&str]| names.iter().map(|name| quote_name(name)).collect::<Vec<_>>().join(", ");
    let shown: Vec<&str> =
        columns.iter().map(String::as_str).filter(|c| *c != "diff" && (*c != "known_at" || view.key.contains(c))).collect();
    let known_at = (!view.key.contains(&"known_at")).then_some("known_at");
    let newest_first = view.key.iter().copied().chain(known_at).chain(["diff"]);
    let order = newest_first.map(|name| format!("{} DESC", quote_name(name))).collect::<Vec<_>>().join(", ");
    let (shown, key, name) = (quoted(&shown), quoted(view.key), view.name);
    ["", "_asof"].map(|suffix| {
        let limit = if suffix.is_empty() { "" } else { "WHERE known_at <= {t:DateTime64(3, 'UTC')}\n" };
        format!(
            "CREATE OR REPLACE VIEW {name}{suffix} AS\nSELECT {shown}\nFROM\n(\nSELECT {shown}, diff\nFROM {name}_changes\n{limit}\
             ORDER BY {order}\nLIMIT 1 BY {key}\n)\nWHERE diff > 0"
        )
    })
}

/// A name in back quotes.
pub(crate) fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_split_at_line_ends() {
        let sql = "-- a; comment;\nCREATE TABLE a\n(\n  b String DEFAULT ';x'\n);\n\n-- more\nSELECT 1;\n";
        let migration = Migration { version: 9, name: "x", sql };
        let statements: Vec<String> = migration.statements().collect();
        assert_eq!(statements, ["CREATE TABLE a\n(\n  b String DEFAULT ';x'\n)", "SELECT 1"]);
    }

    #[test]
    fn versions_rise_and_files_end_with_a_newline() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].version < pair[1].version));
        assert!(MIGRATIONS.iter().all(|m| m.sql.ends_with(";\n")));
        assert_eq!(quote_name("a`b"), "`a\\`b`");
    }
}
