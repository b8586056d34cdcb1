//! All sessions of a pool: found by identifier, made up to a maximum, reaped when their time is over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::{Event, Lifetimes, State};
use super::{Identifier, Parts, Session, SessionPage, SessionView};
use crate::records::{Census, Ended, Made, PoolRecords};
use crate::snapshot::store::{Store, StoredSession};

/// A session is reaped within a second or two of its end; one that is there so much later is stuck.
const OVERDUE: Duration = Duration::from_secs(10);

/// The sessions of one pool.
pub struct Directory {
    sessions: Mutex<Sessions>,
    permits: Arc<Semaphore>,
    terms: Terms,
    /// Where they hibernate. What ends here is forgotten there.
    store: Option<Arc<Store>>,
    records: PoolRecords,
}

/// How many sessions there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Sessions in memory at once.
    pub limit: usize,
    pub lifetimes: Lifetimes,
    /// When the cooldown is over a session hibernates instead of ending.
    pub hibernates: bool,
    /// What hibernated sessions may have on disk together; the earliest used end first.
    pub retained_bytes: u64,
}

#[derive(Default)]
struct Sessions {
    by_identifier: HashMap<Identifier, Arc<Session>>,
    made: u64,
}

/// No further session fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// When the first of the sessions there may end.
    pub retry_after: Duration,
}

/// Why sessions were not added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdded {
    Exists(Identifier),
    Full(Full),
}

/// Sessions whose time is over.
pub struct Reaped {
    /// Dropping them frees their memory.
    pub ended: Vec<Arc<Session>>,
    /// To be put to disk.
    pub tired: Vec<Arc<Session>>,
}

impl Directory {
    pub fn new(terms: Terms, store: Option<Arc<Store>>, records: PoolRecords) -> Self {
        Self { sessions: Mutex::default(), permits: Arc::new(Semaphore::new(terms.limit)), terms, store, records }
    }

    pub(super) fn records(&self) -> &PoolRecords {
        &self.records
    }

    /// Takes in a session that the store has. False when its time is over by the clock on the wall.
    pub fn add_stored(&self, identifier: Identifier, stored: StoredSession) -> bool {
        let Lifetimes { cooldown, retention } = self.terms.lifetimes;
        let whole = if self.terms.hibernates { retention } else { cooldown };
        let unused = OffsetDateTime::now_utc() - stored.snapshot.taken_at;
        let left = whole.saturating_sub(Duration::try_from(unused).unwrap_or_default());
        if left.is_zero() {
            return false;
        }
        let mut sessions = self.lock();
        sessions.made += 1;
        let session = Session::asleep(identifier.clone(), stored, sessions.made, self.terms.lifetimes, left);
        sessions.by_identifier.insert(identifier, Arc::new(session));
        true
    }

    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    pub(super) fn full(&self) -> Full {
        self.lock().full(self.terms.lifetimes.cooldown)
    }

    /// The session of `identifier`, and whether it was made now.
    pub(super) fn find_or_create(
        &self,
        identifier: &Identifier,
        parts: impl FnOnce() -> Parts,
    ) -> Result<(Arc<Session>, bool), Full> {
        let mut sessions = self.lock();
        if let Some(session) = sessions.by_identifier.get(identifier) {
            return Ok((session.clone(), false));
        }
        let permit = self.permit().ok_or_else(|| sessions.full(self.terms.lifetimes.cooldown))?;
        let parts = parts();
        let made = if parts.sandbox.is_some() { Made::Ready } else { Made::OnDemand };
        let session = sessions.add(identifier, parts, self.terms.lifetimes, permit);
        drop(sessions);
        self.records.session_made(identifier.as_str(), made);
        Ok((session, true))
    }

