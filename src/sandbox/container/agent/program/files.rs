//! The files below `/mnt/data`: listed, read, written, removed. No path leads out of it.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::{COMMIT, DATA, DIRECTORY, DONE, ENTRY, FILE, FRAME_BYTES, Fields, LINK, MAX_CHANGES, Reader};
use crate::system::{self, O_CREAT, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY};
use crate::{read_frame, write_frame};

pub const ROOT: &str = "/mnt/data";
/// Uploads that are not whole lie beside the others under such a name, which no list shows.
const INCOMING: &str = ".sandpool-incoming-";
/// Entries that are looked at for those that changed.
const LOOKED_AT: usize = 20_000;
/// The longest path, as Linux has it.
const PATH_BYTES: usize = 4096;

/// Makes the folder, where the image does not have it.
pub fn begin() {
    // Where that fails, every request is told so.
    let _ = fs::create_dir_all(ROOT);
}

fn root() -> io::Result<File> {
    File::open(ROOT)
}

/// Answers `LIST`.
pub fn list(stream: &mut TcpStream, fields: &[u8]) -> io::Result<()> {
    let mut fields = Reader(fields);
    let asked = |fields: &mut Reader<'_>| Some((fields.number()?, fields.byte()? == 1));
    let (most, recursive) = asked(&mut fields).ok_or(ErrorKind::InvalidData)?;
    let folder = fields.bytes().ok_or(ErrorKind::InvalidData)?;
    let mut told = 0;
    walk(folder, recursive, &mut |path, found| {
        told += 1;
        if told > most {
            return Err(io::Error::from_raw_os_error(system::EMFILE));
        }
        tell(stream, path, found)
    })?;
    write_frame(stream, DONE, &[])
}

