//! The file tree: layers, quotas, uploads, changes, forks.

use std::sync::Arc;

use sandpool::files::{
    BaseLayer, BlobStore, ChangeMark, FileError, FileKind, FileUsage, Inode, OpenOptions, Position, Tree,
};
use sandpool::sandbox::limits::FileLimits;

use crate::archive::{Body, tar};

pub const LIMITS: FileLimits = FileLimits { total_bytes: 8 << 20, file_bytes: 4 << 20, count: 1000 };

/// A tree that never spills.
pub fn tree_over(base: Arc<BaseLayer>) -> Tree {
    Tree::new(base, LIMITS, BlobStore::new("/nowhere", u64::MAX))
}

fn tree_with(limits: FileLimits) -> Tree {
    Tree::new(BaseLayer::empty(), limits, BlobStore::new("/nowhere", u64::MAX))
}

/// The content at `path`.
pub fn read(tree: &Tree, path: &str) -> Vec<u8> {
    let content = tree.read(path).unwrap();
    let mut bytes = vec![0; content.len() as usize];
    assert_eq!(content.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// Opens for writing, as `open(path, "w")`.
pub fn create(tree: &Tree, path: &str) -> Result<Inode, FileError> {
    let options = OpenOptions { write: true, create: true, truncate: true, follow: true, ..OpenOptions::default() };
    tree.open(Inode::ROOT, path, options).map(|(inode, _)| inode)
}

fn put(tree: &Tree, path: &str, bytes: &[u8]) -> Result<(), FileError> {
    let inode = create(tree, path)?;
    let written = tree.write_at(inode, Position::At(0), bytes);
    tree.close(inode);
    written.map(drop)
}

fn upload(tree: &Tree, path: &str, bytes: &[u8]) -> Result<(), FileError> {
    let mut staged = tree.begin_write();
    for part in bytes.chunks(10_000) {
        staged.write(part)?;
    }
    staged.commit(path).map(drop)
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.list("/mnt/data", true).unwrap().into_iter().map(|entry| entry.path).collect()
}

fn with_base_files() -> Tree {
    let archive = tar(&[
        ("usr/lib/os.py", Body::File(b"read-only")),
        ("home/user/.profile", Body::File(b"base profile")),
        ("home/user/kept/deep/a", Body::File(b"a")),
        ("home/user/kept/deep/b", Body::File(b"b")),
    ]);
    tree_over(BaseLayer::from_bytes(archive).unwrap())
}

#[test]
fn a_fresh_tree_has_its_folders_and_uses_nothing() {
    let tree = tree_with(LIMITS);
    for folder in ["/mnt/data", "/tmp", "/home/user", "/var/tmp", "/dev"] {
        assert_eq!(tree.metadata(folder).unwrap().kind, FileKind::Directory, "{folder}");
    }
    assert_eq!(tree.usage(), FileUsage::default());
    assert!(paths(&tree).is_empty());
}

#[test]
fn the_base_layer_cannot_be_changed_outside_of_the_writable_folders() {
    let tree = with_base_files();
    let root = Inode::ROOT;
    assert!(matches!(put(&tree, "/usr/lib/os.py", b"x"), Err(FileError::ReadOnly)));
    assert!(matches!(put(&tree, "/usr/lib/new.py", b"x"), Err(FileError::ReadOnly)));
    assert!(matches!(put(&tree, "/new", b"x"), Err(FileError::ReadOnly)));
    assert!(matches!(put(&tree, "/dev/new", b"x"), Err(FileError::ReadOnly)));
    assert!(matches!(tree.unlink(root, "/usr/lib/os.py"), Err(FileError::ReadOnly)));
    assert!(matches!(tree.unlink(root, "/dev/null"), Err(FileError::ReadOnly)));
    assert!(matches!(tree.rename(root, "/usr/lib/os.py", root, "/tmp/os.py"), Err(FileError::ReadOnly)));
    assert!(matches!(tree.rename(root, "/usr", root, "/tmp/usr"), Err(FileError::ReadOnly)));
    assert!(matches!(tree.link(root, "/usr/lib/os.py", true, root, "/tmp/os.py"), Err(FileError::CrossesLayers)));
    assert!(matches!(tree.remove_directory(root, "/mnt/data"), Err(FileError::ReadOnly)));
    assert!(matches!(tree.remove_directory(root, "/home/user"), Err(FileError::Busy)));
    assert!(matches!(tree.rename(root, "/home/user", root, "/tmp/user"), Err(FileError::Busy)));
    assert!(matches!(upload(&tree, "/usr/x", b""), Err(FileError::ReadOnly)));
    assert_eq!(read(&tree, "/usr/lib/os.py"), b"read-only");
}

#[test]
fn base_files_in_writable_folders_are_copied_on_write() {
    let base = BaseLayer::from_bytes(tar(&[("home/user/.profile", Body::File(b"base profile"))])).unwrap();
    let (one, other) = (tree_over(base.clone()), tree_over(base));
    let inode = one.stat_at(Inode::ROOT, "/home/user/.profile", true).unwrap().inode;
    let (opened, _) =
        one.open(Inode::ROOT, "/home/user/.profile", OpenOptions { write: true, ..OpenOptions::default() }).unwrap();
    one.write_at(opened, Position::At(5), b"PRO").unwrap();
    assert_eq!(read(&one, "/home/user/.profile"), b"base PROfile");
    assert_eq!(read(&other, "/home/user/.profile"), b"base profile");
    assert_eq!(one.stat_at(Inode::ROOT, "/home/user/.profile", true).unwrap().inode, inode, "the inode stays");
    assert_eq!(one.usage(), FileUsage { bytes: 12, count: 0 }, "the whole file is charged");
    one.unlink(Inode::ROOT, "/home/user/.profile").unwrap();
    assert_eq!(one.usage().bytes, 12, "still open");
    one.close(opened);
    assert_eq!(one.usage(), FileUsage::default());
    assert!(matches!(one.read("/home/user/.profile"), Err(FileError::NotFound)));
    assert!(other.read("/home/user/.profile").is_ok());
}

#[test]
fn a_base_directory_moves_with_its_content_and_can_be_removed() {
    let tree = with_base_files();
    let root = Inode::ROOT;
    tree.rename(root, "/home/user/kept", root, "/mnt/data/moved").unwrap();
    assert_eq!(paths(&tree), ["moved", "moved/deep", "moved/deep/a", "moved/deep/b"]);
    assert!(tree.metadata("/home/user/kept").is_err());
    assert_eq!(tree.usage(), FileUsage { bytes: 0, count: 1 }, "nothing is copied");
    assert!(matches!(tree.remove("/mnt/data/moved/deep"), Err(FileError::DirectoryNotEmpty)));
    tree.remove("moved/deep/a").unwrap();
    tree.remove("moved/deep/b").unwrap();
    tree.remove("moved/deep").unwrap();
    assert_eq!(paths(&tree), ["moved"]);
    tree.create_directory(root, "/mnt/data/moved/deep").unwrap();
    assert_eq!(paths(&tree), ["moved", "moved/deep"], "what was removed does not come back with a new directory");
    tree.create_directory(root, "/home/user/kept").unwrap();
    assert!(tree.list("/home/user/kept", true).unwrap().is_empty());
}

#[test]
fn quotas_are_reached_exactly_and_given_back() {
    let tree = tree_with(FileLimits { total_bytes: 100, file_bytes: 60, count: 3 });
    let data = |name: &str| format!("/mnt/data/{name}");
    put(&tree, &data("a"), &[1; 60]).unwrap();
    assert!(matches!(put(&tree, &data("b"), &[1; 61]), Err(FileError::QuotaFileBytes { limit: 60 })));
    assert!(matches!(put(&tree, &data("b"), &[1; 41]), Err(FileError::QuotaBytes { limit: 100 })));
    put(&tree, &data("b"), &[1; 40]).unwrap();
    assert_eq!(tree.usage(), FileUsage { bytes: 100, count: 2 });
    put(&tree, &data("c"), b"").unwrap();
    assert!(matches!(put(&tree, &data("d"), b""), Err(FileError::QuotaCount { limit: 3 })));
    assert!(matches!(tree.create_directory(Inode::ROOT, "/tmp/d"), Err(FileError::QuotaCount { .. })));
    assert!(matches!(tree.symlink("x", Inode::ROOT, "/tmp/d"), Err(FileError::QuotaCount { .. })));
    assert!(matches!(
        tree.link(Inode::ROOT, "/mnt/data/a", true, Inode::ROOT, "/tmp/d"),
        Err(FileError::QuotaCount { .. })
    ));
    tree.rename(Inode::ROOT, "/mnt/data/c", Inode::ROOT, "/tmp/c").unwrap();
    tree.remove("/tmp/c").unwrap();
    assert!(matches!(tree.symlink("x", Inode::ROOT, "/tmp/d"), Err(FileError::QuotaBytes { .. })), "a target is bytes");
    put(&tree, &data("a"), b"").unwrap();
    tree.symlink("x", Inode::ROOT, "/tmp/d").unwrap();
    assert_eq!(tree.usage(), FileUsage { bytes: 41, count: 3 });
    for path in ["/mnt/data/a", "/mnt/data/b", "/tmp/d"] {
        tree.remove(path).unwrap();
    }
    assert_eq!(tree.usage(), FileUsage::default());
}

#[test]
fn a_hole_costs_quota_and_no_memory() {
    let tree = tree_with(FileLimits { total_bytes: 1 << 40, file_bytes: 1 << 36, count: 10 });
    let inode = create(&tree, "/mnt/data/sparse").unwrap();
    tree.write_at(inode, Position::At((1 << 36) - 1), b"x").unwrap();
    assert_eq!(tree.usage().bytes, 1 << 36);
    for offset in [1 << 36, u64::MAX - 1, u64::MAX] {
        assert!(matches!(tree.write_at(inode, Position::At(offset), b"x"), Err(FileError::QuotaFileBytes { .. })));
        assert!(tree.set_size(inode, offset.saturating_add(1)).is_err());
    }
    let content = tree.read("/mnt/data/sparse").unwrap();
    let mut end = [9; 4];
    assert_eq!(content.read_at((1 << 36) - 3, &mut end).unwrap(), 3);
    assert_eq!(end, [0, 0, b'x', 9]);
}

#[test]
fn growing_after_a_cut_shows_zeros() {
    let directory = tempfile::tempdir().unwrap();
    for threshold in [u64::MAX, 1000] {
        let tree = Tree::new(BaseLayer::empty(), LIMITS, BlobStore::new(directory.path(), threshold));
        let inode = create(&tree, "/tmp/f").unwrap();
        tree.write_at(inode, Position::At(0), &[7; 200_000]).unwrap();
        tree.set_size(inode, 70_000).unwrap();
        tree.set_size(inode, 200_000).unwrap();
        let bytes = read(&tree, "/tmp/f");
        assert!(bytes[..70_000].iter().all(|byte| *byte == 7));
        assert!(bytes[70_000..].iter().all(|byte| *byte == 0));
        tree.write_at(inode, Position::At(70_100), &[8]).unwrap();
        assert_eq!(read(&tree, "/tmp/f")[69_999..70_102].iter().filter(|byte| **byte == 0).count(), 101);
    }
}

#[test]
fn large_files_go_to_disk_without_leaving_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = directory.path().join("blobs");
    let tree = Tree::new(BaseLayer::empty(), LIMITS, BlobStore::new(&blobs, 100_000));
    put(&tree, "/mnt/data/small", &[1; 100_000]).unwrap();
    assert!(!blobs.exists(), "made at first need");
    let inode = create(&tree, "/mnt/data/large").unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for (n, part) in bytes.chunks(33_333).enumerate() {
        tree.write_at(inode, Position::At(n as u64 * 33_333), part).unwrap();
    }
    assert_eq!(read(&tree, "/mnt/data/large"), bytes);
    assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 0);
    let before = tree.read("/mnt/data/large").unwrap();
    tree.write_at(inode, Position::At(65_530), b"changed").unwrap();
    let mut old = [0; 7];
    before.read_at(65_530, &mut old).unwrap();
    assert_eq!(old, bytes[65_530..65_537], "a download is of the moment when it began");
    assert_eq!(&read(&tree, "/mnt/data/large")[65_530..65_537], b"changed");
}

