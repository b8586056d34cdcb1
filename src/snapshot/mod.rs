//! Snapshots: a session captured between executions, whole: its guest's state and its files. Immutable and shared; what did not
//! change since the snapshot before is shared with that.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::files::{ChangeMark, Tree};
use crate::sandbox::SandboxError;
use crate::sandbox::wasm::{GuestState, Image, WasmSandbox};

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
        let guest = sandbox.map_or_else(|| before.cloned(), |sandbox| Some(sandbox.capture(before)));
        let mark = files.mark();
        // The fork knows what is open, too: both must be as they were for it to be shared.
        let unchanged = previous.filter(|previous| previous.mark == mark && opens_the_same(&previous.guest, &guest));
        let files = unchanged.map_or_else(|| files.fork(), |previous| previous.files.clone());
        Arc::new(Self { number, taken_at: OffsetDateTime::now_utc(), image: image.clone(), guest, files, mark })
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
            Some(state) => WasmSandbox::restore(self.image.clone(), files, memory_limit_bytes, state).await.map(Some),
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
