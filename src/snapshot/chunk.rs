//! Chunks: what snapshots are made of, compressed, and named by the hash of that. Whatever is the same is kept once, between
//! snapshots and between sessions; and nothing is unpacked before its name was checked.

use std::cell::RefCell;
use std::fmt;
use std::io;

use sha2::{Digest as _, Sha256};

use super::RestoreError;
use crate::sandbox::wasm::GROUP_BYTES;
use crate::wire::Malformed;

/// The most that one chunk holds, unpacked.
pub const MAX_CHUNK_BYTES: usize = GROUP_BYTES;
/// zstd's: the differences of pages are mostly zeros, and higher levels find little more.
const LEVEL: i32 = 1;

/// SHA-256 of a chunk's compressed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    pub fn of(compressed: &[u8]) -> Self {
        Self(Sha256::digest(compressed).into())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {:02x}{:02x}", self.0[0], self.0[1])
    }
}

thread_local! {
    // Making one costs more than most chunks do.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses at most [`MAX_CHUNK_BYTES`].
///
/// # Errors
/// When there is no memory for it.
pub fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|place| match place {
        Some(compressor) => compressor.compress(bytes),
        None => place.insert(zstd::bulk::Compressor::new(LEVEL)?).compress(bytes),
    })
}

/// Gives back what `compressed` was made from, once it is what `id` names.
///
/// # Errors
/// When it is not.
pub fn decompress(id: &ChunkId, compressed: &[u8]) -> Result<Vec<u8>, RestoreError> {
    if ChunkId::of(compressed) != *id {
        return Err(RestoreError::Checksum);
    }
    let unpacked = DECOMPRESSOR.with_borrow_mut(|place| match place {
        Some(decompressor) => decompressor.decompress(compressed, MAX_CHUNK_BYTES),
        None => place.insert(zstd::bulk::Decompressor::new()?).decompress(compressed, MAX_CHUNK_BYTES),
    });
    unpacked.map_err(|_| Malformed("a chunk cannot be unpacked").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_and_another_is_refused() {
        let bytes = vec![7; MAX_CHUNK_BYTES];
        let packed = compress(&bytes).unwrap();
        assert!(packed.len() < 100);
        assert_eq!(decompress(&ChunkId::of(&packed), &packed).unwrap(), bytes);
        assert!(matches!(decompress(&ChunkId::of(b"x"), &packed), Err(RestoreError::Checksum)));
    }

    #[test]
    fn what_would_unpack_to_more_is_refused() {
        let bomb = compress(&vec![0; MAX_CHUNK_BYTES + 1]).unwrap();
        assert!(matches!(decompress(&ChunkId::of(&bomb), &bomb), Err(RestoreError::Malformed(_))));
    }
}
