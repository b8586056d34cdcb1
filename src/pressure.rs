//! Memory that runs short: idle sessions hibernate, the earliest used of all pools first, before the machine refuses anything.
//!
//! What counts is the memory that the process has to itself, as the kernel tells it. It ends no session and refuses none.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pool::Pool;

/// Sessions that go to disk before the memory is looked at again.
const AT_ONCE: usize = 8;

/// The limit, and what is done above it.
pub struct Pressure {
    limit_bytes: AtomicU64,
}

impl Default for Pressure {
    /// No limit.
    fn default() -> Self {
        Self { limit_bytes: AtomicU64::new(u64::MAX) }
    }
}

impl Pressure {
    pub fn set_limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Puts sessions to disk until the memory is below the limit, or nobody is idle.
    pub async fn relieve<'a>(&self, pools: impl Iterator<Item = &'a Arc<Pool>>) {
        let limit = self.limit_bytes.load(Ordering::Relaxed);
        if limit == u64::MAX || private_bytes().is_none_or(|bytes| bytes <= limit) {
            return;
        }
        let mut idle: Vec<_> = pools
            .flat_map(|pool| pool.earliest_used(usize::MAX).into_iter().map(move |(at, session)| (at, pool, session)))
            .collect();
        idle.sort_by_key(|(used_at, ..)| *used_at);
        for some in idle.chunks(AT_ONCE) {
            for (_, pool, session) in some {
                let (pool, session) = ((*pool).clone(), session.clone());
                let gone = pool.clone().workers().spawn(async move { pool.hibernate(&session).await }).await;
                if matches!(gone, Ok(Err(_)) | Err(_)) {
                    // The disk takes no other either; it was logged.
                    return;
                }
            }
            if private_bytes().is_none_or(|bytes| bytes <= limit) {
                return;
            }
        }
    }
}

/// Memory that only this process has, in bytes; None where the kernel does not tell.
pub fn private_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// What the process may take for itself: three quarters of what the machine, or its control group, has left for it.
pub fn default_limit_bytes() -> Option<u64> {
    let available = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(available.min(group.unwrap_or(u64::MAX)) / 4 * 3)
}

/// The figure after `name` in a file of the kernel's, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        assert!(private_bytes().is_some_and(|bytes| bytes > 0));
        assert!(default_limit_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(kilobytes("VmPeak:\t 8 kB\nRssAnon:\t  12 kB\n", "RssAnon:"), Some(12 << 10));
        assert_eq!(kilobytes("RssAnon: many kB", "RssAnon:"), None);
    }
}
