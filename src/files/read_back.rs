//! A tree out of the bytes that `written.rs` made, which may come from anywhere: whatever the rest of this room relies on is
//! checked here, and what follows from the rest (link counts, quotas) is counted anew instead of believed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::base::BaseLayer;
use super::blob::{BlobStore, Spill};
use super::chunks::{CHUNK_BYTES, Chunk, Chunks};
use super::entry::{Inode, Kind, Times};
use super::layer::{Body, Change, Layer, Node};
use super::path::{MAX_NAME_BYTES, MAX_PATH_BYTES};
use super::written::{BASE, DIRECTORY, FILE, LINK, PIECE, ZEROS};
use super::{FileUsage, Tree};
use crate::sandbox::limits::FileLimits;
use crate::wire::{Malformed, Reader};

/// Counters that grow by one with each change: no session comes near it, and none overflows from there.
const MAX_NUMBER: u64 = 1 << 62;

type Result<T, E = Malformed> = std::result::Result<T, E>;

impl Tree {
    /// Makes the tree that was written down, over the same base layer. `open` are the inodes that a guest has open, one for
    /// each descriptor; `fetch` gives a piece of content by its number.
    ///
    /// # Errors
    /// When the bytes are no tree, it does not fit in `limits`, or a piece cannot be had.
    pub fn read_back<E: From<Malformed> + From<io::Error>>(
        base: Arc<BaseLayer>,
        limits: FileLimits,
        blobs: BlobStore,
        bytes: &[u8],
        open: &[Inode],
        fetch: impl FnMut(u32) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut spill = Spill::new(blobs);
        let mut reader = Reader::new(bytes);
        let (last_inode, last_entry, generation) = (reader.u64()?, reader.u64()?, reader.u64()?);
        if [last_inode, last_entry, generation].iter().any(|number| *number > MAX_NUMBER)
            || last_inode < base.last_inode()
        {
            return Err(Malformed("a counter of the file tree is out of range").into());
        }
        let mut pieces =
            Pieces { spill: &mut spill, fetch, there: HashMap::new(), base: &base, left: limits.total_bytes };
        let count = reader.count(50)?;
        let mut nodes = BTreeMap::new();
        for _ in 0..count {
            let (inode, node) = pieces.node(&mut reader)?;
            if node.changed > generation || inode.0 > last_inode || nodes.insert(inode, node).is_some() {
                return Err(Malformed("a file has a number that it cannot have").into());
            }
        }
        reader.end()?;
        let plan = Plan { base: &base, nodes, last_entry };
        let (nodes, used) = plan.check(open, limits)?;
        let mut layer = Layer::from_parts(base, limits, spill, (generation, last_inode, last_entry));
        (layer.nodes, layer.used) = (nodes, used);
        open.iter().for_each(|inode| layer.opened(*inode));
        Ok(Self::from_layer(layer))
    }

    /// What is at `inode`, and whether the session may change it; None when nothing is.
    pub fn standing(&self, inode: Inode) -> Option<(Kind, bool)> {
        let layer = self.lock();
        Some((layer.kind(inode).ok()?, layer.is_writable(inode)))
    }
}

/// Content as it is read.
struct Pieces<'a, F> {
    spill: &'a mut Spill,
    fetch: F,
    /// Files may share pieces, in memory and on disk.
    there: HashMap<(u32, bool), Chunk>,
    base: &'a BaseLayer,
    /// Bytes of the quota: checked while content comes, so that no more is taken in than may stay.
    left: u64,
}

