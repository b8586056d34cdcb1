//! The composition root: settings in, one cheap-to-clone [`Gateway`] out. Everything that `api/` can ask for is here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::execution::registry::Registry;
use crate::execution::run::{self, Admitted};
use crate::execution::{Execution, ExecutionError, ExecutionId, ExecutionRequest, Status};
use crate::files::Tree;
use crate::interpreter::Packages;
use crate::pool::{ForkError, LeaseError, Pool, PoolName, PoolSpecification};
use crate::records::{Census, Counts, Exposition, PoolRecords, Records};
use crate::sandbox::{Event, Output, SandboxError};
use crate::session::{Identifier, SessionPage, SessionView};
use crate::shutdown::Drain;

/// How often cooldowns and retentions are looked at.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// The gateway; a clone is another handle to it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    pools: BTreeMap<PoolName, SessionPool>,
    access: Access,
    records: Records,
    drain: Drain,
}

/// Who may call.
#[derive(Clone, Default)]
pub struct Access {
    /// Bearer keys; none: everybody who reaches the gateway.
    pub keys: Vec<String>,
}

/// An execution under way, for somebody who takes its events as they come.
pub struct Following {
    pub id: ExecutionId,
    pub created_at: OffsetDateTime,
    output: Arc<Output>,
    ended: JoinHandle<Result<Execution, ExecutionError>>,
}

/// What comes next of an execution that is followed.
#[derive(Debug)]
pub enum Next {
    Events(Vec<Event>),
    /// With the events that were not given out.
    Ended(Result<Execution, ExecutionError>),
}

impl Following {
    /// Waits for events, gathering those of `pause`, or for the end. Not to be called after the end.
    pub async fn next(&mut self, pause: Duration) -> Next {
        tokio::select! {
            biased;
            ended = &mut self.ended => return Self::end(ended),
            () = self.output.more() => {}
        }
        match tokio::time::timeout(pause, &mut self.ended).await {
            Ok(ended) => Self::end(ended),
            Err(_) => Next::Events(self.output.take().0),
        }
    }

    fn end(ended: Result<Result<Execution, ExecutionError>, JoinError>) -> Next {
        Next::Ended(ended.unwrap_or_else(|panic| Err(panicked(&panic))))
    }
}

/// One pool, and its asynchronous executions.
#[derive(Clone)]
pub struct SessionPool {
    pool: Arc<Pool>,
    registry: Arc<Registry>,
    drain: Drain,
    opened_at: OffsetDateTime,
}

impl Gateway {
    /// Puts the parts together. To be called on the API's runtime: the reaper is started there.
    pub fn new(pools: Vec<Arc<Pool>>, access: Access, records: Records) -> Self {
        let drain = Drain::default();
        let opened = |pool: Arc<Pool>| {
            let name = pool.specification().name.clone();
            let opened_at = OffsetDateTime::now_utc();
            (name, SessionPool { pool, registry: Arc::default(), drain: drain.clone(), opened_at })
        };
        let pools = pools.into_iter().map(opened).collect();
        let inner = Arc::new(Inner { pools, access, records, drain: drain.clone() });
        tokio::spawn(reap(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// A pool by name.
    pub fn pool(&self, name: &PoolName) -> Option<SessionPool> {
        self.inner.pools.get(name).cloned()
    }

    /// Whether new work is taken.
    ///
    /// # Errors
    /// Why it is not.
    pub fn ready(&self) -> Result<(), String> {
        if self.inner.drain.is_draining() { Err("the gateway is shutting down".into()) } else { Ok(()) }
    }

    pub fn access(&self) -> &Access {
        &self.inner.access
    }

    /// Refuses new executions, lets those under way finish within `grace`, interrupts the rest, and ends all sessions.
    pub async fn drain(&self, grace: Duration) {
        self.inner.drain.drain(grace).await;
        for session_pool in self.inner.pools.values() {
            session_pool.pool.close();
        }
        self.inner.records.settle().await;
    }

    /// All pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &SessionPool> {
        self.inner.pools.values()
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
        metrics.add("sandpool_records_lost_total", "Records that were dropped.", true, self.inner.records.lost());
        metrics
    }
}

async fn reap(gateway: std::sync::Weak<Inner>) {
    let mut ticks = tokio::time::interval(REAP_EVERY);
    loop {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        for session_pool in gateway.pools.values() {
            session_pool.pool.reap();
            session_pool.registry.reap(Instant::now());
        }
    }
}

impl SessionPool {
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

    /// Runs code to its end. Cancelling `stop`, or dropping this future, interrupts the guest; the session stays.
    ///
    /// # Errors
    /// When it does not run; whatever the guest does is an outcome.
    pub async fn execute(
        &self,
        request: ExecutionRequest,
        stop: CancellationToken,
    ) -> Result<Execution, ExecutionError> {
        let admitted = run::admit(&self.pool, request)?;
        let gone = stop.child_token();
        let _interrupts_when_dropped = gone.clone().drop_guard();
        self.spawn(admitted, gone, || {})?.await.unwrap_or_else(|panic| Err(panicked(&panic)))
    }

    /// Starts an execution whose events the caller takes as they come, and comes back when its turn has come.
    /// Cancelling `stop` interrupts it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn follow(
        &self,
        request: ExecutionRequest,
        stop: CancellationToken,
    ) -> Result<Following, ExecutionError> {
        let admitted = run::admit(&self.pool, ExecutionRequest { followed: true, ..request })?;
        let (id, created_at, output) = (admitted.id.clone(), admitted.created_at, admitted.output.clone());
        let (begins, begun) = oneshot::channel();
        let ended = self.spawn(admitted, stop, move || {
            // Whoever waited for it may have gone; then `stop` ends the run.
            let _ = begins.send(());
        })?;
        match begun.await {
            Ok(()) => Ok(Following { id, created_at, output, ended }),
            Err(_) => match ended.await.unwrap_or_else(|panic| Err(panicked(&panic))) {
                Ok(_stopped) => Err(LeaseError::Stopped.into()),
                Err(error) => Err(error),
            },
        }
    }

    /// Starts an execution and comes back at once; [`SessionPool::execution`] tells how it stands.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn submit(&self, request: ExecutionRequest) -> Result<Execution, ExecutionError> {
        let admitted = run::admit(&self.pool, request)?;
        let execution = Execution {
            id: admitted.id.clone(),
            identifier: admitted.identifier.clone(),
            status: Status::NotStarted,
            created_at: admitted.created_at,
            output: admitted.output.clone(),
        };
        self.registry.begin(execution.clone())?;
        let (registry, identifier, id) = (self.registry.clone(), admitted.identifier.clone(), admitted.id.clone());
        let runs = {
            let (registry, identifier, id) = (registry.clone(), identifier.clone(), id.clone());
            move || registry.set(&identifier, &id, Status::Running)
        };
        let running = self.spawn(admitted, CancellationToken::new(), runs);
        match running {
            Ok(running) => {
                self.pool.workers().spawn(async move {
                    let ended = running.await.unwrap_or_else(|panic| Err(panicked(&panic)));
                    let status = ended.map_or_else(|error| Status::Lost(Arc::new(error)), |done| done.status);
                    registry.set(&identifier, &id, status);
                });
                Ok(execution)
            }
            Err(error) => {
                registry.forget(&identifier, &id);
                Err(error)
            }
        }
    }

