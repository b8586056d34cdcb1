//! What the gateway knows about itself, pushed to a collector by OTLP (HTTP with protobuf): traces, metrics, and records as logs.
//!
//! | file | holds |
//! |---|---|
//! | `settings.rs` | where to, what, and how often |
//! | `context.rs` | ids of traces, and the caller's `traceparent` |
//! | `spans.rs` | the spans of `telemetry`, gathered as they end |
//! | `metrics.rs` | what `GET /metrics` shows, as OTLP says it |
//! | `logs.rs` | rows of the records as OTLP's log records; also as JSON lines for the command line |
//! | `sender.rs` | one message, posted |
//! | `worker.rs` | the thread that sends |
//!
//! Nothing waits for the collector: an execution puts its spans into a bounded queue and goes on. While the collector is away
//! spans wait there, and are dropped and counted once it is full. Metrics are running totals, so the next ones that
//! arrive tell all; records are read from their database from where the last that arrived stands, also after a restart.
//!
//! Spans are made of a list of names and fields that are the gateway's own words (`spans.rs`): no code, output, identifier,
//! name of a file, caller or tenant can get into one.

mod context;
mod logs;
mod message;
mod metrics;
mod sender;
mod settings;
mod spans;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use context::TraceParent;
pub use logs::json_line;
pub use settings::OtlpSettings;
pub use spans::Spans;

use crate::records::{Exposition, Records};
use message::Resource;
use sender::Sender;
use spans::Queue;
use worker::Worker;

/// What is left is sent within this time at the end, or never.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("the client for the OTLP collector cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    #[error("the thread that exports cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Sends telemetry away; a clone is another handle.
#[derive(Clone)]
pub struct Exporter {
    settings: OtlpSettings,
    queue: Arc<Queue>,
    stop: CancellationToken,
}

/// An exporter that runs. Dropping it leaves the thread to itself.
pub struct Running {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Exporter {
    /// None when the settings name no collector.
    pub fn new(settings: OtlpSettings) -> Option<Self> {
        settings.endpoint.as_ref()?;
        Some(Self { settings, queue: Arc::default(), stop: CancellationToken::new() })
    }

    /// What gathers spans, if they are wanted.
    pub fn spans(&self) -> Option<Spans> {
        self.settings.traces.then(|| Spans::new(self.queue.clone()))
    }

    /// Spans that were dropped: the collector was away, or refused them.
    pub fn lost_spans(&self) -> u64 {
        self.queue.lost()
    }

    /// Starts to send, on a thread of its own.
    ///
    /// # Errors
    /// When the thread or its client cannot be made.
    pub fn start(
        &self,
        metrics: impl Fn() -> Exposition + Send + Sync + 'static,
        records: Records,
    ) -> Result<Running, OtlpError> {
        let worker = Worker {
            sender: Sender::new(&self.settings)?,
            resource: Resource::new(&self.settings.service_name),
            queue: self.queue.clone(),
            metrics: self.settings.metrics.then(|| Box::new(metrics) as worker::Metrics),
            logs: if records.is_on() { self.settings.logs.clone() } else { Vec::new() },
            records,
            every: Duration::from_secs(self.settings.interval_seconds),
            stop: self.stop.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ends, ended) = oneshot::channel();
        std::thread::Builder::new().name("otlp".into()).spawn(move || {
            runtime.block_on(worker.run());
            // Nobody waits for it when the gateway was stopped otherwise.
            let _ = ends.send(());
        })?;
        Ok(Running { stop: self.stop.clone(), ended })
    }
}

impl Running {
    /// Sends what there is, and ends.
    pub async fn finish(self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_WORDS, self.ended).await.is_err() {
            tracing::warn!("the OTLP collector did not take the last telemetry in time");
        }
    }
}
