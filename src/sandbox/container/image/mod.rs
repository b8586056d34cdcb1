//! Images: where they come from, and how they become a folder that all containers of a pool share.
//!
//! An image is unpacked once and never written again. What containers write lies above it.

mod allowed;
mod archive;
pub mod builtin;
mod config;
mod export;
mod layout;
mod reference;
mod registry;
mod store;
mod unpack;

pub use allowed::AllowedImages;
pub use config::{ImageConfig, User};
pub(super) use export::{ARCHITECTURE, Local, write_archive};
pub use reference::{BUILT_IN, Credentials, ImageReference, InvalidReference};
pub use store::{ImageLimits, ImageStore};
pub use unpack::{UnpackError, Unpacker};

use std::path::PathBuf;

/// An image that containers can be made of.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:…` of its manifest: what exactly was unpacked.
    pub digest: String,
    pub files: ImageFiles,
    pub config: ImageConfig,
}

/// Where an image's files are.
#[derive(Debug, Clone)]
pub enum ImageFiles {
    /// In a folder that is a container's root.
    Folder(PathBuf),
    /// An engine keeps them, under this name.
    Engine(String),
}
