//! Session pools: what they offer, how many sessions they hold, and the way to a session.

mod name;
mod ready;
mod specification;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use name::{InvalidPoolName, PoolName};
pub use specification::{InvalidSpecification, PoolLimits, PoolSpecification, SnapshotPolicy};

use crate::egress::Egress;
use crate::files::{BlobStore, Tree};
use crate::interpreter::Packages;
use crate::records::{Census, Level, PoolRecords, Records};
use crate::sandbox::SandboxError;
use crate::sandbox::wasm::{Image, WasmSandbox, Workers};
use crate::session::{
    Directory, Full, Identifier, Lease, NoLease, NotAdded, Parts, Session, SessionPage, SessionView, Settled,
};
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
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Why a session was not forked.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    #[error("no session with this identifier is active")]
    NoParent,
    #[error("a session with one of the new identifiers exists")]
    Exists(Identifier),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

/// A session pool of one interpreter.
pub struct Pool {
    specification: PoolSpecification,
    supply: RwLock<Arc<Supply>>,
    blobs: BlobStore,
    directory: Arc<Directory>,
    workers: Workers,
    egress: Arc<Egress>,
    records: PoolRecords,
}

/// What new sessions start from. Those that exist keep the image that they started from.
struct Supply {
    image: Arc<Image>,
    packages: Arc<Packages>,
    ready: Arc<ReadySandboxes>,
}

impl Pool {
    /// Opens a pool and starts to make its ready sandboxes.
    pub fn open(
        specification: PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        blobs: BlobStore,
        workers: Workers,
        records: &Records,
    ) -> Arc<Self> {
        let records = records.pool(specification.name.as_str(), &specification.tags, specification.console_log);
        let (limit, cooldown) = (specification.max_concurrent_sessions, specification.cooldown());
        let directory = Arc::new(Directory::new(limit, cooldown, records.clone()));
        let egress = Egress::new(specification.egress.clone());
        let supply = Supply::start(&specification, image, packages, &blobs, &workers, &egress, &records);
        let supply = RwLock::new(Arc::new(supply));
        records.event(Level::Informational, "PoolOpened", format!("opened, with {}", specification.interpreter));
        Arc::new(Self { specification, supply, blobs, directory, workers, egress, records })
    }

    /// New sessions start from `image` from now on. It belongs to the same engine as the one before.
    pub fn replace_image(&self, image: Arc<Image>, packages: Arc<Packages>) {
        // First, so that the slots of the old ready sandboxes are free for the new ones.
        self.supply().ready.close();
        let (blobs, workers, egress, records) = (&self.blobs, &self.workers, &self.egress, &self.records);
        let new = Supply::start(&self.specification, image, packages, blobs, workers, egress, records);
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
        &self.workers
    }

    /// Sandboxes of a pool with `specification` that may exist at once: its sessions, the ready ones, and some that are
    /// being made or ended.
    pub fn slots(specification: &PoolSpecification) -> usize {
        specification.max_concurrent_sessions + specification.ready_session_instances + 16
    }

    /// Waits for the session of `identifier`, made when there is none.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn lease(&self, identifier: &Identifier, stop: &CancellationToken) -> Result<Lease, LeaseError> {
        let queue = self.specification.queue_length;
        let lease = self.directory.lease(identifier, queue, stop, || self.parts()).await;
        lease.map_err(|denied| match denied {
            NoLease::PoolFull { retry_after } => self.full(retry_after),
            NoLease::QueueFull => LeaseError::QueueFull { limit: queue, retry_after: Duration::from_secs(1) },
            NoLease::Stopped => LeaseError::Stopped,
        })
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
        let mut made = WasmSandbox::new(lease.image().clone(), lease.tree(), memory_bytes).await?;
        made.set_egress(self.egress.clone());
        made.reseed().await?;
        Ok(made)
    }

    /// Makes sessions that begin as the session `parent` is now, once its turn comes. They share its memory and files until
    /// they write; what is random is seeded anew in each.
    ///
    /// # Errors
    /// See [`ForkError`]; then there are no children.
    pub async fn fork(&self, parent: &Identifier, children: &[Identifier]) -> Result<Vec<SessionView>, ForkError> {
        if self.find(parent).is_none() {
            return Err(ForkError::NoParent);
        }
        let lease = self.lease(parent, &CancellationToken::new()).await?;
        let (created, snapshot) = (lease.created(), lease.snapshot());
        // A parent that ended meanwhile was made anew by the lease: nobody wanted that.
        if lease.settle(!created) != Settled::Lives {
            return Err(ForkError::NoParent);
        }
        self.directory.add_all(children, || Parts::from_snapshot(&snapshot)).map_err(|denied| match denied {
            NotAdded::Exists(identifier) => ForkError::Exists(identifier),
            NotAdded::Full(Full { retry_after }) => self.full(retry_after).into(),
        })
    }

    /// The files of a session that exists.
    pub fn files(&self, identifier: &Identifier) -> Option<Tree> {
        self.find(identifier).map(|session| session.files())
    }

    /// The files of a session, made when there is none. No sandbox is made for it yet.
    ///
    /// # Errors
    /// When the pool is full.
    pub fn files_or_create(&self, identifier: &Identifier) -> Result<Tree, LeaseError> {
        let session = self.directory.session(identifier, || self.parts());
        session.map(|session| session.files()).map_err(|Full { retry_after }| self.full(retry_after))
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.find(identifier).map(|session| session.view())
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        self.directory.page(skip, top)
    }

    /// Ends a session; a running execution is interrupted. False when there was none.
    pub fn end_session(&self, identifier: &Identifier) -> bool {
        let ended = self.directory.end(identifier);
        let found = ended.is_some();
        self.drop_elsewhere(ended.into_iter().collect());
        found
    }

    /// Ends what nobody used for the cooldown.
    pub fn reap(&self) {
        self.drop_elsewhere(self.directory.reap(Instant::now()));
    }

    /// Ends everything.
    pub fn close(&self) {
        self.supply().ready.close();
        let ended = self.directory.end_all();
        let log = format!("closed, and {} sessions with it", ended.len());
        self.records.event(Level::Informational, "PoolClosed", log);
        self.drop_elsewhere(ended);
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
                let tree = Tree::new(image.base().clone(), files, self.blobs.clone());
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
            self.workers.spawn(async move { drop(sessions) });
        }
    }
}

impl Supply {
    fn start(
        specification: &PoolSpecification,
        image: Arc<Image>,
        packages: Arc<Packages>,
        blobs: &BlobStore,
        workers: &Workers,
        egress: &Arc<Egress>,
        records: &PoolRecords,
    ) -> Self {
        let limits = specification.session_limits();
        let maker = ready::Maker {
            image: image.clone(),
            blobs: blobs.clone(),
            limits,
            egress: egress.clone(),
            records: records.clone(),
        };
        let ready = ReadySandboxes::start(maker, specification.ready_session_instances, workers);
        Self { image, packages, ready }
    }
}
