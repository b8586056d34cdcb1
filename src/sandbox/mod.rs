//! The seam: what any sandbox can do, as plain values in and out.
//!
//! Nothing here knows how a guest is run; everything that crosses is a serde value, so that a sandbox may later live
//! in another process.

pub mod container;
pub mod event;
pub mod limits;
pub mod output;
mod transcript;
pub mod wasm;

pub use event::{Display, Event, GuestError, MimeBundle};
pub use limits::Limits;
pub use output::Output;
pub use transcript::Written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::egress::Calls;

/// How an execution ended. Every one of these is an answer; none is the gateway's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// The code ran to its end.
    Finished,
    /// The code raised; an [`Event::Error`] tells what.
    Raised,
    /// The wall-clock timeout passed.
    TimedOut,
    /// The CPU-time limit was reached.
    OutOfCpu,
    /// The fuel budget was used up.
    OutOfFuel,
    /// The guest ended for want of memory.
    OutOfMemory,
    /// Somebody asked for the end: the caller went away, or stopped the execution.
    Stopped,
    /// The guest broke: an unreachable instruction, an access out of bounds, a stack overflow, an exit call.
    Trapped,
}

/// What an execution used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the start of the run to its end.
    pub wall: Duration,
    /// Time on a guest thread.
    pub cpu: Duration,
    /// Fuel, where the pool meters it.
    pub fuel: Option<u64>,
    /// Size of the guest's linear memory at the end, in bytes.
    pub memory_bytes: u64,
    /// Bytes of events that the guest emitted, those that were cut included.
    pub output_bytes: u64,
}

/// The end of a run, told by the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub exit: Exit,
    pub usage: Usage,
    /// False when the sandbox must not be used again: the guest was trapped, so its state means nothing.
    pub alive: bool,
    /// What the guest asked of the outside.
    pub network: Calls,
}

/// The gateway could not run the guest faithfully. Never the guest's fault.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed")]
pub struct SandboxError {
    /// What was being done, for the log.
    pub doing: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl SandboxError {
    /// An error while `doing`, caused by `source`.
    pub fn new(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { doing, source: source.into() }
    }
}
