//! Custom-container pools: any image, one container a session, requests forwarded to it.
//!
//! ```text
//! lease(identifier)
//!   session.rs   find it or make it, up to the maximum          -> NoSession::Full
//!   supply.rs    a ready instance, or wait for one              -> NoSession::Failing, NotInTime
//!   instance.rs  a started container and those beside it, watched until they are gone
//!   probe.rs     when it has started, and whether it lives
//!   failure.rs   why it has not started
//!   interpreter.rs  pools that run what callers send, instead of forwarding requests
//!   record.rs    how it ended and what it wrote, for the records
//!   note.rs      what the gateway after this one has to know
//! ```
//! A lease is one request under way. A session whose container is gone is over; its identifier gets a fresh one. A pool whose
//! template changes is retired, and another one takes its place: see `gateway/`.

mod failure;
mod instance;
mod interpreter;
mod note;
mod probe;
mod record;
mod session;
mod sidecar;
mod specification;
mod supply;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use instance::{Ended, Instance};
pub use interpreter::{ExecutionLimits, Interpreter, Language};
pub use note::Estate;
pub use probe::{HttpGet, Probe, ProbeKind, TcpSocket};
pub use sidecar::Sidecar;
pub use specification::{ContainerPoolSpecification, ContainerResources, Lifecycle, RegistryLogin, Secret, Variable};
pub use supply::Standing;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pool::LeaseError;
use crate::records::{Census, Ended as Why, Level, Made, PoolRecords, Records};
use crate::sandbox::container::{BackendReport, ContainerBackend, ContainerError};
use crate::session::{Identifier, SessionPage, SessionView};
use note::{Facts, Heir};
use session::Session;
pub use session::Turn;
use supply::Supply;

/// Why there is no container for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    #[error("the pool holds {limit} sessions, its maximum")]
    Full { limit: usize, retry_after: Duration },
    #[error("the pool's containers do not start at present; its operator finds the reason in the gateway's log")]
    Failing { retry_after: Duration },
    #[error("no container was ready within {} seconds", .0.as_secs())]
    NotInTime(Duration),
    #[error("the session was ended while the request waited for its container")]
    Stopped,
    /// Another pool has its name now, or none.
    #[error("the pool was changed or deleted while the request waited; send it again")]
    Retired,
    #[error("the gateway is shutting down")]
    Closed,
}

/// A session that should be over for so long is stuck.
const OVERDUE: Duration = Duration::from_secs(10);

/// What containers wrote may take so long to be written down, when a gateway ends and they do not.
const RECORDED: Duration = Duration::from_secs(5);

/// A session pool of containers.
pub struct ContainerPool {
    specification: Arc<ContainerPoolSpecification>,
    backend: Arc<dyn ContainerBackend>,
    supply: Arc<Supply>,
    sessions: Mutex<Sessions>,
    records: PoolRecords,
    /// Those who write down what containers write.
    recording: TaskTracker,
}

/// A pool as it is found again: its template, and earlier ones whose sessions still go on.
pub struct Reopened {
    pub pool: Arc<ContainerPool>,
    pub older: Vec<Arc<ContainerPool>>,
}

impl From<Arc<ContainerPool>> for Reopened {
    fn from(pool: Arc<ContainerPool>) -> Self {
        Self { pool, older: Vec::new() }
    }
}

#[derive(Default)]
struct Sessions {
    by_identifier: HashMap<Identifier, Arc<Session>>,
    made: u64,
    retired: bool,
    closed: bool,
}

/// A request under way in a session. Dropping it gives the session back.
pub struct Lease {
    session: Arc<Session>,
    began: Instant,
    records: PoolRecords,
    /// This request gave the session its container.
    created: bool,
    /// It is a request that is forwarded.
    forwards: bool,
}

impl Lease {
    /// Whether the session was made for it.
    pub fn created(&self) -> bool {
        self.created
    }

    /// Waits until no other execution runs in the session.
    ///
    /// # Errors
    /// When `queue_length` wait already, or `stop` is cancelled.
    pub async fn turn(&self, queue_length: usize, stop: &CancellationToken) -> Result<Turn, LeaseError> {
        self.session.turn(queue_length, stop).await
    }

    /// Ends the session: its container is in a state that means nothing any more.
    pub fn discard(&self) {
        self.session.ended(Why::Broken, &self.records);
        self.session.stop();
    }

