//! Any bytes as an exported session: refused, or a manifest whose chunks are what they are called. And any bytes as a file
//! tree, the part of a snapshot that holds most: refused, or a tree that can be listed, changed and written down again.
#![no_main]

use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sandpool::files::{BaseLayer, BlobStore, Inode, Tree};
use sandpool::sandbox::limits::FileLimits;
use sandpool::snapshot::file::SnapshotFile;
use sandpool::snapshot::{Manifest, RestoreError, Seal};
use sandpool::wire::Writer;
use sha2::{Digest, Sha256};

fn seal_of(bytes: &[u8]) -> [u8; 32] {
    let mut seal = Hmac::<Sha256>::new_from_slice(&[0; 32]).expect("any length");
    seal.update(bytes);
    seal.finalize().into_bytes().into()
}

const LIMITS: FileLimits = FileLimits { total_bytes: 1 << 20, file_bytes: 1 << 20, count: 1000 };

fuzz_target!(|bytes: &[u8]| {
    // With the seal and the checksum that they should have: otherwise nothing behind them would ever be reached.
    let seal = Seal::with_key([0; 32]);
    let manifest = [bytes, &seal_of(bytes)].concat();
    if let Ok(read) = Manifest::read(&manifest, &seal) {
        assert_eq!(read.write(&seal), manifest);
    }
    // "SANDPOOL FILE 1\n", the manifest, and then the rest as chunks.
    let (table, chunks) = bytes.split_at(bytes.len() / 2);
    let table = [table, &seal_of(table)].concat();
    let length = u32::try_from(table.len()).expect("inputs are short").to_le_bytes();
    let file = [b"SANDPOOL FILE 1\n".as_slice(), &length, &table, chunks].concat();
    let file = [&file[..], &Sha256::digest(&file)].concat();
    if let Ok(file) = SnapshotFile::read(&file, &seal) {
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
