//! The composition root: settings in, one cheap-to-clone [`Gateway`] out. Everything that `api/` can ask for is here.

mod contained;
mod containers;
mod launch;
mod pools;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::task::JoinError;

pub use contained::{ContainedFiles, InterpretedPool};
pub use containers::{ContainerSessionPool, Containers, Rollout, TemplateStanding};
pub use launch::{Following, Launch, Next};
pub use pools::{Control, Opener, PoolChangeError, PoolView};

use crate::access::Access;
use crate::access::keys::Keys;
use crate::database::DatabaseError;
use crate::execution::registry::Registry;
use crate::execution::{Execution, ExecutionError, ExecutionId, ExecutionRequest, run};
use crate::files::Tree;
use crate::interpreter::Packages;
use crate::otlp::Exporter;
use crate::pool::container::Reopened;
use crate::pool::{HistoryError, LeaseError, Pool, PoolName, PoolSpecification};
use crate::pressure::Pressure;
use crate::records::{Census, Counts, Exposition, PoolRecords, Records};
use crate::sandbox::SandboxError;
use crate::session::{Files, Identifier, SessionPage, SessionView};
use crate::shutdown::Drain;
use crate::snapshot::store::{Listed, SnapshotId, StoreError};
use pools::Pools;

/// How often cooldowns, retentions and keys are looked at.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// After so many looks, callers that use nothing are forgotten.
const FORGET_EVERY: u64 = 60;

/// The gateway; a clone is another handle to it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    pools: Pools,
    access: Access,
    records: Records,
    exporter: OnceLock<Exporter>,
    drain: Drain,
    pressure: Pressure,
}

/// One pool, and its asynchronous executions.
#[derive(Clone)]
pub struct SessionPool {
    pool: Arc<Pool>,
    /// As it was before changes, for the sessions that began then.
    older: Arc<[Arc<Pool>]>,
    registry: Arc<Registry>,
    drain: Drain,
    opened_at: OffsetDateTime,
}

impl Gateway {
    /// Puts the parts together. To be called on the API's runtime: the reaper is started there.
    pub fn new(pools: Vec<Arc<Pool>>, access: Access, records: Records) -> Self {
        Self::with(Pools::new(pools, Vec::new(), None, records.clone()), access, records)
    }

    /// The same, and pools can be made: those that were are opened again, and what an earlier gateway left of containers that no pool
    /// has is taken away. Blocks; not to be called where futures run.
    ///
    /// # Errors
    /// When the pools that were made cannot be read.
    pub fn with_control(
        pools: Vec<Arc<Pool>>,
        containers: Vec<Reopened>,
        access: Access,
        records: Records,
        control: Control,
    ) -> Result<Self, DatabaseError> {
        let pools = Pools::new(pools, containers, Some(control), records.clone());
        pools.reopen()?;
        Ok(Self::with(pools, access, records))
    }