    /// Where the request goes.
    pub fn instance(&self) -> &Arc<Instance> {
        self.session.instance.get().expect("a lease is given out with its container")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.end();
        if self.forwards && self.session.instance.initialized() {
            self.records.forwarded(self.began.elapsed());
        }
    }
}

impl ContainerPool {
    /// Opens a pool and begins to start its ready containers. To be called on a runtime.
    pub fn open(
        specification: ContainerPoolSpecification,
        backend: Arc<dyn ContainerBackend>,
        records: &Records,
    ) -> Arc<Self> {
        let pool = Self::new(specification, backend, records);
        pool.start();
        pool
    }

    /// The same with what an earlier gateway left of it: sessions go on, ready containers are ready.
    pub async fn reopen(
        specification: ContainerPoolSpecification,
        backend: Arc<dyn ContainerBackend>,
        records: &Records,
        estate: &tokio::sync::Mutex<Estate>,
    ) -> Reopened {
        let heirs = estate.lock().await.take(&specification.name);
        let (own, others): (Vec<_>, Vec<_>) = heirs.into_iter().partition(|heir| heir.facts.is_of(&specification));
        let pool = Self::new(specification, backend.clone(), records);
        let mut adopted = pool.adopt(own).await;
        let mut older: Vec<(Facts, Vec<Heir>)> = Vec::new();
        // Of another template only sessions go on.
        for heir in others.into_iter().filter(|heir| heir.facts.session.is_some()) {
            match older.iter_mut().find(|(facts, _)| facts.is_like(&heir.facts)) {
                Some((_, heirs)) => heirs.push(heir),
                None => older.push((heir.facts.clone(), vec![heir])),
            }
        }
        let mut pools = Vec::new();
        for (facts, heirs) in older {
            let pool = Self::new(facts.template, backend.clone(), records);
            pool.retire();
            adopted += pool.adopt(heirs).await;
            pools.push(pool);
        }
        if adopted > 0 {
            let log = format!("{adopted} containers of the gateway before go on");
            pool.records.event(Level::Informational, "ContainersAdopted", log);
        }
        pool.start();
        Reopened { pool, older: pools }
    }

    fn new(
        specification: ContainerPoolSpecification,
        backend: Arc<dyn ContainerBackend>,
        records: &Records,
    ) -> Arc<Self> {
        let specification = Arc::new(specification);
        let records = records.pool(specification.name.as_str(), &specification.tags, specification.console_log);
        let supply = Supply::open(specification.clone(), backend.clone(), records.clone());
        let (sessions, recording) = (Mutex::default(), TaskTracker::new());
        Arc::new(Self { specification, backend, supply, sessions, records, recording })
    }

    fn start(&self) {
        let log = format!("opened, with {}", self.specification.image);
        self.records.event(Level::Informational, "PoolOpened", log);
        self.supply.refill();
    }

    /// Takes over what an earlier gateway left of this template; gives how many containers that were. What cannot be taken over is
    /// taken away.
    async fn adopt(&self, heirs: Vec<Heir>) -> usize {
        let adopting = heirs.iter().map(async |heir| {
            let adopted = self.adopt_one(heir).await;
            adopted.inspect_err(|error| {
                let pool = self.specification.name.as_str();
                tracing::warn!(
                    pool,
                    cause = error.told(),
                    "a container that an earlier gateway left cannot be taken over"
                );
                if let Some(session) = &heir.facts.session {
                    let log = "its container could not be taken over when the gateway was started again";
                    self.records.lifecycle(&session.identifier, Level::Warning, "SessionLost", log);
                }
            })
        });
        futures_util::future::join_all(adopting).await.into_iter().filter(Result::is_ok).count()
    }

    async fn adopt_one(&self, Heir { id, facts }: &Heir) -> Result<(), ContainerError> {
        let instance = Instance::adopt(&self.backend, &self.specification, id, &facts.beside, &self.records).await?;
        self.supply.adopt(&instance, facts.session.is_some()).await?;
        let Some(facts) = &facts.session else { return Ok(()) };
        let mut sessions = self.lock();
        let session = Session::resumed(facts, sessions.made + 1, self.specification.lifecycle, instance.clone());
        let Some(session) = session.filter(|session| !sessions.by_identifier.contains_key(&session.identifier)) else {
            instance.stop();
            return Err(ContainerError::Unsupported("its note names no session, or one that is there".into()));
        };
        sessions.made += 1;
        sessions.by_identifier.insert(session.identifier.clone(), session.clone());
        drop(sessions);
        let log = "goes on after the gateway was started again";
        self.records.lifecycle(session.identifier.as_str(), Level::Informational, "SessionAdopted", log);
        record::follow(&session, &instance, &self.records, &self.recording);
        Ok(())
    }

