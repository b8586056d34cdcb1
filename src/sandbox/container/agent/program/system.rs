//! The system calls that the standard library does not have. By hand: the agent is compiled without any crate.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

pub const SIGTERM: c_int = 15;
pub const SIGKILL: c_int = 9;
pub const POLLIN: i16 = 1;

const WNOHANG: c_int = 1;
const WEXITED: c_int = 4;
const WNOWAIT: c_int = 0x0100_0000;
const P_ALL: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const SYS_OPENAT2: c_long = 437;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_BENEATH: u64 = 8;
const AT_REMOVEDIR: c_int = 0x200;
const F_SETFL: c_int = 4;
const O_CLOEXEC: c_int = 0o2_000_000;
pub const O_RDONLY: c_int = 0;
pub const O_WRONLY: c_int = 1;
pub const O_CREAT: c_int = 0o100;
pub const O_EXCL: c_int = 0o200;
pub const O_NONBLOCK: c_int = 0o4000;
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: c_int = 0o40_000;
#[cfg(not(target_arch = "aarch64"))]
pub const O_DIRECTORY: c_int = 0o200_000;
#[cfg(target_arch = "aarch64")]
const O_NOFOLLOW: c_int = 0o100_000;
#[cfg(not(target_arch = "aarch64"))]
const O_NOFOLLOW: c_int = 0o400_000;

pub const ENOENT: c_int = 2;
pub const EISDIR: c_int = 21;
pub const EINVAL: c_int = 22;
pub const EMFILE: c_int = 24;
const ENOSYS: c_int = 38;

#[repr(C)]
pub struct PollFd {
    pub fd: c_int,
    pub events: i16,
    pub revents: i16,
}

#[repr(C)]
#[derive(Default)]
struct Usage {
    user: [c_long; 2],
    system: [c_long; 2],
    others: [c_long; 14],
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitid(kind: c_int, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
    fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut Usage) -> c_int;
    fn signal(signal: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn _exit(code: c_int) -> !;
    fn syscall(number: c_long, ...) -> c_long;
    fn openat(folder: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    fn mkdirat(folder: c_int, path: *const c_char, mode: c_uint) -> c_int;
    fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn renameat(from: c_int, name: *const c_char, to: c_int, as_name: *const c_char) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut [i64; 2]) -> c_int;
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: c_int) -> io::Result<File> {
    // SAFETY: the call that gave it made it for us.
    checked(fd).map(|fd| unsafe { File::from_raw_fd(fd) })
}

fn text(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::from_raw_os_error(EINVAL))
}

/// Waits until something can be read, for `milliseconds` at the most; -1 is for ever.
pub fn wait_readable(fds: &mut [PollFd], milliseconds: c_int) {
    // SAFETY: pointer and length are those of one live slice. Interrupted is as good as nothing happened.
    unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, milliseconds) };
}

/// Sends a signal to a process group.
pub fn signal_group(group: i32, number: c_int) {
    // SAFETY: a plain system call. One that has ended is no failure.
    unsafe { kill(-group, number) };
}

/// Ends the process, and so the container, on SIGTERM: the first process of a container has no default for it.
pub fn end_on_sigterm() {
    extern "C" fn end(_: c_int) {
        // SAFETY: it may be called from a signal handler.
        unsafe { _exit(0) }
    }
    // SAFETY: the handler makes one call that is allowed there.
    unsafe { signal(SIGTERM, end) };
}

/// Waits for a child that has ended, and leaves it to be collected. None: there is no child.
pub fn next_ended() -> Option<i32> {
    // `siginfo_t`: 128 bytes; the process id is the fourth number, after three and a gap where they are 8 bytes apart.
    let mut info = [0_i32; 32];
    // SAFETY: the buffer has the size of the structure.
    let waited = unsafe { waitid(P_ALL, 0, info.as_mut_ptr().cast(), WEXITED | WNOWAIT) };
    if waited == 0 { Some(if cfg!(target_pointer_width = "64") { info[4] } else { info[3] }) } else { None }
}