#[test]
fn a_disk_that_fails_is_an_error_and_breaks_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let not_a_directory = directory.path().join("file");
    std::fs::write(&not_a_directory, b"").unwrap();
    let tree = Tree::new(BaseLayer::empty(), LIMITS, BlobStore::new(not_a_directory.join("x"), 1000));
    put(&tree, "/mnt/data/kept", &[1; 1000]).unwrap();
    assert!(matches!(put(&tree, "/mnt/data/large", &[1; 1001]), Err(FileError::Spill(_))));
    assert!(matches!(upload(&tree, "/mnt/data/up", &[1; 5000]), Err(FileError::Spill(_))));
    assert_eq!(read(&tree, "/mnt/data/kept"), [1; 1000]);
    assert_eq!(tree.usage(), FileUsage { bytes: 1000, count: 2 });
    assert_eq!(read(&tree, "/mnt/data/large"), b"");
}

#[test]
fn an_upload_takes_its_place_at_once_or_not_at_all() {
    let tree = tree_with(LIMITS);
    upload(&tree, "/mnt/data/x/y/file.txt", b"first").unwrap();
    assert_eq!(paths(&tree), ["x", "x/y", "x/y/file.txt"]);
    let mut staged = tree.begin_write();
    staged.write(b"second, longer").unwrap();
    assert_eq!(read(&tree, "x/y/file.txt"), b"first");
    assert_eq!(tree.usage().bytes, 19, "what is on its way counts");
    drop(staged);
    assert_eq!((read(&tree, "x/y/file.txt"), tree.usage().bytes), (b"first".to_vec(), 5));
    upload(&tree, "/mnt/data/x/y/file.txt", b"second").unwrap();
    assert_eq!((read(&tree, "x/y/file.txt"), tree.usage()), (b"second".to_vec(), FileUsage { bytes: 6, count: 3 }));
    assert!(matches!(upload(&tree, "/mnt/data/x", b"no"), Err(FileError::NotAFile)));
    assert!(matches!(upload(&tree, "/mnt/data/x/y/file.txt/z", b"no"), Err(FileError::NotADirectory)));
    assert!(matches!(upload(&tree, "/mnt/data/..", b"no"), Err(FileError::InvalidPath)));
    let mut staged = tree.begin_write();
    assert!(matches!(staged.write(&vec![0; (4 << 20) + 1]), Err(FileError::QuotaFileBytes { .. })));
    drop(staged);
    assert_eq!(tree.usage().bytes, 6);
}

