//! From a path to a place in the tree. The walk can end nowhere else: `..` of the root is the root, an absolute path or
//! link starts at the tree's root, and no name is ever given to the host. It changes nothing.

use super::FileError;
use super::entry::{Inode, Kind};
use super::layer::Layer;
use super::path::{MAX_NAME_BYTES, MAX_PATH_BYTES};

/// Symbolic links followed in one path, as on Linux.
pub const MAX_LINKS: u32 = 40;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The directory that holds the last name.
    pub parent: Inode,
    pub last: Last,
    /// What is there now.
    pub found: Option<Inode>,
    /// The path ended with a slash.
    pub slash: bool,
}

/// Whether a link in a path's last place is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Yes,
    /// Only if a slash comes after it: for what looks at the thing itself.
    IfSlash,
    /// For what changes the name: making, moving, removing.
    No,
}

impl Follow {
    pub fn unless_link_itself(follow: bool) -> Self {
        if follow { Follow::Yes } else { Follow::IfSlash }
    }
}

/// How a path ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    Name(String),
    /// `.`, or the root itself.
    Dot,
    DotDot,
}

impl Place {
    /// The last name; without one the place can be neither made, moved nor removed.
    pub fn name(&self) -> Option<&str> {
        match &self.last {
            Last::Name(name) => Some(name),
            Last::Dot | Last::DotDot => None,
        }
    }
}

impl Layer {
    /// Walks `path` from the directory `at`.
    pub fn resolve(&self, at: Inode, path: &str, follow: Follow) -> Result<Place, FileError> {
        check_text(path)?;
        if self.kind(at)? != Kind::Directory {
            return Err(FileError::NotADirectory);
        }
        let mut slash = path.ends_with('/');
        let mut here = if path.starts_with('/') { Inode::ROOT } else { at };
        let mut place = Place { parent: here, last: Last::Dot, found: Some(here), slash };
        let mut rest = path;
        // What is left to walk of the paths that held the links being followed.
        let mut outer: Vec<&str> = Vec::new();
        let mut links = 0;
        loop {
            rest = rest.trim_start_matches('/');
            if rest.is_empty() {
                match outer.pop() {
                    Some(text) => rest = text,
                    None => return Ok(place),
                }
                continue;
            }
            let (name, after) = rest.split_once('/').map_or((rest, ""), |(name, after)| (name, after));
            let before_slash = rest.len() > name.len();
            rest = after.trim_start_matches('/');
            here = match place.found {
                Some(inode) => inode,
                None => return Err(FileError::NotFound),
            };
            match self.kind(here)? {
                Kind::Directory => {}
                _ => return Err(FileError::NotADirectory),
            }
            let is_last = rest.is_empty() && outer.is_empty();
            // A link's target that ends with a slash asks for a directory like a path that does.
            slash |= is_last && before_slash;
            place = self.step(here, name, slash)?;
            let Some(target) = place.found.and_then(|inode| self.link_target(inode)) else {
                continue;
            };
            if is_last && (follow == Follow::No || follow == Follow::IfSlash && !slash) {
                return Ok(place);
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(FileError::TooManyLinks);
            }
            // Only what has names left: a walk's cost is then in its names, however many slashes there are.
            if !rest.is_empty() {
                outer.push(rest);
            }
            rest = target;
            let start = if target.starts_with('/') { Inode::ROOT } else { here };
            place = Place { parent: start, last: Last::Dot, found: Some(start), slash };
        }
    }

    /// One name further from the directory `here`.
    fn step(&self, here: Inode, name: &str, slash: bool) -> Result<Place, FileError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(FileError::NameTooLong);
        }
        Ok(match name {
            "." => Place { parent: here, last: Last::Dot, found: Some(here), slash },
            ".." => {
                let parent = self.parent(here);
                Place { parent, last: Last::DotDot, found: Some(parent), slash }
            }
            name => Place { parent: here, last: Last::Name(name.to_owned()), found: self.child(here, name), slash },
        })
    }
}

/// What holds of every path before a name in it is looked at.
pub(super) fn check_text(path: &str) -> Result<(), FileError> {
    if path.is_empty() {
        return Err(FileError::NotFound);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(FileError::NameTooLong);
    }
    if path.contains('\0') {
        return Err(FileError::InvalidPath);
    }
    Ok(())
}
