//! The keys of an issuer, fetched when they are needed and kept.
//!
//! Whoever can send a token can make up a key id, so an unknown id leads to a fetch only so often; meanwhile it is
//! refused from memory. A fetch that fails keeps what there is.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Keys are fetched again after so long, so that one that the issuer took back ends.
const KEEP: Duration = Duration::from_secs(3600);
/// An unknown key id leads to a fetch so often at most.
const PAUSE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);
/// Large issuers publish some ten kilobytes.
const MOST_BYTES: usize = 512 * 1024;
const MOST_KEYS: usize = 256;

/// A public key, and what it may have signed.
#[derive(Clone)]
pub struct PublicKey {
    pub key: DecodingKey,
    pub algorithms: Vec<Algorithm>,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPublicKey {
    /// The issuer has none of this id.
    Unknown,
    /// The issuer could not be asked, and nothing is known of it.
    Unreachable,
}

/// The keys of one issuer.
pub struct KeySet {
    url: String,
    client: reqwest::Client,
    known: RwLock<Known>,
    /// One fetch at a time: who waits for it finds what it brought.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Arc<HashMap<String, PublicKey>>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl KeySet {
    pub fn new(url: String) -> Self {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the TLS library has its defaults");
        Self { url, client, known: RwLock::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key that signs under `id`.
    ///
    /// # Errors
    /// See [`NoPublicKey`].
    pub async fn find(&self, id: &str) -> Result<PublicKey, NoPublicKey> {
        let (found, due) = self.look(id);
        if let (Some(found), false) = (&found, due) {
            return Ok(found.clone());
        }
        {
            // Whoever comes while somebody fetches waits for what that brings.
            let _one = self.fetching.lock().await;
            if self.look(id).1 {
                self.fetch().await;
            }
        }
        match self.look(id).0 {
            Some(found) => Ok(found),
            None if self.known.read().unwrap_or_else(PoisonError::into_inner).fetched_at.is_some() => {
                Err(NoPublicKey::Unknown)
            }
            None => Err(NoPublicKey::Unreachable),
        }
    }

    /// The key, and whether a fetch is due.
    fn look(&self, id: &str) -> (Option<PublicKey>, bool) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.keys.get(id).cloned();
        let stale = known.fetched_at.is_none_or(|at| at.elapsed() > KEEP);
        let rested = known.tried_at.is_none_or(|at| at.elapsed() > PAUSE);
        let due = (found.is_none() || stale) && rested;
        (found, due)
    }

    async fn fetch(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).tried_at = Some(Instant::now());
        match self.ask().await {
            Ok(keys) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                (known.keys, known.fetched_at) = (Arc::new(keys), Some(Instant::now()));
            }
            Err(error) => tracing::warn!(%error, "the keys of a token issuer cannot be fetched"),
        }
    }

    async fn ask(&self) -> Result<HashMap<String, PublicKey>, Box<dyn std::error::Error + Send + Sync>> {
        let mut answer = self.client.get(&self.url).send().await?.error_for_status()?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("it answered {}", answer.status()).into());
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            body.extend_from_slice(&piece);
            if body.len() > MOST_BYTES {
                return Err("its key set is too large".into());
            }
        }
        Ok(read(&body)?)
    }
}

/// The usable keys of a set; those of kinds that we do not know are left out.
fn read(body: &[u8]) -> Result<HashMap<String, PublicKey>, serde_json::Error> {
    let set: JwkSet = serde_json::from_slice(body)?;
    let usable = set.keys.iter().filter_map(|jwk| Some((jwk.common.key_id.clone()?, public_key(jwk)?)));
    Ok(usable.take(MOST_KEYS).collect())
}

/// None when it is no public key for signatures.
fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => vec![EdDSA],
        // A secret in a public place is none.
        _ => return None,
    };
    if let Some(only) = &jwk.common.key_algorithm {
        algorithms.retain(|algorithm| same(*algorithm, only));
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then_some(PublicKey { key, algorithms })
}

fn same(algorithm: Algorithm, named: &KeyAlgorithm) -> bool {
    format!("{algorithm:?}") == format!("{named:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let point = "AQAB".repeat(10) + "AQA";
        let set = format!(
            r#"{{"keys":[
            {{"kid":"rsa","kty":"RSA","n":"{point}","e":"AQAB","alg":"RS256","use":"sig"}},
            {{"kid":"enc","kty":"RSA","n":"{point}","e":"AQAB","use":"enc"}},
            {{"kid":"oct","kty":"oct","k":"c2VjcmV0"}},
            {{"kid":"ec","kty":"EC","crv":"P-256","x":"{point}","y":"{point}"}},
            {{"kty":"EC","crv":"P-256","x":"{point}","y":"{point}"}}]}}"#
        );
        let keys = read(set.as_bytes()).unwrap();
        assert_eq!(keys["rsa"].algorithms, [Algorithm::RS256]);
        assert_eq!(keys["ec"].algorithms, [Algorithm::ES256]);
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn names_of_algorithms_are_the_same_in_both_lists() {
        assert!(same(Algorithm::EdDSA, &KeyAlgorithm::EdDSA) && same(Algorithm::PS512, &KeyAlgorithm::PS512));
        assert!(!same(Algorithm::RS256, &KeyAlgorithm::PS256));
    }
}
