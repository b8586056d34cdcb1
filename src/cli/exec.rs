//! `sandpool exec`: run code in a session of a gateway, and print what a terminal user expects.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::Done;
use crate::config;

/// Which API version the command speaks.
const API_VERSION: &str = "2025-10-02-preview";

#[derive(Debug, Args)]
pub struct Exec {
    /// The code to run.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    code: Option<String>,
    /// Read the code from a file; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The pool to run it in.
    #[arg(long, default_value = "python")]
    pool: String,
    /// The session; without one, a fresh session that ends with the command.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Wall-clock timeout in seconds; the pool's default without one.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// The gateway.
    #[arg(long, default_value_t = config::default_url())]
    url: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    result: Streams,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Streams {
    stdout: String,
    stderr: String,
    #[serde(default)]
    execution_result: serde_json::Value,
}

impl Exec {
    pub fn run(self) -> Done {
        let code = self.code()?;
        let own = self.session.is_none();
        let session = self.session.clone().unwrap_or_else(|| format!("exec-{}", uuid::Uuid::new_v4()));
        let answer = self.call(&session, &code);
        if own {
            // It ends by its cooldown anyway.
            let _ = self.delete(&session);
        }
        show(&answer?)
    }

    fn code(&self) -> io::Result<String> {
        match (&self.code, &self.file) {
            (Some(code), _) => Ok(code.clone()),
            (None, Some(path)) if path.as_os_str() == "-" => {
                let mut code = String::new();
                io::stdin().read_to_string(&mut code).map(|_| code)
            }
            (None, Some(path)) => std::fs::read_to_string(path),
            (None, None) => unreachable!("the command line requires one of them"),
        }
    }

    fn call(&self, session: &str, code: &str) -> Result<Answer, Box<dyn std::error::Error>> {
        let mut body = serde_json::json!({ "code": code });
        if let Some(timeout) = self.timeout {
            body["timeoutInSeconds"] = timeout.into();
        }
        let request = agent().post(self.endpoint("executions", session));
        let mut response = authorized(request).send_json(body)?;
        if !response.status().is_success() {
            return Err(refusal(&response.body_mut().read_to_string()?).into());
        }
        Ok(response.body_mut().read_json()?)
    }

    fn delete(&self, session: &str) -> Result<(), ureq::Error> {
        let request = agent().delete(self.endpoint("session", session));
        match config::default_key() {
            Some(key) => request.header("Authorization", format!("Bearer {key}")).call(),
            None => request.call(),
        }
        .map(drop)
    }

    fn endpoint(&self, route: &str, session: &str) -> String {
        let session = percent_encoding::utf8_percent_encode(session, percent_encoding::NON_ALPHANUMERIC);
        let base = self.url.trim_end_matches('/');
        format!("{base}/pools/{}/{route}?identifier={session}&api-version={API_VERSION}", self.pool)
    }
}

fn agent() -> ureq::Agent {
    // No timeout of the client's own: the gateway's is the one that keeps the session.
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn authorized(
    request: ureq::RequestBuilder<ureq::typestate::WithBody>,
) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
    match config::default_key() {
        Some(key) => request.header("Authorization", format!("Bearer {key}")),
        None => request,
    }
}

/// The gateway's own words from its error envelope.
fn refusal(body: &str) -> String {
    let envelope: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = envelope.as_ref().and_then(|envelope| envelope["error"]["message"].as_str());
    message.unwrap_or(body).to_owned()
}

/// Output to stdout and stderr, the value of the last expression as an interactive interpreter shows it, and 1 for code that failed.
fn show(answer: &Answer) -> Done {
    let mut stdout = io::stdout().lock();
    stdout.write_all(answer.result.stdout.as_bytes())?;
    match &answer.result.execution_result {
        serde_json::Value::Null => {}
        serde_json::Value::String(text) if text.is_empty() => {}
        serde_json::Value::String(text) => writeln!(stdout, "{text}")?,
        value => writeln!(stdout, "{value}")?,
    }
    stdout.flush()?;
    io::stderr().write_all(answer.result.stderr.as_bytes())?;
    Ok(if answer.status == "Succeeded" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
