//! One container, from its creation to its removal.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::backend::Engine;
use super::gate::Gate;
use super::rootfs::Rootfs;
use super::user::UserRange;
use super::{config, network, orphans};
use crate::sandbox::container::{
    Console, Container, ContainerError, ContainerSpecification, Exit, Image, ImageFiles, InstanceId, Io, Isolation,
    Stream, agent,
};

/// How long a killed process may take to be gone. The kernel needs milliseconds, and more while it is out of memory.
const DEATH_SECONDS: i64 = 30;

/// A container of an OCI runtime.
pub(super) struct OciContainer {
    parts: Arc<Parts>,
    console: Console,
    ended: watch::Receiver<Option<Exit>>,
}

/// The network of a container, for others of its session.
pub(super) struct Shared {
    network: Arc<OwnedFd>,
    /// There is somebody to ask for names.
    resolves: bool,
}

impl Shared {
    /// Where a runtime finds it, as long as this is there.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }
}

/// What the container consists of, for whoever takes it away.
struct Parts {
    id: InstanceId,
    engine: Arc<Engine>,
    /// Folder of the container; also the runtime's bundle.
    folder: PathBuf,
    cgroup: String,
    pid: Pid,
    process: OwnedFd,
    network: Arc<OwnedFd>,
    /// Serves its way out.
    gate: Mutex<Option<AbortOnDropHandle<()>>>,
    destroyed: AtomicBool,
    /// Given back once nothing runs with its numbers any more.
    range: Mutex<Option<UserRange>>,
}

impl OciContainer {
    /// Makes a container; nothing is left of one that could not be made.
    pub(super) async fn create(
        engine: &Arc<Engine>,
        specification: &ContainerSpecification,
        image: &Image,
        shared: Option<Shared>,
    ) -> Result<Self, ContainerError> {
        let id = specification.id.clone();
        let folder = engine.containers.join(id.as_str());
        // Open to the container's own numbers, which look up its root in it; there is nothing to see.
        let made = fs::DirBuilder::new().mode(0o711).create(&folder);
        made.map_err(ContainerError::during("making a container's folder"))?;
        let cgroup = format!("{}/{id}", engine.cgroup);
        let parts = Self::make(engine, specification, image, &folder, &cgroup, shared).await;
        let (parts, stdout, stderr) = parts.inspect_err(|_| {
            let _ = engine.runtime.delete(&id, &folder);
            let _ = engine.forget(&folder, &cgroup);
        })?;
        let console = Console::default();
        read(stdout, console.clone(), Stream::Stdout)?;
        read(stderr, console.clone(), Stream::Stderr)?;
        let parts = Arc::new(parts);
        let ended = watch_exit(&parts)?;
        Ok(Self { parts, console, ended })
    }

