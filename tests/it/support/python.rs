//! Python programs from PyPI, unmodified: installed once into the user's cache, by the hash of what is pinned.
//!
//! ```text
//! tests/clients/<name>/requirements.txt     every package with its version and the hashes of its files
//! tests/clients/<name>/build.txt            what packages that are published as sources only are built with
//! <cache>/clients/<name>-<hash>/            the installation; `python3 -m pip install --target`, no venv needed
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use sandpool::config::default_cache_dir;
use sha2::{Digest as _, Sha256};

use super::gateway::Gateway;

/// An installed Python program.
pub struct Python {
    packages: PathBuf,
    source: PathBuf,
}

impl Python {
    /// Installs `tests/clients/<name>` unless the cache has it.
    ///
    /// # Panics
    /// When there is no Python or pip, or a package cannot be had.
    pub fn with(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let cache = default_cache_dir().join("clients");
        fs::create_dir_all(&cache).expect("the user has a cache directory");
        let packages = cache.join(format!("{name}-{}", fingerprint(&source)));
        let lock = File::create(cache.join(format!("{name}.lock"))).expect("the cache is ours");
        lock.lock().expect("the cache's file system has locks");
        if !packages.exists() {
            install(&source, &packages);
        }
        Self { packages, source }
    }

    /// Where its packages are.
    pub fn packages(&self) -> &Path {
        &self.packages
    }

    /// One of its files in the checkout.
    pub fn path(&self, file: &str) -> PathBuf {
        self.source.join(file)
    }

    /// Runs one of its scripts against a gateway, and prints what it printed.
    ///
    /// # Panics
    /// When the script fails.
    pub fn run(&self, script: &str, gateway: &Gateway) {
        let mut command = self.command(gateway);
        command.arg(self.path(script));
        succeed(command, gateway);
    }

    /// Runs one of its scripts with further environment variables.
    ///
    /// # Panics
    /// When the script fails.
    pub fn run_with(&self, script: &str, gateway: &Gateway, environment: &[(&str, &str)]) {
        let mut command = self.command(gateway);
        command.arg(self.path(script)).envs(environment.iter().copied());
        succeed(command, gateway);
    }

    /// Runs one of its modules against a gateway, as `python3 -m` does.
    ///
    /// # Panics
    /// When the module fails.
    pub fn run_module(&self, module: &str, arguments: &[&str], gateway: &Gateway) {
        let mut command = self.command(gateway);
        command.arg("-m").arg(module).args(arguments);
        succeed(command, gateway);
    }

    /// Python that sees its own packages and nothing else of this machine: no site (`-S`; autogen, for one, behaves
    /// otherwise where a package called `docker` is installed), no settings, no proxies.
    fn command(&self, gateway: &Gateway) -> Command {
        let shared = self.source.with_file_name("shared");
        let path = [&self.packages, &self.source, &shared];
        let path = std::env::join_paths(path).expect("no path holds a colon");
        let home = self.packages.join("home");
        fs::create_dir_all(&home).expect("the cache is ours");
        let mut command = Command::new(interpreter());
        command.arg("-S");
        command.env_clear().envs(["PATH", "TMPDIR"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("HOME", &home).env("LANG", "C.UTF-8").env("PYTHONUTF8", "1");
        command.env("PYTHONPATH", path).env("PYTHONSAFEPATH", "1");
        // Beside the packages: nothing is written into the checkout.
        command.env("PYTHONPYCACHEPREFIX", home.join("pycache"));
        command.env("SANDPOOL_POOL", gateway.pool_url("python"));
        command.env("SANDPOOL_BRIEF_POOL", gateway.pool_url("brief"));
        command.current_dir(&home).stdin(Stdio::null());
        command
    }
}

fn succeed(mut command: Command, gateway: &Gateway) {
    let output = command.output().expect("Python was started before");
    let said = said(&output);
    assert!(output.status.success(), "{}:\n{said}\nthe gateway's log:\n{}", output.status, gateway.log());
    println!("{said}");
}

/// The Python that runs everything here: what `python3` is, found once.
fn interpreter() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import pip, sys; print(sys.executable)"]).output();
        match output {
            Ok(found) if found.status.success() => PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()),
            Ok(failed) => panic!("pip is missing; install it with: apt-get install python3-pip\n{}", said(&failed)),
            Err(error) => panic!("python3 is missing ({error}); install it with: apt-get install python3 python3-pip"),
        }
    })
}

/// Names an installation: what is pinned, and the Python that it is for.
fn fingerprint(source: &Path) -> String {
    let mut hash = Sha256::new();
    for pinned in ["requirements.txt", "build.txt"] {
        hash.update(fs::read(source.join(pinned)).unwrap_or_default());
        hash.update([0]);
    }
    let script = "import sys, sysconfig; print(sys.implementation.cache_tag, sysconfig.get_platform())";
    hash.update(Command::new(interpreter()).args(["-I", "-c", script]).output().expect("it ran before").stdout);
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Into a folder beside the target and then renamed: an installation that was cut off is never taken for a whole one.
fn install(source: &Path, packages: &Path) {
    let (new, build) = (packages.with_extension("new"), packages.with_extension("build"));
    for left in [&new, &build] {
        let _ = fs::remove_dir_all(left);
    }
    let mut main = pip(&new, &source.join("requirements.txt"));
    let pinned = source.join("build.txt");
    if pinned.exists() {
        // pip would fetch whatever is newest to build with; this is pinned as well.
        finish(pip(&build, &pinned));
        main.arg("--no-build-isolation").env("PYTHONPATH", &build);
    }
    finish(main);
    let _ = fs::remove_dir_all(&build);
    fs::rename(&new, packages).expect("both are in the cache");
}

/// Only the user's settings of where packages come from are kept; the rest is said here.
fn pip(target: &Path, pinned: &Path) -> Command {
    let mut command = Command::new(interpreter());
    command.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]);
    command.args(["--no-compile", "--no-cache-dir", "--no-warn-conflicts", "--disable-pip-version-check"]);
    command.arg("--target").arg(target).arg("--requirement").arg(pinned);
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0").env("PIP_ROOT_USER_ACTION", "ignore");
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

fn finish(mut pip: Command) {
    let output = pip.output().expect("Python was started before");
    assert!(output.status.success(), "{pip:?} failed:\n{}", said(&output));
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
