//! Embedded SQLite databases: opened for us alone, and brought to their present schema. A file a room.
//!
//! It knows no table: each room brings its migrations, and keeps the connection behind its own lock or thread. SQLite
//! blocks, so nothing that must not wait calls it on the API's runtime.
//!
//! ```text
//! <data_dir>/access.db                 API keys                            (access/)
//! <data_dir>/limits.db                 what callers used of their day      (access/limits/)
//! <data_dir>/pools.db                  pools that were made by the API     (pool/)
//! <data_dir>/records.db                what happened                       (records/)
//! <data_dir>/snapshots/snapshots.db    sessions on disk                    (snapshot/store/)
//! ```

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use rusqlite::{
    Connection, Error as SqlError, ErrorCode, OpenFlags, OptionalExtension, Row, ToSql, Transaction,
    TransactionBehavior, named_params, params, params_from_iter,
};

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The disk: what was committed outlives a loss of power.
    Power,
    /// The kernel: what was committed outlives the process (SIGKILL), and a loss of power takes whole commits from the
    /// end. The database stays sound in either case.
    Process,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("{path} cannot be opened: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: it has schema {found} and this build knows {known}; it was used by a later one", path = path.display())]
    Later { path: PathBuf, found: usize, known: usize },
    #[error("the database cannot be used: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("the database holds what this build cannot have written: {0}")]
    Content(Box<dyn std::error::Error + Send + Sync>),
}

impl DatabaseError {
    /// A row that does not read back.
    pub fn content(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Content(cause.into())
    }
}

/// Opens `path`, made when it is not there (its folder too; both are the user's alone), and applies those of
/// `migrations` that it has not seen, all of them or none. A migration that was released is never changed: new ones are
/// added at the end.
///
/// # Errors
/// When the file cannot be used, or a later build has used it.
pub fn open(path: &Path, durability: Durability, migrations: &[&str]) -> Result<Connection, DatabaseError> {
    private(path).map_err(|source| DatabaseError::File { path: path.to_owned(), source })?;
    let mut connection = Connection::open(path)?;
    // Readers and one writer do not wait for each other.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(
        None,
        "synchronous",
        match durability {
            Durability::Power => "FULL",
            Durability::Process => "NORMAL",
        },
    )?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Another process, such as a local command, may hold the lock for a moment.
    connection.busy_timeout(Duration::from_secs(5))?;
    migrate(&mut connection, path, migrations)?;
    Ok(connection)
}

/// Opens `path`, which [`open`] has made, to read it only. Readers do not wait for the writer.
///
/// # Errors
/// When the file cannot be used.
pub fn open_to_read(path: &Path) -> Result<Connection, SqlError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// Makes the folder and the file if need be, so that nobody else can read them from the first moment on; SQLite gives
/// the journals beside it the same mode.
fn private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), DatabaseError> {
    // Taken before looking: two processes that start at once do not both migrate.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found = found as usize;
    if found > migrations.len() {
        return Err(DatabaseError::Later { path: path.to_owned(), found, known: migrations.len() });
    }
    for migration in &migrations[found..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", migrations.len() as u32)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const FIRST: &str = "CREATE TABLE thing (name TEXT PRIMARY KEY) STRICT;";
    const SECOND: &str = "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7;";

    #[test]
    fn each_migration_runs_once_and_rows_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/thing.db");
        let first = open(&path, Durability::Power, &[FIRST]).unwrap();
        first.execute("INSERT INTO thing VALUES ('a')", []).unwrap();
        drop(first);
        let second = open(&path, Durability::Process, &[FIRST, SECOND]).unwrap();
        let size: i64 = second.query_row("SELECT size FROM thing WHERE name = 'a'", [], |row| row.get(0)).unwrap();
        assert_eq!(size, 7);
    }

    #[test]
    fn what_a_later_build_used_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thing.db");
        drop(open(&path, Durability::Power, &[FIRST, SECOND]).unwrap());
        let error = open(&path, Durability::Power, &[FIRST]).unwrap_err();
        assert!(matches!(error, DatabaseError::Later { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thing.db");
        open(&path, Durability::Power, &[FIRST, "CREATE TABEL x;"]).unwrap_err();
        drop(open(&path, Durability::Power, &[FIRST, SECOND]).unwrap());
    }

    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/thing.db");
        let connection = open(&path, Durability::Power, &[FIRST]).unwrap();
        connection.execute("INSERT INTO thing VALUES ('a')", []).unwrap();
        for entry in path.parent().unwrap().read_dir().unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
        }
    }

    #[test]
    fn a_file_that_is_no_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thing.db");
        std::fs::write(&path, "not a database, and long enough to be read as the head of one ".repeat(20)).unwrap();
        assert!(open(&path, Durability::Power, &[FIRST]).is_err());
    }
}
