//! What is particular to sessions behind gVisor's kernel, beyond what every backend must do (`containers.rs`).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::shell_pools::{pool_on, run_in};
use crate::support::container_pools::PoolGateway;
use crate::support::containers::{Backend, ask, installed};
use crate::support::http::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_says_that_its_kernel_is_gvisors() {
    let Some(gateway) = PoolGateway::on("runsc", "").await else { return };
    assert_eq!(gateway.get("/hello?identifier=session").await, (200, "hello".into()));
    let (_, health) = gateway.json("GET", "/.management/health").await;
    let backend = &health["backend"];
    assert_eq!((&backend["engine"], &backend["isolation"]), (&json!("runsc"), &json!("user-kernel")), "{health}");
    for enforced in ["memory", "cpu", "pids", "disk", "egress", "user_namespace", "seccomp"] {
        assert_eq!(backend["enforced"][enforced], true, "{enforced}: {health}");
    }
    let (_, kernel) = gateway.get("/read?/proc/version&identifier=session").await;
    assert!(!kernel.contains(&std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_dies_under_a_request_cuts_it_at_once() {
    let Some(gateway) = PoolGateway::on("runsc", "termination_grace_seconds = 0").await else { return };
    assert_eq!(gateway.get("/hello?identifier=session").await.0, 200);
    // More memory than it has: the machine's kernel ends gVisor's.
    let began = Instant::now();
    let eaten = gateway.refusal("GET", "/eat?300&identifier=session").await;
    assert_eq!(eaten, (502, "SessionContainerFailed".into()));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Sockets of the one that dies still take connections for a moment, which come to nothing.
    eventually("a fresh one answers", async || gateway.get("/hello?identifier=session").await.0 == 200).await;
    // Nobody asks what waits for an answer.
    let hanging = gateway.refusal("GET", "/hang?identifier=session");
    let dying = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = gateway.refusal("GET", "/exit?1&identifier=session").await;
        Instant::now()
    };
    let (answer, died) = tokio::join!(async { (hanging.await, Instant::now()) }, dying);
    assert_eq!(answer.0, (502, "SessionContainerFailed".into()));
    assert!(answer.1.saturating_duration_since(died) < Duration::from_secs(1));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_a_destroyed_session_are_buried() {
    let Some(backend) = Backend::open("runsc").await else { return };
    let container = backend.serving(|_| ()).await;
    let pids = backend.pids(container.id());
    assert!(pids.len() > 2, "a kernel, its files' server, its guests: {pids:?}");
    assert_eq!(ask(&*container, "/hello").await.0, 200);
    let began = Instant::now();
    container.destroy().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // One that has ended and was not waited for would still be there.
    let gone = async || pids.iter().all(|pid| !std::path::Path::new("/proc").join(pid).exists());
    eventually("all are gone", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runsc_that_will_not_do_is_refused_with_the_reason() {
    if !installed("runsc") {
        return;
    }
    use sandpool::sandbox::container::runtime::{OciBackend, OciSettings};
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let runsc = folder.path().join("runsc");
    std::fs::write(&runsc, "#!/bin/sh\necho 'runsc version 0.0~20221219.0'\n").unwrap();
    std::fs::set_permissions(&runsc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = env!("CARGO_BIN_EXE_sandpool").into();
    let settings = OciSettings { runtime: Some(runsc.clone()), program, ..OciSettings::default() };
    let refused = OciBackend::open(&settings, folder.path()).await.err().expect("it is too old").told();
    assert!(refused.contains("apt-get install -t bookworm-backports runsc"), "{refused}");
    // One whose platform does not work: it makes no container.
    std::fs::write(&runsc, "#!/bin/sh\n[ \"$1\" = --version ] && echo 'runsc version release-20250101.0'\n").unwrap();
    let refused = OciBackend::open(&settings, folder.path()).await.err().expect("it does not work").told();
    assert!(refused.contains("runsc cannot run containers on this machine"), "{refused}");
    // One that takes `--network=host` for the machine's network.
    let careless = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'runsc version release-20250101.0' && exit\n\
        while [ $# -gt 1 ]; do [ \"$1\" = --pid-file ] && { sleep 5 & echo $! > \"$2\"; }; shift; done\n";
    std::fs::write(&runsc, careless).unwrap();
    let refused = OciBackend::open(&settings, folder.path()).await.err().expect("it shares the network").told();
    assert!(refused.contains("the machine's own net namespace"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_is_its_sessions_own_trouble() {
    let settings = "interpreter = { language = 'shell', limits = { timeout_seconds = 4 } }";
    let Some(gateway) = pool_on("runsc", "", settings).await else { return };
    assert_eq!(run_in(&gateway, "beside", "echo x > file").await.0, "0");
    // Of a hundred not all find a place: its kernel counts them.
    let (_, out, _) = run_in(&gateway, "full", "for i in $(seq 100); do sleep 9 & done 2>&1; echo $!").await;
    assert!(out.contains("fork"), "{out}");
    let (_, _, answer) = run_in(&gateway, "bomb", "b() { b | b & b; }; b").await;
    assert!(answer["status"] != json!("0"), "{answer}");
    // Once the last of them have ended, it goes on; the session beside it noticed nothing.
    let fine = async || run_in(&gateway, "bomb", "echo fine").await.1 == "fine\n";
    eventually("the session goes on", fine).await;
    assert_eq!(run_in(&gateway, "beside", "cat file").await.1, "x\n");
    gateway.end().await;
}
