//! Sessions on disk: put there, woken, and kept up to date in pools that are durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{LeaseError, Pool};
use crate::files::Tree;
use crate::sandbox::SandboxError;
use crate::sandbox::wasm::{Image, ImageIdentity};
use crate::session::{Files, Identifier, Lease, Session, Settled};
use crate::snapshot::store::{Listed, NewSnapshot, SessionKey, SnapshotId, Store, StoreError};
use crate::snapshot::{Manifest, Owner, Packed, Place, RestoreError, Snapshot, Unpacked};

/// Sessions that are written to disk at the same time, where many are: one commit takes all of them.
const TOGETHER: usize = 16;
/// How often a place that was made is taken by somebody else before one gives up.
const TRIES: usize = 8;

/// Finds an image that sessions on disk were captured on. Blocks, for seconds when it must be compiled.
pub type FindImage = dyn Fn(ImageIdentity) -> Result<Option<Arc<Image>>, SandboxError> + Send + Sync;

/// Where sessions are kept.
pub struct Keeping {
    pub store: Arc<Store>,
    find_image: Arc<FindImage>,
    /// Images of the past that were found. None: it is not there, and will not be.
    older: Mutex<HashMap<ImageIdentity, Arc<Image>>>,
}

impl Keeping {
    pub fn new(store: Arc<Store>, find_image: Arc<FindImage>) -> Self {
        Self { store, find_image, older: Mutex::default() }
    }

    async fn older_image(&self, identity: ImageIdentity) -> Result<Arc<Image>, RestoreError> {
        let known = self.older.lock().unwrap_or_else(PoisonError::into_inner).get(&identity).cloned();
        if let Some(image) = known {
            return Ok(image);
        }
        let find = self.find_image.clone();
        let found = tokio::task::spawn_blocking(move || find(identity)).await;
        match found {
            Ok(Ok(Some(image))) => {
                self.older.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, image.clone());
                Ok(image)
            }
            Ok(Ok(None)) | Err(_) => Err(RestoreError::Image { image: identity }),
            Ok(Err(error)) => {
                tracing::error!(%error, cause = ?error.source, "an image of the past cannot be used");
                Err(RestoreError::Image { image: identity })
            }
        }
    }
}

impl Pool {
    /// Takes in the sessions that the store has of this pool.
    pub(super) fn take_in(&self) -> Result<(), StoreError> {
        let Some(keeping) = &self.keeping else { return Ok(()) };
        for stored in keeping.store.sessions(self.specification.name.as_str())? {
            let key = stored.key.clone();
            let identifier = Identifier::new(stored.owner.identifier.clone()).ok();
            let taken = self.specification.survives()
                && identifier.is_some_and(|identifier| self.directory.add_stored(identifier, stored));
            if !taken {
                keeping.store.end_soon(&key);
            }
        }
        Ok(())
    }

    /// Brings a leased session back into memory.
    pub(super) async fn wake(&self, lease: &mut Lease) -> Result<(), LeaseError> {
        if lease.is_asleep() {
            let called = Instant::now();
            let snapshot = self.load(lease.session(), None).await.map_err(LeaseError::Asleep)?;
            lease.wake(snapshot, self.specification.rolls_back_to_waking());
            self.records.session_woken(lease.session().identifier().as_str(), called.elapsed());
        }
        Ok(())
    }

    pub(super) async fn woken_files(&self, identifier: &Identifier) -> Result<Files, LeaseError> {
        let lease = self.lease(identifier, &CancellationToken::new()).await?;
        // Before it is let go: from then on it may hibernate again.
        let files = lease.session().files().expect("a lease is awake");
        lease.settle(true);
        Ok(files)
    }

