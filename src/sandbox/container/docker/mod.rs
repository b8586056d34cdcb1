//! The backend that speaks the Docker Engine API, to Docker or to Podman, over a socket of this machine.
//!
//! | file | holds |
//! |---|---|
//! | `backend.rs` | the engine as a whole: found, probed, cleared of leftovers; images in, containers out |
//! | `client.rs` | the connection to the engine, and what its errors say |
//! | `probe.rs` | what the engine is, and what it enforces |
//! | `image.rs` | images: pulled by the engine, or loaded into it from a folder |
//! | `request.rs` | what the engine is asked for: a container as the other backend makes them |
//! | `container.rs` | one container from creation to removal |
//! | `process.rs` | its first process, found in this machine's kernel: the way in, and its end |
//!
//! Containers have no network (`none`); the gateway gets in by a socket made in their namespace, and so the engine must run
//! on this machine. What the engine does beside, bridges and published ports, is not used.

mod backend;
mod client;
mod container;
mod image;
mod probe;
mod process;
mod request;

pub use backend::{DockerBackend, DockerSettings};
