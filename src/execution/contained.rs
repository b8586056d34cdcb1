//! The same story in a container: lease, turn, run, settle, answer.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span};

use super::record::Story;
pub use super::run::stopped;
use super::run::{self, Admitted};
use super::{Execution, ExecutionError, ExecutionRequest, Outcome, ProcessEnd, Status};
use crate::access::limits::Use;
use crate::pool::LeaseError;
use crate::pool::container::{ContainerPool, Interpreter, Language, Lease};
use crate::sandbox::container::agent::Agent;

/// Checks a request against the pool's limits, before any work is done.
///
/// # Errors
/// The caller's mistakes of [`ExecutionError`].
pub fn admit(
    pool: &ContainerPool,
    interpreter: &Interpreter,
    request: ExecutionRequest,
) -> Result<Admitted, ExecutionError> {
    if request.limits.cpu_seconds.is_some() {
        return Err(ExecutionError::CpuNotLimited);
    }
    if interpreter.language == Language::Shell && request.code.0.contains('\0') {
        return Err(ExecutionError::ZeroByte);
    }
    run::admit_within(&interpreter.offered(), pool.records().keeps_console(), request)
}

/// The agent of a session's container.
pub fn agent<'a>(pool: &ContainerPool, lease: &'a Lease) -> Agent<'a> {
    // Lent by the lease, which has the container as long as it lives.
    Agent::of(lease.instance().container(), pool.specification().disk_bytes())
}

/// Runs an admitted execution to its end. `lease` is asked for its session; `started` is called when its turn has come.
///
/// # Errors
/// When there is no lease, or no turn; whatever happens in the container is an outcome.
pub async fn run(
    pool: &ContainerPool,
    lease: Lease,
    interpreter: &Interpreter,
    admitted: Admitted,
    stop: CancellationToken,
    started: impl FnOnce(),
) -> Result<Execution, ExecutionError> {
    let mut story = Story::of(pool.records(), &admitted);
    let turn = match lease.turn(interpreter.queue_length, &stop).instrument(debug_span!("lease")).await {
        Ok(turn) => turn,
        Err(LeaseError::Stopped) => return Ok(stopped(admitted)),
        Err(error) => return Err(error.into()),
    };
    started();
    let Admitted { id, identifier, output, created_at, permit, code, limits, .. } = admitted;
    story.waited();
    let command = interpreter.command(code);
    let ran = agent(pool, &lease).run(command, limits, &output, &stop).instrument(debug_span!("run")).await;
    if let Some(permit) = &permit {
        permit.charge(Use { cpu: ran.report.usage.cpu, ..Use::default() });
    }
    if !ran.report.alive {
        lease.discard();
    }
    drop(turn);
    let (events, dropped_bytes) = output.take();
    let outcome = Outcome {
        exit: ran.report.exit,
        usage: ran.report.usage,
        events,
        dropped_bytes,
        session_created: lease.created(),
        session_discarded: !ran.report.alive,
        session_rolled_back: false,
        session_kept: None,
        files: ran.files,
        network: ran.report.network,
        process: Some(ProcessEnd { code: ran.code, is_status: interpreter.language == Language::Shell }),
    };
    story.ended(&outcome, &output);
    Ok(Execution { id, identifier, status: Status::Done(Arc::new(outcome)), created_at, output })
}
