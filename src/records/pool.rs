//! The records of one pool: what its sessions and executions do, written down and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::event::{At, Record};
use super::metrics::PoolMetrics;
use super::{Census, Consumed, Counts, Ended, Exposition, Level, Line, Made, Records};

/// Writes records of a pool, and counts; a clone is another handle.
#[derive(Clone)]
pub struct PoolRecords {
    records: Records,
    pool: Arc<str>,
    /// As JSON.
    tags: Arc<str>,
    console: bool,
    metrics: Arc<PoolMetrics>,
}

impl PoolRecords {
    pub(super) fn new(records: Records, pool: &str, tags: &BTreeMap<String, String>, console: bool) -> Self {
        let tags = serde_json::to_string(tags).expect("texts become JSON");
        Self { records, pool: pool.into(), tags: tags.into(), console, metrics: Arc::new(PoolMetrics::new(pool)) }
    }

    /// The pool's name, for records of others.
    pub fn pool(&self) -> &Arc<str> {
        &self.pool
    }

    /// Whether anybody wants to know what sessions write.
    pub fn keeps_console(&self) -> bool {
        self.console && self.records.is_on()
    }

    /// Something happened to the pool as a whole. `log` names no session and quotes no caller.
    pub fn event(&self, level: Level, operation: &'static str, log: impl Into<String>) {
        self.records.add(Record::Pool { at: self.now(), level, operation, log: log.into() });
    }

    pub fn session_made(&self, identifier: &str, made: Made) {
        self.metrics.made(made);
        let operation = if made == Made::Forked { "SessionForked" } else { "SessionCreated" };
        self.lifecycle(identifier, Level::Informational, operation, made.log());
    }

    /// A session ended, `allocated` after it was made and for `busy` of that running code. `network_bytes`: what it sent to the
    /// outside and received from there, where that is not counted by executions.
    pub fn session_ended(
        &self,
        identifier: &str,
        ended: Ended,
        allocated: Duration,
        busy: Duration,
        network_bytes: Option<u64>,
    ) {
        self.metrics.ended(ended);
        self.lifecycle(identifier, ended.level(), "SessionEnded", ended.log());
        let Some(session) = self.records.pseudonym(identifier) else { return };
        let idle = allocated.saturating_sub(busy);
        let (at, tags) = (self.now(), self.tags.clone());
        self.records.add(Record::Session { at, tags, session, allocated, idle, network_bytes });
    }

    pub fn session_rolled_back(&self, identifier: &str) {
        self.metrics.rolled_back();
        let log = "rolled back: its guest broke, and it is as it was before that execution";
        self.lifecycle(identifier, Level::Warning, "SessionRolledBack", log);
    }

    /// A session is on disk, and out of memory.
    pub fn session_hibernated(&self, identifier: &str) {
        self.metrics.hibernated();
        self.lifecycle(identifier, Level::Informational, "SessionHibernated", "on disk, and out of memory");
    }

    /// A session is back in memory, `took` after somebody called it.
    pub fn session_woken(&self, identifier: &str, took: Duration) {
        self.metrics.woken();
        let log = format!("brought back from disk in {:.1} ms", took.as_secs_f64() * 1e3);
        self.lifecycle(identifier, Level::Informational, "SessionWoken", log);
    }

    /// A session was set to one of its snapshots, which somebody asked for.
    pub fn session_restored(&self, identifier: &str) {
        self.lifecycle(identifier, Level::Informational, "SessionRestored", "set to one of its snapshots");
    }

    /// Anything else that happens to a session. `log` quotes nothing of the session or its caller.
    pub fn lifecycle(&self, identifier: &str, level: Level, operation: &'static str, log: impl Into<String>) {
        let Some(session) = self.records.pseudonym(identifier) else { return };
        self.records.add(Record::Lifecycle { at: self.now(), session, level, operation, log: log.into() });
    }

    /// A sandbox could not be made: a failure of the gateway, whose cause is in its log.
    pub fn failed_start(&self) {
        self.metrics.failed_start();
        self.event(Level::Error, "StartFailed", "a sandbox could not be made; the gateway's log tells why");
    }

    /// The same where the cause is the pool's own settings, or its image, and so its operator's to know. `log` quotes nothing
    /// of a session or a caller.
    pub fn start_failed(&self, operation: &'static str, log: impl Into<String>) {
        self.metrics.failed_start();
        self.event(Level::Error, operation, log);
    }

    /// A request was served by a session's container.
    pub fn forwarded(&self, wall: Duration) {
        self.metrics.executed("forwarded", wall);
    }

    /// A container's connection to the outside ended, in a way that is one of our own words.
    pub fn connection(&self, end: &str, sent_bytes: u64, received_bytes: u64) {
        self.metrics.connection(end, sent_bytes, received_bytes);
    }

    /// A container asked for the addresses of a name, which ended in a way that is one of our own words.
    pub fn name_asked(&self, end: &str) {
        self.metrics.name_asked(end);
    }

    /// An execution has its session, and the sandbox of it, `took` after it was let in.
    pub fn allocated(&self, new: bool, took: Duration) {
        self.metrics.allocated(new, took);
    }

    /// A session was captured; `bytes` of its memory are its own.
    pub fn snapshot_taken(&self, bytes: u64) {
        self.metrics.snapshot(bytes);
    }

    /// A call was refused, for a `reason` that is one of our own words.
    pub fn rejected(&self, reason: &str) {
        self.metrics.rejected(reason);
    }

    /// What was counted since the gateway started.
    pub fn counts(&self) -> Counts {
        self.metrics.counts()
    }

    /// Adds the pool's metrics.
    pub fn expose(&self, census: Census, to: &mut Exposition) {
        to.add_families(self.metrics.families(census));
    }

    /// What an execution used.
    pub fn used(&self, identifier: &str, used: Consumed) {
        self.metrics.executed(used.outcome, used.wall);
        let Some(session) = self.records.pseudonym(identifier) else { return };
        self.records.add(Record::Execution { at: self.now(), tags: self.tags.clone(), session, used });
    }

    /// What an execution wrote, or with an empty `execution` a session on its own.
    pub fn console(&self, identifier: &str, execution: &str, lines: Vec<Line>) {
        if lines.is_empty() || !self.console {
            return;
        }
        let Some(session) = self.records.pseudonym(identifier) else { return };
        let execution = execution.to_owned();
        self.records.add(Record::Console { at: self.now(), session, execution, lines });
    }

    /// Waits until what was recorded before is on disk, without hurrying it. False: nobody knows whether it is.
    pub async fn committed(&self) -> bool {
        self.records.committed(false).await
    }

    fn now(&self) -> At {
        At { at: OffsetDateTime::now_utc(), pool: self.pool.clone() }
    }
}
