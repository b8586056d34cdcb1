//! HTTP, and nothing that is not HTTP: routes, dialects, statuses, connections.
//!
//! | file | holds |
//! |---|---|
//! | `route.rs` | every path and method, as one table |
//! | `mod.rs` | what answers each of them: `dispatch` |
//! | `gate.rs` | what each of them asks of its caller |
//! | `account.rs`, `meter.rs` | whom a request counts for, and how many bytes |
//! | `executions.rs`, `files.rs`, `upload.rs` (into `shelf.rs`), `sessions.rs`, `snapshots.rs`, `keys.rs`, `identity.rs`, `records.rs`, `status.rs` | the handlers, a file per resource |
//! | `control/` | session pools as resources |
//! | `audit.rs` | what each call leaves in the records |
//! | `console.rs` | the page for people: static files |
//! | `contained/` | pools of containers that run what callers send |
//! | `served.rs` | what a pool is to the handlers, whatever it runs code with |
//! | `forward/` | pools of containers: everything goes to the container |
//! | `dialect/` | the wire generations of an execution |
//! | `events.rs` | an execution as a stream of server-sent events |
//! | `error.rs` | the only failure statuses |
//! | `contract.rs` | `openapi/`, enforced |
//! | `call.rs`, `query.rs`, `payload.rs`, `disposition.rs`, `entry.rs` | reading a request, writing an answer |
//! | `serve.rs`, `stream.rs`, `tls.rs` | connections: patience, caps, drain |
//!
//! What a request *does* is below, in `gateway`; nothing here keeps state between requests.

mod account;
mod audit;
mod call;
mod console;
mod contained;
pub mod contract;
mod control;
mod dialect;
mod disposition;
mod entry;
mod error;
mod events;
mod executions;
mod files;
mod forward;
mod gate;
mod identity;
mod keys;
mod meter;
mod payload;
mod query;
mod records;
mod route;
pub mod serve;
mod served;
mod sessions;
mod shelf;
mod snapshots;
mod status;
mod stream;
mod tls;
mod upload;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use account::Account;
use call::{Answer, Call};
use contract::Document;
use error::Failure;
use executions::Shape;
use payload::Payload;
use query::Query;
use route::{NoRoute, Operation, PoolPath, Route};

use crate::access::Permission;
use crate::gateway::{ContainerSessionPool, Gateway};
use crate::otlp::TraceParent;
use crate::pool::PoolName;

/// What every request shares.
struct Api {
    gateway: Gateway,
}

/// The service of the whole API. Routes are matched in `route.rs`, not by axum: see there why.
pub fn router(gateway: Gateway) -> Router {
    contract::warm_up();
    Router::new().fallback(handle).with_state(Arc::new(Api { gateway }))
}

/// Answers one request, and reads away what of its body no handler wanted.
async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response<Body> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let mut payload = Payload::new(body, &parts.headers);
    let route = route::route(&parts.method, parts.uri.path());
    let containers = containers(&api.gateway, &parts);
    let seen = audit::Seen::of(&api.gateway, &route, containers.as_ref(), &parts);
    let operation = seen.as_ref().map_or("Probe", audit::Seen::operation);
    let span = span(&parts, operation, seen.as_ref().and_then(audit::Seen::pool));
    let mut account = Account::default();
    let dispatched =
        dispatch(&api, &parts, route, containers, &mut payload, &mut account).instrument(span.clone()).await;
    let _entered = span.enter();
    let response = account.settle(&api.gateway, &payload, dispatched.unwrap_or_else(Failure::into_response));
    if let Some(seen) = seen {
        seen.answered(&api.gateway, &account.caller(), &response);
    }
    payload.linger();
    span.record("status", response.status().as_u16());
    // No path and no query: they hold identifiers and file names. A method may be any word of the caller's.
    tracing::debug!(status = response.status().as_u16(), elapsed = ?began.elapsed(), "answered");
    response
}

/// The pool of containers that a request is for: all paths under it are its own.
fn containers<'a>(gateway: &Gateway, parts: &'a Parts) -> Option<(ContainerSessionPool, PoolPath<'a>)> {
    let at = route::pool_path(parts.uri.path())?;
    let pool = gateway.container_pool(&PoolName::new(&at.pool).ok()?)?;
    Some((pool, at))
}

