//! What each operation asks of its caller. Decided before anything is looked up: whoever may not enter a pool does not
//! learn whether it exists, and less what is in it.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::error::Failure;
use super::route::{Operation, PoolPath};
use crate::access::{Caller, Grant, Permission, Pools};
use crate::gateway::{Gateway, SessionPool};
use crate::pool::PoolName;

/// Who sends this request.
pub(super) async fn caller(gateway: &Gateway, headers: &HeaderMap) -> Result<Caller, Failure> {
    let sent = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    gateway.access().admit(sent).await.map_err(|stranger| {
        tracing::debug!(reason = ?stranger, "a caller was not let in");
        stranger.into()
    })
}

/// The pool of this name, if the caller may do there what it asks for.
pub(super) fn pool(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    operation: &Operation,
) -> Result<SessionPool, Failure> {
    let name = PoolName::new(name).ok();
    let permission = permission(operation);
    let may = match &name {
        Some(name) => caller.may(permission, Some(name)),
        // No pool has such a name; whoever may see all pools is told so.
        None => everywhere(caller, permission).is_ok(),
    };
    if !may {
        return Err(Failure::Forbidden { pool: true });
    }
    name.and_then(|name| gateway.pool(&name)).ok_or(Failure::NoPool)
}

/// Whether the caller may do this in a pool that is there.
pub(super) fn operation(caller: &Caller, pool: &PoolName, operation: &Operation) -> Result<(), Failure> {
    if caller.may(permission(operation), Some(pool)) { Ok(()) } else { Err(Failure::Forbidden { pool: true }) }
}

/// Whether the caller may do in this pool of containers what it asks for.
pub(super) fn containers(caller: &Caller, pool: &PoolName, at: &PoolPath<'_>) -> Result<(), Failure> {
    let names = at.names();
    let permission = match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [".management", "getSession" | "listSessions" | "health"] => Permission::Observe,
        [".management", "stopSession"] => Permission::Stop,
        // What a container has written is its session's own.
        [".management", "console" | "network"] => Permission::Inspect,
        _ => Permission::Execute,
    };
    if caller.may(permission, Some(pool)) { Ok(()) } else { Err(Failure::Forbidden { pool: true }) }
}

/// For what shows all pools at once.
pub(super) fn everywhere(caller: &Caller, permission: Permission) -> Result<(), Failure> {
    let may = |grant: &Grant| grant.allows(permission, None) && grant.pools == Pools::All;
    if caller.grants.iter().any(may) { Ok(()) } else { Err(Failure::Forbidden { pool: false }) }
}

/// Every operation, no catch-all: a new one cannot ship without its permission.
fn permission(operation: &Operation) -> Permission {
    match operation {
        Operation::ExecuteOld
        | Operation::Execute
        | Operation::ReadExecution(_)
        | Operation::UploadOld
        | Operation::Upload
        | Operation::ListFiles
        | Operation::Content(_)
        | Operation::ContentInJson(_)
        | Operation::ReadFile(_)
        | Operation::DeleteFile(_)
        | Operation::ListSnapshots(_)
        | Operation::TakeSnapshot(_)
        | Operation::RestoreSnapshot(..)
        | Operation::Export(_)
        | Operation::Import(_)
        | Operation::Fork(_) => Permission::Execute,
        Operation::ReadSession
        | Operation::ListSessions
        | Operation::Metadata
        | Operation::ManageRead
        | Operation::ManageList => Permission::Observe,
        Operation::Health => Permission::Observe,
        Operation::Records(_) | Operation::Sums => Permission::Inspect,
        Operation::EndSession | Operation::ManageStop => Permission::Stop,
    }
}
