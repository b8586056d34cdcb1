//! Images on disk, beside the build that they are made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::identity::ImageIdentity;
use super::image::{Image, ImageSource, initialise};
use super::{Engine, blocking};
use crate::files::BaseLayer;
use crate::interpreter::{Built, base_of};
use crate::sandbox::SandboxError;

/// Changes when the gateway gives the start of an interpreter something else than before.
const IMAGE_GENERATION: u32 = 1;

/// What is told beside an image, so that it can be found and used when the recipe that it came from is history.
#[derive(Serialize, Deserialize)]
struct Label {
    identity: String,
    environment: Vec<(String, String)>,
}

/// Loads the image of a build for `engine`, making what is not there yet: the image itself (once), and its
/// compilation (once an engine's settings, wasmtime version and processor).
///
/// Takes seconds the first time and blocks. The caller holds the cache's lock, unless it [is made](is_made); `progress` gets a line before each long step.
///
/// # Errors
/// When the build is damaged, the interpreter does not start, or the disk does not take the result.
pub fn image(engine: &Engine, built: &Built, progress: &dyn Fn(&str)) -> Result<Arc<Image>, SandboxError> {
    let environment: Arc<[_]> = built.recipe.manifest.environment.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let base = BaseLayer::open(&built.base()).map_err(|e| SandboxError::new("reading the base layer", e))?;
    let source = ImageSource { base, environment: environment.clone() };
    let initialised = initialised_path(built.folder());
    make(&initialised, || {
        progress("starting the interpreter and taking its image");
        initialise(&read(&built.module())?, &source)
    })?;
    let failed = |e| SandboxError::new("reading the build of an interpreter", e);
    let label = match label(built.folder()) {
        Some(label) => label,
        None => {
            let identity = ImageIdentity::of(&initialised, &built.base()).map_err(failed)?;
            let label = Label { identity: identity.to_string(), environment: environment.to_vec() };
            make(&label_path(built.folder()), || Ok(serde_json::to_vec(&label).expect("texts become JSON")))?;
            label
        }
    };
    load(engine, built.folder(), &label, source, progress)
}

/// The image called `identity`, where one of `folders`, of builds that may be older than any recipe of this binary, has it.
/// Blocks; seconds, when it has to be compiled anew. The caller holds the cache's lock.
///
/// # Errors
/// When it is there and cannot be loaded.
pub fn image_called(
    engine: &Engine,
    identity: ImageIdentity,
    folders: &[PathBuf],
    progress: &dyn Fn(&str),
) -> Result<Option<Arc<Image>>, SandboxError> {
    let called = |folder: &&PathBuf| label(folder).is_some_and(|label| label.identity == identity.to_string());
    let Some(folder) = folders.iter().find(called) else { return Ok(None) };
    let label = label(folder).expect("it was just read");
    let base = BaseLayer::open(&base_of(folder)).map_err(|e| SandboxError::new("reading the base layer", e))?;
    let source = ImageSource { base, environment: label.environment.clone().into() };
    load(engine, folder, &label, source, progress).map(Some)
}

fn load(
    engine: &Engine,
    folder: &Path,
    label: &Label,
    source: ImageSource,
    progress: &dyn Fn(&str),
) -> Result<Arc<Image>, SandboxError> {
    let compiled = compiled_path(engine, folder);
    make(&compiled, || {
        progress("compiling the image");
        Image::compile(engine, &read(&initialised_path(folder))?)
    })?;
    let unreadable = || SandboxError::new("loading an image", "its label is damaged");
    let identity = ImageIdentity::parse(&label.identity).ok_or_else(unreadable)?;
    // SAFETY: the file was made by `Image::compile`, in a folder that only the gateway's user writes.
    let image = unsafe { Image::load(engine, &compiled, source, identity) }?;
    blocking::wait(image.warm_up()).map_err(|e| SandboxError::new("watching a first cell", e))??;
    Ok(image)
}

/// None when there is none, or none that can be read: then it is made anew.
fn label(folder: &Path) -> Option<Label> {
    serde_json::from_slice(&fs::read(label_path(folder)).ok()?).ok()
}

fn label_path(folder: &Path) -> PathBuf {
    folder.join(format!("label-{IMAGE_GENERATION}.json"))
}

fn initialised_path(folder: &Path) -> PathBuf {
    folder.join(format!("image-{IMAGE_GENERATION}.wasm"))
}

/// Whether `image` only has to load what is there. Needs no lock.
pub fn is_made(engine: &Engine, built: &Built) -> bool {
    compiled_path(engine, built.folder()).exists()
}

fn compiled_path(engine: &Engine, folder: &Path) -> PathBuf {
    folder.join(format!("image-{IMAGE_GENERATION}-{:016x}.cwasm", engine.compatibility()))
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
        // A label is written without the cache's lock.
        let partial: PathBuf = path.with_extension(format!("partial-{}", std::process::id()));
        fs::write(&partial, &content)?;
        fs::rename(&partial, path)
    };
    write().map_err(|e| SandboxError::new("writing an image", e))
}
