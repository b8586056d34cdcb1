//! A started container of a pool, and the watch over it: it ends when its process does, when its liveness probe fails, or
//! when somebody wants it ended; and then it is taken away.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use super::ContainerPoolSpecification;
use super::failure::{NotStarted, StartFailure};
use super::probe::{self, Probe, ProbeKind};
use super::record::Counted;
use crate::egress::connections::WayOut;
use crate::records::PoolRecords;
use crate::sandbox::container::{Container, ContainerBackend, ContainerError, Exit, Image, InstanceId};

/// Why an instance is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Exited(Exit),
    /// A container beside it ended: which one, and how.
    SidecarExited(String),
    /// What the liveness probe met.
    Unhealthy(String),
    /// Somebody wanted it.
    Stopped,
}

/// A started container, and those beside it, which live and end with it. Cheap to clone the handle of.
pub struct Instance {
    container: Arc<dyn Container>,
    /// With their names.
    beside: Vec<(String, Arc<dyn Container>)>,
    way_out: Option<Arc<WayOut>>,
    /// Cancelled when it takes no more requests.
    gone: CancellationToken,
    /// Cancelled when it is the next gateway's.
    left: CancellationToken,
    /// Cancelled when nothing is left of it.
    removed: CancellationToken,
    ended: OnceLock<Ended>,
}

impl Instance {
    /// Makes a container and waits until it has started, or `over` is cancelled.
    pub(super) async fn start(
        backend: &Arc<dyn ContainerBackend>,
        specification: &Arc<ContainerPoolSpecification>,
        images: &[Arc<Image>],
        over: &CancellationToken,
        records: &PoolRecords,
    ) -> Result<Arc<Self>, NotStarted> {
        let way_out = way_out(specification, records);
        let engine = |error: ContainerError| NotStarted::of_engine(&error);
        let [image, others @ ..] = images else { unreachable!("there is the first container's image") };
        let container = backend.create(&specification.container(way_out.clone()), image).await.map_err(engine)?;
        let mut beside = Vec::new();
        for (sidecar, image) in specification.sidecars.iter().zip(others) {
            // Before the first has started: its network is there as long as it is.
            let other = container.beside(&specification.beside(sidecar), image).await.map_err(engine)?;
            beside.push((sidecar.name.clone(), other));
        }
        container.start().await.map_err(engine)?;
        for (_, other) in &beside {
            other.start().await.map_err(engine)?;
        }
        let crashed = |problem: String| NotStarted::new(StartFailure::Crashed, &problem);
        let started = tokio::select! {
            started = have_started(specification, &*container, &beside) => {
                started.map_err(|problem| NotStarted::new(StartFailure::NotReady, &problem))
            }
            exit = container.exited() => Err(crashed(format!("its container ended before it had started: {exit}"))),
            log = sidecar_exited(&beside) => Err(crashed(format!("before it had started {log}"))),
            () = over.cancelled() => Err(NotStarted::new(StartFailure::NotReady, "nobody wants it any more")),
        };
        if let Err(problem) = started {
            destroy(&container, &beside).await;
            return Err(problem);
        }
        Ok(Self::watched(container, beside, way_out, specification))
    }

    /// Takes over one that an earlier gateway started, with the ids of those beside it.
    pub(super) async fn adopt(
        backend: &Arc<dyn ContainerBackend>,
        specification: &Arc<ContainerPoolSpecification>,
        id: &InstanceId,
        others: &[(String, InstanceId)],
        records: &PoolRecords,
    ) -> Result<Arc<Self>, ContainerError> {
        let way_out = way_out(specification, records);
        let container = backend.adopt(id, way_out.clone()).await?;
        let mut beside = Vec::new();
        for (name, id) in others {
            beside.push((name.clone(), backend.adopt(id, None).await?));
        }
        Ok(Self::watched(container, beside, way_out, specification))
    }

    fn watched(
        container: Arc<dyn Container>,
        beside: Vec<(String, Arc<dyn Container>)>,
        way_out: Option<Arc<WayOut>>,
        specification: &Arc<ContainerPoolSpecification>,
    ) -> Arc<Self> {
        let instance = Arc::new(Self {
            container,
            beside,
            way_out,
            gone: CancellationToken::new(),
            left: CancellationToken::new(),
            removed: CancellationToken::new(),
            ended: OnceLock::new(),
        });
        tokio::spawn(instance.clone().watch(specification.clone()));
        instance
    }

    pub fn container(&self) -> &dyn Container {
        &*self.container
    }

    /// The containers beside it, with their names.
    pub fn beside(&self) -> &[(String, Arc<dyn Container>)] {
        &self.beside
    }

    /// Stops all its containers from being scheduled, or lets them go on.
    pub(super) async fn set_frozen(&self, frozen: bool) -> Result<(), ContainerError> {
        self.container.set_frozen(frozen).await?;
        for (_, other) in &self.beside {
            other.set_frozen(frozen).await?;
        }
        Ok(())
    }

    /// Where its connections go; None when it makes none.
    pub fn way_out(&self) -> Option<&Arc<WayOut>> {
        self.way_out.as_ref()
    }

    /// Cancelled when it takes no more requests; those under way end then.
    pub fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Cancelled when it was left to the next gateway.
    pub(super) fn left(&self) -> &CancellationToken {
        &self.left
    }

