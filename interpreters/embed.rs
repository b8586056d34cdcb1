//! Build script: puts the recipes of `interpreters/` and the agent of containers into the binary, so that one binary is all
//! that a machine needs.

#[path = "../src/sandbox/container/agent/program/compile.rs"]
mod agent;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    agent::compile(&root)?;
    let root = root.join("interpreters");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &mut files)?;
        }
    }
    files.sort();
    let mut source =
        String::from("/// Path below `interpreters/`, and content.\npub static FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&root).expect("it lies below the root").to_str().expect("names are UTF-8");
        writeln!(source, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())
            .expect("a string can be written to");
    }
    source.push_str("];\n");
    fs::write(Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join("recipes.rs"), source)
}

/// All files below `folder`, but for what running the recipe leaves behind.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "__pycache__" || name == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
