//! Session pools as resources, in the shape of Azure Resource Manager (`Microsoft.App/sessionPools`).
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the operations |
//! | `template.rs` | a resource's properties: checked, completed, and what they mean as a specification |
//! | `container.rs` | the part of them that pools of containers have |
//! | `patch.rs` | merging a change into a resource |
//! | `show.rs` | a resource as callers see it |
//!
//! A change is done when it is answered, so no operation is followed by polling. Pools of the configuration file are
//! shown in the resource group [`CONFIGURED_GROUP`] of any subscription, and changed in the file.

mod container;
mod patch;
mod show;
mod template;

pub(super) use template::Problem;

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::call::{self, Answer, no_content};
use super::contract;
use super::error::Failure;
use super::payload::Payload;
use crate::access::{Caller, Permission};
use crate::gateway::{Containers, Gateway, PoolChangeError, PoolView};
use crate::pool::{PoolName, PoolResource};

/// Where the pools of the configuration file are shown.
pub(super) const CONFIGURED_GROUP: &str = "configuration";
/// Environment variables, commands and probes of a container, and room.
const MOST_BYTES: u64 = 1 << 20;

/// What a control path names, as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub subscription: String,
    pub resource_group: Option<String>,
    pub operation: PoolOperation,
}

/// What is asked about pools as resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PoolOperation {
    List,
    Read(String),
    Put(String),
    Patch(String),
    Delete(String),
    /// Keys of the pool's MCP server.
    Credentials(String),
}

impl PoolOperation {
    /// Its name in the audit log, and the pool that it names.
    pub(super) fn audited(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::List => ("ListPools", None),
            Self::Read(name) => ("ReadPool", Some(name)),
            Self::Put(name) => ("PutPool", Some(name)),
            Self::Patch(name) => ("PatchPool", Some(name)),
            Self::Delete(name) => ("DeletePool", Some(name)),
            Self::Credentials(name) => ("ReadCredentials", Some(name)),
        }
    }
}

/// One call: who, where, and what links begin with.
struct Control<'a> {
    gateway: &'a Gateway,
    caller: &'a Caller,
    subscription: &'a str,
    group: Option<&'a str>,
    /// `http://host`, or nothing when the request named none.
    base: String,
}

pub(super) async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    target: &Target,
    parts: &Parts,
    payload: &mut Payload,
) -> Answer {
    let base = call::base(&parts.headers, call::is_secure(parts));
    let (subscription, group) = (target.subscription.as_str(), target.resource_group.as_deref());
    let control = Control { gateway, caller, subscription, group, base };
    match &target.operation {
        PoolOperation::List => control.list(),
        PoolOperation::Read(name) => control.read(name),
        PoolOperation::Put(name) => control.put(name, payload).await,
        PoolOperation::Patch(name) => control.patch(name, payload).await,
        PoolOperation::Delete(name) => control.delete(name).await,
        PoolOperation::Credentials(name) => control.credentials(name),
    }
}

