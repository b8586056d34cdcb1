//! Pools of containers that run what callers send, as the API asks for them: the same calls that pools of interpreters take.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::launch::{Launch, Started};
use super::{ContainerSessionPool, Gateway};
use crate::execution::contained::{self, agent};
use crate::execution::run::Admitted;
use crate::execution::{Execution, ExecutionError, ExecutionId, ExecutionRequest};
use crate::pool::PoolName;
use crate::pool::container::{ContainerPool, Interpreter, Lease, NoSession};
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

    /// Lets an execution in. It waits for its container alone, so it needs no thread of the guests'.
    ///
    /// # Errors
    /// The caller's mistakes of [`ExecutionError`], or that the gateway drains.
    pub fn launch(&self, request: ExecutionRequest) -> Result<Launch, ExecutionError> {
        let admitted = contained::admit(self.pool.holding(&request.identifier), &self.interpreter, request)?;
        let this = self.clone();
        Launch::new(
            self.name(),
            self.pool.drain(),
            self.pool.registry(),
            admitted,
            |admitted, stop, started| Box::pin(async move { this.run(admitted, stop, started).await }),
            tokio::spawn,
        )
    }

    /// An asynchronous execution as it stands; none when it is unknown or forgotten.
    pub fn execution(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution> {
        self.pool.registry().find(identifier, id)
    }

    async fn run(
        &self,
        admitted: Admitted,
        stop: CancellationToken,
        started: Started,
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
