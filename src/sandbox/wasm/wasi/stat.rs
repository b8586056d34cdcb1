//! Calls that tell or set what is known about files and descriptors.

use super::descriptors::{Descriptor, FLAG_APPEND, FLAG_NONBLOCK};
use super::errno::Errno;
use super::memory::GuestMemory;
use super::paths::follows;
use super::state::WasiState;
use crate::files::{Kind, SetTime, Stat};

type Answer = Result<(), Errno>;

const FILETYPE_UNKNOWN: u8 = 0;

const FDSTAT_BYTES: usize = 24;
const FILESTAT_BYTES: usize = 64;

/// `fd_datasync` to `fd_allocate` but `fd_read` and `fd_write`, with `fd_filestat_*` and `poll_fd_readwrite`.
const RIGHTS_FILE: u64 = 0x0000_01bd | 0x00e0_0000 | 0x0800_0000;
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
/// All `path_*`, `fd_readdir`, `fd_filestat_get` and `fd_filestat_set_times`.
const RIGHTS_DIRECTORY: u64 = 0x0000_fe00 | 0x0017_0000 | 0x0020_0000 | 0x0080_0000 | 0x0700_0000;

/// The number of a kind in `filetype`.
pub fn filetype(kind: Kind) -> u8 {
    match kind {
        Kind::Device => 2,
        Kind::Directory => 3,
        Kind::File => 4,
        Kind::Link => 7,
    }
}

pub fn fd_fdstat_get(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, out: u32) -> Answer {
    let (kind, flags, base, inheriting) = match wasi.descriptors.get(fd)? {
        // Of unknown type and without the right to seek, as wasmtime tells of a pipe.
        Descriptor::Stdin => (FILETYPE_UNKNOWN, 0, RIGHT_READ, RIGHT_READ),
        Descriptor::Stdout | Descriptor::Stderr => (FILETYPE_UNKNOWN, 0, RIGHT_WRITE, RIGHT_WRITE),
        Descriptor::Open(open) => {
            let read = if open.readable { RIGHT_READ } else { 0 };
            let write = if open.writable { RIGHT_WRITE } else { 0 };
            match open.kind {
                Kind::Directory => (
                    filetype(open.kind),
                    0,
                    RIGHTS_DIRECTORY,
                    RIGHTS_DIRECTORY | RIGHTS_FILE | RIGHT_READ | RIGHT_WRITE,
                ),
                kind => (filetype(kind), open.flags, RIGHTS_FILE | read | write, 0),
            }
        }
    };
    let mut stat = [0; FDSTAT_BYTES];
    stat[0] = kind;
    stat[2..4].copy_from_slice(&flags.to_le_bytes());
    stat[8..16].copy_from_slice(&base.to_le_bytes());
    stat[16..24].copy_from_slice(&inheriting.to_le_bytes());
    memory.write(out, &stat)
}

pub fn fd_fdstat_set_flags(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32, flags: u32) -> Answer {
    wasi.descriptors.file(fd)?;
    // The synchronising flags cannot be changed on Linux either.
    if flags & !u32::from(FLAG_APPEND | FLAG_NONBLOCK) != 0 {
        return Err(Errno::Inval);
    }
    wasi.descriptors.update(fd, |open| open.flags = flags as u16);
    Ok(())
}

pub fn fd_fdstat_set_rights(
    wasi: &mut WasiState,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _base: u64,
    _inheriting: u64,
) -> Answer {
    wasi.descriptors.open(fd)?;
    Err(Errno::Notsup)
}

pub fn fd_filestat_get(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, out: u32) -> Answer {
    match wasi.descriptors.get(fd)? {
        Descriptor::Open(open) => write_stat(memory, out, wasi.tree.stat(open.inode)?),
        Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => memory.write(out, &[0; FILESTAT_BYTES]),
    }
}

pub fn path_filestat_get(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    len: u32,
    out: u32,
) -> Answer {
    let at = wasi.descriptors.directory(fd)?;
    let stat = wasi.tree.stat_at(at, memory.path(path, len)?, follows(flags)?)?;
    write_stat(memory, out, stat)
}

fn write_stat(memory: &mut GuestMemory<'_>, out: u32, stat: Stat) -> Answer {
    let device = 1_u64;
    let mut bytes = [0; FILESTAT_BYTES];
    bytes[16] = filetype(stat.kind);
    for (at, value) in [
        (0, device),
        (8, stat.inode.0),
        (24, stat.links),
        (32, stat.size),
        (40, stat.times.accessed),
        (48, stat.times.modified),
        (56, stat.times.changed),
    ] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    memory.write(out, &bytes)
}

pub fn fd_filestat_set_times(
    wasi: &mut WasiState,
    _: &mut GuestMemory<'_>,
    fd: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Answer {
    let (accessed, modified) = times(accessed, modified, flags)?;
    let open = wasi.descriptors.open(fd)?;
    Ok(wasi.tree.set_times(open.inode, accessed, modified)?)
}

#[expect(clippy::too_many_arguments, reason = "the function's signature is WASI's")]
pub fn path_filestat_set_times(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    len: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Answer {
    let (accessed, modified) = times(accessed, modified, flags)?;
    let at = wasi.descriptors.directory(fd)?;
    Ok(wasi.tree.set_times_at(at, memory.path(path, len)?, follows(lookup)?, accessed, modified)?)
}

fn times(accessed: u64, modified: u64, flags: u32) -> Result<(SetTime, SetTime), Errno> {
    let one = |time: u64, flags: u32| match flags & 3 {
        0 => Ok(SetTime::Keep),
        1 => Ok(SetTime::To(time)),
        2 => Ok(SetTime::Now),
        _ => Err(Errno::Inval),
    };
    if flags > 0xf { Err(Errno::Inval) } else { Ok((one(accessed, flags)?, one(modified, flags >> 2)?)) }
}

pub fn fd_prestat_get(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, out: u32) -> Answer {
    if !wasi.descriptors.open(fd)?.preopen {
        return Err(Errno::Badf);
    }
    let directory = 0_u32;
    memory.range(out, 8)?;
    memory.write_u32(out, directory)?;
    memory.write_u32(out.saturating_add(4), 1)
}

pub fn fd_prestat_dir_name(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, path: u32, len: u32) -> Answer {
    let open = wasi.descriptors.get(fd)?;
    if !matches!(open, Descriptor::Open(open) if open.preopen) {
        return Err(Errno::Notdir);
    }
    if len == 0 {
        return Err(Errno::Nametoolong);
    }
    memory.write(path, b"/")
}
