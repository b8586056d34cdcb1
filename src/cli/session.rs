//! `sandpool session fork`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Done;
use super::client::{self, PoolAddress};

#[derive(Debug, Subcommand)]
pub enum Session {
    /// Make sessions that begin as another is now.
    Fork(Fork),
}

#[derive(Debug, Args)]
pub struct Fork {
    /// The session to fork.
    parent: String,
    /// Identifiers of the new sessions.
    #[arg(required = true)]
    children: Vec<String>,
    #[command(flatten)]
    gateway: PoolAddress,
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
            Self::Fork(fork) => fork.run(),
        }
    }
}

impl Fork {
    fn run(self) -> Done {
        let url = self.gateway.url(&format!("sessions/{}/fork", client::encode(&self.parent)));
        let forked: Forked = client::post(&url, serde_json::json!({ "identifiers": self.children }))?;
        for made in forked.value {
            println!("{}", made.identifier);
        }
        Ok(ExitCode::SUCCESS)
    }
}
