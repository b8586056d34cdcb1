//! WASI preview 1 on the session's own file tree: all 46 functions, written by hand so that a guest never meets a host
//! path, a socket, or the gateway's environment.
//!
//! It does not run guests. A call answers every mistake of the guest, an address outside of its memory included, with
//! an error number; only `proc_exit` and a guest without a memory end it. Rights are reported but bind only reading and
//! writing: the whole tree is the session's own.

mod clocks;
mod descriptors;
mod errno;
mod files;
mod memory;
mod paths;
mod poll;
mod process;
mod stat;
mod state;

use wasmtime::{Caller, Linker, Memory};

pub use descriptors::{Descriptor, Descriptors, MAX_DESCRIPTORS, Open, PREOPEN};
pub use errno::Errno;
pub use memory::{MAX_BUFFERS, MAX_TRANSFER_BYTES};
pub use poll::MAX_SUBSCRIPTIONS;
pub use process::{GuestExit, MAX_RANDOM_BYTES};
pub use state::WasiState;

use memory::GuestMemory;

const MODULE: &str = "wasi_snapshot_preview1";

/// Adds the functions to a linker. The engine must be used asynchronously: `poll_oneoff` suspends its guest.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    state: impl Fn(&mut T) -> &mut WasiState + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    macro_rules! functions {
        ($($room:ident::$name:ident($($argument:ident: $type:ty),*);)*) => {$(
            linker.func_wrap(MODULE, stringify!($name), move |mut caller: Caller<'_, T>, $($argument: $type),*| {
                call(&mut caller, state, |wasi, memory| $room::$name(wasi, memory, $($argument),*))
            })?;
        )*};
    }
    functions! {
        process::args_get(argv: u32, buffer: u32);
        process::args_sizes_get(count: u32, bytes: u32);
        process::environ_get(environ: u32, buffer: u32);
        process::environ_sizes_get(count: u32, bytes: u32);
        clocks::clock_res_get(id: u32, out: u32);
        clocks::clock_time_get(id: u32, precision: u64, out: u32);
        files::fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        files::fd_allocate(fd: u32, offset: u64, len: u64);
        files::fd_close(fd: u32);
        files::fd_datasync(fd: u32);
        stat::fd_fdstat_get(fd: u32, out: u32);
        stat::fd_fdstat_set_flags(fd: u32, flags: u32);
        stat::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        stat::fd_filestat_get(fd: u32, out: u32);
        files::fd_filestat_set_size(fd: u32, size: u64);
        stat::fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
        files::fd_pread(fd: u32, list: u32, count: u32, offset: u64, out: u32);
        stat::fd_prestat_get(fd: u32, out: u32);
        stat::fd_prestat_dir_name(fd: u32, path: u32, len: u32);
        files::fd_pwrite(fd: u32, list: u32, count: u32, offset: u64, out: u32);
        files::fd_read(fd: u32, list: u32, count: u32, out: u32);
        paths::fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, out: u32);
        files::fd_renumber(from: u32, to: u32);
        files::fd_seek(fd: u32, offset: i64, whence: u32, out: u32);
        files::fd_sync(fd: u32);
        files::fd_tell(fd: u32, out: u32);
        files::fd_write(fd: u32, list: u32, count: u32, out: u32);
        paths::path_create_directory(fd: u32, path: u32, len: u32);
        stat::path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32);
        stat::path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, flags: u32
        );
        paths::path_link(from_fd: u32, flags: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32);
        paths::path_open(
            fd: u32, lookup: u32, path: u32, len: u32, open_flags: u32, rights: u64, inheriting: u64, flags: u32,
            out: u32
        );
        paths::path_readlink(fd: u32, path: u32, len: u32, buffer: u32, buffer_len: u32, out: u32);
        paths::path_remove_directory(fd: u32, path: u32, len: u32);
        paths::path_rename(from_fd: u32, from: u32, from_len: u32, to_fd: u32, to: u32, to_len: u32);
        paths::path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        paths::path_unlink_file(fd: u32, path: u32, len: u32);
        process::proc_raise(signal: u32);
        process::sched_yield();
        process::random_get(buffer: u32, len: u32);
        process::sock_accept(fd: u32, flags: u32, out: u32);
        process::sock_recv(fd: u32, list: u32, count: u32, flags: u32, out: u32, out_flags: u32);
        process::sock_send(fd: u32, list: u32, count: u32, flags: u32, out: u32);
        process::sock_shutdown(fd: u32, how: u32);
    }
    linker.func_wrap(MODULE, "proc_exit", |code: u32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(GuestExit(code.cast_signed())))
    })?;
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        move |caller: Caller<'_, T>, (subscriptions, events, count, out): (u32, u32, u32, u32)| {
            Box::new(poll::poll_oneoff(caller, state, subscriptions, events, count, out))
        },
    )?;
    Ok(())
}

/// One call: the guest's memory and state in, an error number out (0 is success).
fn call<T: 'static>(
    caller: &mut Caller<'_, T>,
    state: impl Fn(&mut T) -> &mut WasiState,
    body: impl FnOnce(&mut WasiState, &mut GuestMemory<'_>) -> Result<(), Errno>,
) -> wasmtime::Result<u32> {
    let memory = memory_of(caller, &state)?;
    let (bytes, data) = memory.data_and_store_mut(caller);
    Ok(match body(state(data), &mut GuestMemory::new(bytes)) {
        Ok(()) => 0,
        Err(errno) => errno as u32,
    })
}

fn memory_of<T: 'static>(
    caller: &mut Caller<'_, T>,
    state: &impl Fn(&mut T) -> &mut WasiState,
) -> wasmtime::Result<Memory> {
    let memory = match state(caller.data_mut()).memory() {
        Some(memory) => Some(memory),
        None => caller.get_export("memory").and_then(wasmtime::Extern::into_memory),
    };
    memory.ok_or_else(|| wasmtime::Error::msg("the guest exports no memory"))
}
