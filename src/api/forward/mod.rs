//! Pools of containers: whatever is asked under their endpoint goes to the container of the session, and comes back as it
//! is. Only `.management/` is answered here.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the story of one request |
//! | `head.rs` | which headers and which part of the query the container gets to see |
//! | `body.rs` | an answer's body, which holds the session as long as it lasts |
//! | `upgrade.rs` | connections that become something else (WebSocket) |
//! | `manage.rs` | sessions, their console, the pool's health |

mod body;
mod head;
mod manage;
mod upgrade;

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::call::Answer;
use super::error::Failure;
use super::payload::Payload;
use super::query::Query;
use super::route::PoolPath;
use crate::gateway::{ContainerSessionPool, Gateway};
use crate::pool::container::{Lease, NoSession};
use crate::sandbox::container::Io;

/// What a container has still to say when it ends comes within this time, or never.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Answers one request to a pool of containers.
pub(super) async fn answer(
    gateway: &Gateway,
    mut pool: ContainerSessionPool,
    at: &PoolPath<'_>,
    parts: &Parts,
    payload: &mut Payload,
) -> Answer {
    let query = Query::new(parts.uri.query());
    if let Some(answered) = manage::answer(&pool, at, parts, query) {
        return answered;
    }
    // A tunnel to anywhere; and what comes back is no HTTP.
    if parts.method == Method::CONNECT {
        return Err(Failure::Method { allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".into() });
    }
    let identifier = query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    loop {
        let under_way = pool.begin().ok_or(NoSession::Closed)?;
        let home = pool.holding(&identifier).clone();
        let lease = match home.lease(&identifier).await {
            Err(NoSession::Retired) => {
                pool = gateway.container_pool(pool.name()).ok_or(Failure::NoPool)?;
                continue;
            }
            lease => lease?,
        };
        let hold = Hold { lease, _under_way: under_way, over: pool.over().clone() };
        // One connection a request: made in some ten microseconds, and nothing of one request is left for the next.
        let connected = hold.lease.instance().container().connect(home.specification().target_port).await;
        let error = match connected {
            Ok(stream) => return send(stream, hold, at, parts, payload).await,
            Err(error) => error,
        };
        // It may just have ended. Nothing was sent, so a fresh container can take the request.
        let gone = hold.lease.instance().gone().cancelled();
        if tokio::time::timeout(LAST_WORDS, gone).await.is_err() {
            return Err(Failure::ContainerUnreachable(error.kind()));
        }
    }
}

/// What keeps a session while a request is under way.
struct Hold {
    lease: Lease,
    _under_way: TaskTrackerToken,
    over: CancellationToken,
}

impl Hold {
    /// Completes when nothing can come of the request any more.
    fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let (gone, over) = (self.lease.instance().gone().clone(), self.over.clone());
        async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = over.cancelled() => {}
            }
            tokio::time::sleep(LAST_WORDS).await;
        }
    }
}

/// Ends the task that drives a connection.
struct EndsWithIt(AbortHandle);

impl Drop for EndsWithIt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(stream: Box<dyn Io>, hold: Hold, at: &PoolPath<'_>, parts: &Parts, payload: &mut Payload) -> Answer {
    let broke = |error: hyper::Error| {
        tracing::debug!(%error, "a container did not answer");
        Failure::ContainerBroke
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driven = tokio::spawn(connection.with_upgrades());
    let connection = EndsWithIt(driven.abort_handle());
    let upgrade = upgrade::wanted(parts);
    let mut request = hyper::Request::new(payload.take());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = head::target(at.rest, parts.uri.query()).ok_or(Failure::NoRoute)?;
    *request.headers_mut() = head::request(&parts.headers, upgrade.is_some());
    let response = tokio::select! {
        biased;
        response = sender.send_request(request) => response.map_err(broke)?,
        () = hold.cut() => return Err(Failure::ContainerBroke),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(caller) = upgrade else { return Err(Failure::ContainerBroke) };
        return Ok(upgrade::join(response, caller, hold, connection));
    }
    let (answered, incoming) = response.into_parts();
    let mut response = Response::new(Body::new(body::Held::new(incoming, hold, connection)));
    *response.status_mut() = answered.status;
    *response.headers_mut() = head::response(&answered.headers);
    Ok(response)
}