    pub fn specification(&self) -> &ContainerPoolSpecification {
        &self.specification
    }

    /// The engine, and what it enforces.
    pub fn report(&self) -> &BackendReport {
        self.backend.report()
    }

    /// How its containers stand.
    pub fn standing(&self) -> Standing {
        self.supply.standing()
    }

    /// Where what happens in the pool is written down.
    pub fn records(&self) -> &PoolRecords {
        &self.records
    }

    /// What it has now. Memory of containers is not measured.
    pub fn census(&self) -> Census {
        let standing = self.supply.standing();
        let late = Instant::now().checked_sub(OVERDUE);
        let sessions = self.lock();
        let alive = || sessions.by_identifier.values().filter(|session| !session.is_over());
        Census {
            sessions: alive().count(),
            running: alive().filter(|session| session.is_running()).count(),
            waiting: standing.waiting,
            ready: standing.ready,
            pending: standing.starting,
            overdue: alive()
                .filter(|session| session.is_made() && late.is_some_and(|late| session.is_due(late)))
                .count(),
            longest_running: alive().filter_map(|session| session.running_for()).max(),
            ..Census::default()
        }
    }

    /// Begins a request of `identifier`. Its first one gives it a container.
    ///
    /// # Errors
    /// See [`NoSession`].
    pub async fn lease(&self, identifier: &Identifier) -> Result<Lease, NoSession> {
        loop {
            let session = self.begin(identifier)?;
            let forwards = self.specification.interpreter.is_none();
            let (began, records) = (Instant::now(), self.records.clone());
            let mut lease = Lease { session, began, records, created: false, forwards };
            let session = lease.session.clone();
            let allocate = || {
                lease.created = true;
                self.allocate(&session)
            };
            let instance = session.instance.get_or_try_init(allocate).await;
            let instance = instance.inspect_err(|_| self.forget_empty(&session))?;
            if lease.session.was_stopped() {
                instance.stop();
                return Err(NoSession::Stopped);
            }
            // It may have ended while this request waited.
            if !instance.gone().is_cancelled() {
                return Ok(lease);
            }
        }
    }

    /// Gives a session its container.
    async fn allocate(&self, session: &Arc<Session>) -> Result<Arc<Instance>, NoSession> {
        let began = Instant::now();
        let note = |instance: &Instance| note::of(&self.specification, instance, Some(session));
        let (instance, was_ready) = self.supply.take(note).await?;
        {
            // From here on it is this pool's, or it is not: a pool that takes its place looks under the same lock.
            let sessions = self.lock();
            if sessions.retired {
                instance.stop();
                return Err(NoSession::Retired);
            }
            session.made(if was_ready { Made::Ready } else { Made::Awaited }, &self.records);
        }
        self.records.allocated(true, began.elapsed());
        record::follow(session, &instance, &self.records, &self.recording);
        Ok(instance)
    }

    fn begin(&self, identifier: &Identifier) -> Result<Arc<Session>, NoSession> {
        let mut sessions = self.lock();
        if let Some(session) = sessions.find(identifier) {
            session.begin();
            return Ok(session.clone());
        }
        if sessions.retired {
            return Err(NoSession::Retired);
        }
        sessions.by_identifier.remove(identifier);
        sessions.by_identifier.retain(|_, session| !session.is_over());
        let limit = self.specification.max_concurrent_sessions;
        if sessions.by_identifier.len() >= limit {
            let now = Instant::now();
            let first = sessions.by_identifier.values().map(|session| session.left(now)).min();
            return Err(NoSession::Full { limit, retry_after: first.unwrap_or_default() });
        }
        sessions.made += 1;
        let session = Session::new(identifier.clone(), sessions.made, self.specification.lifecycle);
        session.begin();
        sessions.by_identifier.insert(identifier.clone(), session.clone());
        Ok(session)
    }

