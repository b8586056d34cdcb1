//! Layers become a folder. What is in an archive is not believed: no name leads out of the folder, links are never
//! followed out of it, devices are refused, and bytes and entries are counted as they come.
//!
//! Nothing else may change the folder meanwhile. No extended attribute is set.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::archive::{Extensions, Header, Kind, names};
use super::store::ImageLimits;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("its layer is damaged: {0}")]
    Archive(String),
    #[error("its layer holds the path {0:?}, which leads nowhere in an image")]
    Path(String),
    #[error("it has more than {limit} {what}")]
    Limit { what: &'static str, limit: u64 },
    #[error("its layer holds a device node ({0:?}), which sessions do not get")]
    Device(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for UnpackError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Unpacks the layers of one image, the lowest first.
pub struct Unpacker {
    root: OwnedFd,
    limits: ImageLimits,
    bytes: u64,
    entries: u64,
}

/// A place in the folder: a folder that exists, and a name in it.
struct Place {
    parent: OwnedFd,
    name: Vec<u8>,
}

impl Place {
    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }
}

const PARENT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

impl Unpacker {
    /// Into `root`, an empty folder.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn new(root: &Path, limits: ImageLimits) -> Result<Self, UnpackError> {
        let root = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))?;
        Ok(Self { root, limits, bytes: 0, entries: 0 })
    }

    /// Unpacks a layer (a plain tar archive) over those before.
    ///
    /// # Errors
    /// See [`UnpackError`]. The folder is of no use then.
    pub fn layer(&mut self, archive: impl Read) -> Result<(), UnpackError> {
        let mut archive = tar::Archive::new(archive);
        let mut extensions = Extensions::default();
        // What this layer put there: a mark that a folder is opaque hides only what lower layers have.
        let mut own = HashSet::new();
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(UnpackError::Limit { what: "entries", limit: self.limits.entries });
            }
            if extensions.read(&mut entry)? {
                continue;
            }
            let header = std::mem::take(&mut extensions).apply(entry.header())?;
            self.entry(&header, &mut entry, &mut own)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        content: &mut impl Read,
        own: &mut HashSet<Vec<Vec<u8>>>,
    ) -> Result<(), UnpackError> {
        let Some(last) = header.names.last() else {
            return match header.kind {
                Kind::Directory => self.dress(self.root.as_fd(), header),
                _ => Err(UnpackError::Path("/".into())),
            };
        };
        if let Some(hidden) = last.strip_prefix(b".wh.") {
            return self.white_out(&header.names, hidden, own);
        }
        if header.kind == Kind::Device {
            return Err(UnpackError::Device(shown(&header.names)));
        }
        for depth in 1..=header.names.len() {
            own.insert(header.names[..depth].to_vec());
        }
        let place = self.place(&header.names)?;
        match header.kind {
            Kind::Directory => self.directory(&place, header),
            Kind::File => self.file(&place, header, content),
            Kind::Symlink => {
                self.clear(&place)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&header.link), &place.parent, place.name())?;
                Ok(rustix::fs::chownat(
                    &place.parent,
                    place.name(),
                    owner(header),
                    group(header),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            Kind::HardLink => self.hard_link(&place, header),
            Kind::Pipe => {
                self.clear(&place)?;
                let mode = Mode::from_raw_mode(header.mode & 0o777);
                rustix::fs::mknodat(&place.parent, place.name(), FileType::Fifo, mode, 0)?;
                Ok(rustix::fs::chownat(
                    &place.parent,
                    place.name(),
                    owner(header),
                    group(header),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            Kind::Device => unreachable!("refused above"),
        }
    }

    /// `.wh.NAME` takes NAME away; `.wh..wh..opq` takes away all that lower layers have in its folder. Other marks that
    /// begin so are aufs's own.
    fn white_out(&self, names: &[Vec<u8>], hidden: &[u8], own: &HashSet<Vec<Vec<u8>>>) -> Result<(), UnpackError> {
        let folder = &names[..names.len() - 1];
        if hidden == b".wh..opq" {
            let Some(opened) = self.find_folder(folder)? else { return Ok(()) };
            for name in children(opened.as_fd())? {
                let path = [folder, std::slice::from_ref(&name)].concat();
                if !own.contains(&path) {
                    remove(opened.as_fd(), OsStr::from_bytes(&name))?;
                }
            }
            return Ok(());
        }
        if hidden.starts_with(b".wh.") {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Path(shown(names)));
        }
        let Some(opened) = self.find_folder(folder)? else { return Ok(()) };
        remove(opened.as_fd(), OsStr::from_bytes(hidden))
    }

    fn directory(&self, place: &Place, header: &Header) -> Result<(), UnpackError> {
        let there = rustix::fs::statat(&place.parent, place.name(), AtFlags::SYMLINK_NOFOLLOW);
        if !there.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
            self.clear(place)?;
            rustix::fs::mkdirat(&place.parent, place.name(), Mode::from_raw_mode(0o700))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&place.parent, place.name(), flags, Mode::empty())?;
        self.dress(opened.as_fd(), header)
    }

    fn file(&mut self, place: &Place, header: &Header, content: &mut impl Read) -> Result<(), UnpackError> {
        self.clear(place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.parent, place.name(), flags, Mode::from_raw_mode(0o600))?;
        let mut file = std::fs::File::from(file);
        let mut buffer = vec![0; 64 * 1024];
        let mut left = header.size;
        while left > 0 {
            let read = content.read(&mut buffer)?;
            if read == 0 {
                return Err(UnpackError::Archive("it ends within a file".into()));
            }
            left = left.saturating_sub(read as u64);
            self.bytes += read as u64;
            if self.bytes > self.limits.bytes {
                return Err(UnpackError::Limit { what: "bytes", limit: self.limits.bytes });
            }
            file.write_all(&buffer[..read])?;
        }
        self.dress(file.as_fd(), header)
    }

    fn hard_link(&self, place: &Place, header: &Header) -> Result<(), UnpackError> {
        let target = names(&header.link)?;
        let nowhere = || UnpackError::Path(shown(&target));
        let (name, folder) = target.split_last().ok_or_else(nowhere)?;
        let folder = self.find_folder(folder)?.ok_or_else(nowhere)?;
        let name = OsStr::from_bytes(name);
        let there = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| nowhere())?;
        if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
            return Err(nowhere());
        }
        // A link to itself must not take itself away.
        let here = rustix::fs::statat(&place.parent, place.name(), AtFlags::SYMLINK_NOFOLLOW);
        if here.is_ok_and(|here| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)) {
            return Ok(());
        }
        self.clear(place)?;
        // Without SYMLINK_FOLLOW: a link to a symbolic link is a link to the link.
        Ok(rustix::fs::linkat(folder, name, &place.parent, place.name(), AtFlags::empty())?)
    }

    /// Owner, then mode (changing the owner clears mode bits), then time.
    fn dress(&self, file: impl AsFd, header: &Header) -> Result<(), UnpackError> {
        rustix::fs::fchown(&file, owner(header), group(header))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(header.mode))?;
        let modified = Timespec { tv_sec: header.modified, tv_nsec: 0 };
        rustix::fs::futimens(&file, &Timestamps { last_access: modified, last_modification: modified })?;
        Ok(())
    }

    /// Takes away what is at `place`.
    fn clear(&self, place: &Place) -> Result<(), UnpackError> {
        remove(place.parent.as_fd(), place.name())
    }

    /// Where a path leads, its folders made where they are missing. Links on the way are followed within the folder, as a
    /// process in the container would follow them.
    fn place(&self, names: &[Vec<u8>]) -> Result<Place, UnpackError> {
        let (name, folders) = names.split_last().expect("the root has no place");
        let parent = match self.find_folder(folders)? {
            Some(parent) => parent,
            None => self.make_folders(folders)?,
        };
        Ok(Place { parent, name: name.clone() })
    }

    fn make_folders(&self, names: &[Vec<u8>]) -> Result<OwnedFd, UnpackError> {
        let mut parent = self.folder(&[])?;
        for depth in 1..=names.len() {
            parent = match self.find_folder(&names[..depth])? {
                Some(folder) => folder,
                None => {
                    let name = OsStr::from_bytes(&names[depth - 1]);
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    rustix::fs::openat(&parent, name, PARENT | OFlags::NOFOLLOW, Mode::empty())?
                }
            };
        }
        Ok(parent)
    }

    fn find_folder(&self, names: &[Vec<u8>]) -> Result<Option<OwnedFd>, UnpackError> {
        match self.folder(names) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(UnpackError::Path(shown(names))),
            Err(error) => Err(error.into()),
        }
    }

    fn folder(&self, names: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
        let path = if names.is_empty() { b".".to_vec() } else { names.join(&b'/') };
        rustix::fs::openat2(&self.root, OsStr::from_bytes(&path), PARENT, Mode::empty(), WITHIN)
    }
}

fn owner(header: &Header) -> Option<Uid> {
    Some(Uid::from_raw(header.uid))
}

fn group(header: &Header) -> Option<Gid> {
    Some(Gid::from_raw(header.gid))
}

fn shown(names: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&names.join(&b'/')).chars().take(200).collect()
}

fn children(folder: impl AsFd) -> Result<Vec<Vec<u8>>, UnpackError> {
    let mut found = Vec::new();
    // `folder` may be open for nothing but being a place.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(rustix::fs::openat(folder, ".", flags, Mode::empty())?)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// Takes away whatever `name` is in `parent`; nothing is fine. No link is followed.
fn remove(parent: impl AsFd, name: &OsStr) -> Result<(), UnpackError> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    for child in children(&folder)? {
        remove(&folder, OsStr::from_bytes(&child))?;
    }
    Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
