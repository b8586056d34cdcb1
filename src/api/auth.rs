//! Whether a caller holds a key. It knows no roles and no tokens: `access/` will, and replaces this file.

use std::hint::black_box;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use super::error::Failure;
use crate::gateway::Gateway;

/// The keys that open the gateway, as digests: comparing digests takes the same time whatever the key sent, and its
/// length does not show.
pub(super) struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// No keys: everybody may call (a gateway on loopback).
    pub(super) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| digest(key.as_bytes())).collect())
    }

    /// Checks `Authorization: Bearer <key>`.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let sent =
            headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes())).ok_or(Failure::Unauthorized)?;
        let sent = digest(sent);
        // Every key is compared, so that the time does not tell which one nearly fitted.
        let fits = self.0.iter().fold(false, |found, key| found | equal(key, &sent));
        if fits { Ok(()) } else { Err(Failure::Unauthorized) }
    }
}

/// Who calls, for the records: a key is told by its pseudonym.
pub(super) fn caller(gateway: &Gateway, headers: &HeaderMap) -> Arc<str> {
    let sent = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let known = sent.filter(|_| !gateway.access().keys.is_empty()).map(String::from_utf8_lossy);
    match known.and_then(|key| gateway.records().pseudonym(&key)) {
        Some(pseudonym) => format!("key:{pseudonym}").into(),
        None => "anybody".into(),
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    black_box(a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(keys: &[&str], sent: Option<&str>) -> bool {
        let keys = Keys::new(&keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>());
        let headers = sent.map(|value| (AUTHORIZATION, value.parse().unwrap())).into_iter().collect();
        keys.admit(&headers).is_ok()
    }

    #[test]
    fn without_keys_everybody_may_call() {
        assert!(admits(&[], None));
    }

    #[test]
    fn with_keys_only_a_holder_may() {
        let keys = ["first-key", "second-key"];
        assert!(admits(&keys, Some("Bearer second-key")));
        assert!(admits(&keys, Some("bearer  first-key")));
        for sent in ["Bearer ", "Bearer first-ke", "Bearer first-key2", "Basic first-key", "first-key", ""] {
            assert!(!admits(&keys, Some(sent)), "{sent}");
        }
        assert!(!admits(&keys, None));
    }
}
