//! The process: how it starts, refuses to start, and ends.

use std::process::{Command, Output};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

use crate::support::gateway::Gateway;

/// Runs code in a session; the status and the answer.
fn run(gateway: &str, session: &str, code: &str) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{gateway}/pools/python/executions?identifier={session}");
    let mut answer = agent.post(&url).send_json(json!({ "code": code })).expect("the gateway answers");
    (answer.status().as_u16(), answer.body_mut().read_json().expect("in JSON"))
}

/// A start that is expected to fail at once.
pub fn refused(arguments: &[&str], settings: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandpool.toml");
    fs::write(&file, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.arg("serve").args(arguments).arg("--config").arg(&file).arg("--data-dir").arg(folder.path());
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(!status.success(), "it started");
    assert!(stdout.is_empty(), "it listened: {}", String::from_utf8_lossy(&stdout));
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn a_terminated_gateway_finishes_what_runs_and_refuses_what_is_new() {
    let gateway = Gateway::start();
    let url = gateway.url().to_owned();
    assert_eq!(run(&url, "session", "x = 1").0, 200);
    let running = thread::spawn(move || run(&url, "session", "import time; time.sleep(3); x"));
    thread::sleep(Duration::from_secs(1));
    gateway.terminate();
    thread::sleep(Duration::from_millis(500));
    let (status, answer) = run(gateway.url(), "another", "1");
    assert_eq!(status, 503, "{answer}");
    let (status, answer) = running.join().unwrap();
    assert_eq!((status, &answer["result"]["executionResult"]), (200, &json!(1)), "{answer}");
    assert!(gateway.wait().success(), "{}", gateway.log());
}

#[test]
fn a_terminated_gateway_does_not_wait_longer_than_its_grace() {
    let gateway = Gateway::configured(
        "grace_seconds = 1\n[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1",
    );
    let url = gateway.url().to_owned();
    let running = thread::spawn(move || run(&url, "session", "while True: pass"));
    thread::sleep(Duration::from_secs(1));
    gateway.terminate();
    assert!(gateway.wait().success(), "{}", gateway.log());
    let (status, answer) = running.join().unwrap();
    assert_eq!((status, &answer["status"]), (200, &json!("Canceled")), "{answer}");
}

#[test]
fn everything_wrong_in_the_configuration_is_told_before_it_listens() {
    let told = refused(&[], "keys = ['short']\n[[pool]]\nname = 'a'\ncooldown_seconds = 0");
    assert!(told.contains("16 characters") && told.contains("cooldown_seconds"), "{told}");
    assert!(refused(&[], "lisen = '127.0.0.1:0'").contains("lisen"));
}

#[test]
fn beyond_loopback_it_wants_keys() {
    assert!(refused(&["--listen", "0.0.0.0:0"], "").contains("--insecure"));
}
