//! The command line: one file a command. All but `serve` and `interpreter` are HTTP clients of a gateway.

mod client;
mod exec;
mod images;
mod interpreter;
mod serve;
mod session;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs untrusted code in a sandbox per session identifier.
#[derive(Debug, Parser)]
#[command(name = "sandpool", version, about)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the session API.
    Serve(serve::Serve),
    /// Run code in a session of a gateway.
    Exec(exec::Exec),
    /// Sessions of a gateway.
    #[command(subcommand)]
    Session(session::Session),
    /// Build interpreters, or list them.
    #[command(subcommand)]
    Interpreter(interpreter::Interpreter),
}

impl Command {
    /// Carries the command out. What went wrong is on stderr.
    pub fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Serve(serve) => serve.run(),
            Verb::Exec(exec) => exec.run(),
            Verb::Session(session) => session.run(),
            Verb::Interpreter(interpreter) => interpreter.run(),
        };
        done.unwrap_or_else(|error| {
            eprintln!("sandpool: {}", chain(error.as_ref()));
            ExitCode::from(2)
        })
    }
}

/// An error with its causes, once each.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

type Done = Result<ExitCode, Box<dyn std::error::Error>>;
