//! What an execution may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one execution. What belongs to the session for its whole life (memory, files) is fixed when the
/// sandbox is made; see [`SessionLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall-clock time until the guest is interrupted.
    pub wall: Duration,
    /// Time on a guest thread until the guest is interrupted.
    pub cpu: Option<Duration>,
    /// Fuel (about one per WebAssembly instruction) until the guest is interrupted; only in a pool that meters fuel.
    pub fuel: Option<u64>,
    /// Bytes of events that are kept; the rest is dropped and the answer says so.
    pub output_bytes: u64,
}

/// The limits of a session for its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Linear memory, in bytes, the image included.
    pub memory_bytes: u64,
    pub files: FileLimits,
}

/// The quota of a session's private file layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLimits {
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files, directories and links together.
    pub count: u64,
}
