//! Bearer tokens (JWT): of configured issuers, and of the gateway's own token endpoint.
//!
//! A token says itself who made it and how it is signed, and neither is believed: its `iss` must be one that is
//! configured, its key one of that issuer, and its algorithm one that the key is for. Secrets (HMAC) sign the gateway's
//! own tokens and nothing else.

mod crypto;
mod issuer;
mod key_set;

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

pub use issuer::{IdentitySettings, IssuerSettings, TokenGrant};

use super::caller::{Caller, Proof};
use key_set::{KeySet, NoPublicKey};

/// Tokens of real issuers have one or two kilobytes; some with many groups have eight.
pub const MOST_BYTES: usize = 16 * 1024;
/// Clocks may differ by so much.
const SKEW_SECONDS: u64 = 60;
/// The `iss` of the gateway's own tokens.
const OURS: &str = "sandpool";

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    #[error("the token is too long")]
    TooLong,
    #[error("the token cannot be read")]
    Malformed,
    #[error("the token's issuer is not trusted here")]
    Issuer,
    #[error("the token is signed with a key or an algorithm that its issuer does not have")]
    Key,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired, or does not hold yet")]
    Time,
    #[error("the token is for another audience")]
    Audience,
    #[error("nothing is granted to this token")]
    NoGrant,
    /// Not the caller's fault.
    #[error("the keys of the token's issuer cannot be had")]
    Unreachable,
}

/// The gateway's own tokens.
struct Identity {
    settings: IdentitySettings,
    secret: [u8; 32],
}

/// A token for whoever asked the token endpoint.
pub struct Issued {
    pub token: String,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Checks tokens, and issues the gateway's own.
#[derive(Default)]
pub struct Tokens {
    issuers: HashMap<String, (IssuerSettings, KeySet)>,
    identity: Option<Identity>,
}

impl Tokens {
    pub fn new(issuers: Vec<IssuerSettings>, identity: Option<(IdentitySettings, [u8; 32])>) -> Self {
        crypto::install();
        let with_keys = |issuer: IssuerSettings| {
            let keys = KeySet::new(issuer.jwks_url.clone());
            (issuer.issuer.clone(), (issuer, keys))
        };
        Self {
            issuers: issuers.into_iter().map(with_keys).collect(),
            identity: identity.map(|(settings, secret)| Identity { settings, secret }),
        }
    }

    /// Whether some issuer is trusted.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Who holds this token.
    ///
    /// # Errors
    /// See [`NoToken`].
    pub async fn admit(&self, token: &str) -> Result<Caller, NoToken> {
        if token.len() > MOST_BYTES {
            return Err(NoToken::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| NoToken::Malformed)?;
        // Not verified: it only chooses whose keys are tried.
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| NoToken::Malformed)?;
        let named = claims["iss"].as_str().ok_or(NoToken::Issuer)?;
        match (named, &self.identity) {
            (OURS, Some(identity)) => identity.admit(token),
            _ => {
                let (issuer, keys) = self.issuers.get(named).ok_or(NoToken::Issuer)?;
                admit(issuer, keys, &header, token).await
            }
        }
    }

    /// The settings of the token endpoint; none when there is none.
    pub fn identity(&self) -> Option<&IdentitySettings> {
        self.identity.as_ref().map(|identity| &identity.settings)
    }

    /// A token for who sent this header to the token endpoint. None when it is the wrong one.
    pub fn issue(&self, header: &[u8], resource: &str, now: u64) -> Option<Issued> {
        let Identity { settings, secret } = self.identity.as_ref()?;
        if !bool::from(settings.header.as_bytes().ct_eq(header)) {
            return None;
        }
        let expires_at = now + settings.token_seconds;
        let claims = json!({ "iss": OURS, "aud": resource, "sub": "identity", "iat": now, "exp": expires_at });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret));
        Some(Issued { token: token.expect("the claims become JSON, and ring signs them"), expires_at })
    }
}

impl Identity {
    /// What it allows is looked up now, so that a change of the settings reaches tokens that are out.
    fn admit(&self, token: &str) -> Result<Caller, NoToken> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[OURS]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        // We give them out for whatever resource is asked for, and take them all.
        validation.validate_aud = false;
        decode(token, &DecodingKey::from_secret(&self.secret), &validation)?;
        let tenant = self.settings.tenant.as_deref();
        Ok(Caller::new(Proof::Identity, "identity", tenant, [self.settings.grant()].into()))
    }
}

async fn admit(issuer: &IssuerSettings, keys: &KeySet, header: &Header, token: &str) -> Result<Caller, NoToken> {
    let id = header.kid.as_deref().ok_or(NoToken::Key)?;
    let key = keys.find(id).await.map_err(|none| match none {
        NoPublicKey::Unknown => NoToken::Key,
        NoPublicKey::Unreachable => NoToken::Unreachable,
    })?;
    if !key.algorithms.contains(&header.alg) {
        return Err(NoToken::Key);
    }
    let mut validation = Validation::new(header.alg);
    validation.leeway = SKEW_SECONDS;
    validation.validate_nbf = true;
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_audience(&issuer.accepted_audiences());
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = decode(token, &key.key, &validation)?;
    let grants = issuer.grants(&claims);
    if grants.is_empty() {
        return Err(NoToken::NoGrant);
    }
    let subject = claims["sub"].as_str().ok_or(NoToken::Malformed)?;
    let tenant = claims[issuer.tenant_claim.as_str()].as_str();
    Ok(Caller::new(Proof::Token, &format!("{}#{subject}", issuer.issuer), tenant, grants.into()))
}

fn decode(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Value, NoToken> {
    use jsonwebtoken::errors::ErrorKind;
    let decoded = jsonwebtoken::decode::<Value>(token, key, validation);
    decoded.map(|token| token.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => NoToken::Signature,
        ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => NoToken::Time,
        ErrorKind::InvalidAudience => NoToken::Audience,
        ErrorKind::InvalidIssuer => NoToken::Issuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat | ErrorKind::UnsupportedAlgorithm => NoToken::Key,
        _ => NoToken::Malformed,
    })
}
