//! Control groups: where they are, freezing, the kernel's word on memory, and their removal. The limits themselves are
//! set by the runtime.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";

/// The control groups of this machine.
#[derive(Debug, Clone)]
pub(in crate::sandbox::container) enum Cgroups {
    /// One hierarchy a controller. `hybrid`: beside them an (almost empty) unified one.
    V1 {
        controllers: Vec<PathBuf>,
        hybrid: bool,
    },
    V2,
}

impl Cgroups {
    pub(in crate::sandbox::container) fn of_this_machine() -> Self {
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            return Self::V2;
        }
        let folders = fs::read_dir(root).into_iter().flatten().flatten().filter(|entry| {
            // Links are other names of joint controllers.
            entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("cgroup.procs").exists()
        });
        let (unified, controllers): (Vec<_>, Vec<_>) =
            folders.map(|entry| entry.path()).partition(|path| path.join("cgroup.controllers").exists());
        Self::V1 { controllers, hybrid: !unified.is_empty() }
    }

    /// Whether `controller` can be used.
    pub(super) fn has(&self, controller: &str) -> bool {
        match self {
            Self::V1 { controllers, .. } => controllers.iter().any(|path| named(path, controller)),
            Self::V2 => {
                let list = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
                // The freezer is part of every group.
                controller == "freezer" || list.split_whitespace().any(|known| known == controller)
            }
        }
    }

    /// Whether swap can be limited. Where there is none to limit, the runtime must not be asked to.
    pub(super) fn limits_swap(&self) -> bool {
        match self {
            Self::V1 { .. } => self.folder("memory", "").join("memory.memsw.limit_in_bytes").exists(),
            Self::V2 => true,
        }
    }

    /// Freezes or thaws `group`, and waits until it is so.
    pub(super) fn set_frozen(&self, group: &str, frozen: bool) -> io::Result<()> {
        match self {
            Self::V1 { .. } => {
                let file = self.folder("freezer", group).join("freezer.state");
                let wanted = if frozen { "FROZEN" } else { "THAWED" };
                fs::write(&file, wanted)?;
                until(|| Ok(fs::read_to_string(&file)?.trim() == wanted))
            }
            Self::V2 => {
                let folder = self.folder("", group);
                fs::write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
                let wanted = if frozen { "frozen 1" } else { "frozen 0" };
                until(|| Ok(fs::read_to_string(folder.join("cgroup.events"))?.lines().any(|line| line == wanted)))
            }
        }
    }

    /// Whether the kernel killed something in `group` for want of memory.
    pub(in crate::sandbox::container) fn ran_out_of_memory(&self, group: &str) -> bool {
        let file = match self {
            Self::V1 { .. } => self.folder("memory", group).join("memory.oom_control"),
            Self::V2 => self.folder("", group).join("memory.events"),
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }

    /// Kills what is in `group` and below, and removes both. Nothing there is fine.
    pub(super) fn destroy(&self, group: &str) -> io::Result<()> {
        let folders = self.folders(group);
        // What is frozen does not die.
        let _ = self.set_frozen(group, false);
        until(|| {
            for folder in &folders {
                kill_and_remove(folder);
            }
            Ok(!folders.iter().any(|folder| folder.exists()))
        })
    }

    /// Names of the groups right below `group`.
    pub(super) fn below(&self, group: &str) -> BTreeSet<String> {
        let entries =
            self.folders(group).into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Removes `group` if nothing is in it.
    pub(super) fn remove_empty(&self, group: &str) {
        self.folders(group).iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }

    /// All folders of `group`. A runtime makes one in the unified hierarchy beside those of the controllers, too.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let root = Path::new(ROOT);
        match self {
            Self::V1 { controllers, hybrid } => {
                let unified = hybrid.then(|| root.join("unified"));
                controllers.iter().chain(&unified).map(|path| path.join(group)).collect()
            }
            Self::V2 => vec![root.join(group)],
        }
    }

    fn folder(&self, controller: &str, group: &str) -> PathBuf {
        match self {
            Self::V1 { controllers, .. } => {
                let found = controllers.iter().find(|path| named(path, controller));
                found.cloned().unwrap_or_else(|| Path::new(ROOT).join(controller)).join(group)
            }
            Self::V2 => Path::new(ROOT).join(group),
        }
    }
}

/// Joint controllers share a folder: `cpu,cpuacct`.
fn named(folder: &Path, controller: &str) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().split(',').any(|part| part == controller))
}

/// The groups of a container that made some itself are taken from the inside out.
fn kill_and_remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_and_remove(&entry.path());
        }
    }
    let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0) {
        // SAFETY: a plain system call; a process of a group of ours.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    let _ = fs::remove_dir(folder);
}

fn until(mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while !done()? {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
