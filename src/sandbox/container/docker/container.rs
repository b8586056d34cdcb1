//! One container, from its creation to its removal.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};

use super::backend::Engine;
use super::client::{during, read, status};
use super::image;
use super::process::Process;
use super::request::{self, Parts as RequestParts};
use crate::sandbox::container::runtime::{arguments, connect, environment};
use crate::sandbox::container::{
    Console, Container, ContainerError, ContainerSpecification, Exit, Image, ImageFiles, InstanceId, Io, Stream,
};

/// How long a killed process may take to be gone, and to be told of.
const DEATH: Duration = Duration::from_secs(30);
/// An engine that is asked how a container ended is asked so often, and waited for so long, while it does not answer.
const ASKED: u32 = 5;
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A container of the engine.
pub(super) struct DockerContainer {
    parts: Arc<Parts>,
    console: Console,
}

/// What the container consists of, for whoever takes it away.
struct Parts {
    id: InstanceId,
    engine: Arc<Engine>,
    /// As the engine calls it.
    name: String,
    started: AtomicBool,
    /// Its first process, from the start on, and then its end is watched for. None: it ended before it could be found.
    process: OnceLock<Option<Process>>,
    frozen: Mutex<bool>,
    /// The end; told once.
    ended: watch::Sender<Option<Exit>>,
    destroyed: AtomicBool,
    /// Where a dropped container is taken away.
    runtime: Handle,
}

/// What is asked of what an engine says about a container.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    /// 0: it does not run.
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
}

/// Why pools that run what callers send, shells among them, are refused.
pub(super) const NO_AGENT: &str = "pools with an interpreter need the gateway's own runtime (runc, crun, runsc): an engine's containers do \
     not get the gateway's agent";

impl DockerContainer {
    /// Makes a container; nothing is left of one that could not be made.
    pub(super) async fn create(
        engine: &Arc<Engine>,
        specification: &ContainerSpecification,
        image: &Image,
    ) -> Result<Self, ContainerError> {
        let ImageFiles::Engine(name) = &image.files else {
            return Err(ContainerError::Unsupported("the image is another engine's".into()));
        };
        if specification.agent {
            return Err(ContainerError::Unsupported(NO_AGENT.into()));
        }
        if specification.way_out.is_some() {
            return Err(ContainerError::Unsupported("containers of this engine cannot be given a way out".into()));
        }
        if !specification.read_only && !engine.manner.limits_disk && !engine.unlimited_disk {
            return Err(ContainerError::Unsupported(
                "this engine cannot limit what sessions write to its disk: the pool must be read_only, or the gateway's \
                 operator allow it (unlimited_disk)"
                    .into(),
            ));
        }
        let found = image::inspect(&engine.client, name).await?.ok_or_else(|| ContainerError::Image {
            image: image.digest.clone(),
            problem: "somebody removed it from the engine; the gateway gets it again when it starts".into(),
        })?;
        let parts = RequestParts {
            image: name.clone(),
            arguments: arguments(specification, &image.config)?,
            environment: environment(specification, &image.config),
            volumes: found.config.and_then(|config| config.volumes).unwrap_or_default(),
        };
        let body = request::body(specification, parts, &engine.manner);
        let options = CreateContainerOptionsBuilder::default().name(&format!("sandpool-{}", specification.id)).build();
        let made = engine.client.create_container(Some(options), body).await;
        let made = made.map_err(during("creating a container"))?;
        let parts = Parts {
            id: specification.id.clone(),
            engine: engine.clone(),
            name: made.id,
            started: AtomicBool::new(false),
            process: OnceLock::new(),
            frozen: Mutex::new(false),
            ended: watch::Sender::new(None),
            destroyed: AtomicBool::new(false),
            runtime: Handle::current(),
        };
        Ok(Self { parts: Arc::new(parts), console: Console::default() })
    }
}

impl Parts {
    /// Starts the container; from then on its output is read and its end is watched for.
    async fn start(self: Arc<Self>, console: Console) -> Result<(), ContainerError> {
        let client = &self.engine.client;
        let options = AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
        let attached = client.attach_container(&self.name, Some(options)).await;
        let mut output = attached.map_err(during("reading a container's output"))?.output;
        tokio::spawn(async move {
            while let Some(Ok(frame)) = output.next().await {
                match &frame {
                    LogOutput::StdErr { message } => console.push(Stream::Stderr, message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        console.push(Stream::Stdout, message);
                    }
                    LogOutput::StdIn { .. } => {}
                }
            }
            console.end(Stream::Stdout);
            console.end(Stream::Stderr);
            console.close();
        });
        let started = client.start_container(&self.name, None::<StartContainerOptions>).await;
        started.map_err(during("starting a container"))?;
        self.started.store(true, Ordering::Release);
        // One that cannot be found is not watched either; whoever has it takes it away.
        let process = self.find().await?;
        let _ = self.process.set(process);
        tokio::spawn(self.clone().watch());
        Ok(())
    }

    async fn find(&self) -> Result<Option<Process>, ContainerError> {
        let state = self.state().await.map_err(during("looking for a container's process"))?;
        Process::find(state.pid, &self.name).map_err(ContainerError::during("finding a container's process"))
    }

    async fn state(&self) -> Result<State, Error> {
        read(self.engine.client.inspect_container(&self.name, None).await).map(|found: Inspected| found.state)
    }

