//! One call of a pool's operation: what every handler needs, and the few ways to answer.
//!
//! It decides nothing: a missing identifier is only noticed by the handler that asks for one.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::error::Failure;
use super::payload::Payload;
use super::query::{Query, encode};
use super::serve::Peer;
use super::served::Served;
use crate::access::Caller;
use crate::access::limits::{Claim, Permit};
use crate::gateway::{Gateway, SessionPool};
use crate::pool::PoolName;
use crate::session::Identifier;

/// A call, its pool found and its caller admitted.
pub(super) struct Call<'a, P = SessionPool> {
    pub pool: P,
    pub caller: Caller,
    pub gateway: &'a Gateway,
    /// The path up to the operation.
    pub prefix: &'a str,
    pub query: Query<'a>,
    pub headers: &'a HeaderMap,
    /// Whether the connection is TLS.
    pub secure: bool,
    pub payload: &'a mut Payload,
}

pub(super) type Answer = Result<Response<Body>, Failure>;

impl<P: Served> Call<'_, P> {
    /// The session that the query names.
    pub(super) fn identifier(&self) -> Result<Identifier, Failure> {
        self.query.identifier()?.ok_or(Failure::IdentifierMissing)
    }

    /// The right to run one execution now.
    pub(super) fn permit(&self) -> Result<Permit, Failure> {
        Ok(self.gateway.access().limits().execution(&self.caller, self.pool.name())?)
    }

    /// The right to make this session, if it is not there. To be held until it is made.
    pub(super) fn claim(&self, identifier: &Identifier) -> Result<Option<Claim>, Failure> {
        if self.pool.session(identifier).is_some() {
            return Ok(None);
        }
        let lives = |pool: &PoolName, identifier: &Identifier| self.gateway.has_session(pool, identifier);
        Ok(Some(self.gateway.access().limits().session(&self.caller, self.pool.name(), identifier, lives)?))
    }

    /// A link to `path` in this pool, with this call's `api-version` and `parameters`; absolute where the request named
    /// a host. The host is the caller's word, and goes back to that caller only.
    pub(super) fn link(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        link(&base(self.headers, self.secure), self.query, self.prefix, path, parameters)
    }
}

/// A link to `path` below `prefix`; see [`Call::link`]. `base` is what [`base`] gives.
pub(super) fn link(base: &str, query: Query<'_>, prefix: &str, path: &str, parameters: &[(&str, &str)]) -> String {
    let version = query.raw_version().map(|version| format!("api-version={version}"));
    let others = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    let query: Vec<String> = version.into_iter().chain(others).collect();
    format!("{base}{prefix}{path}?{}", query.join("&"))
}

/// What absolute links begin with; nothing where the request named no host. `https` when the connection is, or a proxy in
/// front says so.
pub(super) fn base(headers: &HeaderMap, secure: bool) -> String {
    let proto = headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let secure = secure || proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.map_or(String::new(), |host| format!("{}://{host}", if secure { "https" } else { "http" }))
}

/// Whether the connection is TLS.
pub(super) fn is_secure(parts: &Parts) -> bool {
    parts.extensions.get::<Peer>().is_some_and(|peer| peer.secure)
}

/// A body as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    // What is serialised here are our own structs, with text for keys.
    let bytes = serde_json::to_vec(body).expect("answers become JSON");
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// No body.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Text as it is.
pub(super) fn text(body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// RFC 3339 in UTC with nine digits of a second, as in the service's samples.
pub(super) fn timestamp(at: OffsetDateTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
    at.to_offset(time::UtcOffset::UTC).format(FORMAT).expect("a date of this era has these parts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_nine_digits_and_a_z() {
        let at = time::macros::datetime!(2024-05-02 09:21:07.9922617 +02:00);
        assert_eq!(timestamp(at), "2024-05-02T07:21:07.992261700Z");
    }
}
