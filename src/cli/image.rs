//! `sandpool image build`: the images of our own, for pools of containers that name none.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Done;
use super::serve::progress;
use crate::config;
use crate::sandbox::container::image::{BUILT_IN, builtin};

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Build images that are not in the cache yet. Needs root, on Debian.
    Build(Build),
}

#[derive(Debug, Args)]
pub struct Build {
    /// Which; all when none is named.
    names: Vec<String>,
}

impl Image {
    pub fn run(self) -> Done {
        let Self::Build(Build { names }) = self;
        let images = builtin::folder(&config::default_cache_dir());
        let names = if names.is_empty() { BUILT_IN.map(str::to_owned).to_vec() } else { names };
        for name in names {
            let layout = builtin::build(&images, &name, &progress)?;
            println!("{name} is built: oci:{}", layout.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
