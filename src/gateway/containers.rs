//! Custom-container pools, as the API asks for them.
//!
//! A changed template does not take over before it can: until it has a ready container, new sessions get the template that
//! serves, so that an image which cannot be had, or that crashes, costs nobody anything. Sessions that run stay where they
//! began until they end.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Gateway;
use crate::execution::registry::Registry;
use crate::pool::PoolName;
use crate::pool::container::{ContainerPool, ContainerPoolSpecification, Estate, Interpreter, Reopened, Standing};
use crate::records::{Census, PoolRecords, Records};
use crate::sandbox::container::{AllowedImages, BackendReport, ContainerBackend};
use crate::session::{Identifier, SessionPage, SessionView};
use crate::shutdown::Drain;

/// What runs containers here.
#[derive(Clone)]
pub struct Containers {
    pub backend: Arc<dyn ContainerBackend>,
    /// What pools that are made through the API may run.
    pub allowed_images: AllowedImages,
    /// Sessions go on when the gateway is stopped.
    pub outlive_gateway: bool,
    /// What an earlier gateway left, until the pools that there are have taken it.
    pub estate: Arc<tokio::sync::Mutex<Estate>>,
}

impl Containers {
    /// With what an earlier gateway left, where `backend` can have it outlive the gateway.
    pub fn new(backend: Arc<dyn ContainerBackend>, allowed_images: AllowedImages, outlive_gateway: bool) -> Self {
        let estate = Arc::new(tokio::sync::Mutex::new(Estate::of(&*backend)));
        Self { outlive_gateway: outlive_gateway && backend.outlives(), backend, allowed_images, estate }
    }

    /// Opens a pool, with what an earlier gateway left of it.
    pub async fn reopen(&self, specification: ContainerPoolSpecification, records: &Records) -> Reopened {
        ContainerPool::reopen(specification, self.backend.clone(), records, &self.estate).await
    }

    /// Takes away what no pool has taken.
    pub(super) async fn clear(&self) {
        *self.estate.lock().await = Estate::default();
        match self.backend.clear().await {
            Ok(0) => {}
            Ok(containers) => tracing::warn!(containers, "containers of an earlier gateway were taken away"),
            Err(error) => {
                tracing::error!(cause = error.told(), "containers of an earlier gateway cannot be taken away")
            }
        }
    }
}

/// One template of a pool, opened.
#[derive(Clone)]
struct Generation {
    pool: Arc<ContainerPool>,
    opened_at: OffsetDateTime,
}

/// One pool of containers.
#[derive(Clone)]
pub struct ContainerSessionPool {
    /// New sessions start here.
    active: Generation,
    /// What was asked for last, until it can take over.
    desired: Option<Generation>,
    /// As it was before changes, for the sessions that began then.
    older: Arc<[Arc<ContainerPool>]>,
    /// Asynchronous executions, where the pool runs what callers send.
    registry: Arc<Registry>,
    drain: Drain,
}

/// How one template of a pool stands.
#[derive(Debug, Clone)]
pub struct TemplateStanding {
    pub specification: ContainerPoolSpecification,
    pub opened_at: OffsetDateTime,
    pub standing: Standing,
}

/// How a change of a pool gets on.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// What new sessions get.
    pub active: TemplateStanding,
    /// What was asked for; None when that is the active one.
    pub desired: Option<TemplateStanding>,
}

impl Gateway {
    /// What runs containers. None: pools of containers cannot be served here.
    pub fn containers(&self) -> Option<&Containers> {
        self.inner.pools.containers()
    }

    /// Adds a pool of containers of the configuration file.
    pub fn add_container_pool(&self, pool: Arc<ContainerPool>) {
        self.inner.pools.add_containers(pool.into());
    }

    /// A pool of containers by name.
    pub fn container_pool(&self, name: &PoolName) -> Option<ContainerSessionPool> {
        self.inner.pools.find_containers(name)
    }

    /// All pools of containers, by name.
    pub fn container_pools(&self) -> Vec<ContainerSessionPool> {
        self.inner.pools.all_containers()
    }
}

impl Generation {
    fn new(pool: Arc<ContainerPool>) -> Self {
        Self { pool, opened_at: OffsetDateTime::now_utc() }
    }

    fn standing(&self) -> TemplateStanding {
        TemplateStanding {
            specification: self.pool.specification().clone(),
            opened_at: self.opened_at,
            standing: self.pool.standing(),
        }
    }
}

