//! `sandpool session snapshots|restore|export|import`: the moments of a session, and a session as one file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::Done;
use super::client::{self, PoolAddress, Target};

#[derive(Debug, Args)]
pub struct Snapshots {
    session: String,
    /// Take one now, and show it.
    #[arg(long)]
    take: bool,
    #[command(flatten)]
    gateway: PoolAddress,
}

#[derive(Debug, Args)]
pub struct Restore {
    session: String,
    /// The snapshot's number, as `snapshots` lists it.
    snapshot: i64,
    #[command(flatten)]
    gateway: PoolAddress,
}

#[derive(Debug, Args)]
pub struct Export {
    session: String,
    /// Where to write it; stdout when absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Export it as it was at this snapshot.
    #[arg(long, value_name = "ID")]
    snapshot: Option<i64>,
    #[command(flatten)]
    gateway: PoolAddress,
}

#[derive(Debug, Args)]
pub struct Import {
    /// Identifier of the new session.
    session: String,
    /// What `export` wrote.
    file: PathBuf,
    #[command(flatten)]
    gateway: PoolAddress,
}

#[derive(Debug, Deserialize)]
struct Listed {
    value: Vec<Snapshot>,
}

#[derive(Debug, Deserialize)]
struct Made {
    identifier: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    id: i64,
    executions: u64,
    taken_at: String,
    size_in_bytes: u64,
}

fn url(gateway: &PoolAddress, session: &str, rest: &str) -> Target {
    gateway.url(&format!("sessions/{}/{rest}", client::encode(session)))
}

impl Snapshots {
    pub(super) fn run(self) -> Done {
        let url = url(&self.gateway, &self.session, "snapshots");
        let shown: Vec<Snapshot> = if self.take {
            vec![client::post(&url, serde_json::Value::Null)?]
        } else {
            client::get::<Listed>(&url)?.value
        };
        println!("{:>8}  {:>10}  {:>12}  taken", "id", "executions", "bytes");
        for Snapshot { id, executions, taken_at, size_in_bytes } in shown {
            println!("{id:>8}  {executions:>10}  {size_in_bytes:>12}  {taken_at}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    pub(super) fn run(self) -> Done {
        let url = url(&self.gateway, &self.session, &format!("snapshots/{}/restore", self.snapshot));
        client::post::<serde_json::Value>(&url, serde_json::Value::Null)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Export {
    pub(super) fn run(self) -> Done {
        let query = self.snapshot.map_or_else(String::new, |id| format!("?snapshot={id}"));
        let bytes = client::get_bytes(&url(&self.gateway, &self.session, &format!("export{query}")))?;
        match self.output {
            Some(path) => File::create(path)?.write_all(&bytes)?,
            None => io::stdout().write_all(&bytes)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Import {
    pub(super) fn run(self) -> Done {
        let made: Made = client::post_bytes(&url(&self.gateway, &self.session, "import"), &fs::read(&self.file)?)?;
        println!("{}", made.identifier);
        Ok(ExitCode::SUCCESS)
    }
}
