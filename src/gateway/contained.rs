//! Pools of containers that run what callers send, as the API asks for them: the same calls that pools of interpreters take.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{ContainerSessionPool, Following, Gateway, panicked};
use crate::execution::contained::{self, agent};
use crate::execution::run::Admitted;
use crate::execution::{Execution, ExecutionError, ExecutionId, ExecutionRequest, Status};
use crate::pool::container::{ContainerPool, Interpreter, Lease, NoSession};
use crate::pool::{LeaseError, PoolName};
use crate::sandbox::container::agent::Agent;
use crate::session::{Identifier, SessionPage, SessionView};

/// One pool of containers with an interpreter.
#[derive(Clone)]
pub struct InterpretedPool {
    pool: ContainerSessionPool,
    gateway: Gateway,
    /// Of the template that takes new sessions.
    interpreter: Interpreter,
}

/// A session's files. As long as it is held, the session is in use.
pub struct ContainedFiles {
    home: Arc<ContainerPool>,
    lease: Lease,
    _under_way: TaskTrackerToken,
}

impl ContainedFiles {
    /// Whom to ask for them.
    pub fn agent(&self) -> Agent<'_> {
        agent(&self.home, &self.lease)
    }
}

impl Gateway {
    /// The pool as one that runs what callers send; None where it forwards requests.
    pub fn interpreted(&self, pool: &ContainerSessionPool) -> Option<InterpretedPool> {
        let interpreter = pool.interpreter()?.clone();
        Some(InterpretedPool { pool: pool.clone(), gateway: self.clone(), interpreter })
    }
}

impl InterpretedPool {
    pub fn name(&self) -> &PoolName {
        self.pool.name()
    }

    pub fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    pub fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.pool.session(identifier)
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        self.pool.sessions(skip, top)
    }

    /// Ends a session. False when there was none.
    pub fn end_session(&self, identifier: &Identifier) -> bool {
        self.pool.end_session(identifier)
    }

    /// The files of a session that exists. A use of the session.
    ///
    /// # Errors
    /// See [`NoSession`].
    pub async fn files(&self, identifier: &Identifier) -> Result<Option<ContainedFiles>, NoSession> {
        if self.session(identifier).is_none() {
            return Ok(None);
        }
        self.files_or_create(identifier).await.map(Some)
    }

    /// The files of a session, which is made when there is none.
    ///
    /// # Errors
    /// See [`NoSession`].
    pub async fn files_or_create(&self, identifier: &Identifier) -> Result<ContainedFiles, NoSession> {
        let under_way = self.pool.begin().ok_or(NoSession::Closed)?;
        let (home, lease) = self.lease(identifier).await?;
        Ok(ContainedFiles { home, lease, _under_way: under_way })
    }

    /// A session's container, and the template that it is of.
    async fn lease(&self, identifier: &Identifier) -> Result<(Arc<ContainerPool>, Lease), NoSession> {
        let mut pool = self.pool.clone();
        loop {
            let home = pool.holding(identifier).clone();
            match home.lease(identifier).await {
                Err(NoSession::Retired) => {
                    pool = self.gateway.container_pool(self.name()).ok_or(NoSession::Retired)?;
                }
                leased => return leased.map(|lease| (home, lease)),
            }
        }
    }

    /// Runs code to its end. Cancelling `stop`, or dropping this future, ends its processes; the session stays.
    ///
    /// # Errors
    /// When it does not run; whatever the code does is an outcome.
    pub async fn execute(
        &self,
        request: ExecutionRequest,
        stop: CancellationToken,
    ) -> Result<Execution, ExecutionError> {
        let admitted = self.admit(request)?;
        let gone = stop.child_token();
        let _interrupts_when_dropped = gone.clone().drop_guard();
        self.spawn(admitted, gone, || {})?.await.unwrap_or_else(|panic| Err(panicked(&panic)))
    }

    /// Starts an execution whose events the caller takes as they come, and comes back when its turn has come.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn follow(
        &self,
        request: ExecutionRequest,
        stop: CancellationToken,
    ) -> Result<Following, ExecutionError> {
        let admitted = self.admit(ExecutionRequest { followed: true, ..request })?;
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

    /// Starts an execution and comes back at once; [`InterpretedPool::execution`] tells how it stands.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn submit(&self, request: ExecutionRequest) -> Result<Execution, ExecutionError> {
        let admitted = self.admit(request)?;
        let (id, identifier) = (admitted.id.clone(), admitted.identifier.clone());
        let execution = Execution {
            id: id.clone(),
            identifier: identifier.clone(),
            status: Status::NotStarted,
            created_at: admitted.created_at,
            output: admitted.output.clone(),
        };
        let registry = self.pool.registry().clone();
        registry.begin(execution.clone())?;
        let runs = {
            let (registry, identifier, id) = (registry.clone(), identifier.clone(), id.clone());
            move || registry.set(&identifier, &id, Status::Running)
        };
        match self.spawn(admitted, CancellationToken::new(), runs) {
            Ok(running) => {
                tokio::spawn(async move {
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
        self.pool.registry().find(identifier, id)
    }

    fn admit(&self, request: ExecutionRequest) -> Result<Admitted, ExecutionError> {
        contained::admit(self.pool.holding(&request.identifier), &self.interpreter, request)
    }

    /// Runs an execution to its end whatever becomes of the caller. It waits for the container alone, so it needs no thread of
    /// the guests'.
    fn spawn(
        &self,
        admitted: Admitted,
        stop: CancellationToken,
        started: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<Result<Execution, ExecutionError>>, ExecutionError> {
        let under_way = self.pool.begin().ok_or(ExecutionError::Draining)?;
        let (this, over) = (self.clone(), self.pool.over().clone());
        let pool = self.name().as_str();
        // Made here, where the span of the call is the present one.
        let span = tracing::debug_span!("execution", pool, outcome = Empty, cpu_seconds = Empty);
        Ok(tokio::spawn(async move {
            let _under_way = under_way;
            let until_over = stop.clone();
            let story = this.run(admitted, stop, started).instrument(span);
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

    async fn run(
        &self,
        admitted: Admitted,
        stop: CancellationToken,
        started: impl FnOnce(),
    ) -> Result<Execution, ExecutionError> {
        let (home, lease) = tokio::select! {
            leased = self.lease(&admitted.identifier) => leased?,
            () = stop.cancelled() => return Ok(contained::stopped(admitted)),
        };
        // A session that began under another template is run as that one says.
        let interpreter = home.specification().interpreter.clone().unwrap_or_else(|| self.interpreter.clone());
        contained::run(&home, lease, &interpreter, admitted, stop, started).await
    }
}
