//! Calling a gateway: what the commands that are HTTP clients share.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::config;

/// A pool of a gateway.
#[derive(Debug, Args)]
pub(super) struct PoolAddress {
    /// The pool.
    #[arg(long, default_value = "python")]
    pool: String,
    /// The gateway.
    #[arg(long, default_value_t = config::default_url())]
    url: String,
}

impl PoolAddress {
    /// The URL of a route of the pool.
    pub(super) fn url(&self, route: &str) -> String {
        format!("{}/pools/{}/{route}", self.url.trim_end_matches('/'), encode(&self.pool))
    }
}

pub(super) fn encode(part: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(part, NON_ALPHANUMERIC)
}

/// Posts JSON, and reads the JSON of the answer.
pub(super) fn post<T: DeserializeOwned>(url: &str, body: serde_json::Value) -> Result<T, Box<dyn std::error::Error>> {
    let request = agent().post(url);
    let request = match config::default_key() {
        Some(key) => request.header("Authorization", format!("Bearer {key}")),
        None => request,
    };
    Ok(successful(request.send_json(body)?)?.body_mut().read_json()?)
}

pub(super) fn delete(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let request = agent().delete(url);
    let request = match config::default_key() {
        Some(key) => request.header("Authorization", format!("Bearer {key}")),
        None => request,
    };
    successful(request.call()?).map(drop)
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
