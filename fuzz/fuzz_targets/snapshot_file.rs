//! Any bytes as an exported session: refused, or a manifest whose chunks are what they are called. And any bytes as a file
//! tree, the part of a snapshot that holds most: refused, or a tree that can be listed, changed and written down again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandpool::files::{BaseLayer, BlobStore, Inode, Tree};
use sandpool::sandbox::limits::FileLimits;
use sandpool::snapshot::file::SnapshotFile;
use sandpool::snapshot::{Manifest, RestoreError};
use sandpool::wire::Writer;
use sha2::{Digest, Sha256};

const LIMITS: FileLimits = FileLimits { total_bytes: 1 << 20, file_bytes: 1 << 20, count: 1000 };

fuzz_target!(|bytes: &[u8]| {
    // With the checksum that it should have: otherwise nothing behind it would ever be reached.
    let sealed = [bytes, &Sha256::digest(bytes)].concat();
    if let Ok(manifest) = Manifest::read(&sealed) {
        assert_eq!(manifest.write(), sealed);
    }
    if let Ok(file) = SnapshotFile::read(&sealed) {
        for id in file.manifest.chunks() {
            let _ = file.fetch(&id);
        }
    }
    let blobs = BlobStore::new("/nowhere", u64::MAX);
    let open = [Inode(bytes.first().copied().unwrap_or_default().into())];
    let piece = |_| Ok::<_, RestoreError>(vec![7; 100]);
    if let Ok(tree) = Tree::read_back(BaseLayer::empty(), LIMITS, blobs, bytes, &open, piece) {
        for entry in tree.list("/", true).expect("the root can always be listed") {
            let _ = tree.remove(&format!("/{}", entry.path));
        }
        tree.close_all();
        tree.write(&mut Writer::default(), &mut |_| Ok(0)).expect("nothing is on a disk");
    }
});
