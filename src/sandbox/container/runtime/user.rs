//! Ranges of user numbers: each container has 65,536 of its own, so that its root is nobody outside and nobody in
//! another container.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers of one container.
pub(super) const RANGE: u32 = 65_536;
/// The first number: above what machines give to people and to `/etc/subuid`.
const FIRST: u32 = 1 << 20;
/// Ranges; the last one ends below 2^31, beyond which some file systems do not go.
const RANGES: u32 = 30_000;

/// The ranges of one gateway.
pub(super) struct UserRanges {
    /// Where this gateway begins to look: two gateways on a machine rarely meet.
    start: u32,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    used: BTreeSet<u32>,
    /// User namespaces of ranges that were used before, since making one costs a process.
    namespaces: HashMap<u32, Arc<OwnedFd>>,
}

/// A range that is in use until this is dropped.
pub(super) struct UserRange {
    ranges: Arc<UserRanges>,
    slot: u32,
    namespace: Arc<OwnedFd>,
}

impl UserRanges {
    /// `seed` is anything that differs between gateways.
    pub(super) fn new(seed: u32) -> Arc<Self> {
        Arc::new(Self { start: seed % RANGES, slots: Mutex::default() })
    }

    /// Takes a range.
    pub(super) fn take(self: &Arc<Self>) -> io::Result<UserRange> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (0..RANGES).map(|at| (self.start + at) % RANGES);
        let slot = all.into_iter().find(|slot| !slots.used.contains(slot)).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.hold(slots, slot)
    }

    /// Takes the range that begins with `first`, which a container has that an earlier gateway made.
    ///
    /// # Errors
    /// `AlreadyExists` when it is taken, `InvalidInput` when there is no such range.
    pub(super) fn claim(self: &Arc<Self>, first: u32) -> io::Result<UserRange> {
        let slot = first.checked_sub(FIRST).filter(|above| above % RANGE == 0).map(|above| above / RANGE);
        let slot = slot.filter(|slot| *slot < RANGES).ok_or(io::ErrorKind::InvalidInput)?;
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.used.contains(&slot) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.hold(slots, slot)
    }

    fn hold(self: &Arc<Self>, mut slots: MutexGuard<'_, Slots>, slot: u32) -> io::Result<UserRange> {
        let namespace = match slots.namespaces.get(&slot) {
            Some(namespace) => namespace.clone(),
            None => {
                let namespace = Arc::new(user_namespace(first(slot))?);
                slots.namespaces.insert(slot, namespace.clone());
                namespace
            }
        };
        slots.used.insert(slot);
        Ok(UserRange { ranges: self.clone(), slot, namespace })
    }
}

impl UserRange {
    /// What the container's root is outside.
    pub(super) fn first(&self) -> u32 {
        first(self.slot)
    }

    /// A user namespace that maps the range, for mounts.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

impl Drop for UserRange {
    fn drop(&mut self) {
        self.ranges.slots.lock().unwrap_or_else(PoisonError::into_inner).used.remove(&self.slot);
    }
}

fn first(slot: u32) -> u32 {
    FIRST + slot * RANGE
}

/// A user namespace that maps 0 to `first`. It takes a process to make one, since a process with threads may not enter
/// a new one; the process does nothing and is killed again.
fn user_namespace(first: u32) -> io::Result<OwnedFd> {
    let holder = Holder::start()?;
    let process = PathBuf::from(format!("/proc/{}", holder.0));
    let map = format!("0 {first} {RANGE}");
    fs::write(process.join("uid_map"), &map)?;
    fs::write(process.join("gid_map"), &map)?;
    Ok(fs::File::open(process.join("ns/user"))?.into())
}

struct Holder(libc::pid_t);

impl Holder {
    fn start() -> io::Result<Self> {
        let flags = (libc::CLONE_NEWUSER | libc::SIGCHLD) as libc::c_ulong;
        // SAFETY: without CLONE_VM this is fork: the child has its own copy of everything and one thread. Until it is
        // killed it makes nothing but system calls that are safe after a fork, takes no lock and never returns.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
        match pid {
            0 => loop {
                // SAFETY: plain system calls. The first ends the child with the thread that made it.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::pause();
                }
            },
            1.. => Ok(Self(libc::pid_t::try_from(pid).expect("process ids are small"))),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // SAFETY: plain system calls on our own child, which nobody else waits for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}
