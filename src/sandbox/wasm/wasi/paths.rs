//! Calls that take a path. A path may end anywhere in the session's tree and nowhere else.

use super::descriptors::Open;
use super::errno::Errno;
use super::memory::GuestMemory;
use super::stat::filetype;
use super::state::WasiState;
use crate::files::OpenOptions;

type Answer = Result<(), Errno>;

const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;

const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;

const DIRENT_BYTES: usize = 24;

/// Whether `lookupflags` ask to follow a link in the last place.
pub fn follows(flags: u32) -> Result<bool, Errno> {
    if flags > 1 { Err(Errno::Inval) } else { Ok(flags == 1) }
}

#[expect(clippy::too_many_arguments, reason = "the function's signature is WASI's")]
pub fn path_open(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    len: u32,
    open_flags: u32,
    rights: u64,
    _inheriting: u64,
    flags: u32,
    out: u32,
) -> Answer {
    memory.range(out, 4)?;
    if open_flags > 0xf || flags > 0x1f {
        return Err(Errno::Inval);
    }
    let directory = open_flags & DIRECTORY != 0;
    if directory && open_flags & (CREATE | EXCLUSIVE | TRUNCATE) != 0 {
        return Err(Errno::Inval);
    }
    let write = rights & RIGHT_WRITE != 0;
    let options = OpenOptions {
        write,
        create: open_flags & CREATE != 0,
        exclusive: open_flags & EXCLUSIVE != 0,
        truncate: open_flags & TRUNCATE != 0,
        directory,
        follow: follows(lookup)?,
    };
    let at = wasi.descriptors.directory(fd)?;
    let path = memory.path(path, len)?;
    // Asked first, so that a full table neither makes nor empties a file.
    wasi.descriptors.check_room()?;
    let (inode, kind) = wasi.tree.open(at, path, options)?;
    let open = Open {
        inode,
        kind,
        offset: 0,
        // Asked for neither, a file is open for reading, as wasi-libc has it of `O_RDONLY`.
        readable: rights & RIGHT_READ != 0 || !write,
        writable: write,
        flags: flags as u16,
        preopen: false,
    };
    match wasi.descriptors.add(open) {
        Ok(fd) => memory.write_u32(out, fd),
        Err(errno) => {
            wasi.tree.close(inode);
            Err(errno)
        }
    }
}

pub fn path_create_directory(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Answer {
    let at = wasi.descriptors.directory(fd)?;
    Ok(wasi.tree.create_directory(at, memory.path(path, len)?)?)
}

pub fn path_remove_directory(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
) -> Answer {
    let at = wasi.descriptors.directory(fd)?;
    Ok(wasi.tree.remove_directory(at, memory.path(path, len)?)?)
}

pub fn path_unlink_file(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, path: u32, len: u32) -> Answer {
    let at = wasi.descriptors.directory(fd)?;
    Ok(wasi.tree.unlink(at, memory.path(path, len)?)?)
}

#[expect(clippy::too_many_arguments, reason = "the function's signature is WASI's")]
pub fn path_link(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    from_fd: u32,
    flags: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> Answer {
    let (from_at, to_at) = (wasi.descriptors.directory(from_fd)?, wasi.descriptors.directory(to_fd)?);
    let (from, to) = (memory.path(from, from_len)?, memory.path(to, to_len)?);
    Ok(wasi.tree.link(from_at, from, follows(flags)?, to_at, to)?)
}

#[expect(clippy::too_many_arguments, reason = "the function's signature is WASI's")]
pub fn path_rename(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    from_fd: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> Answer {
    let (from_at, to_at) = (wasi.descriptors.directory(from_fd)?, wasi.descriptors.directory(to_fd)?);
    let (from, to) = (memory.path(from, from_len)?, memory.path(to, to_len)?);
    Ok(wasi.tree.rename(from_at, from, to_at, to)?)
}

pub fn path_symlink(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    len: u32,
) -> Answer {
    let at = wasi.descriptors.directory(fd)?;
    Ok(wasi.tree.symlink(memory.path(target, target_len)?, at, memory.path(path, len)?)?)
}

#[expect(clippy::too_many_arguments, reason = "the function's signature is WASI's")]
pub fn path_readlink(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    len: u32,
    buffer: u32,
    buffer_len: u32,
    out: u32,
) -> Answer {
    memory.range(out, 4)?;
    let at = wasi.descriptors.directory(fd)?;
    let target = wasi.tree.read_link(at, memory.path(path, len)?)?;
    let fits = target.len().min(buffer_len as usize);
    memory.write(buffer, &target.as_bytes()[..fits])?;
    memory.write_u32(out, fits as u32)
}

/// Fills the buffer with entries after `cookie`; the last may be cut, which tells the guest that there are more.
pub fn fd_readdir(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffer: u32,
    len: u32,
    cookie: u64,
    out: u32,
) -> Answer {
    memory.range(out, 4)?;
    let range = memory.range(buffer, len)?;
    let open = wasi.descriptors.open(fd)?;
    let buffer = memory.slice_mut(range)?;
    let mut used = 0;
    wasi.tree
        .read_directory(open.inode, cookie, &mut |entry| {
            let mut head = [0; DIRENT_BYTES];
            head[0..8].copy_from_slice(&entry.cookie.to_le_bytes());
            head[8..16].copy_from_slice(&entry.inode.0.to_le_bytes());
            head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            head[20] = filetype(entry.kind);
            for part in [&head, entry.name.as_bytes()] {
                let room = &mut buffer[used..];
                let fits = part.len().min(room.len());
                room[..fits].copy_from_slice(&part[..fits]);
                used += fits;
            }
            used < buffer.len()
        })
        .map_err(|error| match Errno::from(error) {
            Errno::Notdir => Errno::Badf,
            errno => errno,
        })?;
    memory.write_u32(out, used as u32)
}