    /// Reads a snapshot of a session; its latest without `id`.
    pub(super) async fn load(&self, session: &Session, id: Option<SnapshotId>) -> Result<Arc<Snapshot>, RestoreError> {
        let keeping = self.keeping.as_ref().ok_or(StoreError::NoSnapshot)?;
        let read = |image: &Arc<Image>| {
            keeping.store.load(session.key(), id, |manifest, chunks| {
                // Sealed, but in another's place on the disk.
                if manifest.owner.identifier != session.identifier().as_str() {
                    return Err(RestoreError::Session);
                }
                let (snapshot, kept) = self.unpack(image, manifest, |id| chunks.fetch(id))?;
                snapshot.keep(kept);
                Ok(Arc::new(snapshot))
            })
        };
        match read(&self.supply().image) {
            Err(RestoreError::Image { image }) => read(&keeping.older_image(image).await?),
            read => read,
        }
    }

    /// Makes a snapshot out of one that was written down, if it is one of this pool's.
    pub(super) fn unpack(
        &self,
        image: &Arc<Image>,
        manifest: &Manifest,
        fetch: impl FnMut(&crate::snapshot::chunk::ChunkId) -> Result<Unpacked, RestoreError>,
    ) -> Result<(Snapshot, crate::snapshot::Kept), RestoreError> {
        if manifest.owner.pool != self.specification.name.as_str() {
            return Err(RestoreError::Pool);
        }
        let place = Place { image, limits: self.specification.session_limits(), blobs: &self.facilities.blobs };
        Snapshot::unpack(manifest, &place, fetch)
    }

    pub(super) async fn image_called(&self, identity: ImageIdentity) -> Result<Arc<Image>, RestoreError> {
        let image = self.supply().image.clone();
        match &self.keeping {
            _ if image.identity() == identity => Ok(image),
            Some(keeping) => keeping.older_image(identity).await,
            None => Err(RestoreError::Image { image: identity }),
        }
    }

    pub(super) fn owner(&self, identifier: &Identifier, created_at: OffsetDateTime) -> Owner {
        let (pool, identifier) = (self.specification.name.to_string(), identifier.as_str().to_owned());
        Owner { pool, identifier, created_at }
    }

    /// Puts a leased session on disk as it was after its last execution, unless it is there. It is there when this comes back.
    ///
    /// # Errors
    /// Then the disk has what it had before.
    pub async fn keep(&self, lease: &mut Lease) -> Result<(), StoreError> {
        match lease.checkpoint() {
            Some(checkpoint) => self.put(lease, checkpoint, true).await,
            None => Ok(()),
        }
    }

    /// Puts `snapshot` on disk as the latest of a leased session. It is remembered where a next one soon goes on from it.
    pub(super) async fn put(
        &self,
        lease: &mut Lease,
        snapshot: Arc<Snapshot>,
        remember: bool,
    ) -> Result<(), StoreError> {
        let Some(keeping) = &self.keeping else { return Ok(()) };
        let latest = lease.kept();
        if latest.as_ref().is_some_and(|latest| Arc::ptr_eq(latest, &snapshot)) {
            return Ok(());
        }
        let owner = self.owner(lease.session().identifier(), lease.created_at());
        let before = latest.or_else(|| snapshot.is_kept().then(|| snapshot.clone()));
        let packed = snapshot.pack(owner.clone(), before.as_deref())?;
        let put = match self.write(keeping, lease.key(), packed).await {
            // What it was to be shared with has gone meanwhile.
            Err(StoreError::NoChunk) => self.write(keeping, lease.key(), snapshot.pack(owner, None)?).await,
            put => put,
        };
        let (id, bytes, kept) = put?;
        snapshot.keep(kept);
        let listed = Listed { id, number: snapshot.number, taken_at: snapshot.taken_at, bytes };
        lease.set_kept(listed, remember.then_some(snapshot));
        Ok(())
    }

    async fn write(
        &self,
        keeping: &Keeping,
        session: &SessionKey,
        packed: Packed,
    ) -> Result<(SnapshotId, u64, crate::snapshot::Kept), StoreError> {
        let Packed { manifest, new, bytes, kept } = packed;
        let history = self.specification.history;
        let id = keeping.store.put(NewSnapshot { session: session.clone(), manifest, new, bytes, history }).await?;
        Ok((id, bytes, kept))
    }

