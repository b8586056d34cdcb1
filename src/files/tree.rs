//! The handle of a session's file tree. Cheap to make (nothing is copied, the private layer starts empty) and to clone
//! (a clone is the same tree).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::base::BaseLayer;
use super::blob::{BlobStore, Spill};
use super::client::below;
use super::entry::{FileEntry, FileKind, Inode, Kind, moment};
use super::layer::Layer;
use super::path::CLIENT_ROOT;
use super::resolve::Follow;
use crate::sandbox::limits::FileLimits;

/// The most entries that [`Tree::changes_since`] tells of; an answer that lists more helps nobody.
pub const MAX_CHANGES: usize = 1000;

/// The file tree of one session.
#[derive(Debug, Clone)]
pub struct Tree {
    layer: Arc<Mutex<Layer>>,
}

/// What a session's private layer uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUsage {
    /// Logical bytes of all files, holes included, and of link targets.
    pub bytes: u64,
    /// Entries: every name of a file, directory or link that the session made.
    pub count: u64,
}

/// A moment in a tree's life, to ask later what has changed since. The default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeMark(u64);

impl Tree {
    /// A fresh tree over `base`, within `limits`, spilling to `blobs`.
    pub fn new(base: Arc<BaseLayer>, limits: FileLimits, blobs: BlobStore) -> Self {
        Self::from_layer(Layer::new(base, limits, Spill::new(blobs)))
    }

    pub(super) fn from_layer(layer: Layer) -> Self {
        Self { layer: Arc::new(Mutex::new(layer)) }
    }

    /// Whether both are handles of one tree.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layer, &other.layer)
    }

    /// An independent tree with the same content, which is shared until one of them writes: what is copied is the table
    /// of the session's own entries. What is open stays open in the fork, for a copy of the descriptor table; without
    /// one, [`Tree::close_all`] gives it up.
    pub fn fork(&self) -> Self {
        Self::from_layer(self.lock().fork())
    }

    /// Forgets what is open; content without a name goes.
    pub fn close_all(&self) {
        self.lock().close_all();
    }

    /// What the private layer uses now.
    pub fn usage(&self) -> FileUsage {
        self.lock().used
    }

    /// Now.
    pub fn mark(&self) -> ChangeMark {
        ChangeMark(self.lock().generation)
    }

    /// The files below `/mnt/data` that were made, moved there or written since `mark`, ordered by path; at most
    /// [`MAX_CHANGES`].
    pub fn changes_since(&self, mark: ChangeMark) -> Vec<FileEntry> {
        let layer = self.lock();
        let mut changes = Vec::new();
        if layer.generation > mark.0
            && let Ok(place) = layer.resolve(Inode::ROOT, CLIENT_ROOT, Follow::Yes)
            && let Some(root) = place.found
        {
            layer.collect_changes(root, mark.0, &mut changes);
        }
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Layer> {
        // A panic under the lock is a bug of ours, but every change leaves the layer in order between its steps.
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer {
    /// Directories still to visit are kept on the heap: a guest decides how deep its tree is.
    fn collect_changes(&self, root: Inode, since: u64, changes: &mut Vec<FileEntry>) {
        let mut left = vec![(root, String::new(), false)];
        while let Some((directory, path, moved)) = left.pop() {
            for (inode, name) in self.entries(directory) {
                let Some(path) = below(&path, name) else { continue };
                let changed = moved || self.nodes.get(&inode).is_some_and(|node| node.changed > since);
                let Ok(stat) = self.stat(inode) else { continue };
                match stat.kind {
                    Kind::Directory => left.push((inode, path, changed)),
                    Kind::File if changed => {
                        changes.push(FileEntry {
                            path,
                            kind: FileKind::File,
                            size_bytes: stat.size,
                            modified_at: moment(stat.times.modified),
                        });
                        if changes.len() == MAX_CHANGES {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
