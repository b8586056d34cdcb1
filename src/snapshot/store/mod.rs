//! Snapshots on disk: one SQLite database, because it makes a write whole or not at all, says when the disk is full, and is
//! sound after a SIGKILL or a loss of power. Chunks are counted, and go with their last snapshot.
//!
//! One thread writes, and puts what comes at the same time into one transaction (group commit); any thread reads.
//!
//! ```text
//! <folder>/snapshots.db     0600 in a folder of 0700
//! <folder>/lock             held while a gateway has it open
//! ```

mod change;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;

use super::chunk::{ChunkId, decompress};
use super::manifest::{Manifest, Owner, moment, nanoseconds};
use super::{RestoreError, Seal, Unpacked};
use crate::database::{
    self, Connection, DatabaseError, Durability, ErrorCode, OptionalExtension as _, Row, SqlError, params,
};
pub use change::NewSnapshot;
use writer::Writer;

const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store of snapshots is full")]
    Full,
    #[error("another gateway uses the store of snapshots in {}", .0.display())]
    Taken(PathBuf),
    #[error("the store of snapshots cannot be used")]
    Database(#[from] DatabaseError),
    #[error("the store of snapshots failed: {0}")]
    Sql(SqlError),
    #[error("the files of the store of snapshots cannot be used")]
    Files(#[from] io::Error),
    #[error("the store of snapshots has no such snapshot")]
    NoSnapshot,
    /// What was to be shared with a snapshot before went with that.
    #[error("the store of snapshots misses a chunk")]
    NoChunk,
    #[error("the session has ended")]
    Ended,
    #[error("the store of snapshots is closed")]
    Closed,
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sql(error),
        }
    }
}

/// Names a session in the store: its life, not its identifier, which a later session may have again.
#[derive(Debug, Clone)]
pub struct SessionKey {
    key: [u8; 16],
    /// What was still to be written is not written then.
    ended: Arc<AtomicBool>,
}

impl SessionKey {
    /// A new session's.
    pub fn random() -> Self {
        Self::of(*uuid::Uuid::new_v4().as_bytes())
    }

    fn of(key: [u8; 16]) -> Self {
        Self { key, ended: Arc::default() }
    }
}

/// A snapshot's number in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId(pub i64);

/// A snapshot, as lists show it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: SnapshotId,
    /// Executions that the session had run.
    pub number: u64,
    pub taken_at: OffsetDateTime,
    /// Of all its chunks, packed; what it shares with others counts in each.
    pub bytes: u64,
}

/// A session that the store has.
#[derive(Debug)]
pub struct StoredSession {
    pub key: SessionKey,
    pub owner: Owner,
    /// The latest.
    pub snapshot: Listed,
}

/// The store. Closes when it is dropped, once everything is written.
pub struct Store {
    path: PathBuf,
    seal: Seal,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    /// Held against other gateways.
    _lock: File,
}

impl Store {
    /// Opens the store in `folder`, made when there is none. It takes at most `limit_bytes` of the disk, and nothing that
    /// has not `seal`.
    ///
    /// # Errors
    /// When another gateway has it, it was made by a later build, or the disk fails.
    pub fn open(folder: &Path, limit_bytes: Option<u64>, seal: Seal) -> Result<Arc<Self>, StoreError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| StoreError::Taken(folder.to_owned()))?;
        let path = folder.join("snapshots.db");
        let connection = database::open(&path, Durability::Power, &MIGRATIONS)?;
        compact(&connection)?;
        forget_doubles(&connection, &seal)?;
        if let Some(limit) = limit_bytes {
            let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            connection.pragma_update(None, "max_page_count", (limit / page).max(1))?;
        }
        let writer = Writer::start(connection, folder.join("snapshots.db-wal"), seal.clone())?;
        Ok(Arc::new(Self { path, seal, writer, readers: Mutex::default(), _lock: lock }))
    }

    /// Writes a snapshot; it is on disk when this comes back. Older ones of its session go.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub async fn put(&self, new: NewSnapshot) -> Result<SnapshotId, StoreError> {
        self.writer.put(new).await
    }

    /// Forgets a session; it is gone from the disk when this comes back. What is still to be written of it is not.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end(&self, key: &SessionKey) -> Result<(), StoreError> {
        key.ended.store(true, Ordering::SeqCst);
        self.writer.end(key.key).await
    }

    /// The same without waiting for it.
    pub fn end_soon(&self, key: &SessionKey) {
        key.ended.store(true, Ordering::SeqCst);
        self.writer.end_soon(key.key);
    }

    /// All sessions of a pool.
    ///
    /// # Errors
    /// When the disk fails, or what is on it is no store's.
    pub fn sessions(&self, pool: &str) -> Result<Vec<StoredSession>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT session.key, identifier, created_at, max(snapshot.id), number, taken_at, bytes
                 FROM session JOIN snapshot ON snapshot.session = session.key WHERE pool = ?1 GROUP BY session.key
                 ORDER BY created_at",
            )?;
            let rows = statement.query_map([pool], |row| {
                let owner = Owner { pool: pool.to_owned(), identifier: row.get(1)?, created_at: time_of(row.get(2)?) };
                Ok(StoredSession { key: SessionKey::of(row.get(0)?), owner, snapshot: listed(row, 3)? })
            })?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// A session's snapshots, the latest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn snapshots(&self, key: &SessionKey) -> Result<Vec<Listed>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, number, taken_at, bytes FROM snapshot WHERE session = ?1 ORDER BY id DESC",
            )?;
            let rows = statement.query_map([key.key], |row| listed(row, 0))?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// Reads one snapshot of a session; its latest without `id`.
    ///
    /// # Errors
    /// When it is not there, is not what was written, or `use_it` fails.
    pub fn load<T, E: From<RestoreError>>(
        &self,
        key: &SessionKey,
        id: Option<SnapshotId>,
        use_it: impl FnOnce(&Manifest, &Chunks<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |error: StoreError| E::from(RestoreError::from(error));
        let mut connection = self.connection().map_err(failed)?;
        // In one transaction: what the manifest lists stays there while it is read.
        let transaction = connection.transaction().map_err(|error| failed(error.into()))?;
        let manifest = latest_manifest(&transaction, key, id).map_err(failed)?;
        let used = use_it(&Manifest::read(&manifest, &self.seal)?, &Chunks(&transaction));
        drop(transaction);
        self.give_back(connection);
        used
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self.connection()?;
        let result = read(&connection);
        self.give_back(connection);
        result
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => Ok(database::open_to_read(&self.path)?),
        }
    }

    fn give_back(&self, connection: Connection) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// The chunks of the store, while a snapshot is read.
