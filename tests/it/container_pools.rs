//! Pools of containers: allocation, health, lifecycle, management.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::container_pools::PoolGateway;
use crate::support::containers::{Backend, runtime};
use crate::support::http::eventually;
use crate::support::images::Recipe;

/// What tells one container from another.
async fn container_of(gateway: &PoolGateway, identifier: &str) -> String {
    let (status, map) = gateway.get(&format!("/read?/proc/sys/kernel/random/boot_id&identifier={identifier}")).await;
    assert_eq!(status, 200, "{map}");
    gateway.get(&format!("/count?identifier={identifier}")).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_has_a_container_of_its_own() {
    let Some(gateway) = PoolGateway::open("max_concurrent_sessions = 3").await else { return };
    assert_eq!(gateway.ask("POST", "/write?/mine&identifier=one-one").await.0, 200);
    assert_eq!(gateway.get("/read?/mine&identifier=one-one").await, (200, "x".into()));
    assert_eq!(gateway.get("/read?/mine&identifier=two-two").await.0, 500, "another container has no such file");
    assert_eq!(gateway.pool.sessions(0, 10).total, 2);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_first_requests_share_one_container() {
    let Some(gateway) = PoolGateway::open("ready_session_instances = 0\nmax_concurrent_sessions = 4").await else {
        return;
    };
    let answers = futures_util::future::join_all((0..8).map(|_| gateway.get("/hello?identifier=same"))).await;
    assert!(answers.iter().all(|answer| *answer == (200, "hello".to_owned())), "{answers:?}");
    let served: u32 = container_of(&gateway, "same").await.parse().unwrap();
    assert!(served >= 9, "{served} requests in the one container");
    assert_eq!(gateway.pool.standing().in_use, 1);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_refuses_until_a_session_ends() {
    let Some(gateway) = PoolGateway::open("ready_session_instances = 1\nmax_concurrent_sessions = 2").await else {
        return;
    };
    for identifier in ["first", "second"] {
        assert_eq!(gateway.get(&format!("/hello?identifier={identifier}")).await.0, 200);
    }
    assert_eq!(gateway.refusal("GET", "/hello?identifier=third").await, (429, "SessionPoolFull".into()));
    let (status, text) = gateway.ask("POST", "/.management/stopSession?identifier=first").await;
    assert_eq!((status, text.as_str()), (200, "Session first in session pool app stopped."));
    assert_eq!(gateway.get("/hello?identifier=third").await.0, 200);
    gateway.end().await;
}

/// So many that everything which is there once is wanted by several at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_sessions_live_at_once_and_leave_nothing() {
    const SESSIONS: usize = 100;
    let settings = "ready_session_instances = 2\nmax_concurrent_sessions = 100\nallocation_timeout_seconds = 300";
    let Some(gateway) = PoolGateway::open(settings).await else { return };
    let first = |number: usize| {
        let gateway = &gateway;
        async move { gateway.ask("POST", &format!("/write?/mine&identifier=session-{number}")).await.0 }
    };
    let began = Instant::now();
    let answers = futures_util::future::join_all((0..SESSIONS).map(first)).await;
    println!("{SESSIONS} sessions in {:?}", began.elapsed());
    assert_eq!(answers, [200; SESSIONS]);
    assert_eq!(gateway.pool.standing().in_use, SESSIONS);
    assert_eq!(gateway.refusal("GET", "/hello?identifier=one-more").await, (429, "SessionPoolFull".into()));
    for number in [0, 1, 50, 99] {
        assert_eq!(gateway.get(&format!("/read?/mine&identifier=session-{number}")).await, (200, "x".into()));
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liveness_failure_replaces_the_container() {
    let settings = "max_concurrent_sessions = 4\ntermination_grace_seconds = 0\n[[probes]]\ntype = 'liveness'\n\
        http_get = { path = '/health', port = 8080 }\nperiod_seconds = 1\nfailure_threshold = 2";
    let Some(gateway) = PoolGateway::open(settings).await else { return };
    assert_eq!(gateway.ask("POST", "/write?/mark&identifier=well").await.0, 200);
    assert_eq!(gateway.get("/sick?identifier=well").await.0, 200);
    let fresh = async || gateway.get("/read?/mark&identifier=well").await.0 == 500;
    eventually("the sick container is replaced", fresh).await;
    assert_eq!(gateway.get("/health?identifier=well").await, (200, "well".into()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_probes_work_to_the_letter() {
    let settings = "ready_session_instances = 5\nmax_concurrent_sessions = 10\n\
        [[probes]]\ntype = 'liveness'\nhttp_get = { path = '/health', port = 8080 }\nperiod_seconds = 10\n\
        [[probes]]\ntype = 'startup'\nhttp_get = { path = '/ready', port = 8080 }\nperiod_seconds = 5\nfailure_threshold = 30";
    let Some(gateway) = PoolGateway::open(settings).await else { return };
    eventually("five are ready", async || gateway.pool.standing().ready == 5).await;
    assert_eq!(gateway.get("/hello?identifier=session").await.0, 200);
    eventually("and five again", async || gateway.pool.standing().ready == 5).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_becomes_ready_is_told_and_tried_again() {
    let settings = "ready_session_instances = 1\nallocation_timeout_seconds = 20\n\
        [[probes]]\ntype = 'startup'\ntcp_socket = { port = 8080 }\nperiod_seconds = 1\nfailure_threshold = 1";
    let Some(gateway) = PoolGateway::of(&Recipe::app(&["sleep"]), settings).await else { return };
    // Whoever comes waits for some failures, and then is told at once.
    assert_eq!(gateway.refusal("GET", "/hello?identifier=session").await, (503, "SessionPoolNotReady".into()));
    let (_, health) = gateway.json("GET", "/.management/health").await;
    assert!(health["failedStarts"].as_u64().unwrap() >= 3, "{health}");
    assert!(health["lastFailure"].as_str().unwrap().contains("did not start"), "{health}");
    assert_eq!(gateway.pool.sessions(0, 10).total, 0, "no container, no session");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_ends_at_once_and_one_that_is_not_there_are_told() {
    let Some(gateway) = PoolGateway::of(&Recipe::app(&["exit", "7"]), "").await else { return };
    let failed = async || gateway.pool.standing().last_failure.is_some_and(|why| why.contains("exited with code 7"));
    eventually("the exit is told", failed).await;
    gateway.end().await;
    let Some(backend) = Backend::open(runtime()).await else { return };
    let gateway = PoolGateway::with(backend, "127.0.0.1:1/nothing:1", "").await;
    let failed = async || gateway.pool.standing().last_failure.is_some_and(|why| why.contains("127.0.0.1:1/nothing:1"));
    eventually("the registry's silence is told", failed).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_after_its_cooldown_or_with_its_container() {
    let settings = "lifecycle = { type = 'timed', cooldown_seconds = 1 }\ntermination_grace_seconds = 0";
    let Some(gateway) = PoolGateway::open(settings).await else { return };
    assert_eq!(gateway.get("/hello?identifier=session").await.0, 200);
    eventually("it cools down", async || gateway.pool.sessions(0, 10).total == 0).await;
    gateway.end().await;
    let settings = "lifecycle = { type = 'on-container-exit', max_alive_seconds = 2 }\ntermination_grace_seconds = 0";
    let Some(gateway) = PoolGateway::open(settings).await else { return };
    assert_eq!(gateway.refusal("GET", "/exit?0&identifier=session").await, (502, "SessionContainerFailed".into()));
    eventually("it went with its container", async || gateway.pool.sessions(0, 10).total == 0).await;
    assert_eq!(gateway.get("/hello?identifier=session").await.0, 200, "a fresh one");
    // Its age counts, and not its use.
    eventually("it is old", async || {
        gateway.pool.session(&sandpool::session::Identifier::new("session").unwrap()).is_none()
    })
    .await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_managed() {
    let Some(gateway) = PoolGateway::open("").await else { return };
    let missing = (400, "SessionWithIdentifierNotFound".to_owned());
    assert_eq!(gateway.refusal("POST", "/.management/getSession?identifier=none").await, missing);
    assert_eq!(gateway.refusal("POST", "/.management/stopSession?identifier=none").await, missing);
    assert_eq!(gateway.refusal("GET", "/.management/console?identifier=none").await, missing);
    assert_eq!(gateway.get("/print?a%20line&identifier=session").await.0, 200);
    let (status, session) = gateway.json("POST", "/.management/getSession?identifier=session").await;
    assert_eq!((status, &session["identifier"]), (200, &json!("session")), "{session}");
    let (_, list) = gateway.json("POST", "/.management/listSessions?skip=0").await;
    assert_eq!((&list["count"], &list["value"][0]["identifier"]), (&json!(1), &json!("session")), "{list}");
    let console = async || {
        let (_, console) = gateway.json("GET", "/.management/console?identifier=session").await;
        let lines = console["value"].as_array().unwrap().clone();
        lines.iter().any(|line| line["text"] == "a%20line" && line["stream"] == "stdout")
    };
    eventually("its line is there", console).await;
    let (_, health) = gateway.json("GET", "/.management/health").await;
    assert_eq!((&health["inUse"], &health["backend"]["engine"]), (&json!(1), &json!(runtime())), "{health}");
    assert_eq!(gateway.refusal("GET", "/.management/getSession?identifier=session").await.0, 405);
    assert_eq!(gateway.refusal("POST", "/.management/other?identifier=session").await.0, 404);
    assert_eq!(gateway.refusal("POST", "/%2emanagement/other?identifier=session").await.0, 404);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_while_waiting_leaves_nothing() {
    let Some(gateway) = PoolGateway::of(&Recipe::app(&["late", "1"]), "ready_session_instances = 0").await else {
        return;
    };
    let left = tokio::time::timeout(Duration::from_millis(200), gateway.get("/hello?identifier=session")).await;
    assert!(left.is_err(), "it was not ready yet");
    eventually("no session", async || gateway.pool.sessions(0, 10).total == 0).await;
    assert_eq!(gateway.get("/hello?identifier=session").await.0, 200);
    gateway.end().await;
}
