//! Any bytes as a base layer's archive: refused, or a tree whose every file can be listed and read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandpool::files::{BaseLayer, BlobStore, FileKind, Tree};
use sandpool::sandbox::limits::FileLimits;

const LIMITS: FileLimits = FileLimits { total_bytes: 0, file_bytes: 0, count: 0 };

fuzz_target!(|archive: &[u8]| {
    let Ok(base) = BaseLayer::from_bytes(archive.to_vec()) else { return };
    let tree = Tree::new(base, LIMITS, BlobStore::new("/nowhere", u64::MAX));
    for entry in tree.list("/", true).expect("the root can always be listed") {
        if entry.kind == FileKind::File && !entry.path.starts_with("dev/") {
            let content = tree.read(&format!("/{}", entry.path)).expect("what is listed can be read");
            assert!(content.len() <= archive.len() as u64);
            let mut bytes = vec![0; content.len() as usize];
            assert_eq!(content.read_at(0, &mut bytes).expect("the base layer is in memory"), bytes.len());
        }
    }
});
