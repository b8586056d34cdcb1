//! The overlay: which inodes there are, what they hold, and what they cost. An inode of the base layer has a private
//! node only once the session has changed it, and keeps its number then. A changed directory records only what differs
//! from the base, a removed base entry as a whiteout; so a moved base directory copies nothing.
//!
//! It does not parse paths and takes no lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::base::{BaseLayer, Device};
use super::blob::Spill;
use super::chunks::Chunks;
use super::entry::{Inode, Kind, Stat, Times, now};
use super::{FileError, FileUsage};
use crate::sandbox::limits::FileLimits;

/// The private layer of one session, with the base layer below it.
#[derive(Debug)]
pub(super) struct Layer {
    pub base: Arc<BaseLayer>,
    pub limits: FileLimits,
    pub used: FileUsage,
    /// Counts changes of content, names and times; what [`super::ChangeMark`] remembers.
    pub generation: u64,
    pub spill: Spill,
    pub nodes: BTreeMap<Inode, Node>,
    /// How often each inode is open. Inodes that cannot be removed are not counted.
    open: BTreeMap<Inode, u32>,
    last_inode: u64,
    last_entry: u64,
}

/// An inode that the session has made or changed.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub body: Body,
    /// Of a directory: the one that holds it, or held it when it was removed.
    pub parent: Inode,
    /// Names of a file; 0 or 1 for a directory. At 0 the node goes when nobody has it open.
    pub links: u32,
    pub times: Times,
    /// The generation of the last change of content or name.
    pub changed: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    /// Behind an `Arc`, so that downloads and forks copy no chunk list.
    File(Arc<Chunks>),
    /// What differs from the base directory of the same inode, if there is one.
    Directory(BTreeMap<Box<str>, Change>),
    Link(Box<str>),
}

/// How an entry of a directory differs from the base layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// `serial` grows with every entry made, so that a listing can be continued while entries come and go.
    Present { inode: Inode, serial: u64 },
    /// A whiteout: the base layer has the name, the session does not.
    Gone,
}

impl Layer {
    pub fn new(base: Arc<BaseLayer>, limits: FileLimits, spill: Spill) -> Self {
        let last_inode = base.last_inode();
        Self {
            base,
            limits,
            used: FileUsage::default(),
            generation: 0,
            spill,
            nodes: BTreeMap::new(),
            open: BTreeMap::new(),
            last_inode,
            last_entry: 0,
        }
    }

    /// A layer without nodes whose counters go on from `(generation, last inode, last entry)`.
    pub fn from_parts(base: Arc<BaseLayer>, limits: FileLimits, spill: Spill, counters: (u64, u64, u64)) -> Self {
        let (generation, last_inode, last_entry) = counters;
        Self { generation, last_inode, last_entry, ..Self::new(base, limits, spill) }
    }

    /// The numbers that were given last: to an inode, and to an entry.
    pub fn last_numbers(&self) -> (u64, u64) {
        (self.last_inode, self.last_entry)
    }

    /// A copy that shares all content. Its spill file is its own.
    pub fn fork(&self) -> Self {
        Self {
            base: self.base.clone(),
            limits: self.limits,
            used: self.used,
            generation: self.generation,
            spill: self.spill.fork(),
            nodes: self.nodes.clone(),
            open: self.open.clone(),
            last_inode: self.last_inode,
            last_entry: self.last_entry,
        }
    }

    pub fn kind(&self, inode: Inode) -> Result<Kind, FileError> {
        match self.nodes.get(&inode) {
            Some(node) => Ok(node.kind()),
            None => self.base.kind(inode).ok_or(FileError::NotFound),
        }
    }

    pub fn stat(&self, inode: Inode) -> Result<Stat, FileError> {
        match self.nodes.get(&inode) {
            Some(node) => Ok(Stat {
                inode,
                kind: node.kind(),
                links: u64::from(node.links),
                size: node.size(),
                times: node.times,
            }),
            None => Ok(Stat {
                inode,
                kind: self.base.kind(inode).ok_or(FileError::NotFound)?,
                links: 1,
                size: self.base.size(inode),
                times: self.base.times(inode).ok_or(FileError::NotFound)?,
            }),
        }
    }

