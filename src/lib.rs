//! Sandpool: a gateway that runs untrusted code in a sandbox per session identifier.
//!
//! # The life of one execution
//!
//! ```text
//! POST .../executions?identifier=X
//!  api/        decode the dialect into one ExecutionRequest; contract violations -> 400
//!  access/     who calls, and whether they may         -> 401, 403
//!  gateway/    counted as under way, and started (`launch.rs`, for pools of either kind)
//!  execution/  lease, run, settle, answer
//!    pool/     find X, wake it from disk, or give it a ready session         -> 429 when the pool is full
//!    session/  one execution at a time, bounded queue     -> 429 when the queue is full
//!    sandbox/  run with limits on the guest threads; output is collected as it comes
//!    settle    clean end: release. interrupted but alive: release. poisoned: roll back to the snapshot, or discard, and say so
//!    keep      in durable pools: on disk before the answer
//!  api/        the outcome in the caller's dialect; 200 whatever the guest did
//! ```
//!
//! A request to a pool of containers: `api/forward/` leases the identifier's container from `pool/container/` (a ready one,
//! or it waits), and sends it there through `sandbox/container/`, bodies as they come. What a container connects to by itself
//! comes to `egress/connections/`, if it comes anywhere.
//!
//! A pool of containers with an interpreter runs what callers send: `api/contained/` has the same handlers, `execution/contained.rs`
//! the same story, and `sandbox/container/agent/` asks the gateway's agent in the container (its `program/`, which the build script compiles).
//!
//! Containers outlive the gateway: beside each is a process of ours (`sandbox/container/runtime/shim/`, started as `cli/shim.rs`) that has its
//! streams and its end, and `pool/container/note.rs` is what the next gateway needs to take its session over.
//!
//! A pool that is made through the API: `api/control/` checks its properties and translates them into a template, and `gateway/`
//! keeps it (`pool/resource.rs`), opens it and puts it in the place of what was there, whose sessions go on.
//!
//! # Who imports whom
//!
//! Downward only; `tests/it/structure.rs` reads the `use` lines and holds it:
//! `main -> cli -> api -> gateway -> pressure -> execution -> access -> pool -> session -> snapshot -> files -> sandbox -> egress -> interpreter`,
//! where `sandbox` may also see `files` (a guest's file calls work on the session's tree).
//! `config` is seen by `main`, `cli` and `gateway`; `telemetry`, `shutdown`, `database`, `wire`, `keyfile`, `records` (which uses
//! `database` and `keyfile`) and `otlp` (which exports what `telemetry` and `records` gather) are leaves that anyone may use.
//! `wasmtime::` appears only under `sandbox/wasm/`, what runs containers only under `sandbox/container/` (`bollard::` under its `docker/`); `axum` and status
//! codes only under `api/`; `reqwest::`, the guests' way out, only under `egress/` (and where the keys of token issuers are
//! fetched, in `access/token/`, and telemetry is sent away, in `otlp/`); `rusqlite::` only in `database`, which hands its types on;
//! `prometheus::` only under `records/`, and in `otlp/metrics.rs`, which says the same in `opentelemetry_proto::`, used only there.

pub mod access;
pub mod api;
pub mod cli;
pub mod config;
pub mod database;
pub mod egress;
pub mod execution;
pub mod files;
pub mod gateway;
pub mod interpreter;
pub mod keyfile;
pub mod otlp;
pub mod pool;
pub mod pressure;
pub mod records;
pub mod sandbox;
pub mod session;
pub mod shutdown;
pub mod snapshot;
pub mod telemetry;
pub mod wire;