impl ContainerSessionPool {
    pub(super) fn open(Reopened { pool, older }: Reopened, drain: Drain) -> Self {
        let older = older.into();
        Self { active: Generation::new(pool), desired: None, older, registry: Arc::default(), drain }
    }

    /// The pool after a change to the template of `young`.
    pub(super) fn succeeded_by(mut self, young: Arc<ContainerPool>) -> Self {
        if let Some(never) = self.desired.replace(Generation::new(young)) {
            self.retire(&never.pool);
        }
        self.promote();
        self
    }

    /// Whether [`ContainerSessionPool::promote`] or [`ContainerSessionPool::forget_empty`] would do anything.
    pub(super) fn is_changing(&self) -> bool {
        self.can_promote() || self.older.iter().any(|pool| pool.is_empty())
    }

    /// It can once it has a container for the next session, keeps none ready anyway, or is no worse than what there is.
    fn can_promote(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| {
            desired.pool.specification().ready_session_instances == 0
                || desired.pool.standing().ready > 0
                || self.active.pool.standing().is_failing()
        })
    }

    /// Lets the desired template take over, if it can.
    pub(super) fn promote(&mut self) {
        if self.can_promote()
            && let Some(desired) = self.desired.take()
        {
            let before = std::mem::replace(&mut self.active, desired);
            self.retire(&before.pool);
        }
    }

    fn retire(&mut self, pool: &Arc<ContainerPool>) {
        pool.retire();
        self.older = self.older.iter().chain([pool]).cloned().collect();
    }

    /// Lets go of templates of which nothing is left.
    pub(super) fn forget_empty(&mut self) {
        self.older = self.older.iter().filter(|pool| !pool.is_empty()).cloned().collect();
    }

    /// The oldest first.
    pub(super) fn generations(&self) -> impl Iterator<Item = &Arc<ContainerPool>> {
        let young = [Some(&self.active), self.desired.as_ref()].into_iter().flatten();
        self.older.iter().chain(young.map(|generation| &generation.pool))
    }

    /// Where a session is; where a new one would begin when there is no such session.
    pub fn holding(&self, identifier: &Identifier) -> &Arc<ContainerPool> {
        self.older.iter().find(|pool| pool.session(identifier).is_some()).unwrap_or(&self.active.pool)
    }

    pub fn name(&self) -> &PoolName {
        &self.active.pool.specification().name
    }

    /// What was asked for last.
    pub fn specification(&self) -> &ContainerPoolSpecification {
        self.desired.as_ref().unwrap_or(&self.active).pool.specification()
    }

    /// Of what new sessions get.
    fn active_specification(&self) -> &ContainerPoolSpecification {
        self.active.pool.specification()
    }

    /// How what callers send is run, in place of forwarding it.
    pub fn interpreter(&self) -> Option<&Interpreter> {
        self.active_specification().interpreter.as_ref()
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn rollout(&self) -> Rollout {
        Rollout { active: self.active.standing(), desired: self.desired.as_ref().map(Generation::standing) }
    }

    /// When the template that serves was opened.
    pub fn opened_at(&self) -> OffsetDateTime {
        self.active.opened_at
    }

    /// Where what happens in the pool is written down.
    pub fn records(&self) -> &PoolRecords {
        self.active.pool.records()
    }

    /// The engine, and what it enforces.
    pub fn report(&self) -> &BackendReport {
        self.active.pool.report()
    }

    /// What it has now, sessions of earlier templates included.
    pub fn census(&self) -> Census {
        self.older.iter().map(|pool| pool.census()).fold(self.active.pool.census(), |all, older| Census {
            sessions: all.sessions + older.sessions,
            running: all.running + older.running,
            overdue: all.overdue + older.overdue,
            ..all
        })
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.holding(identifier).session(identifier)
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        if self.older.is_empty() {
            return self.active.pool.sessions(skip, top);
        }
        let all: Vec<_> = self.generations().flat_map(|pool| pool.sessions(0, usize::MAX).sessions).collect();
        SessionPage { total: all.len(), sessions: all.into_iter().skip(skip).take(top).collect() }
    }

    /// Ends a session. False when there was none.
    pub fn end_session(&self, identifier: &Identifier) -> bool {
        self.holding(identifier).end_session(identifier)
    }

    /// What the gateway's end waits for.
    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// A request begins; None while the gateway drains. It is under way until the token is dropped.
    pub fn begin(&self) -> Option<TaskTrackerToken> {
        self.drain.begin()
    }

    /// Cancelled when nothing may go on.
    pub fn over(&self) -> &CancellationToken {
        self.drain.over()
    }
}
