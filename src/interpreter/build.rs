//! Running a recipe: `python3 recipe.py`, with its progress handed on line by line.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::{fs, thread};

use super::{Built, Cache, Recipe};

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("python3 could not be started ({0}); install it with: apt-get install python3")]
    NoPython(io::Error),
    /// What the recipe wrote to stderr says what is missing.
    #[error("the interpreter {name} could not be built ({status}):\n{said}")]
    Recipe { name: String, status: ExitStatus, said: String },
    #[error("the recipe of {name} left no {missing}")]
    Incomplete { name: String, missing: &'static str },
    #[error("the build cache cannot be used")]
    Cache(#[from] io::Error),
}

/// Builds an interpreter, unless the cache has it. Takes minutes; `progress` gets a line now and then.
///
/// The caller holds the cache's lock.
///
/// # Errors
/// See [`BuildError`].
pub fn build(cache: &Cache, recipe: &Recipe, progress: &dyn Fn(&str)) -> Result<Built, BuildError> {
    if let Some(built) = cache.find(recipe) {
        return Ok(built);
    }
    let folder = cache.folder(recipe);
    let work = cache.work();
    let out = folder.with_extension("new");
    for old in [&out, &folder] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    let source = work.join(&recipe.name).join("recipe");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    recipe.unpack(&source)?;
    fs::create_dir_all(&out)?;
    let mut command = Command::new("python3");
    command.arg(source.join(&recipe.name).join("recipe.py")).arg("--out").arg(&out).arg("--work").arg(&work);
    if let Some(edition) = &recipe.edition {
        command.arg("--edition").arg(edition);
    }
    for requirement in &recipe.additions.packages {
        command.arg("--package").arg(requirement);
    }
    if let Some(preload) = &recipe.additions.preload {
        let file = source.join("preload.py");
        fs::write(&file, preload)?;
        command.arg("--preload").arg(file);
    }
    run(command, recipe, progress)?;
    for missing in ["module.wasm", "base.tar", "packages.json"] {
        if !out.join(missing).exists() {
            return Err(BuildError::Incomplete { name: recipe.title(), missing });
        }
    }
    // One rename: a build that was cut off is never taken for a finished one.
    fs::rename(&out, &folder)?;
    Ok(Built::at(folder, recipe))
}

fn run(mut command: Command, recipe: &Recipe, progress: &dyn Fn(&str)) -> Result<(), BuildError> {
    // However the gateway ends, the pipe ends with it, and with that the recipe and all compilers of its group.
    command.arg("--until-stdin-ends").process_group(0).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(BuildError::NoPython)?;
    let (stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        // A pipe that breaks ends what is said; the exit status tells the rest.
        let _ = stderr.as_mut().map(|stderr| stderr.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    });
    for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        progress(&line?);
    }
    let status = child.wait()?;
    let said = said.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(BuildError::Recipe { name: recipe.title(), status, said }) }
}