    async fn make(
        engine: &Arc<Engine>,
        specification: &ContainerSpecification,
        image: &Image,
        folder: &Path,
        cgroup: &str,
        shared: Option<Shared>,
    ) -> Result<(Parts, io::PipeReader, io::PipeReader), ContainerError> {
        let id = specification.id.clone();
        // Before anything is made: what this machine cannot do is no failure on the way.
        let nft = match (&specification.way_out, &engine.nft) {
            (None, _) => None,
            (Some(_), Ok(nft)) => Some(nft.clone()),
            (Some(_), Err(problem)) => {
                let problem = format!("containers cannot be given a way out here: {problem}");
                return Err(ContainerError::Unsupported(problem));
            }
        };
        let range = engine.ranges.take().map_err(ContainerError::during("taking a range of user numbers"))?;
        let user = image.config.resolve_user(folder_of(image)?);
        let user = user.map_err(|problem| ContainerError::Image { image: image.digest.clone(), problem })?;
        let rootfs = Rootfs {
            image: folder_of(image)?.to_owned(),
            folder: folder.to_owned(),
            disk_bytes: specification.resources.disk_bytes,
            data: specification.agent.then_some((agent::DATA.trim_start_matches('/'), user)),
            hidden: engine.hidden,
        };
        let path = rootfs.path();
        let parts = config::Parts {
            rootfs: &path,
            user,
            first_uid: range.first(),
            cgroup,
            etc: &engine.etc,
            cgroups: &engine.cgroups,
            open_files: engine.open_files,
            network: shared.as_ref().map(Shared::path),
            resolves: specification.way_out.is_some() || shared.as_ref().is_some_and(|shared| shared.resolves),
            isolation: engine.runtime.isolation(),
            agent: &engine.agent,
        };
        let document = config::document(specification, &image.config, &parts)?;
        // It holds the session's environment, secrets included.
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("config.json"));
        let written = file.and_then(|mut file| file.write_all(document.to_string().as_bytes()));
        written.map_err(ContainerError::during("writing a container's configuration"))?;
        let pipes = || -> io::Result<_> { Ok((io::pipe()?, io::pipe()?)) };
        let ((stdout, out), (stderr, err)) = pipes().map_err(ContainerError::during("making pipes"))?;
        let (runtime, bundle, name) = (engine.runtime.clone(), folder.to_owned(), id.clone());
        let create = move || runtime.create(&name, &bundle, out, err);
        let (pid, range) = rootfs.mounted(range, create).await?;
        let joined = shared.is_some();
        // It was open while the runtime looked it up.
        drop(shared);
        let opened = || -> io::Result<(Pid, OwnedFd, OwnedFd)> {
            let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
            is_apart(pid)?;
            let network = fs::File::open(format!("/proc/{}/ns/net", pid.as_raw_nonzero()))?;
            Ok((pid, rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?, network.into()))
        };
        let (pid, process, network) = opened().map_err(ContainerError::during("finding a container's process"))?;
        let network = Arc::new(network);
        if engine.runtime.isolation() == Isolation::UserKernel && !joined {
            network::prepare(network.clone()).await?;
        }
        let gate = match (&specification.way_out, nft) {
            (Some(way_out), Some(nft)) => Some(Gate::build(network.clone(), nft).await?.serve(way_out.clone())?),
            _ => None,
        };
        let parts = Parts {
            id,
            engine: engine.clone(),
            folder: folder.to_owned(),
            cgroup: cgroup.to_owned(),
            pid,
            process,
            network,
            gate: Mutex::new(gate),
            destroyed: AtomicBool::new(false),
            range: Mutex::new(Some(range)),
        };
        Ok((parts, stdout, stderr))
    }

    fn signal(&self, signal: Signal) {
        // It has ended if this fails.
        let _ = rustix::process::pidfd_send_signal(&self.parts.process, signal);
    }

    async fn wait(&self) -> Exit {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(exit) => exit.expect("it was waited for"),
            // Whoever watches it went with its runtime.
            Err(_) => Exit::default(),
        }
    }
}