pub struct Chunks<'a>(&'a Connection);

impl Chunks<'_> {
    /// A chunk as it stands on disk, not yet checked.
    ///
    /// # Errors
    /// When it is not there.
    pub fn packed(&self, id: &ChunkId) -> Result<Vec<u8>, StoreError> {
        self.look_at(id, <[u8]>::to_vec)
    }

    fn look_at<T>(&self, id: &ChunkId, look: impl FnOnce(&[u8]) -> T) -> Result<T, StoreError> {
        let mut statement =
            self.0.prepare_cached("SELECT bytes FROM content WHERE place = (SELECT place FROM chunk WHERE id = ?1)")?;
        let looked = statement.query_row([id.0], |row| Ok(look(row.get_ref(0)?.as_blob()?))).optional()?;
        looked.ok_or(StoreError::NoChunk)
    }

    /// A chunk, checked and unpacked.
    ///
    /// # Errors
    /// When it is not there, or not what it was.
    pub fn fetch(&self, id: &ChunkId) -> Result<Unpacked, RestoreError> {
        self.look_at(id, |packed| Ok((decompress(id, packed)?, packed.len() as u32)))?
    }
}

fn latest_manifest(connection: &Connection, key: &SessionKey, id: Option<SnapshotId>) -> Result<Vec<u8>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT manifest FROM snapshot WHERE session = ?1 AND (?2 IS NULL OR id = ?2) ORDER BY id DESC LIMIT 1",
    )?;
    let found = statement.query_row(params![key.key, id.map(|id| id.0)], |row| row.get(0)).optional()?;
    found.ok_or(StoreError::NoSnapshot)
}

fn listed(row: &Row<'_>, first: usize) -> Result<Listed, SqlError> {
    let number: i64 = row.get(first + 1)?;
    let bytes: i64 = row.get(first + 3)?;
    Ok(Listed {
        id: SnapshotId(row.get(first)?),
        number: number.cast_unsigned(),
        taken_at: time_of(row.get(first + 2)?),
        bytes: bytes.cast_unsigned(),
    })
}

fn time_of(nanoseconds: i64) -> OffsetDateTime {
    moment(nanoseconds.cast_unsigned()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn time_to(moment: OffsetDateTime) -> i64 {
    i64::try_from(nanoseconds(moment)).unwrap_or(i64::MAX)
}

/// Gives the disk back what is no longer used, where that is most of the file.
fn compact(connection: &Connection) -> Result<(), StoreError> {
    let count = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, all) = (count("freelist_count")?, count("page_count")?);
    if free > 1024 && free > all / 2 {
        // On a disk that has no room for it the file stays as large as it is.
        let _ = connection.execute_batch("VACUUM");
    }
    Ok(())
}

/// A session that was ended while the gateway ended may have been followed by another of its identifier: the later one stays.
fn forget_doubles(connection: &Connection, seal: &Seal) -> Result<(), StoreError> {
    let mut statement = connection.prepare(
        "SELECT key FROM session AS one WHERE EXISTS (SELECT 1 FROM session AS other WHERE other.pool = one.pool
         AND other.identifier = one.identifier AND (other.created_at, other.key) > (one.created_at, one.key))",
    )?;
    let doubles: Vec<[u8; 16]> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for key in doubles {
        change::end(connection, seal, &key)?;
    }
    Ok(())
}
