//! Lines of text as operations on one tree: no path may reach what was never put in the tree, take long, or break the
//! count of what is used.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandpool::files::{BaseLayer, BlobStore, ClientPath, Inode, OpenOptions, Position, Tree};
use sandpool::sandbox::limits::FileLimits;

const LIMITS: FileLimits = FileLimits { total_bytes: 1 << 20, file_bytes: 1 << 18, count: 64 };

fuzz_target!(|text: &str| {
    let tree = Tree::new(BaseLayer::empty(), LIMITS, BlobStore::new("/nowhere", u64::MAX));
    let write = OpenOptions { write: true, create: true, follow: true, ..OpenOptions::default() };
    for line in text.lines() {
        let mut words = line.split('\t');
        let (what, one, two) = (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next().unwrap_or(""));
        let root = Inode::ROOT;
        match what {
            "l" => drop(tree.symlink(one, root, two)),
            "h" => drop(tree.link(root, one, true, root, two)),
            "m" => drop(tree.create_directory(root, one)),
            "r" => drop(tree.rename(root, one, root, two)),
            "u" => drop(tree.unlink(root, one)),
            "d" => drop(tree.remove_directory(root, one)),
            "w" => {
                if let Ok((inode, _)) = tree.open(root, one, write) {
                    let _ = tree.write_at(inode, Position::End, two.as_bytes());
                    tree.close(inode);
                }
            }
            "c" => {
                if let Ok(path) = ClientPath::new(one, Some(two)) {
                    assert!(path.as_str().starts_with("/mnt/data/") && !path.as_str().contains("/../"));
                    let mut staged = tree.begin_write();
                    let _ = staged.write(two.as_bytes());
                    let _ = staged.commit(path.as_str());
                }
            }
            path => {
                let _ = tree.stat_at(root, path, one.is_empty());
                let _ = tree.read_link(root, path);
            }
        }
        let usage = tree.usage();
        assert!(usage.bytes <= LIMITS.total_bytes && usage.count <= LIMITS.count);
    }
    let _ = tree.list("/mnt/data", true);
});
