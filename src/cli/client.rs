//! Calling a gateway: what the commands that are HTTP clients share.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::config;

/// A gateway.
#[derive(Debug, Args)]
pub(super) struct GatewayAddress {
    /// The gateway.
    #[arg(long, default_value_t = config::default_url())]
    url: String,
}

impl GatewayAddress {
    /// The URL of a route of the gateway.
    pub(super) fn url(&self, route: &str) -> String {
        format!("{}/{route}", self.url.trim_end_matches('/'))
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
    /// The URL of a route of the pool.
    pub(super) fn url(&self, route: &str) -> String {
        self.gateway.url(&format!("pools/{}/{route}", encode(&self.pool)))
    }
}

pub(super) fn encode(part: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(part, NON_ALPHANUMERIC)
}

type Failed = Box<dyn std::error::Error>;

/// Posts JSON, and reads the JSON of the answer.
pub(super) fn post<T: DeserializeOwned>(url: &str, body: serde_json::Value) -> Result<T, Failed> {
    Ok(successful(with_key(agent().post(url)).send_json(body)?)?.body_mut().read_json()?)
}

/// Posts no body, and reads nothing of the answer.
pub(super) fn post_nothing(url: &str) -> Result<(), Failed> {
    successful(with_key(agent().post(url)).send_empty()?).map(drop)
}

pub(super) fn put(url: &str, body: serde_json::Value) -> Result<serde_json::Value, Failed> {
    Ok(successful(with_key(agent().put(url)).send_json(body)?)?.body_mut().read_json()?)
}

pub(super) fn patch(url: &str, body: serde_json::Value) -> Result<serde_json::Value, Failed> {
    Ok(successful(with_key(agent().patch(url)).send_json(body)?)?.body_mut().read_json()?)
}

/// Posts bytes, and reads the JSON of the answer.
pub(super) fn post_bytes<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T, Box<dyn std::error::Error>> {
    let request = agent().post(url).header("Content-Type", "application/octet-stream");
    let request = match config::default_key() {
        Some(key) => request.header("Authorization", format!("Bearer {key}")),
        None => request,
    };
    Ok(successful(request.send(body)?)?.body_mut().read_json()?)
}

/// Reads bytes, as many as there are.
pub(super) fn get_bytes(url: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let request = agent().get(url);
    let request = match config::default_key() {
        Some(key) => request.header("Authorization", format!("Bearer {key}")),
        None => request,
    };
    Ok(successful(request.call()?)?.body_mut().with_config().limit(u64::MAX).read_to_vec()?)
}

/// Reads the JSON of a route.
pub(super) fn get<T: DeserializeOwned>(url: &str) -> Result<T, Failed> {
    Ok(successful(with_key(agent().get(url)).call()?)?.body_mut().with_config().limit(256 << 20).read_json()?)
}

pub(super) fn delete(url: &str) -> Result<(), Failed> {
    successful(with_key(agent().delete(url)).call()?).map(drop)
}

fn with_key<B>(request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
    match config::default_key() {
        Some(key) => request.header("Authorization", format!("Bearer {key}")),
        None => request,
    }
}

fn agent() -> ureq::Agent {
    // No timeout of the client's own: the gateway's is the one that keeps the session.
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

type Answer = ureq::http::Response<ureq::Body>;

fn successful(mut answer: Answer) -> Result<Answer, Box<dyn std::error::Error>> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(refusal(&answer.body_mut().read_to_string()?).into())
}

/// The gateway's own words from its error envelope.
fn refusal(body: &str) -> String {
    let envelope: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = envelope.as_ref().and_then(|envelope| envelope["error"]["message"].as_str());
    message.unwrap_or(body).to_owned()
}
