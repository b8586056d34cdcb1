//! One message to the collector: OTLP over HTTP, as protobuf.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::settings::OtlpSettings;

/// A message may take so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    /// The same may arrive later.
    #[error("the OTLP collector cannot be reached: {0}")]
    Away(String),
    /// The same would be refused again.
    #[error("the OTLP collector refuses what it is sent: {0}")]
    Refused(StatusCode),
}

pub(super) struct Sender {
    client: Client,
    endpoint: String,
    /// Whether the last message arrived: a change is told, and only that.
    well: AtomicBool,
}

impl Sender {
    pub(super) fn new(settings: &OtlpSettings) -> Result<Self, reqwest::Error> {
        // Checked with the settings.
        let header = |(name, value): (&String, &String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let headers: HeaderMap = settings.headers.iter().filter_map(header).collect();
        // A redirect would carry the headers elsewhere.
        let client = Client::builder().timeout(PATIENCE).redirect(Policy::none()).default_headers(headers).build()?;
        let endpoint = settings.endpoint.as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
        Ok(Self { client, endpoint, well: AtomicBool::new(true) })
    }

    /// Posts a message of `signal`: `traces`, `metrics` or `logs`.
    pub(super) async fn send(&self, signal: &str, message: &impl Message) -> Result<(), NotSent> {
        let sent = self.post(signal, message).await;
        let was_well = self.well.swap(sent.is_ok(), Ordering::Relaxed);
        match &sent {
            Err(error) if was_well => tracing::warn!(signal, %error, "telemetry is not exported"),
            Ok(()) if !was_well => tracing::info!(signal, "telemetry is exported again"),
            _ => {}
        }
        sent
    }

    async fn post(&self, signal: &str, message: &impl Message) -> Result<(), NotSent> {
        let request = self.client.post(format!("{}/v1/{signal}", self.endpoint));
        let request = request.header(CONTENT_TYPE, "application/x-protobuf").body(message.encode_to_vec());
        let answer = request.send().await.map_err(|error| NotSent::Away(reason(error)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // Those that OTLP says to come back after.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => Err(NotSent::Away(status.to_string())),
            status => Err(NotSent::Refused(status)),
        }
    }
}

/// Without the URL, which may hold a password; with what is beneath, which tells why.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(beneath) = cause.source() {
        cause = beneath;
    }
    cause.to_string()
}
