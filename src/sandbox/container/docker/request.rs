//! What the engine is asked for: a container shut in as the other backend's are, whatever the image says about itself.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountTmpfsOptions, MountType, ResourcesUlimits,
};

use crate::sandbox::container::runtime::{MASKED, READ_ONLY};
use crate::sandbox::container::{ContainerSpecification, Resources};

/// Whose containers they are.
pub(super) const LABEL: &str = "sandpool.gateway";
/// `/dev/shm`; it counts as memory.
const SHM_BYTES: i64 = 64 << 20;
/// Nothing of it belongs to a session.
const NEVER: &str = "/sys";
/// The numbers that a session has of its own, where the engine gives each its own.
const NUMBERS: &str = "auto:size=65536";

/// What the kernel gives at most. An engine without the right to raise its own limits cannot give more than it has, and it is
/// taken to have what the gateway has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub open_files: i64,
    pub processes: i64,
}

/// What is particular to an engine.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub podman: bool,
    /// Memory and swap can be limited together.
    pub limits_swap: bool,
    /// What containers write can be limited, by an option of the engine's storage.
    pub limits_disk: bool,
    /// Each container can have user numbers of its own.
    pub own_numbers: bool,
    pub most: Most,
    /// The system-call filter: the document, or a file that holds it.
    pub seccomp: String,
    /// The gateway's name in [`LABEL`].
    pub gateway: String,
}

/// What an image says, as far as it is heeded.
pub(super) struct Parts {
    /// As the engine calls it.
    pub image: String,
    pub arguments: Vec<String>,
    pub environment: Vec<String>,
    /// Paths that it would have volumes at. An engine's own would lie on its disk without a limit.
    pub volumes: Vec<String>,
}

/// Writes the request.
pub(super) fn body(specification: &ContainerSpecification, parts: Parts, manner: &Manner) -> ContainerCreateBody {
    let mut arguments = parts.arguments.into_iter();
    ContainerCreateBody {
        image: Some(parts.image),
        // Both are always said, or the image's would be taken.
        entrypoint: Some(arguments.by_ref().take(1).collect()),
        cmd: Some(arguments.collect()),
        env: Some(parts.environment),
        hostname: Some("session".into()),
        labels: Some([(LABEL.to_owned(), manner.gateway.clone())].into()),
        // The image's own would be run by the engine, beside the pool's.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host(specification, &parts.volumes, manner)),
        ..ContainerCreateBody::default()
    }
}

