//! What an image says about running it.

use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

/// The part of an image's configuration that is heeded. Labels, volumes, ports, health checks and whatever else images
/// carry have no say here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    pub working_dir: String,
    /// As in a Dockerfile: a name or a number, and perhaps a group.
    pub user: String,
}

/// Go's encoder writes an empty list as null.
fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Numbers of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// More of `/etc/passwd` is not read.
const MAX_PASSWD_BYTES: u64 = 1 << 20;

impl ImageConfig {
    /// What its user is, by the files in `rootfs`.
    ///
    /// # Errors
    /// In a sentence, when the image has no such user.
    pub fn resolve_user(&self, rootfs: &Path) -> Result<User, String> {
        let (user, group) = self.user.split_once(':').map_or((self.user.as_str(), None), |(u, g)| (u, Some(g)));
        let (uid, primary) = match user.parse() {
            _ if user.is_empty() => (0, Some(0)),
            Ok(uid) => (
                uid,
                table(rootfs, "etc/passwd").and_then(|text| entry(&text, |fields| number(fields, 2) == Some(uid))?.gid),
            ),
            Err(_) => {
                let text = table(rootfs, "etc/passwd").unwrap_or_default();
                let found = entry(&text, |fields| fields.first() == Some(&user));
                let found = found.ok_or_else(|| format!("its user {user:?} is not in its /etc/passwd"))?;
                (found.id.ok_or_else(|| format!("its user {user:?} has no number"))?, found.gid)
            }
        };
        let gid = match group.filter(|group| !group.is_empty()) {
            None => primary.unwrap_or(0),
            Some(group) => match group.parse() {
                Ok(gid) => gid,
                Err(_) => table(rootfs, "etc/group")
                    .and_then(|text| entry(&text, |fields| fields.first() == Some(&group))?.id)
                    .ok_or_else(|| format!("its group {group:?} is not in its /etc/group"))?,
            },
        };
        if uid > u32::from(u16::MAX) || gid > u32::from(u16::MAX) {
            return Err(format!("its user {uid}:{gid} is beyond 65535, the last of a session's own numbers"));
        }
        Ok(User { uid, gid })
    }
}

struct Entry {
    id: Option<u32>,
    gid: Option<u32>,
}

fn number(fields: &[&str], at: usize) -> Option<u32> {
    fields.get(at)?.parse().ok()
}

fn entry(text: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<Entry> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        wanted(&fields).then(|| Entry { id: number(&fields, 2), gid: number(&fields, 3) })
    })
}

/// A file of the image; its links lead nowhere but into the image.
fn table(rootfs: &Path, name: &str) -> Option<String> {
    use std::io::Read;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(rootfs, flags, Mode::empty()).ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Not blocking: the name may be a pipe's.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(root, name, flags, Mode::empty(), resolve).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).take(MAX_PASSWD_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(user: &str) -> Result<(u32, u32), String> {
        let rootfs = tempfile::tempdir().unwrap();
        std::fs::create_dir(rootfs.path().join("etc")).unwrap();
        std::fs::write(rootfs.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:7:8::/:/bin/sh\n").unwrap();
        // A link out of the image leads to the image's own file of that name.
        std::os::unix::fs::symlink("/etc/passwd", rootfs.path().join("etc/group")).unwrap();
        let config = ImageConfig { user: user.into(), ..ImageConfig::default() };
        config.resolve_user(rootfs.path()).map(|user| (user.uid, user.gid))
    }

    #[test]
    fn users_are_found_in_the_image() {
        assert_eq!(resolved(""), Ok((0, 0)));
        assert_eq!(resolved("app"), Ok((7, 8)));
        assert_eq!(resolved("7"), Ok((7, 8)));
        assert_eq!(resolved("1000"), Ok((1000, 0)));
        assert_eq!(resolved("7:9"), Ok((7, 9)));
        assert_eq!(resolved("app:app"), Ok((7, 7)));
        for bad in ["nobody", "app:wheel", "70000", "7:70000"] {
            assert!(resolved(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_may_be_null() {
        let config: ImageConfig = serde_json::from_str(r#"{"Cmd":null,"Env":["A=1"],"Labels":{"x":"y"}}"#).unwrap();
        assert_eq!((config.cmd.len(), config.env.len()), (0, 1));
    }
}
