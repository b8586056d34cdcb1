//! Arguments (none), environment, exit, randomness; and the sockets and signals that there are not.

use super::errno::Errno;
use super::memory::GuestMemory;
use super::state::WasiState;
use crate::files::fill_random;

/// The most bytes of one `random_get`, which cannot be answered in part; more is EINVAL. wasi-libc asks for 256.
pub const MAX_RANDOM_BYTES: u32 = 16 << 20;

/// The guest called `proc_exit`: found by downcasting the error of the call into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest exited with code {0}")]
pub struct GuestExit(pub i32);

type Answer = Result<(), Errno>;

pub fn args_get(_: &mut WasiState, _: &mut GuestMemory<'_>, _argv: u32, _buffer: u32) -> Answer {
    Ok(())
}

pub fn args_sizes_get(_: &mut WasiState, memory: &mut GuestMemory<'_>, count: u32, bytes: u32) -> Answer {
    memory.write_u32(count, 0)?;
    memory.write_u32(bytes, 0)
}

pub fn environ_get(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, mut environ: u32, buffer: u32) -> Answer {
    let mut at = buffer;
    for (name, value) in wasi.environment.iter() {
        memory.write_u32(environ, at)?;
        environ = environ.checked_add(4).ok_or(Errno::Fault)?;
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            memory.write(at, part)?;
            at = at.checked_add(part.len() as u32).ok_or(Errno::Fault)?;
        }
    }
    Ok(())
}

pub fn environ_sizes_get(wasi: &mut WasiState, memory: &mut GuestMemory<'_>, count: u32, bytes: u32) -> Answer {
    let size: usize = wasi.environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    memory.write_u32(count, u32::try_from(wasi.environment.len()).map_err(|_| Errno::Overflow)?)?;
    memory.write_u32(bytes, u32::try_from(size).map_err(|_| Errno::Overflow)?)
}

pub fn random_get(_: &mut WasiState, memory: &mut GuestMemory<'_>, buffer: u32, len: u32) -> Answer {
    let range = memory.range(buffer, len)?;
    if len > MAX_RANDOM_BYTES {
        return Err(Errno::Inval);
    }
    fill_random(memory.slice_mut(range)?).map_err(|_| Errno::Io)
}

pub fn sched_yield(_: &mut WasiState, _: &mut GuestMemory<'_>) -> Answer {
    Ok(())
}

pub fn proc_raise(_: &mut WasiState, _: &mut GuestMemory<'_>, _signal: u32) -> Answer {
    Err(Errno::Notsup)
}

/// No descriptor is a socket.
fn not_a_socket(wasi: &WasiState, fd: u32) -> Answer {
    wasi.descriptors.get(fd)?;
    Err(Errno::Notsock)
}

pub fn sock_accept(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32, _flags: u32, _out: u32) -> Answer {
    not_a_socket(wasi, fd)
}

#[expect(clippy::too_many_arguments, reason = "the function's signature is WASI's")]
pub fn sock_recv(
    wasi: &mut WasiState,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _list: u32,
    _count: u32,
    _flags: u32,
    _out: u32,
    _out_flags: u32,
) -> Answer {
    not_a_socket(wasi, fd)
}

pub fn sock_send(
    wasi: &mut WasiState,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _list: u32,
    _count: u32,
    _flags: u32,
    _out: u32,
) -> Answer {
    not_a_socket(wasi, fd)
}

pub fn sock_shutdown(wasi: &mut WasiState, _: &mut GuestMemory<'_>, fd: u32, _how: u32) -> Answer {
    not_a_socket(wasi, fd)
}
