//! Asynchronous executions: kept by session and id while they run, and for a while after, so that callers can poll.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Execution, ExecutionError, ExecutionId, Status};
use crate::session::Identifier;

/// A finished execution can be asked for so long after its end. The hosted service's time is not documented.
pub const RETENTION: Duration = Duration::from_secs(3600);
/// Executions kept at once in a pool, running ones included.
const MAX_KEPT: usize = 10_000;
/// Bytes of output that finished executions of a pool may keep together; the oldest go first.
const MAX_KEPT_BYTES: u64 = 256 << 20;

type Key = (Identifier, ExecutionId);

/// The asynchronous executions of one pool.
#[derive(Debug, Default)]
pub struct Registry {
    kept: Mutex<HashMap<Key, Kept>>,
}

#[derive(Debug)]
struct Kept {
    execution: Execution,
    ended_at: Option<Instant>,
    bytes: u64,
}

impl Registry {
    /// Takes in an execution that is about to begin.
    ///
    /// # Errors
    /// When its id is taken, or too many are kept.
    pub fn begin(&self, execution: Execution) -> Result<(), ExecutionError> {
        let mut kept = self.lock();
        let key = (execution.identifier.clone(), execution.id.clone());
        if kept.contains_key(&key) {
            return Err(ExecutionError::IdTaken);
        }
        if kept.len() >= MAX_KEPT {
            return Err(ExecutionError::TooManyKept { limit: MAX_KEPT });
        }
        kept.insert(key, Kept { execution, ended_at: None, bytes: 0 });
        Ok(())
    }

    /// Records where an execution stands now.
    pub fn set(&self, identifier: &Identifier, id: &ExecutionId, status: Status) {
        let mut kept = self.lock();
        let Some(entry) = kept.get_mut(&(identifier.clone(), id.clone())) else { return };
        if matches!(status, Status::Done(_) | Status::Lost(_)) {
            entry.ended_at = Some(Instant::now());
            entry.bytes = entry.execution.output.emitted_bytes();
        }
        entry.execution.status = status;
        make_room(&mut kept);
    }

    /// Forgets an execution that did not begin after all.
    pub fn forget(&self, identifier: &Identifier, id: &ExecutionId) {
        self.lock().remove(&(identifier.clone(), id.clone()));
    }

    /// An execution as it stands.
    pub fn find(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution> {
        self.lock().get(&(identifier.clone(), id.clone())).map(|kept| kept.execution.clone())
    }

    /// Forgets what ended longer ago than [`RETENTION`].
    pub fn reap(&self, now: Instant) {
        let young = |ended: Instant| now.saturating_duration_since(ended) < RETENTION;
        self.lock().retain(|_, kept| kept.ended_at.is_none_or(young));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the oldest results until the rest fits.
fn make_room(kept: &mut HashMap<Key, Kept>) {
    let mut total: u64 = kept.values().map(|kept| kept.bytes).sum();
    if total <= MAX_KEPT_BYTES {
        return;
    }
    let mut ended: Vec<(Instant, u64, Key)> =
        kept.iter().filter_map(|(key, kept)| Some((kept.ended_at?, kept.bytes, key.clone()))).collect();
    ended.sort_by_key(|(ended_at, ..)| *ended_at);
    for (_, bytes, key) in ended {
        if total <= MAX_KEPT_BYTES {
            return;
        }
        total -= bytes;
        kept.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use super::*;
    use crate::sandbox::Output;

    fn execution(id: &str) -> Execution {
        Execution {
            id: ExecutionId::new(id).unwrap(),
            identifier: Identifier::new("session").unwrap(),
            status: Status::NotStarted,
            created_at: OffsetDateTime::UNIX_EPOCH,
            output: Arc::new(Output::new(10)),
        }
    }

    #[test]
    fn an_id_is_taken_once() {
        let registry = Registry::default();
        registry.begin(execution("a")).unwrap();
        assert!(matches!(registry.begin(execution("a")), Err(ExecutionError::IdTaken)));
        registry.begin(execution("b")).unwrap();
    }

    #[test]
    fn results_are_kept_for_the_retention_and_running_ones_for_ever() {
        let registry = Registry::default();
        let (done, running) = (execution("done"), execution("running"));
        for each in [&done, &running] {
            registry.begin(each.clone()).unwrap();
        }
        registry.set(&done.identifier, &done.id, Status::Lost(Arc::new(ExecutionError::Draining)));
        registry.reap(Instant::now());
        assert!(registry.find(&done.identifier, &done.id).is_some());
        registry.reap(Instant::now() + RETENTION);
        assert!(registry.find(&done.identifier, &done.id).is_none());
        assert!(registry.find(&running.identifier, &running.id).is_some());
    }
}
