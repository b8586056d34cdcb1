//! Keys that a gateway makes for itself and keeps: 32 random bytes in a file of the user's alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

pub const KEY_BYTES: usize = 32;

/// Reads the key in `path`, or makes it. Whoever is killed meanwhile leaves a whole key or none.
///
/// # Errors
/// When the file can neither be read nor made, or holds no key. They name the file: an operator may have chosen it.
pub fn open(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    read_or_make(path).map_err(|error| io::Error::new(error.kind(), format!("the key in {}: {error}", path.display())))
}

fn read_or_make(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(error),
        Ok(key) => return check(&key),
    }
    // Not what was just made: another process may have been first.
    check(&fs::read(path)?)
}

fn check(key: &[u8]) -> io::Result<[u8; KEY_BYTES]> {
    key.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no key: it must have 32 bytes"))
}

fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let unfinished = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let made = file.write_all(&key).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&unfinished, path));
    fs::remove_file(&unfinished)?;
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path).unwrap())).collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; KEY_BYTES]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is left behind");
        assert_ne!(open(&folder.path().join("other")).unwrap(), keys[0]);
    }

    #[test]
    fn a_broken_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "short").unwrap();
        for file in ["key", "no folder/key"] {
            let error = open(&folder.path().join(file)).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
    }
}