    /// A session that got no container, and that nobody else waits for, is none.
    fn forget_empty(&self, session: &Arc<Session>) {
        let mut sessions = self.lock();
        let known = sessions.by_identifier.get(&session.identifier);
        if session.is_last() && known.is_some_and(|known| Arc::ptr_eq(known, session)) {
            sessions.by_identifier.remove(&session.identifier);
        }
    }

    /// The container of a session that is there. No use of the session.
    pub fn instance(&self, identifier: &Identifier) -> Option<Arc<Instance>> {
        self.find(identifier)?.instance.get().cloned()
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.find(identifier).map(|session| session.view())
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        let mut all: Vec<_> = self.lock().by_identifier.values().filter(|s| !s.is_over()).cloned().collect();
        all.sort_unstable_by_key(|session| session.number);
        let sessions = all.iter().skip(skip).take(top).map(|session| session.view()).collect();
        SessionPage { sessions, total: all.len() }
    }

    /// Ends a session: requests under way are cut, its container is stopped in the background. False when there was none.
    pub fn end_session(&self, identifier: &Identifier) -> bool {
        let session = self.lock().by_identifier.remove(identifier);
        let session = session.filter(|session| !session.is_over());
        session.inspect(|session| self.end(session, Why::Stopped)).is_some()
    }

    fn end(&self, session: &Session, why: Why) {
        session.ended(why, &self.records);
        session.stop();
    }

    /// Ends the sessions whose time has come.
    pub fn reap(&self) {
        let now = Instant::now();
        let mut sessions = self.lock();
        let over = |session: &Arc<Session>| session.is_over() || session.is_due(now);
        let over: Vec<_> = sessions.by_identifier.extract_if(|_, session| over(session)).collect();
        drop(sessions);
        for (_, session) in over {
            // Of one whose container is gone, whoever watched it tells why.
            if !session.is_over() {
                session.ended(session.natural_end(), &self.records);
            }
            session.stop();
        }
    }

    /// Notes the uses of sessions since the last time, for the gateway after this one.
    pub async fn note(&self) {
        if !self.backend.outlives() {
            return;
        }
        let news: Vec<_> = {
            let sessions = self.lock();
            let alive = sessions.by_identifier.values().filter(|session| !session.is_over() && session.has_news());
            alive.filter_map(|session| Some((session.clone(), session.instance.get()?.clone()))).collect()
        };
        for (session, instance) in news {
            let note = note::of(&self.specification, &instance, Some(&session));
            if let Err(error) = instance.container().note(&note).await {
                tracing::warn!(cause = error.told(), "what outlives the gateway of a session cannot be written down");
            }
        }
    }

    /// Takes no new session; those that have a container go on. Whoever waits for one is told to ask again.
    pub fn retire(&self) {
        self.lock().retired = true;
        self.supply.retire();
    }

    /// Whether nothing is left of one that was retired.
    pub fn is_empty(&self) -> bool {
        self.supply.is_empty()
    }

    /// Ends everything, and waits until nothing is left of it.
    pub async fn close(&self) {
        let (sessions, first) = {
            let mut sessions = self.lock();
            (std::mem::take(&mut sessions.by_identifier), !std::mem::replace(&mut sessions.closed, true))
        };
        sessions.values().for_each(|session| self.end(session, Why::Closed));
        self.supply.close().await;
        if first {
            let log = format!("closed, and {} sessions with it", sessions.len());
            self.records.event(Level::Informational, "PoolClosed", log);
        }
    }

    /// Leaves everything to the next gateway. Whoever waits for a container is told to ask again.
    pub async fn leave(&self) {
        self.note().await;
        let left = self.supply.leave().await;
        self.recording.close();
        if tokio::time::timeout(RECORDED, self.recording.wait()).await.is_err() {
            tracing::warn!("what containers wrote last is not in the records; the next gateway writes it down");
        }
        let first = !std::mem::replace(&mut self.lock().closed, true);
        if first {
            let log = format!("closed; {left} containers go on without the gateway");
            self.records.event(Level::Informational, "PoolClosed", log);
        }
    }

    fn find(&self, identifier: &Identifier) -> Option<Arc<Session>> {
        self.lock().find(identifier).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// A session that is there. One that has no container yet gets none of a pool that was retired.
    fn find(&self, identifier: &Identifier) -> Option<&Arc<Session>> {
        let session = self.by_identifier.get(identifier)?;
        (!session.is_over() && (!self.retired || session.is_made())).then_some(session)
    }
}
