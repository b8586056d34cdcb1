//! The images of this machine: each unpacked once, in a folder named after the digest of its manifest.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::export::ARCHITECTURE;
use super::unpack::{UnpackError, Unpacker};
use super::{Credentials, Image, ImageConfig, ImageFiles, ImageReference, builtin, layout, registry};
use crate::sandbox::container::ContainerError;

/// What one image may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageLimits {
    /// Bytes of its files, all layers together, and of its layers as they are sent.
    pub bytes: u64,
    /// Files, folders and links, all layers together.
    pub entries: u64,
    /// Layers. The engines stop at 127.
    pub layers: usize,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self { bytes: 16 << 30, entries: 1_000_000, layers: 127 }
    }
}

/// What an image consists of, before its layers are there.
pub(super) struct Manifest {
    /// `sha256:…`.
    pub digest: String,
    pub config: Vec<u8>,
    pub layers: Vec<Layer>,
}

pub(super) struct Layer {
    pub descriptor: oci_client::manifest::OciDescriptor,
    /// Where it lies, if it is on this machine already.
    pub file: Option<PathBuf>,
}

/// Why an image cannot be used, in a sentence for whoever named it.
pub(super) type Problem = String;

/// The document that an image's manifest names.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    config: Option<ImageConfig>,
    rootfs: Layers,
}

#[derive(Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

/// What is kept beside an unpacked image.
#[derive(Serialize, Deserialize)]
struct Kept {
    digest: String,
    config: ImageConfig,
}

pub struct ImageStore {
    folder: PathBuf,
    limits: ImageLimits,
    /// Registries (`host:port`) that are spoken to without TLS.
    insecure: Vec<String>,
    /// Where images of our own are.
    built_in: PathBuf,
    /// One image is made at a time, so that none is made twice.
    making: Mutex<()>,
}

impl ImageStore {
    /// Opens the store in `folder`, and throws away what a crash left half made.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: PathBuf, limits: ImageLimits, insecure: Vec<String>, built_in: PathBuf) -> io::Result<Self> {
        // Images hold programs that run as root when somebody runs them: nobody else of this machine gets to them.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("making-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { folder, limits, insecure, built_in, making: Mutex::default() })
    }

    /// Why an image of our own is not there.
    pub fn lacks(&self, reference: &ImageReference) -> Option<String> {
        match reference {
            ImageReference::BuiltIn(name) => builtin::built(&self.built_in, name).err(),
            _ => None,
        }
    }

    /// Makes an image ready.
    ///
    /// # Errors
    /// When it cannot be had, or holds what no image should.
    pub async fn prepare(
        &self,
        reference: &ImageReference,
        credentials: &Credentials,
    ) -> Result<Arc<Image>, ContainerError> {
        let problem = |problem| ContainerError::Image { image: reference.to_string(), problem };
        let _making = self.making.lock().await;
        let registry = match reference {
            ImageReference::Registry(reference) => Some(registry::Pull::new(reference, credentials, &self.insecure)),
            _ => None,
        };
        let manifest = match (&registry, reference) {
            (Some(pull), _) => {
                if let Some(image) = pull.digest().and_then(|digest| self.find(digest)) {
                    return Ok(image);
                }
                pull.manifest().await.map_err(problem)?
            }
            (None, local) => layout::manifest(local, &self.built_in).map_err(problem)?,
        };
        if let Some(image) = self.find(&manifest.digest) {
            return Ok(image);
        }
        if manifest.layers.len() > self.limits.layers {
            return Err(problem(format!("it has {} layers; {} are taken", manifest.layers.len(), self.limits.layers)));
        }
        let making = Making::begin(&self.folder).map_err(ContainerError::during("making a folder for an image"))?;
        let mut files = Vec::new();
        let mut left = self.limits.bytes;
        for (at, layer) in manifest.layers.iter().enumerate() {
            files.push(match (&layer.file, &registry) {
                (Some(file), _) => file.clone(),
                (None, Some(pull)) => {
                    let file = making.0.join(format!("layer-{at}"));
                    left -= pull.layer(&layer.descriptor, &file, left).await.map_err(problem)?;
                    file
                }
                (None, None) => unreachable!("a folder's layers are files"),
            });
        }
        let (limits, folder) = (self.limits, self.folder.clone());
        let made = tokio::task::spawn_blocking(move || make(&making, &manifest, &files, limits, &folder)).await;
        made.map_err(ContainerError::during("unpacking an image"))?.map_err(problem)
    }

    /// An image that is there.
    fn find(&self, digest: &str) -> Option<Arc<Image>> {
        let folder = self.folder.join(folder_name(digest)?);
        let kept: Kept = serde_json::from_slice(&fs::read(folder.join("image.json")).ok()?).ok()?;
        Some(Arc::new(Image {
            digest: kept.digest,
            files: ImageFiles::Folder(folder.join("rootfs")),
            config: kept.config,
        }))
    }
}

