//! `PAGEMAP_SCAN`: ranges of the pages that are meant. None where the kernel does not know it.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use super::{PAGE_BYTES, Wanted};

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_count: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
const _: () = assert!(size_of::<Arguments>() == 0x60);
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
/// Regions that are asked for at a time.
const REGIONS: usize = 512;

pub(super) fn numbers(pagemap: &File, memory: &[u8], wanted: Wanted) -> Option<Vec<usize>> {
    let mut regions = [Region::default(); REGIONS];
    let base = memory.as_ptr() as u64;
    let end = base + (memory.len() / PAGE_BYTES * PAGE_BYTES) as u64;
    let (all_of, any_of) = match wanted {
        Wanted::Resident => (FILE | PRESENT, 0),
        Wanted::Private => (FILE, PRESENT | SWAPPED),
    };
    let (mut found, mut start) = (Vec::new(), base);
    while start < end {
        let mut arguments = Arguments {
            size: size_of::<Arguments>() as u64,
            start,
            end,
            regions: regions.as_mut_ptr() as u64,
            regions_count: REGIONS as u64,
            category_inverted: FILE,
            category_mask: all_of,
            category_anyof_mask: any_of,
            ..Arguments::default()
        };
        // SAFETY: the kernel writes into `arguments` and at most REGIONS of `regions`, which both live; it changes no
        // memory without the flags that ask for it.
        let told = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arguments) };
        let told = usize::try_from(told).ok()?;
        for region in regions.get(..told)? {
            let page = |address: u64| (address - base) as usize / PAGE_BYTES;
            found.extend(page(region.start)..page(region.end));
        }
        if arguments.walk_end <= start {
            return None;
        }
        start = arguments.walk_end;
    }
    Some(found)
}
