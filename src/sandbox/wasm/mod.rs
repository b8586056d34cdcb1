//! All of wasmtime: engines, images, the sandbox that runs a guest, its limits, its interruption, and its state as values.
//!
//! Sandboxes are core modules with WASI preview 1 on the session's own file tree: no components, no threads, no
//! sockets, no host directory. What goes out goes through `http`.

mod blocking;
mod cached;
mod capture;
mod delta;
mod emit;
mod engine;
mod guest;
mod hot;
mod http;
mod identity;
mod image;
mod instance;
mod interrupt;
mod meter;
mod pages;
pub mod wasi;
mod workers;

pub use cached::{image, image_called, is_made};
pub use capture::GuestState;
pub use delta::{GROUP_BYTES, GuestWriter};
pub use engine::{Engine, EngineSettings};
pub use identity::ImageIdentity;
pub use image::{Image, ImageSource};
pub use instance::WasmSandbox;
pub use workers::Workers;
