//! `sandpool config check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Done;
use crate::api::serve::Secrets;
use crate::config::Settings;
use crate::interpreter::Recipe;
use crate::pool::PoolName;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read a configuration file as `serve` would, and tell everything that is wrong with it.
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Check {
    /// The configuration file.
    #[arg(env = "SANDPOOL_CONFIG")]
    file: PathBuf,
}

impl ConfigCommand {
    pub fn run(self) -> Done {
        match self {
            Self::Check(check) => check.run(),
        }
    }
}

impl Check {
    fn run(self) -> Done {
        let settings = Settings::read(&self.file)?;
        settings.check()?;
        for pool in &settings.pools {
            let editions =
                Recipe::editions(&pool.interpreter).map_err(|error| format!("pool {}: {error}", pool.name))?;
            if let Some(edition) = &pool.edition
                && !editions.iter().any(|recipe| recipe.edition.as_ref() == Some(edition))
            {
                return Err(format!("pool {}: {} has no edition {edition}", pool.name, pool.interpreter).into());
            }
        }
        settings.tls.as_ref().map(Secrets::read).transpose()?;
        let names = settings.pools.iter().map(|pool| &pool.name);
        let names = names.chain(settings.container_pools.iter().map(|pool| &pool.name));
        let pools = names.map(PoolName::as_str).collect::<Vec<_>>().join(", ");
        println!("{}: sound; listens on {}, pools: {pools}", self.file.display(), settings.listen);
        Ok(ExitCode::SUCCESS)
    }
}
