//! A file tree as bytes and back, and what is refused on the way: the bytes may come from anywhere.

use std::io;
use std::sync::{Arc, LazyLock};

use sandpool::files::{BaseLayer, BlobStore, Inode, OpenOptions, Position, Tree};
use sandpool::sandbox::limits::FileLimits;
use sandpool::wire::{Malformed, Writer};

const LIMITS: FileLimits = FileLimits { total_bytes: 4 << 20, file_bytes: 4 << 20, count: 100 };

fn blobs() -> BlobStore {
    BlobStore::new(std::env::temp_dir().join("sandpool-test-blobs"), 100_000)
}

/// One for all: its own times are those of its making.
fn base() -> Arc<BaseLayer> {
    static BASE: LazyLock<Arc<BaseLayer>> = LazyLock::new(BaseLayer::empty);
    BASE.clone()
}

fn written(tree: &Tree) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut out, mut pieces) = (Writer::default(), Vec::new());
    let mut keep = |piece: sandpool::files::Piece<'_>| {
        pieces.push(piece.bytes()?.into_owned());
        u32::try_from(pieces.len() - 1).map_err(io::Error::other)
    };
    tree.write(&mut out, &mut keep).unwrap();
    (out.into_bytes(), pieces)
}

#[derive(Debug)]
struct Refused;

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Self
    }
}

fn read_back(bytes: &[u8], pieces: &[Vec<u8>], open: &[Inode], limits: FileLimits) -> Result<Tree, Refused> {
    let fetch = |number: u32| pieces.get(number as usize).cloned().ok_or(Refused);
    Tree::read_back(base(), limits, blobs(), bytes, open, fetch)
}

fn write(tree: &Tree, path: &str, content: &[u8]) -> Inode {
    let options = OpenOptions { write: true, create: true, ..OpenOptions::default() };
    let (inode, _) = tree.open(Inode::ROOT, path, options).unwrap();
    tree.write_at(inode, Position::At(0), content).unwrap();
    inode
}

/// A tree with a bit of everything; what is left open.
fn tree() -> (Tree, Vec<Inode>) {
    let tree = Tree::new(base(), LIMITS, blobs());
    tree.close(write(&tree, "/mnt/data/small", b"small"));
    tree.close(write(&tree, "/mnt/data/large", &vec![7; 300_000]));
    tree.create_directory(Inode::ROOT, "/mnt/data/dir").unwrap();
    tree.create_directory(Inode::ROOT, "/mnt/data/dir/deeper").unwrap();
    tree.close(write(&tree, "/mnt/data/dir/deeper/f", b"deep"));
    tree.link(Inode::ROOT, "/mnt/data/small", false, Inode::ROOT, "/tmp/second").unwrap();
    tree.symlink("small", Inode::ROOT, "/mnt/data/link").unwrap();
    let open = write(&tree, "/tmp/removed", b"still open");
    tree.unlink(Inode::ROOT, "/tmp/removed").unwrap();
    (tree, vec![open])
}

#[test]
fn a_tree_comes_back_whole() {
    let (tree, open) = tree();
    let (bytes, pieces) = written(&tree);
    let back = read_back(&bytes, &pieces, &open, LIMITS).unwrap();
    assert_eq!(back.list("/", true).unwrap(), tree.list("/", true).unwrap());
    assert_eq!((back.usage(), back.mark()), (tree.usage(), tree.mark()));
    let mut content = vec![0; 300_000];
    back.read("large").unwrap().read_at(0, &mut content).unwrap();
    assert_eq!(content, vec![7; 300_000]);
    let mut content = [0; 10];
    back.read_at(open[0], 0, &mut content).unwrap();
    assert_eq!(&content, b"still open");
    // What nobody has open any more goes with its last descriptor.
    back.close(open[0]);
    assert!(back.read_at(open[0], 0, &mut content).is_err());
    assert_eq!(back.usage().bytes, tree.usage().bytes - 10);
    // It lives: links are one file, folders are empty or not, quotas count on.
    let second = write(&back, "/tmp/second", b"SMALL");
    back.close(second);
    let mut content = [0; 5];
    back.read("small").unwrap().read_at(0, &mut content).unwrap();
    assert_eq!(&content, b"SMALL");
    assert!(back.remove("dir").is_err());
    for path in ["dir/deeper/f", "dir/deeper", "dir", "small", "large", "link", "/tmp/second"] {
        back.remove(path).unwrap();
    }
    assert_eq!((back.usage().bytes, back.usage().count), (0, 0));
    let (again, _) = written(&tree);
    assert_eq!(again, bytes);
}

#[test]
fn what_nobody_has_open_is_not_brought_back() {
    let (tree, open) = tree();
    let (bytes, pieces) = written(&tree);
    let back = read_back(&bytes, &pieces, &[], LIMITS).unwrap();
    assert_eq!(back.usage().bytes, tree.usage().bytes - 10);
    assert!(back.standing(open[0]).is_none());
}

#[test]
fn what_does_not_fit_the_quota_is_refused() {
    let (tree, open) = tree();
    let (bytes, pieces) = written(&tree);
    let used = tree.usage();
    assert!(
        read_back(&bytes, &pieces, &open, FileLimits { total_bytes: used.bytes, count: used.count, ..LIMITS }).is_ok()
    );
    assert!(read_back(&bytes, &pieces, &open, FileLimits { total_bytes: used.bytes - 1, ..LIMITS }).is_err());
    assert!(read_back(&bytes, &pieces, &open, FileLimits { count: used.count - 1, ..LIMITS }).is_err());
}

/// Whatever is taken for a tree can be used as one.
fn use_it(tree: &Tree) {
    let entries = tree.list("/", true).expect("the root can always be listed");
    for entry in entries {
        let path = format!("/{}", entry.path);
        let _ = tree.read(&path).map(|content| content.read_at(0, &mut [0; 64]));
        let _ = tree.rename(Inode::ROOT, &path, Inode::ROOT, "/mnt/data/moved");
        let _ = tree.remove(&path);
    }
    tree.close(write(tree, "/mnt/data/new", b"new"));
    let _ = written(tree);
    tree.close_all();
}

#[test]
fn every_cut_is_refused_and_every_changed_byte_is_refused_or_harmless() {
    let (tree, open) = tree();
    let (bytes, pieces) = written(&tree);
    for end in 0..bytes.len() {
        assert!(read_back(&bytes[..end], &pieces, &open, LIMITS).is_err(), "cut at {end}");
    }
    let mut taken = 0;
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            if let Ok(tree) = read_back(&changed, &pieces, &open, LIMITS) {
                taken += 1;
                use_it(&tree);
            }
        }
    }
    // Times, names and the like may be anything.
    assert!(taken > 0 && taken < bytes.len() * 3 / 2, "{taken} of {}", bytes.len() * 3);
}

#[test]
fn a_missing_piece_is_refused() {
    let (tree, open) = tree();
    let (bytes, pieces) = written(&tree);
    assert!(read_back(&bytes, &pieces[1..pieces.len() - 1], &open, LIMITS).is_err());
}
