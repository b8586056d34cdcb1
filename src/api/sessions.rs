//! Sessions as callers see them: one, all, its end, and what the pool's interpreter offers.
//!
//! None of these but the fork makes a session, and none but the end and the fork touches one.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::call::{Answer, Call, json, no_content, text, timestamp};
use super::contract;
use super::error::Failure;
use super::served::Served;
use crate::interpreter::Package;
use crate::session::{Identifier, SessionState, SessionView};
use crate::snapshot::store::SnapshotId;

/// Sessions on one page of a list, as the service has it.
pub(super) const PAGE: usize = 300;

/// The service's two routes name the end differently (`expireAt`, `expiresAt`); both are in both.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session<'a> {
    identifier: &'a str,
    created_at: String,
    last_accessed_at: String,
    expire_at: String,
    expires_at: String,
    etag: &'a str,
    /// Whether code runs in it now.
    running: bool,
    running_for_seconds: Option<f64>,
    state: &'static str,
}

impl<'a> Session<'a> {
    pub(super) fn of(view: &'a SessionView) -> Self {
        Self {
            identifier: view.identifier.as_str(),
            created_at: timestamp(view.created_at),
            last_accessed_at: timestamp(view.last_accessed_at),
            expire_at: timestamp(view.expires_at),
            expires_at: timestamp(view.expires_at),
            etag: &view.etag,
            running: view.state == SessionState::Running,
            running_for_seconds: view.running_for.map(|time| time.as_secs_f64()),
            state: match view.state {
                SessionState::Idle => "Idle",
                SessionState::Running => "Running",
                SessionState::Hibernated => "Hibernated",
            },
        }
    }
}

/// `GET /session` and `POST /.management/getSession`.
pub(super) fn read<P: Served>(call: &Call<'_, P>) -> Answer {
    let view = call.pool.session(&call.identifier()?).ok_or(Failure::NoSession)?;
    Ok(json(StatusCode::OK, &Session::of(&view)))
}

/// `DELETE /session`: done is done, also when there was none.
pub(super) async fn end<P: Served>(call: Call<'_, P>) -> Answer {
    let identifier = call.identifier()?;
    call.pool.end_session(&identifier).await?;
    Ok(no_content())
}

/// `POST /.management/stopSession`.
pub(super) async fn stop<P: Served>(call: Call<'_, P>) -> Answer {
    let identifier = call.identifier()?;
    if !call.pool.end_session(&identifier).await? {
        return Err(Failure::NoSession);
    }
    Ok(text(format!("Session {} in session pool {} stopped.", identifier.as_str(), call.pool.name().as_str())))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionList<'a> {
    sessions: Vec<Session<'a>>,
    next_link: Option<String>,
}

/// `GET /listSessions`.
pub(super) fn list<P: Served>(call: &Call<'_, P>) -> Answer {
    let (views, next_link) = page(call, "/listSessions")?;
    Ok(json(StatusCode::OK, &SessionList { sessions: views.iter().map(Session::of).collect(), next_link }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManagedSessionList<'a> {
    pub value: Vec<Session<'a>>,
    pub count: usize,
    pub next_link: Option<String>,
}

/// `POST /.management/listSessions`.
pub(super) fn manage_list<P: Served>(call: &Call<'_, P>) -> Answer {
    let (views, next_link) = page(call, "/.management/listSessions")?;
    let value: Vec<_> = views.iter().map(Session::of).collect();
    Ok(json(StatusCode::OK, &ManagedSessionList { count: value.len(), value, next_link }))
}

/// The page that `skip` asks for, and the link to the next one.
fn page<P: Served>(call: &Call<'_, P>, path: &str) -> Result<(Vec<SessionView>, Option<String>), Failure> {
    let skip = call.query.skip()?;
    let page = call.pool.sessions(skip, PAGE);
    let shown = skip.saturating_add(page.sessions.len());
    let more = !page.sessions.is_empty() && shown < page.total;
    Ok((page.sessions, more.then(|| call.link(path, &[("skip", &shown.to_string())]))))
}

/// Identifiers in the largest body: a thousand of 128 characters, each written as an escape.
const FORK_BYTES: u64 = 1 << 20;

#[derive(Serialize)]
struct Forked<'a> {
    value: Vec<Session<'a>>,
}

/// `POST /sessions/{identifier}/fork`.
pub(super) async fn fork(call: Call<'_>, parent: &str) -> Answer {
    let parent = Identifier::new(parent).map_err(Failure::Identifier)?;
    let body: Value = serde_json::from_slice(&call.payload.bytes(FORK_BYTES).await?).map_err(Failure::NotJson)?;
    contract::check_fork(&body)?;
    let names = body["identifiers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let children: Vec<_> = names.map(Identifier::new).collect::<Result<_, _>>().map_err(Failure::Identifier)?;
    let _claims = children.iter().map(|child| call.claim(child)).collect::<Result<Vec<_>, _>>()?;
    let at = body["snapshot"].as_i64().map(SnapshotId);
    let views = call.pool.fork(&parent, &children, at).await?;
    Ok(json(StatusCode::CREATED, &Forked { value: views.iter().map(Session::of).collect() }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offer<'a> {
    runtimes: [Named<'a>; 1],
    pre_installed_packages: Vec<Named<'a>>,
    created_at: String,
    last_updated_at: String,
    jupyter_kernel: Kernel<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    version: &'a str,
}

/// There is no Jupyter kernel; clients that show this field see what runs their code.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kernel<'a> {
    #[serde(flatten)]
    runtime: Named<'a>,
    project_url: &'static str,
    description: &'static str,
}

impl<'a> Named<'a> {
    fn of(package: &'a Package) -> Self {
        Self { name: &package.name, version: &package.version }
    }
}

/// `GET /metadata`.
pub(super) fn metadata(call: &Call<'_>) -> Answer {
    // Not needed, since it is the pool's; still no nonsense is taken.
    call.query.identifier()?;
    let (installed, opened_at) = (call.pool.packages(), call.pool.opened_at());
    let offer = Offer {
        runtimes: [Named::of(&installed.runtime)],
        pre_installed_packages: installed.packages.iter().map(Named::of).collect(),
        created_at: timestamp(opened_at),
        last_updated_at: timestamp(opened_at),
        jupyter_kernel: Kernel {
            runtime: Named::of(&installed.runtime),
            project_url: "",
            description: "An interpreter compiled to WebAssembly, run by Sandpool",
        },
    };
    Ok(json(StatusCode::OK, &offer))
}
