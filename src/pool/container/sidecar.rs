//! Further containers of a session, beside the one that requests go to.

use serde::{Deserialize, Serialize};

use super::probe::Probe;
use super::specification::{ContainerResources, Variable};
use crate::sandbox::container::ImageReference;

/// A container that shares the network of its session's first one: on its loopback they find each other. All else it has for
/// itself: files, processes, users, limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// For logs: lower-case letters, digits and hyphens.
    pub name: String,
    pub image: ImageReference,
    /// Instead of the image's entry point and arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Of its own, beside those of the others.
    #[serde(default)]
    pub resources: ContainerResources,
    #[serde(default)]
    pub read_only: bool,
    /// A startup probe keeps the session from being handed out; without one it has started at once.
    #[serde(default)]
    pub probes: Vec<Probe>,
}

impl Sidecar {
    /// Of one session; each is a container with limits of its own.
    pub const MOST: usize = 8;

    /// Whether its name can stand in a log.
    pub(super) fn has_good_name(&self) -> bool {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&self.name.len()) && self.name.chars().all(fits)
    }
}
