//! Images in folders, handed on to engines that keep images themselves: as the archive of `docker save`, which all of them
//! take.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::store::{Manifest, Problem};
use super::{ImageReference, layout};

/// As images call this machine's processor.
pub(in crate::sandbox::container) const ARCHITECTURE: &str =
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// An image in a folder of this machine, its digests checked.
pub(in crate::sandbox::container) struct Local(Manifest);

impl Local {
    /// Reads what `reference`, a folder, holds. Images of our own are for backends that run our agent.
    ///
    /// # Errors
    /// In a sentence, when that is no image.
    pub(in crate::sandbox::container) fn open(reference: &ImageReference) -> Result<Self, Problem> {
        layout::manifest(reference, Path::new("")).map(Self)
    }

    /// `sha256:…` of its manifest.
    pub(in crate::sandbox::container) fn digest(&self) -> &str {
        &self.0.digest
    }

    pub(in crate::sandbox::container) fn layers(&self) -> usize {
        self.0.layers.len()
    }

    /// Writes it as an archive that calls it `name`.
    pub(in crate::sandbox::container) fn write(&self, name: &str, sink: impl Write) -> io::Result<()> {
        let files = self.0.layers.iter().map(|layer| {
            let path = layer.file.as_ref().ok_or_else(|| io::Error::other("a layer is not in the folder"))?;
            let file = File::open(path)?;
            Ok((file.metadata()?.len(), file))
        });
        write_archive(name, &self.0.config, files, sink)
    }
}

/// Writes an archive of one image: its configuration, and its layers (length and content), the lowest first.
pub(in crate::sandbox::container) fn write_archive<R: Read>(
    name: &str,
    config: &[u8],
    layers: impl Iterator<Item = io::Result<(u64, R)>>,
    sink: impl Write,
) -> io::Result<()> {
    let mut archive = tar::Builder::new(sink);
    let config_name = format!("{:x}.json", Sha256::digest(config));
    let mut names = Vec::new();
    for (at, layer) in layers.enumerate() {
        let (length, content) = layer?;
        let name = format!("layer-{at}.tar");
        append(&mut archive, &name, length, content)?;
        names.push(name);
    }
    append(&mut archive, &config_name, config.len() as u64, config)?;
    let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": names}]).to_string();
    append(&mut archive, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
    archive.into_inner()?.flush()
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, length: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_path(name)?;
    header.set_cksum();
    // A file that grows meanwhile must not spoil the archive.
    archive.append(&header, content.take(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_names_what_it_holds() {
        let mut bytes = Vec::new();
        let layers = [b"one".as_slice(), b"two"].map(|layer| Ok((layer.len() as u64, layer)));
        write_archive("localhost/app:1", b"{}", layers.into_iter(), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut files = std::collections::BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), text);
        }
        let manifest: serde_json::Value = serde_json::from_str(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["localhost/app:1"]));
        let layers =
            manifest[0]["Layers"].as_array().unwrap().iter().map(|name| files[name.as_str().unwrap()].as_str());
        assert_eq!(layers.collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(files[manifest[0]["Config"].as_str().unwrap()], "{}");
    }
}
