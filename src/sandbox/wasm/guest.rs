//! What the host keeps beside a guest: its WASI state, its requests to the outside, its memory limit, and the run under
//! way.

use std::sync::Arc;

use wasmtime::{Memory, ResourceLimiter};

use super::engine::TABLE_ELEMENTS;
use super::http::Http;
use super::interrupt::{InterruptCell, Watch};
use super::wasi::WasiState;
use crate::egress::Egress;
use crate::sandbox::Output;

/// The data of a guest's store.
pub struct Guest {
    pub wasi: WasiState,
    pub http: Http,
    pub memory: Option<Memory>,
    pub interrupt_cell: Arc<InterruptCell>,
    pub memory_limit_bytes: usize,
    /// The guest asked for more memory than it may have, during this run.
    pub memory_denied: bool,
    /// Absent between runs.
    pub run: Option<Run>,
}

/// The run under way.
pub struct Run {
    pub watch: Watch,
    pub output: Arc<Output>,
    /// Fuel in the tank when the run began.
    pub fuel_given: u64,
}

impl Guest {
    pub fn new(wasi: WasiState, interrupt_cell: Arc<InterruptCell>, memory_limit_bytes: usize) -> Self {
        let http = Http::new(Egress::disabled());
        Self { wasi, http, memory: None, interrupt_cell, memory_limit_bytes, memory_denied: false, run: None }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_limit_bytes;
        // A denied growth is not a trap: the guest's allocator returns null and the interpreter raises.
        self.memory_denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
