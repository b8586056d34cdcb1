//! Who is calling, and what they may do. It knows no route and no status: `api/` says what each route asks for.
//!
//! | shown as `Authorization: Bearer …` | checked by |
//! |---|---|
//! | a key of the configuration file | its digest; all pools, all roles |
//! | a key of the database (`sandpool_…`) | `keys.rs`: its digest, end and grant |
//! | a token of a configured issuer | `token/`: the issuer's keys |
//! | a token of the gateway's token endpoint | `token/`: the gateway's own secret |
//!
//! `limits/` says how much each of them may use.
//!
//! A gateway that has no keys, never had any, and trusts no issuer is open: whoever reaches it may do everything.

pub mod caller;
pub mod key;
pub mod keys;
pub mod limits;
pub mod token;

use std::path::Path;
use std::sync::Arc;

use time::OffsetDateTime;

pub use caller::{Caller, Grant, Permission, Pools, Proof, Role};

use key::{Digest, Key};
use keys::{KeyError, Keys, NoKey};
use limits::{Ledger, LimitSettings, Limits, Time};
use token::{IdentitySettings, IssuerSettings, NoToken, Tokens};

/// What the configuration file says about access.
#[derive(Debug, Clone, Default)]
pub struct AccessSettings {
    /// Keys that open everything.
    pub keys: Vec<String>,
    pub issuers: Vec<IssuerSettings>,
    pub identity: Option<IdentitySettings>,
    pub limits: LimitSettings,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("send a key of this gateway: Authorization: Bearer <key>")]
    Nothing,
    #[error("this key is not one of this gateway; send one that is: Authorization: Bearer <key>")]
    Unknown,
    #[error("this key has expired")]
    Expired,
    #[error("this key was revoked")]
    Revoked,
    #[error(transparent)]
    Token(#[from] NoToken),
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    configured: Vec<(Caller, Digest)>,
    /// None: keys cannot be made (a gateway without a data directory, as in tests of other rooms).
    keys: Option<Keys>,
    tokens: Tokens,
    limits: Arc<Limits>,
}

impl Default for Access {
    fn default() -> Self {
        Self::open()
    }
}

impl Access {
    /// Whoever reaches the gateway may do everything.
    pub fn open() -> Self {
        Self::with_keys(&[])
    }

    /// Only these keys, and no database.
    pub fn with_keys(keys: &[String]) -> Self {
        Self {
            inner: Arc::new(Inner {
                configured: configured(keys),
                keys: None,
                tokens: Tokens::default(),
                limits: Limits::none(),
            }),
        }
    }

