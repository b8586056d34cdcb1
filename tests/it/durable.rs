//! What was acknowledged is there, whatever becomes of the process: the real binary, killed.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};

use crate::support::gateway::Gateway;

const DURABLE: &str = "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 2\ndurable = true\n";
const SESSIONS: usize = 4;
/// `SANDPOOL_TEST_KILLS` says how often the gateway is killed.
const KILLS: u64 = 5;

/// Runs code; none when the gateway went away before it answered.
fn run(gateway: &str, session: &str, code: &str) -> Option<Value> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{gateway}/pools/python/executions?identifier={session}");
    agent.post(&url).send_json(json!({ "code": code })).ok()?.body_mut().read_json().ok()
}

fn upload(gateway: &str, session: &str, name: &str, content: &str) -> Option<u16> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{gateway}/pools/python/files?identifier={session}");
    let body = format!(
        "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n--xyz--\r\n"
    );
    let request = agent.post(&url).header("Content-Type", "multipart/form-data; boundary=xyz");
    request.send(body.as_bytes()).ok().map(|answer| answer.status().as_u16())
}

fn result(answer: &Value) -> &Value {
    &answer["result"]["executionResult"]
}

#[test]
fn no_acknowledged_execution_or_upload_is_lost_however_often_the_gateway_is_killed() {
    let kills = env::var("SANDPOOL_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    // What each session has acknowledged: executions, and uploads.
    let acknowledged: [(AtomicU64, AtomicU64); SESSIONS] = Default::default();
    for kill in 0..kills {
        let gateway = Gateway::on_data(DURABLE, folder.path());
        for (number, (executed, uploaded)) in acknowledged.iter().enumerate() {
            check(gateway.url(), number, executed, uploaded, kill);
        }
        let (url, over) = (gateway.url().to_owned(), AtomicBool::new(false));
        thread::scope(|scope| {
            for (number, (executed, uploaded)) in acknowledged.iter().enumerate() {
                let (url, over) = (&url, &over);
                scope.spawn(move || work(url, number, executed, uploaded, over));
            }
            // Anywhere between the first answers and the middle of things; not the same twice.
            thread::sleep(Duration::from_millis(150 + kill * 7919 % 600));
            gateway.kill();
            over.store(true, Ordering::SeqCst);
        });
    }
    let gateway = Gateway::on_data(DURABLE, folder.path());
    for (number, (executed, uploaded)) in acknowledged.iter().enumerate() {
        check(gateway.url(), number, executed, uploaded, kills);
        assert!(executed.load(Ordering::SeqCst) > 0, "session {number} did nothing at all");
    }
}

/// Counts on in the session's memory and in a file of it, until the gateway is gone.
fn work(url: &str, number: usize, executed: &AtomicU64, uploaded: &AtomicU64, over: &AtomicBool) {
    let session = format!("killed-{number}");
    let code = "n = globals().get('n', 0) + 1\nopen('n.txt', 'w').write(str(n))\npad = bytes([n % 251]) * 50_000\nn";
    while !over.load(Ordering::SeqCst) {
        let Some(answer) = run(url, &session, code) else { return };
        assert_eq!(answer["sessionKept"], true, "{answer}");
        executed.store(result(&answer).as_u64().unwrap(), Ordering::SeqCst);
        let next = uploaded.load(Ordering::SeqCst) + 1;
        match upload(url, &session, "u.txt", &next.to_string()) {
            Some(200) => uploaded.store(next, Ordering::SeqCst),
            Some(other) => panic!("an upload was answered with {other}"),
            None => return,
        }
    }
}

/// What was acknowledged is there; what was under way may be there too, whole.
fn check(url: &str, number: usize, executed: &AtomicU64, uploaded: &AtomicU64, kill: u64) {
    let look = "n = globals().get('n', 0)\nimport os\nread = lambda name: int(open(name).read()) if os.path.exists(name) else 0\n\
                [n, read('n.txt'), read('u.txt'), globals().get('pad', b'')[:1] == bytes([n % 251]) or n == 0]";
    let answer = run(url, &format!("killed-{number}"), look).expect("the gateway has just started");
    let found = result(&answer).clone();
    let found: Value = found.as_str().map_or(found.clone(), |text| {
        serde_json::from_str(&text.replace("True", "true").replace("False", "false")).unwrap()
    });
    let (n, in_file, in_upload) = (&found[0], &found[1], &found[2]);
    let (executed_was, uploaded_was) = (executed.load(Ordering::SeqCst), uploaded.load(Ordering::SeqCst));
    let told = format!("session {number} after {kill} kills had {executed_was} and {uploaded_was}: {answer}");
    assert!([executed_was, executed_was + 1].contains(&n.as_u64().unwrap()), "{told}");
    assert!([uploaded_was, uploaded_was + 1].contains(&in_upload.as_u64().unwrap()), "{told}");
    assert_eq!((n, &found[3]), (in_file, &json!(true)), "{told}");
    executed.store(n.as_u64().unwrap(), Ordering::SeqCst);
    uploaded.store(in_upload.as_u64().unwrap(), Ordering::SeqCst);
}

#[test]
fn a_deleted_session_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::on_data(DURABLE, folder.path());
    for session in ["deleted", "stays"] {
        run(gateway.url(), session, "x = 1").unwrap();
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{}?identifier=deleted", gateway.pool_url("python") + "/session");
    assert_eq!(agent.delete(&url).call().unwrap().status().as_u16(), 204);
    gateway.kill();
    let gateway = Gateway::on_data(DURABLE, folder.path());
    assert_eq!(run(gateway.url(), "deleted", "'x' in globals()").unwrap()["sessionCreated"], true);
    assert_eq!(run(gateway.url(), "stays", "x").unwrap()["sessionCreated"], false);
}

#[test]
fn a_clean_restart_keeps_sessions_that_hibernate() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\non_cooldown = 'hibernate'\n";
    for round in 0..3 {
        let gateway = Gateway::on_data(settings, folder.path());
        let answer = run(gateway.url(), "restarted", "n = globals().get('n', 0) + 1\nn").unwrap();
        assert_eq!((result(&answer), &answer["sessionCreated"]), (&json!(round + 1), &json!(round == 0)), "{answer}");
        gateway.terminate();
        assert!(gateway.wait().success(), "{}", gateway.log());
    }
    // Another gateway cannot have the same store.
    let gateway = Gateway::on_data(settings, folder.path());
    let file = folder.path().join("second.toml");
    fs::write(&file, settings).unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    second.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file).arg("--data-dir").arg(folder.path());
    let refused = second.output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("another gateway"), "{told}");
    drop(gateway);
}

