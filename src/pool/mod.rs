//! Session pools: what they offer, how many sessions they hold, and the way to a session.

use std::time::Duration;

use crate::sandbox::SandboxError;

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("the pool holds {limit} sessions, its maximum")]
    PoolFull { limit: usize, retry_after: Duration },
    #[error("{limit} executions wait for this session already")]
    QueueFull { limit: usize, retry_after: Duration },
    #[error("the pool is not ready: {reason}")]
    NotReady { reason: String, retry_after: Duration },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
