//! The pools of containers: the backend is opened when a pool needs it, or when the settings speak of it.

use std::fs;
use std::sync::Arc;

use super::serve::progress;
use crate::config::Settings;
use crate::gateway::Containers;
use crate::pool::container::Reopened;
use crate::records::Records;
use crate::sandbox::container::docker::DockerBackend;
use crate::sandbox::container::image::builtin;
use crate::sandbox::container::runtime::OciBackend;
use crate::sandbox::container::{ContainerBackend, ContainerError};

/// Opens the backend, if it is wanted.
///
/// # Errors
/// When this machine cannot run containers as they must be run.
pub(super) async fn open(settings: &Settings) -> Result<Option<Containers>, String> {
    if settings.container_pools.is_empty() && settings.containers.is_none() {
        return Ok(None);
    }
    let told = |error: ContainerError| error.told();
    fs::create_dir_all(&settings.data_dir).map_err(|error| format!("{}: {error}", settings.data_dir.display()))?;
    let mut own = settings.containers.clone().unwrap_or_default();
    own.built_in = builtin::folder(&settings.cache_dir);
    let backend: Arc<dyn ContainerBackend> = match &own.docker {
        Some(_) if own.runtime.is_some() || !own.insecure_registries.is_empty() => {
            return Err("runtime and insecure_registries of [containers] say nothing to the engine of [containers.docker], which \
                 has settings of its own; remove them"
                .into());
        }
        Some(docker) => Arc::new(DockerBackend::open(docker, own.image, &settings.data_dir).await.map_err(told)?),
        None => Arc::new(OciBackend::open(&own, &settings.data_dir).await.map_err(told)?),
    };
    let report = backend.report();
    tracing::info!(engine = report.engine, version = report.version, enforced = ?report.enforced, "containers can be run");
    report.warnings.iter().for_each(|warning| progress(warning));
    let open = settings.container_pools.iter().find(|pool| pool.egress.is_open());
    if let Some(pool) = open.filter(|_| !report.enforced.way_out) {
        return Err(format!("the pool {} has egress, and containers cannot be given a way out here", pool.name));
    }
    Ok(Some(Containers::new(backend, own.allowed_images, own.outlive_gateway)))
}

/// Opens the pools of the settings.
pub(super) async fn pools(settings: &Settings, containers: Option<&Containers>, records: &Records) -> Vec<Reopened> {
    let mut pools = Vec::new();
    if let Some(containers) = containers {
        for pool in &settings.container_pools {
            pools.push(containers.reopen(pool.clone(), records).await);
        }
    }
    pools
}
