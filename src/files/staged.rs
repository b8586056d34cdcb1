//! Uploads: content that grows aside and takes its place at once. It holds its share of the quota while it grows.

use std::sync::Arc;

use super::chunks::Chunks;
use super::client::{client_start, shown_path};
use super::entry::{FileEntry, Inode, Kind};
use super::layer::{Body, Layer};
use super::path::MAX_NAME_BYTES;
use super::resolve::{Follow, check_text};
use super::{FileError, Tree};

/// A file being uploaded. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    tree: Tree,
    content: Chunks,
}

impl Tree {
    /// Starts an upload. A file that it replaces counts until it is replaced.
    pub fn begin_write(&self) -> Staged {
        Staged { tree: self.clone(), content: Chunks::default() }
    }
}

impl Staged {
    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let mut layer = self.tree.lock();
        let layer = &mut *layer;
        let before = self.content.len();
        if before.saturating_add(bytes.len() as u64) > layer.limits.file_bytes {
            return Err(layer.file_quota());
        }
        layer.check_bytes(bytes.len() as u64)?;
        let result = self.content.write_at(&layer.base, &mut layer.spill, before, bytes);
        layer.used.bytes += self.content.len() - before;
        Ok(result?)
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.content.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the file at `path`, making the folders above it and replacing a file or link of that name at once.
    pub fn commit(mut self, path: &str) -> Result<FileEntry, FileError> {
        let mut layer = self.tree.lock();
        let (parent, name) = layer.make_folders(path)?;
        if let Some(inode) = layer.child(parent, name)
            && layer.kind(inode)? == Kind::Directory
        {
            return Err(FileError::NotAFile);
        }
        layer.check_writable(parent)?;
        layer.check_count(parent, name)?;
        if layer.child(parent, name).is_some() {
            layer.unlink(parent, name)?;
        }
        // The node's own charge takes over from the upload's.
        layer.used.bytes -= self.content.len();
        let content = std::mem::take(&mut self.content);
        let inode = layer.add_node(Body::File(Arc::new(content)), parent);
        layer.link(parent, name, inode)?;
        layer.entry(inode, shown_path(path))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.content.is_empty() {
            self.tree.lock().used.bytes -= self.content.len();
        }
    }
}

impl Layer {
    /// The directory of `path`, made where it is missing, and the last name.
    fn make_folders<'a>(&mut self, path: &'a str) -> Result<(Inode, &'a str), FileError> {
        check_text(path)?;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        match name {
            "" | "." | ".." => return Err(FileError::InvalidPath),
            name if name.len() > MAX_NAME_BYTES => return Err(FileError::NameTooLong),
            _ => {}
        }
        let mut at = if path.starts_with('/') { Inode::ROOT } else { client_start(self) };
        for folder in above.split('/').filter(|folder| !folder.is_empty()) {
            let place = self.resolve(at, folder, Follow::Yes)?;
            at = match (place.found, place.name()) {
                (Some(inode), _) if self.kind(inode)? == Kind::Directory => inode,
                (None, Some(name)) => {
                    let name = name.to_owned();
                    self.make_directory_at(place.parent, &name)?
                }
                _ => return Err(FileError::NotADirectory),
            };
        }
        Ok((at, name))
    }
}
