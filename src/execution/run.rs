//! The story of one execution: lease, run, settle, answer. There is one way, and every caller takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span};

use super::record::Story;
use super::{Execution, ExecutionError, ExecutionId, ExecutionRequest, Outcome, RequestedLimits, Status};
use crate::access::limits::{Permit, Use};
use crate::egress::Calls;
use crate::pool::{LeaseError, Pool, PoolLimits};
use crate::sandbox::{Limits, Output, Report, Usage};
use crate::session::{Identifier, Lease, Settled};

/// An execution that was let in and has not begun.
pub struct Admitted {
    pub id: ExecutionId,
    pub identifier: Identifier,
    pub output: Arc<Output>,
    pub created_at: OffsetDateTime,
    pub(super) permit: Option<Arc<Permit>>,
    pub(super) admitted_at: Instant,
    pub(super) caller: Option<Arc<str>>,
    pub(super) code: String,
    pub(super) limits: Limits,
}

/// Checks a request against the pool's limits, before any work is done.
///
/// # Errors
/// The caller's mistakes of [`ExecutionError`].
pub fn admit(pool: &Pool, request: ExecutionRequest) -> Result<Admitted, ExecutionError> {
    admit_within(&pool.specification().limits, pool.records().keeps_console(), request)
}

/// The same for whatever offers these limits.
pub(super) fn admit_within(
    offered: &PoolLimits,
    keeps_console: bool,
    request: ExecutionRequest,
) -> Result<Admitted, ExecutionError> {
    let code = request.code.0;
    if code.len() > offered.code_bytes {
        return Err(ExecutionError::CodeTooLong { bytes: code.len(), limit: offered.code_bytes });
    }
    let limits = limits(offered, request.timeout, &request.limits)?;
    let stream_chars =
        request.limits.stream_chars.map_or(usize::MAX, |chars| usize::try_from(chars).unwrap_or(usize::MAX));
    let output = Output::new(limits.output_bytes).with_stream_cap(stream_chars);
    let output = if keeps_console { output.transcribed() } else { output };
    Ok(Admitted {
        id: request.id.unwrap_or_else(ExecutionId::random),
        identifier: request.identifier,
        output: Arc::new(if request.followed { output.followed() } else { output }),
        created_at: OffsetDateTime::now_utc(),
        permit: request.permit,
        admitted_at: Instant::now(),
        caller: request.caller,
        code,
        limits,
    })
}

/// The pool's limits, lowered by what the request asks for.
fn limits(offered: &PoolLimits, timeout: Option<Duration>, asked: &RequestedLimits) -> Result<Limits, ExecutionError> {
    let ceiling = Duration::from_secs(offered.timeout_ceiling_seconds);
    let wall = timeout.unwrap_or(Duration::from_secs(offered.timeout_seconds));
    if wall > ceiling {
        return Err(ExecutionError::TimeoutTooLong { asked: wall, ceiling });
    }
    if wall.is_zero() {
        return Err(ExecutionError::TimeoutTooShort);
    }
    if asked.fuel.is_some() && offered.fuel.is_none() {
        return Err(ExecutionError::NotMetered);
    }
    let lower = |pool: Option<u64>, request: Option<u64>| match (pool, request) {
        (Some(pool), Some(request)) => Some(pool.min(request)),
        (pool, request) => pool.or(request),
    };
    Ok(Limits {
        wall,
        cpu: lower(offered.cpu_seconds, asked.cpu_seconds).map(Duration::from_secs),
        fuel: lower(offered.fuel, asked.fuel),
        output_bytes: asked.output_bytes.unwrap_or(u64::MAX).min(offered.output_bytes),
    })
}