    /// The door of a gateway that keeps its keys in `data_dir`. Blocks.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn start(settings: AccessSettings, data_dir: &Path) -> Result<Self, KeyError> {
        let keys = Keys::open(data_dir)?;
        let identity =
            settings.identity.map(|identity| keys.secret("tokens").map(|secret| (identity, secret))).transpose()?;
        let tokens = Tokens::new(settings.issuers, identity);
        let limits = if settings.limits.has_day() {
            Limits::kept(settings.limits, Time::real(), Ledger::open(data_dir)?)?
        } else {
            Limits::new(settings.limits, Time::real())
        };
        let configured = configured(&settings.keys);
        Ok(Self { inner: Arc::new(Inner { configured, keys: Some(keys), tokens, limits }) })
    }

    /// The same door with these limits.
    pub fn with_limits(self, limits: Arc<Limits>) -> Self {
        let inner = Arc::try_unwrap(self.inner).unwrap_or_else(|_| unreachable!("it is not shared before it serves"));
        Self { inner: Arc::new(Inner { limits, ..inner }) }
    }

    /// How much callers may use.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.inner.limits
    }

    /// Whether nobody has to show anything.
    pub fn is_open(&self) -> bool {
        self.inner.configured.is_empty()
            && self.inner.keys.as_ref().is_none_or(Keys::is_empty)
            && self.inner.tokens.is_empty()
    }

    /// Who sends this value of `Authorization`.
    ///
    /// # Errors
    /// See [`Stranger`].
    pub async fn admit(&self, authorization: Option<&[u8]>) -> Result<Caller, Stranger> {
        if self.is_open() {
            return Ok(Caller::anyone());
        }
        let sent = authorization.and_then(bearer).ok_or(Stranger::Nothing)?;
        self.admit_bearer(sent).await
    }

    async fn admit_bearer(&self, sent: &str) -> Result<Caller, Stranger> {
        if let Some(caller) = self.holder(sent) {
            return Ok(caller.clone());
        }
        if let (Some(key), Some(keys)) = (Key::parse(sent), &self.inner.keys) {
            return keys.admit(&key, OffsetDateTime::now_utc()).map_err(|none| match none {
                NoKey::Unknown => Stranger::Unknown,
                NoKey::Expired => Stranger::Expired,
                NoKey::Revoked => Stranger::Revoked,
            });
        }
        if sent.matches('.').count() == 2 { Ok(self.inner.tokens.admit(sent).await?) } else { Err(Stranger::Unknown) }
    }

    /// Who holds this key of the configuration file. Every one is compared, so that the time does not tell which.
    fn holder(&self, sent: &str) -> Option<&Caller> {
        if self.inner.configured.is_empty() {
            return None;
        }
        let sent = Digest::of(sent.as_bytes());
        self.inner.configured.iter().fold(None, |found, (caller, digest)| {
            let fits = digest.fits(&sent);
            if fits { Some(caller) } else { found }
        })
    }

    /// The keys of the database, where there is one.
    pub fn keys(&self) -> Option<&Keys> {
        self.inner.keys.as_ref()
    }

    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }
}

/// Named by the beginning of their digests, which tells nothing about them.
fn configured(keys: &[String]) -> Vec<(Caller, Digest)> {
    let grants: Arc<[Grant]> = [Grant::all()].into();
    let named = |key: &String| {
        let digest = Digest::of(key.as_bytes());
        let name: String = digest.as_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        (Caller::new(Proof::Configured, &format!("config-{name}"), None, grants.clone()), digest)
    };
    keys.iter().map(named).collect()
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let sent = std::str::from_utf8(rest.trim_ascii()).ok()?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !sent.is_empty()).then_some(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admits(keys: &[&str], sent: Option<&str>) -> bool {
        let access = Access::with_keys(&keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>());
        access.admit(sent.map(str::as_bytes)).await.is_ok()
    }

    #[tokio::test]
    async fn without_keys_everybody_may_call() {
        assert!(admits(&[], None).await);
    }

    #[tokio::test]
    async fn with_keys_only_a_holder_may() {
        let keys = ["first-key", "second-key"];
        assert!(admits(&keys, Some("Bearer second-key")).await);
        assert!(admits(&keys, Some("bearer  first-key")).await);
        for sent in ["Bearer ", "Bearer first-ke", "Bearer first-key2", "Basic first-key", "first-key", "", "é"] {
            assert!(!admits(&keys, Some(sent)).await, "{sent}");
        }
        assert!(!admits(&keys, None).await);
    }

    #[tokio::test]
    async fn a_gateway_that_had_a_key_is_closed_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::start(AccessSettings::default(), folder.path()).unwrap();
        assert_eq!(access.admit(None).await.unwrap().proof, Proof::None);
        let new = keys::NewKey { name: "k".into(), grant: Grant::all(), tenant: None, expires_at: None };
        let (key, record) = access.keys().unwrap().create(new).unwrap();
        let sent = format!("Bearer {}", key.reveal());
        assert_eq!(access.admit(Some(sent.as_bytes())).await.unwrap().proof, Proof::Key);
        assert_eq!(access.admit(None).await.unwrap_err(), Stranger::Nothing);
        access.keys().unwrap().revoke(&record.id).unwrap();
        assert_eq!(access.admit(Some(sent.as_bytes())).await.unwrap_err(), Stranger::Revoked);
        assert_eq!(access.admit(None).await.unwrap_err(), Stranger::Nothing);
    }
}
