//! The pages of an image that every first cell writes to, found once by watching one.
//!
//! Copying them in a few calls when a sandbox is made costs a third of what the guest's own faults would: each of those
//! is a trap into the kernel, and most pages are read first and written later, which is two. An optimisation alone: without
//! `/proc/self/pagemap` the list is empty and the pages come one by one.

use std::ops::Range;

use super::pages::{self, PAGE_BYTES};

/// Pages between two hot ones that are copied along, to save a call.
const GAP_PAGES: usize = 1;

/// Ranges of bytes in a linear memory, multiples of the page size.
#[derive(Debug, Default)]
pub struct HotPages {
    ranges: Vec<Range<usize>>,
}

impl HotPages {
    /// The pages of `memory`, a copy-on-write view of an image, that have been written to.
    pub fn of(memory: &[u8]) -> Self {
        let ranges = pages::resident(memory).map(|pages| pages::ranges(pages, GAP_PAGES));
        Self { ranges: ranges.unwrap_or_default() }
    }

    /// Makes the pages of a fresh `memory` its own.
    ///
    /// A slot that had another session keeps the first of its pages (reset to the image's content): those are passed by.
    pub fn populate(&self, memory: &mut [u8]) {
        let there = self.ranges.partition_point(|range| is_there(memory, range));
        pages::populate(memory, &self.ranges[there..]);
    }

    /// Bytes in all ranges.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }
}

fn is_there(memory: &[u8], range: &Range<usize>) -> bool {
    let first = memory.get(range.start..range.start + PAGE_BYTES);
    first.and_then(pages::resident).is_some_and(|pages| !pages.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_pages_of_a_mapping_are_found() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16 * PAGE_BYTES as u64).unwrap();
        // SAFETY: nobody else has the file.
        let mut map = unsafe { memmap2::MmapOptions::new().map_copy(&file) }.unwrap();
        let _read = std::hint::black_box(map[7 * PAGE_BYTES]);
        map[3 * PAGE_BYTES + 5] = 1;
        map[10 * PAGE_BYTES] = 1;
        let hot = HotPages::of(&map);
        assert_eq!(hot.ranges, [3 * PAGE_BYTES..4 * PAGE_BYTES, 10 * PAGE_BYTES..11 * PAGE_BYTES]);
        hot.populate(&mut map);
        assert_eq!((map[3 * PAGE_BYTES + 5], hot.bytes()), (1, 2 * PAGE_BYTES));
    }
}
