//! Images on disk, beside the build that they are made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::image::{Image, ImageSource, initialise};
use super::{Engine, blocking};
use crate::files::BaseLayer;
use crate::interpreter::Built;
use crate::sandbox::SandboxError;

/// Changes when the gateway gives the start of an interpreter something else than before.
const IMAGE_GENERATION: u32 = 1;

/// Loads the image of a build for `engine`, making what is not there yet: the image itself (once), and its
/// compilation (once an engine's settings, wasmtime version and processor).
///
/// Takes seconds the first time and blocks. The caller holds the cache's lock, unless it [is made](is_made); `progress` gets a line before each long step.
///
/// # Errors
/// When the build is damaged, the interpreter does not start, or the disk does not take the result.
pub fn image(engine: &Engine, built: &Built, progress: &dyn Fn(&str)) -> Result<Arc<Image>, SandboxError> {
    let environment = built.recipe.manifest.environment.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let base = BaseLayer::open(&built.base()).map_err(|e| SandboxError::new("reading the base layer", e))?;
    let source = ImageSource { base, environment };
    let initialised = built.folder().join(format!("image-{IMAGE_GENERATION}.wasm"));
    make(&initialised, || {
        progress("starting the interpreter and taking its image");
        initialise(&read(&built.module())?, &source)
    })?;
    let compiled = compiled_path(engine, built);
    make(&compiled, || {
        progress("compiling the image");
        Image::compile(engine, &read(&initialised)?)
    })?;
    // SAFETY: the file was made by `Image::compile`, in a folder that only the gateway's user writes.
    let image = unsafe { Image::load(engine, &compiled, source) }?;
    blocking::wait(image.warm_up()).map_err(|e| SandboxError::new("watching a first cell", e))??;
    Ok(image)
}

/// Whether `image` only has to load what is there. Needs no lock.
pub fn is_made(engine: &Engine, built: &Built) -> bool {
    compiled_path(engine, built).exists()
}

fn compiled_path(engine: &Engine, built: &Built) -> PathBuf {
    built.folder().join(format!("image-{IMAGE_GENERATION}-{:016x}.cwasm", engine.compatibility()))
}

fn read(path: &Path) -> Result<Vec<u8>, SandboxError> {
    fs::read(path).map_err(|e| SandboxError::new("reading the build of an interpreter", e))
}

/// Writes what `content` gives to `path`, unless it is there. Whole or not at all.
fn make(path: &Path, content: impl FnOnce() -> Result<Vec<u8>, SandboxError>) -> Result<(), SandboxError> {
    if path.exists() {
        return Ok(());
    }
    let content = content()?;
    let write = || -> io::Result<()> {
        let partial: PathBuf = path.with_extension("partial");
        fs::write(&partial, &content)?;
        fs::rename(&partial, path)
    };
    write().map_err(|e| SandboxError::new("writing an image", e))
}
