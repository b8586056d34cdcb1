//! The bytes of one file: chunks that copies share until one of them writes. It counts no quota; `layer.rs` asks before
//! it lets a content grow.

use std::io;
use std::sync::Arc;

use super::base::BaseLayer;
use super::blob::{Slot, Spill};

/// Large enough that a file of a few MiB has a short list, small enough that a shared chunk is cheap to copy.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The content of a file, as a list of chunks. A clone shares every chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunks {
    len: u64,
    chunks: Vec<Chunk>,
    /// Never changed since it came from the base layer, so that it costs the session nothing.
    pristine: bool,
}

/// What is past a chunk's own bytes reads as zeros.
#[derive(Debug, Clone, Default)]
pub(super) enum Chunk {
    #[default]
    Zeros,
    Base {
        offset: u64,
        len: u32,
    },
    Memory(Arc<Vec<u8>>),
    Disk {
        slot: Arc<Slot>,
        len: u32,
    },
}

impl Chunks {
    /// A file of the base layer, `len` bytes at `offset` of the archive.
    pub fn of_base(offset: u64, len: u64) -> Self {
        let chunk = CHUNK_BYTES as u64;
        let chunks = (0..len.div_ceil(chunk))
            .map(|n| Chunk::Base { offset: offset + n * chunk, len: (len - n * chunk).min(chunk) as u32 })
            .collect();
        Self { len, chunks, pristine: true }
    }

    /// Whoever calls it has checked that the chunks fit in `len`.
    pub fn from_parts(len: u64, chunks: Vec<Chunk>, pristine: bool) -> Self {
        Self { len, chunks, pristine }
    }

    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn is_pristine(&self) -> bool {
        self.pristine
    }

    /// Fills as much of `buffer` as the content has from `offset`; returns how much.
    pub fn read_at(&self, base: &BaseLayer, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..len];
        let mut done = 0;
        while done < len {
            let (chunk, within) = split(offset + done as u64);
            let part = (CHUNK_BYTES - within).min(len - done);
            match self.chunks.get(chunk) {
                Some(chunk) => chunk.read(base, within, &mut buffer[done..done + part])?,
                None => buffer[done..done + part].fill(0),
            }
            done += part;
        }
        Ok(len)
    }

    /// Writes all of `bytes` at `offset`, filling a gap with zeros. When the disk fails, what was written so far stays.
    pub fn write_at(&mut self, base: &BaseLayer, spill: &mut Spill, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.pristine = false;
        let to_disk = self.len.max(offset + bytes.len() as u64) > spill.threshold_bytes();
        if to_disk {
            self.spill(spill)?;
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (chunk, within) = split(at);
            let part = (CHUNK_BYTES - within).min(bytes.len() - done);
            if chunk >= self.chunks.len() {
                self.chunks.resize_with(chunk + 1, Chunk::default);
            }
            self.chunks[chunk].write(base, spill, to_disk, within, &bytes[done..done + part])?;
            done += part;
            self.len = self.len.max(at + part as u64);
        }
        Ok(())
    }

    /// Cuts the content, or makes it longer with zeros.
    pub fn set_len(&mut self, len: u64) {
        if len == self.len {
            return;
        }
        self.pristine = false;
        if len < self.len {
            let (chunk, within) = split(len);
            self.chunks.truncate(if within == 0 { chunk } else { chunk + 1 });
            if within > 0
                && let Some(last) = self.chunks.get_mut(chunk)
            {
                last.cut(within);
            }
            self.chunks.shrink_to_fit();
        }
        self.len = len;
    }

    /// Moves what is in memory to disk. Chunks already moved stay moved when the disk fails on the way.
    fn spill(&mut self, spill: &mut Spill) -> io::Result<()> {
        for chunk in &mut self.chunks {
            if let Chunk::Memory(bytes) = chunk {
                *chunk = Chunk::to_disk(spill, bytes)?;
            }
        }
        Ok(())
    }
}

