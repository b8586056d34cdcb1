//! The tree against a model that is a map from path to content: random operations give the same results, the same
//! listing, and the same count of bytes and entries.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sandpool::files::{BaseLayer, BlobStore, FileError, FileKind, Inode, Kind, OpenOptions, Position, SetTime, Tree};
use sandpool::sandbox::limits::FileLimits;

use crate::archive::{Body, tar};
use crate::files::read;

const LIMITS: FileLimits = FileLimits { total_bytes: 3000, file_bytes: 1500, count: 8 };

#[derive(Debug, Clone)]
enum Operation {
    Write { path: usize, offset: u64, len: usize, value: u8 },
    SetSize { path: usize, size: u64 },
    MakeDirectory { path: usize },
    Remove { path: usize },
    Rename { from: usize, to: usize },
    Upload { path: usize, len: usize, value: u8 },
    Touch { path: usize },
    Fork,
}

/// Few and nested, so that operations meet each other. The last three are in the base layer.
const PATHS: [&str; 10] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "base", "base/x", "base/y"];

fn operation() -> impl Strategy<Value = Operation> {
    let path = || 0..PATHS.len();
    prop_oneof![
        4 => (path(), 0..1600_u64, 1..900_usize, 1..255_u8)
            .prop_map(|(path, offset, len, value)| Operation::Write { path, offset, len, value }),
        2 => (path(), 0..1600_u64).prop_map(|(path, size)| Operation::SetSize { path, size }),
        3 => path().prop_map(|path| Operation::MakeDirectory { path }),
        3 => path().prop_map(|path| Operation::Remove { path }),
        4 => (path(), path()).prop_map(|(from, to)| Operation::Rename { from, to }),
        2 => (path(), 0..1600_usize, 1..255_u8).prop_map(|(path, len, value)| Operation::Upload { path, len, value }),
        1 => path().prop_map(|path| Operation::Touch { path }),
        1 => Just(Operation::Fork),
    ]
}

/// What is at a path; the root is not in the map.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Directory,
    File(Vec<u8>),
}

#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<String, Thing>);

impl Model {
    fn parent_is_directory(&self, path: &str) -> Result<(), &'static str> {
        match path.rsplit_once('/') {
            None => Ok(()),
            Some((parent, _)) => match self.0.get(parent) {
                Some(Thing::Directory) => Ok(()),
                Some(Thing::File(_)) => Err("not a directory"),
                // The first missing or wrong name on the way decides.
                None => self.parent_is_directory(parent).and(Err("not found")),
            },
        }
    }

    fn has_entries(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.0.keys().any(|key| key.starts_with(&prefix))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), &'static str> {
        self.parent_is_directory(from)?;
        self.parent_is_directory(to)?;
        let Some(thing) = self.0.get(from).cloned() else { return Err("not found") };
        let directory = thing == Thing::Directory;
        if directory && to.starts_with(&format!("{from}/")) {
            return Err("into itself");
        }
        if from.starts_with(&format!("{to}/")) {
            return Err("not empty");
        }
        if from == to {
            return Ok(());
        }
        match (directory, self.0.get(to)) {
            (true, Some(Thing::File(_))) => return Err("not a directory"),
            (false, Some(Thing::Directory)) => return Err("is a directory"),
            (true, Some(Thing::Directory)) if self.has_entries(to) => return Err("not empty"),
            _ => {}
        }
        let prefix = format!("{from}/");
        let moved: Vec<_> = self.0.keys().filter(|key| *key == from || key.starts_with(&prefix)).cloned().collect();
        for key in moved {
            let thing = self.0.remove(&key).unwrap();
            self.0.insert(format!("{to}{}", &key[from.len()..]), thing);
        }
        Ok(())
    }
}

fn word(error: &FileError) -> &'static str {
    match error {
        FileError::NotFound => "not found",
        FileError::NotAFile => "is a directory",
        FileError::NotADirectory => "not a directory",
        FileError::AlreadyExists => "exists",
        FileError::DirectoryNotEmpty => "not empty",
        FileError::InvalidArgument => "into itself",
        error => panic!("unexpected: {error}"),
    }
}

fn is_quota(error: &FileError) -> bool {
    matches!(error, FileError::QuotaBytes { .. } | FileError::QuotaFileBytes { .. } | FileError::QuotaCount { .. })
}

/// Does it on the tree.
fn on_tree(tree: &Tree, at: Inode, operation: &Operation) -> Result<(), FileError> {
    let write = OpenOptions { write: true, create: true, ..OpenOptions::default() };
    match *operation {
        Operation::Write { path, offset, len, value } => {
            let (inode, _) = tree.open(at, PATHS[path], write)?;
            let result = tree.write_at(inode, Position::At(offset), &vec![value; len]);
            tree.close(inode);
            result.map(drop)
        }
        Operation::SetSize { path, size } => {
            let (inode, _) = tree.open(at, PATHS[path], OpenOptions { create: false, ..write })?;
            let result = tree.set_size(inode, size);
            tree.close(inode);
            result
        }
        Operation::MakeDirectory { path } => tree.create_directory(at, PATHS[path]),
        Operation::Remove { path } => tree.remove(&format!("/home/user/{}", PATHS[path])),
        Operation::Rename { from, to } => tree.rename(at, PATHS[from], at, PATHS[to]),
        Operation::Upload { path, len, value } => {
            let mut staged = tree.begin_write();
            staged.write(&vec![value; len])?;
            staged.commit(&format!("/home/user/{}", PATHS[path])).map(drop)
        }
        Operation::Touch { path } => tree.set_times_at(at, PATHS[path], true, SetTime::Now, SetTime::To(5)),
        Operation::Fork => Ok(()),
    }
}

