//! What is kept of a container in its folder, for the gateway after this one and for the container's shim: how it is taken
//! away, and the pool's note of what it is used for.
//!
//! The file is trusted because nobody but this gateway's user can write it; that is looked at before it is read.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::command::Runtime;
use crate::sandbox::container::{InstanceId, Note};

/// Of the file, and of what a shim and a gateway say to each other. Of another one, neither is understood.
const VERSION: u32 = 1;
/// More is none of ours.
const MAX_BYTES: u64 = 1 << 20;

/// The state of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    pub runtime: Runtime,
    pub cgroup: String,
    /// What its root is outside.
    pub first_uid: u32,
    /// The container in whose network it is. None: it has one of its own.
    pub beside: Option<InstanceId>,
    /// Its connections are led out.
    pub way_out: bool,
    /// How long it may be left alone, in seconds.
    pub unattended_seconds: u64,
    /// What its pool wants to know. None: it never was ready for anybody.
    pub note: Option<Note>,
}

impl State {
    pub(super) fn new(runtime: Runtime, cgroup: String, first_uid: u32, unattended_seconds: u64) -> Self {
        Self {
            version: VERSION,
            runtime,
            cgroup,
            first_uid,
            beside: None,
            way_out: false,
            unattended_seconds,
            note: None,
        }
    }

    /// Reads that of the container with this folder.
    ///
    /// # Errors
    /// When it is not there, could be somebody else's, is damaged, or of another version; with what is wrong.
    pub(super) fn read(container: &Path) -> io::Result<Self> {
        let folder = folder(container);
        own(&fs::symlink_metadata(&folder)?)?;
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(folder.join("state.json"))?;
        own(&file.metadata()?)?;
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text)?;
        let value: serde_json::Value = serde_json::from_slice(&text)?;
        if value["version"] != VERSION {
            return Err(io::Error::other("it is of another version"));
        }
        Ok(serde_json::from_value(value)?)
    }

    /// Writes it, in the place of what was there: whoever reads meets the one or the other, whole. It is not forced onto a disk:
    /// no container outlives the machine's own end, and one without its shim is taken away whatever stands here.
    pub(super) fn write(&self, container: &Path) -> io::Result<()> {
        let folder = folder(container);
        let (new, path) = (folder.join("state.new"), folder.join("state.json"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }
}

/// Where a container's state is, in the container's own folder.
pub(super) fn folder(container: &Path) -> PathBuf {
    container.join("state")
}

/// Makes it.
pub(super) fn make_folder(container: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder(container))
}

/// Whether nobody else can have changed it.
fn own(found: &fs::Metadata) -> io::Result<()> {
    let own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if own { Ok(()) } else { Err(io::Error::other("others could have changed it")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn written() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        make_folder(folder.path()).unwrap();
        let runtime = Runtime { engine: "runc".into(), program: "/p".into(), records: "/r".into() };
        let mut state = State::new(runtime, "sandpool/x/y".into(), 1 << 20, 900);
        state.note = Some(Note { facts: serde_json::json!({"a": 1}), ends_at: Some(5) });
        state.write(folder.path()).unwrap();
        let file = folder.path().join("state/state.json");
        (folder, file)
    }

    #[test]
    fn what_was_written_is_read() {
        let (folder, _) = written();
        let state = State::read(folder.path()).unwrap();
        assert_eq!((state.first_uid, state.note.unwrap().ends_at), (1 << 20, Some(5)));
    }

    #[test]
    fn what_cannot_be_trusted_is_not_read() {
        let (folder, file) = written();
        let good = fs::read_to_string(&file).unwrap();
        for bad in ["", "{", &good[..good.len() / 2], &good.replace("\"version\":1", "\"version\":2"), "[]"] {
            fs::write(&file, bad).unwrap();
            assert!(State::read(folder.path()).is_err(), "{bad}");
        }
        fs::write(&file, &good).unwrap();
        State::read(folder.path()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
        assert!(State::read(folder.path()).is_err(), "others may write it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path().join("state"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(State::read(folder.path()).is_err(), "others may look into its folder");
    }

    #[test]
    fn a_link_is_not_followed() {
        let (folder, file) = written();
        fs::rename(&file, folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &file).unwrap();
        assert!(State::read(folder.path()).is_err());
    }
}