#[test]
fn an_upload_replaces_a_link_and_not_what_it_leads_to() {
    let tree = with_base_files();
    put(&tree, "/tmp/target", b"untouched").unwrap();
    tree.symlink("/tmp/target", Inode::ROOT, "/mnt/data/link").unwrap();
    upload(&tree, "/mnt/data/link", b"new").unwrap();
    assert_eq!((read(&tree, "/tmp/target"), read(&tree, "link")), (b"untouched".to_vec(), b"new".to_vec()));
    tree.symlink("/usr/lib", Inode::ROOT, "/mnt/data/lib").unwrap();
    assert!(matches!(upload(&tree, "/mnt/data/lib/x.py", b"no"), Err(FileError::ReadOnly)));
    tree.remove("lib").unwrap();
    assert!(tree.metadata("/usr/lib/os.py").is_ok());
}

#[test]
fn changes_since_a_mark_are_told() {
    let tree = with_base_files();
    put(&tree, "/mnt/data/old", b"1").unwrap();
    put(&tree, "/mnt/data/rewritten", b"1").unwrap();
    put(&tree, "/tmp/made elsewhere", b"1").unwrap();
    let mark = tree.mark();
    assert!(tree.changes_since(mark).is_empty());
    put(&tree, "/mnt/data/rewritten", b"22").unwrap();
    put(&tree, "/tmp/elsewhere", b"").unwrap();
    tree.rename(Inode::ROOT, "/tmp/made elsewhere", Inode::ROOT, "/mnt/data/b moved").unwrap();
    tree.rename(Inode::ROOT, "/home/user/kept", Inode::ROOT, "/mnt/data/kept").unwrap();
    tree.create_directory(Inode::ROOT, "/mnt/data/dir").unwrap();
    put(&tree, "/mnt/data/dir/new", b"333").unwrap();
    put(&tree, "/mnt/data/gone", b"").unwrap();
    tree.remove("gone").unwrap();
    let changes: Vec<_> = tree.changes_since(mark).into_iter().map(|entry| (entry.path, entry.size_bytes)).collect();
    let wanted = [("b moved", 1), ("dir/new", 3), ("kept/deep/a", 1), ("kept/deep/b", 1), ("rewritten", 2)];
    assert_eq!(changes, wanted.map(|(path, size)| (path.to_owned(), size)));
    assert!(tree.changes_since(tree.mark()).is_empty());
}

