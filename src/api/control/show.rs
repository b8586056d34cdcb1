//! A pool as a resource, for callers. Values of secrets are left out.

use serde_json::{Value, json};

use super::CONFIGURED_GROUP;
use crate::api::call::timestamp;
use crate::api::query::encode;
use crate::gateway::{PoolView, Rollout, TemplateStanding};
use crate::pool::container::{ContainerPoolSpecification, ContainerResources, Language, Lifecycle};
use crate::pool::{PoolSpecification, Template};
use crate::sandbox::container::ImageReference;

/// `base` is what links begin with.
pub(super) fn pool(view: &PoolView, subscription: &str, base: &str) -> Value {
    let name = view.template.name().as_str();
    let (subscription, group) = match &view.resource {
        Some(resource) => (resource.subscription.as_str(), resource.resource_group.as_str()),
        None => (subscription, CONFIGURED_GROUP),
    };
    let scope = format!("/subscriptions/{}/resourceGroups/{}", encode(subscription), encode(group));
    let mut properties = match &view.resource {
        Some(resource) => without_secrets(&resource.properties),
        None => match &view.template {
            Template::Interpreter(pool) => declared(pool),
            Template::Container(pool) => declared_containers(pool),
        },
    };
    if let Some(rollout) = &view.rollout {
        properties["templateUpdateStatus"] = template_update(rollout);
    }
    properties["provisioningState"] = json!(if view.is_open { "Succeeded" } else { "Failed" });
    properties["poolManagementEndpoint"] = json!(format!("{base}{scope}/sessionPools/{name}"));
    properties["nodeCount"] = json!(1);
    let mut shown = json!({
        "id": format!("{scope}/providers/Microsoft.App/sessionPools/{name}"),
        "name": name,
        "type": "Microsoft.App/sessionPools",
        "location": view.resource.as_ref().map_or("local", |resource| &resource.location),
        "tags": view.resource.as_ref().map(|resource| &resource.tags),
        "properties": properties,
    });
    if let Some(resource) = &view.resource {
        shown["systemData"] =
            json!({ "createdAt": timestamp(resource.created_at), "lastModifiedAt": timestamp(resource.updated_at) });
        if !resource.identity.is_null() {
            shown["identity"] = resource.identity.clone();
        }
    }
    shown
}

fn without_secrets(properties: &Value) -> Value {
    let mut shown = properties.clone();
    for secret in shown["secrets"].as_array_mut().into_iter().flatten() {
        *secret = json!({ "name": secret["name"] });
    }
    if let Some(registries) = shown.pointer_mut("/customContainerTemplate/registryCredentials")
        && let Some(fields) = registries.as_object_mut()
    {
        // It has no place in the schema; somebody may have sent one.
        fields.remove("password");
    }
    shown
}

/// A pool of the configuration file, as if it had been made here.
fn declared(pool: &PoolSpecification) -> Value {
    let container_type = match pool.interpreter.as_str() {
        "javascript" => "NodeLTS",
        _ => "PythonLTS",
    };
    let open = pool.egress.policy != crate::egress::Mode::Disabled;
    json!({
        "containerType": container_type,
        "poolManagementType": "Dynamic",
        "scaleConfiguration": {
            "maxConcurrentSessions": pool.max_concurrent_sessions,
            "readySessionInstances": pool.ready_session_instances,
        },
        "dynamicPoolConfiguration": {
            "lifecycleConfiguration": { "lifecycleType": "Timed", "cooldownPeriodInSeconds": pool.cooldown_seconds },
        },
        "sessionNetworkConfiguration": { "status": if open { "EgressEnabled" } else { "EgressDisabled" } },
        "secrets": [],
        "sandpool": {
            "interpreter": pool.interpreter,
            "edition": pool.edition,
            "queue_length": pool.queue_length,
            "snapshot": pool.snapshot,
            "limits": pool.limits,
        },
    })
}

/// The same of a pool of containers. Values of variables are left out: they stand in the file for whoever may read it.
fn declared_containers(pool: &ContainerPoolSpecification) -> Value {
    let lifecycle = match pool.lifecycle {
        Lifecycle::Timed { cooldown_seconds } => {
            json!({ "lifecycleType": "Timed", "cooldownPeriodInSeconds": cooldown_seconds })
        }
        Lifecycle::OnContainerExit { max_alive_seconds } => {
            json!({ "lifecycleType": "OnContainerExit", "maxAlivePeriodInSeconds": max_alive_seconds })
        }
    };
    let secrets: Vec<_> = pool.secrets.keys().map(|name| json!({ "name": name })).collect();
    json!({
        "containerType": if is_shell(pool) { "Shell" } else { "CustomContainer" },
        "poolManagementType": "Dynamic",
        "scaleConfiguration": {
            "maxConcurrentSessions": pool.max_concurrent_sessions,
            "readySessionInstances": pool.ready_session_instances,
        },
        "dynamicPoolConfiguration": { "lifecycleConfiguration": lifecycle },
        "sessionNetworkConfiguration": { "status": if pool.egress.is_open() { "EgressEnabled" } else { "EgressDisabled" } },
        "secrets": secrets,
        "customContainerTemplate": { "containers": containers(pool), "ingress": ingress(pool) },
        "sandpool": { "interpreter": pool.interpreter },
    })
}

/// What serves, and what was asked for last: the same once that has taken over.
fn template_update(rollout: &Rollout) -> Value {
    json!({
        "activeTemplate": template(&rollout.active),
        "desiredTemplate": template(rollout.desired.as_ref().unwrap_or(&rollout.active)),
    })
}

fn template(shown: &TemplateStanding) -> Value {
    let TemplateStanding { specification, opened_at, standing } = shown;
    json!({
        // Of failures that go on; one that was followed by a success is in the records.
        "details": standing.last_failure.as_deref().filter(|_| standing.failures > 0),
        "createdTime": timestamp(*opened_at),
        "status": {
            "expectedCount": specification.ready_session_instances,
            "readyCount": standing.ready,
            "pendingCount": standing.starting,
            "imagePullFailCount": standing.image_failures,
            "crashCount": standing.crashes,
            "allocatedCount": standing.in_use,
        },
        "containers": containers(specification),
        "ingress": ingress(specification),
    })
}

fn containers(pool: &ContainerPoolSpecification) -> Value {
    let shown = |image: &ImageReference, resources: &ContainerResources| {
        let resources = json!({ "cpu": resources.cpu, "memory": format!("{}Mi", resources.memory_mebibytes) });
        json!({ "image": image.to_string(), "resources": resources })
    };
    let mut all = vec![shown(&pool.image, &pool.resources)];
    for sidecar in &pool.sidecars {
        let mut one = shown(&sidecar.image, &sidecar.resources);
        one["name"] = json!(sidecar.name);
        all.push(one);
    }
    all.into()
}

fn is_shell(pool: &ContainerPoolSpecification) -> bool {
    pool.interpreter.as_ref().is_some_and(|interpreter| interpreter.language == Language::Shell)
}

/// Nothing where nothing is forwarded.
fn ingress(pool: &ContainerPoolSpecification) -> Value {
    if pool.interpreter.is_some() {
        return json!({});
    }
    json!({ "targetPort": pool.target_port })
}
