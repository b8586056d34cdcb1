//! What can be said about one entry of the tree, as plain values.

use time::OffsetDateTime;

/// The number of a file, directory or link within one tree. Stable for as long as the thing exists, across renames and
/// copy-on-write; the base layer's things have the same numbers in every session. 0 is never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u64);

impl Inode {
    /// The root directory of every tree.
    pub const ROOT: Inode = Inode(1);
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Link,
    /// One of the gateway's own character devices below `/dev`.
    Device,
}

/// Times in nanoseconds since 1970. Reading a file does not move `accessed`, so that reading costs no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub accessed: u64,
    pub modified: u64,
    pub changed: u64,
}

impl Times {
    pub(super) fn all(moment: u64) -> Self {
        Self { accessed: moment, modified: moment, changed: moment }
    }
}

/// What a guest may know of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub inode: Inode,
    pub kind: Kind,
    /// Names of a file; 1 for directories.
    pub links: u64,
    /// Bytes of a file, or of a link's target; 0 for directories and devices.
    pub size: u64,
    pub times: Times,
}

/// What a caller may know of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Relative to `/mnt/data`; outside of it relative to the root. No leading slash.
    pub path: String,
    pub kind: FileKind,
    pub size_bytes: u64,
    pub modified_at: OffsetDateTime,
}

/// What an entry is to a caller. Devices are files to a caller; none are below `/mnt/data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FileKind {
    File,
    Directory,
    Link,
}

impl From<Kind> for FileKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File | Kind::Device => FileKind::File,
            Kind::Directory => FileKind::Directory,
            Kind::Link => FileKind::Link,
        }
    }
}

/// The moment `nanoseconds` after 1970; a guest may set times that no calendar holds, which become 1970.
pub(super) fn moment(nanoseconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Fills `buffer` from the operating system's generator.
pub fn fill_random(buffer: &mut [u8]) -> std::io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let rest = &mut buffer[done..];
        // SAFETY: the pointer and the length are those of one live, exclusively borrowed slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) => {
                let error = std::io::Error::last_os_error();
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
