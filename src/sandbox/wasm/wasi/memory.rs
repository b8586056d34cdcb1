//! The guest's memory as seen by one call. Every address and length is the guest's word and is checked here before a
//! byte is touched or a host allocation made; what lies outside of the memory is EFAULT, never a panic.

use super::errno::Errno;
use crate::files::MAX_PATH_BYTES;

/// The most buffers of one read or write, as `IOV_MAX` on Linux.
pub const MAX_BUFFERS: u32 = 1024;
/// The most bytes that one read or write moves; more is a short read or write. A guest is not interrupted within a
/// call, and this much takes a few milliseconds.
pub const MAX_TRANSFER_BYTES: u32 = 16 << 20;

/// The guest's linear memory during one call.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

/// A range that has been checked against the memory.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    start: usize,
    len: usize,
}

impl Range {
    pub fn len(self) -> usize {
        self.len
    }
}

impl<'a> GuestMemory<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// Checks that `len` bytes at `address` are memory.
    pub fn range(&self, address: u32, len: u32) -> Result<Range, Errno> {
        let range = Range { start: address as usize, len: len as usize };
        self.slice(range).map(|_| range)
    }

    pub fn slice(&self, range: Range) -> Result<&[u8], Errno> {
        self.bytes.get(range.start..range.start.saturating_add(range.len)).ok_or(Errno::Fault)
    }

    pub fn slice_mut(&mut self, range: Range) -> Result<&mut [u8], Errno> {
        self.bytes.get_mut(range.start..range.start.saturating_add(range.len)).ok_or(Errno::Fault)
    }

    fn array<const N: usize>(&self, address: u32) -> Result<[u8; N], Errno> {
        let bytes = self.bytes.get(address as usize..).and_then(<[u8]>::first_chunk);
        bytes.copied().ok_or(Errno::Fault)
    }

    pub fn read_u16(&self, address: u32) -> Result<u16, Errno> {
        self.array(address).map(u16::from_le_bytes)
    }

    pub fn read_u32(&self, address: u32) -> Result<u32, Errno> {
        self.array(address).map(u32::from_le_bytes)
    }

    pub fn read_u64(&self, address: u32) -> Result<u64, Errno> {
        self.array(address).map(u64::from_le_bytes)
    }

    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Overflow)?;
        let range = self.range(address, len)?;
        self.slice_mut(range)?.copy_from_slice(bytes);
        Ok(())
    }

    pub fn write_u32(&mut self, address: u32, value: u32) -> Result<(), Errno> {
        self.write(address, &value.to_le_bytes())
    }

    pub fn write_u64(&mut self, address: u32, value: u64) -> Result<(), Errno> {
        self.write(address, &value.to_le_bytes())
    }

    /// A path: UTF-8, and refused unread when it is longer than any path may be.
    pub fn path(&self, address: u32, len: u32) -> Result<&str, Errno> {
        let range = self.range(address, len)?;
        if range.len > MAX_PATH_BYTES {
            return Err(Errno::Nametoolong);
        }
        std::str::from_utf8(self.slice(range)?).map_err(|_| Errno::Ilseq)
    }

    /// The buffers of a read or write, checked, without the empty ones, cut to [`MAX_TRANSFER_BYTES`] together.
    pub fn buffers(&self, list: u32, count: u32) -> Result<Buffers, Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval);
        }
        let mut buffers = Buffers::default();
        let mut left = MAX_TRANSFER_BYTES;
        for n in 0..count {
            let entry = list.checked_add(n * 8).ok_or(Errno::Fault)?;
            let address = self.read_u32(entry)?;
            let len = self.read_u32(entry.checked_add(4).ok_or(Errno::Fault)?)?;
            let range = self.range(address, len)?;
            let len = len.min(left);
            left -= len;
            if len > 0 {
                buffers.push(Range { len: len as usize, ..range });
            }
        }
        Ok(buffers)
    }
}

/// Nearly every call has one or two buffers, so the first is kept without an allocation.
#[derive(Debug, Default)]
pub struct Buffers {
    first: Option<Range>,
    more: Vec<Range>,
}

impl Buffers {
    fn push(&mut self, range: Range) {
        match self.first {
            None => self.first = Some(range),
            Some(_) => self.more.push(range),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Range> {
        self.first.into_iter().chain(self.more.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_memory_is_reached() {
        let mut bytes = vec![0; 64];
        let mut memory = GuestMemory::new(&mut bytes);
        assert!(memory.range(0, 64).is_ok());
        assert!(memory.range(64, 0).is_ok());
        for (address, len) in [(0, 65), (64, 1), (65, 0), (u32::MAX, 0), (u32::MAX, u32::MAX), (1, u32::MAX)] {
            assert_eq!(memory.range(address, len).err(), Some(Errno::Fault), "{address} {len}");
        }
        assert_eq!(memory.read_u64(57), Err(Errno::Fault));
        assert_eq!(memory.read_u64(56), Ok(0));
        assert_eq!(memory.write_u32(u32::MAX - 1, 0), Err(Errno::Fault));
        assert_eq!(memory.path(0, 65), Err(Errno::Fault));
    }

    #[test]
    fn buffers_are_counted_and_cut() {
        let mut bytes = vec![0; 32 << 20];
        bytes[..8].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0x20, 0]);
        bytes[4..8].copy_from_slice(&(20_u32 << 20).to_le_bytes());
        bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
        let memory = GuestMemory::new(&mut bytes);
        let buffers = memory.buffers(0, 2).unwrap();
        assert_eq!(buffers.iter().map(Range::len).collect::<Vec<_>>(), [MAX_TRANSFER_BYTES as usize]);
        assert_eq!(memory.buffers(0, MAX_BUFFERS + 1).err(), Some(Errno::Inval));
        assert_eq!(memory.buffers(u32::MAX - 3, 1).err(), Some(Errno::Fault));
    }
}