    /// An asynchronous execution as it stands; none when it is unknown or forgotten.
    pub fn execution(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution> {
        self.registry.find(identifier, id)
    }

    /// The files of a session that exists. A use of the session.
    pub fn files(&self, identifier: &Identifier) -> Option<Tree> {
        self.pool.files(identifier)
    }

    /// The files of a session, which is made when there is none.
    ///
    /// # Errors
    /// When the pool is full or the gateway drains.
    pub fn files_or_create(&self, identifier: &Identifier) -> Result<Tree, LeaseError> {
        self.pool.files_or_create(identifier)
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.pool.session(identifier)
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        self.pool.sessions(skip, top)
    }

    /// Ends a session; a running execution is interrupted. False when there was none.
    pub fn end_session(&self, identifier: &Identifier) -> bool {
        self.pool.end_session(identifier)
    }

    /// Makes sessions that begin as `parent` is now, on a guest thread: its state is copied there.
    ///
    /// # Errors
    /// See [`ForkError`].
    pub async fn fork(&self, parent: &Identifier, children: &[Identifier]) -> Result<Vec<SessionView>, ForkError> {
        let _under_way = self.drain.begin();
        let (pool, parent, children) = (self.pool.clone(), parent.clone(), children.to_vec());
        let forked = self.pool.workers().spawn(async move { pool.fork(&parent, &children).await }).await;
        forked.unwrap_or_else(|panic| {
            Err(LeaseError::from(SandboxError::new("forking a session", panic.to_string())).into())
        })
    }

    /// Runs an execution on the guest threads, to its end whatever becomes of the caller.
    fn spawn(
        &self,
        admitted: Admitted,
        stop: CancellationToken,
        started: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<Result<Execution, ExecutionError>>, ExecutionError> {
        let under_way = self.drain.begin().ok_or(ExecutionError::Draining)?;
        let (pool, over) = (self.pool.clone(), self.drain.over().clone());
        // Made here, where the span of the call is the present one.
        let span = tracing::debug_span!("execution", pool = self.name().as_str());
        Ok(self.pool.workers().spawn(async move {
            let _under_way = under_way;
            let until_over = stop.clone();
            let story = run::run(&pool, admitted, stop, started).instrument(span);
            tokio::pin!(story);
            tokio::select! {
                biased;
                ended = &mut story => ended,
                () = over.cancelled() => {
                    until_over.cancel();
                    story.await
                }
            }
        }))
    }
}

fn panicked(error: &JoinError) -> ExecutionError {
    ExecutionError::Sandbox(SandboxError::new("running an execution", error.to_string()))
}
