//! `sandpool shim`: the process beside a container. The gateway starts it; people do not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Done;
use crate::sandbox::container::runtime::shim;

#[derive(Debug, Args)]
pub struct Shim {
    /// The container's folder.
    folder: PathBuf,
}

impl Shim {
    pub fn run(self) -> Done {
        shim::run(&self.folder)?;
        Ok(ExitCode::SUCCESS)
    }
}
