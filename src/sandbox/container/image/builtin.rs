//! Images of our own: a recipe in this binary makes the root, which becomes an image layout in the cache, named after the
//! recipe, so that another recipe is another image.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::export::ARCHITECTURE;
use super::store::Problem;

const RECIPES: [(&str, &str); 1] = [("shell", include_str!("recipes/shell.sh"))];
/// What is said of an image beside its files: changing it makes another image.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why an image was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("there is no recipe for an image called {name:?}; there are: {}", RECIPES.map(|(name, _)| name).join(", "))]
    Unknown { name: String },
    #[error("{doing} failed")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{program} ended with {status}; what it said stands above")]
    Program { program: &'static str, status: std::process::ExitStatus },
}

fn during(doing: &'static str) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::Io { doing, source }
}

/// Where images of our own are, in a gateway's cache.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("images")
}

/// The image layout of a built image.
///
/// # Errors
/// When it is not built: what to do about it.
pub fn built(images: &Path, name: &str) -> Result<PathBuf, Problem> {
    let layout = recipe(name).map(|recipe| layout(images, name, recipe)).map_err(|error| error.to_string())?;
    if layout.join("index.json").exists() {
        return Ok(layout);
    }
    Err(format!("it is not built yet: the gateway's operator does that by `sandpool image build {name}`"))
}

fn recipe(name: &str) -> Result<&'static str, BuildError> {
    let found = RECIPES.iter().find(|(known, _)| *known == name);
    found.map(|(_, recipe)| *recipe).ok_or_else(|| BuildError::Unknown { name: name.to_owned() })
}

fn layout(images: &Path, name: &str, recipe: &str) -> PathBuf {
    let hash = Sha256::new().chain_update(recipe).chain_update(PATH).finalize();
    let short: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    images.join(format!("{name}-{short}"))
}

/// Builds an image, unless it is built. Needs root. `progress` is told what is going on, in lines.
///
/// # Errors
/// When there is no such recipe, or it fails.
pub fn build(images: &Path, name: &str, progress: &dyn Fn(&str)) -> Result<PathBuf, BuildError> {
    let recipe = recipe(name)?;
    let layout = layout(images, name, recipe);
    fs::create_dir_all(images).map_err(during("making a folder for images"))?;
    let lock = File::create(images.join("lock")).map_err(during("locking the folder of images"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| during("waiting for another build")(error.into()))?;
    if layout.join("index.json").exists() {
        return Ok(layout);
    }
    let making = layout.with_extension("making");
    clear(&making).map_err(during("removing what an earlier build left"))?;
    let [root, work, made] = ["root", "work", "layout"].map(|part| making.join(part));
    fs::create_dir_all(&work).map_err(during("making a folder for an image"))?;
    progress(&format!("building the image {name}"));
    let built = run_recipe(recipe, &root, &work, progress).and_then(|()| {
        progress("packing it");
        pack(&root, &made)
    });
    let placed = built.and_then(|()| fs::rename(&made, &layout).map_err(during("putting an image in its place")));
    clear(&making).map_err(during("removing what a build left"))?;
    placed.map(|()| layout)
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn run_recipe(recipe: &str, root: &Path, work: &Path, progress: &dyn Fn(&str)) -> Result<(), BuildError> {
    let script = work.join("build.sh");
    fs::write(&script, recipe).map_err(during("writing the recipe"))?;
    let mut command = Command::new("sh");
    command.arg(script).arg(root).arg(work).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.spawn().map_err(during("running the recipe"))?;
    let said = running.stderr.take().expect("it is piped");
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        progress(&line);
    }
    finished("the recipe", running.wait())
}

fn finished(program: &'static str, ended: io::Result<std::process::ExitStatus>) -> Result<(), BuildError> {
    let status = ended.map_err(during("waiting for a program"))?;
    if status.success() { Ok(()) } else { Err(BuildError::Program { program, status }) }
}

/// The root as an image layout with one layer.
fn pack(root: &Path, into: &Path) -> Result<(), BuildError> {
    let blobs = into.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(during("making a folder for an image"))?;
    let layer = into.join("layer");
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--sort=name", "--format=gnu", "--exclude=./dev/*", "-C"]).arg(root);
    finished("tar", tar.arg("-cf").arg(&layer).arg(".").status())?;
    let (layer_digest, layer_bytes) = place_file(&layer, &blobs).map_err(during("storing a layer"))?;
    let config = json!({
        "os": "linux", "architecture": ARCHITECTURE,
        "config": { "Cmd": ["/bin/bash"], "Env": [PATH, "LANG=C.UTF-8", "HOME=/root"] },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    });
    let store = |document: serde_json::Value| {
        let bytes = document.to_string().into_bytes();
        let hex = format!("{:x}", Sha256::digest(&bytes));
        let written = fs::write(blobs.join(&hex), &bytes).map_err(during("storing a document"));
        written.map(|()| (format!("sha256:{hex}"), bytes.len()))
    };
    let (config_digest, config_bytes) = store(config)?;
    let (digest, bytes) = store(json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_bytes,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer_bytes,
        }],
    }))?;
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": bytes,
    }]});
    let write = |name: &str, text: &str| fs::write(into.join(name), text).map_err(during("storing a document"));
    write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write("index.json", &index.to_string())
}

/// Moves a file to where its digest says; digest and length.
fn place_file(file: &Path, blobs: &Path) -> io::Result<(String, u64)> {
    struct Hash(Sha256);
    impl Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(Sha256::new());
    let bytes = io::copy(&mut File::open(file)?, &mut hash)?;
    let hex = format!("{:x}", hash.0.finalize());
    fs::rename(file, blobs.join(&hex))?;
    Ok((format!("sha256:{hex}"), bytes))
}
