//! A snapshot as one file, to be carried away and brought back: the manifest, and each chunk once, in order of first use.
//!
//! ```text
//! "SANDPOOL FILE 1\n" manifest:u32+bytes (chunk:u32+bytes)… sha256 of all before
//! ```

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::chunk::{ChunkId, decompress};
use super::manifest::Manifest;
use super::seal::Seal;
use super::{RestoreError, Unpacked};
use crate::wire::{Malformed, Reader, Writer};

const MAGIC: &[u8; 16] = b"SANDPOOL FILE 1\n";
const HASH_BYTES: usize = 32;

/// Writes a snapshot; `chunk` gives the packed bytes of each.
///
/// # Errors
/// Those of `chunk`.
pub fn write<E>(
    manifest: &Manifest,
    seal: &Seal,
    mut chunk: impl FnMut(&ChunkId) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut out = Writer::default();
    out.bytes(MAGIC);
    let table = manifest.write(seal);
    out.count(table.len());
    out.bytes(&table);
    let mut written = HashSet::new();
    for id in manifest.chunks().filter(|id| written.insert(*id)) {
        let bytes = chunk(&id)?;
        out.count(bytes.len());
        out.bytes(&bytes);
    }
    let hash = Sha256::digest(out.as_slice());
    out.bytes(&hash);
    Ok(out.into_bytes())
}

/// A file's manifest and chunks, each what it is called.
pub struct SnapshotFile<'a> {
    pub manifest: Manifest,
    chunks: HashMap<ChunkId, &'a [u8]>,
}

impl<'a> SnapshotFile<'a> {
    /// Reads what [`write()`] gave under the same seal.
    ///
    /// # Errors
    /// When it is not that, to the bit.
    pub fn read(bytes: &'a [u8], seal: &Seal) -> Result<Self, RestoreError> {
        let (bytes, hash) =
            bytes.split_last_chunk::<HASH_BYTES>().ok_or(Malformed("it is too short to be a snapshot"))?;
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(Malformed("it is no snapshot's file").into());
        }
        if <[u8; HASH_BYTES]>::from(Sha256::digest(bytes)) != *hash {
            return Err(RestoreError::Checksum);
        }
        let length = reader.count(1)?;
        let manifest = Manifest::read(reader.take(length)?, seal)?;
        let mut chunks = HashMap::new();
        let mut expected = HashSet::new();
        for id in manifest.chunks().filter(|id| expected.insert(*id)) {
            let length = reader.count(1)?;
            let chunk = reader.take(length)?;
            if ChunkId::of(chunk) != id {
                return Err(RestoreError::Checksum);
            }
            chunks.insert(id, chunk);
        }
        reader.end()?;
        Ok(Self { manifest, chunks })
    }

    /// A chunk, unpacked.
    ///
    /// # Errors
    /// When the manifest does not list it, or it cannot be unpacked.
    pub fn fetch(&self, id: &ChunkId) -> Result<Unpacked, RestoreError> {
        let packed = self.chunks.get(id).ok_or(Malformed("a chunk is not there"))?;
        Ok((decompress(id, packed)?, packed.len() as u32))
    }
}
