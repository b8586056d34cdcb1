//! Names of session pools.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A pool's name: 1 to 63 characters of `[a-z0-9-]`, a letter first. Upper case is taken and lowered, because resource
/// paths are case-insensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pool name has 1 to 63 characters of a-z, 0-9 and -, and starts with a letter")]
pub struct InvalidPoolName;

impl PoolName {
    /// Checks and lowers `text`.
    ///
    /// # Errors
    /// When it is no name.
    pub fn new(text: &str) -> Result<Self, InvalidPoolName> {
        let name = text.to_ascii_lowercase();
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if starts && fits && name.len() <= 63 { Ok(Self(name)) } else { Err(InvalidPoolName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PoolName {
    type Error = InvalidPoolName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<PoolName> for String {
    fn from(name: PoolName) -> Self {
        name.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(PoolName::new("Python-3").map(String::from), Ok("python-3".to_owned()));
        for bad in ["", "3x", "-x", "a_b", "a/b", "ü", &"a".repeat(64)] {
            assert_eq!(PoolName::new(bad), Err(InvalidPoolName), "{bad}");
        }
    }
}
