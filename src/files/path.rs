//! What a caller's file name may be. Paths that a guest passes are not checked here but walked by `resolve.rs`.

use super::FileError;

/// The folder that callers see.
pub const CLIENT_ROOT: &str = "/mnt/data";
/// The longest name of one entry, as on Linux.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest path, as on Linux.
pub const MAX_PATH_BYTES: usize = 4096;

/// A caller's file name, checked: an absolute guest path below `/mnt/data` without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientPath(String);

impl ClientPath {
    /// `name` within `folder`, both relative to `/mnt/data` or below it. `name` may hold further folders.
    pub fn new(name: &str, folder: Option<&str>) -> Result<Self, FileError> {
        let mut path = String::from(CLIENT_ROOT);
        if let Some(folder) = folder {
            append(&mut path, folder)?;
        }
        let folder_bytes = path.len();
        append(&mut path, name)?;
        if path.len() == folder_bytes {
            return Err(FileError::InvalidPath);
        }
        Ok(Self(path))
    }

    /// A folder to list: as [`ClientPath::new`], but nothing, `/` and `/mnt/data` are the root.
    pub fn folder(folder: Option<&str>) -> Result<Self, FileError> {
        let mut path = String::from(CLIENT_ROOT);
        append(&mut path, folder.unwrap_or_default())?;
        Ok(Self(path))
    }

    /// The absolute path, `/mnt/data/...`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below `/mnt/data`, without a leading slash.
    pub fn relative(&self) -> &str {
        self.0.get(CLIENT_ROOT.len() + 1..).unwrap_or_default()
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

/// Adds the names of `text` to `path`.
fn append(path: &mut String, text: &str) -> Result<(), FileError> {
    if text.chars().any(char::is_control) {
        return Err(FileError::InvalidPath);
    }
    let below = match text.strip_prefix(CLIENT_ROOT) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => text,
    };
    for name in below.split('/').filter(|name| !name.is_empty()) {
        match name {
            "." => {}
            ".." => return Err(FileError::InvalidPath),
            name if name.len() > MAX_NAME_BYTES => return Err(FileError::NameTooLong),
            name => {
                path.push('/');
                path.push_str(name);
            }
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(FileError::NameTooLong);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str, folder: Option<&str>) -> Option<String> {
        ClientPath::new(name, folder).ok().map(|path| path.0)
    }

    #[test]
    fn names_end_below_the_data_folder() {
        for (name, folder, wanted) in [
            ("a.txt", None, "/mnt/data/a.txt"),
            ("/mnt/data/a.txt", None, "/mnt/data/a.txt"),
            ("mnt/data/a.txt", None, "/mnt/data/mnt/data/a.txt"),
            ("/mnt/database", None, "/mnt/data/mnt/database"),
            ("/a//b/", None, "/mnt/data/a/b"),
            ("a b é.csv", Some("x/y"), "/mnt/data/x/y/a b é.csv"),
            ("a", Some("/mnt/data/x"), "/mnt/data/x/a"),
            ("a", Some("/"), "/mnt/data/a"),
            ("./a/./b", None, "/mnt/data/a/b"),
            ("..a..", None, "/mnt/data/..a.."),
            ("a\\b", None, "/mnt/data/a\\b"),
        ] {
            assert_eq!(path(name, folder).as_deref(), Some(wanted), "{name} {folder:?}");
        }
    }

    #[test]
    fn what_could_mean_another_place_is_refused() {
        for (name, folder) in [
            ("", None),
            ("/", None),
            (".", None),
            ("/mnt/data", None),
            ("/mnt/data/", Some("x")),
            ("..", None),
            ("a/../b", None),
            ("a\0b", None),
            ("a\nb", None),
            ("a", Some("..")),
            ("a", Some("x/../..")),
        ] {
            assert!(matches!(ClientPath::new(name, folder), Err(FileError::InvalidPath)), "{name:?} {folder:?}");
        }
        assert!(matches!(ClientPath::new(&"x".repeat(256), None), Err(FileError::NameTooLong)));
        assert!(matches!(ClientPath::new(&"x/".repeat(3000), None), Err(FileError::NameTooLong)));
    }

    #[test]
    fn its_parts_can_be_asked_for() {
        let path = ClientPath::new("b/c.txt", Some("a")).unwrap();
        assert_eq!((path.relative(), path.name()), ("a/b/c.txt", "c.txt"));
        assert_eq!(ClientPath::folder(None).unwrap().relative(), "");
        assert_eq!(ClientPath::folder(Some("/mnt/data/")).unwrap().as_str(), "/mnt/data");
    }
}
