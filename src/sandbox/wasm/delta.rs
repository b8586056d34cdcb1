//! A guest's state as bytes: what is small in one piece, its pages in groups, each page as what differs from the image's. Most
//! of a changed page is the image's own, so that what is left of it is mostly zeros.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::capture::{GROWTH_BYTES, GuestState, Page};
use super::image::Image;
use super::pages::PAGE_BYTES;
use super::wasi::{Descriptor, Descriptors, Open};
use crate::files::{Inode, Kind, Tree};
use crate::wire::{Malformed, Reader, Writer};

/// Pages that are written together: enough that there are few groups, and few enough that one changed page costs little.
const GROUP_PAGES: usize = 16;
/// The longest group, in bytes: which pages there are, and all of them.
pub const GROUP_BYTES: usize = 2 + GROUP_PAGES * PAGE_BYTES;
/// WASI's flags of a descriptor.
const FLAGS: u16 = 0x1f;

/// Writes states of one image down.
pub struct GuestWriter<'a> {
    image: &'a Image,
    state: &'a GuestState,
}

impl<'a> GuestWriter<'a> {
    /// `state` was captured on `image`.
    pub fn new(image: &'a Image, state: &'a GuestState) -> Self {
        Self { image, state }
    }

    /// Everything but the pages.
    pub fn head(&self, out: &mut Writer) {
        out.u64(self.state.memory_bytes);
        out.u64(u64::try_from(self.state.clock.as_nanos()).unwrap_or(u64::MAX));
        let descriptors: Vec<_> = self.state.descriptors.iter().collect();
        out.count(descriptors.len());
        for (fd, descriptor) in descriptors {
            out.u32(fd);
            write_descriptor(descriptor, out);
        }
    }

    /// The groups that have pages, by number; `unchanged` when all of a group's pages are shared with `previous`.
    pub fn groups(&self, previous: Option<&GuestState>) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for (number, page) in self.state.pages.iter() {
            let (group, place) = (number / GROUP_PAGES as u32, number % GROUP_PAGES as u32);
            if groups.last().is_none_or(|last| last.number != group) {
                groups.push(Group { number: group, pages: Vec::new(), image: self.image, unchanged: false });
            }
            groups.last_mut().expect("it was just pushed").pages.push((place, page));
        }
        for group in &mut groups {
            group.unchanged = previous.is_some_and(|previous| group.is_in(previous));
        }
        groups
    }
}

/// Some neighbouring pages that differ from the image's.
pub struct Group<'a> {
    pub number: u32,
    pub unchanged: bool,
    /// By place in the group.
    pages: Vec<(u32, &'a Arc<Page>)>,
    image: &'a Image,
}

impl Group<'_> {
    fn is_in(&self, previous: &GuestState) -> bool {
        let first = self.number * GROUP_PAGES as u32;
        let before = previous.pages.range(first..first + GROUP_PAGES as u32);
        before.clone().count() == self.pages.len()
            && before
                .zip(&self.pages)
                .all(|((number, one), (place, other))| number - first == *place && Arc::ptr_eq(one, other))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut mask: u16 = 0;
        let mut bytes = vec![0; 2 + self.pages.len() * PAGE_BYTES];
        let places = bytes[2..].chunks_exact_mut(PAGE_BYTES);
        for ((place, page), out) in self.pages.iter().zip(places) {
            mask |= 1 << place;
            out.copy_from_slice(&page[..]);
            turn(out, self.image, page_number(self.number, *place));
        }
        bytes[..2].copy_from_slice(&mask.to_le_bytes());
        bytes
    }
}

fn page_number(group: u32, place: u32) -> u64 {
    u64::from(group) * GROUP_PAGES as u64 + u64::from(place)
}

/// Makes of a page what differs from the image's, and of that the page.
fn turn(page: &mut [u8], image: &Image, number: u64) {
    let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(PAGE_BYTES);
    // Beyond the image a page begins as zeros.
    if let Some(pristine) = image.pristine().get(at..at.saturating_add(PAGE_BYTES)) {
        page.iter_mut().zip(pristine).for_each(|(byte, pristine)| *byte ^= pristine);
    }
}

/// What [`GuestWriter::head`] wrote, read and not yet with its pages.
pub struct GuestReader {
    state: GuestState,
    pages: BTreeMap<u32, Arc<Page>>,
}

