//! The backend as a whole: found, probed, cleared of what an earlier gateway left, and then images in, containers out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rustix::fs::FlockOperation;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cgroup::Cgroups;
use super::command::Runtime;
use super::container::OciContainer;
use super::gate::{self, Gate};
use super::leftovers::Leftover;
use super::user::UserRanges;
use super::{leftovers, rootfs};
use crate::egress::connections::WayOut;
use crate::sandbox::container::docker::DockerSettings;
use crate::sandbox::container::image::{ImageConfig, ImageLimits, ImageStore};
use crate::sandbox::container::{
    AllowedImages, BackendReport, Container, ContainerBackend, ContainerError, ContainerSpecification, Credentials,
    Enforced, Image, ImageFiles, ImageReference, InstanceId, Isolation, Left, Resources, agent,
};

/// How containers are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OciSettings {
    /// `runc`, `crun` or `runsc`, or a path that ends so. None: the first of them that the machine has.
    pub runtime: Option<PathBuf>,
    /// Folder of what lives as long as the containers. It must be one that all users of the machine may pass through, and
    /// is best in memory.
    pub run_dir: PathBuf,
    /// Registries (`host:port`) that are spoken to without TLS. Those on this machine always are.
    pub insecure_registries: Vec<String>,
    /// What an image may hold.
    pub image: ImageLimits,
    /// Beginnings of the images that pools made through the API may run, such as `registry.example/team/` or
    /// `oci:/srv/images/`. None: everything in registries, and no folder of this machine.
    pub allowed_images: AllowedImages,
    /// Where images of our own are once they are built. Nobody's to set: it is in the gateway's cache.
    #[serde(skip)]
    pub built_in: PathBuf,
    /// Sessions go on while the gateway is stopped and started again; else they end with it. Those of a gateway that was killed go on
    /// either way.
    pub outlive_gateway: bool,
    /// A container that no gateway has been there for so long takes itself away.
    pub unattended_seconds: u64,
    /// This program, which is started again beside each container. Nobody's to set: it is the file that runs, also where another
    /// has taken its place.
    #[serde(skip, default = "own_program")]
    pub program: PathBuf,
    /// Containers are run by this engine instead: then of the settings above only those of images count.
    pub docker: Option<DockerSettings>,
}

impl Default for OciSettings {
    fn default() -> Self {
        Self {
            runtime: None,
            run_dir: "/run/sandpool".into(),
            insecure_registries: Vec::new(),
            image: ImageLimits::default(),
            allowed_images: AllowedImages::default(),
            built_in: PathBuf::new(),
            outlive_gateway: true,
            unattended_seconds: 900,
            program: own_program(),
            docker: None,
        }
    }
}

fn own_program() -> PathBuf {
    "/proc/self/exe".into()
}

impl OciSettings {
    /// The longest that a container may be left alone, in seconds: thirty days.
    const MAX_UNATTENDED_SECONDS: u64 = 30 * 24 * 3600;

    /// What makes no sense, in sentences.
    pub fn problems(&self) -> Vec<String> {
        let (seconds, most) = (self.unattended_seconds, Self::MAX_UNATTENDED_SECONDS);
        let problem = format!("containers.unattended_seconds: is {seconds}; it must be from 1 to {most}");
        if (1..=most).contains(&seconds) { Vec::new() } else { vec![problem] }
    }
}

/// In order of preference: runc is what most machines have and most people test with.
const ENGINES: [&str; 3] = ["runc", "crun", "runsc"];
const PROGRAM_FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The most files that a process in a container may have open, where the gateway itself may have so many.
pub(in crate::sandbox::container) const OPEN_FILES: u64 = 65_536;

/// How long a first container may take. It takes a fraction of a second; a platform that does not work can hang.
const PROBE_TIME: Duration = Duration::from_secs(20);

/// What all containers of a backend share.
pub(super) struct Engine {
    pub runtime: Runtime,
    pub cgroups: Cgroups,
    /// Control group of all containers, relative to the root.
    pub cgroup: String,
    pub folder: PathBuf,
    /// One folder a container.
    pub containers: PathBuf,
    /// `hosts`, `hostname`, `resolv.conf`, and `resolv-out.conf` for those with a way out.
    pub etc: PathBuf,
    pub ranges: Arc<UserRanges>,
    /// The agent that containers get which want one.
    pub agent: PathBuf,
    /// See `Rootfs::hidden`.
    pub hidden: Option<&'static str>,
    pub open_files: u64,
    /// This program, for shims.
    pub program: PathBuf,
    pub unattended_seconds: u64,
    /// The program that loads the rules of ways out; or why none can be given.
    pub nft: Result<PathBuf, String>,
    /// Held as long as the backend lives: nobody else has its folder.
    _lock: File,
}