fn host(specification: &ContainerSpecification, volumes: &[String], manner: &Manner) -> HostConfig {
    let Resources { cpus, memory_bytes, disk_bytes, pids } = specification.resources;
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let limit = |name: &str, most| ResourcesUlimits { name: Some(name.into()), soft: Some(most), hard: Some(most) };
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let mut security = vec!["no-new-privileges".to_owned(), format!("seccomp={}", manner.seccomp)];
    if manner.podman {
        // It has its own words for what is hidden, and does not read the other ones.
        security.push(format!("mask={NEVER}:{}", MASKED.join(":")));
    }
    let mut limits = vec![limit("nofile", manner.most.open_files), limit("core", 0)];
    if manner.podman {
        // Unless told otherwise it asks for more than it may have. What counts is the limit on processes above.
        limits.push(limit("nproc", manner.most.processes));
    }
    let written = format!("size={disk_bytes}");
    HostConfig {
        network_mode: Some("none".into()),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(security),
        masked_paths: Some([&paths(&MASKED)[..], &[NEVER.to_owned()]].concat()),
        readonly_paths: Some(paths(&READ_ONLY)),
        readonly_rootfs: Some(specification.read_only),
        privileged: Some(false),
        ipc_mode: Some("private".into()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        userns_mode: manner.own_numbers.then(|| NUMBERS.to_owned()),
        // Images listen on port 80, and have no capability to.
        sysctls: Some([("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned())].into()),
        memory: Some(bytes(memory_bytes)),
        // Memory and swap together: so there is no swap.
        memory_swap: manner.limits_swap.then(|| bytes(memory_bytes)),
        nano_cpus: Some((cpus * 1e9) as i64),
        pids_limit: Some(pids.into()),
        ulimits: Some(limits),
        shm_size: Some(SHM_BYTES),
        storage_opt: (manner.limits_disk && !specification.read_only)
            .then(|| HashMap::from([("size".to_owned(), disk_bytes.to_string())])),
        tmpfs: specification
            .read_only
            .then(|| HashMap::from([("/tmp".to_owned(), format!("rw,nosuid,nodev,mode=1777,{written}"))])),
        mounts: Some(in_memory(volumes, bytes(disk_bytes))),
        // What it writes comes to the gateway, which keeps its end; the engine would keep all of it.
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        ..HostConfig::default()
    }
}

/// An image's volumes, in memory, and together as large as the disk.
fn in_memory(volumes: &[String], disk_bytes: i64) -> Vec<Mount> {
    let paths: Vec<_> = volumes.iter().map(PathBuf::from).collect();
    // `/tmp` is there already, where it is the only place to write to.
    let wanted: Vec<_> = paths.iter().filter(|path| path.as_os_str() != "/tmp").collect();
    let each = disk_bytes / i64::try_from(wanted.len().max(1)).unwrap_or(i64::MAX);
    let mount = |path: &&PathBuf| Mount {
        target: Some(path.display().to_string()),
        typ: Some(MountType::TMPFS),
        tmpfs_options: Some(MountTmpfsOptions { size_bytes: Some(each), mode: Some(0o1777), options: None }),
        ..Mount::default()
    };
    wanted.iter().map(mount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::container::InstanceId;

    fn manner() -> Manner {
        Manner {
            podman: false,
            limits_swap: true,
            limits_disk: true,
            own_numbers: false,
            most: Most { open_files: 1024, processes: 1024 },
            seccomp: "{}".into(),
            gateway: "g".into(),
        }
    }

    fn request(read_only: bool, manner: &Manner) -> serde_json::Value {
        let specification = ContainerSpecification {
            id: InstanceId::random(),
            command: Vec::new(),
            args: Vec::new(),
            environment: Default::default(),
            resources: Resources { cpus: 0.5, memory_bytes: 1 << 30, disk_bytes: 1 << 28, pids: 64 },
            read_only,
            way_out: None,
            agent: false,
        };
        let parts = Parts {
            image: "sha256:1".into(),
            arguments: vec!["/entry".into(), "argument".into()],
            environment: vec!["A=1".into()],
            volumes: vec!["/data".into(), "/more".into()],
        };
        serde_json::to_value(body(&specification, parts, manner)).unwrap()
    }

    #[test]
    fn nothing_is_left_open() {
        let request = request(true, &manner());
        let host = &request["HostConfig"];
        assert_eq!((&host["NetworkMode"], &host["Privileged"]), (&"none".into(), &false.into()));
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
        assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges", "seccomp={}"]));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&(1 << 30).into(), &(1 << 30).into()));
        assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&500_000_000.into(), &64.into()));
        assert_eq!(host["LogConfig"]["Type"], "none");
        assert!(host["MaskedPaths"].as_array().unwrap().contains(&"/sys".into()));
        assert_eq!(host["ReadonlyRootfs"], true);
        assert!(host["Tmpfs"]["/tmp"].as_str().unwrap().ends_with("size=268435456"));
        assert!(host.get("StorageOpt").is_none_or(serde_json::Value::is_null));
        assert_eq!(request["Healthcheck"]["Test"], serde_json::json!(["NONE"]));
        assert_eq!(
            (&request["Entrypoint"], &request["Cmd"]),
            (&serde_json::json!(["/entry"]), &serde_json::json!(["argument"]))
        );
    }

    #[test]
    fn what_is_written_is_bounded() {
        let request = request(false, &manner());
        let host = &request["HostConfig"];
        assert_eq!(host["StorageOpt"]["size"], "268435456");
        let volumes = host["Mounts"].as_array().unwrap();
        assert_eq!(volumes.len(), 2);
        assert!(volumes.iter().all(|mount| mount["Type"] == "tmpfs" && mount["TmpfsOptions"]["SizeBytes"] == 1 << 27));
    }

    #[test]
    fn podman_is_told_in_its_own_words() {
        let request = request(false, &Manner { podman: true, own_numbers: true, ..manner() });
        let host = &request["HostConfig"];
        assert!(
            host["SecurityOpt"].as_array().unwrap().iter().any(|word| word.as_str().unwrap().starts_with("mask=/sys:"))
        );
        assert_eq!(host["UsernsMode"], "auto:size=65536");
    }
}
