//! The right to run in a session: one execution at a time, the others in a bounded queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::state::{Event, State};
use super::{Awake, Directory, Full, Identifier, Parts, Session};
use crate::files::Tree;
use crate::records::Ended;
use crate::sandbox::wasm::{Image, WasmSandbox};
use crate::snapshot::Snapshot;
use crate::snapshot::store::{Listed, SessionKey};

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
/// Dropping a lease is as settling it with a broken guest: a run that did not reach [`Lease::settle`] was cut off, and such a
/// guest must not meet another caller.
pub struct Lease {
    session: Arc<Session>,
    directory: Arc<Directory>,
    sandbox: OwnedMutexGuard<Option<WasmSandbox>>,
    created: bool,
    stop: CancellationToken,
    settled: bool,
    /// Its place among the sessions that are awake, until it is.
    permit: Option<OwnedSemaphorePermit>,
}

impl Directory {
    /// Waits for the session of `identifier`, which is made from `parts` when there is none. `stop` ends the wait, and
    /// later the run: a child of it is the lease's own.
    ///
    /// A session that hibernates is leased [asleep](Lease::is_asleep).
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
        let full = |Full { retry_after }| NoLease::PoolFull { retry_after };
        loop {
            let (session, created) = self.find_or_create(identifier, &parts).map_err(full)?;
            let sandbox = wait(&session, queue, stop).await?;
            let own_stop = stop.child_token();
            let permit = {
                let mut record = session.record();
                // It ended while we waited: its identifier has a new session, or gets one now.
                let Ok(state) = record.state.after(Event::Lease, Instant::now(), session.lifetimes) else {
                    drop(record);
                    self.forget(&session);
                    continue;
                };
                let permit = match &record.awake {
                    Some(_) => None,
                    None => match self.permit() {
                        Some(permit) => Some(permit),
                        None => {
                            drop(record);
                            return Err(full(self.full()));
                        }
                    },
                };
                record.state = state;
                record.used();
                record.leased_at = Some(Instant::now());
                record.stop = own_stop.clone();
                permit
            };
            let directory = self.clone();
            return Ok(Lease { session, directory, sandbox, created, stop: own_stop, settled: false, permit });
        }
    }

    /// The session, if it is idle and nobody waits for it or has its files. No use of it.
    pub fn try_lease(self: &Arc<Self>, session: &Arc<Session>) -> Option<Lease> {
        let sandbox = session.sandbox.clone().try_lock_owned().ok()?;
        let stop = CancellationToken::new();
        {
            let mut record = session.record();
            if record.waiting > 0 || record.users > 0 || !matches!(record.state, State::Idle { .. }) {
                return None;
            }
            record.state = record.state.after(Event::Lease, Instant::now(), session.lifetimes).ok()?;
            record.stop = stop.clone();
        }
        let (session, directory) = (session.clone(), self.clone());
        Some(Lease { session, directory, sandbox, created: false, stop, settled: false, permit: None })
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

    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub fn key(&self) -> &SessionKey {
        &self.session.key
    }

    pub fn created_at(&self) -> OffsetDateTime {
        self.session.created_at
    }

    /// It is on disk, and must be [woken](Lease::wake) before anything else is asked of it.
    pub fn is_asleep(&self) -> bool {
        self.session.record().awake.is_none()
    }

    /// Goes on from `snapshot`, which the store has; `roll_back_to` makes it the checkpoint as well.
    pub fn wake(&mut self, snapshot: Arc<Snapshot>, roll_back_to: bool) {
        if let Some(permit) = self.permit.take() {
            self.session.record().awake = Some(Awake {
                image: snapshot.image().clone(),
                tree: snapshot.files(),
                checkpoint: roll_back_to.then(|| snapshot.clone()),
                kept: roll_back_to.then(|| snapshot.clone()),
                origin: Some(snapshot),
                _permit: permit,
            });
        }
    }

    /// The session as it is in memory.
    ///
    /// # Panics
    /// When it is asleep.
    fn awake<T>(&self, read: impl FnOnce(&mut Awake) -> T) -> T {
        read(self.session.record().awake.as_mut().expect("a lease is woken before it is used"))
    }

    pub fn image(&self) -> Arc<Image> {
        self.awake(|awake| awake.image.clone())
    }

    pub fn tree(&self) -> Tree {
        self.awake(|awake| awake.tree.clone())
    }

    /// The snapshot that the sandbox is to be made from; given out once.
    pub fn take_origin(&mut self) -> Option<Arc<Snapshot>> {
        self.awake(|awake| awake.origin.take())
    }

    /// Captures the session as it is now. Not while its guest runs.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let executions = self.session.record().executions;
        let (image, tree) = (self.image(), self.tree());
        let before = self.awake(|awake| awake.origin.clone().or_else(|| awake.checkpoint.clone()));
        let snapshot = Snapshot::take(&image, self.sandbox.as_ref(), &tree, executions, before.as_deref());
        self.directory.records().snapshot_taken(snapshot.memory_bytes());
        snapshot
    }

    /// Keeps the session as it is now: a later execution that breaks it rolls back to this.
    pub fn keep_checkpoint(&mut self) {
        let snapshot = self.snapshot();
        self.awake(|awake| awake.checkpoint = Some(snapshot));
    }

    /// The same before an execution, where only the files can have changed since the last.
    pub fn renew_checkpoint(&mut self) {
        let tree = self.tree();
        match self.checkpoint() {
            Some(checkpoint) if checkpoint.has_files_of(&tree) => {}
            Some(checkpoint) => {
                let renewed = checkpoint.with_files(&tree);
                self.awake(|awake| awake.checkpoint = Some(renewed));
            }
            None => self.keep_checkpoint(),
        }
    }

    pub fn drop_checkpoint(&mut self) {
        self.awake(|awake| awake.checkpoint = None);
    }

    pub fn checkpoint(&self) -> Option<Arc<Snapshot>> {
        self.awake(|awake| awake.checkpoint.clone())
    }

    /// The snapshot that the store has as the latest, where it is still in memory.
    pub fn kept(&self) -> Option<Arc<Snapshot>> {
        self.awake(|awake| awake.kept.clone())
    }

    /// Says that the store has `snapshot` as the latest. It is remembered if that is worth the memory.
    pub fn set_kept(&mut self, listed: Listed, snapshot: Option<Arc<Snapshot>>) {
        self.awake(|awake| awake.kept = snapshot);
        self.session.record().stored = Some(listed);
    }

    /// The latest that the store has of it.
    pub fn stored(&self) -> Option<Listed> {
        self.session.record().stored.clone()
    }

    /// Puts `snapshot` in the place of the guest and its files.
    pub fn replace(&mut self, snapshot: &Arc<Snapshot>, roll_back_to: bool) {
        *self.sandbox = None;
        self.awake(|awake| {
            awake.image = snapshot.image().clone();
            awake.tree = snapshot.files();
            awake.origin = Some(snapshot.clone());
            awake.checkpoint = roll_back_to.then(|| snapshot.clone());
            // What the store has as the latest may be another.
            awake.kept = awake.kept.take().filter(|kept| Arc::ptr_eq(kept, snapshot));
        });
        self.session.record().executions = snapshot.number;
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
        self.let_go(alive)
    }

    /// Gives the session back to the disk, which has it: its memory is free then.
    pub fn sleep(mut self) -> Settled {
        self.settled = true;
        *self.sandbox = None;
        let asleep = {
            let mut record = self.session.record();
            record.given_back();
            record.memory_bytes = 0;
            let after = record.state.after(Event::Sleep, Instant::now(), self.session.lifetimes);
            record.state = after.unwrap_or(State::Ended);
            // Dropped without the lock: it is much memory.
            (record.awake.take(), matches!(record.state, State::Hibernated { .. }))
        };
        if !asleep.1 {
            self.discard();
            return Settled::Ended;
        }
        Settled::Lives
    }

    fn let_go(&mut self, alive: bool) -> Settled {
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
        let Some(awake) = record.awake.as_mut() else { return false };
        let Some(checkpoint) = awake.checkpoint.clone() else { return false };
        awake.tree = checkpoint.files();
        awake.origin = Some(checkpoint);
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

    /// Whether it was let go of before it was woken: it stays on disk.
    fn goes_back_to_sleep(&self) -> bool {
        self.permit.is_some()
            && self.is_asleep()
            && matches!(self.session.apply(Event::Sleep), Ok(State::Hibernated { .. }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled && !self.goes_back_to_sleep() {
            self.let_go(false);
        }
    }
}
