//! One session: its container, who uses it, and when it is over.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::instance::Instance;
use super::specification::Lifecycle;
use crate::pool::LeaseError;
use crate::records::{Ended, Made, PoolRecords};
use crate::session::{Identifier, SessionState, SessionView};

/// How old the facts of a session may be while a request is under way in it.
const NOTED_WHILE_BUSY: Duration = Duration::from_secs(10);

pub(super) struct Session {
    pub identifier: Identifier,
    /// Its place in the order of creation.
    pub number: u64,
    pub instance: OnceCell<Arc<Instance>>,
    stopped: AtomicBool,
    /// Whether it is in the records, and whether its end is.
    made: AtomicBool,
    told: AtomicBool,
    lifecycle: Lifecycle,
    created: Instant,
    created_at: OffsetDateTime,
    uses: Mutex<Uses>,
    /// One execution at a time.
    turn: Arc<Semaphore>,
    /// Executions that wait for their turn.
    queued: AtomicUsize,
    /// The last use that is noted, and when that was.
    noted: Mutex<Option<(u64, Instant)>>,
}

/// What outlives the gateway of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionFacts {
    pub identifier: String,
    /// In milliseconds since 1970, as all moments here.
    pub created_at: i64,
    pub last_at: i64,
    pub count: u64,
    pub busy_milliseconds: u64,
    pub network_bytes: u64,
}

/// The right to run an execution in a session. The next one's turn comes when it is dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

struct Uses {
    /// Requests under way, those that wait for the container included.
    under_way: usize,
    count: u64,
    last: Instant,
    last_at: OffsetDateTime,
    /// With requests under way, up to when there were none last.
    busy: Duration,
    busy_since: Option<Instant>,
}

impl Session {
    pub(super) fn new(identifier: Identifier, number: u64, lifecycle: Lifecycle) -> Arc<Self> {
        let (created, created_at) = (Instant::now(), OffsetDateTime::now_utc());
        let uses =
            Uses { under_way: 0, count: 0, last: created, last_at: created_at, busy: Duration::ZERO, busy_since: None };
        Arc::new(Self {
            identifier,
            number,
            instance: OnceCell::new(),
            stopped: AtomicBool::new(false),
            made: AtomicBool::new(false),
            told: AtomicBool::new(false),
            lifecycle,
            created,
            created_at,
            uses: Mutex::new(uses),
            turn: Arc::new(Semaphore::new(1)),
            queued: AtomicUsize::new(0),
            noted: Mutex::default(),
        })
    }

    /// One of an earlier gateway, with its container. Its time went on meanwhile. None: no session is called so.
    pub(super) fn resumed(
        facts: &SessionFacts,
        number: u64,
        lifecycle: Lifecycle,
        instance: Arc<Instance>,
    ) -> Option<Arc<Self>> {
        let identifier = Identifier::new(&facts.identifier).ok()?;
        if let Some(way_out) = instance.way_out() {
            way_out.carried_before(facts.network_bytes);
        }
        let (last, last_at) = moment(facts.last_at);
        let busy = Duration::from_millis(facts.busy_milliseconds);
        let uses = Uses { under_way: 0, count: facts.count, last, last_at, busy, busy_since: None };
        let (created, created_at) = moment(facts.created_at);
        let session = Self::new(identifier, number, lifecycle);
        let session = Arc::into_inner(session).expect("nobody else has it yet");
        Some(Arc::new(Self {
            instance: OnceCell::from(instance),
            made: AtomicBool::new(true),
            created,
            created_at,
            uses: Mutex::new(uses),
            ..session
        }))
    }

