//! Pools of containers that run what callers send: the routes of every pool that runs code, answered by a container.
//!
//! Executions and sessions have the handlers that all pools share; files are here, since they are the container's. What only
//! an interpreter in the gateway can do, such as forks and snapshots, is refused.

mod files;

use axum::http::StatusCode;
use axum::http::request::Parts;

use super::audit;
use super::call::{self, Answer, Call};
use super::error::Failure;
use super::executions::{self, Shape};
use super::forward::manage;
use super::query::Query;
use super::route::{NoRoute, Operation, PoolPath, Route};
use super::{Payload, gate, records, sessions, status, upload};
use crate::access::Caller;
use crate::gateway::{ContainerSessionPool, Gateway, InterpretedPool};

/// One request, let in.
pub(super) struct Asked<'a> {
    pub gateway: &'a Gateway,
    pub caller: Caller,
    pub at: &'a PoolPath<'a>,
    pub parts: &'a Parts,
    pub route: Result<Route, NoRoute>,
}

/// Answers one request to such a pool.
pub(super) async fn answer(
    asked: Asked<'_>,
    containers: ContainerSessionPool,
    pool: InterpretedPool,
    payload: &mut Payload,
) -> Answer {
    let Asked { gateway, caller, at, parts, route } = asked;
    let query = Query::new(parts.uri.query());
    let operation = match route {
        Ok(Route::Pool { operation, .. }) => operation,
        // The one route that only containers have is not in the table.
        Err(NoRoute::Path) => {
            gate::containers(&caller, pool.name(), at)?;
            return manage::answer(&containers, at, parts, query).unwrap_or(Err(Failure::NoRoute));
        }
        Err(NoRoute::Method(allow)) => return Err(Failure::Method { allow }),
        Ok(_) => return Err(Failure::NoRoute),
    };
    gate::operation(&caller, pool.name(), &operation)?;
    let secure = call::is_secure(parts);
    let (prefix, headers) = (at.prefix.as_str(), &parts.headers);
    let call = Call { pool, caller, gateway, prefix, query, headers, secure, payload };
    match operation {
        Operation::ExecuteOld => executions::execute(call, Shape::Old).await,
        Operation::Execute => executions::execute(call, Shape::Flat).await,
        Operation::ReadExecution(id) => executions::read(&call, &id),
        Operation::UploadOld => upload::old(call).await,
        Operation::Upload => upload::new(call).await,
        Operation::ListFiles => files::list(call).await,
        Operation::Content(name) => files::content(call, &name).await,
        Operation::ContentInJson(name) => files::content_in_json(call, &name).await,
        Operation::ReadFile(name) => files::read(call, &name).await,
        Operation::DeleteFile(name) => files::delete(call, &name).await,
        Operation::ReadSession | Operation::ManageRead => sessions::read(&call),
        Operation::EndSession => sessions::end(call).await,
        Operation::ListSessions => sessions::list(&call),
        Operation::ManageList => sessions::manage_list(&call),
        Operation::ManageStop => sessions::stop(call).await,
        Operation::Records(table) => {
            records::list(gateway, table, Some(call.pool.name().as_str()), query, &parts.headers).await
        }
        Operation::Sums => records::sums(gateway, Some(call.pool.name().as_str()), query).await,
        Operation::Health => Ok(call::json(StatusCode::OK, &status::Standing::of_containers(&containers))),
        operation @ (Operation::Metadata
        | Operation::Fork(_)
        | Operation::ListSnapshots(_)
        | Operation::TakeSnapshot(_)
        | Operation::RestoreSnapshot(..)
        | Operation::Export(_)
        | Operation::Import(_)) => Err(Failure::NotOffered { operation: audit::word(&operation) }),
    }
}
