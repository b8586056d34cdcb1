//! All sessions of a pool: found by identifier, made up to a maximum, reaped when their cooldown is over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::Event;
use super::{Identifier, Parts, Session, SessionPage, SessionView};
use crate::records::{Census, Ended, Made, PoolRecords};

/// A session is reaped within a second or two of its end; one that is there so much later is stuck.
const OVERDUE: Duration = Duration::from_secs(10);

/// The sessions of one pool.
pub struct Directory {
    sessions: Mutex<Sessions>,
    permits: Arc<Semaphore>,
    cooldown: Duration,
    records: PoolRecords,
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

impl Directory {
    /// Holds at most `limit` sessions, each ending `cooldown` after its last use.
    pub fn new(limit: usize, cooldown: Duration, records: PoolRecords) -> Self {
        Self { sessions: Mutex::default(), permits: Arc::new(Semaphore::new(limit)), cooldown, records }
    }

    pub(super) fn records(&self) -> &PoolRecords {
        &self.records
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
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return Err(Full { retry_after: sessions.first_expiry(self.cooldown) });
        };
        let parts = parts();
        let made = if parts.sandbox.is_some() { Made::Ready } else { Made::OnDemand };
        let session = sessions.add(identifier, parts, self.cooldown, permit);
        drop(sessions);
        self.records.session_made(identifier.as_str(), made);
        Ok((session, true))
    }

    /// Makes a session of each identifier: all of them, or none.
    ///
    /// # Errors
    /// When one of them exists, or not all fit.
    pub fn add_all(&self, identifiers: &[Identifier], parts: impl Fn() -> Parts) -> Result<Vec<SessionView>, NotAdded> {
        let mut sessions = self.lock();
        let taken = |identifier: &&Identifier| sessions.by_identifier.contains_key(identifier);
        if let Some(taken) = identifiers.iter().find(taken) {
            return Err(NotAdded::Exists(taken.clone()));
        }
        let full = || NotAdded::Full(Full { retry_after: sessions.first_expiry(self.cooldown) });
        let count = u32::try_from(identifiers.len()).map_err(|_| full())?;
        let mut permits = self.permits.clone().try_acquire_many_owned(count).map_err(|_| full())?;
        let mut add = |identifier: &Identifier| {
            let permit = permits.split(1).expect("there is one for each");
            sessions.add(identifier, parts(), self.cooldown, permit).view()
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

    /// Takes `session` out, if it still is the one of its identifier, and gives it back for dropping.
    pub(super) fn forget(&self, session: &Arc<Session>) -> Option<Arc<Session>> {
        match self.lock().by_identifier.entry(session.identifier.clone()) {
            Entry::Occupied(entry) if Arc::ptr_eq(entry.get(), session) => Some(entry.remove()),
            _ => None,
        }
    }

    /// Ends the session of `identifier`; the identifier is free at once. `None` when there was none.
    pub fn end(&self, identifier: &Identifier) -> Option<Arc<Session>> {
        let session = self.lock().by_identifier.remove(identifier)?;
        session.end();
        self.ended(&session, Ended::Stopped);
        Some(session)
    }

    /// Takes out the sessions whose cooldown is over at `now`. Dropping them frees their memory.
    pub fn reap(&self, now: Instant) -> Vec<Arc<Session>> {
        let mut sessions = self.lock();
        let due = |session: &Arc<Session>| {
            let mut record = session.record();
            let ended = record.state.after(Event::Expire, now, self.cooldown);
            if let Ok(state) = ended {
                record.state = state;
            }
            ended.is_ok()
        };
        let ended: Vec<_> =
            sessions.by_identifier.extract_if(|_, session| due(session)).map(|(_, session)| session).collect();
        drop(sessions);
        ended.iter().for_each(|session| self.ended(session, Ended::Expired));
        ended
    }

    /// Ends all sessions.
    pub fn end_all(&self) -> Vec<Arc<Session>> {
        let ended: Vec<_> = self.lock().by_identifier.drain().map(|(_, session)| session).collect();
        for session in &ended {
            session.end();
            self.ended(session, Ended::Closed);
        }
        ended
    }

    /// Records the end of a session that was taken out.
    pub(super) fn ended(&self, session: &Session, why: Ended) {
        let (allocated, busy) = (session.made_at.elapsed(), session.record().busy());
        self.records.session_ended(session.identifier.as_str(), why, allocated, busy);
    }

    /// Counts the sessions; what stands ready is not known here.
    pub fn census(&self) -> Census {
        let all: Vec<_> = self.lock().by_identifier.values().cloned().collect();
        let late = Instant::now().checked_sub(OVERDUE);
        let mut census = Census { sessions: all.len(), ..Census::default() };
        for session in all {
            let record = session.record();
            census.waiting += record.waiting;
            census.memory_bytes += record.memory_bytes;
            match record.state.expires_at() {
                Some(expiry) => census.overdue += usize::from(late.is_some_and(|late| expiry < late)),
                None => census.running += 1,
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
        cooldown: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Session> {
        self.made += 1;
        let session = Arc::new(Session::new(identifier.clone(), parts, self.made, cooldown, permit));
        self.by_identifier.insert(identifier.clone(), session.clone());
        session
    }

    /// How long until the first idle session's cooldown is over; `cooldown` when none is idle.
    fn first_expiry(&self, cooldown: Duration) -> Duration {
        let now = Instant::now();
        let expiries = self.by_identifier.values().filter_map(|session| session.record().state.expires_at());
        expiries.min().map_or(cooldown, |first| first.saturating_duration_since(now))
    }
}