    /// What the next gateway has to know, and when the session ends by itself if nobody uses it any more, in milliseconds
    /// since 1970.
    pub(super) fn facts(&self, instance: &Instance) -> (SessionFacts, i64) {
        let now = Instant::now();
        let left = self.left(now);
        let uses = self.uses();
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some((uses.count, now));
        // A request under way is a use.
        let last_at = if uses.under_way > 0 { OffsetDateTime::now_utc() } else { uses.last_at };
        let busy = uses.busy + uses.busy_since.map_or(Duration::ZERO, |since| since.elapsed());
        let facts = SessionFacts {
            identifier: self.identifier.as_str().to_owned(),
            created_at: milliseconds(self.created_at),
            last_at: milliseconds(last_at),
            count: uses.count,
            busy_milliseconds: u64::try_from(busy.as_millis()).unwrap_or(u64::MAX),
            network_bytes: instance.way_out().map_or(0, |way_out| way_out.bytes()),
        };
        (facts, milliseconds(OffsetDateTime::now_utc() + left))
    }

    /// Whether it was used since its facts were last asked for, or is in use and they are old.
    pub(super) fn has_news(&self) -> bool {
        let uses = self.uses();
        let noted = *self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.is_none_or(|(count, at)| count != uses.count || (uses.under_way > 0 && at.elapsed() > NOTED_WHILE_BUSY))
    }

    /// See [`super::Lease::turn`].
    pub(super) async fn turn(&self, queue_length: usize, stop: &CancellationToken) -> Result<Turn, LeaseError> {
        if let Ok(permit) = self.turn.clone().try_acquire_owned() {
            return Ok(Turn { _permit: permit });
        }
        let queued = Queued::begin(&self.queued);
        if queued.others >= queue_length {
            return Err(LeaseError::QueueFull { limit: queue_length, retry_after: Duration::from_secs(1) });
        }
        tokio::select! {
            permit = self.turn.clone().acquire_owned() => Ok(Turn { _permit: permit.expect("it is never closed") }),
            () = stop.cancelled() => Err(LeaseError::Stopped),
        }
    }

    pub(super) fn begin(&self) {
        let mut uses = self.uses();
        uses.under_way += 1;
        uses.touch();
        let now = uses.last;
        uses.busy_since.get_or_insert(now);
    }

    pub(super) fn end(&self) {
        let mut uses = self.uses();
        uses.under_way -= 1;
        uses.touch();
        if uses.under_way == 0 {
            let (since, now) = (uses.busy_since.take(), uses.last);
            uses.busy += since.map_or(Duration::ZERO, |since| now - since);
        }
    }

    /// Whether no other request is under way.
    pub(super) fn is_last(&self) -> bool {
        self.uses().under_way <= 1
    }

    /// Records that it has its container.
    pub(super) fn made(&self, made: Made, records: &PoolRecords) {
        self.made.store(true, Ordering::SeqCst);
        records.session_made(self.identifier.as_str(), made);
    }

    /// Whether it has its container, or is just given it.
    pub(super) fn is_made(&self) -> bool {
        self.made.load(Ordering::SeqCst)
    }

    /// Records its end, once: the first who knows why is right. One that never got its container is none.
    pub(super) fn ended(&self, why: Ended, records: &PoolRecords) {
        if !self.is_made() || self.told.swap(true, Ordering::SeqCst) {
            return;
        }
        let uses = self.uses();
        let busy = uses.busy + uses.busy_since.map_or(Duration::ZERO, |since| since.elapsed());
        drop(uses);
        let network = self.instance.get().and_then(|instance| instance.way_out()).map(|way_out| way_out.bytes());
        records.session_ended(self.identifier.as_str(), why, self.created.elapsed(), busy, network);
    }

    /// Why it ends when its time has come.
    pub(super) fn natural_end(&self) -> Ended {
        match self.lifecycle {
            Lifecycle::Timed { .. } => Ended::Expired,
            Lifecycle::OnContainerExit { .. } => Ended::Aged,
        }
    }

    /// Whether requests are under way.
    pub(super) fn is_running(&self) -> bool {
        self.uses().under_way > 0
    }

    /// How long requests have been under way without a pause.
    pub(super) fn running_for(&self) -> Option<Duration> {
        self.uses().busy_since.map(|since| since.elapsed())
    }

