//! Names that stand for secret ones: the same for the same text, and of no use without the key.

use std::fmt;
use std::io;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::keyfile;

/// The beginning of an HMAC-SHA256, 64 bits: enough to tell sessions apart. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym([u8; 8]);

impl Pseudonym {
    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes())))?
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key, with its part of the hash computed.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// Reads the key, or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let key = keyfile::open(path)?;
        Ok(Self(Hmac::new_from_slice(&key).expect("a key of an HMAC may have any length")))
    }

    pub(super) fn pseudonym(&self, text: &str) -> Pseudonym {
        let hash = self.0.clone().chain_update(text.as_bytes()).finalize().into_bytes();
        Pseudonym(hash[..8].try_into().expect("it has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_with_the_same_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Key::open(&folder.path().join("a")).unwrap().pseudonym("session-1");
        assert_eq!(Key::open(&folder.path().join("a")).unwrap().pseudonym("session-1"), first);
        assert_ne!(Key::open(&folder.path().join("a")).unwrap().pseudonym("session-2"), first);
        assert_ne!(Key::open(&folder.path().join("b")).unwrap().pseudonym("session-1"), first);
        assert_eq!(Pseudonym::parse(&first.to_string()), Some(first));
        assert!(Pseudonym::parse("+123456789abcdef").is_none() && Pseudonym::parse("é").is_none());
    }
}