impl<E: From<Malformed> + From<io::Error>, F: FnMut(u32) -> Result<Vec<u8>, E>> Pieces<'_, F> {
    fn node(&mut self, reader: &mut Reader<'_>) -> Result<(Inode, Node), E> {
        let (inode, parent) = (Inode(reader.u64()?), Inode(reader.u64()?));
        let times = Times { accessed: reader.u64()?, modified: reader.u64()?, changed: reader.u64()? };
        let changed = reader.u64()?;
        let body = match reader.u8()? {
            FILE => Body::File(Arc::new(self.content(reader)?)),
            DIRECTORY => Body::Directory(changes(reader)?),
            LINK => Body::Link(target(reader)?.into()),
            _ => return Err(Malformed("a file is of no known kind").into()),
        };
        Ok((inode, Node { body, parent, links: 0, times, changed }))
    }

    fn content(&mut self, reader: &mut Reader<'_>) -> Result<Chunks, E> {
        let (len, pristine, count) = (reader.u64()?, reader.flag()?, reader.count(1)?);
        if count as u64 > len.div_ceil(CHUNK_BYTES as u64) {
            return Err(Malformed("a file has more content than its length").into());
        }
        let charged = if pristine { 0 } else { len };
        self.left = self.left.checked_sub(charged).ok_or(QUOTA)?;
        let to_disk = len > self.spill.threshold_bytes();
        let mut chunks = Vec::with_capacity(count);
        for number in 0..count as u64 {
            let room = (len - number * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64);
            let chunk = self.chunk(reader, to_disk)?;
            if chunk.own_bytes() > room || (pristine && !matches!(chunk, Chunk::Base { .. })) {
                return Err(Malformed("a piece of a file is longer than its place").into());
            }
            chunks.push(chunk);
        }
        Ok(Chunks::from_parts(len, chunks, pristine))
    }

    fn chunk(&mut self, reader: &mut Reader<'_>, to_disk: bool) -> Result<Chunk, E> {
        match reader.u8()? {
            ZEROS => Ok(Chunk::Zeros),
            BASE => {
                let (offset, len) = (reader.u64()?, reader.u32()?);
                if self.base.bytes(offset, len as usize).len() != len as usize {
                    return Err(Malformed("a file has content beyond the image's").into());
                }
                Ok(Chunk::Base { offset, len })
            }
            PIECE => {
                let number = reader.u32()?;
                if let Some(there) = self.there.get(&(number, to_disk)) {
                    return Ok(there.clone());
                }
                let bytes = (self.fetch)(number)?;
                let chunk = if to_disk { Chunk::to_disk(self.spill, &bytes)? } else { Chunk::Memory(Arc::new(bytes)) };
                self.there.insert((number, to_disk), chunk.clone());
                Ok(chunk)
            }
            _ => Err(Malformed("a piece of a file is of no known kind").into()),
        }
    }
}

const QUOTA: Malformed = Malformed("it has more files than this pool lets a session have");

fn changes(reader: &mut Reader<'_>) -> Result<BTreeMap<Box<str>, Change>> {
    let count = reader.count(3)?;
    let mut changes = BTreeMap::new();
    for _ in 0..count {
        let name = reader.text()?;
        if matches!(name, "" | "." | "..") || name.len() > MAX_NAME_BYTES || name.contains(['/', '\0']) {
            return Err(Malformed("a file has a name that no file can have"));
        }
        let change = if reader.flag()? {
            Change::Present { inode: Inode(reader.u64()?), serial: reader.u64()? }
        } else {
            Change::Gone
        };
        if changes.insert(name.into(), change).is_some() {
            return Err(Malformed("a folder has a name twice"));
        }
    }
    Ok(changes)
}

fn target<'a>(reader: &mut Reader<'a>) -> Result<&'a str> {
    let target = reader.text()?;
    if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains('\0') {
        return Err(Malformed("a link leads to something that is no path"));
    }
    Ok(target)
}

/// What the bytes say, before it is believed.
struct Plan<'a> {
    base: &'a BaseLayer,
    nodes: BTreeMap<Inode, Node>,
    last_entry: u64,
}

