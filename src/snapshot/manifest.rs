//! The table of contents of a snapshot on disk: whose it is, when it was taken, on which image, and which chunks it is made of.
//!
//! ```text
//! "SANDPOOL" version:u16 image:32 pool identifier created_at number taken_at cloned:flag
//! guest:flag [head:u32+bytes groups:u32+(number:u32 chunk:32)…]  tree:u32+(chunk:32)…  pieces:u32+(chunk:32)…  seal:32 of all before
//! ```

use std::fmt;

use time::OffsetDateTime;

use super::RestoreError;
use super::chunk::ChunkId;
use super::seal::{SEAL_BYTES, Seal};
use crate::sandbox::wasm::ImageIdentity;
use crate::wire::{Malformed, Reader, Writer};

const MAGIC: [u8; 8] = *b"SANDPOOL";
/// Changes when the bytes mean something else than before.
const VERSION: u16 = 2;
const ID_BYTES: usize = 32;

/// Whose a snapshot is.
#[derive(Clone, PartialEq, Eq)]
pub struct Owner {
    pub pool: String,
    pub identifier: String,
    /// When the session was made.
    pub created_at: OffsetDateTime,
}

impl fmt::Debug for Owner {
    /// Without the identifier.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a session of pool {}", self.pool)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub image: ImageIdentity,
    pub owner: Owner,
    /// Executions that the session had run.
    pub number: u64,
    pub taken_at: OffsetDateTime,
    /// What is random in it is to be seeded anew before it goes on.
    pub cloned: bool,
    pub guest: Option<GuestParts>,
    /// The file tree, in pieces.
    pub tree: Vec<ChunkId>,
    /// The files' content, by the numbers that stand in the tree.
    pub pieces: Vec<ChunkId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestParts {
    /// What is not pages.
    pub head: Vec<u8>,
    pub groups: Vec<(u32, ChunkId)>,
}

impl Manifest {
    pub fn write(&self, seal: &Seal) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&MAGIC);
        out.u16(VERSION);
        out.bytes(&self.image.0);
        out.text(&self.owner.pool);
        out.text(&self.owner.identifier);
        out.u64(nanoseconds(self.owner.created_at));
        out.u64(self.number);
        out.u64(nanoseconds(self.taken_at));
        out.flag(self.cloned);
        out.flag(self.guest.is_some());
        if let Some(guest) = &self.guest {
            out.count(guest.head.len());
            out.bytes(&guest.head);
            out.count(guest.groups.len());
            for (number, id) in &guest.groups {
                out.u32(*number);
                out.bytes(&id.0);
            }
        }
        for ids in [&self.tree, &self.pieces] {
            out.count(ids.len());
            ids.iter().for_each(|id| out.bytes(&id.0));
        }
        let sealed = seal.of(out.as_slice());
        out.bytes(&sealed);
        out.into_bytes()
    }

    /// Reads what [`Manifest::write`] gave under the same seal.
    ///
    /// # Errors
    /// When it is not that, to the bit.
    pub fn read(bytes: &[u8], seal: &Seal) -> Result<Self, RestoreError> {
        let (bytes, sealed) =
            bytes.split_last_chunk::<SEAL_BYTES>().ok_or(Malformed("it is too short to be a snapshot"))?;
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(Malformed("it is no snapshot").into());
        }
        // Before the seal: another format may be sealed in another way.
        let version = reader.u16()?;
        if version != VERSION {
            return Err(RestoreError::Version { version });
        }
        if !seal.fits(bytes, sealed) {
            return Err(RestoreError::Seal);
        }
        let image = ImageIdentity(reader.array()?);
        let (pool, identifier) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let created_at = moment(reader.u64()?)?;
        let (number, taken_at) = (reader.u64()?, moment(reader.u64()?)?);
        let cloned = reader.flag()?;
        let guest = if reader.flag()? { Some(guest(&mut reader)?) } else { None };
        let (tree, pieces) = (ids(&mut reader)?, ids(&mut reader)?);
        reader.end()?;
        let owner = Owner { pool, identifier, created_at };
        Ok(Self { image, owner, number, taken_at, cloned, guest, tree, pieces })
    }

    /// Every chunk, in the order in which they are needed; some more than once.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        let groups = self.guest.iter().flat_map(|guest| guest.groups.iter().map(|(_, id)| *id));
        self.tree.iter().copied().chain(groups).chain(self.pieces.iter().copied())
    }
}