    /// Ends it, and the container that it has or is about to get.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(instance) = self.instance.get() {
            instance.stop();
        }
    }

    /// Whether it was ended, which may have been before its container came.
    pub(super) fn was_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether it takes no more requests.
    pub(super) fn is_over(&self) -> bool {
        self.instance.get().is_some_and(|instance| instance.gone().is_cancelled())
    }

    /// Whether its time has come at `now`. One that never got a container, and for which nobody waits any more, is over at
    /// once.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let uses = self.uses();
        if !self.instance.initialized() {
            return uses.under_way == 0;
        }
        now >= self.expiry(&uses, now)
    }

    /// A request under way is a use: a connection that stays open keeps the session.
    fn expiry(&self, uses: &Uses, now: Instant) -> Instant {
        match self.lifecycle {
            Lifecycle::OnContainerExit { max_alive_seconds } => self.created + Duration::from_secs(max_alive_seconds),
            Lifecycle::Timed { cooldown_seconds } => {
                let last = if uses.under_way > 0 { now } else { uses.last };
                last + Duration::from_secs(cooldown_seconds)
            }
        }
    }

    /// How long it has left.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.expiry(&self.uses(), now).saturating_duration_since(now)
    }

    pub(super) fn view(&self) -> SessionView {
        let left = self.left(Instant::now());
        let uses = self.uses();
        SessionView {
            identifier: self.identifier.clone(),
            created_at: self.created_at,
            last_accessed_at: uses.last_at,
            expires_at: OffsetDateTime::now_utc() + left,
            etag: format!("{:x}-{:x}", self.number, uses.count),
            state: if uses.under_way > 0 { SessionState::Running } else { SessionState::Idle },
            running_for: uses.busy_since.map(|since| since.elapsed()),
        }
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// A moment of an earlier gateway, on this one's clock: the time that has passed since then counts. One before the machine's start
/// cannot be told; it is as if it were now.
fn moment(milliseconds: i64) -> (Instant, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).unwrap_or(now).min(now);
    let passed = Duration::try_from(now - at).unwrap_or_default();
    (Instant::now().checked_sub(passed).unwrap_or_else(Instant::now), at)
}

/// An execution that waits for its turn.
struct Queued<'a> {
    count: &'a AtomicUsize,
    /// Those that came before.
    others: usize,
}

impl<'a> Queued<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        Self { count, others: count.fetch_add(1, Ordering::SeqCst) }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Uses {
    fn touch(&mut self) {
        self.count += 1;
        self.last = Instant::now();
        self.last_at = OffsetDateTime::now_utc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(lifecycle: Lifecycle) -> Arc<Session> {
        Session::new(Identifier::new("session").unwrap(), 1, lifecycle)
    }

    #[test]
    fn a_session_without_a_container_goes_with_the_last_who_waits() {
        let session = session(Lifecycle::Timed { cooldown_seconds: 300 });
        session.begin();
        assert!(!session.is_due(Instant::now() + 1000 * SECOND));
        session.end();
        assert!(session.is_due(Instant::now()));
    }

    #[test]
    fn the_time_between_two_gateways_counts() {
        let ago = |seconds: i64| milliseconds(OffsetDateTime::now_utc()) - seconds * 1000;
        let (then, at) = moment(ago(5));
        assert!((5..7).contains(&then.elapsed().as_secs()));
        assert!((milliseconds(at) - ago(5)).abs() < 1000);
        assert_eq!(moment(ago(-60)).0.elapsed().as_secs(), 0, "what is to come is now");
        assert_eq!(moment(i64::MIN).0.elapsed().as_secs(), 0, "what cannot be is now");
    }

    #[test]
    fn what_is_left_follows_the_lifecycle() {
        let timed = session(Lifecycle::Timed { cooldown_seconds: 300 });
        let now = timed.created;
        timed.begin();
        assert_eq!(timed.left(now + 1000 * SECOND), 300 * SECOND, "a request under way is a use");
        timed.end();
        assert!(timed.left(Instant::now() + 100 * SECOND) <= 200 * SECOND);
        let on_exit = session(Lifecycle::OnContainerExit { max_alive_seconds: 60 });
        on_exit.begin();
        assert_eq!(on_exit.left(on_exit.created + 61 * SECOND), Duration::ZERO, "however it is used");
    }
}
