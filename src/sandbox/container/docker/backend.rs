//! The engine as a whole: found, probed, cleared of what an earlier gateway left, and then images in, containers out.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::{KillContainerOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::future::BoxFuture;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client::{self, during, read};
use super::container::{DockerContainer, NO_AGENT, remove};
use super::request::{LABEL, Manner, Most};
use super::{image, probe};
use crate::sandbox::container::image::ImageLimits;
use crate::sandbox::container::runtime::{OPEN_FILES, hold, profile};
use crate::sandbox::container::{
    BackendReport, Container, ContainerBackend, ContainerError, ContainerSpecification, Credentials, Image,
    ImageReference,
};

/// An engine that is already on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockerSettings {
    /// Where it answers: Docker's socket, or Podman's (`/run/podman/podman.sock`).
    pub socket: PathBuf,
    /// Pools whose sessions may write anywhere are taken although nothing limits what they write to the engine's disk. Of no
    /// account where the engine's storage can limit it.
    pub unlimited_disk: bool,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self { socket: "/run/docker.sock".into(), unlimited_disk: false }
    }
}

/// The most processes that a user has, where an engine must be told a number: what Podman itself keeps to.
const PROCESSES: u64 = 32_768;

/// What all containers of a backend share.
pub(super) struct Engine {
    pub client: Docker,
    pub manner: Manner,
    pub unlimited_disk: bool,
    /// Held as long as the backend lives: nobody else has its containers.
    _lock: File,
}

/// Runs containers by the Docker Engine API. Needs root, to get into their networks.
pub struct DockerBackend {
    engine: Arc<Engine>,
    limits: ImageLimits,
    report: BackendReport,
}

impl DockerBackend {
    /// Opens the backend of the gateway whose files are in `data_dir`: finds the engine, asks what it can do, and takes away
    /// what was left running. `limits` are what an image may hold; the engine does not count entries.
    ///
    /// # Errors
    /// When the engine cannot run containers as they must be run, with what is missing.
    pub async fn open(settings: &DockerSettings, limits: ImageLimits, data_dir: &Path) -> Result<Self, ContainerError> {
        if !rustix::process::geteuid().is_root() {
            return Err(ContainerError::Unsupported(
                "containers need the gateway to run as root: it enters their network namespaces".into(),
            ));
        }
        let data_dir = data_dir.canonicalize().map_err(ContainerError::during("finding the data folder"))?;
        let lock = File::create(data_dir.join("containers.lock"));
        let lock = lock.map_err(ContainerError::during("making the lock of containers"))?;
        hold(&lock)
            .map_err(|_| ContainerError::Unsupported("another gateway runs containers with this data folder".into()))?;
        let hash = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
        let gateway: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let client = client::connect(&settings.socket).await?;
        let left = clear(&client, &gateway).await?;
        if left > 0 {
            tracing::warn!(containers = left, "containers of a gateway that was killed were taken away");
        }
        let found = probe::probe(&client, &gateway, settings.unlimited_disk).await?;
        let mut seccomp = profile().to_string();
        if found.podman {
            // It takes the name of a file where Docker takes the document.
            let file = data_dir.join("seccomp.json");
            fs::write(&file, seccomp).map_err(ContainerError::during("writing the system-call filter"))?;
            seccomp = file.display().to_string();
        }
        let most = |resource, enough: u64| {
            let most = getrlimit(resource).maximum.unwrap_or(enough).min(enough);
            i64::try_from(most).unwrap_or(i64::MAX)
        };
        let most = Most { open_files: most(Resource::Nofile, OPEN_FILES), processes: most(Resource::Nproc, PROCESSES) };
        let manner = found.manner(seccomp, gateway, most);
        let engine = Engine { client, manner, unlimited_disk: settings.unlimited_disk, _lock: lock };
        Ok(Self { engine: Arc::new(engine), limits, report: found.report })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

/// Takes away what a gateway left that was killed; gives how many containers there were.
async fn clear(client: &Docker, gateway: &str) -> Result<usize, ContainerError> {
    let doing = "looking for leftover containers";
    let labels = [("label".to_owned(), vec![format!("{LABEL}={gateway}")])].into();
    let options = ListContainersOptionsBuilder::default().all(true).filters(&labels).build();
    let left: Vec<Listed> = read(client.list_containers(Some(options)).await).map_err(during(doing))?;
    for Listed { id: name } in &left {
        // What is frozen does not die; what is neither frozen nor alive is refused.
        let _ = client.unpause_container(name).await;
        let kill = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let _ = client.kill_container(name, Some(kill)).await;
        remove(client, name).await?;
    }
    Ok(left.len())
}

impl ContainerBackend for DockerBackend {
    fn report(&self) -> &BackendReport {
        &self.report
    }

    /// Images of our own are made for our agent, which engines are not given.
    fn lacks(&self, reference: &ImageReference) -> Option<String> {
        matches!(reference, ImageReference::BuiltIn(_)).then(|| NO_AGENT.to_owned())
    }

    fn prepare_image<'a>(
        &'a self,
        reference: &'a ImageReference,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Arc<Image>, ContainerError>> {
        if let Some(problem) = self.lacks(reference) {
            return Box::pin(async { Err(ContainerError::Unsupported(problem)) });
        }
        Box::pin(image::prepare(&self.engine.client, &self.limits, reference, credentials))
    }

    fn create<'a>(
        &'a self,
        specification: &'a ContainerSpecification,
        image: &'a Arc<Image>,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, ContainerError>> {
        Box::pin(async move {
            let container = DockerContainer::create(&self.engine, specification, image).await?;
            Ok(Arc::new(container) as Arc<dyn Container>)
        })
    }
}
