//! What the pools of a gateway share.

use crate::files::BlobStore;
use crate::records::Records;
use crate::sandbox::wasm::Workers;
use crate::snapshot::Seal;

/// Cheap to clone.
#[derive(Clone)]
pub struct Facilities {
    /// Where large files go.
    pub blobs: BlobStore,
    /// The threads that guests run on.
    pub workers: Workers,
    pub records: Records,
    /// What sessions that leave the gateway are sealed with.
    pub seal: Seal,
}
