//! What shows that a snapshot was written by a gateway that has the key: HMAC-SHA-256 of its manifest, which names all else by
//! hashes. Who brings a file, or can write to the store and not read the key, can make neither a snapshot nor somebody else's of
//! their own. Putting an older one back in its own session's place is not kept from them.

use std::io;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::keyfile::{self, KEY_BYTES};

pub(super) const SEAL_BYTES: usize = 32;

/// The key, with its part of the hash computed.
#[derive(Clone)]
pub struct Seal(Hmac<Sha256>);

impl Seal {
    /// Reads the key in `path`; makes it when there is none.
    ///
    /// # Errors
    /// See [`keyfile::open`].
    pub fn open(path: &Path) -> io::Result<Self> {
        keyfile::open(path).map(Self::with_key)
    }

    pub fn with_key(key: [u8; KEY_BYTES]) -> Self {
        Self(Hmac::new_from_slice(&key).expect("a key of an HMAC may have any length"))
    }

    pub(super) fn of(&self, bytes: &[u8]) -> [u8; SEAL_BYTES] {
        self.0.clone().chain_update(bytes).finalize().into_bytes().into()
    }

    /// Whether `seal` is that of `bytes`; its time tells nothing.
    pub(super) fn fits(&self, bytes: &[u8], seal: &[u8; SEAL_BYTES]) -> bool {
        self.0.clone().chain_update(bytes).verify_slice(seal).is_ok()
    }
}
