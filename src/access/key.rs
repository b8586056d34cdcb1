//! The text of an API key, and how one is compared.
//!
//! `sandpool_<id>_<secret>`: the id names the key in lists and logs, the secret is 256 random bits. Only the secret's
//! SHA-256 is kept. A slow password hash would add nothing: there is no dictionary of 256 random bits, and each request
//! would pay for it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "sandpool_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// Names a key: 16 hexadecimal digits. Not secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key has 16 digits of 0-9 and a-f")]
pub struct InvalidKeyId;

impl KeyId {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is no id.
    pub fn new(text: &str) -> Result<Self, InvalidKeyId> {
        let fits = text.len() == 2 * ID_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidKeyId) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;

    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        Self::new(&text)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

/// What is kept of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a secret, or of a key of the configuration file.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are of the same secret; takes the same time in either case.
    pub fn fits(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A key as its holder has it.
pub struct Key {
    pub id: KeyId,
    secret: [u8; SECRET_BYTES],
}

impl Key {
    /// A new one, from the system's randomness.
    pub fn random() -> Self {
        let id: String = random::<ID_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id: KeyId(id), secret: random() }
    }

    /// Reads a bearer text. None when it is no key of this kind.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id = KeyId::new(id).ok()?;
        let mut bytes = [0; SECRET_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (length == SECRET_BYTES).then_some(Self { id, secret: bytes })
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// The text for its holder: shown once, and kept nowhere.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id.0, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, hidden)", self.id.0)
    }
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness once it runs programs");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_fits_itself_alone() {
        let (key, other) = (Key::random(), Key::random());
        let read = Key::parse(&key.reveal()).unwrap();
        assert!(read.id == key.id && read.digest().fits(&key.digest()));
        assert!(!other.digest().fits(&key.digest()));
        assert!(!format!("{key:?}").contains(&URL_SAFE_NO_PAD.encode(key.secret)));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let good = Key::random().reveal();
        let cut = good[..good.len() - 1].to_owned();
        for text in ["", "sandpool_", "sandpool__", "sandpool_0123456789abcdef_", &cut, &format!("{good}A"), &good[1..]]
        {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }
}
