//! What the thread that exports does: each signal at its own pace, so that one that waits holds up no other.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::message::Resource;
use super::sender::{NotSent, Sender};
use super::spans::Queue;
use super::{logs, metrics, spans};
use crate::records::{Exposition, Fresh, Records, Table};

/// Spans are gathered for so long.
const SPANS_EVERY: Duration = Duration::from_secs(1);
/// Spans of one message: some hundred kilobytes.
const BATCH: usize = 2048;

/// Where metrics come from.
pub(super) type Metrics = Box<dyn Fn() -> Exposition + Send + Sync>;

pub(super) struct Worker {
    pub sender: Sender,
    pub resource: Resource,
    pub queue: std::sync::Arc<Queue>,
    pub metrics: Option<Metrics>,
    pub records: Records,
    /// The records that go as logs.
    pub logs: Vec<Table>,
    /// Between two exports of metrics, and of logs.
    pub every: Duration,
    pub stop: CancellationToken,
}

impl Worker {
    /// Until it is to stop; then once more.
    pub(super) async fn run(self) {
        let since = SystemTime::now();
        let mut seen = HashMap::new();
        tokio::join!(
            self.each(SPANS_EVERY, async || self.spans().await),
            self.each(self.every, async || self.metrics(since).await),
            self.each(self.every, async || self.logs(&mut seen).await),
        );
        // How far they were taken.
        self.records.settle().await;
    }

    async fn each(&self, every: Duration, mut work: impl AsyncFnMut()) {
        let mut ticks = interval(every);
        // After a collector that answered late there is no hurry.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                biased;
                () = self.stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            work().await;
            if last {
                return;
            }
        }
    }

    async fn spans(&self) {
        loop {
            let batch = self.queue.take(BATCH);
            if batch.is_empty() {
                return;
            }
            match self.sender.send("traces", &spans::request(&batch, &self.resource)).await {
                Ok(()) => {}
                Err(NotSent::Away(_)) => return self.queue.put_back(batch),
                Err(NotSent::Refused(_)) => self.queue.lose(batch.len()),
            }
        }
    }

    async fn metrics(&self, since: SystemTime) {
        let Some(metrics) = &self.metrics else { return };
        let request = metrics::request(&metrics(), since, &self.resource);
        // The next ones tell all that these would have.
        let _ = self.sender.send("metrics", &request).await;
    }

    /// `seen` is up to where each table was sent by this process.
    async fn logs(&self, seen: &mut HashMap<Table, i64>) {
        for table in &self.logs {
            while let Some(last) = self.page(*table, seen.get(table).copied()).await {
                seen.insert(*table, last);
            }
        }
    }

    /// Sends the next rows of a table. Where they end; None when there is no more to do now.
    async fn page(&self, table: Table, seen: Option<i64>) -> Option<i64> {
        let fresh = self.records.fresh(table, seen).await;
        let Fresh { rows, last } =
            fresh.inspect_err(|error| tracing::error!(%error, "records cannot be exported")).ok()?;
        let rows: Vec<Map<String, Value>> =
            rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok()).collect();
        if rows.is_empty() {
            return None;
        }
        match self.sender.send("logs", &logs::request(rows.iter(), &self.resource)).await {
            Err(NotSent::Away(_)) => return None,
            // Told by the sender. The rows stay where they are, and those after them shall not wait for ever.
            Ok(()) | Err(NotSent::Refused(_)) => {}
        }
        self.records.handed_on(table, last);
        Some(last)
    }
}
