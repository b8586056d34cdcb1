//! What can be done with a session's moments: fork it as it is or was, list its snapshots, go back to one, carry one away
//! and bring it back.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{LeaseError, Pool};
use crate::session::{Full, Identifier, Lease, NotAdded, Parts, Session, SessionView, Settled};
use crate::snapshot::file::{self, SnapshotFile};
use crate::snapshot::store::{Listed, SnapshotId, StoreError};
use crate::snapshot::{RestoreError, Snapshot};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("no session with this identifier is active")]
    NoSession,
    #[error("a session with one of the new identifiers exists")]
    Exists(Identifier),
    #[error("this pool keeps no snapshots on disk; its settings history, durable and on_cooldown make it")]
    NotKept,
    #[error("this session has no such snapshot")]
    NoSnapshot,
    #[error(transparent)]
    Restore(RestoreError),
    /// It came from outside.
    #[error("the snapshot cannot be taken in: {0}")]
    Import(RestoreError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl From<RestoreError> for HistoryError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Store(StoreError::NoSnapshot) => Self::NoSnapshot,
            error => Self::Restore(error),
        }
    }
}

impl From<StoreError> for HistoryError {
    fn from(error: StoreError) -> Self {
        RestoreError::from(error).into()
    }
}

impl Pool {
    /// Makes sessions that begin as the session `parent` is now, once its turn comes, or was at a snapshot. They share its
    /// memory and files until they write; what is random is seeded anew in each.
    ///
    /// # Errors
    /// See [`HistoryError`]; then there are no children.
    pub async fn fork(
        &self,
        parent: &Identifier,
        children: &[Identifier],
        at: Option<SnapshotId>,
    ) -> Result<Vec<SessionView>, HistoryError> {
        let session = self.find(parent).ok_or(HistoryError::NoSession)?;
        let snapshot = match at {
            Some(id) => self.load(&session, Some(id)).await?,
            None => self.now(parent).await?,
        };
        self.add(children, &snapshot).await
    }

    /// The session as it is, once its turn comes.
    async fn now(&self, identifier: &Identifier) -> Result<Arc<Snapshot>, HistoryError> {
        let lease = self.lease_existing(identifier).await?;
        let snapshot = lease.snapshot();
        if lease.settle(true) != Settled::Lives {
            return Err(HistoryError::NoSession);
        }
        Ok(snapshot)
    }

    async fn lease_existing(&self, identifier: &Identifier) -> Result<Lease, HistoryError> {
        if self.find(identifier).is_none() {
            return Err(HistoryError::NoSession);
        }
        let lease = self.lease(identifier, &CancellationToken::new()).await?;
        // One that ended meanwhile was made anew by the lease: nobody wanted that.
        if lease.created() {
            lease.settle(false);
            return Err(HistoryError::NoSession);
        }
        Ok(lease)
    }

    /// Makes sessions that go on from `snapshot`: all, or none. In a durable pool they are on disk when this comes back.
    async fn add(
        &self,
        identifiers: &[Identifier],
        snapshot: &Arc<Snapshot>,
    ) -> Result<Vec<SessionView>, HistoryError> {
        let (mut tries, snapshot) = (0, Arc::new(snapshot.as_clone()));
        let added = loop {
            match self.directory.add_all(identifiers, || Parts::from_snapshot(&snapshot)) {
                Ok(sessions) => break sessions,
                Err(NotAdded::Exists(identifier)) => return Err(HistoryError::Exists(identifier)),
                Err(NotAdded::Full(_)) if self.makes_room(&mut tries, identifiers.len()).await => {}
                Err(NotAdded::Full(Full { retry_after })) => return Err(self.full(retry_after).into()),
            }
        };
        if let Err(error) = self.keep_new(&added).await {
            for session in &added {
                // The first error is told.
                let _ = self.end_session(session.identifier()).await;
            }
            return Err(LeaseError::NotKept(error).into());
        }
        Ok(added.iter().map(|session| session.view()).collect())
    }

