//! `/proc/self/pagemap`: an entry for every page.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{PAGE_BYTES, Wanted};

/// The page is present, it is in the swap, and it is a file's or shared memory's, so not ours alone.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const SHARED: u64 = 1 << 61;

pub(super) fn numbers(pagemap: &File, memory: &[u8], wanted: Wanted) -> Option<Vec<usize>> {
    let mut entries = vec![0; memory.len() / PAGE_BYTES * 8];
    let at = (memory.as_ptr() as usize / PAGE_BYTES * 8) as u64;
    pagemap.read_exact_at(&mut entries, at).ok()?;
    let is_wanted = |bytes: &[u8]| {
        let entry = u64::from_le_bytes(bytes.try_into().expect("the chunks have eight bytes"));
        let swapped = entry & SWAPPED != 0 && wanted == Wanted::Private;
        (entry & PRESENT != 0 && entry & SHARED == 0) || swapped
    };
    let numbered = entries.chunks_exact(8).enumerate();
    Some(numbered.filter(|(_, bytes)| is_wanted(bytes)).map(|(page, _)| page).collect())
}
