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
//! ```

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging. `filter` is a `tracing` filter such as `info` or `sandpool=debug`; one that does not parse falls back to `info`.
pub fn start(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let lines = lines.with_span_events(FmtSpan::CLOSE);
    // A second start (tests in one process) keeps the first.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