/// Writes until the store is full: every answer says what is kept, nobody is lost, and room that is made is used.
fn fill(data: &Path, settings: &str, make_room: impl Fn(&Gateway)) {
    let gateway = Gateway::on_data(settings, data);
    let first = run(gateway.url(), "earlier", "import os\ndata = os.urandom(2_000_000)").unwrap();
    assert_eq!(first["sessionKept"], true, "{first}");
    let grow = "import os\ndata = globals().get('data', []) + [os.urandom(300_000)]\nlen(data)";
    let mut kept = 0;
    let refused = loop {
        let answer = run(gateway.url(), "greedy", grow).expect("the gateway stays up");
        assert_eq!(answer["status"], "Succeeded", "{answer}");
        if answer["sessionKept"] == false {
            break answer;
        }
        kept += 1;
        assert!(kept < 100, "it is never full");
    };
    assert!(refused["result"]["stderr"].as_str().unwrap().contains("could not be put on disk"), "{refused}");
    // It goes on in memory.
    assert_eq!(result(&run(gateway.url(), "greedy", "len(data)").unwrap()), &json!(kept + 1));
    // An upload that cannot be kept is refused, and the gateway lives.
    assert_eq!(upload(gateway.url(), "greedy", "u.txt", "1"), Some(503));
    make_room(&gateway);
    let fits = run(gateway.url(), "greedy", "1").unwrap();
    assert_eq!(fits["sessionKept"], true, "{fits}");
    assert_eq!(run(gateway.url(), "modest", "x = 1").unwrap()["sessionKept"], true);
    gateway.kill();
    let gateway = Gateway::on_data(settings, data);
    assert_eq!(result(&run(gateway.url(), "greedy", "len(data)").unwrap()), &json!(kept + 1));
    assert_eq!(result(&run(gateway.url(), "modest", "x").unwrap()), &json!(1));
}

#[test]
fn a_store_that_is_full_loses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // A session that ends makes room.
    fill(folder.path(), &format!("snapshots_bytes = 5000000\n{DURABLE}"), |gateway| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{}/session?identifier=earlier", gateway.pool_url("python"));
        assert_eq!(agent.delete(&url).call().unwrap().status().as_u16(), 204);
    });
}

#[test]
fn a_disk_that_is_full_loses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|mounted| mounted.status.success()) {
        eprintln!("left out: this user may mount no small disk to fill");
        return;
    }
    let other = disk.join("other");
    fs::write(&other, vec![1; 8 << 20]).unwrap();
    let filled = std::panic::catch_unwind(|| fill(&disk, DURABLE, |_| fs::remove_file(&other).unwrap()));
    Command::new("umount").arg("-l").arg(&disk).status().unwrap();
    filled.unwrap();
}
