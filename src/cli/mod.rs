//! The command line: one file a command. All but `serve` and `interpreter` are HTTP clients of a gateway.

mod client;
mod configuration;
mod containers;
mod exec;
mod health;
mod history;
mod image;
mod images;
mod interpreter;
mod key;
mod later;
mod metrics;
mod pool;
mod records;
mod serve;
mod session;
pub mod shim;
mod standing;
mod table;
mod template;
mod top;
mod trust;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

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
    /// Session pools of a gateway.
    #[command(subcommand)]
    Pool(pool::PoolCommand),
    /// The configuration file.
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// API keys of a gateway.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// How the pools of a gateway stand, live.
    Top(top::Top),
    /// What a gateway counts and measures.
    Metrics(metrics::Metrics),
    /// What sessions wrote, and what happened to sessions and pools.
    Logs(records::Logs),
    /// Who asked what of a gateway, and how it ended.
    Audit(records::Audit),
    /// What was used, summed up.
    Usage(records::Usage),
    /// Build interpreters, or list them.
    #[command(subcommand)]
    Interpreter(interpreter::Interpreter),
    /// Build images of containers.
    #[command(subcommand)]
    Image(image::Image),
}

impl Command {
    /// Carries the command out. What went wrong is on stderr.
    pub fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Serve(serve) => serve.run(),
            Verb::Exec(exec) => exec.run(),
            Verb::Session(session) => session.run(),
            Verb::Pool(pool) => pool.run(),
            Verb::Config(config) => config.run(),
            Verb::Key(key) => key.run(),
            Verb::Top(top) => top.run(),
            Verb::Metrics(metrics) => metrics.run(),
            Verb::Logs(logs) => logs.run(),
            Verb::Audit(audit) => audit.run(),
            Verb::Usage(usage) => usage.run(),
            Verb::Interpreter(interpreter) => interpreter.run(),
            Verb::Image(image) => image.run(),
        };
        done.unwrap_or_else(|error| {
            eprintln!("sandpool: {}", chain(error.as_ref()));
            ExitCode::from(2)
        })
    }
}

/// How a command shows what it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For scripts: a JSON object a line.
    Json,
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
