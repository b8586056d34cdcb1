//! Docker's and Podman's engines, started here by hand: with folders of their own, in a mount namespace of their own, without
//! bridges or rules. One of each for all tests; they end with the test program.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, Once};
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};

use super::containers::{installed, skip};

/// An engine that runs.
pub struct Engine {
    pub socket: PathBuf,
    folder: PathBuf,
    child: Mutex<Child>,
}

static DOCKER: LazyLock<Option<Engine>> = LazyLock::new(|| Engine::start("docker", None));
static PODMAN: LazyLock<Option<Engine>> = LazyLock::new(|| Engine::start("podman", None));

/// The engine of that name, where the machine has it.
pub fn engine(name: &str) -> Option<&'static Engine> {
    static AT_THE_END: Once = Once::new();
    AT_THE_END.call_once(|| {
        // SAFETY: a plain call; the function is one, and nothing in it unwinds.
        unsafe { libc::atexit(end_all) };
    });
    match name {
        "docker" => DOCKER.as_ref(),
        "podman" => PODMAN.as_ref(),
        other => panic!("{other} is no engine"),
    }
}

extern "C" fn end_all() {
    for started in [&DOCKER, &PODMAN] {
        if let Some(Some(engine)) = LazyLock::get(started) {
            engine.end();
        }
    }
}

const PODMAN_CONF: &str = "[containers]\ndefault_ulimits = ['nofile=1024:1024', 'nproc=4096:4096']\n\
    [engine]\nruntime = 'runc'\ncgroup_manager = 'cgroupfs'\nevents_logger = 'file'\n";

impl Engine {
    /// `insecure`: a registry on this machine, which Podman must be told of.
    pub fn start(name: &str, insecure: Option<&str>) -> Option<Self> {
        let program = if name == "docker" { "dockerd" } else { name };
        if !installed(program) {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("sandpool-{name}-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        let socket = folder.join("engine.sock");
        let script = if name == "docker" { docker(&folder, &socket) } else { podman(&folder, &socket, insecure) };
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-ec", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // SAFETY: a plain system call in the child. It ends with the thread that starts it.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let (send, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            send.send(command.spawn()).unwrap();
            loop {
                std::thread::park();
            }
        });
        let child = started.recv().unwrap().expect("unshare is there");
        let engine = Self { socket, folder, child: Mutex::new(child) };
        for _ in 0..1500 {
            if std::os::unix::net::UnixStream::connect(&engine.socket).is_ok() {
                return Some(engine);
            }
            if engine.child.lock().unwrap().try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(engine.folder.join("log")).unwrap_or_default();
        engine.end();
        skip(name, &format!("it does not start here: {}", log.lines().last().unwrap_or_default()));
        None
    }

    pub fn client(&self) -> Docker {
        Docker::connect_with_socket(self.socket.to_str().unwrap(), 60, API_DEFAULT_VERSION).unwrap()
    }

    /// Containers of the gateway with that label; of all without.
    pub async fn containers(&self, gateway: Option<&str>) -> usize {
        let label = |gateway: &str| ("label".to_owned(), vec![format!("sandpool.gateway={gateway}")]);
        let filters: HashMap<_, _> = gateway.map(label).into_iter().collect();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let client = self.client().negotiate_version().await.unwrap();
        match client.list_containers(Some(options)).await {
            // Podman has a state that bollard does not know.
            Err(bollard::errors::Error::JsonDataError { contents, .. }) => {
                serde_json::from_str::<Vec<serde_json::Value>>(&contents).unwrap().len()
            }
            found => found.unwrap().len(),
        }
    }

    /// Removes what a test left that failed: Podman's containers live on without it.
    fn clear(&self) {
        let client = self.client();
        let clear = async move {
            let options = ListContainersOptionsBuilder::default().all(true).build();
            let client = client.negotiate_version().await.ok()?;
            for left in client.list_containers(Some(options)).await.ok()? {
                let force = RemoveContainerOptionsBuilder::default().force(true).build();
                client.remove_container(&left.id?, Some(force)).await.ok()?;
            }
            Some(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // On a thread of its own: this one may be in a runtime, or ending.
        let _ = std::thread::spawn(move || runtime.block_on(clear)).join();
    }

    /// Ends it, and takes its folder away.
    pub fn end(&self) {
        if self.socket.exists() {
            self.clear();
        }
        let mut child = self.child.lock().unwrap();
        // SAFETY: a plain system call on our own child, which nobody has waited for.
        unsafe { libc::kill(libc::pid_t::try_from(child.id()).unwrap(), libc::SIGTERM) };
        let over = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            child.try_wait().is_ok_and(|status| status.is_some())
        });
        if !over {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
        for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(controller.path().join(self.folder.file_name().unwrap()));
        }
    }
}

fn docker(folder: &Path, socket: &Path) -> String {
    let name = folder.file_name().unwrap().display();
    let (folder, socket) = (folder.display(), socket.display());
    format!(
        "mount --make-rprivate /; exec dockerd --data-root {folder}/root --exec-root {folder}/exec --pidfile {folder}/pid \
         -H unix://{socket} --bridge=none --iptables=false --ip-forward=false --ip-masq=false --userland-proxy=false \
         --cgroup-parent /{name}"
    )
}

/// Its numbers for user namespaces are given to it in a table of its own.
fn podman(folder: &Path, socket: &Path, insecure: Option<&str>) -> String {
    let storage = format!(
        "[storage]\ndriver = 'overlay'\ngraphroot = '{0}/root'\nrunroot = '{0}/run'\n[storage.options]\n\
         root-auto-userns-user = 'containers'\n",
        folder.display()
    );
    let registries =
        insecure.map_or(String::new(), |host| format!("[[registry]]\nlocation = '{host}'\ninsecure = true\n"));
    for (file, text) in [
        ("containers.conf", PODMAN_CONF),
        ("storage.conf", &storage),
        ("registries.conf", &registries),
        ("numbers", "containers:1073741824:536870912\n"),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    let (folder, socket) = (folder.display(), socket.display());
    format!(
        "mount --make-rprivate /; touch /etc/subuid /etc/subgid; mount --bind {folder}/numbers /etc/subuid; \
         mount --bind {folder}/numbers /etc/subgid; export CONTAINERS_CONF={folder}/containers.conf \
         CONTAINERS_STORAGE_CONF={folder}/storage.conf CONTAINERS_REGISTRIES_CONF={folder}/registries.conf; \
         exec podman --tmpdir {folder}/tmp system service --time=0 unix://{socket}"
    )
}