/// Which chunk holds the byte at `offset`, and where in it.
fn split(offset: u64) -> (usize, usize) {
    let chunk = CHUNK_BYTES as u64;
    (usize::try_from(offset / chunk).unwrap_or(usize::MAX), (offset % chunk) as usize)
}

impl Chunk {
    pub fn to_disk(spill: &mut Spill, bytes: &[u8]) -> io::Result<Chunk> {
        let slot = spill.slot()?;
        slot.write(0, bytes)?;
        Ok(Chunk::Disk { slot: Arc::new(slot), len: bytes.len() as u32 })
    }

    /// Where what it shares with its clones lies; 0 for what has no such place.
    pub fn address(&self) -> usize {
        match self {
            Self::Zeros | Self::Base { .. } => 0,
            Self::Memory(bytes) => Arc::as_ptr(bytes) as usize,
            Self::Disk { slot, .. } => Arc::as_ptr(slot) as usize,
        }
    }

    /// How many bytes are its own.
    pub fn own_bytes(&self) -> u64 {
        match self {
            Self::Zeros => 0,
            Self::Base { len, .. } | Self::Disk { len, .. } => u64::from(*len),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read(&self, base: &BaseLayer, within: usize, buffer: &mut [u8]) -> io::Result<()> {
        let own = match self {
            Chunk::Zeros => &[],
            Chunk::Base { offset, len } => base.bytes(*offset, *len as usize),
            Chunk::Memory(bytes) => bytes.as_slice(),
            Chunk::Disk { slot, len } => {
                let present = (*len as usize).saturating_sub(within).min(buffer.len());
                let (present, rest) = buffer.split_at_mut(present);
                rest.fill(0);
                return slot.read(within, present);
            }
        };
        let own = own.get(within..).unwrap_or_default();
        let present = own.len().min(buffer.len());
        buffer[..present].copy_from_slice(&own[..present]);
        buffer[present..].fill(0);
        Ok(())
    }

    /// Its own bytes, without the zeros after them.
    pub fn bytes(&self, base: &BaseLayer) -> io::Result<Vec<u8>> {
        Ok(match self {
            Chunk::Zeros => Vec::new(),
            Chunk::Base { offset, len } => base.bytes(*offset, *len as usize).to_vec(),
            Chunk::Memory(bytes) => bytes.to_vec(),
            Chunk::Disk { slot, len } => {
                let mut bytes = vec![0; *len as usize];
                slot.read(0, &mut bytes)?;
                bytes
            }
        })
    }

    fn write(
        &mut self,
        base: &BaseLayer,
        spill: &mut Spill,
        to_disk: bool,
        within: usize,
        bytes: &[u8],
    ) -> io::Result<()> {
        let end = within + bytes.len();
        if let Chunk::Disk { slot, len } = self
            && let Some(slot) = Arc::get_mut(slot)
        {
            let present = *len as usize;
            if within > present {
                slot.write(present, &vec![0; within - present])?;
            }
            slot.write(within, bytes)?;
            *len = present.max(end) as u32;
            return Ok(());
        }
        if !matches!(self, Chunk::Memory(_)) {
            *self = Chunk::Memory(Arc::new(self.bytes(base)?));
        }
        let Chunk::Memory(own) = self else {
            return Ok(());
        };
        let own = Arc::make_mut(own);
        if own.len() < end {
            own.resize(end, 0);
        }
        own[within..end].copy_from_slice(bytes);
        if to_disk {
            *self = Chunk::to_disk(spill, own)?;
        }
        Ok(())
    }

    /// Forgets what is past `len`, so that growing again shows zeros there.
    fn cut(&mut self, to: usize) {
        match self {
            Chunk::Zeros => {}
            Chunk::Base { len, .. } | Chunk::Disk { len, .. } => *len = (*len).min(to as u32),
            Chunk::Memory(bytes) => {
                if bytes.len() > to {
                    let bytes = Arc::make_mut(bytes);
                    bytes.truncate(to);
                    bytes.shrink_to_fit();
                }
            }
        }
    }
}
