//! Processes of a container whose shim was killed. They become children of the gateway, which is the next subreaper, and stay in
//! the machine's table of processes until it asks how they ended.
//!
//! Those of runc and crun are in a process namespace, whose end takes them along. gVisor's are not: one serves its files, and
//! others hold the memory of its guests. They end when its kernel does, and its own command waits for that.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid};

use super::user::RANGE;

/// Takes the ends of those children of ours that run with the numbers of the container whose root is `first`, where they have
/// ended. Gives whether some have not ended.
pub(super) fn reap(first: u32) -> bool {
    let numbers = first..first + RANGE;
    let of_it = |pid: &Pid| user(*pid).is_some_and(|user| numbers.contains(&user));
    let mut left = false;
    for child in children().into_iter().filter(of_it) {
        let ended = rustix::process::waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        left |= matches!(ended, Ok(None));
    }
    left
}

/// Our children, the ended ones among them. Orphans become those of the first thread.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// The number that a process runs with on the machine.
fn user(pid: Pid) -> Option<u32> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}
