//! `GET /msi/token`: what `azure-identity` asks at `IDENTITY_ENDPOINT`, as an App Service answers it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::http::request::Parts;

use super::call::{Answer, json};
use super::error::Failure;
use super::query::Query;
use super::serve::Peer;
use crate::gateway::Gateway;

/// More than any audience has: a token must not become longer than is taken.
const MOST_RESOURCE_BYTES: usize = 1024;

pub(super) fn token(gateway: &Gateway, parts: &Parts) -> Answer {
    let tokens = gateway.access().tokens();
    let settings = tokens.identity().ok_or(Failure::NoIdentity)?;
    let near = parts.extensions.get::<Peer>().is_some_and(|peer| peer.address.ip().to_canonical().is_loopback());
    if !near && !settings.beyond_loopback {
        // As where there is none: nobody elsewhere needs to know.
        return Err(Failure::NoIdentity);
    }
    let resource = Query::new(parts.uri.query()).resource()?.unwrap_or_default();
    if resource.len() > MOST_RESOURCE_BYTES {
        return Err(Failure::query("resource", "is too long"));
    }
    let header = parts.headers.get("x-identity-header").map(|value| value.as_bytes()).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let issued = tokens.issue(header, &resource, now).ok_or(Failure::IdentityHeader)?;
    let answer = serde_json::json!({
        "access_token": issued.token,
        "expires_on": issued.expires_at.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    Ok(json(StatusCode::OK, &answer))
}