/// The span of a call; it goes on the caller's trace, where it sent one.
fn span(parts: &Parts, operation: &str, pool: Option<&str>) -> Span {
    // A method may be any word of the caller's; the route table knows these.
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let method = known.iter().find(|known| **known == parts.method).map_or("_OTHER", Method::as_str);
    let sent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
    let parent = sent.and_then(TraceParent::parse).map(tracing::field::display);
    tracing::debug_span!("request", method, operation, pool, parent, status = Empty)
}

/// Every route's handler.
async fn dispatch(
    api: &Api,
    parts: &Parts,
    route: Result<Route, NoRoute>,
    containers: Option<(ContainerSessionPool, PoolPath<'_>)>,
    payload: &mut Payload,
    account: &mut Account,
) -> Answer {
    let (gateway, query) = (&api.gateway, Query::new(parts.uri.query()));
    match &route {
        Ok(Route::Liveness) => return Ok(standing("alive")),
        Ok(Route::Readiness) => {
            return api.gateway.ready().map(|()| standing("ready")).map_err(Failure::NotReady);
        }
        // It has a guard of its own: whoever asks has no key yet.
        Ok(Route::Token) => return identity::token(gateway, parts),
        // The page holds nothing; it asks its user for a key.
        Ok(Route::Console(file)) => return console::file(file),
        _ => {}
    }
    let caller = gate::caller(gateway, &parts.headers).await?;
    let name = containers.as_ref().map(|(pool, _)| pool.name().clone());
    account.open(gateway, &caller, &route, name.as_ref())?;
    if let Some((pool, at)) = containers {
        if let Some(interpreted) = gateway.interpreted(&pool) {
            let asked = contained::Asked { gateway, caller, at: &at, parts, route };
            return contained::answer(asked, pool, interpreted, payload).await;
        }
        gate::containers(&caller, pool.name(), &at)?;
        let meter = account.meter(gateway, &caller);
        return forward::answer(forward::Asked { gateway, caller: &caller, at: &at, parts, meter }, pool, payload)
            .await;
    }
    let (pool, prefix, operation) = match route {
        Err(NoRoute::Path) => return Err(Failure::NoRoute),
        Err(NoRoute::Method(allow)) => return Err(Failure::Method { allow }),
        Ok(Route::Liveness | Route::Readiness | Route::Token | Route::Console(_)) => unreachable!("answered above"),
        Ok(Route::Document(which)) => return Ok(document(which)),
        Ok(Route::Keys(operation)) => return keys::answer(gateway, &caller, operation, payload).await,
        Ok(Route::Control(target)) => return control::answer(gateway, &caller, &target, parts, payload).await,
        Ok(Route::Pools) => return status::pools(gateway, &caller),
        Ok(Route::Metrics) => {
            gate::everywhere(&caller, Permission::Observe)?;
            return status::metrics(gateway);
        }
        Ok(Route::Records(table)) => {
            gate::everywhere(&caller, Permission::Inspect)?;
            return records::list(gateway, table, None, query, &parts.headers).await;
        }
        Ok(Route::Sums) => {
            gate::everywhere(&caller, Permission::Inspect)?;
            return records::sums(gateway, None, query).await;
        }
        Ok(Route::Pool { pool, prefix, operation }) => (pool, prefix, operation),
    };
    let pool = gate::pool(gateway, &caller, &pool, &operation)?;
    let secure = call::is_secure(parts);
    let call = Call { pool, caller, gateway, prefix: &prefix, query, headers: &parts.headers, secure, payload };
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
        Operation::Metadata => sessions::metadata(&call),
        Operation::ManageList => sessions::manage_list(&call),
        Operation::ManageStop => sessions::stop(call).await,
        Operation::Fork(identifier) => sessions::fork(call, &identifier).await,
        Operation::Records(table) => {
            records::list(gateway, table, Some(call.pool.name().as_str()), query, &parts.headers).await
        }
        Operation::Sums => records::sums(gateway, Some(call.pool.name().as_str()), query).await,
        Operation::Health => status::pool(&call.pool),
        Operation::ListSnapshots(identifier) => snapshots::list(call, &identifier).await,
        Operation::TakeSnapshot(identifier) => snapshots::take(call, &identifier).await,
        Operation::RestoreSnapshot(identifier, snapshot) => snapshots::restore(call, &identifier, &snapshot).await,
        Operation::Export(identifier) => snapshots::export(call, &identifier).await,
        Operation::Import(identifier) => snapshots::import(call, &identifier).await,
    }
}

fn standing(status: &'static str) -> Response<Body> {
    call::json(StatusCode::OK, &serde_json::json!({ "status": status }))
}

fn document(which: Document) -> Response<Body> {
    let mut response = Response::new(Body::from(contract::document(which)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