/// Runs an admitted execution to its end, on a guest thread. `started` is called when its turn has come.
///
/// # Errors
/// When there is no lease, or the gateway fails; whatever the guest does is an outcome.
pub async fn run(
    pool: &Pool,
    admitted: Admitted,
    stop: CancellationToken,
    started: impl FnOnce(),
) -> Result<Execution, ExecutionError> {
    let mut story = Story::of(pool.records(), &admitted);
    let mut lease = match pool.lease(&admitted.identifier, &stop).instrument(debug_span!("lease")).await {
        Ok(lease) => lease,
        Err(LeaseError::Stopped) => return Ok(stopped(admitted)),
        Err(error) => return Err(error.into()),
    };
    let Admitted { id, identifier, output, created_at, permit, code, limits, .. } = admitted;
    started();
    let (tree, created, stop) = (lease.tree(), lease.created(), lease.stop().clone());
    let (keeps, durable) = (pool.specification().snapshots_each(), pool.specification().durable);
    if keeps {
        lease.renew_checkpoint();
    }
    let before = tree.mark();
    let sandbox = pool.sandbox(&mut lease).instrument(debug_span!("sandbox")).await?;
    story.allocated(created);
    let report = sandbox.run(&code, limits, output.clone(), stop).instrument(debug_span!("run")).await;
    if let Some(permit) = &permit {
        let Usage { cpu, fuel, .. } = report.usage;
        permit.charge(Use { cpu, fuel: fuel.unwrap_or(0), ..Use::default() });
    }
    lease.note_memory(report.usage.memory_bytes);
    let mut kept = None;
    if report.alive {
        lease.count_execution();
        if keeps {
            lease.keep_checkpoint();
        } else {
            // It is of before this execution; what breaks the next one is not to undo this.
            lease.drop_checkpoint();
        }
        if durable {
            kept = Some(keep(pool, &mut lease).instrument(debug_span!("keep")).await);
        }
    }
    let settled = lease.settle(report.alive);
    // What was undone is not told of.
    let files = if settled == Settled::RolledBack { Vec::new() } else { tree.changes_since(before) };
    let outcome = Outcome { session_kept: kept, ..outcome(&output, report, files, created, settled) };
    story.ended(&outcome, &output);
    Ok(Execution { id, identifier, status: Status::Done(Arc::new(outcome)), created_at, output })
}

/// Puts the session on disk before its execution is answered. Where that fails the session goes on, and the answer says so.
async fn keep(pool: &Pool, lease: &mut Lease) -> bool {
    let kept = pool.keep(lease).await;
    if let Err(error) = &kept {
        tracing::error!(%error, "an execution could not be put on disk");
    }
    kept.is_ok()
}

fn outcome(
    output: &Output,
    report: Report,
    files: Vec<crate::files::FileEntry>,
    session_created: bool,
    settled: Settled,
) -> Outcome {
    let (events, dropped_bytes) = output.take();
    let Report { exit, usage, network, alive: _ } = report;
    Outcome {
        exit,
        usage,
        events,
        dropped_bytes,
        session_created,
        session_discarded: settled == Settled::Ended,
        session_rolled_back: settled == Settled::RolledBack,
        session_kept: None,
        files,
        network,
        process: None,
    }
}

/// What is told of an execution whose caller gave up before its turn came.
pub fn stopped(admitted: Admitted) -> Execution {
    let Admitted { id, identifier, output, created_at, .. } = admitted;
    let report = Report {
        exit: crate::sandbox::Exit::Stopped,
        usage: Default::default(),
        alive: true,
        network: Calls::default(),
    };
    let outcome = outcome(&output, report, Vec::new(), false, Settled::Lives);
    Execution { id, identifier, status: Status::Done(Arc::new(outcome)), created_at, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_lowers_limits_and_never_raises_them() {
        let offered = PoolLimits { cpu_seconds: Some(10), output_bytes: 100, ..PoolLimits::default() };
        let asked = RequestedLimits { cpu_seconds: Some(20), fuel: None, output_bytes: Some(50), stream_chars: None };
        let limits = limits(&offered, None, &asked).unwrap();
        assert_eq!(limits.wall, Duration::from_secs(60));
        assert_eq!(limits.cpu, Some(Duration::from_secs(10)));
        assert_eq!(limits.output_bytes, 50);
    }

    #[test]
    fn what_a_pool_cannot_give_is_refused() {
        let offered = PoolLimits::default();
        let none = RequestedLimits::default();
        let over = limits(&offered, Some(Duration::from_secs(221)), &none);
        assert!(matches!(over, Err(ExecutionError::TimeoutTooLong { .. })));
        assert!(matches!(limits(&offered, Some(Duration::ZERO), &none), Err(ExecutionError::TimeoutTooShort)));
        let fuel = RequestedLimits { fuel: Some(1), ..none };
        assert!(matches!(limits(&offered, None, &fuel), Err(ExecutionError::NotMetered)));
    }
}
