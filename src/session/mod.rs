//! A session: an identifier's own sandbox and file tree, in memory or, while it hibernates, on disk alone.
//!
//! One execution has it at a time, through a [`Lease`]; others wait in a bounded queue. The [`Directory`] knows all
//! sessions of a pool.

mod directory;
pub mod identifier;
mod lease;
pub mod state;
mod usage;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

pub use directory::{Directory, Full, NotAdded, Reaped, Terms};
pub use identifier::{Identifier, InvalidIdentifier};
pub use lease::{Lease, NoLease, Settled};
pub use state::Lifetimes;
pub use usage::Files;
pub use view::{SessionPage, SessionState, SessionView};

use crate::files::Tree;
use crate::sandbox::wasm::{Image, WasmSandbox};
use crate::snapshot::Snapshot;
use crate::snapshot::store::{Listed, SessionKey, StoredSession};
use state::{Denied, Event, State};

/// A session. Ends when its state says so and the last hand lets go of it.
pub struct Session {
    identifier: Identifier,
    /// Its name in the store of snapshots.
    key: SessionKey,
    /// Locked by the execution that has the lease. Absent until the first execution needs it, while the session hibernates, and
    /// after the end. Before the record, which has the permit: that is given back when the sandbox is gone.
    sandbox: Arc<tokio::sync::Mutex<Option<WasmSandbox>>>,
    record: Mutex<Record>,
    lifetimes: Lifetimes,
    created_at: OffsetDateTime,
    made_at: Instant,
    /// Its number among the sessions of its pool, by creation.
    number: u64,
}

struct Record {
    state: State,
    /// Absent while it hibernates, and until it is woken by whoever has it then.
    awake: Option<Awake>,
    /// The latest that the store has of it.
    stored: Option<Listed>,
    /// Executions that came to a clean end.
    executions: u64,
    waiting: usize,
    /// Callers that read or write its files: it does not hibernate under their hands.
    users: usize,
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

/// What a session has in memory, beside its sandbox.
struct Awake {
    /// What its sandbox is made from; its pool may have gone over to another since.
    image: Arc<Image>,
    tree: Tree,
    /// What the sandbox is to be made from, where that is not the bare image.
    origin: Option<Arc<Snapshot>>,
    /// The session as it was after its last execution, in pools that keep that.
    checkpoint: Option<Arc<Snapshot>>,
    /// The snapshot that the store has as the latest, where a next one can share its parts.
    kept: Option<Arc<Snapshot>>,
    /// A session of the pool's maximum.
    _permit: OwnedSemaphorePermit,
}

impl Session {
    fn new(
        identifier: Identifier,
        parts: Parts,
        number: u64,
        lifetimes: Lifetimes,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let executions = parts.origin.as_ref().map_or(0, |origin| origin.number);
        let awake = Awake {
            image: parts.image,
            tree: parts.tree,
            origin: parts.origin,
            checkpoint: None,
            kept: None,
            _permit: permit,
        };
        Self {
            identifier,
            key: SessionKey::random(),
            sandbox: Arc::new(tokio::sync::Mutex::new(parts.sandbox)),
            record: Mutex::new(Record {
                executions,
                awake: Some(awake),
                ..Record::new(State::idle(Instant::now(), lifetimes.cooldown), OffsetDateTime::now_utc())
            }),
            lifetimes,
            created_at: OffsetDateTime::now_utc(),
            made_at: Instant::now(),
            number,
        }
    }

    /// A session that the store has from an earlier life of the gateway; `left` of its time.
    fn asleep(
        identifier: Identifier,
        stored: StoredSession,
        number: u64,
        lifetimes: Lifetimes,
        left: Duration,
    ) -> Self {
        let used_at = stored.snapshot.taken_at;
        Self {
            identifier,
            key: stored.key,
            sandbox: Arc::default(),
            record: Mutex::new(Record {
                executions: stored.snapshot.number,
                stored: Some(stored.snapshot),
                ..Record::new(State::hibernated(Instant::now(), left), used_at)
            }),
            lifetimes,
            created_at: stored.owner.created_at,
            made_at: Instant::now(),
            number,
        }
    }

    pub fn identifier(&self) -> &Identifier {
        &self.identifier
    }

    /// Its name in the store of snapshots.
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Applies an event now.
    fn apply(&self, event: Event) -> Result<State, Denied> {
        let mut record = self.record();
        record.state = record.state.after(event, Instant::now(), self.lifetimes)?;
        Ok(record.state)
    }

    /// Ends it: at once when nobody has it, else by interrupting its execution.
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
    fn new(state: State, last_accessed_at: OffsetDateTime) -> Self {
        Self {
            state,
            awake: None,
            stored: None,
            executions: 0,
            waiting: 0,
            users: 0,
            last_accessed_at,
            uses: 0,
            busy: Duration::ZERO,
            leased_at: None,
            memory_bytes: 0,
            stop: CancellationToken::new(),
        }
    }

    fn used(&mut self) {
        self.last_accessed_at = OffsetDateTime::now_utc();
        self.uses += 1;
    }

    /// Time that code ran, up to now.
    fn busy(&self) -> Duration {
        self.busy + self.leased_at.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How long the present execution has had it.
    fn running_for(&self) -> Option<Duration> {
        self.leased_at.map(|since| since.elapsed())
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
