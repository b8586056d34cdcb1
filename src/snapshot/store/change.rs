//! The changes that the store can make, each within a transaction that somebody else begins and ends.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::{SessionKey, SnapshotId, StoreError, time_to};
use crate::database::{Connection, params};
use crate::snapshot::chunk::ChunkId;
use crate::snapshot::{Manifest, RestoreError, Seal};

/// A snapshot to be written.
pub struct NewSnapshot {
    pub session: SessionKey,
    pub manifest: Manifest,
    /// Chunks that the session's snapshot before does not have, packed.
    pub new: HashMap<ChunkId, Vec<u8>>,
    /// Bytes of all chunks.
    pub bytes: u64,
    /// Snapshots of the session that stay beside this one.
    pub history: usize,
}

/// How the number of references to each chunk changes.
#[derive(Default)]
struct References(HashMap<ChunkId, i64>);

impl References {
    fn count(&mut self, manifest: &Manifest, by: i64) {
        for id in manifest.chunks() {
            *self.0.entry(id).or_default() += by;
        }
    }

    /// Writes what is new, counts, and deletes what nobody refers to any more.
    fn apply(self, connection: &Connection, new: &HashMap<ChunkId, Vec<u8>>) -> Result<(), StoreError> {
        let mut count = connection.prepare_cached("UPDATE chunk SET refs = refs + ?2 WHERE id = ?1")?;
        let mut forget = connection.prepare_cached("DELETE FROM chunk WHERE id = ?1 AND refs <= 0 RETURNING place")?;
        let mut empty = connection.prepare_cached("DELETE FROM content WHERE place = ?1")?;
        let mut all: Vec<_> = self.0.into_iter().filter(|(_, by)| *by != 0).collect();
        // What goes makes room for what comes.
        all.sort_unstable_by_key(|(_, by)| *by);
        for (id, by) in all {
            if count.execute(params![id.0, by])? == 0 {
                let bytes = new.get(&id).ok_or(StoreError::NoChunk)?;
                insert(connection, &id, by, bytes)?;
            } else if by < 0 {
                let places: Vec<i64> = forget.query_map([id.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
                for place in places {
                    empty.execute([place])?;
                }
            }
        }
        Ok(())
    }
}

fn insert(connection: &Connection, id: &ChunkId, refs: i64, bytes: &[u8]) -> Result<(), StoreError> {
    connection.prepare_cached("INSERT INTO content (bytes) VALUES (?1)")?.execute([bytes])?;
    let place = connection.last_insert_rowid();
    let mut chunk = connection.prepare_cached("INSERT INTO chunk (id, refs, place) VALUES (?1, ?2, ?3)")?;
    chunk.execute(params![id.0, refs, place])?;
    Ok(())
}

/// Writes a snapshot, and forgets those of its session that are more than are kept.
pub(super) fn put(connection: &Connection, seal: &Seal, new: &NewSnapshot) -> Result<SnapshotId, StoreError> {
    if new.session.ended.load(Ordering::SeqCst) {
        return Err(StoreError::Ended);
    }
    let (key, owner) = (&new.session.key, &new.manifest.owner);
    let mut session = connection.prepare_cached("INSERT OR IGNORE INTO session VALUES (?1, ?2, ?3, ?4)")?;
    session.execute(params![key, owner.pool, owner.identifier, time_to(owner.created_at)])?;
    let mut references = References::default();
    references.count(&new.manifest, 1);
    forget_older(connection, seal, key, new.history, &mut references)?;
    references.apply(connection, &new.new)?;
    let mut snapshot = connection.prepare_cached(
        "INSERT INTO snapshot (session, number, taken_at, bytes, manifest) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let (number, bytes) = (new.manifest.number.cast_signed(), new.bytes.cast_signed());
    snapshot.execute(params![key, number, time_to(new.manifest.taken_at), bytes, new.manifest.write(seal)])?;
    Ok(SnapshotId(connection.last_insert_rowid()))
}

/// Forgets a session.
pub(super) fn end(connection: &Connection, seal: &Seal, key: &[u8; 16]) -> Result<(), StoreError> {
    let mut references = References::default();
    forget_older(connection, seal, key, 0, &mut references)?;
    references.apply(connection, &HashMap::new())?;
    connection.prepare_cached("DELETE FROM session WHERE key = ?1")?.execute([key])?;
    Ok(())
}

/// Deletes the snapshots of a session beyond the latest `keep`.
fn forget_older(
    connection: &Connection,
    seal: &Seal,
    key: &[u8; 16],
    keep: usize,
    references: &mut References,
) -> Result<(), StoreError> {
    let mut select = connection
        .prepare_cached("SELECT id, manifest FROM snapshot WHERE session = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2")?;
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let older: Vec<(i64, Vec<u8>)> =
        select.query_map(params![key, keep], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (id, manifest) in older {
        match Manifest::read(&manifest, seal) {
            Ok(manifest) => references.count(&manifest, -1),
            // Its chunks stay behind: better some lost space than a chunk that another snapshot needs.
            Err(RestoreError::Store(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, "a snapshot that is to be forgotten cannot be read"),
        }
        connection.prepare_cached("DELETE FROM snapshot WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}