fn guest(reader: &mut Reader<'_>) -> Result<GuestParts, Malformed> {
    let length = reader.count(1)?;
    let head = reader.take(length)?.to_vec();
    let count = reader.count(4 + ID_BYTES)?;
    let mut groups: Vec<(u32, ChunkId)> = Vec::with_capacity(count);
    for _ in 0..count {
        let number = reader.u32()?;
        if groups.last().is_some_and(|(last, _)| *last >= number) {
            return Err(Malformed("its pages are not in order"));
        }
        groups.push((number, ChunkId(reader.array()?)));
    }
    Ok(GuestParts { head, groups })
}

fn ids(reader: &mut Reader<'_>) -> Result<Vec<ChunkId>, Malformed> {
    let count = reader.count(ID_BYTES)?;
    (0..count).map(|_| reader.array().map(ChunkId)).collect()
}

/// Since 1970; a clock before that is shown as 1970.
pub(super) fn nanoseconds(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp_nanos()).unwrap_or(0)
}

pub(super) fn moment(nanoseconds: u64) -> Result<OffsetDateTime, Malformed> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds)).map_err(|_| Malformed("it was taken at no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let id = |byte| ChunkId([byte; 32]);
        Manifest {
            image: ImageIdentity([9; 32]),
            owner: Owner {
                pool: "python".into(),
                identifier: "é-secret".into(),
                created_at: OffsetDateTime::UNIX_EPOCH,
            },
            number: 3,
            taken_at: time::macros::datetime!(2026-05-02 07:21:07.9922617 UTC),
            cloned: true,
            guest: Some(GuestParts { head: vec![1, 2, 3], groups: vec![(0, id(1)), (7, id(2))] }),
            tree: vec![id(3)],
            pieces: vec![id(4), id(4)],
        }
    }

    fn seal() -> Seal {
        Seal::with_key([5; 32])
    }

    #[test]
    fn it_comes_back_and_no_bit_can_change() {
        let bytes = manifest().write(&seal());
        assert_eq!(Manifest::read(&bytes, &seal()).unwrap(), manifest());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(Manifest::read(&flipped, &seal()).is_err(), "byte {at}");
            assert!(Manifest::read(&bytes[..at], &seal()).is_err(), "cut at {at}");
        }
        assert!(Manifest::read(&[&bytes[..], &[0]].concat(), &seal()).is_err());
        assert!(!format!("{:?}", manifest()).contains("secret"));
    }

    #[test]
    fn what_others_wrote_is_refused() {
        let theirs = manifest().write(&Seal::with_key([6; 32]));
        assert!(matches!(Manifest::read(&theirs, &seal()), Err(RestoreError::Seal)));
    }

    /// Under a sound seal as well: another build's, or one whose key is known.
    #[test]
    fn what_makes_no_sense_is_refused_under_any_seal() {
        let sealed = |bytes: &[u8]| [bytes, &seal().of(bytes)].concat();
        let whole = manifest().write(&seal());
        let body = &whole[..whole.len() - SEAL_BYTES];
        for end in 0..body.len() {
            assert!(Manifest::read(&sealed(&body[..end]), &seal()).is_err(), "cut at {end}");
        }
        let mut later = body.to_vec();
        later[8] = 3;
        assert!(matches!(Manifest::read(&sealed(&later), &seal()), Err(RestoreError::Version { version: 3 })));
        let mut twice = manifest();
        twice.guest.as_mut().unwrap().groups[1].0 = 0;
        assert!(matches!(Manifest::read(&twice.write(&seal()), &seal()), Err(RestoreError::Malformed(_))));
        for at in 0..body.len() {
            let mut wild = body.to_vec();
            wild[at] = 0xff;
            // Whatever it is taken for, it is taken for something or refused.
            let _ = Manifest::read(&sealed(&wild), &seal());
        }
    }
}
