//! How pools stand: for people, for the console, and for Prometheus.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::call::{Answer, json, timestamp};
use crate::access::{Caller, Permission};
use crate::gateway::{ContainerSessionPool, Gateway, SessionPool, TemplateStanding};
use crate::records::{Census, Counts, Exposition};
use crate::sandbox::container::BackendReport;

/// A pool as it stands, and what it has counted since it opened.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing<'a> {
    name: &'a str,
    /// `container` in pools of containers.
    interpreter: &'a str,
    opened_at: String,
    max_concurrent_sessions: usize,
    sessions: Sessions,
    executions: u64,
    rejections: u64,
    failed_starts: u64,
    allocation: Allocation,
    /// Of pools of containers alone.
    #[serde(flatten)]
    containers: Option<Containers<'a>>,
}

/// How a pool's containers stand.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Containers<'a> {
    image: String,
    ready: usize,
    starting: usize,
    in_use: usize,
    failures_in_a_row: u32,
    /// For the pool's operator: why the last start failed.
    last_failure: Option<String>,
    next_try_in_seconds: Option<u64>,
    image_pull_failures: u64,
    crashes: u64,
    backend: &'a BackendReport,
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
        let specification = pool.specification();
        Self {
            name: pool.name().as_str(),
            interpreter: &specification.interpreter,
            opened_at: timestamp(pool.opened_at()),
            max_concurrent_sessions: specification.max_concurrent_sessions,
            ..Self::counted(pool.census(), pool.counts())
        }
    }

    pub(super) fn of_containers(pool: &'a ContainerSessionPool) -> Self {
        let TemplateStanding { specification, opened_at, standing } = pool.rollout().active;
        Self {
            name: pool.name().as_str(),
            interpreter: "container",
            opened_at: timestamp(opened_at),
            max_concurrent_sessions: specification.max_concurrent_sessions,
            containers: Some(Containers {
                image: specification.image.to_string(),
                ready: standing.ready,
                starting: standing.starting,
                in_use: standing.in_use,
                failures_in_a_row: standing.failures,
                last_failure: standing.last_failure,
                next_try_in_seconds: standing.next_try_in.map(|left| left.as_secs()),
                image_pull_failures: standing.image_failures,
                crashes: standing.crashes,
                backend: pool.report(),
            }),
            ..Self::counted(pool.census(), pool.records().counts())
        }
    }

    fn counted(census: Census, counts: Counts) -> Self {
        Self {
            name: "",
            interpreter: "",
            opened_at: String::new(),
            max_concurrent_sessions: 0,
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
            containers: None,
        }
    }
}

#[derive(Serialize)]
struct Pools<'a> {
    value: Vec<Standing<'a>>,
}

/// `GET /pools`: those that the caller may see.
pub(super) fn pools(gateway: &Gateway, caller: &Caller) -> Answer {
    let (pools, containers) = (gateway.pools(), gateway.container_pools());
    let may = |name| caller.may(Permission::Observe, Some(name));
    let interpreters = pools.iter().filter(|pool| may(pool.name())).map(Standing::of);
    let containers = containers.iter().filter(|pool| may(pool.name())).map(Standing::of_containers);
    let mut value: Vec<_> = interpreters.chain(containers).collect();
    value.sort_unstable_by_key(|standing| standing.name);
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
