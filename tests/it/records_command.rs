//! The commands for evidence: `logs`, `audit`, `usage`, `top`, `pool health`, `session list|show|stop`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use opentelemetry_proto::tonic::logs::v1::LogsData;
use serde_json::Value;

use crate::support::gateway::Gateway;

fn sandpool(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(arguments).env("SANDPOOL_URL", gateway.url()).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn said(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = sandpool(gateway, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it writes text")
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// One gateway and one story: each start of a process takes its time.
#[test]
fn an_operator_sees_what_happened_and_stops_a_stuck_session() {
    let gateway = Gateway::configured(
        "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\ntags = { team = 'research' }",
    );
    said(&gateway, &["exec", "--session", "evidence", "print('hello\\x1b[2J')"]);
    let logs = said(&gateway, &["logs", "--session", "evidence", "--since", "1h"]);
    assert!(logs.contains("stdout") && logs.contains("hello\\u{1b}[2J"), "{logs}");
    let lines = json_lines(&said(&gateway, &["logs", "lifecycle", "--output", "json"]));
    assert_eq!(lines[0]["OperationName"], "SessionCreated");
    assert!(said(&gateway, &["logs", "pools"]).contains("PoolOpened"));
    let usage = said(&gateway, &["usage", "--by", "tag:team"]);
    assert!(usage.starts_with("TAG:TEAM") && usage.contains("research"), "{usage}");
    assert_eq!(json_lines(&said(&gateway, &["usage", "--output", "json"]))[0]["executions"], 1);
    let audit = said(&gateway, &["audit", "--operation", "Execute"]);
    assert!(audit.contains("Execute") && audit.contains("127.0.0.1") && audit.contains("200"), "{audit}");
    for (command, kind) in [
        (&["logs"][..], "AppEnvSessionConsoleLogs"),
        (&["logs", "lifecycle"], "AppEnvSessionLifecycleLogs"),
        (&["audit"], "SandpoolAuditLogs"),
        (&["usage"], "SandpoolUsage"),
    ] {
        let lines = said(&gateway, &[command, &["--output", "otlp"]].concat());
        for line in lines.lines() {
            let data: LogsData = serde_json::from_str(line).expect("a message of OTLP");
            let records = &data.resource_logs[0].scope_logs[0].log_records;
            assert!(records.iter().all(|record| record.event_name == kind && record.time_unix_nano > 0), "{line}");
        }
        assert!(!lines.is_empty(), "{command:?}");
    }
    assert!(sandpool(&gateway, &["logs", "--since", "yesterday"]).status.code() == Some(2));

    // A session is stuck.
    let url = format!("{}/executions?identifier=stuck", gateway.pool_url("python"));
    let code =
        serde_json::json!({"code": "while True: pass", "executionType": "Asynchronous", "timeoutInSeconds": 200});
    ureq::post(&url).send_json(code).unwrap();
    let running = |name: &str| {
        let sessions = json_lines(&said(&gateway, &["session", "list", "--output", "json"]));
        sessions.iter().find(|session| session["identifier"] == name).map(|session| session["running"] == true)
    };
    while running("stuck") != Some(true) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(running("evidence"), Some(false));
    assert!(said(&gateway, &["session", "list"]).contains("stuck"));
    assert!(said(&gateway, &["session", "show", "stuck"]).contains("expiresAt"));
    said(&gateway, &["session", "stop", "stuck"]);
    assert_eq!(running("stuck"), None);
    let gone = sandpool(&gateway, &["session", "show", "stuck"]);
    assert_eq!(gone.status.code(), Some(2));

    let top = said(&gateway, &["top"]);
    assert!(top.contains("python") && top.contains("1/1000"), "{top}");
    let health = said(&gateway, &["pool", "health"]);
    assert!(health.contains("Sessions: 1 of 1000 active") && health.contains("Pool python is well."), "{health}");
}

#[test]
fn a_full_pool_needs_a_look() {
    let gateway = Gateway::configured(
        "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\nmax_concurrent_sessions = 1",
    );
    said(&gateway, &["exec", "--session", "only-one", "1"]);
    assert_eq!(sandpool(&gateway, &["exec", "--session", "another", "1"]).status.code(), Some(2));
    let health = sandpool(&gateway, &["pool", "health"]);
    assert_eq!(health.status.code(), Some(1));
    let told = String::from_utf8_lossy(&health.stdout).into_owned();
    assert!(told.contains("LOOK  Sessions: 1 of 1 active") && told.contains("1 calls were refused"), "{told}");
}

#[test]
fn logs_are_followed_and_no_line_is_missed() {
    let gateway = Gateway::configured("[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1");
    said(&gateway, &["exec", "--session", "followed", "print('before')"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(["logs", "--follow", "--output", "json"]).env("SANDPOOL_URL", gateway.url()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["Log"], "before");
    // More than a page, and all of one moment.
    said(&gateway, &["exec", "--session", "followed", "print('\\n'.join(str(i) for i in range(2500)))"]);
    for i in 0..2500 {
        assert_eq!(next()["Log"], i.to_string());
    }
    said(&gateway, &["exec", "--session", "followed", "print('after')"]);
    assert_eq!(next()["Log"], "after");
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
}