/// Tells of the files that changed since a moment of the files' clock.
pub fn changed_since(stream: &mut TcpStream, since: (i64, i64)) -> io::Result<()> {
    let (mut looked, mut told) = (0, 0);
    let walked = walk(b"", true, &mut |path, found| {
        looked += 1;
        if looked > LOOKED_AT || told == MAX_CHANGES {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        // Nobody can set this time but by a change.
        if (found.ctime(), found.ctime_nsec()) >= since && !found.is_dir() {
            told += 1;
            tell(stream, path, found)?;
        }
        Ok(())
    });
    match walked {
        // What cannot be looked at is not told of. A gateway that is gone is noticed by the next frame.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Visits what is in a folder, and with `recursive` in those below it.
fn walk(folder: &[u8], recursive: bool, visit: &mut dyn FnMut(&[u8], &Metadata) -> io::Result<()>) -> io::Result<()> {
    let root = root()?;
    let mut waiting = vec![folder.to_vec()];
    let mut first = true;
    while let Some(folder) = waiting.pop() {
        let path = if folder.is_empty() { b"." } else { folder.as_slice() };
        let opened = system::open_below(&root, path, O_RDONLY | O_DIRECTORY, 0);
        // One below the first may be gone, or closed to us.
        let Ok(opened) = (if first { Ok(opened?) } else { opened }) else { continue };
        first = false;
        let mut names: Vec<_> = fs::read_dir(by_descriptor(&opened))?.filter_map(Result::ok).collect();
        names.sort_unstable_by_key(|entry| entry.file_name());
        for entry in names {
            let name = entry.file_name().into_vec();
            let Ok(found) = entry.metadata() else { continue };
            if folder.is_empty() && name.starts_with(INCOMING.as_bytes()) {
                continue;
            }
            let path = if folder.is_empty() { name } else { [folder.as_slice(), b"/", &name].concat() };
            if path.len() > PATH_BYTES {
                continue;
            }
            visit(&path, &found)?;
            if recursive && found.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

fn by_descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Tells of an entry. Pipes, sockets and the like are nothing to a caller.
fn tell(stream: &mut TcpStream, path: &[u8], found: &Metadata) -> io::Result<()> {
    let kind = match found.file_type() {
        kind if kind.is_file() => FILE,
        kind if kind.is_dir() => DIRECTORY,
        kind if kind.is_symlink() => LINK,
        _ => return Ok(()),
    };
    let fields = Fields::default().byte(kind).number(found.size());
    let fields = fields.number(found.mtime() as u64).number(found.mtime_nsec() as u64).bytes(path);
    write_frame(stream, ENTRY, &fields.0)
}

/// Answers `STAT`.
pub fn stat(stream: &mut TcpStream, path: &[u8]) -> io::Result<()> {
    let opened = system::open_below(&root()?, path, O_RDONLY | O_NONBLOCK, 0)?;
    tell(stream, path, &opened.metadata()?)?;
    write_frame(stream, DONE, &[])
}

/// Answers `GET`.
pub fn get(stream: &mut TcpStream, path: &[u8]) -> io::Result<()> {
    // A pipe would wait for somebody who writes.
    let mut opened = system::open_below(&root()?, path, O_RDONLY | O_NONBLOCK, 0)?;
    let found = opened.metadata()?;
    if !found.is_file() {
        return Err(io::Error::from_raw_os_error(system::EISDIR));
    }
    tell(stream, path, &found)?;
    let (mut left, mut buffer) = (found.size(), vec![0; FRAME_BYTES]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = opened.read(&mut buffer[..most])?;
        if read == 0 {
            // It got shorter: the gateway sees that it is not whole.
            return Ok(());
        }
        write_frame(stream, DATA, &buffer[..read])?;
        left -= read as u64;
    }
    write_frame(stream, DONE, &[])
}

/// Answers `PUT`: the file takes its place when it is whole.
pub fn put(stream: &mut TcpStream, path: &[u8]) -> io::Result<()> {
    let root = root()?;
    let mut incoming = Incoming::begin(&root)?;
    loop {
        match read_frame(stream)? {
            (DATA, bytes) => incoming.file.write_all(&bytes)?,
            (COMMIT, _) => break,
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
    let (folders, name) = split(path);
    let folder = make_folders(&root, folders)?;
    system::rename(&root, &incoming.name, &folder, name)?;
    incoming.placed = true;
    tell(stream, path, &incoming.file.metadata()?)?;
    write_frame(stream, DONE, &[])
}

/// A file that is being written, and taken away again unless it gets its place.
struct Incoming<'a> {
    root: &'a File,
    name: Vec<u8>,
    file: File,
    placed: bool,
}

impl<'a> Incoming<'a> {
    fn begin(root: &'a File) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{INCOMING}{}", NEXT.fetch_add(1, Ordering::Relaxed)).into_bytes();
        // One that a command has put there is in nobody's way twice.
        let file = system::open_below(root, &name, O_WRONLY | O_CREAT | O_EXCL, 0o644)?;
        Ok(Self { root, name, file, placed: false })
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = system::remove(self.root, &self.name);
        }
    }
}

/// Answers `DELETE`.
pub fn delete(stream: &mut TcpStream, path: &[u8]) -> io::Result<()> {
    let (folders, name) = split(path);
    let root = root()?;
    let folder = if folders.is_empty() { root } else { system::open_below(&root, folders, O_RDONLY | O_DIRECTORY, 0)? };
    system::remove(&folder, name)?;
    write_frame(stream, DONE, &[])
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// The folder at `path`, made where it is missing.
fn make_folders(root: &File, path: &[u8]) -> io::Result<File> {
    let mut at = root.try_clone()?;
    let mut end = 0;
    for name in path.split(|byte| *byte == b'/') {
        if name.is_empty() {
            continue;
        }
        end = name.as_ptr() as usize - path.as_ptr() as usize + name.len();
        let opened = system::open_below(root, &path[..end], O_RDONLY | O_DIRECTORY, 0);
        at = match opened {
            Err(error) if error.raw_os_error() == Some(system::ENOENT) => {
                system::make_folder(&at, name)?;
                system::open_below(root, &path[..end], O_RDONLY | O_DIRECTORY, 0)?
            }
            opened => opened?,
        };
    }
    debug_assert!(end <= path.len());
    Ok(at)
}
