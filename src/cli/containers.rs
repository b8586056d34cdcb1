//! The pools of containers: the backend is opened when a pool needs it, or when the settings speak of it.

use std::fs;
use std::sync::Arc;

use super::serve::progress;
use crate::config::Settings;
use crate::gateway::Gateway;
use crate::pool::container::ContainerPool;
use crate::sandbox::container::runtime::OciBackend;
use crate::sandbox::container::{ContainerBackend, ContainerError};

/// Opens the backend and the pools of the settings.
///
/// # Errors
/// When this machine cannot run containers as they must be run.
pub(super) async fn open(settings: &Settings, gateway: &Gateway) -> Result<(), String> {
    if settings.container_pools.is_empty() && settings.containers.is_none() {
        return Ok(());
    }
    let told = |error: ContainerError| error.told();
    fs::create_dir_all(&settings.data_dir).map_err(|error| format!("{}: {error}", settings.data_dir.display()))?;
    let backend = OciBackend::open(&settings.containers.clone().unwrap_or_default(), &settings.data_dir).await;
    let backend: Arc<dyn ContainerBackend> = Arc::new(backend.map_err(told)?);
    let report = backend.report();
    tracing::info!(engine = report.engine, version = report.version, enforced = ?report.enforced, "containers can be run");
    report.warnings.iter().for_each(|warning| progress(warning));
    gateway.set_container_backend(backend.clone());
    for specification in &settings.container_pools {
        gateway.add_container_pool(ContainerPool::open(specification.clone(), backend.clone()));
    }
    Ok(())
}