    /// Puts what a caller has changed in `files` on disk, in a pool that is durable: when this comes back, it is there. It
    /// waits for the execution that has the session.
    ///
    /// # Errors
    /// When it is not, or the session went back to before the change.
    pub async fn keep_files(&self, identifier: &Identifier, files: &Tree) -> Result<(), LeaseError> {
        if !self.specification.durable {
            return Ok(());
        }
        let mut lease = self.lease(identifier, &CancellationToken::new()).await?;
        if lease.created() || !lease.tree().is(files) {
            lease.settle(true);
            return Err(LeaseError::SetBack);
        }
        lease.renew_checkpoint();
        let kept = self.keep(&mut lease).await;
        lease.settle(true);
        kept.map_err(LeaseError::NotKept)
    }

    /// Puts an idle session to disk and frees its memory. False when it is in use.
    ///
    /// # Errors
    /// When the disk does not take it; it stays in memory.
    pub async fn hibernate(&self, session: &Arc<Session>) -> Result<bool, StoreError> {
        let Some(mut lease) = self.directory.try_lease(session) else { return Ok(false) };
        let snapshot = match lease.checkpoint() {
            Some(_) => {
                lease.renew_checkpoint();
                lease.checkpoint().expect("it was just renewed")
            }
            None => lease.snapshot(),
        };
        match self.put(&mut lease, snapshot, false).await {
            Ok(()) => {
                let sleeps = lease.sleep() == Settled::Lives;
                if sleeps {
                    self.records.session_hibernated(session.identifier().as_str());
                }
                Ok(sleeps)
            }
            Err(error) => {
                lease.settle(true);
                tracing::warn!(%error, "a session could not be put to disk; it stays in memory");
                Err(error)
            }
        }
    }

    /// Puts sessions to disk, some at a time, on a guest thread.
    pub(super) fn hibernate_soon(self: &Arc<Self>, sessions: Vec<Arc<Session>>) {
        if !sessions.is_empty() {
            let pool = self.clone();
            self.workers().spawn(async move { pool.hibernate_each(sessions).await });
        }
    }

    /// Puts all idle sessions to disk, in pools that do so.
    pub(super) async fn hibernate_all(self: &Arc<Self>) {
        if self.specification.hibernates() {
            let sessions = self.directory.earliest_used(usize::MAX).into_iter().map(|(_, session)| session).collect();
            let pool = self.clone();
            let done = self.workers().spawn(async move { pool.hibernate_each(sessions).await }).await;
            if let Err(panic) = done {
                tracing::error!(%panic, "sessions could not be put to disk");
            }
        }
    }

    async fn hibernate_each(&self, sessions: Vec<Arc<Session>>) {
        let each = |session| async move {
            // It was logged, and the session is where it was.
            let _ = self.hibernate(&session).await;
        };
        stream::iter(sessions).for_each_concurrent(TOGETHER, each).await;
    }

    /// The idle sessions in memory that may go to disk, the earliest used first; at most `count`.
    pub fn earliest_used(&self, count: usize) -> Vec<(OffsetDateTime, Arc<Session>)> {
        if self.specification.hibernates() { self.directory.earliest_used(count) } else { Vec::new() }
    }

    /// Makes room for so many sessions in a pool that is full: idle ones hibernate before anybody is refused. False when there
    /// is none, or it was taken by somebody else [`TRIES`] times.
    pub(super) async fn makes_room(&self, tries: &mut usize, sessions: usize) -> bool {
        *tries += 1;
        *tries < TRIES && self.make_room(sessions).await
    }

    /// Puts so many sessions to disk. False when none goes.
    async fn make_room(&self, sessions: usize) -> bool {
        let mut made = 0;
        for (_, session) in self.earliest_used(sessions.saturating_add(TRIES)) {
            match self.hibernate(&session).await {
                Ok(gone) => made += usize::from(gone),
                // The disk takes no other either.
                Err(_) => break,
            }
            if made == sessions {
                break;
            }
        }
        made > 0
    }
}
