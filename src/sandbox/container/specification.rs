//! What a container is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::egress::connections::WayOut;

/// Names a container on this machine: lower-case letters, digits and hyphens, chosen by us.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

impl InstanceId {
    /// A new one, like no other.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to run, and what it may use.
#[derive(Clone)]
pub struct ContainerSpecification {
    pub id: InstanceId,
    /// Instead of the image's entry point, and then of its arguments too.
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    pub args: Vec<String>,
    /// Over the image's own. Values may be secrets.
    pub environment: BTreeMap<String, String>,
    pub resources: Resources,
    /// Nothing but `/tmp` and `/dev/shm` can be written.
    pub read_only: bool,
    /// Where its connections go, every one of them. None: its network is a loopback of its own, and nothing else. A backend
    /// that cannot lead all of them there refuses the container.
    pub way_out: Option<Arc<WayOut>>,
    /// Its first process is the gateway's own agent, in place of everything that the image or `command` would run; and there is
    /// the folder `/mnt/data`, where the image's user may write. See `super::agent`.
    pub agent: bool,
}

/// Secrets stay out of logs.
impl fmt::Debug for ContainerSpecification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpecification").field("id", &self.id).field("resources", &self.resources).finish()
    }
}

/// What a container may use, all its processes together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// Processors; fractions are shares of one.
    pub cpus: f64,
    /// Memory, what its files take included (they lie in memory).
    pub memory_bytes: u64,
    /// Files that it writes outside of `/tmp` and `/dev/shm`.
    pub disk_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
}
