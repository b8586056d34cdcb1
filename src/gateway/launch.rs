//! Starting an execution, the same for pools of either kind: awaited, followed as it goes, or left to itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::execution::registry::Registry;
use crate::execution::run::Admitted;
use crate::execution::{Execution, ExecutionError, ExecutionId, Status};
use crate::pool::{LeaseError, PoolName};
use crate::sandbox::{Event, Output, SandboxError};
use crate::shutdown::Drain;

/// How an execution came to its end.
type Ended = Result<Execution, ExecutionError>;
/// Is called when its turn has come.
pub(super) type Started = Box<dyn FnOnce() + Send>;
/// Puts what it is given on the threads where it is to run.
type Spawn = Box<dyn FnOnce(BoxFuture<'static, Ended>) -> JoinHandle<Ended> + Send>;
/// What happens to an admitted execution, until it is stopped or at its end.
type Run = Box<dyn FnOnce(Admitted, CancellationToken, Started) -> BoxFuture<'static, Ended> + Send>;

/// An execution that was let in. Nothing of it runs before it is told how; then it runs to its end, whatever becomes of the
/// caller, and the gateway's own end waits for it.
#[must_use]
pub struct Launch {
    pub(super) admitted: Admitted,
    pub(super) registry: Arc<Registry>,
    pub(super) run: Run,
    pub(super) spawn: Spawn,
    /// Where the end of the gateway is told.
    pub(super) over: CancellationToken,
}

impl Launch {
    /// Puts a run where it is counted as under way, with a span of its own.
    ///
    /// # Errors
    /// When the gateway drains.
    pub(super) fn new(
        pool: &PoolName,
        drain: &Drain,
        registry: &Arc<Registry>,
        admitted: Admitted,
        run: impl FnOnce(Admitted, CancellationToken, Started) -> BoxFuture<'static, Ended> + Send + 'static,
        spawn: impl FnOnce(BoxFuture<'static, Ended>) -> JoinHandle<Ended> + Send + 'static,
    ) -> Result<Self, ExecutionError> {
        let under_way = drain.begin().ok_or(ExecutionError::Draining)?;
        // Made here, where the span of the call is the present one.
        let span = tracing::debug_span!("execution", pool = pool.as_str(), outcome = Empty, cpu_seconds = Empty);
        let run: Run = Box::new(move |admitted, stop, started| {
            let story = run(admitted, stop, started).instrument(span);
            Box::pin(async move {
                let _under_way = under_way;
                story.await
            })
        });
        let (registry, over) = (registry.clone(), drain.over().clone());
        Ok(Self { admitted, registry, run, spawn: Box::new(spawn), over })
    }

    /// Runs it to its end. Cancelling `stop`, or dropping this future, interrupts the code; the session stays.
    ///
    /// # Errors
    /// When it does not run; whatever the code does is an outcome.
    pub async fn execute(self, stop: CancellationToken) -> Ended {
        let gone = stop.child_token();
        let _interrupts_when_dropped = gone.clone().drop_guard();
        end_of(self.begin(gone, Box::new(|| {})).await)
    }

    /// Starts it for a caller who takes its events as they come (it was let in as such), and comes back when its turn has come.
    /// Cancelling `stop` interrupts it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn follow(self, stop: CancellationToken) -> Result<Following, ExecutionError> {
        let Admitted { id, created_at, output, .. } = &self.admitted;
        let (id, created_at, output) = (id.clone(), *created_at, output.clone());
        let (begins, begun) = oneshot::channel();
        let ended = self.begin(
            stop,
            Box::new(|| {
                // Whoever waited for it may have gone; then `stop` ends the run.
                let _ = begins.send(());
            }),
        );
        match begun.await {
            Ok(()) => Ok(Following { id, created_at, output, ended }),
            Err(_) => match end_of(ended.await) {
                Ok(_stopped) => Err(LeaseError::Stopped.into()),
                Err(error) => Err(error),
            },
        }
    }

    /// Starts it and comes back at once; the pool's registry tells how it stands.
    ///
    /// # Errors
    /// When the session has one of this identifier, or too many that were not asked for.
    pub fn submit(self) -> Ended {
        let Admitted { id, identifier, created_at, output, .. } = &self.admitted;
        let (id, identifier, registry) = (id.clone(), identifier.clone(), self.registry.clone());
        let execution = Execution {
            id: id.clone(),
            identifier: identifier.clone(),
            status: Status::NotStarted,
            created_at: *created_at,
            output: output.clone(),
        };
        registry.begin(execution.clone())?;
        let runs = {
            let (registry, identifier, id) = (registry.clone(), identifier.clone(), id.clone());
            move || registry.set(&identifier, &id, Status::Running)
        };
        let running = self.begin(CancellationToken::new(), Box::new(runs));
        tokio::spawn(async move {
            let status = match end_of(running.await) {
                Ok(done) => done.status,
                Err(error) => Status::Lost(Arc::new(error)),
            };
            registry.set(&identifier, &id, status);
        });
        Ok(execution)
    }

    /// It runs from now on. What still runs when the gateway's grace is over is stopped.
    fn begin(self, stop: CancellationToken, started: Started) -> JoinHandle<Ended> {
        let Self { admitted, run, spawn, over, .. } = self;
        spawn(Box::pin(async move {
            let mut story = run(admitted, stop.clone(), started);
            tokio::select! {
                biased;
                ended = &mut story => ended,
                () = over.cancelled() => {
                    stop.cancel();
                    story.await
                }
            }
        }))
    }
}

/// An execution under way, for somebody who takes its events as they come.
pub struct Following {
    pub id: ExecutionId,
    pub created_at: OffsetDateTime,
    output: Arc<Output>,
    ended: JoinHandle<Ended>,
}

/// What comes next of an execution that is followed.
#[derive(Debug)]
pub enum Next {
    Events(Vec<Event>),
    /// With the events that were not given out.
    Ended(Ended),
}

impl Following {
    /// Waits for events, gathering those of `pause`, or for the end. Not to be called after the end.
    pub async fn next(&mut self, pause: Duration) -> Next {
        tokio::select! {
            biased;
            ended = &mut self.ended => return Next::Ended(end_of(ended)),
            () = self.output.more() => {}
        }
        match tokio::time::timeout(pause, &mut self.ended).await {
            Ok(ended) => Next::Ended(end_of(ended)),
            Err(_) => Next::Events(self.output.take().0),
        }
    }
}

/// A task that panicked is an execution that we have lost.
fn end_of(ended: Result<Ended, JoinError>) -> Ended {
    ended.unwrap_or_else(|panic| {
        Err(ExecutionError::Sandbox(SandboxError::new("running an execution", panic.to_string())))
    })
}
