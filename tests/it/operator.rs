//! The walk of the README's "A day of an operator", with the command line alone.

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::gateway::Gateway;

/// Somebody at a terminal, with a key or none.
struct Terminal<'a> {
    gateway: &'a Gateway,
    key: &'a str,
}

impl Terminal<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command.args(arguments).stdin(Stdio::null());
        command.env("SANDPOOL_URL", self.gateway.url()).env("SANDPOOL_KEY", self.key);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    #[track_caller]
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it writes text")
    }

    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        self.said(arguments).lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }
}

/// Ends it if the test does.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_platform_engineer_gets_through_the_day_with_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    // The first key is made before anybody can reach the gateway.
    let first = Command::new(env!("CARGO_BIN_EXE_sandpool"))
        .args(["key", "create", "--local", "--name", "admin", "--role", "contributor", "--role", "executor"])
        .args(["--all-pools", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(first.status.success(), "{first:?}");
    let admin_key = String::from_utf8(first.stdout).unwrap().trim().to_owned();
    let gateway =
        Gateway::on_data("[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 0", folder.path());
    let _: SocketAddr = gateway.url().trim_start_matches("http://").parse().expect("an address");
    let admin = Terminal { gateway: &gateway, key: &admin_key };
    let nobody = Terminal { gateway: &gateway, key: "" };
    let refused = nobody.run(&["exec", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Authorization"), "{refused:?}");

    // A pool, and a key for those who use it.
    let create = ["pool", "create", "team-a", "--edition", "base", "--max-sessions", "3", "--ready-sessions", "1"];
    let endpoint = admin.said(&[&create[..], &["--tag", "team=research", "--tag", "cost=42"]].concat());
    assert!(endpoint.trim().ends_with("/team-a"), "{endpoint}");
    let made = admin.said(&["key", "create", "--name", "research", "--pool", "team-a", "--tenant", "research"]);
    let user = Terminal { gateway: &gateway, key: made.trim() };
    assert!(admin.said(&["key", "list"]).contains("research"));

    // Code runs with it, there and nowhere else.
    assert_eq!(
        user.said(&["exec", "--pool", "team-a", "--session", "notebook-1", "print('found me')\n6 * 7"]),
        "found me\n42\n"
    );
    assert_eq!(user.run(&["exec", "--pool", "python", "1"]).status.code(), Some(2));
    assert_eq!(user.run(&["pool", "delete", "team-a"]).status.code(), Some(2));

    // It is in the logs, in the metrics, and in the use by tag.
    let logs = admin.said(&["logs", "--pool", "team-a", "--session", "notebook-1"]);
    assert!(logs.contains("found me"), "{logs}");
    assert!(admin.said(&["logs", "lifecycle", "--pool", "team-a"]).contains("SessionCreated"));
    let metrics = admin.said(&["metrics", "team-a"]);
    let ran = "sandpool_execution_seconds_count{outcome=\"finished\",poolName=\"team-a\"} 1";
    assert!(metrics.lines().any(|line| line == ran), "{metrics}");
    let usage = admin.objects(&["usage", "--by", "tag:team", "--output", "json"]);
    let research = usage.iter().find(|sum| sum["group"] == "research").expect("its tag");
    assert_eq!(research["executions"], 1);
    let audit = admin.said(&["audit", "--pool", "team-a", "--operation", "Execute"]);
    assert!(audit.contains("127.0.0.1") && audit.contains("200"), "{audit}");
    assert!(!admin.said(&["audit"]).contains(made.trim()), "no key is in the records");

    // An incident: the pool is full, and one session does not come to an end.
    assert!(admin.said(&["pool", "health", "--pool", "team-a"]).contains("is well"));
    let spin = ["exec", "--pool", "team-a", "--session", "stuck", "--timeout", "200", "while True: pass"];
    let stuck = Background(user.command(&spin).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    user.said(&["exec", "--pool", "team-a", "--session", "notebook-2", "1"]);
    let longest = || {
        let sessions = admin.objects(&["session", "list", "--pool", "team-a", "--output", "json"]);
        let seconds = |session: &Value| session["runningForSeconds"].as_f64();
        let found = sessions.iter().filter_map(|session| Some((seconds(session)?, session["identifier"].clone())));
        found.max_by(|one, other| one.0.total_cmp(&other.0))
    };
    let began = Instant::now();
    let (_, found) = loop {
        if let Some(found) = longest().filter(|(seconds, _)| *seconds > 1.0) {
            break found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing runs");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(found, "stuck");
    let health = admin.run(&["pool", "health", "--pool", "team-a"]);
    let told = String::from_utf8_lossy(&health.stdout).into_owned();
    assert_eq!(health.status.code(), Some(1), "{told}");
    assert!(told.contains("LOOK  Sessions: 3 of 3 active, 1 of them running code, the longest for "), "{told}");
    let top = admin.said(&["top"]);
    assert!(top.contains("LONGEST") && top.lines().any(|line| line.starts_with("team-a  3/3")), "{top}");
    let listed = admin.said(&["session", "list", "--pool", "team-a"]);
    assert!(listed.contains("RUNNING FOR") && listed.lines().any(|line| line.starts_with("stuck")), "{listed}");

    // It is stopped, and its caller is told.
    admin.said(&["session", "stop", "stuck", "--pool", "team-a"]);
    let mut stuck = stuck;
    assert!(!stuck.0.wait().unwrap().success());
    let health = admin.run(&["pool", "health", "--pool", "team-a"]);
    assert_eq!(health.status.code(), Some(0), "{health:?}");
    let stops = admin.said(&["audit", "--pool", "team-a", "--operation", "StopSession"]);
    assert!(stops.contains("StopSession") && stops.contains("200"), "{stops}");

    // And the pool goes.
    admin.said(&["pool", "delete", "team-a"]);
    assert_eq!(user.run(&["exec", "--pool", "team-a", "1"]).status.code(), Some(2));
}
