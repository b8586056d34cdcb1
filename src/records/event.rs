//! What is recorded, as values.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::{Pseudonym, Table};

/// How much somebody should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Informational,
    Warning,
    Error,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }
}

/// A call of the API. No path, no query, no body: they hold identifiers, names of files, code.
#[derive(Debug, Clone)]
pub struct Audit {
    pub at: OffsetDateTime,
    /// Who, as `access/` names callers; never a key or a token.
    pub caller: Arc<str>,
    /// What was asked, as one of the API's own words.
    pub operation: &'static str,
    /// A pool that exists.
    pub pool: Option<Arc<str>>,
    pub session: Option<Pseudonym>,
    /// The address that the connection came from.
    pub origin: Option<IpAddr>,
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
    pub elapsed: Duration,
}

/// Where something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Text that a session wrote; the writer cuts it into lines.
#[derive(Debug, Clone)]
pub struct Line {
    pub at: OffsetDateTime,
    pub stream: Stream,
    pub text: String,
}

/// How a session came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// On a sandbox that was ready.
    Ready,
    /// Its sandbox is made when its first execution needs it.
    OnDemand,
    /// It had to wait for its sandbox.
    Awaited,
    /// It goes on from another session.
    Forked,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Nobody used it for the cooldown.
    Expired,
    /// Somebody asked for it.
    Stopped,
    /// Its guest broke and there was nothing to roll back to, or an execution was cut off.
    Broken,
    /// It lived as long as it may.
    Aged,
    /// Its container ended by itself.
    Exited,
    /// Its container failed its liveness probe.
    Unhealthy,
    /// Its pool closed.
    Closed,
}

/// What one execution used.
#[derive(Debug, Clone)]
pub struct Consumed {
    pub execution: String,
    /// As in [`Audit::caller`].
    pub caller: Option<Arc<str>>,
    pub outcome: &'static str,
    /// From its admission to its turn: the wait for the session and its sandbox.
    pub queued: Duration,
    pub wall: Duration,
    pub cpu: Duration,
    pub fuel: Option<u64>,
    /// Size of the guest's memory at the end.
    pub memory_bytes: u64,
    /// Length of the code.
    pub input_bytes: u64,
    /// Length of the output, what was cut included.
    pub output_bytes: u64,
    /// What it received from the outside and sent there.
    pub network_bytes: u64,
}

/// The pool that something belongs to.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub at: OffsetDateTime,
    pub pool: Arc<str>,
}

/// A row to be, or some of them.
#[derive(Debug)]
pub(super) enum Record {
    Console {
        at: At,
        session: Pseudonym,
        execution: String,
        lines: Vec<Line>,
    },
    Lifecycle {
        at: At,
        session: Pseudonym,
        level: Level,
        operation: &'static str,
        log: String,
    },
    Pool {
        at: At,
        level: Level,
        operation: &'static str,
        log: String,
    },
    Audit(Audit),
    Execution {
        at: At,
        tags: Arc<str>,
        session: Pseudonym,
        used: Consumed,
    },
    Session {
        at: At,
        tags: Arc<str>,
        session: Pseudonym,
        allocated: Duration,
        idle: Duration,
        network_bytes: Option<u64>,
    },
    /// The rows of a table up to this one were exported.
    HandedOn {
        table: Table,
        last: i64,
    },
}

impl Record {
    /// Bytes of what may be long in it.
    pub(super) fn text_bytes(&self) -> u64 {
        match self {
            Self::Console { lines, .. } => lines.iter().map(|line| line.text.len() as u64).sum(),
            Self::Lifecycle { log, .. } | Self::Pool { log, .. } => log.len() as u64,
            Self::Audit(_) | Self::Execution { .. } | Self::Session { .. } | Self::HandedOn { .. } => 0,
        }
    }
}

impl Made {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::OnDemand => "on-demand",
            Self::Awaited => "awaited",
            Self::Forked => "forked",
        }
    }

    pub(super) fn log(self) -> &'static str {
        match self {
            Self::Ready => "made, on a ready sandbox",
            Self::OnDemand => "made; its sandbox follows with the first execution",
            Self::Awaited => "made, once a sandbox was ready for it",
            Self::Forked => "made as a fork of another session",
        }
    }
}

impl Ended {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::Broken => "broken",
            Self::Aged => "aged",
            Self::Exited => "exited",
            Self::Unhealthy => "unhealthy",
            Self::Closed => "closed",
        }
    }

    pub(super) fn log(self) -> &'static str {
        match self {
            Self::Expired => "ended: nobody used it for its cooldown",
            Self::Stopped => "ended: somebody asked for it",
            Self::Broken => {
                "ended: its guest broke, or its execution was cut off, and there was nothing to roll back to"
            }
            Self::Aged => "ended: it had lived as long as it may",
            Self::Exited => "ended: its container ended",
            Self::Unhealthy => "ended: its container failed its liveness probe",
            Self::Closed => "ended: its pool closed",
        }
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::Expired | Self::Stopped | Self::Aged | Self::Exited | Self::Closed => Level::Informational,
            Self::Broken | Self::Unhealthy => Level::Warning,
        }
    }
}
