//! The `config.json` of a container: everything off that a session does not need.

use std::path::Path;

use serde_json::{Value, json};

use super::cgroup::Cgroups;
use super::user::RANGE;
use super::{gvisor, seccomp};
use crate::sandbox::container::image::{ImageConfig, User};
use crate::sandbox::container::{ContainerError, ContainerSpecification, Isolation, agent};

/// What the file is made of, beside the specification.
pub(super) struct Parts<'a> {
    pub rootfs: &'a Path,
    pub user: User,
    /// What the container's root is outside.
    pub first_uid: u32,
    pub cgroup: &'a str,
    /// Folder of `hosts`, `hostname`, `resolv.conf` and `resolv-out.conf`.
    pub etc: &'a Path,
    pub cgroups: &'a Cgroups,
    pub open_files: u64,
    /// The network namespace to live in, as a path. None: one of its own.
    pub network: Option<String>,
    /// There is somebody to ask for names.
    pub resolves: bool,
    pub isolation: Isolation,
    /// The gateway's agent, on the machine.
    pub agent: &'a Path,
}

/// Paths of `/proc` and `/sys` that tell about the machine or change it, as the engines mask them.
pub(in crate::sandbox::container) const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
pub(in crate::sandbox::container) const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Time slices of a processor are counted over a tenth of a second.
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;
/// `/dev/shm`; it counts as memory.
const SHM: &str = "size=65536k";

/// Writes the document.
///
/// # Errors
/// When nothing says what to run.
pub(super) fn document(
    specification: &ContainerSpecification,
    image: &ImageConfig,
    parts: &Parts<'_>,
) -> Result<Value, ContainerError> {
    let resources = &specification.resources;
    let (uid, gid) = (parts.user.uid, parts.user.gid);
    let map = json!([{"containerID": 0, "hostID": parts.first_uid, "size": RANGE}]);
    let memory = i64::try_from(resources.memory_bytes).unwrap_or(i64::MAX);
    let mut memory = json!({"limit": memory});
    if parts.cgroups.limits_swap() {
        // Memory and swap together: so there is no swap.
        memory["swap"] = memory["limit"].clone();
    }
    // Not below a hundredth of a processor, which is the least that the kernel takes.
    let quota = ((resources.cpus * CPU_PERIOD_MICROSECONDS as f64) as u64).max(1000);
    let (network, sysctl) = match &parts.network {
        Some(path) => (json!({"type": "network", "path": path}), json!({})),
        // Images listen on port 80, and have no capability to.
        None => (json!({"type": "network"}), json!({"net.ipv4.ip_unprivileged_port_start": "0"})),
    };
    let limit = |name: &str, value: u64| json!({"type": name, "hard": value, "soft": value});
    let mut rlimits = vec![limit("RLIMIT_NOFILE", parts.open_files), limit("RLIMIT_CORE", 0)];
    let (pids, seccomp) = match parts.isolation {
        Isolation::UserKernel => {
            // Its guests' processes are its own: its kernel counts them. The machine's are gVisor's.
            rlimits.push(limit("RLIMIT_NPROC", resources.pids.into()));
            // It answers system calls itself, and has a filter of its own for those that it makes.
            (gvisor::threads(resources.pids), Value::Null)
        }
        Isolation::Container | Isolation::VirtualMachine => (resources.pids, seccomp::profile()),
    };
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": uid, "gid": gid},
            "args": arguments(specification, image)?,
            "env": environment(specification, image),
            "cwd": if image.working_dir.starts_with('/') { image.working_dir.as_str() } else { "/" },
            "capabilities": {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []},
            "rlimits": rlimits,
            "noNewPrivileges": true,
        },
        "root": {"path": parts.rootfs, "readonly": specification.read_only},
        "hostname": "session",
        "mounts": mounts(specification, parts),
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, network,
                {"type": "user"}, {"type": "cgroup"},
            ],
            "uidMappings": map,
            "gidMappings": map,
            "sysctl": sysctl,
            "cgroupsPath": format!("/{}", parts.cgroup),
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "memory": memory,
                "cpu": {"quota": quota, "period": CPU_PERIOD_MICROSECONDS},
                "pids": {"limit": pids},
            },
            "seccomp": seccomp,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "rootfsPropagation": "private",
        },
    }))
}

/// As Kubernetes has it: a command replaces the image's entry point and its arguments, arguments alone replace the
/// image's arguments.
pub(in crate::sandbox::container) fn arguments(
    specification: &ContainerSpecification,
    image: &ImageConfig,
) -> Result<Vec<String>, ContainerError> {
    if specification.agent {
        return Ok(vec![agent::PATH.into()]);
    }
    let arguments = match (specification.command.is_empty(), specification.args.is_empty()) {
        (false, _) => [specification.command.as_slice(), &specification.args].concat(),
        (true, false) => [image.entrypoint.as_slice(), &specification.args].concat(),
        (true, true) => [image.entrypoint.as_slice(), &image.cmd].concat(),
    };
    if arguments.is_empty() {
        return Err(ContainerError::Unsupported("the image says nothing to run: the pool needs a command".into()));
    }
    Ok(arguments)
}

