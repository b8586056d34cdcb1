//! What the engine is, and what it enforces: by its own word, and where that says nothing, by a container that is made and
//! never started.

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, SystemInfo, SystemVersion};
use bollard::query_parameters::{CreateContainerOptions, ImportImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::client::{during, told};
use super::container::remove;
use super::image::inspect;
use super::request::{LABEL, Manner, Most};
use crate::sandbox::container::image::{ARCHITECTURE, write_archive};
use crate::sandbox::container::runtime::read_version;
use crate::sandbox::container::{BackendReport, ContainerError, Enforced, Isolation};

/// An image with nothing in it. It stays: another gateway may be probing with it.
const EMPTY: &str = "localhost/sandpool-probe:1";

/// What was found out.
pub(super) struct Found {
    pub report: BackendReport,
    pub podman: bool,
    pub limits_swap: bool,
    pub own_numbers: bool,
}

/// Asks the engine about itself.
///
/// # Errors
/// When it cannot do what every container needs.
pub(super) async fn probe(client: &Docker, gateway: &str, unlimited_disk: bool) -> Result<Found, ContainerError> {
    let version = client.version().await.map_err(during("asking the engine for its version"))?;
    let info = client.info().await.map_err(during("asking the engine what it can do"))?;
    let podman = components(&version).any(|(name, _)| name == "Podman Engine");
    let engine = if podman { "podman" } else { "docker" };
    let problem = |missing: &str| ContainerError::Unsupported(format!("this {engine} cannot limit {missing}"));
    for (can, what) in
        [(info.memory_limit, "memory"), (info.cpu_cfs_quota, "processor time"), (info.pids_limit, "processes")]
    {
        if can != Some(true) {
            return Err(problem(what));
        }
    }
    if !has(&info, "name=seccomp") {
        return Err(problem("system calls (seccomp)"));
    }
    let mut warnings = Vec::new();
    if let Some((name, text)) = runtime(&version) {
        let found = read_version(name, &text).map_err(ContainerError::Unsupported)?;
        warnings.extend(found.warnings);
    }
    if inspect(client, EMPTY).await?.is_none() {
        load_empty(client).await?;
    }
    // Docker gives all containers the numbers that the whole engine was started with.
    let own_numbers = podman && can(client, gateway, |host| host.userns_mode = Some("auto:size=65536".into())).await;
    let user_namespace = own_numbers || has(&info, "name=userns");
    if !user_namespace {
        warnings.push(format!("{engine} gives sessions no user namespace: their root is the machine's own, behind {}",
            "the other walls (dockerd --userns-remap; for podman, numbers for `containers` in /etc/subuid and /etc/subgid)"));
    }
    // Podman's word on this is not its storage's.
    let size = [("size".to_owned(), (1 << 24).to_string())];
    let limits_disk = !podman && can(client, gateway, |host| host.storage_opt = Some(size.into())).await;
    if !limits_disk {
        warnings.push(if unlimited_disk {
            format!("what sessions write to the disk of {engine} is not limited (unlimited_disk)")
        } else {
            format!("what sessions write cannot be limited by the storage of this {engine}: pools must be read_only")
        });
    }
    let report = BackendReport {
        engine: engine.into(),
        version: version.version.unwrap_or_default(),
        isolation: Isolation::Container,
        enforced: Enforced {
            memory: true,
            cpu: true,
            pids: true,
            disk: limits_disk,
            egress: true,
            user_namespace,
            seccomp: true,
            freeze: true,
            way_out: false,
        },
        warnings,
    };
    Ok(Found { report, podman, limits_swap: info.swap_limit == Some(true), own_numbers })
}

fn has(info: &SystemInfo, option: &str) -> bool {
    info.security_options.iter().flatten().any(|has| has.split(',').next() == Some(option))
}

fn components(version: &SystemVersion) -> impl Iterator<Item = (&str, &str)> {
    version.components.iter().flatten().map(|part| (part.name.as_str(), part.version.as_str()))
}

/// The runtime below the engine, with its version in the words of its own `--version`, if it is one that is known.
fn runtime(version: &SystemVersion) -> Option<(&'static str, String)> {
    ["runc", "crun"].into_iter().find_map(|known| {
        version.components.iter().flatten().find_map(|part| {
            let revision = part.details.as_ref().and_then(|details| details.get("GitCommit"));
            match part.name.as_str() {
                name if name == known => {
                    let revision = revision.map_or("", String::as_str);
                    Some((known, format!("{known} version {}\ncommit: {revision}\n", part.version)))
                }
                name if name == format!("OCI Runtime ({known})") => Some((known, part.version.clone())),
                _ => None,
            }
        })
    })
}

/// Whether the engine makes a container that is so.
async fn can(client: &Docker, gateway: &str, ask: impl FnOnce(&mut HostConfig)) -> bool {
    let mut host = HostConfig { network_mode: Some("none".into()), ..HostConfig::default() };
    ask(&mut host);
    let body = ContainerCreateBody {
        image: Some(EMPTY.into()),
        labels: Some([(LABEL.to_owned(), gateway.to_owned())].into()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    match client.create_container(None::<CreateContainerOptions>, body).await {
        Ok(made) => {
            if let Err(error) = remove(client, &made.id).await {
                tracing::warn!(cause = error.told(), "a container of the start's probe could not be removed");
            }
            true
        }
        Err(error) => {
            tracing::debug!(cause = told(error), "the engine cannot do this");
            false
        }
    }
}

async fn load_empty(client: &Docker) -> Result<(), ContainerError> {
    // The end of a tar archive, and no beginning.
    let layer = [0_u8; 1024];
    let id = format!("sha256:{:x}", Sha256::digest(layer));
    let config = json!({
        "os": "linux", "architecture": ARCHITECTURE, "config": {"Cmd": ["/nothing"]},
        "rootfs": {"type": "layers", "diff_ids": [id]},
    });
    let mut archive = Vec::new();
    let layers = [Ok((layer.len() as u64, &layer[..]))];
    write_archive(EMPTY, config.to_string().as_bytes(), layers.into_iter(), &mut archive)
        .map_err(ContainerError::during("writing an empty image"))?;
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(archive))]);
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut loading = Box::pin(client.import_image_stream(options, body, None));
    while let Some(told) = loading.next().await {
        told.map_err(during("giving the engine an empty image"))?;
    }
    Ok(())
}