    /// Makes a session of each identifier: all of them, or none.
    ///
    /// # Errors
    /// When one of them exists, or not all fit.
    pub fn add_all(
        &self,
        identifiers: &[Identifier],
        parts: impl Fn() -> Parts,
    ) -> Result<Vec<Arc<Session>>, NotAdded> {
        let mut sessions = self.lock();
        let taken = |identifier: &&Identifier| sessions.by_identifier.contains_key(identifier);
        if let Some(taken) = identifiers.iter().find(taken) {
            return Err(NotAdded::Exists(taken.clone()));
        }
        let full = || NotAdded::Full(sessions.full(self.terms.lifetimes.cooldown));
        let count = u32::try_from(identifiers.len()).map_err(|_| full())?;
        let mut permits = self.permits.clone().try_acquire_many_owned(count).map_err(|_| full())?;
        let mut add = |identifier: &Identifier| {
            let permit = permits.split(1).expect("there is one for each");
            sessions.add(identifier, parts(), self.terms.lifetimes, permit)
        };
        let added = identifiers.iter().map(&mut add).collect();
        drop(sessions);
        identifiers.iter().for_each(|identifier| self.records.session_made(identifier.as_str(), Made::Forked));
        Ok(added)
    }

    /// The session of `identifier`, made when there is none.
    ///
    /// # Errors
    /// When the pool is full.
    pub fn session(&self, identifier: &Identifier, parts: impl FnOnce() -> Parts) -> Result<Arc<Session>, Full> {
        self.find_or_create(identifier, parts).map(|(session, _)| session)
    }

    pub fn find(&self, identifier: &Identifier) -> Option<Arc<Session>> {
        self.lock().by_identifier.get(identifier).cloned()
    }

    /// Takes `session`, which is over, out, if it still is the one of its identifier, and gives it back for dropping.
    pub(super) fn forget(&self, session: &Arc<Session>) -> Option<Arc<Session>> {
        if let Some(store) = &self.store {
            store.end_soon(&session.key);
        }
        match self.lock().by_identifier.entry(session.identifier.clone()) {
            Entry::Occupied(entry) if Arc::ptr_eq(entry.get(), session) => Some(entry.remove()),
            _ => None,
        }
    }

    /// Ends the session of `identifier`; the identifier is free at once. `None` when there was none. What the store has of it is
    /// the caller's to forget.
    pub fn end(&self, identifier: &Identifier) -> Option<Arc<Session>> {
        let session = self.lock().by_identifier.remove(identifier)?;
        session.end();
        self.ended(&session, Ended::Stopped);
        Some(session)
    }

    /// Takes out the sessions whose time is over at `now`, and tells which are to hibernate.
    pub fn reap(&self, now: Instant) -> Reaped {
        let mut sessions = self.lock();
        let mut tired = Vec::new();
        let mut due = |session: &Arc<Session>| {
            let mut record = session.record();
            let ended = record.state.after(Event::Expire, now, self.terms.lifetimes);
            let Ok(state) = ended else { return false };
            if self.terms.hibernates && record.awake.is_some() {
                tired.push(session.clone());
                return false;
            }
            record.state = state;
            true
        };
        let mut ended: Vec<_> =
            sessions.by_identifier.extract_if(|_, session| due(session)).map(|(_, session)| session).collect();
        ended.extend(sessions.over(self.terms.retained_bytes));
        drop(sessions);
        ended.iter().for_each(|session| self.ended(session, Ended::Expired));
        if let Some(store) = &self.store {
            ended.iter().for_each(|session| store.end_soon(&session.key));
        }
        Reaped { ended, tired }
    }

    /// The idle sessions in memory, the earliest used first; at most `count`.
    pub fn earliest_used(&self, count: usize) -> Vec<(OffsetDateTime, Arc<Session>)> {
        let sessions = self.lock();
        let idle = |session: &Arc<Session>| {
            let record = session.record();
            let free = matches!(record.state, State::Idle { .. }) && record.waiting == 0 && record.users == 0;
            free.then_some(record.last_accessed_at)
        };
        let mut all: Vec<_> =
            sessions.by_identifier.values().filter_map(|session| Some((idle(session)?, session.clone()))).collect();
        all.sort_unstable_by_key(|(used_at, session)| (*used_at, session.number));
        all.truncate(count);
        all
    }

    /// Lets go of all sessions. Those that are on disk stay there.
    pub fn let_go_all(&self) -> Vec<Arc<Session>> {
        self.lock().by_identifier.drain().map(|(_, session)| session).collect()
    }

