//! Which pages of a mapping the process has to itself, as the kernel tells it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;

/// Page of the host, as far as Linux on x86-64 and most of aarch64 go; elsewhere nothing is told.
pub(super) const PAGE_BYTES: usize = 4096;
/// `/proc/self/pagemap` (the kernel's admin-guide/mm/pagemap.rst): the page is present, it is in the swap, and it is a file's or
/// shared memory's, so not ours alone.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const SHARED: u64 = 1 << 61;

static PAGEMAP: LazyLock<Option<File>> = LazyLock::new(|| {
    // SAFETY: a plain system call.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if usize::try_from(page_bytes) == Ok(PAGE_BYTES) { File::open("/proc/self/pagemap").ok() } else { None }
});

/// Numbers of the pages of `memory`, which begins at a page, that are in memory and not shared; `None` when the kernel does not tell.
pub(super) fn resident(memory: &[u8]) -> Option<Vec<usize>> {
    numbers(memory, |entry| entry & PRESENT != 0 && entry & SHARED == 0)
}

/// The same with those that were swapped out: every page that may have been written to.
pub(super) fn private(memory: &[u8]) -> Option<Vec<usize>> {
    numbers(memory, |entry| (entry & PRESENT != 0 && entry & SHARED == 0) || entry & SWAPPED != 0)
}

fn numbers(memory: &[u8], wanted: impl Fn(u64) -> bool) -> Option<Vec<usize>> {
    let mut entries = vec![0; memory.len() / PAGE_BYTES * 8];
    let at = (memory.as_ptr() as usize / PAGE_BYTES * 8) as u64;
    PAGEMAP.as_ref()?.read_exact_at(&mut entries, at).ok()?;
    let entry = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("the chunks have eight bytes"));
    Some(entries.chunks_exact(8).enumerate().filter(|(_, bytes)| wanted(entry(bytes))).map(|(page, _)| page).collect())
}
