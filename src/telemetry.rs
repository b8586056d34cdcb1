//! Tracing set-up. Logs go to stderr; they never carry code, output, file contents or identifiers.
//!
//! One execution is one tree of spans, made at the level `debug` and told as each ends, with its times:
//!
//! ```text
//! request{operation}           api/: the call as a whole
//!   execution{pool}            gateway: from its admission to its end, on the guest threads
//!     lease                    execution/: the wait for its session
//!     sandbox                  the sandbox, made if need be
//!     run                      the code
//!     keep                     in durable pools: to the disk
//! ```
//!
//! The same spans go to a collector, where there is one (`otlp/`), whatever the level of the log is.

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::otlp::{Exporter, Spans};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging, and gathering spans for `exporter`. `filter` is a `tracing` filter such as `info` or `sandpool=debug`;
/// one that does not parse falls back to `info`.
pub fn start(filter: &str, format: LogFormat, exporter: Option<&Exporter>) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::CLOSE);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let spans = exporter.and_then(Exporter::spans).map(|spans| spans.with_filter(Spans::filter()));
    // A second start (tests in one process) keeps the first.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init();
}