    /// Whether the session may change `inode`, or what it holds if it is a directory.
    pub fn is_writable(&self, inode: Inode) -> bool {
        inode.0 > self.base.last_inode() || self.base.is_writable(inode)
    }

    pub fn check_writable(&self, inode: Inode) -> Result<(), FileError> {
        if self.is_writable(inode) { Ok(()) } else { Err(FileError::ReadOnly) }
    }

    /// The directory that holds the directory `inode`.
    pub fn parent(&self, inode: Inode) -> Inode {
        match self.nodes.get(&inode) {
            Some(node) => node.parent,
            None => self.base.parent(inode).unwrap_or(Inode::ROOT),
        }
    }

    pub fn child(&self, directory: Inode, name: &str) -> Option<Inode> {
        match self.changes(directory).and_then(|changes| changes.get(name)) {
            Some(Change::Present { inode, .. }) => Some(*inode),
            Some(Change::Gone) => None,
            None => self.base.child(directory, name),
        }
    }

    /// The entries that the base layer contributes, in the order of their inodes.
    pub fn base_children(&self, directory: Inode) -> impl Iterator<Item = (Inode, &str)> {
        let changes = self.changes(directory);
        self.base
            .children(directory)
            .filter(move |(_, name)| changes.is_none_or(|changes| !changes.contains_key(*name)))
    }

    /// What the session has changed in a directory; None when nothing.
    pub fn changes(&self, directory: Inode) -> Option<&BTreeMap<Box<str>, Change>> {
        match &self.nodes.get(&directory)?.body {
            Body::Directory(changes) => Some(changes),
            _ => None,
        }
    }

    pub fn is_empty(&self, directory: Inode) -> bool {
        let added =
            self.changes(directory).is_some_and(|changes| changes.values().any(|change| *change != Change::Gone));
        !added && self.base_children(directory).next().is_none()
    }

    /// Whether `inode` is `above` or lies below it.
    pub fn is_below(&self, inode: Inode, above: Inode) -> bool {
        let mut at = inode;
        loop {
            if at == above {
                return true;
            }
            let parent = self.parent(at);
            if parent == at {
                return false;
            }
            at = parent;
        }
    }

    pub fn device(&self, inode: Inode) -> Option<Device> {
        self.base.device(inode)
    }

    pub fn link_target(&self, inode: Inode) -> Option<&str> {
        match self.nodes.get(&inode) {
            Some(Node { body: Body::Link(target), .. }) => Some(target),
            Some(_) => None,
            None => self.base.link_target(inode),
        }
    }

    /// The content of a file, without making a private node of it.
    pub fn content(&self, inode: Inode) -> Result<Arc<Chunks>, FileError> {
        match self.nodes.get(&inode) {
            Some(Node { body: Body::File(content), .. }) => Ok(content.clone()),
            Some(_) => Err(FileError::NotAFile),
            None => match self.base.extent(inode) {
                Some((offset, len)) => Ok(Arc::new(Chunks::of_base(offset, len))),
                None => Err(FileError::NotAFile),
            },
        }
    }

