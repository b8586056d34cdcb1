//! Which pages of a mapping the process has to itself, as the kernel tells it: by `PAGEMAP_SCAN` since Linux 6.7, which tells
//! ranges of just those, else by `/proc/self/pagemap`, which has eight bytes for every page. The kernel's
//! admin-guide/mm/pagemap.rst describes both.

mod entries;
mod scan;

use std::fs::File;
use std::ops::Range;
use std::sync::LazyLock;

/// Page of the host, as far as Linux on x86-64 and most of aarch64 go; elsewhere nothing is told.
pub(super) const PAGE_BYTES: usize = 4096;

static PAGEMAP: LazyLock<Option<File>> = LazyLock::new(|| {
    // SAFETY: a plain system call.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if usize::try_from(page_bytes) == Ok(PAGE_BYTES) { File::open("/proc/self/pagemap").ok() } else { None }
});

/// Which pages are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Resident,
    Private,
}

/// Numbers of the pages of `memory`, which begins at a page, that are in memory and not shared; `None` when the kernel does not tell.
pub(super) fn resident(memory: &[u8]) -> Option<Vec<usize>> {
    numbers(memory, Wanted::Resident)
}

/// The same with those that were swapped out: every page that may have been written to.
pub(super) fn private(memory: &[u8]) -> Option<Vec<usize>> {
    numbers(memory, Wanted::Private)
}

fn numbers(memory: &[u8], wanted: Wanted) -> Option<Vec<usize>> {
    let pagemap = PAGEMAP.as_ref()?;
    scan::numbers(pagemap, memory, wanted).or_else(|| entries::numbers(pagemap, memory, wanted))
}

/// Neighbouring pages as ranges of bytes; `pages` come in order, and up to `gap` others between two are taken along.
pub(super) fn ranges(pages: impl IntoIterator<Item = usize>, gap: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for page in pages {
        let (start, end) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
        match ranges.last_mut() {
            Some(last) if start <= last.end + gap * PAGE_BYTES => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

/// Makes pages of `memory` the process's own in one call a range: cheaper than the faults of writing to them.
pub(super) fn populate(memory: &mut [u8], ranges: &[Range<usize>]) {
    for range in ranges {
        let Some(pages) = memory.get_mut(range.clone()) else { continue };
        // SAFETY: the range lies in the memory, which is borrowed exclusively, and its content does not change. A kernel
        // that does not know the advice (before 5.14) refuses it, and the pages come by faults as without it.
        unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_POPULATE_WRITE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_small_gaps_are_one_range() {
        let pages = |from: usize, to: usize| from * PAGE_BYTES..to * PAGE_BYTES;
        assert_eq!(ranges([1, 2, 4, 9, 12], 1), [pages(1, 5), pages(9, 10), pages(12, 13)]);
        assert!(ranges([], 1).is_empty());
    }

    /// A private mapping of a file, as a guest's memory is one, beyond whose end there are pages of nobody.
    #[test]
    fn both_ways_of_asking_tell_the_same_and_every_page_that_was_written() {
        const PAGES: usize = 3000;
        let file = tempfile::tempfile().unwrap();
        file.set_len((PAGES * PAGE_BYTES) as u64).unwrap();
        // SAFETY: nobody else has the file.
        let mut memory = unsafe { memmap2::MmapOptions::new().map_copy(&file) }.unwrap();
        // More ranges than are asked for at a time, and one of many pages.
        let written: Vec<usize> = (0..PAGES).filter(|page| page % 2 == 1 || (100..900).contains(page)).collect();
        for page in (0..PAGES).step_by(7) {
            std::hint::black_box(memory[page * PAGE_BYTES]);
        }
        for page in &written {
            memory[page * PAGE_BYTES] = 1;
        }
        let Some(pagemap) = PAGEMAP.as_ref() else { return };
        for wanted in [Wanted::Resident, Wanted::Private] {
            let read = entries::numbers(pagemap, &memory, wanted);
            if let Some(scanned) = scan::numbers(pagemap, &memory, wanted) {
                assert_eq!(Some(&scanned), read.as_ref(), "{wanted:?}");
            }
        }
        assert_eq!(private(&memory).unwrap(), written);
    }
}