impl Engine {
    /// Removes what the runtime does not.
    pub(super) fn forget(&self, folder: &Path, cgroup: &str) -> Result<(), ContainerError> {
        self.cgroups.destroy(cgroup).map_err(ContainerError::during("removing a container's control group"))?;
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ContainerError::new("removing a container's folder", error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.cgroups.remove_empty(&self.cgroup);
        self.cgroups.remove_empty("sandpool");
        // The lock goes with the file; a folder that is not empty stays.
        let _ = fs::remove_dir_all(&self.etc);
        let _ = fs::remove_file(&self.agent);
        let _ = fs::remove_dir(&self.containers);
        let _ = fs::remove_dir(&self.runtime.records);
        let _ = fs::remove_file(self.folder.join("lock"));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Runs containers with an OCI runtime's command line. Needs root.
pub struct OciBackend {
    engine: Arc<Engine>,
    images: ImageStore,
    report: BackendReport,
    /// What an earlier gateway left, and nobody has adopted.
    left: Mutex<BTreeMap<InstanceId, Leftover>>,
}

impl OciBackend {
    /// Opens the backend of the gateway whose files are in `data_dir`: finds the runtime, tries what must work, and looks
    /// for what was left running: see [`ContainerBackend::left`].
    ///
    /// # Errors
    /// When this machine cannot run containers as they must be run, with what is missing.
    pub async fn open(settings: &OciSettings, data_dir: &Path) -> Result<Self, ContainerError> {
        let unsupported = |problem: String| ContainerError::Unsupported(problem);
        if !rustix::process::geteuid().is_root() {
            return Err(unsupported(
                "containers need the gateway to run as root: it makes namespaces and mounts".into(),
            ));
        }
        let data_dir = data_dir.canonicalize().map_err(ContainerError::during("finding the data folder"))?;
        let mut hash = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
        let name: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let seed = u32::from_le_bytes(hash.split_at_mut(4).0.try_into().expect("there are four"));
        let (engine, program) = find(settings.runtime.as_deref()).map_err(unsupported)?;
        let engine = layout(settings, &name, seed, engine, program)?;
        let found = engine.runtime.version().map_err(unsupported)?;
        for controller in ["memory", "cpu", "pids"] {
            if !engine.cgroups.has(controller) {
                return Err(unsupported(format!(
                    "this machine has no {controller} controller, so sessions could not be limited"
                )));
            }
        }
        if !found.seccomp {
            return Err(unsupported(format!("this {} cannot filter system calls (seccomp)", engine.runtime.engine)));
        }
        // Containers whose shim was killed become children of the gateway, and are not left to nobody.
        let own = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(own).map_err(ContainerError::during("becoming a subreaper"))?;
        let left = leftovers::find(&engine)?;
        probe_mounts(&engine).await?;
        let engine = Arc::new(engine);
        if engine.runtime.isolation() == Isolation::UserKernel {
            probe_kernel(&engine).await?;
        }
        let freeze = engine.cgroups.has("freezer");
        let mut report = BackendReport {
            engine: engine.runtime.engine.clone(),
            version: found.text,
            isolation: engine.runtime.isolation(),
            enforced: Enforced {
                memory: true,
                cpu: true,
                pids: true,
                disk: true,
                egress: true,
                way_out: engine.nft.is_ok(),
                user_namespace: true,
                seccomp: true,
                freeze,
            },
            warnings: found.warnings,
        };
        if let Err(problem) = &engine.nft {
            report.warnings.push(format!("containers cannot be given a way out: {problem}"));
        }
        let images = data_dir.join("images");
        let images =
            ImageStore::open(images, settings.image, settings.insecure_registries.clone(), settings.built_in.clone());
        let images = images.map_err(ContainerError::during("opening the store of images"))?;
        Ok(Self { engine, images, report, left: Mutex::new(left) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Leftover>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first runtime that the machine has, or the one that was asked for.
fn find(asked: Option<&Path>) -> Result<(String, PathBuf), String> {
    let engine_of = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        ENGINES.iter().find(|known| **known == name).map(|known| (*known).to_owned())
    };
    match asked {
        Some(path) => {
            let engine = engine_of(path).ok_or_else(|| format!("{} is not one of {ENGINES:?}", path.display()))?;
            let program =
                if path.is_absolute() { Some(path.to_owned()).filter(|p| p.exists()) } else { installed(&engine) };
            Ok((engine.clone(), program.ok_or_else(|| format!("{engine} is not installed"))?))
        }
        None => ENGINES
            .iter()
            .find_map(|name| Some(((*name).to_owned(), installed(name)?)))
            .ok_or_else(|| "containers need an OCI runtime, and there is none: apt-get install runc".into()),
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// What ways out need.
fn find_nft() -> Result<PathBuf, String> {
    let nft = installed("nft").ok_or("the program nft is missing: apt-get install nftables")?;
    Gate::probe(&nft)?;
    Ok(nft)
}

/// Makes the folders of this gateway and takes its lock.
fn layout(
    settings: &OciSettings,
    name: &str,
    seed: u32,
    engine: String,
    program: PathBuf,
) -> Result<Engine, ContainerError> {
    let folder = settings.run_dir.join(name);
    let [containers, records, etc] = ["containers", "records", "etc"].map(|part| folder.join(part));
    let agent_file = folder.join("agent");
    let make = |path: &Path, mode| fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    let write = || -> std::io::Result<()> {
        // Containers pass through these with their own numbers.
        make(&containers, 0o711)?;
        make(&etc, 0o755)?;
        make(&records, 0o700)?;
        fs::write(etc.join("hosts"), "127.0.0.1 localhost session\n::1 localhost\n")?;
        fs::write(etc.join("hostname"), "session\n")?;
        // Nobody to ask: an answer at once instead of a wait for one that does not come.
        fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
        let resolver = format!("nameserver {}\noptions timeout:15 attempts:2\n", gate::ADDRESS);
        fs::write(etc.join("resolv-out.conf"), resolver)?;
        Ok(())
    };
    let lock = lock(&folder)?;
    write().map_err(ContainerError::during("making the folders of containers"))?;
    put_agent(&agent_file).map_err(ContainerError::during("writing the agent of containers"))?;
    let cgroups = Cgroups::of_this_machine();
    // crun stops at a machine that has both kinds of control groups; without the second, which has no controllers, it
    // works.
    let hybrid = matches!(cgroups, Cgroups::V1 { hybrid: true, .. });
    let hidden = (engine == "crun" && hybrid).then_some("/sys/fs/cgroup/unified");
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES);
    Ok(Engine {
        runtime: Runtime { engine, program, records },
        cgroups,
        cgroup: format!("sandpool/{name}"),
        folder,
        containers,
        etc,
        agent: agent_file,
        ranges: UserRanges::new(seed),
        hidden,
        open_files: most.min(OPEN_FILES),
        program: settings.program.clone(),
        unattended_seconds: settings.unattended_seconds,
        nft: find_nft(),
        _lock: lock,
    })
}

/// Writes the agent where containers get it from. One that was left there may still run.
fn put_agent(path: &Path) -> std::io::Result<()> {
    let making = path.with_extension("making");
    fs::write(&making, agent::PROGRAM)?;
    fs::set_permissions(&making, fs::Permissions::from_mode(0o755))?;
    fs::rename(making, path)
}

/// Makes a gateway's folder, and takes its lock.
fn lock(folder: &Path) -> Result<File, ContainerError> {
    let path = folder.join("lock");
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
        File::create(&path)
    };
    loop {
        let file = make().map_err(ContainerError::during("making the folders of containers"))?;
        hold(&file)
            .map_err(|_| ContainerError::Unsupported("another gateway runs containers with this data folder".into()))?;
        // A gateway that ended meanwhile has removed its file, and the next may have made another: only one of them is there.
        let own = file.metadata().map_err(ContainerError::during("looking at the lock of containers"))?.ino();
        if fs::metadata(&path).is_ok_and(|there| there.ino() == own) {
            return Ok(file);
        }
    }
}

/// Takes the lock. Of a gateway that was killed just now, a process that was about to become something else may hold it for
/// some moments more.
pub(in crate::sandbox::container) fn hold(lock: &File) -> Result<(), rustix::io::Errno> {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            taken => return taken,
        }
    }
}

/// Mounts something as containers are mounted.
async fn probe_mounts(engine: &Engine) -> Result<(), ContainerError> {
    let folder = engine.containers.join("probe");
    let _ = fs::remove_dir_all(&folder);
    let range = engine.ranges.take().map_err(ContainerError::during("making a user namespace"))?;
    let probed = rootfs::probe(&folder, range).await;
    let _ = fs::remove_dir_all(&folder);
    probed.map_err(|error| {
        ContainerError::Unsupported(format!(
            "this machine cannot mount images with a session's own user numbers (Linux 5.19 or later can): {}",
            error.told()
        ))
    })
}

/// Runs a container with nothing but the agent in it, and waits until that listens: whether gVisor's kernel works here, and runs
/// programs, is known by nothing less.
async fn probe_kernel(engine: &Arc<Engine>) -> Result<(), ContainerError> {
    let folder = engine.folder.join("probe");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).map_err(ContainerError::during("making a folder"))?;
    let image = Image {
        digest: "the gateway's own".into(),
        files: ImageFiles::Folder(folder.clone()),
        config: ImageConfig::default(),
    };
    let specification = ContainerSpecification {
        id: InstanceId::random(),
        command: Vec::new(),
        args: Vec::new(),
        environment: BTreeMap::new(),
        resources: Resources { cpus: 1.0, memory_bytes: 128 << 20, disk_bytes: 1 << 20, pids: 64 },
        read_only: false,
        way_out: None,
        agent: true,
    };
    let story = async {
        let container = OciContainer::create(engine, &specification, &image, None).await?;
        container.start().await?;
        let listens = async {
            while container.connect(agent::PORT).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let problem = tokio::select! {
            () = listens => None,
            exit = container.exited() => Some(exit.to_string()),
            () = tokio::time::sleep(PROBE_TIME) => Some(format!("nothing listens after {} s", PROBE_TIME.as_secs())),
        };
        container.destroy().await?;
        problem.map_or(Ok(()), |problem| Err(ContainerError::new("running a program in it", problem)))
    };
    let probed = story.await;
    let _ = fs::remove_dir_all(&folder);
    probed.map_err(|error| {
        let text = format!("{} cannot run containers on this machine: {}", engine.runtime.engine, error.told());
        ContainerError::Unsupported(text)
    })
}

impl ContainerBackend for OciBackend {
    fn report(&self) -> &BackendReport {
        &self.report
    }

    fn lacks(&self, reference: &ImageReference) -> Option<String> {
        self.images.lacks(reference)
    }

    fn prepare_image<'a>(
        &'a self,
        reference: &'a ImageReference,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Arc<Image>, ContainerError>> {
        Box::pin(self.images.prepare(reference, credentials))
    }

    fn create<'a>(
        &'a self,
        specification: &'a ContainerSpecification,
        image: &'a Arc<Image>,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, ContainerError>> {
        Box::pin(async move {
            let container = OciContainer::create(&self.engine, specification, image, None).await?;
            Ok(Arc::new(container) as Arc<dyn Container>)
        })
    }

    fn outlives(&self) -> bool {
        true
    }

    fn left(&self) -> Vec<Left> {
        let noted = |(id, leftover): (&InstanceId, &Leftover)| {
            let note = leftover.state.note.clone()?;
            Some(Left { id: id.clone(), facts: note.facts })
        };
        self.lock().iter().filter_map(noted).collect()
    }

    fn adopt<'a>(
        &'a self,
        id: &'a InstanceId,
        way_out: Option<Arc<WayOut>>,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, ContainerError>> {
        Box::pin(async move {
            let leftover = self.lock().remove(id).ok_or(ContainerError::Ended)?;
            let container = OciContainer::adopt(&self.engine, id, leftover, way_out).await;
            let container = match container {
                Ok(container) => container,
                Err(error) => {
                    let (engine, id) = (self.engine.clone(), id.clone());
                    let cleared = tokio::task::spawn_blocking(move || leftovers::clear(&engine, &id)).await;
                    if let Ok(Err(error)) = cleared {
                        tracing::error!(cause = error.told(), "a leftover container could not be taken away");
                    }
                    return Err(error);
                }
            };
            Ok(Arc::new(container) as Arc<dyn Container>)
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<usize, ContainerError>> {
        let (engine, left) = (self.engine.clone(), std::mem::take(&mut *self.lock()));
        Box::pin(async move {
            let cleared = tokio::task::spawn_blocking(move || {
                for id in left.keys() {
                    if let Err(error) = leftovers::clear(&engine, id) {
                        tracing::error!(cause = error.told(), "a leftover container could not be taken away");
                    }
                }
                left.len()
            });
            cleared.await.map_err(ContainerError::during("ending leftover containers"))
        })
    }
}