impl Found {
    /// How containers are asked for.
    pub(super) fn manner(&self, seccomp: String, gateway: String, most: Most) -> Manner {
        Manner {
            podman: self.podman,
            limits_swap: self.limits_swap,
            limits_disk: self.report.enforced.disk,
            own_numbers: self.own_numbers,
            most,
            seccomp,
            gateway,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_below_is_held_to_its_floors() {
        let docker = |number: &str, commit: &str| -> SystemVersion {
            let component = json!({"Name": "runc", "Version": number, "Details": {"GitCommit": commit}});
            serde_json::from_value(json!({"Components": [component]})).unwrap()
        };
        let (name, text) = runtime(&docker("1.1.5+ds1", "1.1.5+ds1-1+deb12u1")).unwrap();
        assert!(read_version(name, &text).is_ok());
        let (name, text) = runtime(&docker("1.1.5", "v1.1.5-0-gf19387a6")).unwrap();
        assert!(read_version(name, &text).unwrap_err().contains("CVE-2024-21626"));
        let podman = json!({"Components": [{"Name": "OCI Runtime (crun)", "Version": "crun version 1.5\ncommit: x"}]});
        let (name, text) = runtime(&serde_json::from_value(podman).unwrap()).unwrap();
        assert!(read_version(name, &text).is_err());
        assert!(runtime(&SystemVersion::default()).is_none());
    }
}
