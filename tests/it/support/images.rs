//! Images of the container tests: one static program in an OCI image layout, made here without a registry or a daemon.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What an image is made of.
#[derive(Default)]
pub struct Recipe {
    /// Tar archives, the lowest first; not compressed.
    pub layers: Vec<Vec<u8>>,
    /// `config` of its configuration.
    pub config: Value,
}

impl Recipe {
    /// The image of `fixtures/images/app.rs`.
    pub fn app(cmd: &[&str]) -> Self {
        let config = json!({"Entrypoint": ["/app"], "Cmd": cmd, "Env": ["FROM_IMAGE=yes"]});
        Self { layers: vec![layer(&[("app", 0o755, &app())])], config }
    }

    /// Its blobs by digest, and the digest of its manifest.
    pub fn blobs(&self) -> (BTreeMap<String, Vec<u8>>, String) {
        let mut blobs = BTreeMap::new();
        let mut add = |bytes: Vec<u8>| {
            let described = (digest(&bytes), bytes.len());
            blobs.insert(described.0.clone(), bytes);
            described
        };
        let ids: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let (digest, size) = add(gzip(layer));
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size})
            })
            .collect();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "os": "linux", "architecture": architecture, "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let (config, size) = add(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size},
            "layers": layers,
        });
        let (manifest, _) = add(manifest.to_string().into_bytes());
        (blobs, manifest)
    }

    /// Writes it as an image layout into `folder`; gives the reference.
    pub fn layout(&self, folder: &Path) -> String {
        let (blobs, manifest) = self.blobs();
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (digest, bytes) in &blobs {
            fs::write(folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        }
        let entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": blobs[&manifest].len(),
        });
        fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        format!("oci:{}", folder.display())
    }
}

/// A small system: the machine's own `busybox`, and links to it under the names of its commands. None where it is not there, or
/// needs libraries. `user` is whom its processes belong to.
pub fn busybox(user: &str) -> Option<Recipe> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|path| fs::read(path).ok())?;
    let listed = Command::new("busybox").arg("--list").output().ok()?.stdout;
    let is_static = !program.windows(8).any(|bytes| bytes == b"/ld-linu");
    let passwd = b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n";
    let files = [("bin/busybox", 0o755, program.as_slice()), ("etc/passwd", 0o644, passwd), ("tmp/.keep", 0o644, b"")];
    let mut archive = tar::Builder::new(layer_of(&files));
    for name in String::from_utf8(listed).ok()?.lines().filter(|name| *name != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        archive.append_link(&mut header, format!("bin/{name}"), "busybox").ok()?;
    }
    let config = json!({"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "User": user});
    is_static.then(|| Recipe { layers: vec![archive.into_inner().expect("memory is written to")], config })
}

/// A layer with files: name, mode, content.
pub fn layer(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(layer_of(files));
    archive.finish().unwrap();
    archive.into_inner().unwrap()
}

/// The same without an end.
fn layer_of(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    let mut bytes = archive.into_inner().unwrap();
    // Two empty blocks end an archive.
    bytes.truncate(bytes.len() - 1024);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// The program, compiled once.
pub fn app() -> Vec<u8> {
    static APP: LazyLock<PathBuf> = LazyLock::new(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images/app.rs");
        let name = digest(&fs::read(&source).unwrap()).replace(':', "-");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("app-{name}"));
        if !program.exists() {
            let making = program.with_extension(std::process::id().to_string());
            let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let mut command = Command::new(rustc);
            command.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"]);
            assert!(command.arg(&making).arg(&source).status().expect("rustc is there").success());
            fs::rename(making, &program).unwrap();
        }
        program
    });
    fs::read(&*APP).unwrap()
}
