//! The connection to the engine, and what its errors say.

use std::path::Path;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sandbox::container::ContainerError;

/// For the head of an answer. Pulling an image says something as soon as it begins.
const TIMEOUT_SECONDS: u64 = 120;
/// The least that is spoken to: Docker 20.10, Podman 4.
const API_VERSION: (usize, usize) = (1, 41);
/// An engine may quote what a registry says, at length.
const MESSAGE_CHARS: usize = 500;

/// Connects, and agrees on a version.
pub(super) async fn connect(socket: &Path) -> Result<Docker, ContainerError> {
    let path = socket.to_str().ok_or_else(|| unsupported("the path of the engine's socket is not UTF-8".into()))?;
    let nobody = |error: Error| unsupported(format!("no container engine answers on {path}: {}", told(error)));
    let client = Docker::connect_with_socket(path, TIMEOUT_SECONDS, API_DEFAULT_VERSION).map_err(nobody)?;
    let client = client.negotiate_version().await.map_err(nobody)?;
    let version = client.client_version();
    if (version.major_version, version.minor_version) < API_VERSION {
        return Err(unsupported(format!(
            "the engine on {path} speaks version {}.{} of the Docker Engine API; {}.{} (Docker 20.10, Podman 4) or later is \
             needed",
            version.major_version, version.minor_version, API_VERSION.0, API_VERSION.1
        )));
    }
    Ok(client.with_request_modifier(|mut request| {
        // bollard writes credentials in the common base64, and the engines read the one for addresses. What differs they take
        // for no credentials at all.
        if let Some(value) = request.headers_mut().get_mut("x-registry-auth")
            && let Ok(text) = value.to_str()
            && let Ok(address_safe) = text.replace('+', "-").replace('/', "_").parse()
        {
            *value = address_safe;
            value.set_sensitive(true);
        }
        request
    }))
}

fn unsupported(problem: String) -> ContainerError {
    ContainerError::Unsupported(problem)
}

/// What the engine answered, without the client's words around it.
pub(super) fn told(error: Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message,
        Error::DockerStreamError { error } => error,
        other => other.to_string(),
    };
    text.trim().chars().take(MESSAGE_CHARS).collect()
}

/// Reads an answer about containers. Podman calls one `stopped` until it has cleaned up after it, for minutes, a word that
/// Docker, and so bollard, does not have; the answer is good all the same.
pub(super) fn read<T: Serialize, R: DeserializeOwned>(answer: Result<T, Error>) -> Result<R, Error> {
    let document = match answer {
        Ok(answer) => serde_json::to_value(answer)?,
        Err(Error::JsonDataError { contents, .. }) => serde_json::from_str(&contents)?,
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_value(document)?)
}

/// The status of an answer that is an error.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// For `map_err`: the engine did not do what it was asked.
pub(super) fn during(doing: &'static str) -> impl FnOnce(Error) -> ContainerError {
    move |error| match error {
        Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
            ContainerError::new(doing, told(error))
        }
        other => ContainerError::new(doing, other),
    }
}
