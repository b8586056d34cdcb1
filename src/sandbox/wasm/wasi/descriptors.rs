//! The descriptor table: plain values only (inode, offset, flags), so that a session with open files can be captured by
//! copying it. New descriptors get the lowest free number from 4 on, in images and sessions alike.

use std::collections::BTreeMap;

use super::errno::Errno;
use crate::files::{Inode, Kind};

/// Open files and directories of one session, the standard streams included; as on Linux by default.
pub const MAX_DESCRIPTORS: usize = 1024;
/// The one preopened directory, `/`.
pub const PREOPEN: u32 = 3;

pub const FLAG_APPEND: u16 = 1;
pub const FLAG_NONBLOCK: u16 = 4;

/// One descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// Always at its end.
    Stdin,
    Stdout,
    Stderr,
    Open(Open),
}

/// An open file, directory or device of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub inode: Inode,
    pub kind: Kind,
    /// Where the next read or write happens.
    pub offset: u64,
    pub readable: bool,
    pub writable: bool,
    /// WASI's `fdflags`; only append has an effect.
    pub flags: u16,
    /// The preopened root, which tells its name.
    pub preopen: bool,
}

/// All descriptors of a session. The first four are kept apart, so that a fresh table allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptors {
    first: [Option<Descriptor>; 4],
    more: BTreeMap<u32, Descriptor>,
}

impl Default for Descriptors {
    fn default() -> Self {
        let root = Open {
            inode: Inode::ROOT,
            kind: Kind::Directory,
            offset: 0,
            readable: true,
            writable: false,
            flags: 0,
            preopen: true,
        };
        let first = [Descriptor::Stdin, Descriptor::Stdout, Descriptor::Stderr, Descriptor::Open(root)];
        Self { first: first.map(Some), more: BTreeMap::new() }
    }
}

impl Descriptors {
    pub fn get(&self, fd: u32) -> Result<Descriptor, Errno> {
        let found = match self.first.get(fd as usize) {
            Some(descriptor) => descriptor.as_ref(),
            None => self.more.get(&fd),
        };
        found.copied().ok_or(Errno::Badf)
    }

    /// A file, directory or device of the tree.
    pub fn open(&self, fd: u32) -> Result<Open, Errno> {
        match self.get(fd)? {
            Descriptor::Open(open) => Ok(open),
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::Badf),
        }
    }

    /// A file or device.
    pub fn file(&self, fd: u32) -> Result<Open, Errno> {
        self.open(fd).and_then(|open| if open.kind == Kind::Directory { Err(Errno::Badf) } else { Ok(open) })
    }

    /// A file or device, where the standard streams are ESPIPE.
    pub fn seekable(&self, fd: u32) -> Result<Open, Errno> {
        match self.get(fd)? {
            Descriptor::Open(_) => self.file(fd),
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::Spipe),
        }
    }

    /// The inode of a directory that a path starts at.
    pub fn directory(&self, fd: u32) -> Result<Inode, Errno> {
        match self.get(fd)? {
            Descriptor::Open(open) if open.kind == Kind::Directory => Ok(open.inode),
            Descriptor::Open(_) => Err(Errno::Notdir),
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::Badf),
        }
    }

    /// Changes what is open at `fd`; nothing when nothing is.
    pub fn update(&mut self, fd: u32, change: impl FnOnce(&mut Open)) {
        let found = match self.first.get_mut(fd as usize) {
            Some(descriptor) => descriptor.as_mut(),
            None => self.more.get_mut(&fd),
        };
        if let Some(Descriptor::Open(open)) = found {
            change(open);
        }
    }

    /// Whether one more fits.
    pub fn check_room(&self) -> Result<(), Errno> {
        let count = self.first.iter().flatten().count() + self.more.len();
        if count < MAX_DESCRIPTORS { Ok(()) } else { Err(Errno::Mfile) }
    }

    /// Gives `open` the lowest free number from 4 on. Numbers below stay what they mean even when they are closed.
    pub fn add(&mut self, open: Open) -> Result<u32, Errno> {
        self.check_room()?;
        let taken = self.more.keys().zip(PREOPEN + 1..).take_while(|(fd, expected)| *fd == expected).count();
        let fd = PREOPEN + 1 + taken as u32;
        self.more.insert(fd, Descriptor::Open(open));
        Ok(fd)
    }

    pub fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let found = match self.first.get_mut(fd as usize) {
            Some(descriptor) => descriptor.take(),
            None => self.more.remove(&fd),
        };
        found.ok_or(Errno::Badf)
    }

    /// Moves `from` to `to`, which must be in use, and returns what was there; None when both are the same.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(from)?;
        self.get(to)?;
        if from == to {
            return Ok(None);
        }
        let moved = self.remove(from)?;
        let replaced = match self.first.get_mut(to as usize) {
            Some(descriptor) => descriptor.replace(moved),
            None => self.more.insert(to, moved),
        };
        Ok(replaced)
    }

    /// A table with nothing open, to [`put`](Self::put) into.
    pub fn none() -> Self {
        Self { first: [None; 4], more: BTreeMap::new() }
    }

    /// Opens `descriptor` at `fd`, as it stood in a table that was written down. False when no table can have it there.
    pub fn put(&mut self, fd: u32, descriptor: Descriptor) -> bool {
        if fd as usize >= MAX_DESCRIPTORS + self.first.len() || self.get(fd).is_ok() || self.check_room().is_err() {
            return false;
        }
        match self.first.get_mut(fd as usize) {
            Some(place) => *place = Some(descriptor),
            None => drop(self.more.insert(fd, descriptor)),
        }
        true
    }

    /// Every descriptor and its number, in order: what a snapshot of the session writes down.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Descriptor)> {
        let first = (0..).zip(self.first).filter_map(|(fd, descriptor)| descriptor.map(|descriptor| (fd, descriptor)));
        first.chain(self.more.iter().map(|(fd, descriptor)| (*fd, *descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Open {
        let inode = Inode(inode);
        Open { inode, kind: Kind::File, offset: 0, readable: true, writable: true, flags: 0, preopen: false }
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let mut table = Descriptors::default();
        assert_eq!([table.add(file(1)), table.add(file(2)), table.add(file(3))], [Ok(4), Ok(5), Ok(6)]);
        table.remove(5).unwrap();
        assert_eq!(table.add(file(4)), Ok(5));
        table.remove(0).unwrap();
        assert_eq!(table.add(file(5)), Ok(7), "0 to 3 are never given anew");
    }

    #[test]
    fn a_full_table_is_emfile() {
        let mut table = Descriptors::default();
        for _ in 4..MAX_DESCRIPTORS {
            table.add(file(1)).unwrap();
        }
        assert_eq!(table.add(file(1)), Err(Errno::Mfile));
        table.remove(100).unwrap();
        assert_eq!(table.add(file(1)), Ok(100));
    }

    #[test]
    fn renumbering_replaces_and_leaks_nothing() {
        let mut table = Descriptors::default();
        let (a, b) = (table.add(file(1)).unwrap(), table.add(file(2)).unwrap());
        assert_eq!(table.renumber(a, a), Ok(None));
        assert_eq!(table.renumber(a, 9), Err(Errno::Badf));
        assert_eq!(table.renumber(9, a), Err(Errno::Badf));
        assert_eq!(table.renumber(a, b), Ok(Some(Descriptor::Open(file(2)))));
        assert_eq!(table.open(b), Ok(file(1)));
        assert_eq!(table.get(a), Err(Errno::Badf));
        assert_eq!(table.renumber(b, 1), Ok(Some(Descriptor::Stdout)));
        assert_eq!(table.open(1), Ok(file(1)));
    }
}
