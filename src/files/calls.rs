//! What a guest does with its files, with the rules of Linux. Descriptors are not known here: a caller that keeps an
//! inode between calls says so with [`Tree::open`] and [`Tree::close`].

use std::collections::BTreeMap;

use super::base::Device;
use super::entry::{Inode, Kind, Stat, now};
use super::layer::{Body, Change, Layer};
use super::path::{MAX_NAME_BYTES, MAX_PATH_BYTES};
use super::resolve::{Follow, Last, Place};
use super::{FileError, Tree};

/// How to open, as in `open(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    pub write: bool,
    pub create: bool,
    pub exclusive: bool,
    pub truncate: bool,
    /// Only a directory will do.
    pub directory: bool,
    /// Follow a link in the last place.
    pub follow: bool,
}

/// Where to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    At(u64),
    End,
}

/// What to do with a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    Keep,
    Now,
    /// Nanoseconds since 1970.
    To(u64),
}

/// One entry of a directory, as [`Tree::read_directory`] shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    pub name: &'a str,
    pub inode: Inode,
    pub kind: Kind,
    /// Pass it to go on after this entry.
    pub cookie: u64,
}

/// The most of one read from `/dev/urandom`, a few milliseconds' worth; more is a short read.
const MAX_RANDOM_BYTES: usize = 1 << 20;

const AFTER_DOT: u64 = 1;
const AFTER_DOT_DOT: u64 = 2;
/// Set in the cookies of entries that the session made; the others are numbers of base inodes.
const OWN: u64 = 1 << 63;

impl Tree {
    /// Opens what is at `path`, seen from the directory `at`. To be given back with [`Tree::close`].
    pub fn open(&self, at: Inode, path: &str, options: OpenOptions) -> Result<(Inode, Kind), FileError> {
        let mut layer = self.lock();
        let inode = layer.open_place(at, path, options)?;
        layer.opened(inode);
        Ok((inode, layer.kind(inode)?))
    }

    /// Says that `inode` is open once more.
    pub fn reopen(&self, inode: Inode) {
        self.lock().opened(inode);
    }

    /// Says that `inode` is open once less; content without a name goes with its last.
    pub fn close(&self, inode: Inode) {
        self.lock().closed(inode);
    }

