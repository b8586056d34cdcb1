//! How pools stand: for people, for the console, and for Prometheus.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::call::{Answer, json, timestamp};
use crate::access::{Caller, Permission};
use crate::gateway::{Gateway, SessionPool};
use crate::records::Exposition;

/// A pool as it stands, and what it has counted since it opened.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing<'a> {
    name: &'a str,
    interpreter: &'a str,
    opened_at: String,
    max_concurrent_sessions: usize,
    sessions: Sessions,
    executions: u64,
    rejections: u64,
    failed_starts: u64,
    allocation: Allocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sessions {
    active: usize,
    running: usize,
    longest_running_seconds: Option<f64>,
    /// Executions that wait for one.
    waiting: usize,
    ready: usize,
    pending: usize,
    /// Those that should have ended and have not.
    overdue: usize,
    memory_bytes: u64,
    made: u64,
    ended: u64,
    broken: u64,
    rolled_back: u64,
}

/// From an execution's admission to its session; upper bounds of a histogram's buckets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    count: u64,
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

impl<'a> Standing<'a> {
    fn of(pool: &'a SessionPool) -> Self {
        let (specification, census, counts) = (pool.specification(), pool.census(), pool.counts());
        Self {
            name: pool.name().as_str(),
            interpreter: &specification.interpreter,
            opened_at: timestamp(pool.opened_at()),
            max_concurrent_sessions: specification.max_concurrent_sessions,
            sessions: Sessions {
                active: census.sessions,
                running: census.running,
                longest_running_seconds: census.longest_running.map(|time| time.as_secs_f64()),
                waiting: census.waiting,
                ready: census.ready,
                pending: census.pending,
                overdue: census.overdue,
                memory_bytes: census.memory_bytes,
                made: counts.made,
                ended: counts.ended,
                broken: counts.broken,
                rolled_back: counts.rolled_back,
            },
            executions: counts.executions,
            rejections: counts.rejections,
            failed_starts: counts.failed_starts,
            allocation: Allocation {
                count: counts.allocations,
                p50_seconds: counts.allocation_p50.map(|time| time.as_secs_f64()),
                p99_seconds: counts.allocation_p99.map(|time| time.as_secs_f64()),
            },
        }
    }
}

#[derive(Serialize)]
struct Pools<'a> {
    value: Vec<Standing<'a>>,
}

/// `GET /pools`: those that the caller may see.
pub(super) fn pools(gateway: &Gateway, caller: &Caller) -> Answer {
    let pools = gateway.pools();
    let seen = pools.iter().filter(|pool| caller.may(Permission::Observe, Some(pool.name())));
    let value = seen.map(Standing::of).collect();
    Ok(json(StatusCode::OK, &Pools { value }))
}

/// `GET /pools/{pool}/health`.
pub(super) fn pool(pool: &SessionPool) -> Answer {
    Ok(json(StatusCode::OK, &Standing::of(pool)))
}

/// `GET /metrics`.
pub(super) fn metrics(gateway: &Gateway) -> Answer {
    let mut response = Response::new(Body::from(gateway.metrics().text()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Exposition::MEDIA_TYPE));
    Ok(response)
}
