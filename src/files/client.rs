//! What a caller does with a session's files. Paths are guest paths; one without a leading slash is below `/mnt/data`.
//! Links are followed, within the tree as always; lists show them as links.

use std::sync::Arc;

use super::base::BaseLayer;
use super::chunks::Chunks;
use super::entry::{FileEntry, Inode, Kind, moment};
use super::layer::{Change, Layer};
use super::path::{CLIENT_ROOT, MAX_PATH_BYTES};
use super::resolve::{Follow, Place};
use super::{FileError, Tree};

/// A file's content as it was when it was asked for; later writes do not change it.
#[derive(Debug, Clone)]
pub struct Content {
    base: Arc<BaseLayer>,
    content: Arc<Chunks>,
}

impl Content {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.content.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills as much of `buffer` as there is from `offset`; returns how much, 0 at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        Ok(self.content.read_at(&self.base, offset, buffer)?)
    }
}

impl Tree {
    /// The entries of `folder`, with those of the folders in it if `recursive`, ordered by path. Entries whose path is
    /// longer than [`super::MAX_PATH_BYTES`] are left out.
    pub fn list(&self, folder: &str, recursive: bool) -> Result<Vec<FileEntry>, FileError> {
        let layer = self.lock();
        let top = layer.client_place(folder)?.found.ok_or(FileError::NotFound)?;
        if layer.kind(top)? != Kind::Directory {
            return Err(FileError::NotADirectory);
        }
        let mut entries = Vec::new();
        let mut left = vec![(top, shown_path(folder))];
        while let Some((directory, path)) = left.pop() {
            for (inode, name) in layer.entries(directory) {
                let Some(path) = below(&path, name) else { continue };
                let entry = layer.entry(inode, path)?;
                if recursive && layer.kind(inode)? == Kind::Directory {
                    left.push((inode, entry.path.clone()));
                }
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// What is at `path`.
    pub fn metadata(&self, path: &str) -> Result<FileEntry, FileError> {
        let layer = self.lock();
        let inode = layer.client_place(path)?.found.ok_or(FileError::NotFound)?;
        layer.entry(inode, shown_path(path))
    }

    /// The content of the file at `path`.
    pub fn read(&self, path: &str) -> Result<Content, FileError> {
        let layer = self.lock();
        let inode = layer.client_place(path)?.found.ok_or(FileError::NotFound)?;
        Ok(Content { base: layer.base.clone(), content: layer.content(inode)? })
    }

    /// Removes a file, a link (not what it leads to) or an empty directory.
    pub fn remove(&self, path: &str) -> Result<(), FileError> {
        let mut layer = self.lock();
        let start = client_start(&layer);
        let place = layer.resolve(start, path, Follow::No)?;
        match layer.kind(place.found.ok_or(FileError::NotFound)?)? {
            Kind::Directory => layer.remove_directory(start, path),
            _ => layer.unlink_file(start, path),
        }
    }
}

/// Where a caller's relative paths start.
pub(super) fn client_start(layer: &Layer) -> Inode {
    layer.resolve(Inode::ROOT, CLIENT_ROOT, Follow::Yes).ok().and_then(|place| place.found).unwrap_or(Inode::ROOT)
}

/// A path as entries show it: below `/mnt/data`, or else below the root.
pub(super) fn shown_path(path: &str) -> String {
    let below = match path.strip_prefix(CLIENT_ROOT) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    };
    below.split('/').filter(|name| !name.is_empty() && *name != ".").collect::<Vec<_>>().join("/")
}

/// The path of `name` in the folder `path`; None when it is longer than any path may be. A guest can make such paths by
/// working its way down, and telling them all would take memory with the square of their depth.
pub(super) fn below(path: &str, name: &str) -> Option<String> {
    let joined = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    (joined.len() <= MAX_PATH_BYTES).then_some(joined)
}

impl Layer {
    fn client_place(&self, path: &str) -> Result<Place, FileError> {
        self.resolve(client_start(self), if path.is_empty() { "." } else { path }, Follow::Yes)
    }

    pub(super) fn entry(&self, inode: Inode, path: String) -> Result<FileEntry, FileError> {
        let stat = self.stat(inode)?;
        Ok(FileEntry { path, kind: stat.kind.into(), size_bytes: stat.size, modified_at: moment(stat.times.modified) })
    }

    /// All entries of a directory, in no particular order.
    pub(super) fn entries(&self, directory: Inode) -> impl Iterator<Item = (Inode, &str)> {
        let own = self.changes(directory).into_iter().flatten().filter_map(|(name, change)| match change {
            Change::Present { inode, .. } => Some((*inode, &**name)),
            Change::Gone => None,
        });
        own.chain(self.base_children(directory))
    }
}
