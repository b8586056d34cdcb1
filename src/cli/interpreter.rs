//! `sandpool interpreter build|list`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Done;
use super::serve::progress;
use crate::config;
use crate::interpreter::{self, Cache, Recipe};
use crate::sandbox::wasm::{self, Engine, EngineSettings};

#[derive(Debug, Subcommand)]
pub enum Interpreter {
    /// Build interpreters that are not in the cache yet.
    Build(Build),
    /// List the interpreters that this binary has, and whether they are built.
    List(List),
}

#[derive(Debug, Args)]
pub struct Build {
    /// Which; all when none is named.
    names: Vec<String>,
    /// Only this edition of them.
    #[arg(long)]
    edition: Option<String>,
}

#[derive(Debug, Args)]
pub struct List {
    /// List the packages of those that are built.
    #[arg(long)]
    packages: bool,
}

impl Interpreter {
    pub fn run(self) -> Done {
        match self {
            Self::Build(build) => build.run(),
            Self::List(list) => list.run(),
        }
    }
}

impl Build {
    fn run(self) -> Done {
        let cache = Cache::new(config::default_cache_dir());
        let _lock = cache.lock(|| progress("waiting for another build to finish"))?;
        let names = if self.names.is_empty() { Recipe::names() } else { self.names };
        for name in names {
            let editions = Recipe::editions(&name)?;
            for recipe in editions.iter().filter(|recipe| self.edition.is_none() || recipe.edition == self.edition) {
                let built = interpreter::build(&cache, recipe, &progress)?;
                // One slot is enough to compile: the settings that decide about the code are the same for any number.
                let engine = Engine::new(EngineSettings { slots: 4, memory_bytes: 1 << 30, metered: false })?;
                wasm::image(&engine, &built, &progress)?;
                println!("{} {} is built", recipe.title(), recipe.manifest.version);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> Done {
        let cache = Cache::new(config::default_cache_dir());
        for name in Recipe::names() {
            for recipe in Recipe::editions(&name)? {
                let built = cache.find(&recipe);
                let manifest = &recipe.manifest;
                let state = if built.is_some() { "built" } else { "not built" };
                println!("{}\t{} {}\t{state}", recipe.title(), manifest.language, manifest.version);
                if let (true, Some(built)) = (self.packages, built) {
                    for package in built.packages()?.packages {
                        println!("  {} {}", package.name, package.version);
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