impl Control<'_> {
    fn list(&self) -> Answer {
        let may = |view: &PoolView| self.caller.may(Permission::Observe, Some(view.template.name()));
        let views = self.gateway.pool_views();
        let shown: Vec<_> = views.iter().filter(|view| may(view) && self.holds(view)).map(|v| self.show(v)).collect();
        Ok(call::json(StatusCode::OK, &json!({ "value": shown, "nextLink": null })))
    }

    fn read(&self, name: &str) -> Answer {
        let name = self.allowed(Permission::Observe, name)?;
        let view = self.gateway.pool_view(&name).filter(|view| self.holds(view)).ok_or(Failure::NoResource)?;
        Ok(call::json(StatusCode::OK, &self.show(&view)))
    }

    async fn put(&self, name: &str, payload: &mut Payload) -> Answer {
        let name = self.allowed(Permission::Manage, name)?;
        let body = body(payload, "SessionPoolRequest").await?;
        let (subscription, group) = (self.subscription.to_owned(), self.group().to_owned());
        let (wanted, here) = (name.clone(), self.gateway.containers().cloned());
        let change = move |before: Option<PoolView>| {
            let before = before.map(changeable).transpose()?;
            if let Some(before) = &before
                && !before.is_in(&subscription, Some(&group))
            {
                return Err(PoolChangeError::Elsewhere.into());
            }
            let place = Place { subscription: &subscription, group: &group };
            build(&wanted, place, before.as_ref(), &body, here.as_ref())
        };
        let made = self.gateway.put_pool::<Failure>(name.clone(), change).await?;
        let view = self.gateway.pool_view(&name).ok_or(Failure::NoResource)?;
        Ok(call::json(if made { StatusCode::CREATED } else { StatusCode::OK }, &self.show(&view)))
    }

    async fn patch(&self, name: &str, payload: &mut Payload) -> Answer {
        let name = self.allowed(Permission::Manage, name)?;
        let change = body(payload, "SessionPoolUpdate").await?;
        let (subscription, group) = (self.subscription.to_owned(), self.group().to_owned());
        let (wanted, here) = (name.clone(), self.gateway.containers().cloned());
        let change = move |before: Option<PoolView>| {
            let before = changeable(before.ok_or(Failure::NoResource)?)?;
            if !before.is_in(&subscription, Some(&group)) {
                return Err(Failure::NoResource);
            }
            let merged = patch::merged(&before, &change)?;
            let place = Place { subscription: &subscription, group: &group };
            build(&wanted, place, Some(&before), &merged, here.as_ref())
        };
        self.gateway.put_pool::<Failure>(name.clone(), change).await?;
        let view = self.gateway.pool_view(&name).ok_or(Failure::NoResource)?;
        Ok(call::json(StatusCode::OK, &self.show(&view)))
    }

    /// Done is done, also when there was none.
    async fn delete(&self, name: &str) -> Answer {
        let name = self.allowed(Permission::Manage, name)?;
        let (subscription, group) = (self.subscription.to_owned(), self.group().to_owned());
        let may = move |view: Option<PoolView>| {
            let resource = changeable(view.ok_or(Failure::NoResource)?)?;
            if resource.is_in(&subscription, Some(&group)) { Ok(()) } else { Err(Failure::NoResource) }
        };
        match self.gateway.delete_pool::<Failure>(name, may).await {
            Ok(()) | Err(Failure::NoResource) => Ok(no_content()),
            Err(failure) => Err(failure),
        }
    }

    fn credentials(&self, name: &str) -> Answer {
        let name = self.allowed(Permission::Manage, name)?;
        self.gateway.pool_view(&name).filter(|view| self.holds(view)).ok_or(Failure::NoResource)?;
        Err(Failure::NoMcpServer { pool: name.to_string() })
    }

    /// The pool's name, if the caller may. Decided before anything is looked up.
    fn allowed(&self, permission: Permission, name: &str) -> Result<PoolName, Failure> {
        if !self.caller.may(permission, None) {
            return Err(Failure::Forbidden { pool: true });
        }
        let name = PoolName::new(name).map_err(Failure::PoolName)?;
        if self.caller.may(permission, Some(&name)) { Ok(name) } else { Err(Failure::Forbidden { pool: true }) }
    }

    fn group(&self) -> &str {
        self.group.unwrap_or_default()
    }

    /// Whether a pool lies where this call looks.
    fn holds(&self, view: &PoolView) -> bool {
        match &view.resource {
            Some(resource) => resource.is_in(self.subscription, self.group),
            None => self.group.is_none_or(|group| group.eq_ignore_ascii_case(CONFIGURED_GROUP)),
        }
    }

    fn show(&self, view: &PoolView) -> Value {
        show::pool(view, self.subscription, &self.base)
    }
}

async fn body(payload: &mut Payload, schema: &'static str) -> Result<Value, Failure> {
    let body = serde_json::from_slice(&payload.bytes(MOST_BYTES).await?).map_err(Failure::NotJson)?;
    contract::check_management(schema, &body)?;
    Ok(body)
}

/// The resource of a pool that the API may change.
fn changeable(view: PoolView) -> Result<PoolResource, Failure> {
    view.resource.ok_or(Failure::PoolChange(PoolChangeError::Configured))
}

/// Where a new pool is to lie.
struct Place<'a> {
    subscription: &'a str,
    group: &'a str,
}

fn build(
    name: &PoolName,
    place: Place<'_>,
    before: Option<&PoolResource>,
    body: &Value,
    here: Option<&Containers>,
) -> Result<PoolResource, Failure> {
    let made = template::read(name, before.map(|before| &before.properties), &body["properties"], here);
    let (properties, mut template) = made.map_err(Failure::Template)?;
    let given = body["tags"].as_object().into_iter().flatten();
    let tags: BTreeMap<_, _> =
        given.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    // What use is summed up by.
    template.set_tags(tags.clone());
    if let Some(wrong) = template.problems().first() {
        return Err(Failure::Template(vec![Problem { pointer: "/tags".into(), problem: wrong.problem.clone() }]));
    }
    // What the store keeps.
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("zero is a nanosecond");
    Ok(PoolResource {
        // As they were first written.
        subscription: before.map_or(place.subscription, |before| &before.subscription).to_owned(),
        resource_group: before.map_or(place.group, |before| &before.resource_group).to_owned(),
        location: body["location"].as_str().unwrap_or("local").to_owned(),
        tags,
        identity: body["identity"].clone(),
        properties,
        template,
        created_at: before.map_or(now, |before| before.created_at),
        updated_at: now,
    })
}
