//! The container backends that this machine has, and a look at what they leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sandpool::sandbox::container::docker::{DockerBackend, DockerSettings};
use sandpool::sandbox::container::image::ImageLimits;
use sandpool::sandbox::container::runtime::{OciBackend, OciSettings};
use sandpool::sandbox::container::{
    Container, ContainerBackend, ContainerSpecification, Credentials, Image, InstanceId, Isolation, Resources,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::engines::{self, Engine};
use super::images::Recipe;

/// A backend of its own, with its folders.
pub struct Backend {
    pub backend: Arc<dyn ContainerBackend>,
    pub engine: &'static str,
    pub folder: TempDir,
}

/// Why tests of an engine are passed over; printed, and with `SANDPOOL_TEST_REQUIRE_BACKENDS` a failure.
pub fn skip(engine: &str, why: &str) {
    assert!(std::env::var_os("SANDPOOL_TEST_REQUIRE_BACKENDS").is_none(), "{engine} is required: {why}");
    eprintln!("skipped: {engine}: {why}");
}

/// The runtime of tests of what stands above the backends: runc, or `SANDPOOL_TEST_RUNTIME`.
/// With runsc two of `shell_pools` fail by design: the agent follows no links there, and its session ends with `kill -9 1`.
pub fn runtime() -> &'static str {
    static NAME: LazyLock<String> =
        LazyLock::new(|| std::env::var("SANDPOOL_TEST_RUNTIME").unwrap_or_else(|_| "runc".into()));
    &NAME
}

/// Whether the machine has a runtime, and root to run it.
pub fn installed(engine: &str) -> bool {
    // SAFETY: a plain system call.
    if unsafe { libc::geteuid() } != 0 {
        skip(engine, "the tests do not run as root");
        return false;
    }
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(engine).exists());
    if !found {
        let suite = if engine == "runsc" { "-t bookworm-backports " } else { "" };
        skip(engine, &format!("not installed (apt-get install {suite}{engine})"));
    }
    found
}

impl Backend {
    /// Opens `engine`, where the machine has it.
    pub async fn open(engine: &'static str) -> Option<Self> {
        if matches!(engine, "docker" | "podman") {
            return Some(Self::of_engine(engine, engines::engine(engine)?, true).await);
        }
        if !installed(engine) {
            return None;
        }
        let settings = OciSettings { runtime: Some(engine.into()), ..OciSettings::default() };
        Some(Self { engine, ..Self::with(settings).await })
    }

    /// A backend with settings of its own.
    pub async fn with(settings: OciSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The tests' own program is no gateway.
        let settings = OciSettings { program: env!("CARGO_BIN_EXE_sandpool").into(), ..settings };
        let backend = OciBackend::open(&settings, folder.path()).await.unwrap_or_else(|e| panic!("{}", e.told()));
        Self { backend: Arc::new(backend), engine: "runc", folder }
    }

    /// One that speaks to an engine.
    pub async fn of_engine(name: &'static str, engine: &Engine, unlimited_disk: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = DockerSettings { socket: engine.socket.clone(), unlimited_disk };
        let opened = DockerBackend::open(&settings, ImageLimits::default(), folder.path()).await;
        let backend = opened.unwrap_or_else(|error| panic!("{name}: {}", error.told()));
        Self { backend: Arc::new(backend), engine: name, folder }
    }

    /// Whether its containers have a kernel of their own (gVisor), which is asked instead of the machine's.
    pub fn has_kernel(&self) -> bool {
        self.backend.report().isolation == Isolation::UserKernel
    }

