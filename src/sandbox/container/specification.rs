//! What a container is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::egress::connections::WayOut;

/// Names a container on this machine: lower-case letters, digits and hyphens, chosen by us.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    /// A new one, like no other.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that was written down.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }
}

impl TryFrom<String> for InstanceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("it names no container")
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

/// What a pool wants to know of a container that it finds again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Means something to the pool alone.
    pub facts: serde_json::Value,
    /// When its session ends by itself, in milliseconds since 1970, also where no gateway runs then. None: it has none yet.
    pub ends_at: Option<i64>,
}

/// A container that an earlier gateway left, with its last note. Those beside others are not told of: notes name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub id: InstanceId,
    pub facts: serde_json::Value,
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
