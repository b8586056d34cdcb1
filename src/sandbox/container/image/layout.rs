//! Images in folders of this machine: OCI image layouts, and unpacked `docker save` archives.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_client::manifest::{OciDescriptor, OciImageIndex, OciImageManifest};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::export::ARCHITECTURE;
use super::store::{Layer, Manifest, Problem};
use super::{ImageReference, builtin};

/// Manifests, indexes and configurations have some kilobytes.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What the image in a folder consists of. `built_in` is where images of our own are.
pub(super) fn manifest(reference: &ImageReference, built_in: &Path) -> Result<Manifest, Problem> {
    match reference {
        ImageReference::Layout { folder, tag } => oci_layout(folder, tag.as_deref()),
        ImageReference::DockerArchive { folder } => docker_archive(folder),
        ImageReference::BuiltIn(name) => oci_layout(&builtin::built(built_in, name)?, None),
        ImageReference::Registry(_) => unreachable!("it is no folder"),
    }
}

fn oci_layout(folder: &Path, tag: Option<&str>) -> Result<Manifest, Problem> {
    let index: OciImageIndex = parse(&read(&folder.join("index.json"))?)?;
    let fits = |entry: &&oci_client::manifest::ImageIndexEntry| {
        let name = entry.annotations.as_ref().and_then(|all| all.get(REF_NAME));
        let here = entry.platform.as_ref().is_none_or(|platform| {
            let architecture = platform.architecture.to_string();
            architecture == ARCHITECTURE
        });
        here && tag.is_none_or(|tag| name.is_some_and(|name| name == tag))
    };
    let mut fitting = index.manifests.iter().filter(fits);
    let (Some(entry), None) = (fitting.next(), fitting.next()) else {
        let names: Vec<_> = index.manifests.iter().filter_map(|e| e.annotations.as_ref()?.get(REF_NAME)).collect();
        return Err(format!("its folder does not hold exactly one such image; there are: {names:?}"));
    };
    let manifest: OciImageManifest = parse(&document(folder, &entry.digest)?)?;
    let config = document(folder, &manifest.config.digest)?;
    let layer = |descriptor: OciDescriptor| {
        let file = blob(folder, &descriptor.digest)?;
        if digest(&file)? != descriptor.digest {
            return Err(format!("its layer {} is damaged", descriptor.digest));
        }
        Ok(Layer { descriptor, file: Some(file) })
    };
    let layers = manifest.layers.into_iter().map(layer).collect::<Result<_, Problem>>()?;
    Ok(Manifest { digest: entry.digest.clone(), config, layers })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// Its layers are checked against the configuration when they are unpacked.
fn docker_archive(folder: &Path) -> Result<Manifest, Problem> {
    let saved: Vec<Saved> = parse(&read(&folder.join("manifest.json"))?)?;
    let [saved] = saved.as_slice() else {
        return Err(format!("its folder holds {} images; one is taken", saved.len()));
    };
    let config = read(&within(folder, &saved.config)?)?;
    let layer = |name: &String| {
        let file = within(folder, name)?;
        Ok(Layer { descriptor: OciDescriptor::default(), file: Some(file) })
    };
    let layers = saved.layers.iter().map(layer).collect::<Result<_, Problem>>()?;
    Ok(Manifest { digest: format!("sha256:{:x}", Sha256::digest(&config)), config, layers })
}

/// A document of a layout, checked.
fn document(folder: &Path, named: &str) -> Result<Vec<u8>, Problem> {
    let bytes = read(&blob(folder, named)?)?;
    if format!("sha256:{:x}", Sha256::digest(&bytes)) == named { Ok(bytes) } else { Err(format!("{named} is damaged")) }
}

fn blob(folder: &Path, digest: &str) -> Result<PathBuf, Problem> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(folder.join("blobs/sha256").join(hex))
        }
        _ => Err(format!("{digest:?} is no sha256 digest")),
    }
}

/// `name` below `folder`, wherever its links lead.
fn within(folder: &Path, name: &str) -> Result<PathBuf, Problem> {
    let path = folder.join(name).canonicalize().map_err(|error| format!("{name}: {error}"))?;
    let root = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    if path.starts_with(root) { Ok(path) } else { Err(format!("{name:?} is not in its folder")) }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    File::open(path).map_err(told)?.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes).map_err(told)?;
    Ok(bytes)
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| format!("a document of it cannot be read: {error}"))
}

fn digest(path: &Path) -> Result<String, Problem> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    if !fs::metadata(path).map_err(told)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path).map_err(told)?, &mut hash).map_err(told)?;
    Ok(format!("sha256:{:x}", hash.finalize()))
}
