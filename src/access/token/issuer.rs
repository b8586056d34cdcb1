//! Issuers of tokens, as the configuration file names them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::caller::{Grant, Pools, Role};

/// The audiences that clients of the hosted service ask tokens for; a scope's `/.default` stands for them too.
const AUDIENCES: [&str; 2] = ["https://dynamicsessions.io", "https://acasessions.io"];

/// Who is trusted to say who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The `iss` of its tokens, to the letter.
    pub issuer: String,
    /// Where its keys are (a JWK set).
    pub jwks_url: String,
    /// Accepted `aud`s. By default those of the hosted service.
    #[serde(default = "default_audiences")]
    pub audiences: Vec<String>,
    /// The claim that names the caller's tenant.
    #[serde(default = "default_tenant_claim")]
    pub tenant_claim: String,
    /// What its tokens allow: everything that fits, together.
    #[serde(rename = "grant")]
    pub grants: Vec<TokenGrant>,
}

/// What tokens with a certain claim allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenGrant {
    /// A claim that holds `value`, alone or in a list. None: every token.
    #[serde(default)]
    pub claim: Option<String>,
    #[serde(default)]
    pub value: Option<String>,
    #[serde(flatten)]
    pub grant: Grant,
}

fn default_audiences() -> Vec<String> {
    AUDIENCES.map(str::to_owned).into()
}

fn default_tenant_claim() -> String {
    "tid".into()
}

impl IssuerSettings {
    /// Everything that makes no sense in it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |problem: &str| problems.push(format!("issuer {:?}: {problem}", self.issuer));
        if self.issuer.is_empty() {
            wrong("issuer is empty");
        }
        // Whoever can change the keys on their way can call as anybody.
        let loopback = |host: &str| self.jwks_url.strip_prefix(host).is_some_and(|rest| rest.starts_with([':', '/']));
        let near = ["http://127.0.0.1", "http://localhost", "http://[::1]"].into_iter().any(loopback);
        if !self.jwks_url.starts_with("https://") && !near {
            wrong("jwks_url must be https (http on loopback)");
        }
        if self.audiences.is_empty() {
            wrong("audiences is empty");
        }
        if self.grants.is_empty() {
            wrong("it has no grant, so its tokens would allow nothing");
        }
        if self.grants.iter().any(|grant| grant.claim.is_some() != grant.value.is_some()) {
            wrong("a grant's claim and value go together");
        }
        problems
    }

    /// The audiences in all spellings: with a slash at the end too, as version 1 tokens have them.
    pub(super) fn accepted_audiences(&self) -> Vec<String> {
        self.audiences.iter().flat_map(|audience| [audience.clone(), format!("{audience}/")]).collect()
    }

    /// What a token with these claims allows; nothing when none fits.
    pub(super) fn grants(&self, claims: &Value) -> Vec<Grant> {
        self.grants.iter().filter(|grant| grant.fits(claims)).map(|grant| grant.grant.clone()).collect()
    }
}

impl TokenGrant {
    fn fits(&self, claims: &Value) -> bool {
        let (Some(claim), Some(value)) = (&self.claim, &self.value) else { return true };
        match &claims[claim.as_str()] {
            Value::String(text) => text == value,
            Value::Array(list) => list.iter().any(|item| item == value.as_str()),
            _ => false,
        }
    }
}

/// The gateway's own token endpoint, for clients that take their tokens from a managed identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// What the caller sends as `X-IDENTITY-HEADER` (`IDENTITY_HEADER` in its environment).
    pub header: String,
    #[serde(default = "executor")]
    pub roles: std::collections::BTreeSet<Role>,
    #[serde(default = "all_pools")]
    pub pools: Pools,
    #[serde(default)]
    pub tenant: Option<String>,
    /// How long its tokens hold.
    #[serde(default = "hour")]
    pub token_seconds: u64,
    /// Answer callers from other machines too.
    #[serde(default)]
    pub beyond_loopback: bool,
}

fn executor() -> std::collections::BTreeSet<Role> {
    [Role::Executor].into()
}

fn all_pools() -> Pools {
    Pools::All
}

const fn hour() -> u64 {
    3600
}

impl IdentitySettings {
    /// Everything that makes no sense in it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.header.len() < 16 {
            problems.push("identity: header must have at least 16 characters".to_owned());
        }
        if !(60..=86_400).contains(&self.token_seconds) {
            problems.push("identity: token_seconds must be from 60 to 86400".to_owned());
        }
        problems
    }

    pub(super) fn grant(&self) -> Grant {
        Grant { roles: self.roles.clone(), pools: self.pools.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn issuer(text: &str) -> IssuerSettings {
        let head = "issuer = 'https://i'\njwks_url = 'https://i/keys'\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    #[test]
    fn claims_choose_the_grants() {
        let issuer = issuer(
            "[[grant]]\nclaim = 'roles'\nvalue = 'Run'\nroles = ['executor']\npools = ['a']\n\
             [[grant]]\nclaim = 'sub'\nvalue = 'boss'\nroles = ['contributor']\npools = ['*']",
        );
        assert_eq!(issuer.problems(), Vec::<String>::new());
        assert_eq!(issuer.grants(&json!({"roles": ["Look", "Run"]}))[0].roles, [Role::Executor].into());
        assert_eq!(issuer.grants(&json!({"roles": "Run", "sub": "boss"})).len(), 2);
        for none in [json!({}), json!({"roles": ["Runner"]}), json!({"roles": {"Run": 1}})] {
            assert!(issuer.grants(&none).is_empty(), "{none}");
        }
    }

    #[test]
    fn keys_do_not_travel_in_the_clear() {
        let mut issuer = issuer("[[grant]]\nroles = ['reader']\npools = ['*']");
        for far in ["http://issuer.example/keys", "http://127.0.0.1.issuer.example/keys"] {
            issuer.jwks_url = far.into();
            assert!(issuer.problems()[0].contains("https"), "{far}");
        }
        issuer.jwks_url = "http://127.0.0.1:9/keys".into();
        assert_eq!(issuer.problems(), Vec::<String>::new());
    }
}
