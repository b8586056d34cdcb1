//! A session: an identifier's own sandbox and file tree.
//!
//! One execution has it at a time, through a [`Lease`]; others wait in a bounded queue. The [`Directory`] knows all
//! sessions of a pool.

mod directory;
pub mod identifier;
mod lease;
pub mod state;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

pub use directory::{Directory, Full, NotAdded};
pub use identifier::{Identifier, InvalidIdentifier};
pub use lease::{Lease, NoLease, Settled};
pub use view::{SessionPage, SessionView};

use crate::files::Tree;
use crate::sandbox::wasm::{Image, WasmSandbox};
use crate::snapshot::Snapshot;
use state::{Denied, Event, State};

/// A session. Ends when its state says so and the last hand lets go of it.
pub struct Session {
    identifier: Identifier,
    /// What its sandbox is made from; its pool may have gone over to another since.
    image: Arc<Image>,
    /// Locked by the execution that has the lease. Absent until the first execution needs it, and after the end.
    sandbox: Arc<tokio::sync::Mutex<Option<WasmSandbox>>>,
    record: Mutex<Record>,
    cooldown: Duration,
    created_at: OffsetDateTime,
    made_at: Instant,
    /// Its number among the sessions of its pool, by creation.
    number: u64,
    /// A session of the pool's maximum. Last, so that it is given back when the sandbox is gone.
    _permit: OwnedSemaphorePermit,
}

struct Record {
    state: State,
    tree: Tree,
    /// What the sandbox is to be made from, where that is not the bare image.
    origin: Option<Arc<Snapshot>>,
    /// The session as it was after its last execution, in pools that keep that.
    checkpoint: Option<Arc<Snapshot>>,
    /// Executions that came to a clean end.
    executions: u64,
    waiting: usize,
    last_accessed_at: OffsetDateTime,
    uses: u64,
    /// Time that code ran, up to the last lease; and since when the present one has it.
    busy: Duration,
    leased_at: Option<Instant>,
    /// Linear memory after the last execution.
    memory_bytes: u64,
    /// Interrupts the execution that has the lease.
    stop: CancellationToken,
}

impl Session {
    fn new(
        identifier: Identifier,
        parts: Parts,
        number: u64,
        cooldown: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            identifier,
            image: parts.image,
            sandbox: Arc::new(tokio::sync::Mutex::new(parts.sandbox)),
            record: Mutex::new(Record {
                state: State::idle(Instant::now(), cooldown),
                tree: parts.tree,
                executions: parts.origin.as_ref().map_or(0, |origin| origin.number),
                origin: parts.origin,
                checkpoint: None,
                waiting: 0,
                last_accessed_at: now,
                uses: 0,
                busy: Duration::ZERO,
                leased_at: None,
                memory_bytes: 0,
                stop: CancellationToken::new(),
            }),
            cooldown,
            created_at: now,
            made_at: Instant::now(),
            number,
            _permit: permit,
        }
    }

    pub fn identifier(&self) -> &Identifier {
        &self.identifier
    }

    /// The session's files; touching them is a use of the session.
    pub fn files(&self) -> Tree {
        self.touch();
        self.record().tree.clone()
    }

    fn touch(&self) {
        let mut record = self.record();
        record.used();
        if let State::Idle { .. } = record.state {
            record.state = State::idle(Instant::now(), self.cooldown);
        }
    }

    /// Applies an event now.
    fn apply(&self, event: Event) -> Result<State, Denied> {
        let mut record = self.record();
        record.state = record.state.after(event, Instant::now(), self.cooldown)?;
        Ok(record.state)
    }

    /// Ends it: at once when it is idle, else by interrupting its execution.
    fn end(&self) {
        if let Ok(State::Ending) = self.apply(Event::End) {
            self.record().stop.cancel();
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn used(&mut self) {
        self.last_accessed_at = OffsetDateTime::now_utc();
        self.uses += 1;
    }

    /// Time that code ran, up to now.
    fn busy(&self) -> Duration {
        self.busy + self.leased_at.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// No execution has it any more.
    fn given_back(&mut self) {
        self.busy = self.busy();
        self.leased_at = None;
    }
}

/// What a new session starts with.
pub struct Parts {
    pub image: Arc<Image>,
    pub tree: Tree,
    /// A ready sandbox on that tree, where there was one.
    pub sandbox: Option<WasmSandbox>,
    /// The snapshot that it goes on from.
    pub origin: Option<Arc<Snapshot>>,
}

impl Parts {
    /// A session that goes on from `snapshot`. Its sandbox is made when its first execution needs it.
    pub fn from_snapshot(snapshot: &Arc<Snapshot>) -> Self {
        let (image, tree) = (snapshot.image().clone(), snapshot.files());
        Self { image, tree, sandbox: None, origin: Some(snapshot.clone()) }
    }
}
