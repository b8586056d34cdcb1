//! The right to run in a session: one execution at a time, the others in a bounded queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::state::{Event, State};
use super::{Directory, Full, Identifier, Parts, Session};
use crate::files::Tree;
use crate::records::Ended;
use crate::sandbox::wasm::{Image, WasmSandbox};
use crate::snapshot::Snapshot;

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    PoolFull {
        retry_after: Duration,
    },
    /// As many executions wait for the session as may.
    QueueFull,
    /// The caller gave up while it waited.
    Stopped,
}

/// What became of a session after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Lives,
    /// It is as it was before the run.
    RolledBack,
    /// Its guest is broken and there was no checkpoint, or somebody wants its end.
    Ended,
}

/// The session, for one execution.
///
/// Dropping a lease ends the session: a run that did not reach [`Lease::settle`] was cut off, and such a guest must not
/// meet another caller.
pub struct Lease {
    session: Arc<Session>,
    directory: Arc<Directory>,
    sandbox: OwnedMutexGuard<Option<WasmSandbox>>,
    created: bool,
    stop: CancellationToken,
    settled: bool,
}

impl Directory {
    /// Waits for the session of `identifier`, which is made from `parts` when there is none. `stop` ends the wait, and
    /// later the run: a child of it is the lease's own.
    ///
    /// # Errors
    /// See [`NoLease`].
    pub async fn lease(
        self: &Arc<Self>,
        identifier: &Identifier,
        queue: usize,
        stop: &CancellationToken,
        parts: impl Fn() -> Parts,
    ) -> Result<Lease, NoLease> {
        loop {
            let (session, created) = self
                .find_or_create(identifier, &parts)
                .map_err(|Full { retry_after }| NoLease::PoolFull { retry_after })?;
            let sandbox = wait(&session, queue, stop).await?;
            let own_stop = stop.child_token();
            {
                let mut record = session.record();
                // It ended while we waited: its identifier has a new session, or gets one now.
                let Ok(state) = record.state.after(Event::Lease, std::time::Instant::now(), session.cooldown) else {
                    drop(record);
                    self.forget(&session);
                    continue;
                };
                record.state = state;
                record.used();
                record.leased_at = Some(std::time::Instant::now());
                record.stop = own_stop.clone();
            }
            return Ok(Lease { session, directory: self.clone(), sandbox, created, stop: own_stop, settled: false });
        }
    }
}

/// Waits in the session's queue for its sandbox.
async fn wait(
    session: &Arc<Session>,
    queue: usize,
    stop: &CancellationToken,
) -> Result<OwnedMutexGuard<Option<WasmSandbox>>, NoLease> {
    if let Ok(free) = session.sandbox.clone().try_lock_owned() {
        return Ok(free);
    }
    let _place = Place::take(session, queue)?;
    tokio::select! {
        free = session.sandbox.clone().lock_owned() => Ok(free),
        () = stop.cancelled() => Err(NoLease::Stopped),
    }
}

/// A place in a session's queue.
struct Place<'a>(&'a Session);

impl<'a> Place<'a> {
    fn take(session: &'a Session, queue: usize) -> Result<Self, NoLease> {
        let mut record = session.record();
        if record.waiting >= queue {
            return Err(NoLease::QueueFull);
        }
        record.waiting += 1;
        Ok(Self(session))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.record().waiting -= 1;
    }
}

impl Lease {
    /// True when this lease made the session.
    pub fn created(&self) -> bool {
        self.created
    }

    pub fn image(&self) -> &Arc<Image> {
        &self.session.image
    }

    pub fn tree(&self) -> Tree {
        self.session.record().tree.clone()
    }

    /// The snapshot that the sandbox is to be made from; given out once.
    pub fn take_origin(&mut self) -> Option<Arc<Snapshot>> {
        self.session.record().origin.take()
    }

    /// Captures the session as it is now. Not while its guest runs.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let record = self.session.record();
        let (tree, executions) = (record.tree.clone(), record.executions);
        let (origin, last) = (record.origin.clone(), record.checkpoint.clone());
        drop(record);
        let last = origin.or(last);
        let snapshot = Snapshot::take(&self.session.image, self.sandbox.as_ref(), &tree, executions, last.as_deref());
        self.directory.records().snapshot_taken(snapshot.memory_bytes());
        snapshot
    }

    /// Keeps the session as it is now: a later execution that breaks it rolls back to this.
    pub fn keep_checkpoint(&mut self) {
        let snapshot = self.snapshot();
        self.session.record().checkpoint = Some(snapshot);
    }

    /// Whether there is something to roll back to.
    pub fn has_checkpoint(&self) -> bool {
        self.session.record().checkpoint.is_some()
    }

    /// Cancelled when the caller, or somebody who ends the session, wants the run to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The sandbox; absent before the session's first execution.
    pub fn sandbox(&mut self) -> &mut Option<WasmSandbox> {
        &mut self.sandbox
    }

    /// Counts an execution that came to a clean end.
    pub fn count_execution(&mut self) {
        self.session.record().executions += 1;
    }

    /// Keeps in mind how much memory the guest has now.
    pub fn note_memory(&mut self, bytes: u64) {
        self.session.record().memory_bytes = bytes;
    }

    /// Gives the session back after a run that left the guest `alive` or broken.
    pub fn settle(mut self, alive: bool) -> Settled {
        self.settled = true;
        self.session.record().given_back();
        let rolled_back = !alive && self.roll_back();
        let event = if alive || rolled_back { Event::Settle } else { Event::Poison };
        let lives = matches!(self.session.apply(event), Ok(State::Idle { .. }));
        if !lives {
            self.discard();
            return Settled::Ended;
        }
        if rolled_back {
            self.directory.records().session_rolled_back(self.session.identifier.as_str());
            return Settled::RolledBack;
        }
        Settled::Lives
    }

    /// Puts the checkpoint in the place of a broken guest and its files.
    fn roll_back(&mut self) -> bool {
        let mut record = self.session.record();
        let Some(checkpoint) = record.checkpoint.clone() else { return false };
        record.tree = checkpoint.files();
        record.origin = Some(checkpoint);
        drop(record);
        *self.sandbox = None;
        true
    }

    fn discard(&mut self) {
        // Not there any more: somebody ended it, which is recorded.
        if self.directory.forget(&self.session).is_some() {
            self.directory.ended(&self.session, Ended::Broken);
        }
        *self.sandbox = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            // The state may deny it only when the session is over already.
            let _ = self.session.apply(Event::Poison);
            self.discard();
        }
    }
}
