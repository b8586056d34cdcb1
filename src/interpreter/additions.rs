//! What a pool adds to an interpreter: packages, and code that runs when the image is taken.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A pool's own packages. They are resolved once, when the image is built, and stay as they were then.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Additions {
    /// Requirements as pip takes them (`name`, `name==1.2`), or absolute paths of wheels.
    pub packages: Vec<String>,
    /// Code that runs once, before the image is taken; what it imports is there in every session.
    pub preload: Option<String>,
}

impl Additions {
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.preload.is_none()
    }

    /// What is wrong with a requirement: it must not be taken for an option of pip's, nor lead elsewhere.
    pub fn problem(&self) -> Option<String> {
        let wrong = |requirement: &&String| {
            let path = requirement.ends_with(".whl");
            let begins = requirement.starts_with(|first: char| first.is_ascii_alphanumeric() || (path && first == '/'));
            !begins || requirement.chars().any(char::is_control) || (path && !requirement.starts_with('/'))
        };
        self.packages.iter().find(wrong).map(|requirement| {
            format!("has {requirement:?}; it must be a requirement as pip takes it, or the absolute path of a wheel")
        })
    }

    /// Changes with what is asked for, and with the content of the wheels that are named by path.
    pub(super) fn add_to(&self, hasher: &mut Sha256) {
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for requirement in &self.packages {
            add(requirement.as_bytes());
            if Path::new(requirement).is_absolute() {
                // One that cannot be read is told by pip, in the build.
                add(&fs::read(requirement).unwrap_or_default());
            }
        }
        add(self.preload.as_deref().unwrap_or_default().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_relative_paths_are_no_requirements() {
        let problem = |requirement: &str| Additions { packages: vec![requirement.into()], preload: None }.problem();
        for good in ["cowsay", "cowsay==6.1", "a[b]>=1,<2; python_version > '3'", "/opt/wheels/a-1-py3-none-any.whl"] {
            assert_eq!(problem(good), None);
        }
        for bad in
            ["", "--index-url=x", "-r x", "./a-1-py3-none-any.whl", "a-1-py3-none-any.whl", "/etc/passwd", "a\nb"]
        {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
