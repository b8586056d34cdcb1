//! Compiles the agent, as a part of the build script: static, so that it runs in any image, and of the standard library
//! alone, so that the compiler that is here is all that it takes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// Compiles `main.rs` for the machine that the gateway is built for, into the folder of built things.
pub fn compile(root: &Path) -> io::Result<()> {
    let source = root.join("src/sandbox/container/agent/program");
    println!("cargo::rerun-if-changed={}", source.display());
    let set = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("cargo sets {name}"));
    let program = set("OUT_DIR").join("agent");
    let mut rustc = Command::new(set("RUSTC"));
    rustc.args(["--edition=2024", "--crate-name=agent", "--crate-type=bin", "-O"]);
    rustc.args(["-C", "target-feature=+crt-static", "-C", "panic=abort", "-C", "strip=symbols"]);
    rustc.arg("--target").arg(set("TARGET")).arg("-o").arg(program).arg(source.join("main.rs"));
    let compiled = rustc.status()?;
    if compiled.success() {
        return Ok(());
    }
    Err(io::Error::other("the agent of containers does not compile: it takes the C library's static files (libc6-dev)"))
}
