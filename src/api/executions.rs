//! Running code: the three routes that start an execution, and the one that shows how it stands.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call, json, timestamp};
use super::dialect::flat::ExecutionType;
use super::dialect::{flat, old, request};
use super::error::Failure;
use super::events;
use super::served::Served;
use crate::execution::{Execution, ExecutionId, ExecutionRequest, Status};

const OPERATION_ID: HeaderName = HeaderName::from_static("operation-id");
const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
const REQUEST_TIME: HeaderName = HeaderName::from_static("x-ms-execution-request-time");
const DURATION: HeaderName = HeaderName::from_static("x-ms-container-execution-duration");

/// Room in a body beside the code: the other fields, and fields that we do not know.
const SLACK_BYTES: u64 = 64 * 1024;

/// The shape of a synchronous answer, chosen by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Old,
    Flat,
}

/// `POST /code/execute`, `/executions` and `/execute`.
///
/// When the caller goes away the connection drops this future, and with it the token's guard: the guest is interrupted.
pub(super) async fn execute<P: Served>(call: Call<'_, P>, shape: Shape) -> Answer {
    // Before anything is read of it.
    let permit = call.permit()?;
    // Code in JSON may be twice as long as the code: each line end and quote is escaped.
    let limit = call.pool.code_bytes() as u64 * 2 + SLACK_BYTES;
    let asked = request::decode(&call.payload.bytes(limit).await?, call.pool.expected())?;
    let identifier = call.query.identifier()?.or(asked.identifier).ok_or(Failure::IdentifierMissing)?;
    let id = operation_id(call.headers)?;
    let (timeout, limits) = (asked.timeout, asked.limits);
    let permit = Some(Arc::new(permit.with_claim(call.claim(&identifier)?)));
    let caller = Some(call.caller.id.clone());
    let followed = asked.kind == ExecutionType::Synchronous && events::wanted(call.headers);
    let session = identifier.clone();
    let request = ExecutionRequest { identifier, code: asked.code, timeout, id, limits, followed, caller, permit };
    let launch = call.pool.launch(request)?;
    if asked.kind == ExecutionType::Asynchronous {
        return Ok(accepted(&call, &launch.submit()?));
    }
    let stop = CancellationToken::new();
    let stops_when_dropped = stop.clone().drop_guard();
    if !followed {
        return finished(&launch.execute(stop).await?, shape);
    }
    let following = launch.follow(stop).await?;
    let (id, began) = (header(following.id.as_str()), header(&timestamp(following.created_at)));
    let mut response = events::response(following, session, stops_when_dropped);
    response.headers_mut().insert(OPERATION_ID, id);
    response.headers_mut().insert(REQUEST_TIME, began);
    Ok(response)
}

/// `GET /executions/{id}` and `/execute/{id}`.
pub(super) fn read<P: Served>(call: &Call<'_, P>, id: &str) -> Answer {
    let identifier = call.identifier()?;
    // A text that is no id names no execution.
    let id = ExecutionId::new(id).map_err(|_| Failure::NoExecution)?;
    let execution = call.pool.execution(&identifier, &id).ok_or(Failure::NoExecution)?;
    let mut response = json(StatusCode::OK, &flat::answer(&execution, ExecutionType::Asynchronous));
    response.headers_mut().insert(OPERATION_ID, header(execution.id.as_str()));
    Ok(response)
}

fn operation_id(headers: &HeaderMap) -> Result<Option<ExecutionId>, Failure> {
    // A value that is not text has characters that no id has.
    headers.get(OPERATION_ID).map(|value| Ok(ExecutionId::new(value.to_str().unwrap_or_default())?)).transpose()
}

fn finished(execution: &Execution, shape: Shape) -> Answer {
    let Status::Done(outcome) = &execution.status else {
        return Err(Failure::Lost);
    };
    let mut response = match shape {
        Shape::Old => json(StatusCode::OK, &old::answer(outcome)),
        Shape::Flat => json(StatusCode::OK, &flat::answer(execution, ExecutionType::Synchronous)),
    };
    let milliseconds = u64::try_from(outcome.usage.wall.as_millis()).unwrap_or(u64::MAX);
    let headers = response.headers_mut();
    headers.insert(OPERATION_ID, header(execution.id.as_str()));
    headers.insert(REQUEST_TIME, header(&timestamp(execution.created_at)));
    headers.insert(DURATION, HeaderValue::from(milliseconds));
    Ok(response)
}

/// An asynchronous execution is answered in the flat shape on every path: the old one has no word for "running".
fn accepted<P: Served>(call: &Call<'_, P>, execution: &Execution) -> Response<Body> {
    let path = format!("/executions/{}", execution.id.as_str());
    let location = call.link(&path, &[("identifier", execution.identifier.as_str())]);
    let mut response = json(StatusCode::ACCEPTED, &flat::answer(execution, ExecutionType::Asynchronous));
    response.headers_mut().insert(OPERATION_LOCATION, header(&location));
    response.headers_mut().insert(OPERATION_ID, header(execution.id.as_str()));
    response
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids, moments and encoded links are visible ASCII")
}
