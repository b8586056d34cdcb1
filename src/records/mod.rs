//! Records: what happened, kept in an embedded database for those who operate the gateway.
//!
//! | table | holds | by |
//! |---|---|---|
//! | `console` | what executions and containers wrote to stdout and stderr: the one place where output is kept | `execution/`, `pool/` |
//! | `lifecycle` | sessions made, forked, rolled back, ended and why | `session/`, `pool/` |
//! | `pools` | pools opened and closed, images replaced, sandboxes and containers that could not be made, and why | `pool/` |
//! | `audit` | who asked what, when, from where, and how it ended | `api/` |
//! | `usage` | time, fuel, memory and bytes by execution; time held and unused by session | `execution/`, `session/` |
//!
//! Whoever records gives a value to a bounded queue and goes on: nothing here makes an execution wait. A thread of its own
//! writes what came within 50 ms in one transaction; a process that is killed loses at most that. What finds
//! the queue full is dropped, counted, and told in `pools`.
//!
//! The same calls count what `GET /metrics` tells, whether or not records are kept.
//!
//! No table but `console` holds code, output, names of files or identifiers. A session is a [`Pseudonym`]: a keyed hash, the
//! same for the same identifier, whose key stays in the data directory.

mod event;
mod export;
mod metrics;
mod pool;
mod pseudonym;
mod query;
mod retention;
mod schema;
mod usage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};

pub use event::{Audit, Consumed, Ended, Level, Line, Made, Stream};
pub use export::Fresh;
pub use metrics::{Census, Counts, Exposition};
pub use pool::PoolRecords;
pub use pseudonym::Pseudonym;
pub use query::{Filter, Order, PAGE, Page, Table};
pub use usage::{By, Sum};

use crate::database::DatabaseError;
use event::Record;
use pseudonym::Key;
use writer::{Message, Writer};

/// Values that may wait to be written: some seconds of a busy gateway.
const QUEUE: usize = 16_384;
/// Text that may wait to be written.
const QUEUE_BYTES: u64 = 32 << 20;
/// Queries at a time; others wait. One that finds little may read much.
const READERS: usize = 2;

/// What is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordsSettings {
    /// False: nothing is recorded.
    pub enabled: bool,
    /// Records older than this are deleted.
    pub retention_days: u64,
    /// Size of the database at which the oldest records are deleted: of the console first, of the audit last.
    pub max_mebibytes: u64,
}

impl Default for RecordsSettings {
    fn default() -> Self {
        Self { enabled: true, retention_days: 30, max_mebibytes: 1024 }
    }
}

