//! One execution: its request, its outcome, and the one way it runs.

pub mod contained;
mod record;
pub mod registry;
pub mod run;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::access::limits::Permit;
use crate::egress::Calls;
use crate::files::FileEntry;
use crate::pool::LeaseError;
use crate::pool::container::NoSession;
use crate::sandbox::{Event, Exit, GuestError, Output, SandboxError, Usage};
use crate::session::Identifier;

/// A request to run code, free of any dialect.
#[derive(Debug, Clone)]
pub struct ExecutionRequest {
    /// What it holds of the caller's limits, until it ends.
    pub permit: Option<Arc<Permit>>,
    pub identifier: Identifier,
    pub code: Code,
    /// Wall-clock timeout; the pool's default when absent. Above the pool's ceiling it is refused.
    pub timeout: Option<Duration>,
    /// The caller's own id for it (`operation-id`); made up when absent.
    pub id: Option<ExecutionId>,
    pub limits: RequestedLimits,
    /// The caller takes the events as they come.
    pub followed: bool,
    /// Who asked, for the records; see `records::Audit`.
    pub caller: Option<Arc<str>>,
}

/// Limits that a request asks for. They lower the pool's and never raise them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestedLimits {
    /// Time on a guest thread, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Fuel; only in a pool that meters it.
    pub fuel: Option<u64>,
    /// Bytes of events that are kept.
    pub output_bytes: Option<u64>,
    /// Characters of stdout that are kept, and of stderr.
    pub stream_chars: Option<u64>,
}

/// Source text. Its `Debug` hides it: logs never carry code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(pub String);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} bytes)", self.0.len())
    }
}

/// Names an execution within its session: 1 to 128 characters of `[A-Za-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecutionId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an execution id has 1 to 128 characters of A-Z a-z 0-9 . _ -")]
pub struct InvalidExecutionId;

impl ExecutionId {
    /// Checks a caller's id.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidExecutionId> {
        let text = text.into();
        let fits = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits { Ok(Self(text)) } else { Err(InvalidExecutionId) }
    }

    /// A random id (UUID version 4).
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an execution stands.
#[derive(Debug, Clone)]
pub enum Status {
    /// It waits for its session.
    NotStarted,
    Running,
    Done(Arc<Outcome>),
    /// It did not run, or the gateway failed it.
    Lost(Arc<ExecutionError>),
}

/// An execution as it stands now.
#[derive(Debug, Clone)]
pub struct Execution {
    pub id: ExecutionId,
    pub identifier: Identifier,
    pub status: Status,
    pub created_at: OffsetDateTime,
    /// Output so far; shared with the running guest.
    pub output: Arc<Output>,
}

/// What came of an execution.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub exit: Exit,
    pub usage: Usage,
    pub events: Vec<Event>,
    /// Bytes of output that were dropped for the output limit.
    pub dropped_bytes: u64,
    /// True when this execution made the session: the identifier was new, expired or lost.
    pub session_created: bool,
    /// True when the session ended with this execution and the next call starts fresh.
    pub session_discarded: bool,
    /// True when the guest broke and the session is as it was before this execution.
    pub session_rolled_back: bool,
    /// In durable pools: whether the session is on disk as this execution left it.
    pub session_kept: Option<bool>,
    /// Files below `/mnt/data` that were made or changed while it ran (paths relative to `/mnt/data`).
    pub files: Vec<FileEntry>,
    /// What the code asked of the outside.
    pub network: Calls,
    /// Where it was a process of its own: how that ended.
    pub process: Option<ProcessEnd>,
}

/// The end of a process that was an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessEnd {
    /// As shells have it: 128 and the number of a signal that ended it, 124 after a timeout.
    pub code: i32,
    /// Clients of the pool expect it in the place of an execution's status.
    pub is_status: bool,
}

impl Outcome {
    /// Everything written to standard output.
    pub fn stdout(&self) -> String {
        self.events
            .iter()
            .filter_map(|e| if let Event::Stdout { text } = e { Some(text.as_str()) } else { None })
            .collect()
    }

    /// Everything written to standard error (no traceback).
    pub fn stderr(&self) -> String {
        self.events
            .iter()
            .filter_map(|e| if let Event::Stderr { text } = e { Some(text.as_str()) } else { None })
            .collect()
    }

    /// The exception that ended the cell.
    pub fn error(&self) -> Option<&GuestError> {
        self.events.iter().rev().find_map(|e| if let Event::Error(error) = e { Some(error) } else { None })
    }

    /// True when the code ran to its end.
    pub fn succeeded(&self) -> bool {
        self.exit == Exit::Finished
    }
}

/// Why an execution did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("a timeout of {asked:?} is more than this pool's ceiling of {ceiling:?}")]
    TimeoutTooLong { asked: Duration, ceiling: Duration },
    #[error("a timeout must be at least one second")]
    TimeoutTooShort,
    #[error("the code has {bytes} bytes; this pool takes at most {limit}")]
    CodeTooLong { bytes: usize, limit: usize },
    #[error("this pool does not limit an execution's processor time; ask for less with timeoutInSeconds")]
    CpuNotLimited,
    #[error("a command cannot hold a zero byte")]
    ZeroByte,
    #[error(transparent)]
    NoContainer(#[from] NoSession),
    #[error("this pool does not meter fuel")]
    NotMetered,
    #[error("{limit} asynchronous executions are under way or kept in this pool")]
    TooManyKept { limit: usize },
    #[error("an execution with this id exists in this session")]
    IdTaken,
    #[error("the gateway is shutting down")]
    Draining,
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
