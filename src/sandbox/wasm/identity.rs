//! What makes an image the same image: its started memory and its files, to the byte.
//!
//! Not the recipe: an interpreter that is built or started anew has other addresses and seeds in its memory, and a state that
//! was captured on the one makes no sense on the other. Not the machine code either: it may be compiled anew at any time.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// SHA-256 over the initialised module and the base layer's archive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageIdentity(pub [u8; 32]);

impl ImageIdentity {
    /// Reads both files; takes a tenth of a second.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn of(initialised: &Path, base: &Path) -> io::Result<Self> {
        let mut hash = Sha256::new();
        for path in [initialised, base] {
            let mut file = File::open(path)?;
            hash.update(file.metadata()?.len().to_le_bytes());
            let mut buffer = vec![0; 1 << 20];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => hash.update(&buffer[..read]),
                }
            }
        }
        Ok(Self(hash.finalize().into()))
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let mut identity = [0; 32];
        if text.len() != 2 * identity.len() {
            return None;
        }
        for (byte, digits) in identity.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(identity))
    }
}

impl fmt::Display for ImageIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ImageIdentity {
    /// Its beginning: enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image {:02x}{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_changes_with_either_file_and_can_be_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (a, b, c) = (path("a", "module"), path("b", "files"), path("c", "other"));
        let identity = ImageIdentity::of(&a, &b).unwrap();
        assert_ne!(identity, ImageIdentity::of(&a, &c).unwrap());
        assert_ne!(identity, ImageIdentity::of(&c, &b).unwrap());
        assert_eq!(ImageIdentity::parse(&identity.to_string()), Some(identity));
        for wrong in ["", "0", &"x".repeat(64), &"0".repeat(65)] {
            assert_eq!(ImageIdentity::parse(wrong), None);
        }
    }
}