    /// Fills as much of `buffer` as there is from `offset`.
    pub fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let layer = self.lock();
        match layer.device(inode) {
            None => layer.read_at(inode, offset, buffer),
            Some(Device::Null) => Ok(0),
            Some(Device::Zero) => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            Some(Device::Random) => {
                drop(layer);
                let len = buffer.len().min(MAX_RANDOM_BYTES);
                super::entry::fill_random(&mut buffer[..len])?;
                Ok(len)
            }
        }
    }

    /// Writes all of `bytes` or nothing; returns the offset after them.
    pub fn write_at(&self, inode: Inode, position: Position, bytes: &[u8]) -> Result<u64, FileError> {
        let mut layer = self.lock();
        if layer.device(inode).is_some() {
            return Ok(0);
        }
        layer.check_writable(inode)?;
        let offset = match position {
            Position::At(offset) => offset,
            Position::End => layer.stat(inode)?.size,
        };
        layer.write_at(inode, offset, bytes)
    }

    /// Cuts a file or fills it up with zeros.
    pub fn set_size(&self, inode: Inode, size: u64) -> Result<(), FileError> {
        let mut layer = self.lock();
        if layer.device(inode).is_some() {
            return Err(FileError::InvalidArgument);
        }
        layer.check_writable(inode)?;
        layer.set_len(inode, size)
    }

    /// Makes a file at least `size` bytes long.
    pub fn allocate(&self, inode: Inode, size: u64) -> Result<(), FileError> {
        let mut layer = self.lock();
        layer.check_writable(inode)?;
        if layer.kind(inode)? != Kind::File {
            return Err(FileError::InvalidArgument);
        }
        let now = layer.stat(inode)?.size;
        if size > now { layer.set_len(inode, size) } else { Ok(()) }
    }

    pub fn stat(&self, inode: Inode) -> Result<Stat, FileError> {
        self.lock().stat(inode)
    }

    pub fn stat_at(&self, at: Inode, path: &str, follow: bool) -> Result<Stat, FileError> {
        let layer = self.lock();
        let inode = layer.existing(&layer.resolve(at, path, Follow::unless_link_itself(follow))?)?;
        layer.stat(inode)
    }

    pub fn set_times(&self, inode: Inode, accessed: SetTime, modified: SetTime) -> Result<(), FileError> {
        self.lock().set_times(inode, accessed, modified)
    }

    pub fn set_times_at(
        &self,
        at: Inode,
        path: &str,
        follow: bool,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<(), FileError> {
        let mut layer = self.lock();
        let inode = layer.existing(&layer.resolve(at, path, Follow::unless_link_itself(follow))?)?;
        layer.set_times(inode, accessed, modified)
    }

    pub fn create_directory(&self, at: Inode, path: &str) -> Result<(), FileError> {
        let mut layer = self.lock();
        let place = layer.resolve(at, path, Follow::No)?;
        if place.found.is_some() {
            return Err(FileError::AlreadyExists);
        }
        let name = place.name().ok_or(FileError::AlreadyExists)?;
        layer.make_directory_at(place.parent, name).map(drop)
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, at: Inode, path: &str) -> Result<(), FileError> {
        self.lock().remove_directory(at, path)
    }

    /// Removes a file or link.
    pub fn unlink(&self, at: Inode, path: &str) -> Result<(), FileError> {
        self.lock().unlink_file(at, path)
    }

    pub fn rename(&self, from_at: Inode, from: &str, to_at: Inode, to: &str) -> Result<(), FileError> {
        self.lock().rename(from_at, from, to_at, to)
    }

    /// Gives a file or link a second name.
    pub fn link(&self, from_at: Inode, from: &str, follow: bool, to_at: Inode, to: &str) -> Result<(), FileError> {
        let mut layer = self.lock();
        let inode = layer.existing(&layer.resolve(from_at, from, Follow::unless_link_itself(follow))?)?;
        let to = layer.resolve(to_at, to, Follow::No)?;
        if to.found.is_some() {
            return Err(FileError::AlreadyExists);
        }
        let name = to.name().ok_or(FileError::AlreadyExists)?;
        if to.slash {
            return Err(FileError::NotFound);
        }
        if layer.kind(inode)? == Kind::Directory {
            return Err(FileError::NotPermitted);
        }
        layer.check_new_entry(to.parent, name)?;
        if !layer.is_writable(inode) {
            return Err(FileError::CrossesLayers);
        }
        if !layer.is_linked(inode) {
            return Err(FileError::NotFound);
        }
        layer.link(to.parent, name, inode)
    }

    /// Makes a link that holds `target`, which need not lead anywhere.
    pub fn symlink(&self, target: &str, at: Inode, path: &str) -> Result<(), FileError> {
        super::resolve::check_text(target)?;
        if target.len() >= MAX_PATH_BYTES {
            return Err(FileError::NameTooLong);
        }
        let mut layer = self.lock();
        let place = layer.resolve(at, path, Follow::No)?;
        if place.found.is_some() {
            return Err(FileError::AlreadyExists);
        }
        let name = place.name().ok_or(FileError::AlreadyExists)?;
        if place.slash {
            return Err(FileError::NotFound);
        }
        layer.check_new_entry(place.parent, name)?;
        layer.check_bytes(target.len() as u64)?;
        let inode = layer.add_node(Body::Link(target.into()), place.parent);
        layer.link(place.parent, name, inode)
    }

    pub fn read_link(&self, at: Inode, path: &str) -> Result<String, FileError> {
        let layer = self.lock();
        let inode = layer.existing(&layer.resolve(at, path, Follow::IfSlash)?)?;
        layer.link_target(inode).map(str::to_owned).ok_or(FileError::InvalidArgument)
    }

    /// Shows the entries of a directory after `cookie` (0: from the start) to `visit`, until it returns false. Entries
    /// made meanwhile may be missed; one that is there all the time is seen exactly once.
    pub fn read_directory(
        &self,
        inode: Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> Result<(), FileError> {
        let layer = self.lock();
        if layer.kind(inode)? != Kind::Directory {
            return Err(FileError::NotADirectory);
        }
        layer.visit_entries(inode, cookie, visit);
        Ok(())
    }
}

impl Layer {
    /// What a path leads to; a path with a slash at its end must lead to a directory.
    fn existing(&self, place: &Place) -> Result<Inode, FileError> {
        let inode = place.found.ok_or(FileError::NotFound)?;
        if place.slash && self.kind(inode)? != Kind::Directory {
            return Err(FileError::NotADirectory);
        }
        Ok(inode)
    }

    fn open_place(&mut self, at: Inode, path: &str, options: OpenOptions) -> Result<Inode, FileError> {
        let follow = options.follow && !(options.create && options.exclusive);
        let place = self.resolve(at, path, Follow::unless_link_itself(follow))?;
        if options.create && place.slash {
            return Err(FileError::NotAFile);
        }
        let Some(inode) = place.found else {
            if !options.create {
                return Err(FileError::NotFound);
            }
            let name = place.name().ok_or(FileError::NotAFile)?;
            self.check_new_entry(place.parent, name)?;
            let inode = self.add_node(Body::File(Default::default()), place.parent);
            self.link(place.parent, name, inode)?;
            return Ok(inode);
        };
        if options.create && options.exclusive {
            return Err(FileError::AlreadyExists);
        }
        match self.kind(inode)? {
            Kind::Directory if options.create || options.write || options.truncate => Err(FileError::NotAFile),
            Kind::Directory => Ok(inode),
            _ if options.directory || place.slash => Err(FileError::NotADirectory),
            Kind::Link => Err(FileError::TooManyLinks),
            Kind::Device => Ok(inode),
            Kind::File => {
                if options.write || options.truncate {
                    self.check_writable(inode)?;
                }
                if options.truncate {
                    self.set_len(inode, 0)?;
                }
                Ok(inode)
            }
        }
    }

    /// Whether a name may be added to a directory.
    fn check_new_entry(&self, directory: Inode, name: &str) -> Result<(), FileError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(FileError::NameTooLong);
        }
        self.check_writable(directory)?;
        if !self.is_linked(directory) {
            return Err(FileError::NotFound);
        }
        self.check_count(directory, name)
    }

    pub(super) fn make_directory_at(&mut self, parent: Inode, name: &str) -> Result<Inode, FileError> {
        self.check_new_entry(parent, name)?;
        let inode = self.add_node(Body::Directory(BTreeMap::new()), parent);
        self.link(parent, name, inode)?;
        Ok(inode)
    }

    pub(super) fn remove_directory(&mut self, at: Inode, path: &str) -> Result<(), FileError> {
        let place = self.resolve(at, path, Follow::No)?;
        let inode = place.found.ok_or(FileError::NotFound)?;
        let name = match &place.last {
            Last::Name(name) => name,
            Last::Dot => return Err(FileError::InvalidArgument),
            Last::DotDot => return Err(FileError::DirectoryNotEmpty),
        };
        if self.kind(inode)? != Kind::Directory {
            return Err(FileError::NotADirectory);
        }
        self.check_writable(place.parent)?;
        self.check_unpinned(inode)?;
        if !self.is_empty(inode) {
            return Err(FileError::DirectoryNotEmpty);
        }
        self.unlink(place.parent, name)
    }

    pub(super) fn unlink_file(&mut self, at: Inode, path: &str) -> Result<(), FileError> {
        let place = self.resolve(at, path, Follow::No)?;
        let inode = place.found.ok_or(FileError::NotFound)?;
        if self.kind(inode)? == Kind::Directory {
            return Err(FileError::NotAFile);
        }
        if place.slash {
            return Err(FileError::NotADirectory);
        }
        let name = place.name().ok_or(FileError::NotAFile)?;
        self.check_writable(place.parent)?;
        self.unlink(place.parent, name)
    }

    fn check_unpinned(&self, inode: Inode) -> Result<(), FileError> {
        if self.base.is_pinned(inode) { Err(FileError::Busy) } else { Ok(()) }
    }

    fn rename(&mut self, from_at: Inode, from: &str, to_at: Inode, to: &str) -> Result<(), FileError> {
        let from = self.resolve(from_at, from, Follow::No)?;
        let to = self.resolve(to_at, to, Follow::No)?;
        let (Some(from_name), Some(to_name)) = (from.name(), to.name()) else {
            return Err(FileError::Busy);
        };
        let inode = from.found.ok_or(FileError::NotFound)?;
        let is_directory = self.kind(inode)? == Kind::Directory;
        if !is_directory && (from.slash || to.slash) {
            return Err(FileError::NotADirectory);
        }
        if is_directory && self.is_below(to.parent, inode) {
            return Err(FileError::InvalidArgument);
        }
        if let Some(replaced) = to.found
            && self.kind(replaced)? == Kind::Directory
            && self.is_below(from.parent, replaced)
        {
            return Err(FileError::DirectoryNotEmpty);
        }
        self.check_writable(from.parent)?;
        self.check_writable(to.parent)?;
        self.check_unpinned(inode)?;
        if to.found == Some(inode) {
            return Ok(());
        }
        if let Some(replaced) = to.found {
            self.check_unpinned(replaced)?;
            match (is_directory, self.kind(replaced)? == Kind::Directory) {
                (true, false) => return Err(FileError::NotADirectory),
                (false, true) => return Err(FileError::NotAFile),
                (true, true) if !self.is_empty(replaced) => {
                    return Err(FileError::DirectoryNotEmpty);
                }
                _ => {}
            }
        }
        if !self.is_linked(to.parent) {
            return Err(FileError::NotFound);
        }
        // An entry of the session's own makes room for the new one.
        let moves_own = matches!(
            self.changes(from.parent).and_then(|changes| changes.get(from_name)),
            Some(Change::Present { .. })
        );
        if !moves_own {
            self.check_count(to.parent, to_name)?;
        }
        if to.found.is_some() {
            self.unlink(to.parent, to_name)?;
        }
        // Named anew before the old name goes, so that the inode never is without one.
        self.link(to.parent, to_name, inode)?;
        self.unlink(from.parent, from_name)
    }

    fn set_times(&mut self, inode: Inode, accessed: SetTime, modified: SetTime) -> Result<(), FileError> {
        if self.kind(inode)? == Kind::Device {
            return Err(FileError::NotPermitted);
        }
        self.check_writable(inode)?;
        let now = now();
        self.generation += 1;
        let times = &mut self.node_mut(inode)?.times;
        for (time, set) in [(&mut times.accessed, accessed), (&mut times.modified, modified)] {
            match set {
                SetTime::Keep => continue,
                SetTime::Now => *time = now,
                SetTime::To(moment) => *time = moment,
            }
            times.changed = now;
        }
        Ok(())
    }

    /// The session's own entries come newest first: one that is renamed during a listing is not seen again and again.
    fn visit_entries(&self, directory: Inode, cookie: u64, visit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool) {
        let head = [(".", directory, AFTER_DOT), ("..", self.parent(directory), AFTER_DOT_DOT)];
        for (name, inode, after) in head {
            if cookie < after && !visit(DirectoryEntry { name, inode, kind: Kind::Directory, cookie: after }) {
                return;
            }
        }
        if cookie <= AFTER_DOT_DOT || cookie & OWN != 0 {
            let before = if cookie & OWN != 0 { cookie & !OWN } else { u64::MAX };
            let own = self.changes(directory).into_iter().flatten();
            let mut own: Vec<_> = own
                .filter_map(|(name, change)| match change {
                    Change::Present { inode, serial } if *serial < before => Some((*serial, *inode, &**name)),
                    _ => None,
                })
                .collect();
            own.sort_unstable_by_key(|(serial, ..)| std::cmp::Reverse(*serial));
            for (serial, inode, name) in own {
                if !self.visit_one(name, inode, serial | OWN, visit) {
                    return;
                }
            }
        }
        let after = if cookie & OWN != 0 { 0 } else { cookie.saturating_sub(AFTER_DOT_DOT) };
        for (inode, name) in self.base_children(directory).skip_while(|(inode, _)| inode.0 <= after) {
            if !self.visit_one(name, inode, AFTER_DOT_DOT + inode.0, visit) {
                return;
            }
        }
    }

    fn visit_one(
        &self,
        name: &str,
        inode: Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool,
    ) -> bool {
        match self.kind(inode) {
            Ok(kind) => visit(DirectoryEntry { name, inode, kind, cookie }),
            Err(_) => true,
        }
    }
}
