//! The file tree of a session: one read-only base layer that all sessions share, under a private copy-on-write layer
//! with quotas.
//!
//! It never touches a host path on behalf of a guest or a caller: names are looked up in tables, content is bytes in
//! memory, in the mapped base archive, or in unlinked spill files that have no name at all. It knows nothing of WASI
//! and nothing of HTTP; `sandbox/wasm/wasi/` and `api/` both work on [`Tree`].
//!
//! ```text
//! tree.rs     Tree: the handle; marks and changes; fork
//! calls.rs    what a guest does: open, read, write, rename, ... by inode and path
//! client.rs   what a caller does: list, metadata, read, remove by path     staged.rs  uploads
//! resolve.rs  a path to a place, confined to the tree
//! layer.rs    the overlay: inodes of both layers, entries, whiteouts, quota
//! chunks.rs   bytes of one file, in shared chunks                          blob.rs    spilling chunks to disk
//! written.rs  a tree as bytes                          read_back.rs  and back, believing nothing
//! base.rs     the base layer's index                                       tar.rs     reading its archive
//! ```

mod base;
mod blob;
mod calls;
mod chunks;
mod client;
mod entry;
mod error;
mod layer;
mod path;
mod read_back;
mod resolve;
mod staged;
mod tar;
mod tree;
mod written;

pub use base::{BaseError, BaseLayer};
pub use blob::BlobStore;
pub use calls::{DirectoryEntry, OpenOptions, Position, SetTime};
pub use client::Content;
pub use entry::{FileEntry, FileKind, Inode, Kind, Stat, Times, fill_random};
pub use error::FileError;
pub use path::{CLIENT_ROOT, ClientPath, MAX_NAME_BYTES, MAX_PATH_BYTES};
pub use resolve::MAX_LINKS;
pub use staged::Staged;
pub use tar::TarError;
pub use tree::{ChangeMark, FileUsage, MAX_CHANGES, Tree};
pub use written::Piece;
