//! `sandpool exec`: run code in a session of a gateway, and print what a terminal user expects.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::Done;
use super::client::{self, PoolAddress};

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
    /// The code is a command, for a pool of shells; its exit code is this program's.
    #[arg(long)]
    shell: bool,
    #[command(flatten)]
    gateway: PoolAddress,
    /// The session; without one, a fresh session that ends with the command.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Wall-clock timeout in seconds; the pool's default without one.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
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
        let field = if self.shell { "shellCommand" } else { "code" };
        let mut body = serde_json::json!({ field: code });
        if let Some(timeout) = self.timeout {
            body["timeoutInSeconds"] = timeout.into();
        }
        client::post(&self.gateway.url(&route("executions", session)), body)
    }

    fn delete(&self, session: &str) -> Result<(), Box<dyn std::error::Error>> {
        client::delete(&self.gateway.url(&route("session", session)))
    }
}

fn route(name: &str, session: &str) -> String {
    format!("{name}?identifier={}&api-version={API_VERSION}", client::encode(session))
}

/// Output to stdout and stderr, the value of the last expression as an interactive interpreter shows it, and 1 for code that failed; of a command its
/// exit code.
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
    if let Ok(code) = answer.status.parse::<u8>() {
        return Ok(code.into());
    }
    Ok(if answer.status == "Succeeded" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
