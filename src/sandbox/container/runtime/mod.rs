//! The backend that needs no daemon: an OCI runtime's command line (runc, crun, runsc) under folders, namespaces and limits
//! that are laid out here.
//!
//! | file | holds |
//! |---|---|
//! | `backend.rs` | images in, containers out; one gateway a folder |
//! | `container.rs` | one container from creation to removal |
//! | `command.rs`, `version.rs` | the runtime's command line, and which versions are taken |
//! | `gvisor.rs` | what runsc is told that the others need not be told |
//! | `config.rs`, `seccomp.rs` | the `config.json` of a container, hardened |
//! | `rootfs.rs` | the image under a layer of the container's own, in a mount namespace that ends with it |
//! | `user.rs` | ranges of user numbers, one a container |
//! | `network.rs` | sockets made inside a container's network |
//! | `gate.rs` | the way out, for containers that have one |
//! | `cgroup.rs` | freezing, and what the kernel says about memory |
//! | `orphans.rs` | processes of a container that become the gateway's |
//! | `shim/` | the process beside a container that outlives the gateway |
//! | `state.rs` | what is kept of a container for the next gateway |
//! | `leftovers.rs` | what an earlier gateway left |
//!
//! Nothing is mounted in the machine's own mount namespace, and no network device, address or firewall rule is made
//! outside of a container's own network: so a crash leaves processes and control groups, and nothing else.

mod backend;
mod cgroup;
mod command;
mod config;
mod container;
mod gate;
mod gvisor;
mod leftovers;
mod network;
mod orphans;
mod rootfs;
mod seccomp;
pub mod shim;
mod state;
mod user;
mod version;

pub(super) use backend::{OPEN_FILES, hold};
pub use backend::{OciBackend, OciSettings};
pub(super) use cgroup::Cgroups;
pub(super) use config::{MASKED, READ_ONLY, arguments, environment};
pub(super) use network::connect;
pub(super) use seccomp::profile;
pub(super) use version::read as read_version;