    /// Takes no new session from now on.
    pub fn retire(&self) {
        self.permits.close();
    }

    /// Ends all sessions.
    pub fn end_all(&self) -> Vec<Arc<Session>> {
        let ended = self.let_go_all();
        for session in &ended {
            session.end();
            self.ended(session, Ended::Closed);
            if let Some(store) = &self.store {
                store.end_soon(&session.key);
            }
        }
        ended
    }

    /// Records the end of a session that was taken out.
    pub(super) fn ended(&self, session: &Session, why: Ended) {
        let (allocated, busy) = (session.made_at.elapsed(), session.record().busy());
        self.records.session_ended(session.identifier.as_str(), why, allocated, busy, None);
    }

    /// Counts the sessions; what stands ready is not known here.
    pub fn census(&self) -> Census {
        let all: Vec<_> = self.lock().by_identifier.values().cloned().collect();
        let late = Instant::now().checked_sub(OVERDUE);
        let mut census = Census { sessions: all.len(), ..Census::default() };
        for session in all {
            let record = session.record();
            census.waiting += record.waiting;
            let hibernated = matches!(record.state, State::Hibernated { .. });
            census.hibernated += usize::from(hibernated);
            census.memory_bytes += if hibernated { 0 } else { record.memory_bytes };
            match record.state {
                State::Idle { expires_at } | State::Hibernated { expires_at } => {
                    census.overdue += usize::from(late.is_some_and(|late| expires_at < late));
                }
                State::Running | State::Ending | State::Ended => {
                    census.running += 1;
                    census.longest_running = census.longest_running.max(record.running_for());
                }
            }
        }
        census
    }

    /// `top` sessions after the first `skip`, ordered by creation.
    pub fn page(&self, skip: usize, top: usize) -> SessionPage {
        let mut all: Vec<_> = self.lock().by_identifier.values().cloned().collect();
        all.sort_unstable_by_key(|session| session.number);
        let sessions: Vec<SessionView> = all.iter().skip(skip).take(top).map(|session| session.view()).collect();
        SessionPage { sessions, total: all.len() }
    }

    pub fn len(&self) -> usize {
        self.lock().by_identifier.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn add(
        &mut self,
        identifier: &Identifier,
        parts: Parts,
        lifetimes: Lifetimes,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Session> {
        self.made += 1;
        let session = Arc::new(Session::new(identifier.clone(), parts, self.made, lifetimes, permit));
        self.by_identifier.insert(identifier.clone(), session.clone());
        session
    }

    /// Takes out hibernated sessions, the earliest used first, until the rest has at most `bytes` on disk.
    fn over(&mut self, bytes: u64) -> Vec<Arc<Session>> {
        let mut asleep = Vec::new();
        let mut total: u64 = 0;
        for session in self.by_identifier.values() {
            let record = session.record();
            if let (State::Hibernated { .. }, Some(stored)) = (record.state, &record.stored) {
                total += stored.bytes;
                asleep.push((record.last_accessed_at, stored.bytes, session.clone()));
            }
        }
        if total <= bytes {
            return Vec::new();
        }
        asleep.sort_unstable_by_key(|(used_at, _, session)| (*used_at, session.number));
        let mut ended = Vec::new();
        for (_, own, session) in asleep {
            if total <= bytes {
                break;
            }
            let mut record = session.record();
            // Somebody may have taken it meanwhile.
            if let State::Hibernated { .. } = record.state {
                record.state = State::Ended;
                drop(record);
                total -= own;
                self.by_identifier.remove(&session.identifier);
                ended.push(session);
            }
        }
        ended
    }

    /// How long until the first idle session's cooldown is over; `cooldown` when none is idle.
    fn full(&self, cooldown: Duration) -> Full {
        let now = Instant::now();
        let expiry = |session: &Arc<Session>| match session.record().state {
            State::Idle { expires_at } => Some(expires_at),
            _ => None,
        };
        let first = self.by_identifier.values().filter_map(expiry).min();
        Full { retry_after: first.map_or(cooldown, |first| first.saturating_duration_since(now)) }
    }
}