impl RecordsSettings {
    /// What makes no sense in it: the setting, and why.
    pub fn problems(&self) -> Vec<String> {
        let within = |name, value: u64, max: u64| {
            (!(1..=max).contains(&value)).then(|| format!("records.{name} is {value}; it must be from 1 to {max}"))
        };
        [within("retention_days", self.retention_days, 3650), within("max_mebibytes", self.max_mebibytes, 1 << 20)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Why records cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the records cannot be read: {0}")]
    Sql(#[from] crate::database::SqlError),
    #[error("{path} cannot be read or made: {source}", path = path.display())]
    Key { path: PathBuf, source: std::io::Error },
    #[error("the thread that writes records cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("this gateway keeps no records")]
    Off,
}

/// The records of a gateway; a clone is another handle to them.
#[derive(Clone, Default)]
pub struct Records {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    path: PathBuf,
    key: Key,
    queue: SyncSender<Message>,
    writer: std::thread::Thread,
    waiting_bytes: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    readers: Arc<Semaphore>,
}

impl Records {
    /// Records that are not kept.
    pub fn off() -> Self {
        Self::default()
    }

    /// Opens `records.db` in the data directory, and starts to write.
    ///
    /// # Errors
    /// When the database or its key cannot be used.
    pub fn open(data_dir: &Path, settings: &RecordsSettings) -> Result<Self, RecordsError> {
        if !settings.enabled {
            return Ok(Self::off());
        }
        let path = data_dir.join("records.db");
        let connection = schema::open(&path)?;
        // After the database, which makes the folder.
        let key_path = data_dir.join("records.key");
        let key = Key::open(&key_path).map_err(|source| RecordsError::Key { path: key_path, source })?;
        let (queue, received) = sync_channel(QUEUE);
        let (waiting_bytes, lost) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let writer = Writer {
            connection,
            received,
            waiting_bytes: waiting_bytes.clone(),
            lost: lost.clone(),
            retention: retention::Retention::new(settings),
        };
        let thread = std::thread::Builder::new().name("records".into()).spawn(move || writer.run());
        let writer = thread.map_err(RecordsError::Thread)?.thread().clone();
        let readers = Arc::new(Semaphore::new(READERS));
        Ok(Self { inner: Some(Arc::new(Inner { path, key, queue, writer, waiting_bytes, lost, readers })) })
    }

    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Stands for a session identifier, or another secret text, in the records; none when nothing is kept.
    pub fn pseudonym(&self, text: &str) -> Option<Pseudonym> {
        self.inner.as_ref().map(|inner| inner.key.pseudonym(text))
    }

    /// The records of one pool. `tags` attribute its use; without `console` what its sessions write is not kept.
    pub fn pool(&self, name: &str, tags: &std::collections::BTreeMap<String, String>, console: bool) -> PoolRecords {
        PoolRecords::new(self.clone(), name, tags, console)
    }

    pub fn audit(&self, audit: Audit) {
        self.add(Record::Audit(audit));
    }

    /// Records that did not fit into the queue, or could not be written, since the start.
    pub fn lost(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.lost.load(Ordering::Relaxed))
    }

    fn add(&self, record: Record) {
        let Some(inner) = &self.inner else { return };
        let bytes = record.text_bytes();
        let fits = inner.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUE_BYTES;
        // The thread ends only with the last handle.
        if !fits || inner.queue.try_send(Message::Record(record)).is_err() {
            inner.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was recorded before is committed. Not for ever: it gives up where the queue is full.
    pub async fn settle(&self) {
        self.committed(true).await;
    }

    /// The same; with `hurry` what came so far is committed without waiting for more. False when it gave up.
    pub(super) async fn committed(&self, hurry: bool) -> bool {
        let Some(inner) = &self.inner else { return true };
        let (done, settled) = oneshot::channel();
        match inner.queue.try_send(Message::Settle(done)) {
            Ok(()) => {
                if hurry {
                    inner.writer.unpark();
                }
                // An error: the thread has ended, and there is nothing to wait for.
                settled.await.is_ok()
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Reads on a thread that may block, not more than [`READERS`] at a time.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&crate::database::Connection) -> Result<T, crate::database::SqlError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let inner = self.inner.clone().ok_or(RecordsError::Off)?;
        self.settle().await;
        let place = inner.readers.clone().acquire_owned().await.expect("the semaphore is never closed");
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            Ok(read(&schema::open_for_reading(&inner.path)?)?)
        });
        reading.await.expect("reading does not panic, and is never aborted")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn opened(folder: &Path) -> Records {
        Records::open(folder, &RecordsSettings::default()).unwrap()
    }

    async fn count(records: &Records, table: Table) -> usize {
        records.page(table, Filter::default(), Order::Oldest, None, PAGE).await.unwrap().rows.len()
    }

    #[tokio::test]
    async fn what_finds_the_queue_full_is_dropped_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let records = opened(folder.path());
        let pool = records.pool("p", &BTreeMap::new(), true);
        let at = time::OffsetDateTime::now_utc();
        // Larger than the whole queue, so that it does not matter how fast the writer is.
        let long = vec![Line { at, stream: Stream::Stdout, text: "x".repeat(QUEUE_BYTES as usize + 1) }];
        pool.console("session", "first", long);
        assert_eq!(records.lost(), 1);
        let told = records.page(Table::Pools, Filter::default(), Order::Oldest, None, 10).await.unwrap();
        assert!(told.rows.iter().any(|row| row.get().contains("RecordsLost")), "{told:?}");
        // The queue is empty again, and takes what comes.
        pool.console("session", "second", vec![Line { at, stream: Stream::Stdout, text: "y".into() }]);
        let second = Filter { execution: Some("second".into()), ..Filter::default() };
        assert_eq!(records.page(Table::Console, second, Order::Oldest, None, 10).await.unwrap().rows.len(), 1);
    }

    #[tokio::test]
    async fn what_was_settled_is_there_for_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = opened(folder.path());
        let pool = first.pool("p", &BTreeMap::new(), true);
        (0..1000).for_each(|round| pool.session_made(&format!("session-{round}"), Made::Ready));
        first.settle().await;
        let name = first.pseudonym("session-7");
        drop((first, pool));
        let second = opened(folder.path());
        assert_eq!(count(&second, Table::Lifecycle).await, 1000);
        let filter = Filter { session: name, ..Filter::default() };
        assert_eq!(second.page(Table::Lifecycle, filter, Order::Oldest, None, 10).await.unwrap().rows.len(), 1);
    }

    #[tokio::test]
    async fn nothing_is_kept_when_records_are_off() {
        let records = Records::off();
        let pool = records.pool("p", &BTreeMap::new(), true);
        pool.session_made("session", Made::Ready);
        assert_eq!(pool.counts().made, 1);
        let page = records.page(Table::Lifecycle, Filter::default(), Order::Oldest, None, 10).await;
        assert!(matches!(page, Err(RecordsError::Off)));
    }
}
