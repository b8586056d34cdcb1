//! Session pools: what they offer, how many sessions they hold, and the way to a session.

pub mod container;
mod facilities;
mod history;
mod keeping;
mod name;
mod ready;
mod resource;
mod specification;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use facilities::Facilities;
pub use history::HistoryError;
pub use keeping::{FindImage, Keeping};
pub use name::{InvalidPoolName, PoolName};
pub use resource::{PoolResource, PoolStore, Template};
pub use specification::{InvalidSpecification, OnCooldown, PoolLimits, PoolSpecification, Retention, SnapshotPolicy};

use crate::egress::Egress;
use crate::files::Tree;
use crate::interpreter::Packages;
use crate::records::{Census, Level, PoolRecords};
use crate::sandbox::SandboxError;
use crate::sandbox::wasm::{Image, WasmSandbox, Workers};
use crate::session::{
    Directory, Files, Full, Identifier, Lease, NoLease, Parts, Session, SessionPage, SessionView, Terms,
};
use crate::snapshot::RestoreError;
use crate::snapshot::store::StoreError;
use ready::ReadySandboxes;

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("the pool holds {limit} sessions, its maximum")]
    PoolFull { limit: usize, retry_after: Duration },
    #[error("{limit} executions wait for this session already")]
    QueueFull { limit: usize, retry_after: Duration },
    #[error("the execution was stopped while it waited for its session")]
    Stopped,
    #[error("the gateway is shutting down")]
    Draining,
    /// It stays where it is.
    #[error("the session hibernates and cannot be woken: {0}")]
    Asleep(RestoreError),
    #[error("the session was set back while the files were written; send them again")]
    SetBack,
    /// The session goes on in memory.
    #[error("the session could not be put on disk: {0}")]
    NotKept(StoreError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Why a pool was not opened while the gateway serves.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    #[error("{0}")]
    Unavailable(String),
    #[error("the pool cannot be opened: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// A session pool of one interpreter.
pub struct Pool {
    specification: PoolSpecification,
    supply: RwLock<Arc<Supply>>,
    facilities: Facilities,
    directory: Arc<Directory>,
    egress: Arc<Egress>,
    records: PoolRecords,
    /// In pools whose sessions go to disk.
    keeping: Option<Keeping>,
}

/// What new sessions start from. Those that exist keep the image that they started from.
struct Supply {
    image: Arc<Image>,
    packages: Arc<Packages>,
    ready: Arc<ReadySandboxes>,
}

impl Pool {
    /// Opens a pool and starts to make its ready sandboxes. Nothing of it goes to disk.
    pub fn open(
        specification: PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        facilities: Facilities,
    ) -> Arc<Self> {
        Self::with(specification, image, packages, facilities, None)
    }

    /// The same for a pool whose sessions go to disk. Those that are there are taken in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_kept(
        specification: PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        facilities: Facilities,
        keeping: Keeping,
    ) -> Result<Arc<Self>, StoreError> {
        let pool = Self::open_beside(specification, image, packages, facilities, keeping);
        pool.take_in()?;
        Ok(pool)
    }

    /// The same beside an older pool of its name, whose sessions those are that are there.
    pub fn open_beside(
        specification: PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        facilities: Facilities,
        keeping: Keeping,
    ) -> Arc<Self> {
        Self::with(specification, image, packages, facilities, Some(keeping))
    }

    fn with(
        specification: PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        facilities: Facilities,
        keeping: Option<Keeping>,
    ) -> Arc<Self> {
        let records =
            facilities.records.pool(specification.name.as_str(), &specification.tags, specification.console_log);
        let terms = Terms {
            limit: specification.max_concurrent_sessions,
            lifetimes: specification.lifetimes(),
            hibernates: specification.hibernates(),
            retained_bytes: specification.retention.bytes,
        };
        let store = keeping.as_ref().map(|keeping| keeping.store.clone());
        let directory = Arc::new(Directory::new(terms, store, records.clone()));
        let egress = Egress::new(specification.egress.clone());
        let supply = Supply::start(&specification, image, packages, &facilities, &egress, &records);
        let supply = RwLock::new(Arc::new(supply));
        records.event(Level::Informational, "PoolOpened", format!("opened, with {}", specification.interpreter));
        Arc::new(Self { specification, supply, facilities, directory, egress, records, keeping })
    }

    /// New sessions start from `image` from now on. It belongs to the same engine as the one before.
    pub fn replace_image(&self, image: Arc<Image>, packages: Arc<Packages>) {
        // First, so that the slots of the old ready sandboxes are free for the new ones.
        self.supply().ready.close();
        let (egress, records) = (&self.egress, &self.records);
        let new = Supply::start(&self.specification, image, packages, &self.facilities, egress, records);
        *self.supply.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        records.event(Level::Informational, "ImageReplaced", "new sessions start from another image");
    }

    fn supply(&self) -> Arc<Supply> {
        self.supply.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn specification(&self) -> &PoolSpecification {
        &self.specification
    }

    /// What the interpreter has, for new sessions.
    pub fn packages(&self) -> Arc<Packages> {
        self.supply().packages.clone()
    }

    pub fn workers(&self) -> &Workers {
        &self.facilities.workers
    }

    /// Sandboxes of a pool with `specification` that may exist at once: its sessions, the ready ones, and some that are
    /// being made or ended.
    pub fn slots(specification: &PoolSpecification) -> usize {
        specification.max_concurrent_sessions + specification.ready_session_instances + 16
    }

    /// Waits for the session of `identifier`, made when there is none, woken when it hibernates.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn lease(&self, identifier: &Identifier, stop: &CancellationToken) -> Result<Lease, LeaseError> {
        let queue = self.specification.queue_length;
        let mut tries = 0;
        let lease = loop {
            match self.directory.lease(identifier, queue, stop, || self.parts()).await {
                Err(NoLease::PoolFull { .. }) if self.makes_room(&mut tries, 1).await => {}
                lease => break lease,
            }
        };
        let mut lease = lease.map_err(|denied| match denied {
            NoLease::PoolFull { retry_after } => self.full(retry_after),
            NoLease::QueueFull => LeaseError::QueueFull { limit: queue, retry_after: Duration::from_secs(1) },
            NoLease::Stopped => LeaseError::Stopped,
        })?;
        self.wake(&mut lease).await?;
        Ok(lease)
    }

    /// The sandbox of a lease, made now if this is the session's first execution.
    ///
    /// # Errors
    /// When no sandbox can be made.
    pub async fn sandbox<'a>(&self, lease: &'a mut Lease) -> Result<&'a mut WasmSandbox, SandboxError> {
        let made = match lease.sandbox().take() {
            Some(made) => made,
            None => self.make_sandbox(lease).await.inspect_err(|_| self.records.failed_start())?,
        };
        Ok(lease.sandbox().insert(made))
    }

    async fn make_sandbox(&self, lease: &mut Lease) -> Result<WasmSandbox, SandboxError> {
        let memory_bytes = self.specification.session_limits().memory_bytes;
        if let Some(origin) = lease.take_origin()
            && let Some(mut restored) = origin.restore(lease.tree(), memory_bytes).await?
        {
            restored.set_egress(self.egress.clone());
            return Ok(restored);
        }
        let mut made = WasmSandbox::new(lease.image(), lease.tree(), memory_bytes).await?;
        made.set_egress(self.egress.clone());
        made.reseed().await?;
        Ok(made)
    }

    /// The files of a session that exists; it is woken when it hibernates.
    ///
    /// # Errors
    /// When it cannot be woken.
    pub async fn files(&self, identifier: &Identifier) -> Result<Option<Files>, LeaseError> {
        let Some(session) = self.find(identifier) else { return Ok(None) };
        match session.files() {
            Some(files) => Ok(Some(files)),
            None => self.woken_files(identifier).await.map(Some),
        }
    }

    /// The files of a session in memory, at once.
    pub fn files_awake(&self, identifier: &Identifier) -> Option<Files> {
        self.find(identifier).and_then(|session| session.files())
    }

    /// The files of a session, made when there is none. No sandbox is made for it yet.
    ///
    /// # Errors
    /// When the pool is full, or the session cannot be woken.
    pub async fn files_or_create(&self, identifier: &Identifier) -> Result<Files, LeaseError> {
        let mut tries = 0;
        let session = loop {
            match self.directory.session(identifier, || self.parts()) {
                Err(Full { .. }) if self.makes_room(&mut tries, 1).await => {}
                session => break session.map_err(|Full { retry_after }| self.full(retry_after))?,
            }
        };
        match session.files() {
            Some(files) => Ok(files),
            None => self.woken_files(identifier).await,
        }
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.find(identifier).map(|session| session.view())
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        self.directory.page(skip, top)
    }

    /// Ends a session; a running execution is interrupted. False when there was none. It is off the disk when this comes back.
    ///
    /// # Errors
    /// When the disk fails: it is gone from memory, and may be there again after a restart.
    pub async fn end_session(&self, identifier: &Identifier) -> Result<bool, StoreError> {
        let Some(ended) = self.directory.end(identifier) else { return Ok(false) };
        let key = ended.key().clone();
        self.drop_elsewhere(vec![ended]);
        if let Some(keeping) = &self.keeping {
            keeping.store.end(&key).await?;
        }
        Ok(true)
    }

    /// Ends what nobody used for the cooldown, or puts it to disk.
    pub fn reap(self: &Arc<Self>) {
        let reaped = self.directory.reap(Instant::now());
        self.drop_elsewhere(reaped.ended);
        self.hibernate_soon(reaped.tired);
    }

    /// Takes no new session; those there go on.
    pub fn retire(&self) {
        self.supply().ready.close();
        self.directory.retire();
    }

    /// Whether it holds no session.
    pub fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// Ends everything; what is to survive is on disk then.
    pub async fn close(self: &Arc<Self>) {
        self.supply().ready.close();
        let sessions = if self.specification.survives() {
            self.hibernate_all().await;
            self.directory.let_go_all()
        } else {
            self.directory.end_all()
        };
        let log = format!("closed, and {} sessions with it", sessions.len());
        self.records.event(Level::Informational, "PoolClosed", log);
        self.drop_elsewhere(sessions);
    }

    /// Ends all sessions for good: none survives.
    pub fn discard(&self) {
        self.supply().ready.close();
        self.directory.retire();
        let sessions = self.directory.end_all();
        let log = format!("deleted, and {} sessions with it", sessions.len());
        self.records.event(Level::Informational, "PoolDeleted", log);
        self.drop_elsewhere(sessions);
    }

    /// Where what happens in it is written down.
    pub fn records(&self) -> &PoolRecords {
        &self.records
    }

    /// What it has now.
    pub fn census(&self) -> Census {
        let (ready, wanted) = (self.supply().ready.len(), self.specification.ready_session_instances);
        Census { ready, pending: wanted.saturating_sub(ready), ..self.directory.census() }
    }

    fn find(&self, identifier: &Identifier) -> Option<Arc<Session>> {
        self.directory.find(identifier)
    }

    fn parts(&self) -> Parts {
        let supply = self.supply();
        match supply.ready.take() {
            Some(sandbox) => Parts {
                image: sandbox.image().clone(),
                tree: sandbox.tree().clone(),
                sandbox: Some(sandbox),
                origin: None,
            },
            None => {
                let (image, files) = (supply.image.clone(), self.specification.session_limits().files);
                let tree = Tree::new(image.base().clone(), files, self.facilities.blobs.clone());
                Parts { image, tree, sandbox: None, origin: None }
            }
        }
    }

    fn full(&self, retry_after: Duration) -> LeaseError {
        LeaseError::PoolFull { limit: self.specification.max_concurrent_sessions, retry_after }
    }

    /// Frees memory on a guest thread: it takes a while, and nobody waits for it.
    fn drop_elsewhere(&self, sessions: Vec<Arc<Session>>) {
        if !sessions.is_empty() {
            self.workers().spawn(async move { drop(sessions) });
        }
    }
}

impl Supply {
    fn start(
        specification: &PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        facilities: &Facilities,
        egress: &Arc<Egress>,
        records: &PoolRecords,
    ) -> Self {
        let limits = specification.session_limits();
        let maker = ready::Maker {
            image: image.clone(),
            blobs: facilities.blobs.clone(),
            limits,
            egress: egress.clone(),
            records: records.clone(),
        };
        let ready = ReadySandboxes::start(maker, specification.ready_session_instances, &facilities.workers);
        Self { image, packages, ready }
    }
}
