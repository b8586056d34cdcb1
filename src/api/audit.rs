//! What a call leaves in the audit log: who, what, when, from where, and how it ended.
//!
//! It looks at method, path, query and status alone, and writes no word of the caller's: a session becomes a pseudonym, a pool
//! is one that exists, an operation is one of ours.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use time::OffsetDateTime;

use super::error::Code;
use super::query::Query;
use super::route::{KeyOperation, NoRoute, Operation, PoolPath, Route};
use crate::gateway::{ContainerSessionPool, Gateway};
use crate::pool::PoolName;
use crate::records::{Audit, PoolRecords, Pseudonym};

/// The address that a connection came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(pub IpAddr);

/// An operation, the pool and the session that it is asked of.
type Asked = (&'static str, Option<PoolRecords>, Option<Pseudonym>);

/// A call under way, as the audit log sees it.
pub(super) struct Seen {
    at: OffsetDateTime,
    began: Instant,
    operation: &'static str,
    pool: Option<PoolRecords>,
    session: Option<Pseudonym>,
    origin: Option<IpAddr>,
}

impl Seen {
    /// None for what asks nothing of anybody: probes and the page itself. `containers` is the pool of containers that it is for.
    pub(super) fn of(
        gateway: &Gateway,
        route: &Result<Route, NoRoute>,
        containers: Option<&(ContainerSessionPool, PoolPath<'_>)>,
        parts: &Parts,
    ) -> Option<Self> {
        let (operation, pool, session) = match containers {
            Some((pool, at)) => Self::forwarded(gateway, pool, at, route, parts),
            None => Self::asked(gateway, route, parts)?,
        };
        let origin = parts.extensions.get::<Origin>().map(|origin| origin.0);
        Some(Self { at: OffsetDateTime::now_utc(), began: Instant::now(), operation, pool, session, origin })
    }

    /// What is asked of the gateway itself.
    fn asked(gateway: &Gateway, route: &Result<Route, NoRoute>, parts: &Parts) -> Option<Asked> {
        Some(match route {
            Ok(Route::Liveness | Route::Readiness | Route::Document(_) | Route::Metrics | Route::Console(_)) => {
                return None;
            }
            Ok(Route::Token) => ("IssueToken", None, None),
            Ok(Route::Keys(operation)) => (key_word(operation), None, None),
            Ok(Route::Control(target)) => {
                let (word, name) = target.operation.audited();
                let pool = name.and_then(|name| PoolName::new(name).ok()).and_then(|name| gateway.records_of(&name));
                (word, pool, None)
            }
            Ok(Route::Pools) => ("ListPools", None, None),
            Ok(Route::Records(_)) => ("ReadRecords", None, None),
            Ok(Route::Sums) => ("ReadUsage", None, None),
            Ok(Route::Pool { pool, operation, .. }) => {
                let pool = PoolName::new(pool).ok().and_then(|name| gateway.pool(&name));
                let named = Query::new(parts.uri.query()).identifier().ok().flatten();
                let session = match operation {
                    Operation::Fork(session)
                    | Operation::ListSnapshots(session)
                    | Operation::TakeSnapshot(session)
                    | Operation::RestoreSnapshot(session, _)
                    | Operation::Export(session)
                    | Operation::Import(session) => gateway.records().pseudonym(session),
                    _ => named.and_then(|identifier| gateway.records().pseudonym(identifier.as_str())),
                };
                (word(operation), pool.map(|pool| pool.records().clone()), session)
            }
            Err(NoRoute::Path | NoRoute::Method(_)) => ("Unknown", None, None),
        })
    }

    /// What is asked of a pool of containers.
    fn forwarded(
        gateway: &Gateway,
        pool: &ContainerSessionPool,
        at: &PoolPath<'_>,
        route: &Result<Route, NoRoute>,
        parts: &Parts,
    ) -> Asked {
        let interpreted = pool.interpreter().is_some();
        let operation = match at.names().iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [".management", "getSession"] => "ReadSession",
            [".management", "listSessions"] => "ListSessions",
            [".management", "stopSession"] => "StopSession",
            [".management", "console"] => "ReadConsole",
            [".management", "network"] => "ReadNetwork",
            [".management", "health"] => "ReadHealth",
            [".management", ..] => "Unknown",
            _ if interpreted => match route {
                Ok(Route::Pool { operation, .. }) => word(operation),
                _ => "Unknown",
            },
            _ => "Forward",
        };
        let named = Query::new(parts.uri.query()).identifier().ok().flatten();
        let session = named.and_then(|identifier| gateway.records().pseudonym(identifier.as_str()));
        (operation, Some(pool.records().clone()), session)
    }

    /// What is asked.
    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }

    /// The pool that it is asked of, if it exists.
    pub(super) fn pool(&self) -> Option<&str> {
        self.pool.as_ref().map(|records| &**records.pool())
    }

    pub(super) fn answered(self, gateway: &Gateway, caller: &Arc<str>, response: &Response<Body>) {
        let status = response.status();
        let code = response.extensions().get::<Code>().map(|code| code.0);
        if let (Some(pool), Some(code)) = (&self.pool, code) {
            pool.rejected(code);
        }
        let nobody = status == StatusCode::UNAUTHORIZED;
        gateway.records().audit(Audit {
            at: self.at,
            caller: if nobody { "unknown".into() } else { caller.clone() },
            operation: self.operation,
            pool: self.pool.map(|pool| pool.pool().clone()),
            session: self.session,
            origin: self.origin,
            status: status.as_u16(),
            code: code.map(str::to_owned),
            elapsed: self.began.elapsed(),
        });
    }
}

/// The same of what is asked about keys.
fn key_word(operation: &KeyOperation) -> &'static str {
    match operation {
        KeyOperation::List => "ListKeys",
        KeyOperation::Create => "CreateKey",
        KeyOperation::Read(_) => "ReadKey",
        KeyOperation::Revoke(_) => "RevokeKey",
        KeyOperation::Rotate(_) => "RotateKey",
    }
}

/// The name of an operation in the audit log.
pub(super) fn word(operation: &Operation) -> &'static str {
    match operation {
        Operation::ExecuteOld | Operation::Execute => "Execute",
        Operation::ReadExecution(_) => "ReadExecution",
        Operation::UploadOld | Operation::Upload => "UploadFile",
        Operation::ListFiles => "ListFiles",
        Operation::Content(_) | Operation::ContentInJson(_) => "DownloadFile",
        Operation::ReadFile(_) => "ReadFile",
        Operation::DeleteFile(_) => "DeleteFile",
        Operation::ReadSession | Operation::ManageRead => "ReadSession",
        Operation::EndSession | Operation::ManageStop => "StopSession",
        Operation::ListSessions | Operation::ManageList => "ListSessions",
        Operation::Metadata => "ReadMetadata",
        Operation::Fork(_) => "ForkSession",
        Operation::ListSnapshots(_) => "ListSnapshots",
        Operation::TakeSnapshot(_) => "TakeSnapshot",
        Operation::RestoreSnapshot(..) => "RestoreSnapshot",
        Operation::Export(_) => "ExportSession",
        Operation::Import(_) => "ImportSession",
        Operation::Records(_) => "ReadRecords",
        Operation::Sums => "ReadUsage",
        Operation::Health => "ReadHealth",
    }
}
