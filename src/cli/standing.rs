//! How pools stand, as `GET /pools` and `GET /pools/{pool}/health` tell it.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    pub name: String,
    pub max_concurrent_sessions: u64,
    pub sessions: Sessions,
    pub executions: u64,
    pub rejections: u64,
    pub failed_starts: u64,
    pub allocation: Allocation,
    /// Of pools of containers alone, as what follows.
    pub backend: Option<Backend>,
    #[serde(default)]
    pub failures_in_a_row: u64,
    pub last_failure: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Backend {
    pub engine: String,
    pub isolation: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sessions {
    pub active: u64,
    pub running: u64,
    pub longest_running_seconds: Option<f64>,
    pub waiting: u64,
    pub ready: u64,
    pub pending: u64,
    pub overdue: u64,
    pub memory_bytes: u64,
    pub ended: u64,
    pub broken: u64,
    pub rolled_back: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allocation {
    pub count: u64,
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Standings {
    pub value: Vec<Standing>,
}

/// A length of time for people.
pub(super) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}
