//! Interpreters: what is offered, how each is built, and where the build is kept.
//!
//! It ends where WebAssembly begins: what a recipe leaves behind ([`Built`]) is made into an image by `sandbox/wasm`.

mod additions;
mod build;
mod cache;
mod recipe;

use serde::{Deserialize, Serialize};

pub use additions::Additions;
pub use build::{BuildError, build};
pub use cache::{Built, Cache, base_of};
pub use recipe::{Manifest, Recipe, UnknownInterpreter};

/// What an interpreter has: `packages.json` of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    pub runtime: Package,
    pub packages: Vec<Package>,
}

/// A name and a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
}