/// A folder that is being filled; gone when it is dropped, unless it was renamed.
struct Making(PathBuf);

impl Making {
    fn begin(store: &Path) -> io::Result<Self> {
        let folder = store.join(format!("making-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `sha256:` and 64 hexadecimal digits make a name; nothing else does.
fn folder_name(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| format!("sha256-{hex}"))
}

fn make(
    making: &Making,
    manifest: &Manifest,
    files: &[PathBuf],
    limits: ImageLimits,
    store: &Path,
) -> Result<Arc<Image>, Problem> {
    let document: Document = serde_json::from_slice(&manifest.config)
        .map_err(|error| format!("its configuration cannot be read: {error}"))?;
    if !matches!(document.os.as_str(), "linux" | "") || !matches!(document.architecture.as_str(), ARCHITECTURE | "") {
        return Err(format!("it is for {}/{}, not linux/{ARCHITECTURE}", document.os, document.architecture));
    }
    let ids = &document.rootfs.diff_ids;
    if ids.len() != files.len() {
        return Err(format!("its configuration speaks of {} layers, and it has {}", ids.len(), files.len()));
    }
    let told = |error: UnpackError| error.to_string();
    let made = making.0.join("image");
    let rootfs = made.join("rootfs");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&rootfs).map_err(|error| error.to_string())?;
    let mut unpacker = Unpacker::new(&rootfs, limits).map_err(told)?;
    for (file, id) in files.iter().zip(ids) {
        let mut layer =
            Hashing::open(file, limits.bytes).map_err(|error| format!("a layer cannot be read: {error}"))?;
        unpacker.layer(&mut layer).map_err(told)?;
        let found = layer.finish().map_err(|error| format!("a layer cannot be read: {error}"))?;
        if found != *id {
            return Err(format!("a layer is {found}, and its configuration says {id}"));
        }
    }
    let kept = Kept { digest: manifest.digest.clone(), config: document.config.unwrap_or_default() };
    let name = folder_name(&manifest.digest).ok_or("its digest is not a sha256")?;
    let place = store.join(name);
    let keep = || -> io::Result<()> {
        fs::write(made.join("image.json"), serde_json::to_vec(&kept)?)?;
        fs::rename(&made, &place)
    };
    keep().map_err(|error| format!("it cannot be kept: {error}"))?;
    Ok(Arc::new(Image { digest: kept.digest, files: ImageFiles::Folder(place.join("rootfs")), config: kept.config }))
}

/// A layer as it was before it was compressed, hashed as it is read. Never more than `left` bytes: what is compressed
/// well enough would fill any disk.
struct Hashing {
    reader: Box<dyn Read + Send>,
    hash: Sha256,
    left: u64,
}

impl Hashing {
    /// What the first bytes say counts: media types are often wrong.
    fn open(file: &Path, bytes: u64) -> io::Result<Self> {
        let mut start = Vec::new();
        File::open(file)?.take(4).read_to_end(&mut start)?;
        let file = BufReader::with_capacity(1 << 18, File::open(file)?);
        let reader: Box<dyn Read + Send> = match start.as_slice() {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            _ => Box::new(file),
        };
        // Headers and padding of the largest number of small files that is taken come on top.
        Ok(Self { reader, hash: Sha256::new(), left: bytes.saturating_mul(2).saturating_add(1 << 30) })
    }

    /// Reads what follows the archive, and gives the digest.
    fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{:x}", self.hash.finalize()))
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other("it is too long"))?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
