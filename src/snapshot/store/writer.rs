//! The one thread that writes. What waits when it begins goes into one transaction: a commit is one wait for the disk,
//! whoever it is for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::change::{self, NewSnapshot};
use super::{SnapshotId, StoreError};
use crate::database::{Connection, TransactionBehavior};
use crate::snapshot::Seal;

/// Jobs in one transaction: the last of them waits for the first.
const MAX_BATCH: usize = 64;
/// Statements that are kept prepared.
const STATEMENTS: usize = 32;

/// The log is moved into the database at this length, and is no longer than that where nothing large was written: on a disk that
/// fills up, both must fit.
const LOG_BYTES: u64 = 2 << 20;

enum Job {
    Put(Box<NewSnapshot>, oneshot::Sender<Result<SnapshotId, StoreError>>),
    End([u8; 16], Option<oneshot::Sender<Result<(), StoreError>>>),
}

/// What came of a job, before it is told.
enum Done {
    Put(Result<SnapshotId, StoreError>),
    End(Result<(), StoreError>),
}

/// The way to the thread. It ends when this is dropped, once everything is written.
pub(super) struct Writer {
    jobs: Option<Mutex<Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `log` is the database's write-ahead log.
    pub fn start(connection: Connection, log: PathBuf, seal: Seal) -> Result<Self, StoreError> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Done by `tidy`, when nobody waits for it any more.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES.cast_signed())?;
        let (jobs, waiting) = mpsc::channel();
        let thread =
            thread::Builder::new().name("snapshots".into()).spawn(move || write(connection, &log, &seal, &waiting))?;
        Ok(Self { jobs: Some(Mutex::new(jobs)), thread: Some(thread) })
    }

    pub async fn put(&self, new: NewSnapshot) -> Result<SnapshotId, StoreError> {
        let (done, written) = oneshot::channel();
        self.send(Job::Put(Box::new(new), done));
        written.await.unwrap_or(Err(StoreError::Closed))
    }

    pub async fn end(&self, key: [u8; 16]) -> Result<(), StoreError> {
        let (done, ended) = oneshot::channel();
        self.send(Job::End(key, Some(done)));
        ended.await.unwrap_or(Err(StoreError::Closed))
    }

    pub fn end_soon(&self, key: [u8; 16]) {
        self.send(Job::End(key, None));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that is gone drops what it was sent, and with that says so.
            let _ = jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(mut connection: Connection, log: &Path, seal: &Seal, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let mut jobs = vec![first];
        jobs.extend(waiting.try_iter().take(MAX_BATCH - 1));
        let together = (jobs.len() > 1).then(|| commit(&mut connection, seal, &jobs)).and_then(Result::ok);
        match together {
            Some(done) => jobs.into_iter().zip(done).for_each(|(job, done)| tell(job, done)),
            // One by one: what fails for one (a full disk above all) need not fail for another.
            None => {
                for job in jobs {
                    let done = commit(&mut connection, seal, std::slice::from_ref(&job));
                    let done = done.map(|mut done| done.remove(0)).unwrap_or_else(|error| failed(&job, error));
                    tell(job, done);
                }
            }
        }
        tidy(&connection, log);
    }
}

/// Moves what is in the log into the database, once there is much of it. What fails stays in the log, which is as safe.
fn tidy(connection: &Connection, log: &Path) {
    if fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}

/// Does all jobs in one transaction. An error is the database's: then none is done.
fn commit(connection: &mut Connection, seal: &Seal, jobs: &[Job]) -> Result<Vec<Done>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut all = Vec::with_capacity(jobs.len());
    for job in jobs {
        transaction.execute_batch("SAVEPOINT job")?;
        let done = perform(&transaction, seal, job);
        match &done {
            Done::Put(Ok(_)) | Done::End(Ok(())) => {}
            // The job's own fault; the others are not touched by it.
            Done::Put(Err(StoreError::Ended | StoreError::NoChunk)) => transaction.execute_batch("ROLLBACK TO job")?,
            Done::Put(Err(_)) | Done::End(Err(_)) => return Err(error_of(done)),
        }
        transaction.execute_batch("RELEASE job")?;
        all.push(done);
    }
    transaction.commit()?;
    Ok(all)
}

fn perform(connection: &Connection, seal: &Seal, job: &Job) -> Done {
    match job {
        Job::Put(new, _) => Done::Put(change::put(connection, seal, new)),
        Job::End(key, _) => Done::End(change::end(connection, seal, key)),
    }
}

fn error_of(done: Done) -> StoreError {
    match done {
        Done::Put(Err(error)) | Done::End(Err(error)) => error,
        Done::Put(Ok(_)) | Done::End(Ok(())) => StoreError::Closed,
    }
}

fn failed(job: &Job, error: StoreError) -> Done {
    match job {
        Job::Put(..) => Done::Put(Err(error)),
        Job::End(..) => Done::End(Err(error)),
    }
}

/// Whoever asked may have gone.
fn tell(job: Job, done: Done) {
    match (job, done) {
        (Job::Put(_, asked), Done::Put(done)) => drop(asked.send(done)),
        (Job::End(_, Some(asked)), Done::End(done)) => drop(asked.send(done)),
        (Job::End(_, None), Done::End(Err(error))) => {
            tracing::warn!(%error, "an ended session could not be taken off the disk");
        }
        (Job::End(_, None), _) | (Job::Put(..), Done::End(_)) | (Job::End(..), Done::Put(_)) => {}
    }
}