impl Parts {
    /// Ends what outlives the first process, and takes its ends.
    fn end_orphans(&self) {
        // What fails now is tried again, and told, when the rest is removed.
        let _ = self.engine.cgroups.destroy(&self.cgroup);
        let first = self.range.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(UserRange::first);
        let end = Instant::now() + Duration::from_secs(DEATH_SECONDS.unsigned_abs());
        while first.is_some_and(|first| orphans::reap(first, self.pid)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Blocks until nothing of the container is left.
    fn destroy(&self) -> Result<(), ContainerError> {
        if self.destroyed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        // What is frozen does not die.
        let _ = self.engine.cgroups.set_frozen(&self.cgroup, false);
        let end = Timespec { tv_sec: DEATH_SECONDS, tv_nsec: 0 };
        let mut ended = [PollFd::new(&self.process, PollFlags::IN)];
        let _ = poll(&mut ended, Some(&end));
        if self.engine.runtime.isolation() == Isolation::UserKernel {
            self.end_orphans();
        }
        // The runtime may have no record of a container whose creation it did not finish.
        if let Err(error) = self.engine.runtime.delete(&self.id, &self.folder) {
            tracing::debug!(cause = error.told(), "the runtime did not delete a container");
        }
        self.engine.forget(&self.folder, &self.cgroup)?;
        self.range.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

impl Drop for OciContainer {
    fn drop(&mut self) {
        let parts = self.parts.clone();
        if parts.destroyed.load(Ordering::Acquire) {
            return;
        }
        let destroying = std::thread::Builder::new().name("destroy".into()).spawn(move || {
            if let Err(error) = parts.destroy() {
                tracing::error!(cause = error.told(), "a container could not be taken away");
            }
        });
        if let Err(error) = destroying {
            tracing::error!(%error, "a container could not be taken away");
        }
    }
}

impl Container for OciContainer {
    fn id(&self) -> &InstanceId {
        &self.parts.id
    }

    fn beside<'a>(
        &'a self,
        specification: &'a ContainerSpecification,
        image: &'a Arc<Image>,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, ContainerError>> {
        let resolves = self.parts.gate.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let shared = Shared { network: self.parts.network.clone(), resolves };
        Box::pin(async move {
            if specification.way_out.is_some() {
                let problem = "a container beside another has no way out of its own";
                return Err(ContainerError::Unsupported(problem.into()));
            }
            let container = Self::create(&self.parts.engine, specification, image, Some(shared)).await?;
            Ok(Arc::new(container) as Arc<dyn Container>)
        })
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ContainerError>> {
        let parts = self.parts.clone();
        Box::pin(async move {
            let start = move || parts.engine.runtime.start(&parts.id, &parts.folder);
            tokio::task::spawn_blocking(start).await.map_err(ContainerError::during("starting a container"))?
        })
    }

    fn connect(&self, port: u16) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        let network = self.parts.network.clone();
        Box::pin(async move {
            let stream = network::connect(network, port).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }

    fn set_frozen(&self, frozen: bool) -> BoxFuture<'_, Result<(), ContainerError>> {
        let parts = self.parts.clone();
        Box::pin(async move {
            let set = move || parts.engine.cgroups.set_frozen(&parts.cgroup, frozen);
            let set = tokio::task::spawn_blocking(set).await;
            set.map_err(ContainerError::during("freezing a container"))?
                .map_err(ContainerError::during("freezing a container"))
        })
    }

    fn console(&self) -> &Console {
        &self.console
    }

    fn exit(&self) -> Option<Exit> {
        *self.ended.borrow()
    }

    fn exited(&self) -> BoxFuture<'_, Exit> {
        Box::pin(self.wait())
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'_, Result<Exit, ContainerError>> {
        Box::pin(async move {
            self.signal(Signal::TERM);
            // A first process without a handler ignores it, so this is often waited out.
            if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
                return Ok(exit);
            }
            self.signal(Signal::KILL);
            let killed = tokio::time::timeout(Duration::from_secs(DEATH_SECONDS.unsigned_abs()), self.wait()).await;
            killed.map_err(ContainerError::during("waiting for a killed container"))
        })
    }

    fn destroy(&self) -> BoxFuture<'_, Result<(), ContainerError>> {
        let parts = self.parts.clone();
        Box::pin(async move {
            let destroyed = tokio::task::spawn_blocking(move || parts.destroy()).await;
            destroyed.map_err(ContainerError::during("taking a container away"))?
        })
    }
}

/// Looks that a process shares neither network nor user numbers with the machine: what is done in its network next, and what it is
/// let reach, stands on that, and a runtime that is told so much by its flags may see it otherwise.
fn is_apart(pid: Pid) -> io::Result<()> {
    for name in ["net", "user"] {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        if fs::read_link(format!("/proc/{}/ns/{name}", pid.as_raw_nonzero()))? == own {
            return Err(io::Error::other(format!("the runtime left it in the machine's own {name} namespace")));
        }
    }
    Ok(())
}

/// The image's own folder.
fn folder_of(image: &Image) -> Result<&Path, ContainerError> {
    match &image.files {
        ImageFiles::Folder(folder) => Ok(folder),
        ImageFiles::Engine(_) => Err(ContainerError::Unsupported("the image is another engine's".into())),
    }
}

/// Reads a stream into the console until all of the container's processes have closed it.
fn read(pipe: io::PipeReader, console: Console, stream: Stream) -> Result<(), ContainerError> {
    let pipe = Receiver::from_owned_fd(pipe.into());
    let mut pipe = pipe.map_err(ContainerError::during("reading a container's output"))?;
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            console.push(stream, &buffer[..read]);
        }
        console.end(stream);
    });
    Ok(())
}

/// Waits for the end of the container's first process. It is our child: the runtime has ended, and orphans come to us.
fn watch_exit(parts: &Arc<Parts>) -> Result<watch::Receiver<Option<Exit>>, ContainerError> {
    let process = parts.process.try_clone().map_err(ContainerError::during("watching a container"))?;
    // SAFETY: an owned descriptor stays open, and the same, as long as what owns it.
    let watched = unsafe { AsyncFd::register(process) };
    let watched = watched.map_err(ContainerError::during("watching a container"))?;
    let (tell, ended) = watch::channel(None);
    let (cgroups, cgroup) = (parts.engine.cgroups.clone(), parts.cgroup.clone());
    let user_kernel = parts.engine.runtime.isolation() == Isolation::UserKernel;
    tokio::spawn(async move {
        let _ = watched.readable().await;
        let status = rustix::process::waitid(WaitId::PidFd(watched.get_ref().as_fd()), WaitIdOptions::EXITED);
        let mut exit = Exit::default();
        if let Ok(Some(status)) = status {
            exit.code = status.exit_status();
            exit.signal = status.terminating_signal();
        }
        let out_of_memory = cgroups.ran_out_of_memory(&cgroup);
        exit = match exit.code {
            // Its kernel ends by itself, whatever ended its guest.
            Some(number) if user_kernel => Exit::of_number(number.into(), out_of_memory),
            _ => Exit { out_of_memory, ..exit },
        };
        tell.send_replace(Some(exit));
    });
    Ok(ended)
}
