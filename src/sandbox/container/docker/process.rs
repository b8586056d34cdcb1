//! A container's first process, as this machine's kernel knows it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};
use tokio::io::unix::AsyncFd;

use crate::sandbox::container::runtime::Cgroups;

/// Found by its number once, and held by descriptors from then on: a number may become another process's.
pub(super) struct Process {
    /// Its network namespace.
    pub network: Arc<OwnedFd>,
    /// Its control group of memory.
    group: Option<String>,
    end: AsyncFd<OwnedFd>,
}

impl Process {
    /// Finds the process that the engine calls `pid`, of the container that it calls `container`. None when it has ended.
    ///
    /// # Errors
    /// When that is no process of the container: then the engine runs elsewhere, and what has that number here is a stranger
    /// whose network is not to be entered.
    pub(super) fn find(pid: i64, container: &str) -> io::Result<Option<Self>> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(None) };
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let opened = || -> io::Result<(OwnedFd, File, String)> {
            let process = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
            let network = File::open(folder.join("ns/net"))?;
            Ok((process, network, fs::read_to_string(folder.join("cgroup"))?))
        };
        let (process, network, groups) = match opened() {
            Ok(opened) => opened,
            // It may have been too quick.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if has_ended(&process)? {
            return Ok(None);
        }
        let own = fs::metadata("/proc/self/ns/net")?;
        let found = network.metadata()?;
        if !groups.contains(container) || (own.dev(), own.ino()) == (found.dev(), found.ino()) {
            return Err(io::Error::other("the engine's containers are not processes of this machine"));
        }
        // SAFETY: an owned descriptor stays open, and the same, as long as what owns it.
        let end = unsafe { AsyncFd::register(process) }?;
        Ok(Some(Self { network: Arc::new(network.into()), group: memory_group(&groups), end }))
    }

    /// Whether the kernel killed something of the container for want of memory, as long as its control group is there: Podman
    /// keeps it for a while after the end.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(|group| Cgroups::of_this_machine().ran_out_of_memory(group))
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) {
        // The descriptor is readable from then on; nothing else can be wrong with it.
        let _ = self.end.readable().await;
    }
}

/// From `/proc/PID/cgroup`: the line of the memory controller, or of the one hierarchy of all.
fn memory_group(groups: &str) -> Option<String> {
    let find = |wanted: &str| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers
                .split(',')
                .any(|controller| controller == wanted)
                .then(|| path.trim_start_matches('/').to_owned())
        })
    };
    find("memory").or_else(|| find(""))
}

fn has_ended(process: &OwnedFd) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_memory_is_found() {
        let old = "5:memory:/docker/abc\n4:cpu,cpuacct:/other\n0::/docker/abc\n";
        assert_eq!(memory_group(old).as_deref(), Some("docker/abc"));
        assert_eq!(
            memory_group("0::/machine.slice/libpod-abc.scope\n").as_deref(),
            Some("machine.slice/libpod-abc.scope")
        );
        assert_eq!(memory_group("3:cpu:/x\n"), None);
    }

    #[tokio::test]
    async fn strangers_are_not_entered() {
        let own = i64::from(std::process::id());
        let refused = Process::find(own, "0123456789abcdef").err().expect("it is no container's");
        assert!(refused.to_string().contains("this machine"), "{refused}");
        for nobody in [0, -1, i64::MAX] {
            assert!(Process::find(nobody, "0123456789abcdef").unwrap().is_none(), "{nobody}");
        }
    }
}