    /// Leaves all its containers to the next gateway. False when it has ended: then nothing is left of it soon.
    pub(super) async fn leave(&self) -> bool {
        if self.gone.is_cancelled() {
            return false;
        }
        self.left.cancel();
        for container in self.containers() {
            if let Err(error) = container.leave().await {
                tracing::warn!(cause = error.told(), "a container cannot be left to the next gateway");
            }
        }
        true
    }

    fn containers(&self) -> impl Iterator<Item = &Arc<dyn Container>> {
        std::iter::once(&self.container).chain(self.beside.iter().map(|(_, other)| other))
    }

    pub(super) fn removed(&self) -> &CancellationToken {
        &self.removed
    }

    /// Why it is no more.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Ends it; [`Instance::removed`] tells when it is done.
    pub(super) fn stop(&self) {
        let _ = self.ended.set(Ended::Stopped);
        self.gone.cancel();
    }

    async fn watch(self: Arc<Self>, specification: Arc<ContainerPoolSpecification>) {
        tokio::select! {
            // Where several end at once, the first container's end is the reason.
            biased;
            () = self.left.cancelled() => return,
            exit = self.container.exited() => drop(self.ended.set(Ended::Exited(exit))),
            log = sidecar_exited(&self.beside) => drop(self.ended.set(Ended::SidecarExited(log))),
            problem = self.failed(&specification) => drop(self.ended.set(Ended::Unhealthy(problem))),
            () = self.gone.cancelled() => {}
        }
        self.gone.cancel();
        let pool = specification.name.as_str();
        let mut grace = specification.grace();
        match self.ended.get() {
            Some(Ended::Exited(exit)) => tracing::info!(pool, %exit, "a container exited"),
            Some(Ended::SidecarExited(log)) => tracing::info!(pool, log, "a container beside another exited"),
            Some(Ended::Unhealthy(problem)) => {
                tracing::warn!(pool, problem, "a container failed its liveness probe");
                let liveness = specification.probe(ProbeKind::Liveness);
                grace = liveness.and_then(|probe| probe.grace()).unwrap_or(grace);
            }
            Some(Ended::Stopped) | None => tracing::debug!(pool, "a container is stopped"),
        }
        self.remove(grace).await;
    }

    /// What a liveness probe met, of any of its containers.
    async fn failed(&self, specification: &ContainerPoolSpecification) -> String {
        let liveness = |container: &Arc<dyn Container>, probes: &[Probe], name: Option<&str>| {
            let probe = probes.iter().find(|probe| probe.kind == ProbeKind::Liveness).cloned();
            let (container, name) = (container.clone(), name.map(str::to_owned));
            async move {
                let Some(probe) = probe else { return std::future::pending().await };
                let problem = probe.until_failed(&*container).await;
                name.map_or(problem.clone(), |name| format!("{name}: {problem}"))
            }
        };
        let mut all = FuturesUnordered::new();
        all.push(liveness(&self.container, &specification.probes, None));
        for ((name, other), sidecar) in self.beside.iter().zip(&specification.sidecars) {
            all.push(liveness(other, &sidecar.probes, Some(name)));
        }
        all.next().await.unwrap_or_default()
    }

    async fn remove(&self, grace: Duration) {
        join_all(self.containers().map(async |container| {
            // What is frozen hears no signal.
            if container.set_frozen(false).await.is_ok()
                && let Err(error) = container.stop(grace).await
            {
                tracing::warn!(cause = error.told(), "a container did not stop");
            }
        }))
        .await;
        destroy(&self.container, &self.beside).await;
        self.removed.cancel();
    }
}

/// Where the connections of a pool's containers go.
fn way_out(specification: &ContainerPoolSpecification, records: &PoolRecords) -> Option<Arc<WayOut>> {
    specification.egress.is_open().then(|| {
        let policy = Arc::new(specification.egress.clone());
        WayOut::new(policy, Arc::new(Counted(records.clone())))
    })
}

/// Waits until every container of a session has started.
async fn have_started(
    specification: &ContainerPoolSpecification,
    container: &dyn Container,
    beside: &[(String, Arc<dyn Container>)],
) -> Result<(), String> {
    let startup = specification.probe(ProbeKind::Startup);
    let started = probe::started(container, startup, specification.port()).await;
    started.map_err(|told| format!("its container did not start: {told}"))?;
    for ((name, other), sidecar) in beside.iter().zip(&specification.sidecars) {
        let startup = sidecar.probes.iter().find(|probe| probe.kind == ProbeKind::Startup);
        if startup.is_some() {
            let started = probe::started(&**other, startup, specification.target_port).await;
            started.map_err(|told| format!("its container {name} did not start: {told}"))?;
        }
    }
    Ok(())
}

/// Waits for the end of any of them: which one, and how it ended.
async fn sidecar_exited(beside: &[(String, Arc<dyn Container>)]) -> String {
    let mut all: FuturesUnordered<_> = beside
        .iter()
        .map(async |(name, other)| format!("its container {name} ended: {}", other.exited().await))
        .collect();
    match all.next().await {
        Some(log) => log,
        None => std::future::pending().await,
    }
}

async fn destroy(container: &Arc<dyn Container>, beside: &[(String, Arc<dyn Container>)]) {
    let all = std::iter::once(container).chain(beside.iter().map(|(_, other)| other));
    join_all(all.map(async |container| {
        if let Err(error) = container.destroy().await {
            tracing::error!(cause = error.told(), "a container could not be taken away");
        }
    }))
    .await;
}
