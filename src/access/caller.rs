//! A caller, and what was granted to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pool::PoolName;

/// What somebody is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs code: the data plane of a pool.
    Executor,
    /// Makes, changes and deletes pools; stops sessions; hands out keys that can do no more than its own.
    Contributor,
    /// Looks at pools, sessions and what happened. Runs nothing, reads no files.
    Reader,
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// To use sessions: code and files.
    Execute,
    /// To look at pools and sessions.
    Observe,
    /// To look at what others did: logs, audit, use.
    Inspect,
    /// To end a session.
    Stop,
    /// To change pools and keys.
    Manage,
}

impl Role {
    fn allows(self, permission: Permission) -> bool {
        match permission {
            Permission::Execute => self == Self::Executor,
            Permission::Observe => true,
            Permission::Inspect => matches!(self, Self::Contributor | Self::Reader),
            Permission::Stop => matches!(self, Self::Executor | Self::Contributor),
            Permission::Manage => self == Self::Contributor,
        }
    }
}

/// Which pools a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum Pools {
    /// Written `["*"]`: those that come later too.
    All,
    These(BTreeSet<PoolName>),
}

/// Why a list names no pools.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPools {
    #[error("pools: name at least one, or \"*\" for all")]
    None,
    #[error("pools: \"*\" stands for all, and alone")]
    AllAndSome,
    #[error("pools: {0:?} is no name of a pool")]
    Name(String),
}

impl TryFrom<Vec<String>> for Pools {
    type Error = InvalidPools;

    fn try_from(names: Vec<String>) -> Result<Self, InvalidPools> {
        match names.as_slice() {
            [] => Err(InvalidPools::None),
            [all] if all == "*" => Ok(Self::All),
            names if names.iter().any(|name| name == "*") => Err(InvalidPools::AllAndSome),
            names => {
                let named = |name: &String| PoolName::new(name).map_err(|_| InvalidPools::Name(name.clone()));
                names.iter().map(named).collect::<Result<_, _>>().map(Self::These)
            }
        }
    }
}

impl From<Pools> for Vec<String> {
    fn from(pools: Pools) -> Self {
        match pools {
            Pools::All => vec!["*".into()],
            Pools::These(names) => names.into_iter().map(String::from).collect(),
        }
    }
}

impl Pools {
    pub fn hold(&self, pool: &PoolName) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(pool),
        }
    }

    fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::These(_), Self::All) => false,
            (Self::These(ours), Self::These(theirs)) => theirs.is_subset(ours),
        }
    }
}

/// What somebody may do, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub roles: BTreeSet<Role>,
    pub pools: Pools,
}

impl Grant {
    /// Everything, everywhere.
    pub fn all() -> Self {
        Self { roles: [Role::Executor, Role::Contributor, Role::Reader].into(), pools: Pools::All }
    }

    /// Whether it allows `permission` in `pool`; without a pool: in some pool.
    pub fn allows(&self, permission: Permission, pool: Option<&PoolName>) -> bool {
        self.roles.iter().any(|role| role.allows(permission)) && pool.is_none_or(|pool| self.pools.hold(pool))
    }

    /// Whether it holds all that `other` holds: nobody hands out what they do not have. A contributor may hand out a
    /// reader's role, which allows nothing that it could not do.
    pub fn covers(&self, other: &Self) -> bool {
        let has = |role: &Role| {
            self.roles.contains(role) || (*role == Role::Reader && self.roles.contains(&Role::Contributor))
        };
        other.roles.iter().all(has) && self.pools.cover(&other.pools)
    }
}

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: the gateway is open.
    None,
    /// A key of the configuration file.
    Configured,
    /// A key of the database.
    Key,
    /// A token of a configured issuer.
    Token,
    /// A token of the gateway's own token endpoint.
    Identity,
}

/// Who is calling. Cheap to clone; free of secrets, so records may keep all of it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub proof: Proof,
    /// Names the caller for records and limits: a key's id, or a token's issuer and subject.
    pub id: Arc<str>,
    /// Whom it belongs to, where its key or token says so.
    pub tenant: Option<Arc<str>>,
    /// What any of them allows is allowed.
    pub grants: Arc<[Grant]>,
}

impl Caller {
    pub fn new(proof: Proof, id: &str, tenant: Option<&str>, grants: Arc<[Grant]>) -> Self {
        Self { proof, id: id.into(), tenant: tenant.map(Into::into), grants }
    }

    /// Whoever reaches an open gateway.
    pub fn anyone() -> Self {
        Self::new(Proof::None, "anybody", None, [Grant::all()].into())
    }

    /// Whether it may do something in a pool, of which it is not asked whether it exists.
    pub fn may(&self, permission: Permission, pool: Option<&PoolName>) -> bool {
        self.grants.iter().any(|grant| grant.allows(permission, pool))
    }

    /// Whether it may hand out, or take back, a key with this grant.
    pub fn may_grant(&self, grant: &Grant) -> bool {
        let may = |own: &Grant| own.allows(Permission::Manage, None) && own.covers(grant);
        self.grants.iter().any(may)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(roles: &[Role], pools: &[&str]) -> Grant {
        let pools = Pools::try_from(pools.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()).unwrap();
        Grant { roles: roles.iter().copied().collect(), pools }
    }

    #[test]
    fn every_role_and_permission() {
        use Permission::{Execute, Inspect, Manage, Observe, Stop};
        for (role, allowed) in [
            (Role::Executor, [true, true, false, true, false]),
            (Role::Contributor, [false, true, true, true, true]),
            (Role::Reader, [false, true, true, false, false]),
        ] {
            assert_eq!([Execute, Observe, Inspect, Stop, Manage].map(|asked| role.allows(asked)), allowed, "{role:?}");
        }
    }

    #[test]
    fn a_grant_ends_at_its_pools() {
        let (a, b) = (PoolName::new("a").unwrap(), PoolName::new("b").unwrap());
        let scoped = grant(&[Role::Executor], &["a"]);
        assert!(scoped.allows(Permission::Execute, Some(&a)) && !scoped.allows(Permission::Execute, Some(&b)));
        assert!(grant(&[Role::Executor], &["*"]).allows(Permission::Execute, Some(&b)));
    }

    #[test]
    fn nobody_hands_out_what_they_do_not_have() {
        let own = grant(&[Role::Contributor], &["a", "b"]);
        assert!(own.covers(&grant(&[Role::Contributor, Role::Reader], &["a"])));
        assert!(!own.covers(&grant(&[Role::Executor], &["a"])));
        assert!(!own.covers(&grant(&[Role::Contributor], &["c"])));
        assert!(!own.covers(&grant(&[Role::Contributor], &["*"])));
        assert!(Grant::all().covers(&own));
    }

    #[test]
    fn pools_as_they_are_written() {
        let read = |text: &str| serde_json::from_str::<Pools>(text);
        assert_eq!(read(r#"["*"]"#).unwrap(), Pools::All);
        assert_eq!(serde_json::to_string(&read(r#"["B","a"]"#).unwrap()).unwrap(), r#"["a","b"]"#);
        for wrong in ["[]", r#"["*","a"]"#, r#"["a b"]"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
