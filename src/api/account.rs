//! Whom a request counts for, from the moment its caller is known: limits before any work, bytes after it.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderName, HeaderValue, Response};

use super::error::{Failure, whole_seconds};
use super::meter::Meter;
use super::payload::Payload;
use super::route::{NoRoute, Route};
use crate::access::limits::Standing;
use crate::access::{Caller, Permission};
use crate::gateway::Gateway;
use crate::pool::PoolName;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// One request's account. Empty until its caller is known.
#[derive(Default)]
pub(super) struct Account {
    caller: Option<Caller>,
    pool: Option<PoolName>,
    standing: Option<Standing>,
    /// What passes through is counted elsewhere.
    metered: bool,
}

impl Account {
    /// Counts the request. It counts for a pool only where its caller may enter. `containers` is the pool of containers that it
    /// is for.
    pub(super) fn open(
        &mut self,
        gateway: &Gateway,
        caller: &Caller,
        route: &Result<Route, NoRoute>,
        containers: Option<&PoolName>,
    ) -> Result<(), Failure> {
        let named = match (containers, route) {
            (Some(pool), _) => Some(pool.clone()),
            (None, Ok(Route::Pool { pool, .. })) => {
                PoolName::new(pool).ok().filter(|pool| gateway.pool(pool).is_some())
            }
            (None, _) => None,
        };
        self.pool = named.filter(|pool| caller.may(Permission::Observe, Some(pool)));
        self.caller = Some(caller.clone());
        match gateway.access().limits().request(caller, self.pool.as_ref()) {
            Ok(standing) => self.standing = standing,
            Err(refused) => {
                tracing::debug!(scope = refused.scope, limit = refused.what, "a caller is at a limit");
                if refused.what == "requests_per_second" {
                    let limit = u32::try_from(refused.limit).unwrap_or(u32::MAX);
                    self.standing = Some(Standing { limit, remaining: 0, reset: refused.retry_after });
                }
                return Err(refused.into());
            }
        }
        Ok(())
    }

    /// Who called, for the records.
    pub(super) fn caller(&self) -> Arc<str> {
        self.caller.as_ref().map_or_else(|| "anybody".into(), |caller| caller.id.clone())
    }

    /// What counts the bytes that pass through, in place of [`Account::settle`].
    pub(super) fn meter(&mut self, gateway: &Gateway, caller: &Caller) -> Arc<Meter> {
        self.metered = true;
        Meter::new(gateway.access().limits().clone(), caller.clone(), self.pool.clone())
    }

    /// Counts the bytes of both bodies, and tells the caller how it stands.
    pub(super) fn settle(&self, gateway: &Gateway, payload: &Payload, mut response: Response<Body>) -> Response<Body> {
        let Some(caller) = &self.caller else { return response };
        // A stream's length is not known before its end; executions have an output limit of their own.
        if !self.metered {
            let answered = response.body().size_hint().exact().unwrap_or(0);
            gateway.access().limits().charge_bytes(caller, self.pool.as_ref(), payload.taken() + answered);
        }
        if let Some(standing) = self.standing {
            let headers = response.headers_mut();
            headers.insert(LIMIT, HeaderValue::from(standing.limit));
            headers.insert(REMAINING, HeaderValue::from(standing.remaining));
            headers.insert(RESET, HeaderValue::from(whole_seconds(standing.reset)));
        }
        response
    }
}
