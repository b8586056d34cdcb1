//! Calling a gateway: what the commands that are HTTP clients share.

use std::path::PathBuf;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Request;
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::trust;
use crate::config;

/// A gateway.
#[derive(Debug, Args)]
pub(super) struct GatewayAddress {
    /// The gateway.
    #[arg(long, default_value_t = config::default_url())]
    url: String,
    /// The authority of the gateway's certificate (PEM), in place of those that the machine trusts.
    #[arg(long, value_name = "FILE", env = "SANDPOOL_CA")]
    ca: Option<PathBuf>,
}

impl GatewayAddress {
    /// A route of the gateway.
    pub(super) fn url(&self, route: &str) -> Target {
        Target { url: format!("{}/{route}", self.url.trim_end_matches('/')), ca: self.ca.clone() }
    }
}

/// A pool of a gateway.
#[derive(Debug, Args)]
pub(super) struct PoolAddress {
    /// The pool.
    #[arg(long, default_value = "python")]
    pool: String,
    #[command(flatten)]
    gateway: GatewayAddress,
}

impl PoolAddress {
    /// A route of the pool.
    pub(super) fn url(&self, route: &str) -> Target {
        self.gateway.url(&format!("pools/{}/{route}", encode(&self.pool)))
    }
}

pub(super) fn encode(part: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(part, NON_ALPHANUMERIC)
}

/// What a call asks for, and whom it trusts to answer.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    ca: Option<PathBuf>,
}

type Failed = Box<dyn std::error::Error>;
type Answer = ureq::http::Response<Body>;

/// Posts JSON, and reads the JSON of the answer.
pub(super) fn post<T: DeserializeOwned>(to: &Target, body: Value) -> Result<T, Failed> {
    Ok(to.send_json("POST", &body)?.body_mut().read_json()?)
}

/// Posts no body, and reads nothing of the answer.
pub(super) fn post_nothing(to: &Target) -> Result<(), Failed> {
    to.send("POST", None, SendBody::none()).map(drop)
}

pub(super) fn put(to: &Target, body: Value) -> Result<Value, Failed> {
    Ok(to.send_json("PUT", &body)?.body_mut().read_json()?)
}

pub(super) fn patch(to: &Target, body: Value) -> Result<Value, Failed> {
    Ok(to.send_json("PATCH", &body)?.body_mut().read_json()?)
}

/// Posts bytes, and reads the JSON of the answer.
pub(super) fn post_bytes<T: DeserializeOwned>(to: &Target, body: &[u8]) -> Result<T, Failed> {
    let mut body = body;
    Ok(to.send("POST", Some("application/octet-stream"), body.as_body())?.body_mut().read_json()?)
}

/// Reads bytes, as many as there are.
pub(super) fn get_bytes(from: &Target) -> Result<Vec<u8>, Failed> {
    let mut answer = from.send("GET", None, SendBody::none())?;
    Ok(answer.body_mut().with_config().limit(u64::MAX).read_to_vec()?)
}

/// Reads the JSON of a route.
pub(super) fn get<T: DeserializeOwned>(from: &Target) -> Result<T, Failed> {
    let mut answer = from.send("GET", None, SendBody::none())?;
    Ok(answer.body_mut().with_config().limit(256 << 20).read_json()?)
}

pub(super) fn delete(at: &Target) -> Result<(), Failed> {
    at.send("DELETE", None, SendBody::none()).map(drop)
}

impl Target {
    fn send_json(&self, method: &str, body: &Value) -> Result<Answer, Failed> {
        let mut body = SendBody::from_json(body)?;
        self.send(method, Some("application/json"), body.as_body())
    }

    /// One call, and its answer if it is a success.
    fn send(&self, method: &str, content_type: Option<&str>, body: SendBody<'_>) -> Result<Answer, Failed> {
        let mut request = Request::builder().method(method).uri(&self.url);
        if let Some(key) = config::default_key() {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        let answer = self.agent()?.run(request.body(body)?).map_err(|error| trust::explained(error, &self.url))?;
        successful(answer)
    }

    fn agent(&self) -> Result<Agent, Failed> {
        // No timeout of the client's own: the gateway's is the one that keeps the session.
        let config = Agent::config_builder().http_status_as_error(false);
        let secure = self.url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let config = if secure { config.tls_config(trust::settings(self.ca.as_deref())?) } else { config };
        Ok(config.build().into())
    }
}

fn successful(mut answer: Answer) -> Result<Answer, Failed> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(refusal(&answer.body_mut().read_to_string()?).into())
}

/// The gateway's own words from its error envelope.
fn refusal(body: &str) -> String {
    let envelope: Option<Value> = serde_json::from_str(body).ok();
    let message = envelope.as_ref().and_then(|envelope| envelope["error"]["message"].as_str());
    message.unwrap_or(body).to_owned()
}
