//! The base layer: an archive mapped into memory once for all sessions, with a compact index. It is never written to;
//! the file behind the map must not change while a gateway runs (a shortened one would fault on access), so images are
//! stored under names that are never reused.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::entry::{Inode, Kind, Times, now};
use super::tar::{self, TarBody, TarError};

/// Directories below which a session may write. Each always exists and cannot be removed.
const WRITABLE: [&str; 5] = ["mnt/data", "tmp", "var/tmp", "home", "home/user"];

/// The gateway's own character devices, below `/dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Device {
    Null,
    Zero,
    Random,
}

const DEVICES: [(&str, Device); 4] =
    [("null", Device::Null), ("zero", Device::Zero), ("random", Device::Random), ("urandom", Device::Random)];

/// Why a base layer could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error("the base layer could not be read")]
    Read(#[from] std::io::Error),
    #[error("the base layer's archive cannot be used")]
    Archive(#[from] TarError),
    #[error("the base layer has {path:?} twice, or below something that is no directory")]
    Conflict { path: String },
}

/// The read-only layer under every session's tree.
pub struct BaseLayer {
    bytes: Bytes,
    nodes: Vec<BaseNode>,
    /// All names, one after the other.
    names: String,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

/// 40 bytes an entry. The children of a directory lie side by side, ordered by name.
struct BaseNode {
    parent: u32,
    name: u32,
    name_len: u8,
    /// A session may change it, or what it holds if it is a directory.
    writable: bool,
    pinned: bool,
    body: BaseBody,
    modified: u64,
}

enum BaseBody {
    Directory { first: u32, count: u32 },
    File { offset: u64, len: u64 },
    Link(Box<str>),
    Device(Device),
}

impl BaseLayer {
    /// Maps the archive at `path` and indexes it.
    pub fn open(path: &Path) -> Result<Arc<BaseLayer>, BaseError> {
        let file = File::open(path)?;
        // SAFETY: the map is only read, as plain bytes of any value. The file is a finished image that nothing changes,
        // which is the contract of this module.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Self::index(Bytes::Mapped(map))
    }

    /// The same from an archive in memory.
    pub fn from_bytes(archive: Vec<u8>) -> Result<Arc<BaseLayer>, BaseError> {
        Self::index(Bytes::Owned(archive))
    }

    /// A layer with nothing but the directories and devices that every tree has.
    pub fn empty() -> Arc<BaseLayer> {
        Self::from_bytes(Vec::new()).expect("an empty archive has no entry that could be refused")
    }

    fn index(bytes: Bytes) -> Result<Arc<BaseLayer>, BaseError> {
        let mut plan = Plan::with_fixed_entries();
        for entry in tar::entries(bytes.as_slice())? {
            plan.add(&entry.names, entry.body, entry.modified)?;
        }
        let (nodes, names) = plan.flatten()?;
        Ok(Arc::new(BaseLayer { bytes, nodes, names }))
    }

    /// How many entries it has, the root included.
    pub fn entries(&self) -> usize {
        self.nodes.len()
    }

    /// Inodes up to this number belong to the base layer.
    pub(super) fn last_inode(&self) -> u64 {
        self.nodes.len() as u64
    }

    fn node(&self, inode: Inode) -> Option<&BaseNode> {
        self.nodes.get(usize::try_from(inode.0.checked_sub(1)?).ok()?)
    }

    pub(super) fn kind(&self, inode: Inode) -> Option<Kind> {
        Some(match self.node(inode)?.body {
            BaseBody::Directory { .. } => Kind::Directory,
            BaseBody::File { .. } => Kind::File,
            BaseBody::Link(_) => Kind::Link,
            BaseBody::Device(_) => Kind::Device,
        })
    }

    pub(super) fn device(&self, inode: Inode) -> Option<Device> {
        match self.node(inode)?.body {
            BaseBody::Device(device) => Some(device),
            _ => None,
        }
    }

    pub(super) fn link_target(&self, inode: Inode) -> Option<&str> {
        match &self.node(inode)?.body {
            BaseBody::Link(target) => Some(target),
            _ => None,
        }
    }

    /// Where a file's content lies in the archive.
    pub(super) fn extent(&self, inode: Inode) -> Option<(u64, u64)> {
        match self.node(inode)?.body {
            BaseBody::File { offset, len } => Some((offset, len)),
            _ => None,
        }
    }

    pub(super) fn size(&self, inode: Inode) -> u64 {
        match self.node(inode).map(|node| &node.body) {
            Some(BaseBody::File { len, .. }) => *len,
            Some(BaseBody::Link(target)) => target.len() as u64,
            _ => 0,
        }
    }

    pub(super) fn parent(&self, inode: Inode) -> Option<Inode> {
        self.node(inode).map(|node| Inode(u64::from(node.parent) + 1))
    }

    pub(super) fn times(&self, inode: Inode) -> Option<Times> {
        self.node(inode).map(|node| Times::all(node.modified))
    }

    pub(super) fn is_writable(&self, inode: Inode) -> bool {
        self.node(inode).is_some_and(|node| node.writable)
    }

    pub(super) fn is_pinned(&self, inode: Inode) -> bool {
        self.node(inode).is_some_and(|node| node.pinned)
    }

    /// The entry `name` of the directory `inode`.
    pub(super) fn child(&self, inode: Inode, name: &str) -> Option<Inode> {
        let (first, children) = self.child_nodes(inode);
        let at = children.binary_search_by(|child| self.name_of(child).cmp(name)).ok()?;
        Some(Inode(first + at as u64 + 1))
    }

    /// The entries of the directory `inode`, ordered by inode and by name.
    pub(super) fn children(&self, inode: Inode) -> impl Iterator<Item = (Inode, &str)> {
        let (first, children) = self.child_nodes(inode);
        (first + 1..).map(Inode).zip(children.iter().map(|child| self.name_of(child)))
    }

    fn child_nodes(&self, inode: Inode) -> (u64, &[BaseNode]) {
        match self.node(inode).map(|node| &node.body) {
            Some(BaseBody::Directory { first, count }) => {
                let range = *first as usize..*first as usize + *count as usize;
                (u64::from(*first), self.nodes.get(range).unwrap_or_default())
            }
            _ => (0, &[]),
        }
    }

    fn name_of(&self, node: &BaseNode) -> &str {
        let start = node.name as usize;
        self.names.get(start..start + usize::from(node.name_len)).unwrap_or_default()
    }

    /// The bytes of the archive from `offset`, at most `len`.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> &[u8] {
        let all = self.bytes.as_slice();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
        &all[start..start.saturating_add(len).min(all.len())]
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for BaseLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseLayer").field("entries", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// The index while it is being made: a tree of maps.
struct Plan {
    nodes: Vec<PlanNode>,
}

struct PlanNode {
    parent: usize,
    name: String,
    body: PlanBody,
    modified: u64,
    writable: bool,
    pinned: bool,
}

enum PlanBody {
    Directory(BTreeMap<String, usize>),
    File { offset: u64, len: u64 },
    Link(Box<str>),
    Device(Device),
}

impl Plan {
    fn with_fixed_entries() -> Self {
        let root = PlanNode {
            parent: 0,
            name: String::new(),
            body: PlanBody::Directory(BTreeMap::new()),
            modified: now(),
            writable: false,
            pinned: true,
        };
        let mut plan = Plan { nodes: vec![root] };
        for path in WRITABLE {
            let at = plan
                .directories(path.split('/'), now())
                .expect("the fixed directories do not conflict with each other");
            plan.nodes[at].writable = true;
            plan.nodes[at].pinned = true;
        }
        let dev = plan.directories(["dev"], now()).expect("no fixed entry but directories has been added");
        for (name, device) in DEVICES {
            plan.insert(dev, name, PlanBody::Device(device), now());
        }
        plan
    }

    /// The directory of these names, made where it is missing; None when something else is in the way.
    fn directories<'a>(&mut self, names: impl IntoIterator<Item = &'a str>, modified: u64) -> Option<usize> {
        let mut at = 0;
        for name in names {
            let PlanBody::Directory(children) = &self.nodes[at].body else {
                return None;
            };
            at = match children.get(name) {
                Some(child) => *child,
                None => self.insert(at, name, PlanBody::Directory(BTreeMap::new()), modified),
            };
        }
        matches!(self.nodes[at].body, PlanBody::Directory(_)).then_some(at)
    }

    /// Adds an entry that is not there yet. `parent` is a directory.
    fn insert(&mut self, parent: usize, name: &str, body: PlanBody, modified: u64) -> usize {
        let at = self.nodes.len();
        let writable = self.nodes[parent].writable;
        self.nodes.push(PlanNode { parent, name: name.to_owned(), body, modified, writable, pinned: false });
        if let PlanBody::Directory(children) = &mut self.nodes[parent].body {
            children.insert(name.to_owned(), at);
        }
        at
    }

    /// Directories may come twice, as archives made in two steps have them; nothing else may.
    fn add(&mut self, names: &[String], body: TarBody, modified: u64) -> Result<(), BaseError> {
        let conflict = || BaseError::Conflict { path: names.join("/") };
        let Some((name, above)) = names.split_last() else {
            return if body == TarBody::Directory { Ok(()) } else { Err(conflict()) };
        };
        let parent = self.directories(above.iter().map(String::as_str), modified).ok_or_else(conflict)?;
        let PlanBody::Directory(children) = &self.nodes[parent].body else {
            return Err(conflict());
        };
        match (children.get(name), body) {
            (None, TarBody::Directory) => {
                self.insert(parent, name, PlanBody::Directory(BTreeMap::new()), modified);
            }
            (None, TarBody::File { offset, len }) => {
                self.insert(parent, name, PlanBody::File { offset: offset as u64, len: len as u64 }, modified);
            }
            (None, TarBody::Link(target)) => {
                self.insert(parent, name, PlanBody::Link(target.into_boxed_str()), modified);
            }
            (Some(at), TarBody::Directory) if matches!(self.nodes[*at].body, PlanBody::Directory(_)) => {
                let at = *at;
                self.nodes[at].modified = modified;
            }
            _ => return Err(conflict()),
        }
        Ok(())
    }

    /// Numbers the nodes level by level, so that a directory's children lie side by side.
    fn flatten(self) -> Result<(Vec<BaseNode>, String), BaseError> {
        let mut order = vec![0];
        let mut number = vec![0_u32; self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let mut names = String::new();
        let mut at = 0;
        while let Some(&planned) = order.get(at) {
            let node = &self.nodes[planned];
            let body = match &node.body {
                PlanBody::Directory(children) => {
                    let first = order.len() as u32;
                    for child in children.values() {
                        number[*child] = order.len() as u32;
                        order.push(*child);
                    }
                    BaseBody::Directory { first, count: children.len() as u32 }
                }
                PlanBody::File { offset, len } => BaseBody::File { offset: *offset, len: *len },
                PlanBody::Link(target) => BaseBody::Link(target.clone()),
                PlanBody::Device(device) => BaseBody::Device(*device),
            };
            let name = u32::try_from(names.len()).map_err(|_| BaseError::Conflict { path: node.name.clone() })?;
            names.push_str(&node.name);
            nodes.push(BaseNode {
                parent: number[node.parent],
                name,
                name_len: node.name.len() as u8,
                writable: node.writable,
                pinned: node.pinned,
                body,
                modified: node.modified,
            });
            at += 1;
        }
        names.shrink_to_fit();
        Ok((nodes, names))
    }
}