    async fn keep_new(&self, sessions: &[Arc<Session>]) -> Result<(), StoreError> {
        if !self.specification.durable {
            return Ok(());
        }
        for session in sessions {
            // Whoever knows its identifier already and runs something in it keeps it by that.
            let Some(mut lease) = self.directory.try_lease(session) else { continue };
            lease.keep_checkpoint();
            let kept = self.keep(&mut lease).await;
            lease.settle(true);
            kept?;
        }
        Ok(())
    }

    /// A session's snapshots on disk, the latest first.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn snapshots(&self, identifier: &Identifier) -> Result<Vec<Listed>, HistoryError> {
        let session = self.find(identifier).ok_or(HistoryError::NoSession)?;
        let keeping = self.keeping.as_ref().ok_or(HistoryError::NotKept)?;
        Ok(keeping.store.snapshots(session.key())?)
    }

    /// Puts a snapshot of the session as it is on disk, once its turn comes.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn take_snapshot(&self, identifier: &Identifier) -> Result<Listed, HistoryError> {
        if self.keeping.is_none() {
            return Err(HistoryError::NotKept);
        }
        let mut lease = self.lease_existing(identifier).await?;
        let put = async {
            let snapshot = lease.snapshot();
            self.put(&mut lease, snapshot, self.specification.durable).await
        };
        let put = put.await;
        let listed = lease.stored();
        lease.settle(true);
        put.map_err(LeaseError::NotKept)?;
        listed.ok_or(HistoryError::NoSnapshot)
    }

    /// Sets a session back, or forth, to one of its snapshots, once its turn comes.
    ///
    /// # Errors
    /// See [`HistoryError`]; the session is as it was then.
    pub async fn restore(&self, identifier: &Identifier, id: SnapshotId) -> Result<SessionView, HistoryError> {
        let mut lease = self.lease_existing(identifier).await?;
        let snapshot = match self.load(lease.session(), Some(id)).await {
            Ok(snapshot) => Arc::new(snapshot.as_of_now()),
            Err(error) => {
                lease.settle(true);
                return Err(error.into());
            }
        };
        if self.specification.durable
            && let Err(error) = self.put(&mut lease, snapshot.clone(), true).await
        {
            lease.settle(true);
            return Err(LeaseError::NotKept(error).into());
        }
        lease.replace(&snapshot, self.specification.rolls_back_to_waking());
        let session = lease.session().clone();
        self.records.session_restored(identifier.as_str());
        lease.settle(true);
        Ok(session.view())
    }

    /// A session as one file: as it is now, once its turn comes, or as it was at a snapshot.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn export(&self, identifier: &Identifier, at: Option<SnapshotId>) -> Result<Vec<u8>, HistoryError> {
        let session = self.find(identifier).ok_or(HistoryError::NoSession)?;
        let seal = &self.facilities.seal;
        if let Some(id) = at {
            let keeping = self.keeping.as_ref().ok_or(HistoryError::NotKept)?;
            let written = keeping.store.load(session.key(), Some(id), |manifest, chunks| {
                file::write(manifest, seal, |id| chunks.packed(id).map_err(RestoreError::from))
            });
            return Ok(written?);
        }
        let snapshot = self.now(identifier).await?;
        let owner = self.owner(identifier, session.view().created_at);
        let packed = snapshot.pack(owner, None).map_err(RestoreError::from)?;
        let chunk = |id: &_| packed.new.get(id).cloned().ok_or(StoreError::NoChunk);
        Ok(file::write(&packed.manifest, seal, chunk)?)
    }

    /// Makes a session of an exported one. Nothing of the file is believed.
    ///
    /// # Errors
    /// See [`HistoryError`]; then there is no session.
    pub async fn import(&self, identifier: &Identifier, bytes: &[u8]) -> Result<SessionView, HistoryError> {
        let file = SnapshotFile::read(bytes, &self.facilities.seal).map_err(HistoryError::Import)?;
        let image = self.image_called(file.manifest.image).await.map_err(HistoryError::Import)?;
        let unpacked = self.unpack(&image, &file.manifest, |id| file.fetch(id));
        let (snapshot, _) = unpacked.map_err(HistoryError::Import)?;
        let mut added = self.add(std::slice::from_ref(identifier), &Arc::new(snapshot)).await?;
        Ok(added.remove(0))
    }
}
