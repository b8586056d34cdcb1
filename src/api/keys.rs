//! API keys over HTTP: list, create, read, rotate, revoke.
//!
//! A caller sees and changes the keys that it could have made itself; others are not there for it.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::call::{Answer, json, no_content, timestamp};
use super::contract;
use super::error::Failure;
use super::payload::Payload;
use super::route::KeyOperation;
use crate::access::caller::Role;
use crate::access::key::{Key, KeyId};
use crate::access::keys::{KeyError, KeyRecord, Keys, NewKey};
use crate::access::{Caller, Grant, Permission, Pools};
use crate::gateway::Gateway;

/// A thousand names of pools, and room.
const MOST_BYTES: u64 = 128 * 1024;

pub(super) async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    operation: KeyOperation,
    payload: &mut Payload,
) -> Answer {
    if !caller.may(Permission::Manage, None) {
        return Err(Failure::Forbidden { pool: false });
    }
    let access = gateway.access().clone();
    match operation {
        KeyOperation::List => Ok(json(StatusCode::OK, &list(keys(&access)?, caller))),
        KeyOperation::Read(id) => Ok(json(StatusCode::OK, &Shown::of(&visible(keys(&access)?, caller, &id)?, None))),
        KeyOperation::Create => {
            let new = requested(&body(payload, "NewKey").await?)?;
            if !caller.may_grant(&new.grant) {
                return Err(Failure::Grant("a key can be given no more than your own key or token allows"));
            }
            created(blocking(move || keys(&access)?.create(new).map_err(Failure::from)).await?)
        }
        KeyOperation::Rotate(id) => {
            let overlap = body(payload, "Rotation").await?["overlapSeconds"].as_i64().unwrap_or(3600);
            let id = visible(keys(&access)?, caller, &id)?.id;
            let overlap = Duration::seconds(overlap);
            created(blocking(move || keys(&access)?.rotate(&id, overlap).map_err(Failure::from)).await?)
        }
        KeyOperation::Revoke(id) => {
            let id = visible(keys(&access)?, caller, &id)?.id;
            blocking(move || keys(&access)?.revoke(&id).map_err(Failure::from)).await?;
            Ok(no_content())
        }
    }
}

fn keys(access: &crate::access::Access) -> Result<&Keys, Failure> {
    access.keys().ok_or(Failure::NoRoute)
}

/// A key that this caller could have made.
fn visible(keys: &Keys, caller: &Caller, id: &str) -> Result<KeyRecord, Failure> {
    let found = KeyId::new(id).ok().and_then(|id| keys.find(&id)).filter(|key| caller.may_grant(key.grant()));
    found.ok_or(Failure::Key(KeyError::NotFound))
}

async fn body(payload: &mut Payload, schema: &'static str) -> Result<Value, Failure> {
    let bytes = payload.bytes(MOST_BYTES).await?;
    let body = if bytes.is_empty() { Value::Object(Default::default()) } else { parse(&bytes)? };
    contract::check_management(schema, &body)?;
    Ok(body)
}

fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(Failure::NotJson)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Requested {
    name: String,
    roles: std::collections::BTreeSet<Role>,
    pools: Vec<String>,
    tenant: Option<String>,
    /// To JSON schema, 27.0 is an integer, too. The document has bounds for it.
    expires_in_seconds: Option<f64>,
}

fn requested(body: &Value) -> Result<NewKey, Failure> {
    let asked: Requested = serde::Deserialize::deserialize(body).map_err(Failure::NotJson)?;
    if asked.name.chars().chain(asked.tenant.iter().flat_map(|tenant| tenant.chars())).any(char::is_control) {
        return Err(Failure::Contract { pointer: "/name".into(), problem: "holds a control character".into() });
    }
    let grant = Grant { roles: asked.roles, pools: Pools::try_from(asked.pools)? };
    let expires_at =
        asked.expires_in_seconds.map(|seconds| OffsetDateTime::now_utc() + Duration::seconds(seconds as i64));
    Ok(NewKey { name: asked.name, grant, tenant: asked.tenant, expires_at })
}

/// Runs what waits for the disk away from the API's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Failure::Lost))
}

fn created((key, record): (Key, KeyRecord)) -> Answer {
    Ok(json(StatusCode::CREATED, &Shown::of(&record, Some(key.reveal()))))
}

fn list(keys: &Keys, caller: &Caller) -> Value {
    let listed = keys.list();
    let shown: Vec<_> =
        listed.iter().filter(|key| caller.may_grant(key.grant())).map(|key| Shown::of(key, None)).collect();
    serde_json::json!({ "value": shown })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: KeyId,
    name: String,
    #[serde(flatten)]
    grant: Grant,
    tenant: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Shown {
    fn of(record: &KeyRecord, key: Option<String>) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            grant: record.grant().clone(),
            tenant: record.tenant.clone(),
            created_at: timestamp(record.created_at),
            expires_at: record.expires_at.map(timestamp),
            revoked_at: record.revoked_at.map(timestamp),
            active: record.is_active(OffsetDateTime::now_utc()),
            key,
        }
    }
}
