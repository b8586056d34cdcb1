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
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::backend::Engine;
use super::gate::Gate;
use super::leftovers::Leftover;
use super::rootfs::Rootfs;
use super::shim::{self, Arrived, Link};
use super::state::{self, State};
use super::user::UserRange;
use super::{config, leftovers, network, orphans};
use crate::egress::connections::WayOut;
use crate::sandbox::container::{
    Console, Container, ContainerError, ContainerSpecification, Exit, Image, ImageFiles, InstanceId, Io, Isolation,
    Note, agent,
};

/// How long a killed process may take to be gone. The kernel needs milliseconds, and more while it is out of memory.
const DEATH_SECONDS: i64 = 30;

/// A container of an OCI runtime.
pub(super) struct OciContainer {
    parts: Arc<Parts>,
    console: Console,
    ended: watch::Receiver<Option<Exit>>,
    /// Hears its shim.
    hears: Mutex<Option<JoinHandle<()>>>,
}

/// The network of a container, for others of its session.
pub(super) struct Shared {
    /// Whose it is.
    of: InstanceId,
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
    /// As it is in the folder.
    state: Mutex<State>,
    link: Arc<Link>,
    /// Its first process; None: it had ended when it was adopted.
    process: Option<OwnedFd>,
    network: Option<Arc<OwnedFd>>,
    /// Serves its way out.
    gate: Mutex<Option<AbortOnDropHandle<()>>>,
    destroyed: AtomicBool,
    /// Another gateway will have it.
    left: AtomicBool,
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
        let (parts, arrived) = parts.inspect_err(|_| {
            let _ = engine.runtime.delete(&id, &folder);
            // Of one that failed late, the shim is there.
            let _ = leftovers::clear(engine, &id);
        })?;
        Self::watched(parts, arrived)
    }

    /// Takes over a container that an earlier gateway made.
    pub(super) async fn adopt(
        engine: &Arc<Engine>,
        id: &InstanceId,
        Leftover { mut state, range }: Leftover,
        way_out: Option<Arc<WayOut>>,
    ) -> Result<Self, ContainerError> {
        if way_out.is_some() != state.way_out {
            let problem = "a container keeps the way out that it was made with, or none";
            return Err(ContainerError::Unsupported(problem.into()));
        }
        let folder = engine.containers.join(id.as_str());
        let within = folder.clone();
        let opened = tokio::task::spawn_blocking(move || Link::open(&within)).await;
        let doing = "connecting to a container's shim";
        let (link, arrived) = opened.map_err(ContainerError::during(doing))?.map_err(ContainerError::during(doing))?;
        // One that ends just now cannot be found; its shim tells so.
        let found = arrived.pid.and_then(|pid| opened_process(pid, Some(&state.cgroup)).ok());
        let (process, network) = found.unzip();
        let network = network.map(Arc::new);
        let gate = match (way_out, &network) {
            (Some(way_out), Some(network)) => Some(Gate::reopen(network.clone()).await?.serve(way_out)?),
            _ => None,
        };
        // What the settings say now counts from now on.
        if std::mem::replace(&mut state.unattended_seconds, engine.unattended_seconds) != engine.unattended_seconds {
            state.write(&folder).map_err(ContainerError::during("writing a container's state"))?;
        }
        let parts = Parts {
            id: id.clone(),
            engine: engine.clone(),
            folder,
            cgroup: state.cgroup.clone(),
            state: Mutex::new(state),
            link: Arc::new(link),
            process,
            network,
            gate: Mutex::new(gate),
            destroyed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            range: Mutex::new(Some(range)),
        };
        Self::watched(parts, arrived)
    }

    fn watched(parts: Parts, arrived: Arrived) -> Result<Self, ContainerError> {
        let (parts, console) = (Arc::new(parts), Console::default());
        let link = parts.link.clone();
        console.on_recorded(Box::new(move |position| link.recorded(position)));
        let (tell, ended) = watch::channel(None);
        let hearing = arrived.hear(console.clone(), tell.clone());
        let hearing = hearing.map_err(ContainerError::during("reading from a container's shim"))?;
        let watched = parts.clone();
        let hears = tokio::spawn(async move {
            hearing.await;
            if tell.borrow().is_none() {
                // Somebody killed the shim: nobody knows what becomes of the container.
                watched.signal(Signal::KILL);
                tell.send_replace(Some(Exit::default()));
            }
        });
        Ok(Self { parts, console, ended, hears: Mutex::new(Some(hears)) })
    }

    async fn make(
        engine: &Arc<Engine>,
        specification: &ContainerSpecification,
        image: &Image,
        folder: &Path,
        cgroup: &str,
        shared: Option<Shared>,
    ) -> Result<(Parts, Arrived), ContainerError> {
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
        let mut state = State::new(engine.runtime.clone(), cgroup.to_owned(), range.first(), engine.unattended_seconds);
        state.beside = shared.as_ref().map(|shared| shared.of.clone());
        state.way_out = specification.way_out.is_some();
        let written = state::make_folder(folder).and_then(|()| state.write(folder));
        written.map_err(ContainerError::during("writing a container's state"))?;
        let (program, bundle) = (engine.program.clone(), folder.to_owned());
        let ((link, arrived), range) = rootfs.mounted(range, move || shim::launch(&program, &bundle)).await?;
        let joined = shared.is_some();
        // It was open while the runtime looked it up.
        drop(shared);
        let pid = arrived.pid.ok_or(ContainerError::Ended)?;
        let opened = opened_process(pid, None);
        let (process, network) = opened.map_err(ContainerError::during("finding a container's process"))?;
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
            state: Mutex::new(state),
            link: Arc::new(link),
            process: Some(process),
            network: Some(network),
            gate: Mutex::new(gate),
            destroyed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            range: Mutex::new(Some(range)),
        };
        Ok((parts, arrived))
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
    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // It has ended if this fails.
            let _ = rustix::process::pidfd_send_signal(process, signal);
        }
    }

    /// Ends what outlives the first process, and takes the ends of what has become ours.
    fn end_orphans(&self) {
        // What fails now is tried again, and told, when the rest is removed.
        let _ = self.engine.cgroups.destroy(&self.cgroup);
        let first = self.range.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(UserRange::first);
        let end = Instant::now() + Duration::from_secs(DEATH_SECONDS.unsigned_abs());
        while first.is_some_and(orphans::reap) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Blocks until nothing of the container is left.
    fn destroy(&self) -> Result<(), ContainerError> {
        if self.destroyed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.signal(Signal::KILL);
        // What is frozen does not die.
        let _ = self.engine.cgroups.set_frozen(&self.cgroup, false);
        if let Some(process) = &self.process {
            let end = Timespec { tv_sec: DEATH_SECONDS, tv_nsec: 0 };
            let mut ended = [PollFd::new(process, PollFlags::IN)];
            let _ = poll(&mut ended, Some(&end));
        }
        if self.engine.runtime.isolation() == Isolation::UserKernel {
            self.end_orphans();
        }
        // The runtime may have no record of a container whose creation it did not finish.
        if let Err(error) = self.engine.runtime.delete(&self.id, &self.folder) {
            tracing::debug!(cause = error.told(), "the runtime did not delete a container");
        }
        self.link.end();
        if let Some(process) = &self.process {
            // It is our child if its shim was killed.
            let _ =
                rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        self.engine.forget(&self.folder, &self.cgroup)?;
        self.range.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

impl Drop for OciContainer {
    fn drop(&mut self) {
        let parts = self.parts.clone();
        if parts.destroyed.load(Ordering::Acquire) || parts.left.load(Ordering::Acquire) {
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
        let shared = self.parts.network.clone();
        let shared = shared.map(|network| Shared { of: self.parts.id.clone(), network, resolves });
        Box::pin(async move {
            let shared = Some(shared.ok_or(ContainerError::Ended)?);
            if specification.way_out.is_some() {
                let problem = "a container beside another has no way out of its own";
                return Err(ContainerError::Unsupported(problem.into()));
            }
            let container = Self::create(&self.parts.engine, specification, image, shared).await?;
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
            let network = network.ok_or(io::ErrorKind::NotConnected)?;
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

    fn note<'a>(&'a self, note: &'a Note) -> BoxFuture<'a, Result<(), ContainerError>> {
        let (parts, note) = (self.parts.clone(), note.clone());
        Box::pin(async move {
            let write = move || {
                let mut state = parts.state.lock().unwrap_or_else(PoisonError::into_inner);
                if parts.left.load(Ordering::Acquire) {
                    return Ok(());
                }
                state.note = Some(note);
                state.write(&parts.folder)
            };
            let written = tokio::task::spawn_blocking(write).await;
            written
                .map_err(ContainerError::during("writing a container's state"))?
                .map_err(ContainerError::during("writing a container's state"))
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), ContainerError>> {
        Box::pin(async move {
            if self.parts.destroyed.load(Ordering::Acquire) {
                return Err(ContainerError::Ended);
            }
            self.parts.left.store(true, Ordering::Release);
            let hears = self.hears.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(hears) = hears {
                hears.abort();
                // An error: it was aborted, which is what was wanted.
                let _ = hears.await;
            }
            self.parts.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.console.close();
            Ok(())
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
            self.parts.signal(Signal::TERM);
            // A first process without a handler ignores it, so this is often waited out.
            if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
                return Ok(exit);
            }
            self.parts.signal(Signal::KILL);
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

/// A process, and its network. With a control group: if it is in that one; else it is another process that has its number now.
fn opened_process(pid: i32, cgroup: Option<&str>) -> io::Result<(OwnedFd, OwnedFd)> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    is_apart(pid)?;
    let network = fs::File::open(folder.join("ns/net"))?;
    if let Some(cgroup) = cgroup
        && !fs::read_to_string(folder.join("cgroup"))?.contains(cgroup)
    {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((process, network.into()))
}
