//! What a session's WASI calls work on. Made tens of thousands of times, so that a fresh one allocates only its wake-up.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wasmtime::Memory;

use super::descriptors::{Descriptor, Descriptors};
use crate::files::Tree;
use crate::sandbox::output::{Output, Stream};

/// The WASI state of one guest.
#[derive(Debug)]
pub struct WasiState {
    pub(super) tree: Tree,
    pub(super) environment: Arc<[(String, String)]>,
    pub(super) descriptors: Descriptors,
    pub(super) clock: Clock,
    output: Option<Arc<Output>>,
    memory: Option<Memory>,
    wake: Arc<Notify>,
}

/// The guest's own clocks. Both stand still for nobody else: they tell nothing of the machine or of other sessions.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// What the clock showed when the guest was made: not zero where its state was restored.
    showed: Duration,
    /// The beginning of the run under way.
    run_started: Option<Instant>,
    /// What earlier runs took, sleep included.
    ran: Duration,
    slept: Duration,
}

impl WasiState {
    /// The state of a guest with these files and environment variables (no arguments). Descriptors 0 to 3 are open.
    pub fn new(tree: Tree, environment: Arc<[(String, String)]>) -> Self {
        let clock = Clock {
            started: Instant::now(),
            showed: Duration::ZERO,
            run_started: None,
            ran: Duration::ZERO,
            slept: Duration::ZERO,
        };
        Self {
            tree,
            environment,
            descriptors: Descriptors::default(),
            clock,
            output: None,
            memory: None,
            wake: Arc::default(),
        }
    }

    /// Where descriptors 1 and 2 lead from now on; without one what is written is dropped. A run begins with `Some` and
    /// ends with `None`: a wake-up that came too late for the last run is forgotten, and the CPU clocks run between.
    pub fn set_output(&mut self, output: Option<Arc<Output>>) {
        self.clock.stop();
        if output.is_some() {
            self.clock.run_started = Some(Instant::now());
            pin!(self.wake.notified()).enable();
        }
        self.output = output;
    }

    /// The memory that calls work on. Without it each call looks up the caller's export `memory`.
    pub fn set_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        self.memory
    }

    /// Notify it, and a guest asleep in `poll_oneoff` goes on at once, told that its time has come.
    ///
    /// Not EINTR: wasi-libc's `clock_nanosleep` would make ENOTSUP of it, and CPython would raise `OSError`. A sleep
    /// that ends early and well leads CPython to its next safe point, where it meets what the host has asked for.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Counts time that the guest waited in a host call that is not WASI's: its CPU clock stood still.
    pub fn slept(&mut self, time: Duration) {
        self.clock.slept(time);
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What is open, as plain values.
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// What of it belongs to the session: open descriptors, and the moment that the monotonic clock shows.
    pub fn capture(&self) -> (Descriptors, Duration) {
        (self.descriptors.clone(), self.clock.showed + self.clock.started.elapsed())
    }

    /// Goes on where a captured state was. The tree must be a fork of the one that the descriptors belong to: it counts
    /// what is open. The clock never goes back.
    pub fn restore(&mut self, descriptors: Descriptors, showed: Duration) {
        self.descriptors = descriptors;
        self.clock.showed = showed;
    }

    pub(super) fn emit(&self, stream: Stream, bytes: &[u8]) {
        if let Some(output) = &self.output {
            output.text(stream, bytes);
        }
    }

    /// Tells the tree that a descriptor is gone.
    pub(super) fn release(&self, descriptor: Descriptor) {
        if let Descriptor::Open(open) = descriptor {
            self.tree.close(open.inode);
        }
    }
}

impl Drop for WasiState {
    /// The tree may live on (an upload, a snapshot) and must not keep content for descriptors that are gone.
    fn drop(&mut self) {
        for (_, descriptor) in self.descriptors.iter() {
            self.release(descriptor);
        }
    }
}

impl Clock {
    /// Nanoseconds since the guest was made.
    pub fn monotonic(&self) -> u64 {
        nanoseconds(self.showed + self.started.elapsed())
    }

    /// Nanoseconds that the guest has been running, sleep excluded. An upper bound: waiting for a guest thread counts.
    pub fn cpu(&self) -> u64 {
        let running = self.run_started.map_or(Duration::ZERO, |started| started.elapsed());
        nanoseconds((self.ran + running).saturating_sub(self.slept))
    }

    pub fn slept(&mut self, time: Duration) {
        self.slept += time;
    }

    fn stop(&mut self) {
        if let Some(started) = self.run_started.take() {
            self.ran += started.elapsed();
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
