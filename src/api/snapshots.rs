//! The snapshots of a session: list them, take one, go back to one; and a session as one file, out and in.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::call::{Answer, Call, json, timestamp};
use super::error::Failure;
use super::query::snapshot_id;
use super::sessions::Session;
use crate::session::Identifier;
use crate::snapshot::store::Listed;

const BYTES: &str = "application/octet-stream";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    id: i64,
    /// That the session had run.
    executions: u64,
    taken_at: String,
    size_in_bytes: u64,
}

impl Snapshot {
    fn of(listed: &Listed) -> Self {
        Self {
            id: listed.id.0,
            executions: listed.number,
            taken_at: timestamp(listed.taken_at),
            size_in_bytes: listed.bytes,
        }
    }
}

#[derive(Serialize)]
struct Snapshots {
    value: Vec<Snapshot>,
}

/// `GET /sessions/{identifier}/snapshots`.
pub(super) async fn list(call: Call<'_>, identifier: &str) -> Answer {
    let listed = call.pool.snapshots(&named(identifier)?).await?;
    Ok(json(StatusCode::OK, &Snapshots { value: listed.iter().map(Snapshot::of).collect() }))
}

/// `POST /sessions/{identifier}/snapshots`.
pub(super) async fn take(call: Call<'_>, identifier: &str) -> Answer {
    let listed = call.pool.take_snapshot(&named(identifier)?).await?;
    Ok(json(StatusCode::CREATED, &Snapshot::of(&listed)))
}

/// `POST /sessions/{identifier}/snapshots/{snapshot}/restore`.
pub(super) async fn restore(call: Call<'_>, identifier: &str, snapshot: &str) -> Answer {
    let identifier = named(identifier)?;
    // What is no number is no snapshot's.
    let id = snapshot_id(snapshot).map_err(|()| crate::pool::HistoryError::NoSnapshot)?;
    let view = call.pool.restore(&identifier, id).await?;
    Ok(json(StatusCode::OK, &Session::of(&view)))
}

/// `GET /sessions/{identifier}/export`.
pub(super) async fn export(call: Call<'_>, identifier: &str) -> Answer {
    let file = call.pool.export(&named(identifier)?, call.query.snapshot()?).await?;
    let length = file.len();
    let mut response = Response::new(Body::from(file));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(BYTES));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// `POST /sessions/{identifier}/import`: what an upload may have, a file of a session may have.
pub(super) async fn import(call: Call<'_>, identifier: &str) -> Answer {
    let identifier = named(identifier)?;
    let file = call.payload.bytes(call.pool.specification().limits.upload_bytes).await?;
    let view = call.pool.import(&identifier, file).await?;
    Ok(json(StatusCode::CREATED, &Session::of(&view)))
}

fn named(identifier: &str) -> Result<Identifier, Failure> {
    Identifier::new(identifier).map_err(Failure::Identifier)
}