#[test]
fn a_fork_is_independent_and_shares_content() {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::new(BaseLayer::empty(), LIMITS, BlobStore::new(directory.path(), 300_000));
    put(&tree, "/mnt/data/large", &[1; 400_000]).unwrap();
    put(&tree, "/mnt/data/small", &[2; 200_000]).unwrap();
    let open = create(&tree, "/tmp/unlinked").unwrap();
    tree.write_at(open, Position::At(0), b"still here").unwrap();
    tree.unlink(Inode::ROOT, "/tmp/unlinked").unwrap();
    let fork = tree.fork();
    assert_eq!(fork.usage(), tree.usage());
    for (path, value) in [("/mnt/data/large", 1), ("/mnt/data/small", 2)] {
        let (inode, _) = fork.open(Inode::ROOT, path, OpenOptions { write: true, ..OpenOptions::default() }).unwrap();
        fork.write_at(inode, Position::At(70_000), &[9; 10]).unwrap();
        assert_eq!(read(&fork, path)[69_999..70_011].iter().filter(|byte| **byte == 9).count(), 10);
        assert!(read(&tree, path).iter().all(|byte| *byte == value));
    }
    fork.remove("large").unwrap();
    assert_eq!(read(&tree, "large").len(), 400_000);
    let mut bytes = [0; 10];
    assert_eq!(fork.read_at(open, 0, &mut bytes).unwrap(), 10);
    fork.close_all();
    assert!(fork.read_at(open, 0, &mut bytes).is_err());
    assert_eq!(tree.read_at(open, 0, &mut bytes).unwrap(), 10);
    drop(tree);
    assert_eq!(read(&fork, "small").len(), 200_000);
}