    fn with(pools: Pools, access: Access, records: Records) -> Self {
        let drain = pools.drain().clone();
        let inner =
            Arc::new(Inner { pools, access, records, exporter: OnceLock::new(), drain, pressure: Pressure::default() });
        tokio::spawn(reap(Arc::downgrade(&inner)));
        tokio::spawn(keep_access(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// Sessions hibernate, in pools that do so, while the process has more memory of its own than this, in bytes.
    pub fn hibernate_above(&self, bytes: u64) {
        self.inner.pressure.set_limit(bytes);
    }

    /// A pool by name.
    pub fn pool(&self, name: &PoolName) -> Option<SessionPool> {
        self.inner.pools.find(name)
    }

    /// Whether a pool, of interpreters or containers, has this session.
    pub fn has_session(&self, pool: &PoolName, identifier: &Identifier) -> bool {
        let interpreted = || self.pool(pool).is_some_and(|pool| pool.session(identifier).is_some());
        let contained = || self.container_pool(pool).is_some_and(|pool| pool.session(identifier).is_some());
        interpreted() || contained()
    }

    /// Whether new work is taken.
    ///
    /// # Errors
    /// Why it is not.
    pub fn ready(&self) -> Result<(), String> {
        if self.inner.drain.is_draining() { Err("the gateway is shutting down".into()) } else { Ok(()) }
    }

    /// Who may call.
    pub fn access(&self) -> &Access {
        &self.inner.access
    }

    /// Refuses new executions, lets those under way finish within `grace`, interrupts the rest, and ends all sessions.
    pub async fn drain(&self, grace: Duration) {
        self.inner.drain.drain(grace).await;
        self.inner.pools.close().await;
        self.settle().await;
    }

    /// Waits until what happened so far is on disk: records, and what callers used.
    pub async fn settle(&self) {
        self.inner.records.settle().await;
        let access = self.inner.access.clone();
        // An error: the runtime ends.
        let _ = tokio::task::spawn_blocking(move || save_limits(&access)).await;
    }

    /// All pools, by name.
    pub fn pools(&self) -> Vec<SessionPool> {
        self.inner.pools.all()
    }

    /// Where what happens in the pool of this name is written down.
    pub fn records_of(&self, pool: &PoolName) -> Option<PoolRecords> {
        self.inner.pools.records_of(pool)
    }

    /// What happened.
    pub fn records(&self) -> &Records {
        &self.inner.records
    }

    /// What is counted and measured, of all pools.
    pub fn metrics(&self) -> Exposition {
        let mut metrics = Exposition::default();
        for session_pool in self.pools() {
            session_pool.records().expose(session_pool.census(), &mut metrics);
        }
        for session_pool in self.container_pools() {
            session_pool.records().expose(session_pool.census(), &mut metrics);
        }
        metrics.add("sandpool_records_lost_total", "Records that were dropped.", true, self.inner.records.lost());
        if let Some(exporter) = self.inner.exporter.get() {
            let help = "Spans that were dropped: the collector was away.";
            metrics.add("sandpool_spans_lost_total", help, true, exporter.lost_spans());
        }
        metrics.add("process_resident_memory_bytes", "Resident memory of the gateway.", false, resident_bytes());
        metrics
    }

    /// Telemetry is exported by `exporter`: what it loses is counted.
    pub fn set_exporter(&self, exporter: Exporter) {
        let _ = self.inner.exporter.set(exporter);
    }
}

/// From Linux; 0 where it does not tell.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    resident.unwrap_or(0) * 4096
}

fn save_limits(access: &Access) {
    if let Err(error) = access.limits().save() {
        tracing::error!(%error, "what callers used of their day cannot be written");
    }
}

async fn reap(gateway: std::sync::Weak<Inner>) {
    let mut ticks = tokio::time::interval(REAP_EVERY);
    for tick in 0_u64.. {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        for session_pool in gateway.pools.all() {
            session_pool.generations().for_each(|pool| pool.reap());
            session_pool.registry.reap(Instant::now());
        }
        for session_pool in gateway.pools.all_containers() {
            session_pool.generations().for_each(|pool| pool.reap());
            session_pool.registry().reap(Instant::now());
            for pool in session_pool.generations() {
                pool.note().await;
            }
        }
        gateway.pools.move_generations();
        let pools: Vec<_> =
            gateway.pools.all().iter().flat_map(|pool| pool.generations().cloned().collect::<Vec<_>>()).collect();
        gateway.pressure.relieve(pools.iter()).await;
        if tick % FORGET_EVERY == 0 {
            gateway.access.limits().forget_idle();
        }
    }
}

/// Reads keys that somebody else made, and writes what callers used of their day. Apart from the reaper, who may have to wait
/// for sessions that go to disk.
async fn keep_access(gateway: std::sync::Weak<Inner>) {
    let mut ticks = tokio::time::interval(REAP_EVERY);
    loop {
        ticks.tick().await;
        let Some(access) = gateway.upgrade().map(|gateway| gateway.access.clone()) else { return };
        let looked = tokio::task::spawn_blocking(move || {
            if let Err(error) = access.keys().map_or(Ok(()), Keys::refresh) {
                tracing::error!(%error, "the keys cannot be read");
            }
            save_limits(&access);
        });
        // An error: the runtime ends.
        let _ = looked.await;
    }
}

impl SessionPool {
    fn open(pool: Arc<Pool>, drain: Drain) -> Self {
        let older = Arc::default();
        Self { pool, older, registry: Arc::default(), drain, opened_at: OffsetDateTime::now_utc() }
    }

    /// The pool after a change: `young` takes new sessions.
    fn succeeded_by(self, young: Arc<Pool>) -> Self {
        self.pool.retire();
        let older = self.older.iter().cloned().chain([self.pool]).collect();
        Self { pool: young, older, ..self }
    }

    /// The oldest first.
    fn generations(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.older.iter().chain([&self.pool])
    }

    /// The generation that a session belongs to; the present one when there is no such session.
    fn holding(&self, identifier: &Identifier) -> &Arc<Pool> {
        self.older.iter().find(|pool| pool.session(identifier).is_some()).unwrap_or(&self.pool)
    }

    /// Ends all sessions.
    async fn close(&self) {
        for pool in self.generations() {
            pool.close().await;
        }
    }

    pub fn name(&self) -> &PoolName {
        &self.specification().name
    }

    pub fn specification(&self) -> &PoolSpecification {
        self.pool.specification()
    }

    /// Where what happens in the pool is written down.
    pub fn records(&self) -> &PoolRecords {
        self.pool.records()
    }

    /// What it has now.
    pub fn census(&self) -> Census {
        self.pool.census()
    }

    /// What it has counted since it opened.
    pub fn counts(&self) -> Counts {
        self.pool.records().counts()
    }

    /// The interpreter and what is installed in it.
    pub fn packages(&self) -> Arc<Packages> {
        self.pool.packages()
    }

    pub fn opened_at(&self) -> OffsetDateTime {
        self.opened_at
    }

    /// Lets an execution in, to run on the guest threads.
    ///
    /// # Errors
    /// The caller's mistakes of [`ExecutionError`], or that the gateway drains.
    pub fn launch(&self, request: ExecutionRequest) -> Result<Launch, ExecutionError> {
        let pool = self.holding(&request.identifier).clone();
        let admitted = run::admit(&pool, request)?;
        let workers = self.pool.workers().clone();
        Launch::new(
            self.name(),
            &self.drain,
            &self.registry,
            admitted,
            |admitted, stop, started| Box::pin(async move { run::run(&pool, admitted, stop, started).await }),
            move |story| workers.spawn(story),
        )
    }

    /// An asynchronous execution as it stands; none when it is unknown or forgotten.
    pub fn execution(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution> {
        self.registry.find(identifier, id)
    }

    /// The files of a session that exists. A use of the session; it is woken when it hibernates.
    ///
    /// # Errors
    /// When it cannot be woken.
    pub async fn files(&self, identifier: &Identifier) -> Result<Option<Files>, LeaseError> {
        if let Some(awake) = self.holding(identifier).files_awake(identifier) {
            return Ok(Some(awake));
        }
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.files(&identifier).await }).await
    }

    /// The files of a session, which is made when there is none.
    ///
    /// # Errors
    /// When the pool is full, or the session cannot be woken.
    pub async fn files_or_create(&self, identifier: &Identifier) -> Result<Files, LeaseError> {
        if let Some(awake) = self.holding(identifier).files_awake(identifier) {
            return Ok(awake);
        }
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.files_or_create(&identifier).await }).await
    }

    /// Comes back when what was changed in a session's files is as safe as the pool promises.
    ///
    /// # Errors
    /// When it is not.
    pub async fn keep_files(&self, identifier: &Identifier, files: &Tree) -> Result<(), LeaseError> {
        if !self.specification().durable {
            return Ok(());
        }
        let pool = self.holding(identifier).clone();
        let (identifier, files) = (identifier.clone(), files.clone());
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.keep_files(&identifier, &files).await })
            .await
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.holding(identifier).session(identifier)
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        if self.older.is_empty() {
            return self.pool.sessions(skip, top);
        }
        let all: Vec<_> = self.generations().flat_map(|pool| pool.sessions(0, usize::MAX).sessions).collect();
        SessionPage { total: all.len(), sessions: all.into_iter().skip(skip).take(top).collect() }
    }

    /// Ends a session; a running execution is interrupted. False when there was none.
    ///
    /// # Errors
    /// When it could not be taken off the disk.
    pub async fn end_session(&self, identifier: &Identifier) -> Result<bool, StoreError> {
        self.holding(identifier).end_session(identifier).await
    }

    /// Makes sessions that begin as `parent` is now, or was at a snapshot.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn fork(
        &self,
        parent: &Identifier,
        children: &[Identifier],
        at: Option<SnapshotId>,
    ) -> Result<Vec<SessionView>, HistoryError> {
        let pool = self.holding(parent).clone();
        let (parent, children) = (parent.clone(), children.to_vec());
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.fork(&parent, &children, at).await }).await
    }

    /// A session's snapshots on disk, the latest first.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn snapshots(&self, identifier: &Identifier) -> Result<Vec<Listed>, HistoryError> {
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.snapshots(&identifier) }).await
    }

    /// Puts a snapshot of a session as it is on disk.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn take_snapshot(&self, identifier: &Identifier) -> Result<Listed, HistoryError> {
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.take_snapshot(&identifier).await }).await
    }

    /// Sets a session back to a snapshot.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn restore(&self, identifier: &Identifier, id: SnapshotId) -> Result<SessionView, HistoryError> {
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.restore(&identifier, id).await }).await
    }

    /// A session as one file, as it is now or was at a snapshot.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn export(&self, identifier: &Identifier, at: Option<SnapshotId>) -> Result<Vec<u8>, HistoryError> {
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.export(&identifier, at).await }).await
    }

    /// Makes a session of an exported one.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn import(&self, identifier: &Identifier, file: bytes::Bytes) -> Result<SessionView, HistoryError> {
        let pool = self.holding(identifier).clone();
        let identifier = identifier.clone();
        self.on_guest_thread(pool, move |pool: Arc<Pool>| async move { pool.import(&identifier, &file).await }).await
    }

    /// Does what copies memory or waits for the disk where guests run, and to its end whatever becomes of the caller.
    async fn on_guest_thread<T: Send + 'static, E: From<LeaseError> + Send + 'static, F>(
        &self,
        pool: Arc<Pool>,
        work: impl FnOnce(Arc<Pool>) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let under_way = self.drain.begin().ok_or(LeaseError::Draining)?;
        let done = self.pool.workers().spawn(async move {
            let _under_way = under_way;
            work(pool).await
        });
        let failed = |panic: JoinError| LeaseError::from(SandboxError::new("serving a session", panic.to_string()));
        done.await.unwrap_or_else(|panic| Err(failed(panic).into()))
    }
}
