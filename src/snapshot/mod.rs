//! Snapshots: a session captured between executions, whole: its guest's state and its files. Immutable and shared; what did not
//! change since the snapshot before is shared with that.
//!
//! ```text
//! mod.rs        a snapshot in memory: taken, restored
//! manifest.rs   its table of contents, as bytes      chunk.rs  what it is made of, as bytes
//! pack.rs       a snapshot as both, and back         file.rs   both in one file, to carry away
//! seal.rs       what shows that a gateway wrote it
//! store/        where they are kept on disk
//! ```

pub mod chunk;
pub mod file;
pub mod manifest;
mod pack;
mod seal;
pub mod store;

use std::sync::{Arc, OnceLock};

use time::OffsetDateTime;

use crate::files::{ChangeMark, Tree};
use crate::sandbox::SandboxError;
use crate::sandbox::wasm::{GuestState, Image, ImageIdentity, WasmSandbox};
use crate::wire::Malformed;
pub use manifest::{Manifest, Owner};
pub use pack::{Kept, Packed, Place, Unpacked};
pub use seal::Seal;
use store::StoreError;

/// Why a snapshot that was written down cannot be restored. Nothing of it was used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the snapshot cannot be used: {0}")]
    Malformed(#[from] Malformed),
    #[error("the snapshot is damaged: a checksum does not fit")]
    Checksum,
    #[error(
        "the snapshot is damaged, or sealed with another key: only what this gateway wrote, or one that has its \
         snapshot_key, is taken"
    )]
    Seal,
    #[error("the snapshot has format {version}, which this build does not read")]
    Version { version: u16 },
    /// The interpreter was built anew, and the old build is gone.
    #[error("the snapshot was taken on another image of the interpreter ({image:?}), which is not there any more")]
    Image { image: ImageIdentity },
    #[error("the snapshot belongs to a session of another pool")]
    Pool,
    #[error("the snapshot is another session's")]
    Session,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the snapshot's files could not be kept on disk")]
    Files(#[from] std::io::Error),
}

/// A moment of a session.
pub struct Snapshot {
    /// Executions that the session had run by then.
    pub number: u64,
    pub taken_at: OffsetDateTime,
    image: Arc<Image>,
    /// None: the session had files and no guest yet.
    guest: Option<GuestState>,
    files: Tree,
    mark: ChangeMark,
    /// It is a copy of another session's: what is random in it is to be seeded anew before it goes on. A session that goes on
    /// itself goes on with its generators, which its code may have seeded.
    cloned: bool,
    /// Which chunks of the store hold it, once it is there.
    kept: OnceLock<Kept>,
}

impl Snapshot {
    /// Captures a session whose guest does not run. `previous` is its snapshot before, or the one that it goes on from as
    /// long as it has no guest: what is as it was then is shared.
    pub fn take(
        image: &Arc<Image>,
        sandbox: Option<&WasmSandbox>,
        files: &Tree,
        number: u64,
        previous: Option<&Self>,
    ) -> Arc<Self> {
        let before = previous.and_then(|previous| previous.guest.as_ref());
        let cloned = sandbox.is_none() && previous.is_some_and(|previous| previous.cloned);
        let guest = sandbox.map_or_else(|| before.cloned(), |sandbox| Some(sandbox.capture(before)));
        let mark = files.mark();
        // The fork knows what is open, too: both must be as they were for it to be shared.
        let unchanged = previous.filter(|previous| previous.mark == mark && opens_the_same(&previous.guest, &guest));
        let files = unchanged.map_or_else(|| files.fork(), |previous| previous.files.clone());
        let (taken_at, kept) = (OffsetDateTime::now_utc(), OnceLock::new());
        Arc::new(Self { number, taken_at, image: image.clone(), guest, files, mark, cloned, kept })
    }

    /// The same guest with the files of `tree`, which has changed since while the guest did not run.
    pub fn with_files(&self, tree: &Tree) -> Arc<Self> {
        let (image, guest, taken_at) = (self.image.clone(), self.guest.clone(), OffsetDateTime::now_utc());
        let (files, mark, kept) = (tree.fork(), tree.mark(), OnceLock::new());
        Arc::new(Self { number: self.number, taken_at, image, guest, files, mark, cloned: self.cloned, kept })
    }

    /// The same state, which a session goes on from now.
    pub fn as_of_now(&self) -> Self {
        let (image, guest, files) = (self.image.clone(), self.guest.clone(), self.files.clone());
        let (number, taken_at, mark) = (self.number, OffsetDateTime::now_utc(), self.mark);
        Self { number, taken_at, image, guest, files, mark, cloned: self.cloned, kept: self.kept.clone() }
    }

    /// The same state, which another session goes on from now.
    pub fn as_clone(&self) -> Self {
        Self { cloned: true, ..self.as_of_now() }
    }

    /// Whether the files are as `tree` has them now. Only for a tree that goes on from this snapshot, or that it was taken of.
    pub fn has_files_of(&self, tree: &Tree) -> bool {
        self.mark == tree.mark()
    }

    fn from_parts(manifest: &Manifest, image: Arc<Image>, guest: Option<GuestState>, files: Tree) -> Self {
        let (number, taken_at, mark) = (manifest.number, manifest.taken_at, files.mark());
        Self { number, taken_at, image, guest, files, mark, cloned: manifest.cloned, kept: OnceLock::new() }
    }

    /// Says that the store has it.
    pub fn keep(&self, kept: Kept) {
        // A second word of the same thing changes nothing.
        let _ = self.kept.set(kept);
    }

    /// Whether the store has it.
    pub fn is_kept(&self) -> bool {
        self.kept.get().is_some()
    }

    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The files of that moment, for a session to go on with.
    pub fn files(&self) -> Tree {
        self.files.fork()
    }

    /// A sandbox that goes on from here, on `files`, which [`Snapshot::files`] gave; none when there was no guest yet.
    ///
    /// # Errors
    /// When no sandbox can be made, or `memory_limit_bytes` is less than it had.
    pub async fn restore(&self, files: Tree, memory_limit_bytes: u64) -> Result<Option<WasmSandbox>, SandboxError> {
        match &self.guest {
            Some(state) => {
                let (image, reseed) = (self.image.clone(), self.cloned);
                WasmSandbox::restore(image, files, memory_limit_bytes, state, reseed).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Bytes of memory that differ from the image.
    pub fn memory_bytes(&self) -> u64 {
        self.guest.as_ref().map_or(0, GuestState::own_bytes)
    }
}

fn opens_the_same(one: &Option<GuestState>, other: &Option<GuestState>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.opens_the_same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}
