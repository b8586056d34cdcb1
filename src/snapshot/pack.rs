//! A snapshot as chunks and the manifest that lists them, and back. What has not changed since a snapshot that is on disk
//! is neither read, nor compressed, nor written again.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::chunk::{ChunkId, MAX_CHUNK_BYTES, compress};
use super::manifest::{GuestParts, Manifest, Owner};
use super::{RestoreError, Snapshot};
use crate::files::{BlobStore, Piece, Tree};
use crate::sandbox::limits::SessionLimits;
use crate::sandbox::wasm::{GuestState, GuestWriter, Image};
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of a file tree in one chunk.
const TREE_BYTES: usize = 64 << 10;
/// The most of a file tree: names of [`crate::sandbox::limits::FileLimits`] many files.
const MAX_TREE_CHUNKS: usize = 4096;

/// A snapshot, ready to be stored.
pub struct Packed {
    pub manifest: Manifest,
    /// Those that the snapshot before did not have.
    pub new: HashMap<ChunkId, Vec<u8>>,
    /// Bytes of all chunks together, shared ones too.
    pub bytes: u64,
    /// What is to be remembered once it is stored.
    pub kept: Kept,
}

/// Which chunks hold what of a snapshot that is on disk.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    groups: BTreeMap<u32, Measured>,
    tree: Vec<Measured>,
    pieces: HashMap<(usize, u64), Measured>,
    /// By the numbers in the tree.
    numbered: Vec<Measured>,
}

type Measured = (ChunkId, u32);

impl Snapshot {
    /// Packs it. Where `before`, a snapshot of the same session, is in the store, what is shared with it is not packed again.
    ///
    /// # Errors
    /// When content that was moved to disk cannot be read.
    pub fn pack(&self, owner: Owner, before: Option<&Self>) -> io::Result<Packed> {
        let before = before.and_then(|before| Some((before, before.kept.get()?)));
        let mut packing = Packing { new: HashMap::new(), bytes: 0 };
        let mut kept = Kept::default();
        let guest = match &self.guest {
            Some(state) => Some(packing.guest(&self.image, state, before, &mut kept)?),
            None => None,
        };
        match before {
            Some((before, known)) if self.files.is(&before.files) => {
                kept.tree.clone_from(&known.tree);
                kept.pieces.clone_from(&known.pieces);
                kept.numbered.clone_from(&known.numbered);
                packing.bytes +=
                    kept.tree.iter().chain(&kept.numbered).map(|(_, bytes)| u64::from(*bytes)).sum::<u64>();
            }
            _ => packing.files(&self.files, before.map(|(_, known)| known), &mut kept)?,
        }
        let manifest = Manifest {
            image: self.image.identity(),
            owner,
            number: self.number,
            taken_at: self.taken_at,
            cloned: self.cloned,
            guest,
            tree: kept.tree.iter().map(|(id, _)| *id).collect(),
            pieces: kept.numbered.iter().map(|(id, _)| *id).collect(),
        };
        Ok(Packed { manifest, new: packing.new, bytes: packing.bytes, kept })
    }
}

struct Packing {
    new: HashMap<ChunkId, Vec<u8>>,
    bytes: u64,
}

impl Packing {
    fn chunk(&mut self, bytes: &[u8]) -> io::Result<Measured> {
        let packed = compress(bytes)?;
        let (id, length) = (ChunkId::of(&packed), packed.len() as u32);
        self.new.insert(id, packed);
        Ok(self.known((id, length)))
    }

    fn known(&mut self, chunk: Measured) -> Measured {
        self.bytes += u64::from(chunk.1);
        chunk
    }

    fn guest(
        &mut self,
        image: &Image,
        state: &GuestState,
        before: Option<(&Snapshot, &Kept)>,
        kept: &mut Kept,
    ) -> io::Result<GuestParts> {
        let writer = GuestWriter::new(image, state);
        let mut head = Writer::default();
        writer.head(&mut head);
        for group in writer.groups(before.and_then(|(before, _)| before.guest.as_ref())) {
            let known = before.filter(|_| group.unchanged).and_then(|(_, known)| known.groups.get(&group.number));
            let chunk = match known {
                Some(known) => self.known(*known),
                None => self.chunk(&group.bytes())?,
            };
            kept.groups.insert(group.number, chunk);
        }
        let groups = kept.groups.iter().map(|(number, (id, _))| (*number, *id)).collect();
        Ok(GuestParts { head: head.into_bytes(), groups })
    }