/// Collects a child that has ended: exit code as shells have it, and processor time in microseconds. None: somebody else did.
pub fn collect(pid: i32) -> Option<(i32, u64)> {
    let (mut status, mut usage) = (0, Usage::default());
    // SAFETY: both are live, and as large as the call wants them.
    if unsafe { wait4(pid, &raw mut status, WNOHANG, &raw mut usage) } != pid {
        return None;
    }
    let code = if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) };
    let microseconds = |[seconds, rest]: [c_long; 2]| (seconds as u64) * 1_000_000 + rest as u64;
    Some((code, microseconds(usage.user) + microseconds(usage.system)))
}

/// Seconds and nanoseconds of the clock that files' changes are stamped with.
pub fn file_clock() -> (i64, i64) {
    let mut now = [0; 2];
    // SAFETY: the buffer has the size of the structure.
    unsafe { clock_gettime(CLOCK_REALTIME_COARSE, &raw mut now) };
    (now[0], now[1])
}

pub fn set_nonblocking(fd: RawFd) {
    // SAFETY: a plain system call on an open descriptor of ours.
    unsafe { fcntl(fd, F_SETFL, O_NONBLOCK) };
}

/// A file in memory.
pub fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a constant that ends with a zero.
    owned(unsafe { memfd_create(c"input".as_ptr(), 1) })
}

/// Opens a path below `folder`: no link and no `..` leads out of it.
pub fn open_below(folder: &File, path: &[u8], flags: c_int, mode: u32) -> io::Result<File> {
    let how = OpenHow {
        flags: (flags | O_CLOEXEC) as u64,
        mode: mode.into(),
        resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    let name = text(path)?;
    // SAFETY: name and structure are live, and the size is the structure's.
    let opened =
        unsafe { syscall(SYS_OPENAT2, folder.as_raw_fd(), name.as_ptr(), &raw const how, size_of::<OpenHow>()) };
    match owned(opened as c_int) {
        // Kernels in user space do not have it.
        Err(error) if error.raw_os_error() == Some(ENOSYS) => open_straight(folder, path, flags, mode),
        opened => opened,
    }
}

/// The same without any link on the way.
fn open_straight(folder: &File, path: &[u8], flags: c_int, mode: u32) -> io::Result<File> {
    let mut at = folder.try_clone()?;
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && name != b".").collect();
    if names.contains(&&b".."[..]) {
        return Err(io::Error::from_raw_os_error(EINVAL));
    }
    let (last, folders) = match names.split_last() {
        Some((last, folders)) => (*last, folders),
        None => (&b"."[..], &[][..]),
    };
    for name in folders {
        let name = text(name)?;
        // SAFETY: the name is live.
        at = owned(unsafe { openat(at.as_raw_fd(), name.as_ptr(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })?;
    }
    let last = text(last)?;
    // SAFETY: the name is live.
    owned(unsafe { openat(at.as_raw_fd(), last.as_ptr(), flags | O_NOFOLLOW | O_CLOEXEC, mode) })
}

pub fn make_folder(folder: &File, name: &[u8]) -> io::Result<()> {
    let name = text(name)?;
    // SAFETY: the name is live.
    checked(unsafe { mkdirat(folder.as_raw_fd(), name.as_ptr(), 0o755) }).map(drop)
}

/// Removes a name: a file's or a link's, or an empty folder's.
pub fn remove(folder: &File, name: &[u8]) -> io::Result<()> {
    let name = text(name)?;
    // SAFETY: the name is live.
    match checked(unsafe { unlinkat(folder.as_raw_fd(), name.as_ptr(), 0) }) {
        Err(error) if error.raw_os_error() == Some(EISDIR) => {
            // SAFETY: the name is live.
            checked(unsafe { unlinkat(folder.as_raw_fd(), name.as_ptr(), AT_REMOVEDIR) }).map(drop)
        }
        removed => removed.map(drop),
    }
}

/// Gives a name in one folder the place of another in another.
pub fn rename(from: &File, name: &[u8], to: &File, as_name: &[u8]) -> io::Result<()> {
    let (name, as_name) = (text(name)?, text(as_name)?);
    // SAFETY: both names are live.
    checked(unsafe { renameat(from.as_raw_fd(), name.as_ptr(), to.as_raw_fd(), as_name.as_ptr()) }).map(drop)
}
