//! What is remembered of an execution's requests: where to, and how they ended. Not paths, queries, headers or content,
//! which may hold anything.

use serde::{Deserialize, Serialize};

use super::exchange::{Failure, FailureKind, Response};
use super::target::Target;

/// The most calls that are listed; the rest is counted.
pub const MAX_CALLS: usize = 100;

/// One request that code made, whether or not it was let out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub host: String,
    pub port: u16,
    pub method: String,
    pub end: CallEnd,
    /// Bytes of the request's body that were given to the host.
    pub sent_bytes: u64,
    /// Bytes of the answer's body.
    pub received_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallEnd {
    /// The server's status code.
    Status(u16),
    Failed(FailureKind),
}

/// The requests of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// The first [`MAX_CALLS`].
    pub listed: Vec<Call>,
    /// How many more there were.
    pub omitted: u64,
}

impl Call {
    pub fn new(target: &Target, method: &str, sent_bytes: u64, ended: &Result<Response, Failure>) -> Self {
        let (end, received_bytes) = match ended {
            Ok(response) => (CallEnd::Status(response.status), response.body.len() as u64),
            Err(failure) => (CallEnd::Failed(failure.kind), 0),
        };
        // A method that no server knows may be as long as the guest likes.
        let method = method.chars().take(32).collect();
        Self { host: target.host().to_owned(), port: target.port(), method, end, sent_bytes, received_bytes }
    }
}

impl Calls {
    pub fn add(&mut self, call: Call) {
        if self.listed.len() < MAX_CALLS {
            self.listed.push(call);
        } else {
            self.omitted += 1;
        }
    }
}
