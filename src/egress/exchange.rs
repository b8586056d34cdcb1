//! A request, its answer, and why there is none: plain values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a guest asks for. Nothing of it has been checked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The pool's own timeout when absent, or when that is shorter.
    pub timeout: Option<Duration>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    /// Values are ISO 8859-1, as bytes on the wire are.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no answer. The message is for whoever wrote the code in the guest: it says what to change, and nothing
/// of the gateway's surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The pool's policy does not let it out.
    Refused,
    /// The execution has used up its requests, or the request or the answer is too large.
    Limit,
    /// It is not a request.
    Invalid,
    /// The name has no address.
    Resolve,
    /// No connection, or no trust in whoever answered.
    Connect,
    /// The server was too slow.
    Timeout,
    /// The server broke off, or its answer is not HTTP.
    Protocol,
    /// The execution was interrupted meanwhile.
    Interrupted,
    /// The gateway's own failure.
    Gateway,
}

impl FailureKind {
    /// Its name on the wires: to the guest and to callers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Limit => "limit",
            Self::Invalid => "invalid",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Interrupted => "interrupted",
            Self::Gateway => "gateway",
        }
    }
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Invalid, message)
    }
}