    /// `/proc/PID/status` of what runs in a container, as the machine sees it.
    pub fn processes(&self, id: &InstanceId) -> Vec<String> {
        let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).ok();
        self.pids(id).iter().filter_map(|pid| status(pid)).collect()
    }

    /// Processes of a container, on the machine.
    pub fn pids(&self, id: &InstanceId) -> Vec<String> {
        let group = format!("sandpool/{}/{id}/cgroup.procs", gateway_name(self.folder.path()));
        let read = |root: &str| fs::read_to_string(Path::new(root).join(&group)).ok();
        let pids = read("/sys/fs/cgroup/pids").or_else(|| read("/sys/fs/cgroup")).unwrap_or_default();
        pids.lines().map(str::to_owned).collect()
    }

    /// The numbers of a container that serves at 8080: from, to, how many.
    pub async fn numbers(&self, container: &dyn Container) -> Vec<u32> {
        self.numbers_at(container, 8080).await
    }

    /// The same at another port.
    pub async fn numbers_at(&self, container: &dyn Container, port: u16) -> Vec<u32> {
        let map = if self.has_kernel() {
            let first = self.pids(container.id()).first().expect("it runs").clone();
            fs::read_to_string(format!("/proc/{first}/uid_map")).unwrap()
        } else {
            ask_at(container, port, "/read?/proc/self/uid_map").await.1
        };
        map.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    /// To look for what it leaves, also when it is gone; its folder must still be there.
    pub fn leftovers(&self) -> Leftovers {
        let engine = matches!(self.engine, "docker" | "podman").then(|| engines::engine(self.engine)).flatten();
        Leftovers { folder: self.folder.path().to_owned(), engine }
    }

    /// The tests' own image, which runs `app` with these arguments.
    pub async fn image(&self, arguments: &[&str]) -> Arc<Image> {
        self.prepare(&Recipe::app(arguments)).await
    }

    pub async fn prepare(&self, recipe: &Recipe) -> Arc<Image> {
        let folder = self.folder.path().join(format!("layout-{}", uuid::Uuid::new_v4().simple()));
        let reference = recipe.layout(&folder).parse().unwrap();
        let prepared = self.backend.prepare_image(&reference, &Credentials::Anonymous).await;
        prepared.unwrap_or_else(|error| panic!("{}", error.told()))
    }

    pub async fn create(
        &self,
        image: &Arc<Image>,
        adjust: impl FnOnce(&mut ContainerSpecification),
    ) -> Arc<dyn Container> {
        let mut specification = specification();
        adjust(&mut specification);
        let created = self.backend.create(&specification, image).await;
        created.unwrap_or_else(|error| panic!("{}: {}", self.engine, error.told()))
    }

    /// A container that serves.
    pub async fn serving(&self, adjust: impl FnOnce(&mut ContainerSpecification)) -> Arc<dyn Container> {
        let image = self.image(&["serve"]).await;
        let container = self.create(&image, adjust).await;
        container.start().await.unwrap();
        listening(&*container).await;
        container
    }
}

/// A session of modest means.
pub fn specification() -> ContainerSpecification {
    ContainerSpecification {
        id: InstanceId::random(),
        command: Vec::new(),
        args: Vec::new(),
        environment: Default::default(),
        resources: Resources { cpus: 1.0, memory_bytes: 64 << 20, disk_bytes: 8 << 20, pids: 64 },
        read_only: false,
        way_out: None,
        agent: false,
    }
}

/// Waits until something listens on 8080.
pub async fn listening(container: &dyn Container) {
    super::http::eventually("listening", async || container.connect(8080).await.is_ok()).await;
}

/// Asks a container; status and body.
pub async fn ask(container: &dyn Container, path: &str) -> (u16, String) {
    ask_at(container, 8080, path).await
}

/// The same at another port.
pub async fn ask_at(container: &dyn Container, port: u16, path: &str) -> (u16, String) {
    let mut stream = container.connect(port).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_buf(&mut bytes)).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, body.to_owned());
            }
        }
        assert!(read.is_ok_and(|read| read > 0), "it ended: {text}");
    }
}

/// Where a backend would leave something.
pub struct Leftovers {
    folder: PathBuf,
    engine: Option<&'static Engine>,
}

impl Leftovers {
    pub async fn are_none(&self) -> bool {
        match self.engine {
            Some(engine) => engine.containers(Some(&gateway_name(&self.folder))).await == 0,
            None => Traces::of(&self.folder).are_none(),
        }
    }
}

/// How a gateway with its files in `folder` calls itself where containers are.
pub fn gateway_name(folder: &Path) -> String {
    let key = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(
        folder.canonicalize().unwrap().as_os_str().as_encoded_bytes(),
    ));
    key[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What containers leave on a machine when they are not taken away.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Traces {
    /// Those of the backend with its files in `folder`.
    pub fn of(folder: &Path) -> Self {
        let name = gateway_name(folder);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mounts = mounts.lines().filter(|line| line.contains("/run/sandpool/")).map(str::to_owned).collect();
        let mut cgroups = BTreeSet::new();
        for controller in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            below(&controller.path().join("sandpool").join(&name), &mut cgroups);
        }
        below(&Path::new("/sys/fs/cgroup/sandpool").join(&name), &mut cgroups);
        let mut folders = BTreeSet::new();
        below(&Path::new("/run/sandpool").join(&name).join("containers"), &mut folders);
        below(&Path::new("/run/sandpool").join(&name).join("records"), &mut folders);
        Self { mounts, cgroups, folders }
    }

    pub fn are_none(&self) -> bool {
        self.mounts.is_empty() && self.cgroups.is_empty() && self.folders.is_empty()
    }
}

fn below(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), found);
            found.insert(entry.path());
        }
    }
}
