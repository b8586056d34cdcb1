//! The tables. Times are microseconds since 1970, lengths of time too; sessions are pseudonyms.

use std::path::Path;
use std::time::Duration;

use crate::database::{self, Connection, DatabaseError, Durability, OpenFlags, SqlError};

const MIGRATIONS: [&str; 2] = ["
CREATE TABLE console (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, pool TEXT NOT NULL, session TEXT NOT NULL, execution TEXT NOT NULL,
    stream TEXT NOT NULL, log TEXT NOT NULL
) STRICT;
CREATE INDEX console_at ON console (at);
CREATE TABLE lifecycle (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, pool TEXT NOT NULL, session TEXT NOT NULL,
    level TEXT NOT NULL, operation TEXT NOT NULL, log TEXT NOT NULL
) STRICT;
CREATE INDEX lifecycle_at ON lifecycle (at);
CREATE TABLE pools (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, pool TEXT NOT NULL,
    level TEXT NOT NULL, operation TEXT NOT NULL, log TEXT NOT NULL
) STRICT;
CREATE INDEX pools_at ON pools (at);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, caller TEXT NOT NULL, operation TEXT NOT NULL, pool TEXT, session TEXT,
    origin TEXT, status INTEGER NOT NULL, code TEXT, elapsed INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);
CREATE TABLE usage (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, pool TEXT NOT NULL, tags TEXT NOT NULL, caller TEXT, session TEXT NOT NULL,
    operation TEXT NOT NULL, execution TEXT, outcome TEXT, queued INTEGER, wall INTEGER, cpu INTEGER, fuel INTEGER,
    memory_byte_seconds INTEGER, input_bytes INTEGER, output_bytes INTEGER, network_bytes INTEGER,
    allocated INTEGER, idle INTEGER
) STRICT;
CREATE INDEX usage_at ON usage (at);
", "
-- How far each table was exported.
CREATE TABLE handed_on (records TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT;
"];

/// Opens the database for its writer.
pub(super) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let connection = database::open(path, Durability::Process, &MIGRATIONS)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A connection that cannot write; the writer has made the database.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, SqlError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}