    fn files(&mut self, files: &Tree, known: Option<&Kept>, kept: &mut Kept) -> io::Result<()> {
        let mut table = Writer::default();
        let mut numbers: HashMap<(usize, u64), u32> = HashMap::new();
        let mut keep = |piece: Piece<'_>| {
            let place = piece.place();
            if let Some(number) = numbers.get(&place) {
                return Ok(*number);
            }
            let chunk = match known.and_then(|known| known.pieces.get(&place)) {
                Some(chunk) => self.known(*chunk),
                None => self.chunk(&piece.bytes()?)?,
            };
            let number = u32::try_from(kept.numbered.len()).map_err(io::Error::other)?;
            kept.numbered.push(chunk);
            kept.pieces.insert(place, chunk);
            numbers.insert(place, number);
            Ok(number)
        };
        files.write(&mut table, &mut keep)?;
        for part in table.as_slice().chunks(TREE_BYTES) {
            let chunk = self.chunk(part)?;
            kept.tree.push(chunk);
        }
        Ok(())
    }
}

/// What a snapshot is unpacked for.
pub struct Place<'a> {
    pub image: &'a Arc<Image>,
    pub limits: SessionLimits,
    pub blobs: &'a BlobStore,
}

/// An unpacked chunk, and how long it is packed.
pub type Unpacked = (Vec<u8>, u32);

impl Snapshot {
    /// Makes the snapshot that `manifest` lists; `fetch` gives a chunk by its name. Nothing of it is believed. What is given
    /// beside it is to be remembered where the chunks are the store's own.
    ///
    /// # Errors
    /// When it was taken on another image, does not fit in the place, or holds anything that no snapshot can hold.
    pub fn unpack(
        manifest: &Manifest,
        place: &Place<'_>,
        mut fetch: impl FnMut(&ChunkId) -> Result<Unpacked, RestoreError>,
    ) -> Result<(Self, Kept), RestoreError> {
        if manifest.image != place.image.identity() {
            return Err(RestoreError::Image { image: manifest.image });
        }
        let mut kept = Kept::default();
        let (mut guest, mut open) = (None, Vec::new());
        if let Some(parts) = &manifest.guest {
            let mut head = Reader::new(&parts.head);
            let mut reading = GuestState::read_head(place.image, &mut head, place.limits.memory_bytes)?;
            head.end()?;
            for (number, id) in &parts.groups {
                let (bytes, packed) = fetch(id)?;
                reading.add_group(place.image, *number, &bytes)?;
                kept.groups.insert(*number, (*id, packed));
            }
            open = reading.open_inodes();
            guest = Some(reading);
        }
        if manifest.tree.len() > MAX_TREE_CHUNKS {
            return Err(Malformed("its file tree is longer than any").into());
        }
        let mut table = Vec::new();
        for id in &manifest.tree {
            let (bytes, packed) = fetch(id)?;
            table.extend(bytes);
            kept.tree.push((*id, packed));
        }
        kept.numbered = manifest.pieces.iter().map(|id| (*id, 0)).collect();
        let content = |number: u32| {
            let piece =
                kept.numbered.get_mut(number as usize).ok_or(Malformed("a file has content that is not there"))?;
            let (bytes, packed) = fetch(&piece.0)?;
            piece.1 = packed;
            Ok::<_, RestoreError>(bytes)
        };
        let (base, limits) = (place.image.base().clone(), place.limits.files);
        let files = Tree::read_back(base, limits, place.blobs.clone(), &table, &open, content)?;
        let guest = guest.map(|reading| reading.finish(&files)).transpose()?;
        Ok((Self::from_parts(manifest, place.image.clone(), guest, files), kept))
    }
}

const _: () = assert!(TREE_BYTES <= MAX_CHUNK_BYTES);