impl Plan<'_> {
    /// The nodes with their link counts, and what they use.
    fn check(mut self, open: &[Inode], limits: FileLimits) -> Result<(BTreeMap<Inode, Node>, FileUsage)> {
        for (inode, node) in &self.nodes {
            let own = inode.0 > self.base.last_inode();
            if !own && (self.base.kind(*inode) != Some(node.kind()) || !self.base.is_writable(*inode)) {
                return Err(Malformed("a file of the image is changed that no session can change"));
            }
        }
        let mut used = FileUsage { bytes: 0, count: self.count_names()? };
        let open: HashSet<Inode> = open.iter().copied().collect();
        // Nobody can reach it any more: as when its last descriptor is closed.
        self.nodes.retain(|inode, node| node.links > 0 || open.contains(inode) || *inode == Inode::ROOT);
        self.check_ancestors()?;
        for (inode, node) in &self.nodes {
            if inode.0 > self.base.last_inode() || matches!(node.body, Body::File(_)) {
                used.bytes = used.bytes.saturating_add(node.charged_bytes());
            }
        }
        if used.bytes > limits.total_bytes || used.count > limits.count {
            return Err(QUOTA);
        }
        Ok((self.nodes, used))
    }

    /// Gives each node the number of its names, and tells how many the session made.
    fn count_names(&mut self) -> Result<u64> {
        let mut names: Vec<(Inode, Inode)> = Vec::new();
        let mut hidden: HashSet<Inode> = HashSet::new();
        for (inode, node) in &self.nodes {
            let Body::Directory(changes) = &node.body else { continue };
            for (name, change) in changes {
                let below = self.base.child(*inode, name);
                match (change, below) {
                    (Change::Gone, None) => return Err(Malformed("a file is gone that was never there")),
                    (_, Some(below)) if self.base.is_pinned(below) => {
                        return Err(Malformed("a folder is gone that is always there"));
                    }
                    _ => {}
                }
                hidden.extend(below);
                if let Change::Present { inode: named, serial } = change {
                    if *serial > self.last_entry || !self.nodes.contains_key(named) {
                        return Err(Malformed("a name leads to no file"));
                    }
                    names.push((*inode, *named));
                }
            }
        }
        let count = names.len() as u64;
        let visible = self.nodes.keys().filter(|inode| !hidden.contains(inode));
        names.extend(visible.filter_map(|inode| Some((self.base.parent(*inode)?, *inode))));
        for (holder, named) in names {
            let node = self.nodes.get_mut(&named).expect("looked up above");
            let directory = node.kind() == Kind::Directory;
            if directory && (node.links > 0 || node.parent != holder) {
                return Err(Malformed("a folder is in two places"));
            }
            node.links = node.links.checked_add(1).ok_or(Malformed("a file has too many names"))?;
        }
        Ok(count)
    }

    /// Every folder lies below the root: whoever walks up must arrive.
    fn check_ancestors(&self) -> Result<()> {
        let mut arrived: HashSet<Inode> = HashSet::from([Inode::ROOT]);
        for (inode, node) in self.nodes.iter().filter(|(_, node)| node.kind() == Kind::Directory) {
            if node.links == 0 && *inode != Inode::ROOT && self.has_entries(*inode) {
                return Err(Malformed("a removed folder is not empty"));
            }
            let mut way = Vec::new();
            let mut at = *inode;
            let mut seen = HashSet::new();
            while !arrived.contains(&at) {
                if !seen.insert(at) {
                    return Err(Malformed("a folder lies in itself"));
                }
                way.push(at);
                at = self.parent(at)?;
            }
            arrived.extend(way);
        }
        Ok(())
    }

    fn parent(&self, inode: Inode) -> Result<Inode> {
        match self.nodes.get(&inode) {
            Some(node) if node.kind() == Kind::Directory => Ok(node.parent),
            Some(_) => Err(Malformed("a file has entries")),
            // A folder that was removed while it was open may lie in one that is gone.
            None => Ok(self.base.parent(inode).unwrap_or(Inode::ROOT)),
        }
    }

    fn has_entries(&self, inode: Inode) -> bool {
        let Some(Node { body: Body::Directory(changes), .. }) = self.nodes.get(&inode) else { return false };
        changes.values().any(|change| *change != Change::Gone)
            || self.base.children(inode).any(|(_, name)| !changes.contains_key(name))
    }
}
