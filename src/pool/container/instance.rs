//! A started container of a pool, and the watch over it: it ends when its process does, when its liveness probe fails, or
//! when somebody wants it ended; and then it is taken away.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ContainerPoolSpecification;
use super::failure::{NotStarted, StartFailure};
use super::probe::{self, ProbeKind};
use crate::sandbox::container::{Container, ContainerBackend, Exit, Image};

/// Why an instance is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Exited(Exit),
    /// What the liveness probe met.
    Unhealthy(String),
    /// Somebody wanted it.
    Stopped,
}

/// A started container. Cheap to clone the handle of.
pub struct Instance {
    container: Arc<dyn Container>,
    /// Cancelled when it takes no more requests.
    gone: CancellationToken,
    /// Cancelled when nothing is left of it.
    removed: CancellationToken,
    ended: OnceLock<Ended>,
}

impl Instance {
    /// Makes a container and waits until it has started, or `over` is cancelled.
    pub(super) async fn start(
        backend: &Arc<dyn ContainerBackend>,
        specification: &Arc<ContainerPoolSpecification>,
        image: &Arc<Image>,
        over: &CancellationToken,
    ) -> Result<Arc<Self>, NotStarted> {
        let container = backend.create(&specification.container(), image).await;
        let container = container.map_err(|error| NotStarted::of_engine(&error))?;
        container.start().await.map_err(|error| NotStarted::of_engine(&error))?;
        let startup = specification.probe(ProbeKind::Startup);
        let started = tokio::select! {
            started = probe::started(&*container, startup, specification.port()) => {
                let problem = |problem| format!("its container did not start: {problem}");
                started.map_err(|told| NotStarted::new(StartFailure::NotReady, &problem(told)))
            }
            exit = container.exited() => {
                let problem = format!("its container ended before it had started: {exit}");
                Err(NotStarted::new(StartFailure::Crashed, &problem))
            }
            () = over.cancelled() => Err(NotStarted::new(StartFailure::NotReady, "nobody wants it any more")),
        };
        if let Err(problem) = started {
            if let Err(error) = container.destroy().await {
                tracing::error!(cause = error.told(), "a container could not be taken away");
            }
            return Err(problem);
        }
        let instance = Arc::new(Self {
            container,
            gone: CancellationToken::new(),
            removed: CancellationToken::new(),
            ended: OnceLock::new(),
        });
        tokio::spawn(instance.clone().watch(specification.clone()));
        Ok(instance)
    }

    pub fn container(&self) -> &dyn Container {
        &*self.container
    }

    /// Cancelled when it takes no more requests; those under way end then.
    pub fn gone(&self) -> &CancellationToken {
        &self.gone
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
        let liveness = async {
            match specification.probe(ProbeKind::Liveness) {
                Some(probe) => probe.until_failed(&*self.container).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = self.container.exited() => drop(self.ended.set(Ended::Exited(exit))),
            problem = liveness => drop(self.ended.set(Ended::Unhealthy(problem))),
            () = self.gone.cancelled() => {}
        }
        self.gone.cancel();
        let pool = specification.name.as_str();
        let mut grace = specification.grace();
        match self.ended.get() {
            Some(Ended::Exited(exit)) => tracing::info!(pool, %exit, "a container exited"),
            Some(Ended::Unhealthy(problem)) => {
                tracing::warn!(pool, problem, "a container failed its liveness probe");
                let liveness = specification.probe(ProbeKind::Liveness);
                grace = liveness.and_then(|probe| probe.grace()).unwrap_or(grace);
            }
            Some(Ended::Stopped) | None => tracing::debug!(pool, "a container is stopped"),
        }
        self.remove(grace).await;
    }

    async fn remove(&self, grace: Duration) {
        // What is frozen hears no signal.
        let thawed = self.container.set_frozen(false).await;
        if thawed.is_ok()
            && let Err(error) = self.container.stop(grace).await
        {
            tracing::warn!(cause = error.told(), "a container did not stop");
        }
        if let Err(error) = self.container.destroy().await {
            tracing::error!(cause = error.told(), "a container could not be taken away");
        }
        self.removed.cancel();
    }
}