pub(in crate::sandbox::container) fn environment(
    specification: &ContainerSpecification,
    image: &ImageConfig,
) -> Vec<String> {
    let told = |entry: &str| {
        let name = entry.split('=').next().unwrap_or_default();
        specification.environment.contains_key(name)
    };
    let mut all: Vec<String> = image.env.iter().filter(|entry| !told(entry)).cloned().collect();
    all.extend(specification.environment.iter().map(|(name, value)| format!("{name}={value}")));
    if !all.iter().any(|entry| entry.starts_with("PATH=")) {
        all.push(PATH.into());
    }
    all
}

/// No `/sys`: nothing of it belongs to a session.
fn mounts(specification: &ContainerSpecification, parts: &Parts<'_>) -> Value {
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=1024k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", SHM]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"]}),
    ];
    if specification.read_only {
        let size = format!("size={}", specification.resources.disk_bytes);
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777", size]}));
    }
    let resolver = if parts.resolves { "resolv-out.conf" } else { "resolv.conf" };
    for (name, source) in [("hosts", "hosts"), ("hostname", "hostname"), ("resolv.conf", resolver)] {
        mounts.push(json!({"destination": format!("/etc/{name}"), "type": "bind", "source": parts.etc.join(source),
            "options": ["bind", "ro", "nosuid", "noexec", "nodev"]}));
    }
    if specification.agent {
        mounts.push(json!({"destination": agent::PATH, "type": "bind", "source": parts.agent,
            "options": ["bind", "ro", "nosuid", "nodev"]}));
    }
    mounts.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::container::{InstanceId, Resources};

    fn specification(command: &[&str], args: &[&str]) -> ContainerSpecification {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ContainerSpecification {
            id: InstanceId::random(),
            command: texts(command),
            args: texts(args),
            environment: [("A".to_owned(), "mine".to_owned())].into(),
            resources: Resources { cpus: 0.5, memory_bytes: 1 << 30, disk_bytes: 1 << 28, pids: 64 },
            read_only: true,
            way_out: None,
            agent: false,
        }
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["default".into()],
            env: vec!["A=image".into(), "B=image".into()],
            ..ImageConfig::default()
        }
    }

    #[test]
    fn commands_and_arguments_are_put_together_as_in_kubernetes() {
        for (command, args, expected) in [
            (&[][..], &[][..], &["/entry", "default"][..]),
            (&["/c"], &[], &["/c"]),
            (&[], &["a"], &["/entry", "a"]),
            (&["/c"], &["a"], &["/c", "a"]),
        ] {
            assert_eq!(arguments(&specification(command, args), &image()).unwrap(), expected);
        }
        assert!(arguments(&specification(&[], &[]), &ImageConfig::default()).is_err());
    }

    #[test]
    fn the_agent_takes_the_place_of_whatever_the_image_runs() {
        let with_agent = ContainerSpecification { agent: true, ..specification(&["/c"], &["a"]) };
        assert_eq!(arguments(&with_agent, &image()).unwrap(), [agent::PATH]);
        assert_eq!(arguments(&with_agent, &ImageConfig::default()).unwrap(), [agent::PATH]);
    }

    #[test]
    fn the_pool_overrides_the_images_environment() {
        let all = environment(&specification(&[], &[]), &image());
        assert_eq!(all, ["B=image", "A=mine", PATH]);
    }

    fn written(isolation: Isolation) -> Value {
        let parts = Parts {
            rootfs: Path::new("/r"),
            user: User { uid: 7, gid: 8 },
            first_uid: 1 << 20,
            cgroup: "sandpool/x",
            etc: Path::new("/e"),
            cgroups: &Cgroups::V2,
            open_files: 1024,
            network: None,
            resolves: false,
            isolation,
            agent: Path::new("/a"),
        };
        document(&specification(&[], &[]), &image(), &parts).unwrap()
    }

    #[test]
    fn nothing_is_left_open() {
        for isolation in [Isolation::Container, Isolation::UserKernel] {
            let document = written(isolation);
            assert_eq!(document["process"]["noNewPrivileges"], true);
            assert!(document["process"]["capabilities"].as_object().unwrap().values().all(|set| *set == json!([])));
            assert_eq!(document["linux"]["resources"]["cpu"]["quota"], 50_000);
            assert_eq!(document["linux"]["resources"]["memory"], json!({"limit": 1 << 30, "swap": 1 << 30}));
            assert_eq!(document["root"]["readonly"], true);
            let mounts = document["mounts"].as_array().unwrap();
            assert!(mounts.iter().all(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys")));
            assert!(mounts.iter().all(|mount| mount["options"].as_array().unwrap().contains(&json!("nosuid"))));
        }
    }

    #[test]
    fn processes_and_system_calls_are_held_by_the_kernel_that_has_them() {
        let processes = |document: &Value| {
            let limits = document["process"]["rlimits"].as_array().unwrap();
            limits.iter().find(|limit| limit["type"] == "RLIMIT_NPROC").map(|limit| limit["hard"].clone())
        };
        let own = written(Isolation::UserKernel);
        assert_eq!((processes(&own), &own["linux"]["seccomp"]), (Some(json!(64)), &Value::Null));
        assert_eq!(own["linux"]["resources"]["pids"]["limit"], 4 * 64 + 256);
        let shared = written(Isolation::Container);
        assert_eq!((processes(&shared), &shared["linux"]["resources"]["pids"]["limit"]), (None, &json!(64)));
        assert!(shared["linux"]["seccomp"].is_object());
    }
}
