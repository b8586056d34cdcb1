//! `sandpool pool health`.

use clap::Subcommand;

use super::{Done, health};

#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Say in words how a pool is; the exit status is 1 when somebody should look.
    Health(health::Health),
}

impl Pool {
    pub fn run(self) -> Done {
        match self {
            Self::Health(health) => health.run(),
        }
    }
}