#[test]
fn a_tree_of_absurd_depth_can_be_listed() {
    let tree = tree_with(LIMITS);
    let mut at = tree.stat_at(Inode::ROOT, "/mnt/data", true).unwrap().inode;
    let name = "d".repeat(255);
    for _ in 0..1000 {
        tree.create_directory(at, &name).unwrap();
        at = tree.stat_at(at, &name, true).unwrap().inode;
    }
    assert_eq!(tree.list("/mnt/data", true).unwrap().len(), 16);
    let too_long = format!("/mnt/data/{}", "d/".repeat(3000));
    assert!(matches!(tree.metadata(&too_long), Err(FileError::NameTooLong)));
    assert!(tree.changes_since(ChangeMark::default()).is_empty());
    assert_eq!(
        tree.stat_at(at, &"../".repeat(1000), true).unwrap().inode,
        tree.stat_at(at, "/mnt/data", true).unwrap().inode
    );
}

#[test]
fn an_untouched_tree_is_small_and_cheap() {
    let base = BaseLayer::empty();
    let blobs = BlobStore::new("/nowhere", 0);
    let started = std::time::Instant::now();
    let trees: Vec<_> = (0..10_000).map(|_| Tree::new(base.clone(), LIMITS, blobs.clone())).collect();
    let each = started.elapsed() / 10_000;
    assert!(each < std::time::Duration::from_micros(20), "{each:?} a tree");
    assert_eq!(trees.len(), 10_000);
}
