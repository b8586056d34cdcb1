//! Signals, and the drain: what runs may finish within a grace period, what comes is refused.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Counts what is under way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    under_way: TaskTracker,
    draining: CancellationToken,
    /// Cancelled when the grace period is over: whatever still runs is to be interrupted.
    over: CancellationToken,
}

impl Drain {
    /// Something begins. `None` once the gateway drains. It is under way until the guard is dropped.
    pub fn begin(&self) -> Option<TaskTrackerToken> {
        // The token first: a drain that starts in between waits for it.
        let token = self.under_way.token();
        (!self.is_draining()).then_some(token)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when nothing may go on.
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Refuses what comes, waits `grace` for what is under way, then interrupts it and waits for its end.
    pub async fn drain(&self, grace: Duration) {
        self.draining.cancel();
        self.under_way.close();
        if tokio::time::timeout(grace, self.under_way.wait()).await.is_err() {
            tracing::warn!("the grace period is over; running executions are interrupted");
            self.over.cancel();
            self.under_way.wait().await;
        }
    }
}

/// Listens for SIGTERM and SIGINT from now on: one that comes before the future is first polled is not missed. The future
/// ends with the first of them.
///
/// # Errors
/// When the process cannot listen for signals.
pub fn signalled() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: draining"),
            _ = int.recv() => tracing::info!("SIGINT: draining"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_and_then_interrupts() {
        let drain = Drain::default();
        let guard = drain.begin().expect("it does not drain yet");
        let draining = tokio::spawn({
            let drain = drain.clone();
            async move { drain.drain(Duration::from_millis(50)).await }
        });
        drain.over().cancelled().await;
        assert!(drain.begin().is_none());
        assert!(!draining.is_finished());
        drop(guard);
        draining.await.unwrap();
    }
}
