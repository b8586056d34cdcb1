//! Custom-container pools, as the API asks for them.

use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Gateway;
use crate::pool::PoolName;
use crate::pool::container::ContainerPool;
use crate::sandbox::container::ContainerBackend;
use crate::shutdown::Drain;

/// One pool of containers.
#[derive(Clone)]
pub struct ContainerSessionPool {
    pool: Arc<ContainerPool>,
    drain: Drain,
}

impl Gateway {
    /// Containers can be run from now on, with `backend`.
    pub fn set_container_backend(&self, backend: Arc<dyn ContainerBackend>) {
        let _ = self.inner.container_backend.set(backend);
    }

    /// What runs containers. None: pools of containers cannot be served here.
    pub fn container_backend(&self) -> Option<&Arc<dyn ContainerBackend>> {
        self.inner.container_backend.get()
    }

    /// Adds a pool of containers, or puts it in place of the one of its name, which is given back to be closed.
    pub fn add_container_pool(&self, pool: Arc<ContainerPool>) -> Option<Arc<ContainerPool>> {
        let name = pool.specification().name.clone();
        self.inner.container_pools.write().unwrap_or_else(PoisonError::into_inner).insert(name, pool)
    }

    /// Takes a pool of containers out, to be closed.
    pub fn remove_container_pool(&self, name: &PoolName) -> Option<Arc<ContainerPool>> {
        self.inner.container_pools.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// A pool of containers by name.
    pub fn container_pool(&self, name: &PoolName) -> Option<ContainerSessionPool> {
        let pools = self.inner.container_pools.read().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.get(name)?.clone();
        Some(ContainerSessionPool { pool, drain: self.inner.drain.clone() })
    }

    /// All pools of containers.
    pub fn container_pools(&self) -> Vec<Arc<ContainerPool>> {
        self.inner.container_pools.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl ContainerSessionPool {
    pub fn pool(&self) -> &ContainerPool {
        &self.pool
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