/// Does it on the model, which knows no quota: `created` tells whether a refused write had made its file.
fn on_model(model: &mut Model, operation: &Operation, refused: bool, created: bool) -> Result<(), &'static str> {
    match *operation {
        Operation::Write { path, offset, len, value } => {
            let path = PATHS[path];
            model.parent_is_directory(path)?;
            let thing = match model.0.get_mut(path) {
                Some(Thing::Directory) => return Err("is a directory"),
                Some(thing) => thing,
                None if refused && !created => return Ok(()),
                None => model.0.entry(path.to_owned()).or_insert(Thing::File(Vec::new())),
            };
            if let (Thing::File(bytes), false) = (thing, refused) {
                let end = offset as usize + len;
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset as usize..end].fill(value);
            }
        }
        Operation::SetSize { path, size } => {
            model.parent_is_directory(PATHS[path])?;
            match model.0.get_mut(PATHS[path]) {
                None => return Err("not found"),
                Some(Thing::Directory) => return Err("is a directory"),
                Some(Thing::File(_)) if refused => {}
                Some(Thing::File(bytes)) => bytes.resize(size as usize, 0),
            }
        }
        Operation::MakeDirectory { path } => {
            model.parent_is_directory(PATHS[path])?;
            if model.0.contains_key(PATHS[path]) {
                return Err("exists");
            }
            if !refused {
                model.0.insert(PATHS[path].to_owned(), Thing::Directory);
            }
        }
        Operation::Remove { path } => {
            model.parent_is_directory(PATHS[path])?;
            match model.0.get(PATHS[path]) {
                None => return Err("not found"),
                Some(Thing::Directory) if model.has_entries(PATHS[path]) => return Err("not empty"),
                Some(_) => drop(model.0.remove(PATHS[path])),
            }
        }
        Operation::Rename { from, to } => {
            let mut after = model.clone();
            after.rename(PATHS[from], PATHS[to])?;
            if !refused {
                *model = after;
            }
        }
        Operation::Upload { path, len, value } => {
            let path = PATHS[path];
            let mut folder = String::new();
            for name in path.split('/').collect::<Vec<_>>().split_last().unwrap().1 {
                folder = if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") };
                match model.0.get(&folder) {
                    Some(Thing::Directory) => {}
                    Some(Thing::File(_)) => return Err("not a directory"),
                    None => drop(model.0.insert(folder.clone(), Thing::Directory)),
                }
            }
            match model.0.get(path) {
                Some(Thing::Directory) => return Err("is a directory"),
                _ => drop(model.0.insert(path.to_owned(), Thing::File(vec![value; len]))),
            }
        }
        Operation::Touch { path } => {
            model.parent_is_directory(PATHS[path])?;
            if !model.0.contains_key(PATHS[path]) {
                return Err("not found");
            }
        }
        Operation::Fork => {}
    }
    Ok(())
}

fn contents(tree: &Tree) -> Model {
    let entries = tree.list("/home/user", true).unwrap();
    let things = entries.into_iter().map(|entry| {
        let thing = match entry.kind {
            FileKind::File => Thing::File(read(tree, &format!("/{}", entry.path))),
            FileKind::Directory => Thing::Directory,
            FileKind::Link => unreachable!("no operation makes a link"),
        };
        (entry.path.strip_prefix("home/user/").unwrap().to_owned(), thing)
    });
    Model(things.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_do_what_a_map_does(operations in prop::collection::vec(operation(), 1..60), spill: bool) {
        let base = tar(&[
            ("home/user/base/x", Body::File(&[1; 700])),
            ("home/user/base/y", Body::File(&[2; 10])),
        ]);
        let directory = tempfile::tempdir().unwrap();
        let blobs = BlobStore::new(directory.path(), if spill { 500 } else { u64::MAX });
        let mut tree = Tree::new(BaseLayer::from_bytes(base).unwrap(), LIMITS, blobs);
        let (at, kind) = tree
            .open(Inode::ROOT, "/home/user", OpenOptions { directory: true, ..OpenOptions::default() })
            .unwrap();
        prop_assert_eq!(kind, Kind::Directory);
        let mut model = contents(&tree);
        let mut left_behind: Vec<(Tree, Model)> = Vec::new();
        for operation in &operations {
            if let Operation::Fork = operation {
                let fork = tree.fork();
                left_behind.push((std::mem::replace(&mut tree, fork), model.clone()));
                continue;
            }
            let before = tree.usage();
            let result = on_tree(&tree, at, operation);
            match &result {
                Err(error) if is_quota(error) => {
                    // An upload may have made folders before it was refused; what is there is asked of the tree.
                    if let Operation::Upload { .. } = operation {
                        model = contents(&tree);
                    } else {
                        let created = tree.usage().count > before.count;
                        prop_assert_eq!(on_model(&mut model, operation, true, created), Ok(()));
                    }
                }
                result => {
                    let wanted = on_model(&mut model, operation, false, true);
                    prop_assert_eq!(result.as_ref().map_err(word), wanted.as_ref().map_err(|word| *word), "{:?}", operation);
                }
            }
            prop_assert_eq!(&contents(&tree).0, &model.0, "{:?}", operation);
            let usage = tree.usage();
            prop_assert!(usage.bytes <= LIMITS.total_bytes && usage.count <= LIMITS.count, "{:?}", usage);
        }
        for (tree, model) in left_behind {
            prop_assert_eq!(contents(&tree).0, model.0, "a fork changed what it was made from");
        }
        // Removing everything gives everything back.
        let mut paths: Vec<_> = model.0.into_keys().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in paths {
            tree.remove(&format!("/home/user/{path}")).unwrap();
        }
        prop_assert_eq!(tree.usage(), Default::default());
    }
}
