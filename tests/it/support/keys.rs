//! Keys for callers, made behind the API.

use sandpool::access::keys::NewKey;
use sandpool::access::{Access, Grant, Pools, Role};

/// A key's text, with these roles in these pools (`*` is all of them).
pub fn key(access: &Access, roles: &[Role], pools: &[&str]) -> String {
    let pools = Pools::try_from(pools.iter().map(|pool| (*pool).to_owned()).collect::<Vec<_>>()).unwrap();
    let grant = Grant { roles: roles.iter().copied().collect(), pools };
    let new = NewKey { name: "test".into(), grant, tenant: None, expires_at: None };
    access.keys().unwrap().create(new).unwrap().0.reveal()
}