    fn process(&self) -> Option<&Process> {
        self.process.get()?.as_ref()
    }

    /// Waits for the end, which the kernel tells at once, and asks the engine how it was.
    async fn watch(self: Arc<Self>) {
        let mut out_of_memory = false;
        if let Some(process) = self.process() {
            process.ended().await;
            out_of_memory = process.ran_out_of_memory();
        }
        let mut exit = self.exit().await;
        // Either may miss it: the control group may be gone, and Podman does not say it of every kernel.
        exit.out_of_memory |= out_of_memory;
        self.ended.send_replace(Some(exit));
    }

    async fn exit(&self) -> Exit {
        let client = &self.engine.client;
        for _ in 0..ASKED {
            match self.state().await {
                Ok(state) if !state.running => return Exit::of_number(state.exit_code, state.oom_killed),
                // The engine hears of the end a little later than the kernel tells it. It is not only waited for: Podman
                // then waits for its own cleaning up too.
                Ok(_) => {
                    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
                    let _ = Box::pin(client.wait_container(&self.name, Some(options))).next().await;
                }
                // Somebody else removed it.
                Err(error) if status(&error) == Some(404) => return Exit::default(),
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
        Exit::default()
    }

    async fn wait(&self) -> Exit {
        let mut ended = self.ended.subscribe();
        let exit = ended.wait_for(Option::is_some).await.expect("who tells it is here");
        exit.expect("it was waited for")
    }

    async fn signal(&self, signal: &str) {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        // It has ended if this fails.
        let _ = self.engine.client.kill_container(&self.name, Some(options)).await;
    }

    async fn set_frozen(&self, frozen: bool) -> Result<(), Error> {
        let mut is = self.frozen.lock().await;
        if *is == frozen {
            return Ok(());
        }
        let client = &self.engine.client;
        match frozen {
            true => client.pause_container(&self.name).await?,
            false => client.unpause_container(&self.name).await?,
        }
        *is = frozen;
        Ok(())
    }

    async fn destroy(&self) -> Result<(), ContainerError> {
        if self.destroyed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // What is frozen does not die.
        let _ = self.set_frozen(false).await;
        if self.started.load(Ordering::Acquire) {
            self.signal("SIGKILL").await;
            // Told before the engine forgets how it was.
            if self.process.get().is_some() {
                let _ = tokio::time::timeout(DEATH, self.wait()).await;
            }
        }
        let removed = remove(&self.engine.client, &self.name).await;
        self.ended.send_if_modified(|exit| exit.is_none().then(|| *exit = Some(Exit::default())).is_some());
        removed.inspect_err(|_| self.destroyed.store(false, Ordering::Release))
    }
}

impl Drop for DockerContainer {
    fn drop(&mut self) {
        if self.parts.destroyed.load(Ordering::Acquire) {
            return;
        }
        let parts = self.parts.clone();
        // If the gateway is ending, the next one takes it away.
        self.parts.runtime.spawn(async move {
            if let Err(error) = parts.destroy().await {
                tracing::error!(cause = error.told(), "a container could not be taken away");
            }
        });
    }
}

impl Container for DockerContainer {
    fn id(&self) -> &InstanceId {
        &self.parts.id
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ContainerError>> {
        // A task of its own: a start that is not waited for must not leave a container that nobody watches.
        let starting = tokio::spawn(self.parts.clone().start(self.console.clone()));
        Box::pin(async move { starting.await.map_err(ContainerError::during("starting a container"))? })
    }

    fn connect(&self, port: u16) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let process = self.parts.process().ok_or(io::ErrorKind::NotConnected)?;
            let stream = connect(process.network.clone(), port).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }

    fn set_frozen(&self, frozen: bool) -> BoxFuture<'_, Result<(), ContainerError>> {
        Box::pin(async move { self.parts.set_frozen(frozen).await.map_err(during("freezing a container")) })
    }

    fn console(&self) -> &Console {
        &self.console
    }

    fn exit(&self) -> Option<Exit> {
        *self.parts.ended.borrow()
    }

    fn exited(&self) -> BoxFuture<'_, Exit> {
        Box::pin(self.parts.wait())
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'_, Result<Exit, ContainerError>> {
        Box::pin(async move {
            if let Some(exit) = self.exit() {
                return Ok(exit);
            }
            self.parts.signal("SIGTERM").await;
            // A first process without a handler ignores it, so this is often waited out.
            if let Ok(exit) = tokio::time::timeout(grace, self.parts.wait()).await {
                return Ok(exit);
            }
            self.parts.signal("SIGKILL").await;
            let killed = tokio::time::timeout(DEATH, self.parts.wait()).await;
            killed.map_err(ContainerError::during("waiting for a killed container"))
        })
    }

    fn destroy(&self) -> BoxFuture<'_, Result<(), ContainerError>> {
        Box::pin(self.parts.destroy())
    }
}

/// Removes a container, running or not, and what the engine keeps for it. Nothing there is fine.
pub(super) async fn remove(client: &Docker, name: &str) -> Result<(), ContainerError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match client.remove_container(name, Some(options)).await {
        Ok(()) => Ok(()),
        // Gone, or being removed by somebody else.
        Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(during("removing a container")(error)),
    }
}
