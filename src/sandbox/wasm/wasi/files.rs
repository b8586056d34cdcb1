//! Calls on what is open: reading, writing, seeking, closing.

use super::descriptors::{Descriptor, FLAG_APPEND, Open};
use super::errno::Errno;
use super::memory::{Buffers, GuestMemory};
use super::state::WasiState;
use crate::files::{Kind, Position};
use crate::sandbox::output::Stream;

type Answer = Result<(), Errno>;

pub fn fd_read(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, list: u32, count: u32, out: u32) -> Answer {
    memory.range(out, 4)?;
    let buffers = memory.buffers(list, count)?;
    let read = match wasi.descriptors.get(fd)? {
        Descriptor::Stdin => 0,
        Descriptor::Stdout | Descriptor::Stderr => return Err(Errno::Badf),
        Descriptor::Open(open) => {
            let read = read(wasi, memory, open, &buffers, open.offset)?;
            wasi.descriptors.update(fd, |open| open.offset = open.offset.saturating_add(u64::from(read)));
            read
        }
    };
    memory.write_u32(out, read)
}

pub fn fd_pread(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Answer {
    memory.range(out, 4)?;
    let buffers = memory.buffers(list, count)?;
    let open = wasi.descriptors.seekable(fd)?;
    let read = read(wasi, memory, open, &buffers, offset)?;
    memory.write_u32(out, read)
}

/// Reads until the buffers are full or the file ends.
fn read(
    wasi: &WasiState,
    memory: &mut GuestMemory<'_>,
    open: Open,
    buffers: &Buffers,
    offset: u64,
) -> Result<u32, Errno> {
    if open.kind == Kind::Directory || !open.readable {
        return Err(Errno::Badf);
    }
    check_offset(offset)?;
    let mut done = 0_u32;
    for range in buffers.iter() {
        let at = offset.saturating_add(u64::from(done));
        let read = match wasi.tree.read_at(open.inode, at, memory.slice_mut(range)?) {
            Ok(read) => read,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        };
        done += read as u32;
        if read < range.len() {
            break;
        }
    }
    Ok(done)
}

pub fn fd_write(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    out: u32,
) -> Answer {
    memory.range(out, 4)?;
    let buffers = memory.buffers(list, count)?;
    let written = match wasi.descriptors.get(fd)? {
        Descriptor::Stdin => return Err(Errno::Badf),
        Descriptor::Stdout => emit(wasi, memory, Stream::Stdout, &buffers)?,
        Descriptor::Stderr => emit(wasi, memory, Stream::Stderr, &buffers)?,
        Descriptor::Open(open) => {
            let (written, end) = write(wasi, memory, open, &buffers, open.offset)?;
            wasi.descriptors.update(fd, |open| open.offset = end);
            written
        }
    };
    memory.write_u32(out, written)
}

pub fn fd_pwrite(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    list: u32,
    count: u32,
    offset: u64,
    out: u32,
) -> Answer {
    memory.range(out, 4)?;
    let buffers = memory.buffers(list, count)?;
    let open = wasi.descriptors.seekable(fd)?;
    let (written, _) = write(wasi, memory, open, &buffers, offset)?;
    memory.write_u32(out, written)
}

/// Writes all buffers, or as many whole ones as fit. Returns how much, and the offset after it.
fn write(
    wasi: &WasiState,
    memory: &GuestMemory<'_>,
    open: Open,
    buffers: &Buffers,
    offset: u64,
) -> Result<(u32, u64), Errno> {
    if open.kind == Kind::Directory || !open.writable {
        return Err(Errno::Badf);
    }
    check_offset(offset)?;
    let mut done = 0_u32;
    let mut at = offset;
    for range in buffers.iter() {
        // Linux appends even with `pwrite` when the file is open for appending.
        let position = if open.flags & FLAG_APPEND != 0 { Position::End } else { Position::At(at) };
        at = match wasi.tree.write_at(open.inode, position, memory.slice(range)?) {
            Ok(at) => at,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        };
        done += range.len() as u32;
    }
    Ok((done, at))
}

fn emit(wasi: &WasiState, memory: &GuestMemory<'_>, stream: Stream, buffers: &Buffers) -> Result<u32, Errno> {
    let mut done = 0;
    for range in buffers.iter() {
        wasi.emit(stream, memory.slice(range)?);
        done += range.len() as u32;
    }
    Ok(done)
}

/// Offsets are signed on Linux.
fn check_offset(offset: u64) -> Answer {
    if i64::try_from(offset).is_ok() { Ok(()) } else { Err(Errno::Inval) }
}

pub fn fd_seek(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    out: u32,
) -> Answer {
    memory.range(out, 8)?;
    let open = wasi.descriptors.seekable(fd)?;
    let from = match whence {
        0 => 0,
        1 => open.offset,
        2 => wasi.tree.stat(open.inode)?.size,
        _ => return Err(Errno::Inval),
    };
    let to = from.checked_add_signed(offset).ok_or(Errno::Inval)?;
    check_offset(to)?;
    wasi.descriptors.update(fd, |open| open.offset = to);
    memory.write_u64(out, to)
}

pub fn fd_tell(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32, out: u32) -> Answer {
    let open = wasi.descriptors.seekable(fd)?;
    memory.write_u64(out, open.offset)
}

pub fn fd_close(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32) -> Answer {
    let descriptor = wasi.descriptors.remove(fd)?;
    wasi.release(descriptor);
    Ok(())
}

pub fn fd_renumber(wasi: &mut WasiState, _: &mut GuestMemory<'_>, from: u32, to: u32) -> Answer {
    if let Some(replaced) = wasi.descriptors.renumber(from, to)? {
        wasi.release(replaced);
    }
    Ok(())
}

pub fn fd_filestat_set_size(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32, size: u64) -> Answer {
    let open = wasi.descriptors.file(fd)?;
    check_offset(size)?;
    if !open.writable {
        return Err(Errno::Inval);
    }
    Ok(wasi.tree.set_size(open.inode, size)?)
}

pub fn fd_allocate(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32, offset: u64, len: u64) -> Answer {
    let open = wasi.descriptors.file(fd)?;
    if !open.writable {
        return Err(Errno::Badf);
    }
    let size = offset.checked_add(len).ok_or(Errno::Fbig)?;
    check_offset(size).map_err(|_| Errno::Fbig)?;
    if len == 0 {
        return Err(Errno::Inval);
    }
    Ok(wasi.tree.allocate(open.inode, size)?)
}

/// Advice is checked and not needed: everything is in memory or in the page cache.
pub fn fd_advise(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32, offset: u64, len: u64, advice: u32) -> Answer {
    if advice > 5 {
        return Err(Errno::Inval);
    }
    wasi.descriptors.file(fd)?;
    check_offset(offset)?;
    check_offset(len)
}

pub fn fd_sync(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32) -> Answer {
    wasi.descriptors.file(fd).map(drop)
}

pub fn fd_datasync(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, fd: u32) -> Answer {
    fd_sync(wasi, memory, fd)
}
