//! `sandpool pool health`: in words, and by its exit status: 0 all is well, 1 somebody should look.

use std::process::ExitCode;

use clap::Args;

use super::Done;
use super::client::{self, PoolAddress};
use super::standing::{Standing, seconds};

#[derive(Debug, Args)]
pub struct Health {
    #[command(flatten)]
    gateway: PoolAddress,
}

/// One thing that is well or not.
struct Finding {
    well: bool,
    text: String,
}

/// An allocation that takes longer is noticed by whoever waits for it.
const SLOW_SECONDS: f64 = 1.0;

impl Health {
    pub fn run(self) -> Done {
        // Not `health`: that is the container's own in a pool of containers.
        let standing: Standing = client::get(&self.gateway.url(".management/health"))?;
        let findings = findings(&standing);
        for finding in &findings {
            println!("{}  {}", if finding.well { "ok  " } else { "LOOK" }, finding.text);
        }
        let well = findings.iter().all(|finding| finding.well);
        let word = if well { "is well" } else { "needs a look" };
        println!("Pool {} {word}.", standing.name);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn findings(pool: &Standing) -> Vec<Finding> {
    let (sessions, most) = (&pool.sessions, pool.max_concurrent_sessions);
    let finding = |well, text| Finding { well, text };
    let mut findings = vec![
        finding(
            sessions.active < most,
            format!(
                "Sessions: {} of {most} active, {} of them running code{}.",
                sessions.active,
                sessions.running,
                sessions
                    .longest_running_seconds
                    .map_or_else(String::new, |longest| { format!(", the longest for {}", seconds(Some(longest))) })
            ),
        ),
        finding(
            sessions.waiting == 0 || sessions.waiting < most,
            format!(
                "Waiting: {} executions wait for a session; {} calls were refused.",
                sessions.waiting, pool.rejections
            ),
        ),
        finding(
            sessions.pending == 0 || sessions.ready > 0,
            format!(
                "Ready: {} sandboxes are ready for new sessions, {} are being made.",
                sessions.ready, sessions.pending
            ),
        ),
        finding(pool.failed_starts == 0, format!("Failed starts: {}.", pool.failed_starts)),
        finding(
            pool.allocation.p99_seconds.is_none_or(|p99| p99 <= SLOW_SECONDS),
            format!(
                "Allocation latency: half within {}, 99 of 100 within {} ({} so far).",
                seconds(pool.allocation.p50_seconds),
                seconds(pool.allocation.p99_seconds),
                pool.allocation.count
            ),
        ),
        finding(
            sessions.overdue == 0,
            format!(
                "Cleanup: {} sessions ended ({} broke, {} were rolled back); {} should have ended and have not.",
                sessions.ended, sessions.broken, sessions.rolled_back, sessions.overdue
            ),
        ),
    ];
    if let Some(backend) = &pool.backend {
        let now = match (pool.failures_in_a_row, &pool.last_failure) {
            (0, _) | (_, None) => "they start".to_owned(),
            (failures, Some(why)) => format!("{failures} starts failed in a row, the last because: {why}"),
        };
        let behind = if backend.isolation == "user-kernel" { ", a kernel in user space" } else { "" };
        let text = format!("Containers ({}{behind}): {now}.", backend.engine);
        findings.push(finding(pool.failures_in_a_row == 0, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(change: impl FnOnce(&mut serde_json::Value)) -> Standing {
        let mut standing = serde_json::json!({
            "name": "python", "maxConcurrentSessions": 10, "executions": 5, "rejections": 0, "failedStarts": 0,
            "sessions": {"active": 2, "running": 1, "longestRunningSeconds": 61.5, "waiting": 0, "ready": 3, "pending": 0, "overdue": 0,
                "memoryBytes": 1, "ended": 4, "broken": 0, "rolledBack": 0},
            "allocation": {"count": 5, "p50Seconds": 0.001, "p99Seconds": 0.005}
        });
        change(&mut standing);
        serde_json::from_value(standing).unwrap()
    }

    fn unwell(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let found = findings(&standing(change)).into_iter().filter(|finding| !finding.well);
        found.map(|finding| finding.text.split(':').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_trouble_is_told_by_its_name() {
        assert!(unwell(|_| ()).is_empty());
        assert_eq!(unwell(|s| s["sessions"]["active"] = 10.into()), ["Sessions"]);
        assert_eq!(unwell(|s| s["failedStarts"] = 1.into()), ["Failed starts"]);
        assert_eq!(unwell(|s| s["sessions"]["overdue"] = 1.into()), ["Cleanup"]);
        assert_eq!(unwell(|s| s["allocation"]["p99Seconds"] = 5.0.into()), ["Allocation latency"]);
        let failing = |s: &mut serde_json::Value| {
            s["backend"] = serde_json::json!({"engine": "runc", "isolation": "container"});
            s["failuresInARow"] = 2.into();
            s["lastFailure"] = "no such image".into();
        };
        assert_eq!(unwell(failing), ["Containers (runc)"]);
        let in_user_space = |s: &mut serde_json::Value| {
            failing(s);
            s["backend"] = serde_json::json!({"engine": "runsc", "isolation": "user-kernel"});
        };
        assert_eq!(unwell(in_user_space), ["Containers (runsc, a kernel in user space)"]);
    }
}