    pub fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        match self.nodes.get(&inode) {
            Some(Node { body: Body::File(content), .. }) => Ok(content.read_at(&self.base, offset, buffer)?),
            Some(_) => Err(FileError::NotAFile),
            None => {
                let (start, len) = self.base.extent(inode).ok_or(FileError::NotAFile)?;
                let left = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
                let bytes = self.base.bytes(start.saturating_add(offset), left);
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    /// The private node of `inode`, made if it is still the base layer's.
    pub fn node_mut(&mut self, inode: Inode) -> Result<&mut Node, FileError> {
        if !self.nodes.contains_key(&inode) {
            let body = match self.base.kind(inode).ok_or(FileError::NotFound)? {
                Kind::Directory => Body::Directory(BTreeMap::new()),
                Kind::File => Body::File(self.content(inode)?),
                Kind::Link => Body::Link(self.base.link_target(inode).unwrap_or_default().into()),
                Kind::Device => return Err(FileError::ReadOnly),
            };
            let times = self.base.times(inode).ok_or(FileError::NotFound)?;
            let parent = self.parent(inode);
            self.nodes.insert(inode, Node { body, parent, links: 1, times, changed: 0 });
        }
        self.nodes.get_mut(&inode).ok_or(FileError::NotFound)
    }

    /// Writes all of `bytes`, or nothing when they would pass a quota. Returns the offset after them.
    pub fn write_at(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> Result<u64, FileError> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(self.file_quota())?;
        if bytes.is_empty() {
            return Ok(offset);
        }
        let after = self.stat(inode)?.size.max(end);
        self.check_growth(inode, after)?;
        self.change_content(inode, |content, base, spill| content.write_at(base, spill, offset, bytes))?;
        Ok(end)
    }

    pub fn set_len(&mut self, inode: Inode, len: u64) -> Result<(), FileError> {
        self.check_growth(inode, len)?;
        self.change_content(inode, |content, _, _| {
            content.set_len(len);
            Ok(())
        })
    }

    /// Whether a file may become `after` bytes long by a change of its content.
    fn check_growth(&self, inode: Inode, after: u64) -> Result<(), FileError> {
        let (now, charged) = match self.nodes.get(&inode) {
            Some(node @ Node { body: Body::File(content), .. }) => (content.len(), node.charged_bytes()),
            Some(_) => return Err(FileError::NotAFile),
            None => (self.base.extent(inode).ok_or(FileError::NotAFile)?.1, 0),
        };
        if after > now && after > self.limits.file_bytes {
            return Err(self.file_quota());
        }
        // A file of the base layer is charged whole at its first change.
        self.check_bytes(after.saturating_sub(charged))
    }

    pub fn file_quota(&self) -> FileError {
        FileError::QuotaFileBytes { limit: self.limits.file_bytes }
    }

    /// Whether `more` bytes fit.
    pub fn check_bytes(&self, more: u64) -> Result<(), FileError> {
        match self.used.bytes.checked_add(more) {
            Some(sum) if sum <= self.limits.total_bytes => Ok(()),
            _ if more == 0 => Ok(()),
            _ => Err(FileError::QuotaBytes { limit: self.limits.total_bytes }),
        }
    }

    /// Runs `change` on a file's content and books what it then costs, also when it failed half-way.
    fn change_content(
        &mut self,
        inode: Inode,
        change: impl FnOnce(&mut Chunks, &BaseLayer, &mut Spill) -> std::io::Result<()>,
    ) -> Result<(), FileError> {
        self.generation += 1;
        let generation = self.generation;
        self.node_mut(inode)?;
        let Some(node) = self.nodes.get_mut(&inode) else {
            return Err(FileError::NotFound);
        };
        let before = node.charged_bytes();
        let Body::File(content) = &mut node.body else {
            return Err(FileError::NotAFile);
        };
        let result = change(Arc::make_mut(content), &self.base, &mut self.spill);
        let now = now();
        node.times.modified = now;
        node.times.changed = now;
        node.changed = generation;
        self.used.bytes = self.used.bytes - before + node.charged_bytes();
        Ok(result?)
    }

    /// A new inode with no name yet. `parent` matters for directories only.
    pub fn add_node(&mut self, body: Body, parent: Inode) -> Inode {
        self.last_inode += 1;
        self.generation += 1;
        let inode = Inode(self.last_inode);
        let node = Node { body, parent, links: 0, times: Times::all(now()), changed: self.generation };
        self.used.bytes += node.charged_bytes();
        self.nodes.insert(inode, node);
        inode
    }

    /// Whether one more entry of that name fits in `directory`. Replacing an entry of its own costs nothing more.
    pub fn check_count(&self, directory: Inode, name: &str) -> Result<(), FileError> {
        let replaces =
            matches!(self.changes(directory).and_then(|changes| changes.get(name)), Some(Change::Present { .. }));
        if replaces || self.used.count < self.limits.count {
            Ok(())
        } else {
            Err(FileError::QuotaCount { limit: self.limits.count })
        }
    }

    /// Names `inode`. The name must not be taken; the quota has been asked.
    pub fn link(&mut self, directory: Inode, name: &str, inode: Inode) -> Result<(), FileError> {
        self.last_entry += 1;
        self.generation += 1;
        let (serial, generation, now) = (self.last_entry, self.generation, now());
        let node = self.node_mut(inode)?;
        node.links += 1;
        node.changed = generation;
        node.times.changed = now;
        if matches!(node.body, Body::Directory(_)) {
            node.parent = directory;
        }
        let holder = self.node_mut(directory)?;
        holder.touch(now);
        let Body::Directory(changes) = &mut holder.body else {
            return Err(FileError::NotADirectory);
        };
        changes.insert(name.into(), Change::Present { inode, serial });
        self.used.count += 1;
        Ok(())
    }

    /// Takes a name away, and the inode with it when that was its last and nobody has it open.
    pub fn unlink(&mut self, directory: Inode, name: &str) -> Result<(), FileError> {
        let inode = self.child(directory, name).ok_or(FileError::NotFound)?;
        self.generation += 1;
        let in_base = self.base.child(directory, name).is_some();
        let now = now();
        let holder = self.node_mut(directory)?;
        holder.touch(now);
        let Body::Directory(changes) = &mut holder.body else {
            return Err(FileError::NotADirectory);
        };
        let before = if in_base { changes.insert(name.into(), Change::Gone) } else { changes.remove(name) };
        if matches!(before, Some(Change::Present { .. })) {
            self.used.count -= 1;
        }
        let node = self.node_mut(inode)?;
        node.links = node.links.saturating_sub(1);
        node.times.changed = now;
        self.forget_unused(inode);
        Ok(())
    }

    pub fn opened(&mut self, inode: Inode) {
        if self.is_writable(inode) {
            *self.open.entry(inode).or_default() += 1;
        }
    }

    pub fn closed(&mut self, inode: Inode) {
        if let Some(count) = self.open.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&inode);
                self.forget_unused(inode);
            }
        }
    }

    pub fn close_all(&mut self) {
        for inode in std::mem::take(&mut self.open).into_keys() {
            self.forget_unused(inode);
        }
    }

    /// Whether a directory still has a name.
    pub fn is_linked(&self, inode: Inode) -> bool {
        self.nodes.get(&inode).is_none_or(|node| node.links > 0)
    }

    fn forget_unused(&mut self, inode: Inode) {
        if !self.is_linked(inode)
            && !self.open.contains_key(&inode)
            && let Some(node) = self.nodes.remove(&inode)
        {
            let charged = if inode.0 > self.base.last_inode() || matches!(node.body, Body::File(_)) {
                node.charged_bytes()
            } else {
                0
            };
            self.used.bytes -= charged;
        }
    }
}

impl Node {
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::File(_) => Kind::File,
            Body::Directory(_) => Kind::Directory,
            Body::Link(_) => Kind::Link,
        }
    }

    fn size(&self) -> u64 {
        match &self.body {
            Body::File(content) => content.len(),
            Body::Directory(_) => 0,
            Body::Link(target) => target.len() as u64,
        }
    }

    /// What it costs of the byte quota. A link's target is memory like any other.
    pub fn charged_bytes(&self) -> u64 {
        match &self.body {
            Body::File(content) if content.is_pristine() => 0,
            Body::File(content) => content.len(),
            Body::Directory(_) => 0,
            Body::Link(target) => target.len() as u64,
        }
    }

    fn touch(&mut self, now: u64) {
        self.times.modified = now;
        self.times.changed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untouched_layer_is_small() {
        assert!(size_of::<Layer>() <= 256, "{}", size_of::<Layer>());
    }
}
