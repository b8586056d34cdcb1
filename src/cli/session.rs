//! `sandpool session list|show|stop|fork`; the rest of its commands is in `history.rs`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use super::client::{self, PoolAddress};
use super::history::{Export, Import, Restore, Snapshots};
use super::standing::seconds;
use super::table::{self, cell};
use super::{Done, OutputFormat};

#[derive(Debug, Subcommand)]
pub enum Session {
    /// List the sessions of a pool, oldest first.
    List(List),
    /// Show one session.
    Show(Show),
    /// End a session; what runs in it is interrupted.
    Stop(Stop),
    /// Make sessions that begin as another is now, or was at a snapshot.
    Fork(Fork),
    /// List the snapshots of a session, or take one.
    Snapshots(Snapshots),
    /// Set a session back to a snapshot.
    Restore(Restore),
    /// Write a session to a file.
    Export(Export),
    /// Make a session of an exported one.
    Import(Import),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    gateway: PoolAddress,
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The session.
    session: String,
    #[command(flatten)]
    gateway: PoolAddress,
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub struct Stop {
    /// The session.
    session: String,
    #[command(flatten)]
    gateway: PoolAddress,
}

#[derive(Debug, Args)]
pub struct Fork {
    /// The session to fork.
    parent: String,
    /// Identifiers of the new sessions.
    #[arg(required = true)]
    children: Vec<String>,
    /// Fork it as it was at this snapshot.
    #[arg(long, value_name = "ID")]
    snapshot: Option<i64>,
    #[command(flatten)]
    gateway: PoolAddress,
}

#[derive(Debug, Deserialize)]
struct Page {
    sessions: Vec<Value>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Forked {
    value: Vec<Made>,
}

#[derive(Debug, Deserialize)]
struct Made {
    identifier: String,
}

impl Session {
    pub fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Stop(stop) => stop.run(),
            Self::Fork(fork) => fork.run(),
            Self::Snapshots(snapshots) => snapshots.run(),
            Self::Restore(restore) => restore.run(),
            Self::Export(export) => export.run(),
            Self::Import(import) => import.run(),
        }
    }
}

impl List {
    fn run(self) -> Done {
        let mut sessions = Vec::new();
        loop {
            let page: Page = client::get(&self.gateway.url(&format!("listSessions?skip={}", sessions.len())))?;
            sessions.extend(page.sessions);
            // Counted, not followed: the link names the host as the gateway sees it.
            if page.next_link.is_none() {
                break;
            }
        }
        if self.output == OutputFormat::Json {
            sessions.iter().for_each(|session| println!("{session}"));
            return Ok(ExitCode::SUCCESS);
        }
        let row = |session: &Value| {
            let [identifier, created, used, ends] =
                ["identifier", "createdAt", "lastAccessedAt", "expiresAt"].map(|name| cell(&session[name]));
            let running = seconds(session["runningForSeconds"].as_f64());
            vec![identifier, running, created, used, ends]
        };
        let rows: Vec<_> = sessions.iter().map(row).collect();
        table::print(&["SESSION", "RUNNING FOR", "CREATED", "LAST USED", "ENDS"], &rows);
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    fn run(self) -> Done {
        let session: Value = client::get(&self.gateway.url(&of("session", &self.session)))?;
        if self.output == OutputFormat::Json {
            println!("{session}");
        } else {
            for (name, value) in session.as_object().into_iter().flatten() {
                println!("{name:16} {}", cell(value));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Stop {
    fn run(self) -> Done {
        client::post_nothing(&self.gateway.url(&of(".management/stopSession", &self.session)))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Fork {
    fn run(self) -> Done {
        let mut body = serde_json::json!({ "identifiers": self.children });
        if let Some(snapshot) = self.snapshot {
            body["snapshot"] = snapshot.into();
        }
        let url = self.gateway.url(&format!("sessions/{}/fork", client::encode(&self.parent)));
        let forked: Forked = client::post(&url, body)?;
        for made in forked.value {
            println!("{}", made.identifier);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn of(route: &str, session: &str) -> String {
    format!("{route}?identifier={}", client::encode(session))
}