impl GuestState {
    /// Reads what [`GuestWriter::head`] wrote for a state of `image`.
    ///
    /// # Errors
    /// When no guest of the image can have such a state.
    pub fn read_head(image: &Image, reader: &mut Reader<'_>, limit_bytes: u64) -> Result<GuestReader, Malformed> {
        let (memory_bytes, clock) = (reader.u64()?, Duration::from_nanos(reader.u64()?));
        if !memory_bytes.is_multiple_of(GROWTH_BYTES) || memory_bytes < image.memory_bytes() {
            return Err(Malformed("its memory has a size that no memory has"));
        }
        if memory_bytes > limit_bytes {
            return Err(Malformed("it has more memory than this pool lets a session have"));
        }
        let count = reader.count(5)?;
        let mut descriptors = Descriptors::none();
        for _ in 0..count {
            let fd = reader.u32()?;
            if !descriptors.put(fd, read_descriptor(reader)?) {
                return Err(Malformed("it has a descriptor that cannot be open"));
            }
        }
        let state = Self { memory_bytes, pages: Arc::default(), descriptors, clock };
        Ok(GuestReader { state, pages: BTreeMap::new() })
    }

    /// Checks that what is open is in `tree`.
    ///
    /// # Errors
    /// When it is not, or not so.
    pub fn check_open(&self, tree: &Tree) -> Result<(), Malformed> {
        for (_, descriptor) in self.descriptors.iter() {
            let Descriptor::Open(open) = descriptor else { continue };
            let (kind, writable) =
                tree.standing(open.inode).ok_or(Malformed("it has a file open that is not there"))?;
            let root = open.preopen && open.inode == Inode::ROOT;
            let writes = open.writable && !writable && kind != Kind::Device;
            if kind != open.kind || kind == Kind::Link || writes || (open.preopen && !root) {
                return Err(Malformed("it has a file open in a way that no file can be"));
            }
        }
        Ok(())
    }

    /// The inodes that are open, one for each descriptor.
    pub fn open_inodes(&self) -> Vec<Inode> {
        let open = |descriptor| if let Descriptor::Open(open) = descriptor { Some(open.inode) } else { None };
        self.descriptors.iter().filter_map(|(_, descriptor)| open(descriptor)).collect()
    }
}

impl GuestReader {
    pub fn open_inodes(&self) -> Vec<Inode> {
        self.state.open_inodes()
    }

    /// Takes in what [`Group::bytes`] gave.
    ///
    /// # Errors
    /// When the bytes are no group of this memory.
    pub fn add_group(&mut self, image: &Image, group: u32, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        let mask = reader.u16()?;
        for place in (0..GROUP_PAGES as u32).filter(|place| mask & (1 << place) != 0) {
            let mut page: Page = reader.array()?;
            let number = page_number(group, place);
            if (number + 1) * PAGE_BYTES as u64 > self.state.memory_bytes {
                return Err(Malformed("it has a page beyond its memory"));
            }
            turn(&mut page, image, number);
            let number = u32::try_from(number).map_err(|_| Malformed("it has a page beyond any memory"))?;
            self.pages.insert(number, Arc::new(page));
        }
        reader.end()
    }

    /// The state, with its pages. Checked against its files it is whole.
    ///
    /// # Errors
    /// See [`GuestState::check_open`].
    pub fn finish(self, tree: &Tree) -> Result<GuestState, Malformed> {
        let state = GuestState { pages: Arc::new(self.pages), ..self.state };
        state.check_open(tree)?;
        Ok(state)
    }
}

fn write_descriptor(descriptor: Descriptor, out: &mut Writer) {
    match descriptor {
        Descriptor::Stdin => out.u8(0),
        Descriptor::Stdout => out.u8(1),
        Descriptor::Stderr => out.u8(2),
        Descriptor::Open(open) => {
            out.u8(3);
            out.u64(open.inode.0);
            out.u8(match open.kind {
                Kind::File => 0,
                Kind::Directory => 1,
                Kind::Link => 2,
                Kind::Device => 3,
            });
            out.u64(open.offset);
            for flag in [open.readable, open.writable, open.preopen] {
                out.flag(flag);
            }
            out.u16(open.flags);
        }
    }
}

fn read_descriptor(reader: &mut Reader<'_>) -> Result<Descriptor, Malformed> {
    Ok(match reader.u8()? {
        0 => Descriptor::Stdin,
        1 => Descriptor::Stdout,
        2 => Descriptor::Stderr,
        3 => {
            let inode = Inode(reader.u64()?);
            let kind = match reader.u8()? {
                0 => Kind::File,
                1 => Kind::Directory,
                3 => Kind::Device,
                _ => return Err(Malformed("a descriptor is of no kind that can be open")),
            };
            let offset = reader.u64()?;
            let (readable, writable, preopen) = (reader.flag()?, reader.flag()?, reader.flag()?);
            let flags = reader.u16()?;
            if offset > i64::MAX.cast_unsigned() || flags & !FLAGS != 0 {
                return Err(Malformed("a descriptor stands where none can stand"));
            }
            Descriptor::Open(Open { inode, kind, offset, readable, writable, flags, preopen })
        }
        _ => return Err(Malformed("a descriptor is of no known kind")),
    })
}
