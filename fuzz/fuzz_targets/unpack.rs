//! Any layers as an image: refused, or unpacked within the folder and within the limits. Nothing beside the folder is touched,
//! whatever names and links lead there.
//!
//! Headers are put together from the bytes and then given the checksum that they should have: otherwise nothing behind the
//! checksum would ever be reached. Needs root, as unpacking does (it gives files to users).
#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sandpool::sandbox::container::image::{ImageLimits, Unpacker};

const LIMITS: ImageLimits = ImageLimits { bytes: 4096, entries: 64, layers: 3 };

/// Names that meet each other, lead upwards, or mean something.
const NAMES: [&str; 12] =
    ["a", "b", "c", "..", ".", "beside", "canary", "root", ".wh.a", ".wh..wh..opq", ".wh...", ".wh.canary"];
/// Where links lead, beside those names.
const LINKS: [&str; 8] = ["/", "..", "../beside", "../beside/canary", "../../..", "a", "/proc/self/fd", "/proc/self/root"];
/// Files, links of both kinds, devices, folders, pipes, the extensions, and what is none of them.
const KINDS: &[u8] = b"01234567LKxgSV";

/// A folder of this process: `root` is unpacked into, `beside` must stay as it is.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = std::env::temp_dir().join(format!("sandpool-fuzz-unpack-{}", std::process::id()));
    fs::create_dir_all(place.join("beside")).expect("the folder for temporary files can be written");
    fs::write(place.join("beside/canary"), "alive").expect("it was made");
    place
});

/// What tells that something was changed.
fn state(path: &Path) -> (u32, u32, u64, i64, i64, u64) {
    let found = fs::symlink_metadata(path).expect("it is still there");
    (found.mode(), found.uid(), found.size(), found.mtime(), found.ctime_nsec(), found.nlink())
}

/// Takes bytes from the front; zeros when there are no more.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let first = self.0.first().copied().unwrap_or_default();
        self.0 = self.0.get(1..).unwrap_or_default();
        first
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()]
    }

    fn path(&mut self) -> String {
        let depth = self.next() % 4;
        let names: Vec<_> = (0..=depth).map(|_| self.pick(&NAMES)).collect();
        let start = if self.next() % 8 == 0 { "/" } else { "" };
        format!("{start}{}", names.join("/"))
    }
}

/// One entry: a header with a right checksum, and what follows it.
fn entry(bytes: &mut Bytes<'_>, archive: &mut Vec<u8>) {
    let mut header = tar::Header::new_ustar();
    let path = bytes.path();
    let link = if bytes.next() % 2 == 0 { bytes.path() } else { bytes.pick(&LINKS).to_owned() };
    let size = usize::from(bytes.next()) * usize::from(bytes.next() % 32);
    header.set_size(size as u64);
    header.set_mode(u32::from(bytes.next()) << 4);
    header.set_uid(u64::from(bytes.next()));
    header.set_gid(0);
    header.set_mtime(1);
    let block = header.as_mut_bytes();
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[156] = bytes.pick(KINDS);
    // A wrong byte or two, anywhere.
    for _ in 0..bytes.next() % 3 {
        let at = usize::from(bytes.next()) * 2 + usize::from(bytes.next() % 2);
        block[at] = bytes.next();
    }
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    // An extension's content names a path; a file's is anything.
    let mut content = match bytes.next() % 3 {
        0 => format!("{}\0", bytes.path()).into_bytes(),
        1 => {
            let record = format!(" {}={}\n", bytes.pick(&["path", "linkpath", "size", "uid", "mtime"]), bytes.path());
            format!("{}{record}", record.len() + 2).into_bytes()
        }
        _ => vec![bytes.next(); size],
    };
    content.resize(size, 0);
    content.resize(size.next_multiple_of(512), 0);
    archive.extend(content);
}

fn layer(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut archive = Vec::new();
    for _ in 0..bytes.next() % 16 {
        entry(bytes, &mut archive);
    }
    archive
}

/// Bytes of files and number of entries below a folder; no link is followed.
fn contents(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let found = entry.metadata().expect("what is listed is there");
        let below = if found.is_dir() { contents(&entry.path()) } else { (0, 0) };
        let own = if found.is_file() { found.len() } else { 0 };
        sum = (sum.0 + own + below.0, sum.1 + 1 + below.1);
    }
    sum
}

fuzz_target!(|input: &[u8]| {
    let (root, beside) = (PLACE.join("root"), PLACE.join("beside"));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir(&root).expect("the folder can be written");
    let before = (state(&beside), state(&beside.join("canary")));
    let mut unpacker = Unpacker::new(&root, LIMITS).expect("the folder is there");
    let mut bytes = Bytes(input);
    // As they are, or put together.
    let layers: Vec<Vec<u8>> = match bytes.next() % 4 {
        0 => vec![bytes.0.to_vec()],
        _ => (0..LIMITS.layers).map(|_| layer(&mut bytes)).collect(),
    };
    let unpacked = layers.iter().try_for_each(|layer| unpacker.layer(&layer[..]));
    assert_eq!((state(&beside), state(&beside.join("canary"))), before, "something beside the folder was changed");
    assert_eq!(contents(&PLACE).1 - contents(&root).1, 3, "something was made beside the folder");
    if unpacked.is_ok() {
        // A path of four names is one entry, and makes folders on its way; a file may have many names.
        let (bytes, entries) = contents(&root);
        assert!(bytes <= LIMITS.bytes * LIMITS.entries && entries <= LIMITS.entries * 4, "{bytes} bytes, {entries} entries");
    }
});
