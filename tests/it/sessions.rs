//! Sessions over a socket: one execution at a time, ends, and fresh starts that say so.

use std::time::{Duration, Instant};

use sandpool::access::Access;
use sandpool::api::serve::Connections;
use serde_json::Value;

use crate::support::http::{Running, eventually, gateway, gateway_with};

fn stdout(answer: &Value) -> &str {
    answer["result"]["stdout"].as_str().unwrap()
}

async fn status(gateway: &Running, identifier: &str, code: &str) -> u16 {
    let body = serde_json::json!({ "code": code }).to_string();
    gateway.post(&format!("/pools/python/executions?identifier={identifier}"), &body).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_uses_ends_and_its_identifier_starts_fresh() {
    let gateway = gateway_with(Access::open(), Connections::default(), |pool| pool.cooldown_seconds = 1).await;
    assert_eq!(gateway.run("idle", "x = 1").await["sessionCreated"], true);
    assert_eq!(gateway.run("idle", "x").await["sessionCreated"], false);
    eventually("the session ends", async || gateway.get("/pools/python/session?identifier=idle").await.status == 400)
        .await;
    let fresh = gateway.run("idle", "'x' in globals()").await;
    assert_eq!(fresh["sessionCreated"], true);
    assert_eq!(fresh["result"]["executionResult"], "False");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_use_restarts_the_cooldown_and_a_long_execution_outlives_it() {
    let gateway = gateway_with(Access::open(), Connections::default(), |pool| pool.cooldown_seconds = 2).await;
    gateway.run("used", "x = 1").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(gateway.run("used", "x").await["sessionCreated"], false);
    }
    assert_eq!(gateway.run("used", "import time\ntime.sleep(3.5)").await["sessionDiscarded"], false);
    assert_eq!(gateway.run("used", "x").await["sessionCreated"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_of_one_session_run_one_at_a_time() {
    let gateway = gateway().await;
    gateway.run("serial", "import time\nrunning = most = done = 0").await;
    let code = "running += 1\nmost = max(most, running)\ntime.sleep(0.05)\nrunning -= 1\ndone += 1";
    futures_util::future::join_all((0..8).map(|_| gateway.run("serial", code))).await;
    assert_eq!(stdout(&gateway.run("serial", "print(most, done)").await), "1 8\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_calls_at_the_same_time_make_one_session() {
    let gateway = gateway().await;
    for round in 0..5 {
        let identifier = format!("race-{round}");
        let calls = (0..10).map(|_| gateway.run(&identifier, "n = globals().get('n', 0) + 1\nn"));
        let answers = futures_util::future::join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| answer["sessionCreated"] == true).count(), 1);
        let mut results: Vec<_> = answers.iter().map(|answer| answer["result"]["executionResult"].as_i64()).collect();
        results.sort_unstable();
        assert_eq!(results, (1..=10).map(Some).collect::<Vec<_>>());
        gateway.send("DELETE", &format!("/pools/python/session?identifier={identifier}"), &[], b"").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_a_session_is_bounded() {
    let gateway = gateway_with(Access::open(), Connections::default(), |pool| pool.queue_length = 2).await;
    let calls = (0..6).map(|_| status(&gateway, "queued", "import time\ntime.sleep(0.7)"));
    let mut statuses = futures_util::future::join_all(calls).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_session_interrupts_what_runs_in_it() {
    let gateway = gateway().await;
    let started = Instant::now();
    let running = gateway.run("ended", "import time\ntime.sleep(60)");
    let ending = async {
        eventually("it runs", async || gateway.get("/pools/python/session?identifier=ended").await.status == 200).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.send("DELETE", "/pools/python/session?identifier=ended", &[], b"").await
    };
    let (answer, ended) = tokio::join!(running, ending);
    assert_eq!(ended.status, 204);
    assert_eq!((&answer["status"], &answer["sessionDiscarded"]), (&"Canceled".into(), &true.into()));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(gateway.run("ended", "1").await["sessionCreated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_guest_is_discarded_and_the_answer_says_so() {
    let gateway = gateway().await;
    let broken = gateway.run("broken", "x = 1\nimport os\nos._exit(1)").await;
    assert_eq!((&broken["status"], &broken["sessionDiscarded"]), (&"Failed".into(), &true.into()));
    let fresh = gateway.run("broken", "'x' in globals()").await;
    assert_eq!((&fresh["sessionCreated"], &fresh["result"]["executionResult"]), (&true.into(), &"False".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_code_wrote_are_told() {
    let gateway = gateway().await;
    gateway.upload("/pools/python/files/upload?identifier=written", "before.txt", b"here already").await;
    let answer = gateway.run("written", "import os\nos.mkdir('out')\nopen('out/a.txt', 'w').write('abc')").await;
    let files: Vec<_> = answer["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(files.len(), 1, "{answer}");
    assert!(files[0].ends_with("a.txt"), "{answer}");
}
