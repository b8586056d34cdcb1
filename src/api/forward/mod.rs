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
pub(super) mod manage;
mod upgrade;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::call::Answer;
use super::error::Failure;
use super::meter::{Meter, Metered};
use super::payload::Payload;
use super::query::Query;
use super::route::PoolPath;
use crate::access::Caller;
use crate::access::limits::Claim;
use crate::gateway::{ContainerSessionPool, Gateway};
use crate::pool::PoolName;
use crate::pool::container::{Lease, NoSession};
use crate::sandbox::container::Io;
use crate::session::Identifier;

/// What a container has still to say when it ends comes within this time, or never.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One request to a pool of containers, let in.
pub(super) struct Asked<'a> {
    pub gateway: &'a Gateway,
    pub caller: &'a Caller,
    pub at: &'a PoolPath<'a>,
    pub parts: &'a Parts,
    /// Counts what passes.
    pub meter: Arc<Meter>,
}

/// Answers one request to a pool of containers.
pub(super) async fn answer(asked: Asked<'_>, mut pool: ContainerSessionPool, payload: &mut Payload) -> Answer {
    let Asked { gateway, at, parts, .. } = asked;
    let query = Query::new(parts.uri.query());
    if let Some(answered) = manage::answer(&pool, at, parts, query) {
        let bytes = answered.as_ref().ok().and_then(|response| response.body().size_hint().exact());
        asked.meter.count(bytes.unwrap_or(0));
        return answered;
    }
    // A tunnel to anywhere; and what comes back is no HTTP.
    if parts.method == Method::CONNECT {
        return Err(Failure::Method { allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".into() });
    }
    let identifier = query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    // Until its container is there.
    let _claim = asked.claim(&pool, &identifier)?;
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
        let connected = hold.lease.instance().container().connect(home.specification().port()).await;
        let error = match connected {
            Ok(stream) => return send(stream, hold, &asked, payload).await,
            Err(error) => error,
        };
        // It may just have ended. Nothing was sent, so a fresh container can take the request.
        let gone = hold.lease.instance().gone().cancelled();
        if tokio::time::timeout(LAST_WORDS, gone).await.is_err() {
            return Err(Failure::ContainerUnreachable(error.kind()));
        }
    }
}

impl Asked<'_> {
    /// The right to make this session, if it is not there.
    fn claim(&self, pool: &ContainerSessionPool, identifier: &Identifier) -> Result<Option<Claim>, Failure> {
        if pool.session(identifier).is_some() {
            return Ok(None);
        }
        let (gateway, name) = (self.gateway, pool.name());
        let lives = |pool: &PoolName, identifier: &Identifier| gateway.has_session(pool, identifier);
        Ok(Some(gateway.access().limits().session(self.caller, name, identifier, lives)?))
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

async fn send(stream: Box<dyn Io>, hold: Hold, asked: &Asked<'_>, payload: &mut Payload) -> Answer {
    let (at, parts, meter) = (asked.at, asked.parts, &asked.meter);
    let broke = |error: hyper::Error| {
        tracing::debug!(%error, "a container did not answer");
        Failure::ContainerBroke
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driven = tokio::spawn(connection.with_upgrades());
    let connection = EndsWithIt(driven.abort_handle());
    let upgrade = upgrade::wanted(parts);
    let mut request = hyper::Request::new(Metered::new(payload.take(), meter.clone()));
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
        return Ok(upgrade::join(response, caller, hold, connection, meter.clone()));
    }
    let (answered, incoming) = response.into_parts();
    let held = Body::new(body::Held::new(incoming, hold, connection));
    let mut response = Response::new(Body::new(Metered::new(held, meter.clone())));
    *response.status_mut() = answered.status;
    *response.headers_mut() = head::response(&answered.headers);
    Ok(response)
}
