//! The headers of a layer's tar archive: long names and pax records read with caps, what is strange refused.
//!
//! The `tar` crate reads extension headers whole, however long they say they are; so they are read here.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use tar::{EntryType, PaxExtensions};

use super::unpack::UnpackError;

/// Names are shorter (PATH_MAX), and so are pax records but for extended attributes, which are skipped.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    HardLink,
    Pipe,
    Device,
}

/// A header, with what the extension headers before it said.
#[derive(Debug)]
pub(super) struct Header {
    /// The names of its path, none empty, `.` or `..`; none at all is the root.
    pub names: Vec<Vec<u8>>,
    pub kind: Kind,
    /// Where a link leads.
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub modified: i64,
    pub size: u64,
}

/// What extension headers say about the entry that follows.
#[derive(Default)]
pub(super) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<i64>,
    size: Option<u64>,
}

impl Extensions {
    /// Reads an extension header; false when `entry` is none.
    pub(super) fn read(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<bool, UnpackError> {
        let kind = entry.header().entry_type();
        if !matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        ) {
            return Ok(false);
        }
        if entry.size() > MAX_EXTENSION_BYTES {
            return Err(UnpackError::Archive("an extension header is too long".into()));
        }
        let mut bytes = Vec::new();
        entry.take(MAX_EXTENSION_BYTES).read_to_end(&mut bytes)?;
        let name = || bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName => self.path = Some(name()),
            EntryType::GNULongLink => self.link = Some(name()),
            EntryType::XHeader => self.records(&bytes)?,
            // Global ones say nothing that matters to us (a comment, mostly).
            _ => {}
        }
        Ok(true)
    }

    fn records(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        let strange = || UnpackError::Archive("a pax record is damaged".into());
        for record in PaxExtensions::new(bytes) {
            let record = record?;
            let value = record.value_bytes();
            let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
            match record.key().map_err(|_| strange())? {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "uid" => self.uid = Some(number().ok_or_else(strange)?),
                "gid" => self.gid = Some(number().ok_or_else(strange)?),
                "size" => self.size = Some(number().ok_or_else(strange)?),
                "mtime" => {
                    let text = std::str::from_utf8(value).map_err(|_| strange())?;
                    self.modified = text.split('.').next().and_then(|seconds| seconds.parse().ok());
                }
                key if key.starts_with("GNU.sparse") => {
                    return Err(UnpackError::Archive("it holds a sparse file".into()));
                }
                // Extended attributes among them: a container has no capabilities to get from one.
                _ => {}
            }
        }
        Ok(())
    }

    /// The header of an entry, after its extensions.
    pub(super) fn apply(self, header: &tar::Header) -> Result<Header, UnpackError> {
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Fifo => Kind::Pipe,
            EntryType::Char | EntryType::Block => Kind::Device,
            other => {
                return Err(UnpackError::Archive(format!(
                    "it holds an entry of the unknown type {:?}",
                    other.as_byte()
                )));
            }
        };
        let size = header.entry_size()?;
        if self.size.is_some_and(|told| told != size) {
            return Err(UnpackError::Archive("an entry has two sizes".into()));
        }
        let path = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = match self.link {
            Some(link) => link,
            None => header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default(),
        };
        let number = |value: Option<u64>, header: std::io::Result<u64>| -> Result<u32, UnpackError> {
            let value = value.map_or(header, Ok)?;
            match u16::try_from(value) {
                Ok(fits) => Ok(fits.into()),
                Err(_) => {
                    Err(UnpackError::Archive(format!("a file belongs to {value}; a session's numbers end at 65535")))
                }
            }
        };
        Ok(Header {
            names: names(&path)?,
            kind,
            link,
            mode: header.mode()? & 0o7777,
            uid: number(self.uid, header.uid())?,
            gid: number(self.gid, header.gid())?,
            modified: self.modified.unwrap_or_else(|| header.mtime().ok().and_then(|t| t.try_into().ok()).unwrap_or(0)),
            size,
        })
    }
}

/// The names of a path. `..` is refused wherever it stands, rather than resolved.
pub(super) fn names(path: &[u8]) -> Result<Vec<Vec<u8>>, UnpackError> {
    let name = || std::ffi::OsStr::from_bytes(path).to_string_lossy().chars().take(200).collect::<String>();
    if path.len() > MAX_PATH_BYTES || path.contains(&0) {
        return Err(UnpackError::Path(name()));
    }
    let names: Vec<_> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if names.iter().any(|name| *name == b".." || name.len() > 255) {
        return Err(UnpackError::Path(name()));
    }
    Ok(names.into_iter().map(<[u8]>::to_vec).collect())
}
