//! Where large files' chunks go: unlinked files in one directory, whose space comes back when the last chunk in them is
//! dropped or the process ends. It keeps nothing across a restart.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::chunks::CHUNK_BYTES;

/// The place for content that is too large for memory; shared by all trees.
#[derive(Debug, Clone)]
pub struct BlobStore {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    threshold_bytes: u64,
    created: AtomicU64,
}

impl BlobStore {
    /// Files above this size go to disk by default: most files of a session are smaller, and a guest that writes large
    /// ones waits for its own disk, not for its neighbours' memory.
    pub const DEFAULT_THRESHOLD_BYTES: u64 = 1 << 20;

    /// Spills files of more than `threshold_bytes` to unlinked files in `directory`, which is made at first need.
    pub fn new(directory: impl Into<PathBuf>, threshold_bytes: u64) -> Self {
        Self { place: Arc::new(Place { directory: directory.into(), threshold_bytes, created: AtomicU64::new(0) }) }
    }

    pub(super) fn threshold_bytes(&self) -> u64 {
        self.place.threshold_bytes
    }

    /// A file without a name. `O_TMPFILE` where the file system has it; else a name that is taken away at once.
    fn unnamed_file(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600);
        match options.clone().custom_flags(libc::O_TMPFILE).open(&self.place.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.place.directory)?;
                options.custom_flags(libc::O_TMPFILE).open(&self.place.directory)
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
                let serial = self.place.created.fetch_add(1, Ordering::Relaxed);
                let path = self.place.directory.join(format!("blob-{}-{serial}", std::process::id()));
                let file = options.create_new(true).open(&path)?;
                std::fs::remove_file(&path)?;
                Ok(file)
            }
            result => result,
        }
    }
}

/// One tree's spill file, made when the first chunk needs it, so that a tree of small files costs no descriptor.
#[derive(Debug)]
pub(super) struct Spill {
    store: BlobStore,
    file: Option<Arc<SpillFile>>,
}

/// A file cut into slots of [`CHUNK_BYTES`].
#[derive(Debug)]
struct SpillFile {
    file: File,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    used: u64,
    free: Vec<u64>,
}

/// One slot. Dropping it gives its disk space back.
#[derive(Debug)]
pub(super) struct Slot {
    file: Arc<SpillFile>,
    number: u64,
}

impl Spill {
    pub fn new(store: BlobStore) -> Self {
        Self { store, file: None }
    }

    /// A spill of its own in the same store, for a fork.
    pub fn fork(&self) -> Self {
        Self::new(self.store.clone())
    }

    pub fn threshold_bytes(&self) -> u64 {
        self.store.threshold_bytes()
    }

    /// A slot that nothing else uses. What it holds is undefined: readers must not read past what was written.
    pub fn slot(&mut self) -> io::Result<Slot> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(SpillFile { file: self.store.unnamed_file()?, slots: Mutex::default() })),
        };
        let mut slots = file.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let number = slots.free.pop().unwrap_or_else(|| {
            slots.used += 1;
            slots.used - 1
        });
        Ok(Slot { file: file.clone(), number })
    }
}

impl Slot {
    pub fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.file.file.write_all_at(bytes, self.offset() + at as u64)
    }

    pub fn read(&self, at: usize, bytes: &mut [u8]) -> io::Result<()> {
        self.file.file.read_exact_at(bytes, self.offset() + at as u64)
    }

    fn offset(&self) -> u64 {
        self.number * CHUNK_BYTES as u64
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: a plain system call on an open descriptor with plain numbers.
        // Its failure is harmless: the slot keeps its disk space until it is used again.
        unsafe {
            libc::fallocate(
                self.file.file.as_raw_fd(),
                libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                self.offset() as libc::off_t,
                CHUNK_BYTES as libc::off_t,
            );
        }
        self.file.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.number);
    }
}
