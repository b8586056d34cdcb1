//! Every failure that a caller can see: the only file that chooses a failure status.
//!
//! Three kinds, by blame. The guest's failures are answers and never come here. The caller's (4xx) say what to change.
//! Ours (5xx) are logged with their cause and go out as a generic text with the `traceId` that the log line carries.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::control::Problem;

use crate::access::Stranger;
use crate::access::caller::InvalidPools;
use crate::access::keys::KeyError;
use crate::access::limits::Refused;
use crate::access::token::NoToken;
use crate::execution::{ExecutionError, InvalidExecutionId};
use crate::files::FileError;
use crate::gateway::PoolChangeError;
use crate::pool::container::NoSession;
use crate::pool::{HistoryError, InvalidPoolName, LeaseError, NotOpened};
use crate::records::RecordsError;
use crate::sandbox::container::agent::AgentError;
use crate::session::InvalidIdentifier;
use crate::snapshot::RestoreError;
use crate::snapshot::store::StoreError;

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// The code of a refusal, beside the response that has it: a header may be a container's own words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code(pub &'static str);

/// Why a request got no answer of its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error("this key or token does not allow that {}", if *.pool { "in this pool" } else { "here" })]
    Forbidden { pool: bool },
    #[error("{0}")]
    Grant(&'static str),
    #[error(transparent)]
    Limit(#[from] Refused),
    #[error("there is no token endpoint at this gateway")]
    NoIdentity,
    #[error("send the X-IDENTITY-HEADER that this gateway is configured with")]
    IdentityHeader,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Pools(#[from] InvalidPools),
    #[error("there is no session pool of this name in this resource group")]
    NoResource,
    #[error(transparent)]
    PoolName(InvalidPoolName),
    #[error(transparent)]
    PoolChange(#[from] PoolChangeError),
    #[error("{}", .0.iter().map(|wrong| format!("{} {}", wrong.pointer, wrong.problem)).collect::<Vec<_>>().join("; "))]
    Template(Vec<Problem>),
    #[error("Session pool '{pool}' does not have MCP Server enabled.")]
    NoMcpServer { pool: String },
    #[error("there is nothing at this path; GET /openapi.json lists what there is")]
    NoRoute,
    #[error("this path takes {allow}")]
    Method { allow: String },
    #[error("there is no session pool with this name")]
    NoPool,

    #[error("the query parameter 'identifier' is missing; it names the session")]
    IdentifierMissing,
    #[error(transparent)]
    Identifier(InvalidIdentifier),
    #[error("the query parameter '{name}' {problem}")]
    Query { name: &'static str, problem: &'static str },
    #[error("the header 'operation-id' is invalid: {0}")]
    OperationId(#[from] InvalidExecutionId),

    #[error("the body is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("{0}")]
    PropertiesMissing(&'static str),
    /// `pointer` is the JSON pointer of what to change.
    #[error("{problem}")]
    Contract { pointer: String, problem: String },
    #[error("the upload is invalid: {0}")]
    Multipart(String),
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the rest of the body did not arrive within {} seconds", .0.as_secs())]
    BodyTooSlow(Duration),
    #[error("the body ended early")]
    BodyBroken,

    #[error("no session with this identifier is active")]
    NoSession,
    #[error("this session has no execution with this id")]
    NoExecution,
    #[error("there is no file called {name:?} in this session")]
    NoFile { name: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    NoContainer(#[from] NoSession),
    #[error("{0}")]
    TooManyFiles(String),
    #[error("this pool runs code in containers, which have no {operation}")]
    NotOffered { operation: &'static str },
    #[error("the session's container does not take connections on the pool's target port ({0})")]
    ContainerUnreachable(std::io::ErrorKind),
    #[error("the session's container ended, or hung up, before it had answered")]
    ContainerBroke,
    #[error("the gateway is not ready: {0}")]
    NotReady(String),
    /// The gateway lost the execution; the cause is logged where it happened.
    #[error("the execution was lost")]
    Lost,
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::File(error) => error.into(),
            AgentError::TooMany { .. } => Self::TooManyFiles(error.to_string()),
            AgentError::Broken(error) => {
                tracing::debug!(%error, "a container's agent did not answer");
                Self::ContainerBroke
            }
        }
    }
}

/// How a failure looks to the caller.
struct Face {
    status: StatusCode,
    code: &'static str,
    retry_after: Option<Duration>,
}

impl Face {
    const fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, retry_after: None }
    }

    const fn later(status: StatusCode, code: &'static str, retry_after: Duration) -> Self {
        Self { status, code, retry_after: Some(retry_after) }
    }
}

const VALIDATION: Face = Face::new(StatusCode::BAD_REQUEST, "SessionRequestValidationFailed");
const INTERNAL: Face = Face::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError");

impl Failure {
    /// A file's failure; one that is not there is told by the name that the caller asked for.
    pub(super) fn of_file(name: &str) -> impl Fn(FileError) -> Self {
        move |error| match error {
            FileError::NotFound => Self::NoFile { name: name.to_owned() },
            error => Self::File(error),
        }
    }

    /// The same of a file in a container.
    pub(super) fn of_agent(name: &str) -> impl Fn(AgentError) -> Self {
        move |error| match error {
            AgentError::File(error) => Self::of_file(name)(error),
            AgentError::TooMany { .. } | AgentError::Broken(_) => error.into(),
        }
    }

    pub(super) fn query(name: &'static str, problem: &'static str) -> Self {
        Self::Query { name, problem }
    }

    /// Every variant, no catch-all: a new failure cannot ship without its status.
    ///
    /// Where the service's own code is known it is used (the spec's section 1.4); the others are ours, in its style.
    fn face(&self) -> Face {
        match self {
            Self::Stranger(Stranger::Token(NoToken::Unreachable)) => {
                Face::later(StatusCode::SERVICE_UNAVAILABLE, "TokenIssuerUnavailable", Duration::from_secs(30))
            }
            // Who somebody is was proved; nothing is granted to them.
            Self::Stranger(Stranger::Token(NoToken::NoGrant)) | Self::Forbidden { .. } | Self::Grant(_) => {
                Face::new(StatusCode::FORBIDDEN, "AuthorizationFailed")
            }
            Self::Stranger(_) | Self::IdentityHeader => Face::new(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Limit(refused) => limit(refused),
            Self::NoIdentity => Face::new(StatusCode::NOT_FOUND, "RouteNotFound"),
            Self::Key(error) => key(error),
            Self::Pools(_) => VALIDATION,
            Self::NoResource => Face::new(StatusCode::NOT_FOUND, "ResourceNotFound"),
            Self::PoolName(_) => Face::new(StatusCode::BAD_REQUEST, "InvalidResourceName"),
            Self::PoolChange(error) => pool_change(error),
            Self::Template(_) => Face::new(StatusCode::BAD_REQUEST, "InvalidSessionPoolProperties"),
            Self::NoMcpServer { .. } => Face::new(StatusCode::BAD_REQUEST, "SessionMCPServerNotEnabled"),
            Self::NoRoute => Face::new(StatusCode::NOT_FOUND, "RouteNotFound"),
            Self::Method { .. } => Face::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::NoPool => Face::new(StatusCode::NOT_FOUND, "SessionPoolNotFound"),
            Self::Identifier(InvalidIdentifier::Length { .. }) => {
                Face::new(StatusCode::BAD_REQUEST, "InvalidLengthOfSessionIdentifier")
            }
            Self::IdentifierMissing => Face::new(StatusCode::BAD_REQUEST, "SessionIdentifierMissing"),
            Self::Identifier(InvalidIdentifier::Character)
            | Self::Query { .. }
            | Self::OperationId(_)
            | Self::NotJson(_)
            | Self::Contract { .. }
            | Self::Multipart(_)
            | Self::BodyBroken => VALIDATION,
            Self::PropertiesMissing(_) => Face::new(StatusCode::BAD_REQUEST, "SessionPropertiesMissing"),
            Self::BodyTooLarge { .. } => Face::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge"),
            Self::BodyTooSlow(_) => Face::new(StatusCode::REQUEST_TIMEOUT, "RequestBodyTooSlow"),
            // 400, not 404: so the service answers (the spec's section 1.3).
            Self::NoSession => Face::new(StatusCode::BAD_REQUEST, "SessionWithIdentifierNotFound"),
            Self::NoExecution => Face::new(StatusCode::NOT_FOUND, "ExecutionNotFound"),
            Self::NoFile { .. } => Face::new(StatusCode::NOT_FOUND, "FileNotFound"),
            Self::File(error) => file(error),
            Self::Execution(error) => execution(error),
            Self::Lease(error) => lease(error),
            Self::History(error) => history(error),
            Self::Store(_) => INTERNAL,
            Self::NoContainer(error) => no_container(error),
            Self::TooManyFiles(_) => Face::new(StatusCode::CONFLICT, "FileOperationConflict"),
            Self::NotOffered { .. } => Face::new(StatusCode::BAD_REQUEST, "SessionRequestNotSupported"),
            Self::ContainerUnreachable(_) => Face::new(StatusCode::BAD_GATEWAY, "SessionContainerUnreachable"),
            Self::ContainerBroke => Face::new(StatusCode::BAD_GATEWAY, "SessionContainerFailed"),
            Self::NotReady(_) => {
                Face::later(StatusCode::SERVICE_UNAVAILABLE, "GatewayNotReady", Duration::from_secs(1))
            }
            Self::Records(error) => records(error),
            Self::Lost => INTERNAL,
        }
    }

    /// What the fault is in, where it is one thing.
    fn target(&self) -> Option<&str> {
        match self {
            Self::Contract { pointer, .. } => Some(pointer),
            Self::Template(problems) => problems.first().map(|problem| problem.pointer.as_str()),
            Self::Query { name, .. } => Some(name),
            Self::IdentifierMissing | Self::Identifier(_) => Some("identifier"),
            Self::OperationId(_) => Some("operation-id"),
            _ => None,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let face = self.face();
        let trace_id = uuid::Uuid::new_v4().to_string();
        let message = if face.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(trace_id, cause = causes(&self), "a request failed");
            "the gateway failed; its log tells why under this traceId".to_owned()
        } else {
            tracing::debug!(trace_id, status = face.status.as_u16(), code = face.code, "refused");
            self.to_string()
        };
        let error = Detail { code: face.code, message: &message, target: self.target(), trace_id: &trace_id };
        let body = serde_json::to_vec(&Envelope { error }).expect("strings become JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = face.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_CODE, HeaderValue::from_static(face.code));
        if let Some(after) = face.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Self::Method { allow } = &self {
            headers.insert(ALLOW, HeaderValue::from_str(allow).expect("method names are header text"));
        }
        if face.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Code(face.code));
        response
    }
}

/// Rounded up: who comes back then is not too early.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

fn limit(refused: &Refused) -> Face {
    let code = match refused.what {
        "requests_per_second" | "executions_per_minute" | "concurrent_executions" => "RequestRateExceeded",
        _ => "QuotaExceeded",
    };
    Face::later(StatusCode::TOO_MANY_REQUESTS, code, refused.retry_after)
}

fn pool_change(error: &PoolChangeError) -> Face {
    match error {
        PoolChangeError::NoControl => Face::new(StatusCode::CONFLICT, "SessionPoolsAreFixed"),
        PoolChangeError::Configured => Face::new(StatusCode::CONFLICT, "SessionPoolIsConfigured"),
        PoolChangeError::Elsewhere => Face::new(StatusCode::CONFLICT, "SessionPoolNameTaken"),
        PoolChangeError::Draining => {
            Face::later(StatusCode::SERVICE_UNAVAILABLE, "GatewayShuttingDown", Duration::from_secs(1))
        }
        PoolChangeError::NotOpened(NotOpened::Unavailable(_)) => {
            Face::new(StatusCode::CONFLICT, "InterpreterNotAvailable")
        }
        PoolChangeError::NotOpened(NotOpened::Failed(_)) | PoolChangeError::Database(_) | PoolChangeError::Lost => {
            INTERNAL
        }
    }
}

fn key(error: &KeyError) -> Face {
    match error {
        KeyError::NotFound => Face::new(StatusCode::NOT_FOUND, "KeyNotFound"),
        KeyError::NotActive => Face::new(StatusCode::CONFLICT, "KeyNotActive"),
        KeyError::TooMany { .. } => {
            Face::later(StatusCode::TOO_MANY_REQUESTS, "TooManyKeys", Duration::from_secs(3600))
        }
        KeyError::Database(_) => INTERNAL,
    }
}

fn file(error: &FileError) -> Face {
    match error {
        FileError::NotFound => Face::new(StatusCode::NOT_FOUND, "FileNotFound"),
        FileError::InvalidPath | FileError::InvalidArgument | FileError::NameTooLong | FileError::TooManyLinks => {
            Face::new(StatusCode::BAD_REQUEST, "InvalidFileName")
        }
        FileError::NotAFile
        | FileError::NotADirectory
        | FileError::AlreadyExists
        | FileError::DirectoryNotEmpty
        | FileError::ReadOnly
        | FileError::Busy
        | FileError::CrossesLayers
        | FileError::NotPermitted => Face::new(StatusCode::CONFLICT, "FileOperationConflict"),
        FileError::QuotaFileBytes { .. } => Face::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge"),
        FileError::QuotaBytes { .. } | FileError::QuotaCount { .. } => {
            Face::new(StatusCode::PAYLOAD_TOO_LARGE, "SessionFileQuotaExceeded")
        }
        FileError::Spill(_) => INTERNAL,
    }
}

fn execution(error: &ExecutionError) -> Face {
    match error {
        ExecutionError::Lease(error) => lease(error),
        ExecutionError::NoContainer(error) => no_container(error),
        ExecutionError::TimeoutTooLong { .. }
        | ExecutionError::TimeoutTooShort
        | ExecutionError::NotMetered
        | ExecutionError::CpuNotLimited
        | ExecutionError::ZeroByte => VALIDATION,
        ExecutionError::CodeTooLong { .. } => Face::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge"),
        ExecutionError::IdTaken => Face::new(StatusCode::CONFLICT, "OperationIdTaken"),
        ExecutionError::TooManyKept { .. } => {
            Face::later(StatusCode::TOO_MANY_REQUESTS, "TooManyExecutions", Duration::from_secs(1))
        }
        ExecutionError::Draining => {
            Face::later(StatusCode::SERVICE_UNAVAILABLE, "GatewayShuttingDown", Duration::from_secs(1))
        }
        ExecutionError::Sandbox(_) => INTERNAL,
    }
}

fn history(error: &HistoryError) -> Face {
    match error {
        HistoryError::NoSession => Face::new(StatusCode::BAD_REQUEST, "SessionWithIdentifierNotFound"),
        HistoryError::Exists(_) => Face::new(StatusCode::CONFLICT, "SessionExists"),
        HistoryError::NotKept => Face::new(StatusCode::CONFLICT, "SnapshotsNotKept"),
        HistoryError::NoSnapshot => Face::new(StatusCode::NOT_FOUND, "SnapshotNotFound"),
        HistoryError::Restore(error) => restore(error),
        // A file from outside: whatever is wrong with it is the caller's to change, a failing disk aside.
        HistoryError::Import(RestoreError::Store(_) | RestoreError::Files(_)) => INTERNAL,
        HistoryError::Import(
            RestoreError::Malformed(_)
            | RestoreError::Checksum
            | RestoreError::Seal
            | RestoreError::Version { .. }
            | RestoreError::Image { .. }
            | RestoreError::Pool
            | RestoreError::Session,
        ) => Face::new(StatusCode::BAD_REQUEST, "SnapshotInvalid"),
        HistoryError::Lease(error) => lease(error),
    }
}

/// What is on disk cannot be used: the caller is told why, and may end the session or go back to another snapshot.
fn restore(error: &RestoreError) -> Face {
    match error {
        RestoreError::Image { .. } | RestoreError::Version { .. } | RestoreError::Pool => {
            Face::new(StatusCode::CONFLICT, "SessionImageGone")
        }
        RestoreError::Malformed(_) | RestoreError::Checksum | RestoreError::Seal | RestoreError::Session => {
            Face::new(StatusCode::CONFLICT, "SessionSnapshotDamaged")
        }
        RestoreError::Store(_) | RestoreError::Files(_) => INTERNAL,
    }
}

fn lease(error: &LeaseError) -> Face {
    let busy = StatusCode::TOO_MANY_REQUESTS;
    match error {
        // The documentation says 404, the service was measured to answer 429, which clients retry.
        LeaseError::PoolFull { retry_after, .. } => Face::later(busy, "SessionPoolFull", *retry_after),
        LeaseError::QueueFull { retry_after, .. } => Face::later(busy, "SessionQueueFull", *retry_after),
        // Its session was ended while it waited.
        LeaseError::Stopped => Face::new(StatusCode::CONFLICT, "ExecutionStopped"),
        LeaseError::Draining => {
            Face::later(StatusCode::SERVICE_UNAVAILABLE, "GatewayShuttingDown", Duration::from_secs(1))
        }
        LeaseError::Asleep(error) => restore(error),
        LeaseError::SetBack => Face::new(StatusCode::CONFLICT, "SessionSetBack"),
        // Whoever keeps the gateway has to make room.
        LeaseError::NotKept(StoreError::Full) => {
            Face::later(StatusCode::SERVICE_UNAVAILABLE, "StoreFull", Duration::from_secs(60))
        }
        LeaseError::NotKept(_) | LeaseError::Sandbox(_) => INTERNAL,
    }
}

fn records(error: &RecordsError) -> Face {
    match error {
        RecordsError::Off => Face::new(StatusCode::NOT_FOUND, "RecordsNotKept"),
        RecordsError::Database(_) | RecordsError::Sql(_) | RecordsError::Key { .. } | RecordsError::Thread(_) => {
            INTERNAL
        }
    }
}

fn no_container(error: &NoSession) -> Face {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let second = Duration::from_secs(1);
    match error {
        NoSession::Full { retry_after, .. } => {
            Face::later(StatusCode::TOO_MANY_REQUESTS, "SessionPoolFull", *retry_after)
        }
        NoSession::Failing { retry_after } => Face::later(unavailable, "SessionPoolNotReady", *retry_after),
        NoSession::NotInTime(_) => Face::later(unavailable, "SessionPoolNotReady", second),
        NoSession::Stopped => Face::new(StatusCode::CONFLICT, "SessionStopped"),
        NoSession::Retired => Face::later(unavailable, "SessionPoolNotReady", second),
        NoSession::Closed => Face::later(unavailable, "GatewayShuttingDown", second),
    }
}

/// The code and message of an asynchronous execution that did not run: what a synchronous one would have been refused
/// with.
pub(super) fn told(error: &ExecutionError) -> (&'static str, String) {
    let face = execution(error);
    let ours = face.status == StatusCode::INTERNAL_SERVER_ERROR;
    (face.code, if ours { "the gateway failed; its log tells why".to_owned() } else { error.to_string() })
}

/// An error and what caused it, for the log.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Detail<'a>,
}

/// The service's error object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    trace_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxError;

    fn seen(failure: impl Into<Failure>) -> (u16, &'static str, Option<u64>) {
        let response = failure.into().into_response();
        let code = response.headers()[&ERROR_CODE].to_str().unwrap().to_owned().leak();
        let retry = response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap().parse().unwrap());
        (response.status().as_u16(), code, retry)
    }

    #[test]
    fn each_blame_has_its_status() {
        let second = Duration::from_secs(1);
        let sandbox = || SandboxError::new("starting a guest", "secret detail");
        assert_eq!(seen(Failure::NoSession), (400, "SessionWithIdentifierNotFound", None));
        assert_eq!(
            seen(Failure::Identifier(InvalidIdentifier::Length { length: 1 })),
            (400, "InvalidLengthOfSessionIdentifier", None)
        );
        assert_eq!(seen(FileError::NotFound), (404, "FileNotFound", None));
        assert_eq!(seen(FileError::QuotaFileBytes { limit: 1 }), (413, "RequestBodyTooLarge", None));
        assert_eq!(seen(LeaseError::PoolFull { limit: 1, retry_after: second * 7 }), (429, "SessionPoolFull", Some(7)));
        assert_eq!(
            seen(ExecutionError::Lease(LeaseError::QueueFull { limit: 1, retry_after: second / 9 })),
            (429, "SessionQueueFull", Some(1))
        );
        assert_eq!(seen(ExecutionError::Draining), (503, "GatewayShuttingDown", Some(1)));
        assert_eq!(seen(ExecutionError::Sandbox(sandbox())), (500, "InternalServerError", None));
        assert_eq!(seen(LeaseError::Sandbox(sandbox())), (500, "InternalServerError", None));
    }

    #[tokio::test]
    async fn our_own_failures_go_out_without_their_cause() {
        let failure = Failure::from(ExecutionError::Sandbox(SandboxError::new("starting a guest", "secret detail")));
        let body = axum::body::to_bytes(failure.into_response().into_body(), 10_000).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(!text.contains("secret") && !text.contains("guest"), "{text}");
        assert!(text.contains("traceId"), "{text}");
    }

    #[test]
    fn a_refused_method_is_told_which_are_allowed() {
        let response = Failure::Method { allow: "GET, HEAD".into() }.into_response();
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
