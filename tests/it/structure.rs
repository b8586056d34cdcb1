//! The rules of `src/lib.rs` about who imports whom, held by reading the `use` lines.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down; a module may use those to its right.
const ORDER: [&str; 14] = [
    "main",
    "cli",
    "api",
    "gateway",
    "pressure",
    "execution",
    "access",
    "pool",
    "session",
    "snapshot",
    "files",
    "sandbox",
    "egress",
    "interpreter",
];
/// Anyone may use them.
const LEAVES: [&str; 7] = ["telemetry", "shutdown", "database", "records", "otlp", "wire", "keyfile"];
/// Pairs that go against the order, each with its reason in `src/lib.rs`.
const ALLOWED: [(&str, &str); 1] = [("sandbox", "files")];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Of programs of their own, which are no modules of this one.
const PROGRAM: &str = "sandbox/container/agent/program/";

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("text"))
    };
    found.into_iter().map(read).filter(|(name, _)| !name.starts_with(PROGRAM)).collect()
}

fn room(path: &str) -> &str {
    path.split('/').next().expect("a path has a first part").trim_end_matches(".rs")
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Every `crate::<module>` of a file, in `use` lines and in paths; nested groups (`crate::{a, b}`) too.
fn imports(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for line in code_lines(text) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let group = rest.strip_prefix('{').map(|group| group.split('}').next().unwrap_or(group));
            for path in group.map_or_else(|| vec![rest], |group| group.split(',').map(str::trim).collect()) {
                modules.push(path.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect());
            }
        }
    }
    modules
}

#[test]
fn imports_run_downward_only() {
    let position = |module: &str| ORDER.iter().position(|known| *known == module);
    let mut wrong = Vec::new();
    for (path, text) in all() {
        let from = room(&path).to_owned();
        for to in imports(&text).into_iter().filter(|to| *to != from && !LEAVES.contains(&to.as_str())) {
            let config = to == "config" && matches!(from.as_str(), "main" | "cli" | "gateway");
            let allowed = config
                || from == "lib"
                || ALLOWED.contains(&(from.as_str(), to.as_str()))
                || (from == "config" && position(&to).is_some())
                || matches!((position(&from), position(&to)), (Some(from), Some(to)) if from < to);
            if !allowed {
                wrong.push(format!("src/{path} uses crate::{to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_rooms() {
    let rules = [
        ("wasmtime", "sandbox/wasm/"),
        ("axum", "api/"),
        ("oci_client", "sandbox/container/image/"),
        ("bollard", "sandbox/container/docker/"),
        ("multer", "api/"),
        ("clap", "cli"),
        ("reqwest", "egress/"),
        ("jsonwebtoken", "access/token/"),
        ("rusqlite", "database.rs"),
        ("prometheus", "records/"),
        ("opentelemetry_proto", "otlp/"),
        ("prost", "otlp/"),
        ("tracing_subscriber", "otlp/"),
    ];
    // Snapshots are packed by it, and layers of container images come so.
    let zstd = |path: &str| path.starts_with("snapshot/") || path == "sandbox/container/image/store.rs";
    // Probes are HTTP too, and no caller's.
    let hyper = |path: &str| path.starts_with("api/") || path == "pool/container/probe.rs";
    let mut wrong = Vec::new();
    for (path, text) in all() {
        if !hyper(&path) && code_lines(&text).any(|line| line.contains("hyper::")) {
            wrong.push(format!("src/{path} uses hyper"));
        }
        if !zstd(&path) && code_lines(&text).any(|line| line.contains("zstd::")) {
            wrong.push(format!("src/{path} uses zstd"));
        }
        for (library, home) in rules {
            let mention = format!("{library}::");
            // The command line is parsed in main; a log format is one of its values.
            // The keys of token issuers are fetched where tokens are checked.
            let fetches_keys = library == "reqwest" && path == "access/token/key_set.rs";
            // Telemetry is sent away, and what `/metrics` shows with it.
            let exports = path.starts_with("otlp/") && matches!(library, "reqwest" | "prometheus");
            let at_home = fetches_keys
                || exports
                || (library == "tracing_subscriber" && path == "telemetry.rs")
                || path.starts_with(home)
                || (library == "clap" && matches!(path.as_str(), "main.rs" | "telemetry.rs"));
            if !at_home && code_lines(&text).any(|line| line.contains(&mention)) {
                wrong.push(format!("src/{path} uses {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn environment_variables_are_read_in_config_alone() {
    let reads = |line: &str| line.contains("env::var") && !line.contains("env!(");
    let elsewhere: Vec<_> = all()
        .into_iter()
        .filter(|(path, text)| path != "config.rs" && code_lines(text).any(reads))
        .map(|(p, _)| p)
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}
