//! Limits of callers, over HTTP: the exact count with a clock that stands still, and one who takes all leaves the others
//! theirs.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use sandpool::access::keys::NewKey;
use sandpool::access::limits::{Limits, Time};
use sandpool::access::{Access, AccessSettings, Grant};
use sandpool::api::serve::Connections;
use serde_json::json;
use tempfile::TempDir;

use crate::support::gateway::Gateway;
use crate::support::http::{Answer, Running, gateway_with};

struct Limited {
    gateway: Running,
    clock: FakeRelativeClock,
    _folder: TempDir,
}

async fn limited(settings: &str) -> Limited {
    let (folder, clock) = (tempfile::tempdir().unwrap(), FakeRelativeClock::default());
    let limits = Limits::new(toml::from_str(settings).unwrap(), Time::Paused(clock.clone()));
    let access = Access::start(AccessSettings::default(), folder.path()).unwrap().with_limits(limits);
    let gateway = gateway_with(access, Connections::default(), |pool| pool.max_concurrent_sessions = 20).await;
    Limited { gateway, clock, _folder: folder }
}

impl Limited {
    fn key(&self, tenant: Option<&str>) -> String {
        let new = NewKey { name: "k".into(), grant: Grant::all(), tenant: tenant.map(str::to_owned), expires_at: None };
        self.gateway.gateway.access().keys().unwrap().create(new).unwrap().0.reveal()
    }

    async fn call(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        self.gateway.send(method, path, &headers, body.as_bytes()).await
    }

    async fn list(&self, key: &str) -> Answer {
        self.call(key, "GET", "/pools/python/listSessions", "").await
    }

    async fn run(&self, key: &str, session: &str, code: &str) -> Answer {
        let path = format!("/pools/python/executions?identifier={session}");
        self.call(key, "POST", &path, &json!({ "code": code }).to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_let_in_to_the_exact_count_also_at_once() {
    let limited = limited("key = { requests_per_second = 2, request_burst = 20 }").await;
    let key = limited.key(None);
    let answers = futures_util::future::join_all((0..60).map(|_| limited.list(&key))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 20);
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (429, "RequestRateExceeded"));
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit-remaining")), (Some("1"), Some("0")));
    limited.clock.advance(Duration::from_secs(1));
    let last = limited.list(&key).await;
    assert_eq!(
        (last.status, last.header("ratelimit-limit"), last.header("ratelimit-remaining")),
        (200, Some("20"), Some("1"))
    );
    assert_eq!(limited.list(&key).await.status, 200);
    assert_eq!(limited.list(&key).await.status, 429);
    assert_eq!(limited.gateway.get("/livez").await.status, 200, "nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_takes_all_leaves_the_others_theirs() {
    let limited = limited("key = { concurrent_executions = 2 }\npool = { concurrent_executions = 4 }").await;
    let (noisy, quiet) = (limited.key(None), limited.key(None));
    let limited = Arc::new(limited);
    // Two run and stay; forty more are turned away without waiting.
    let spinning: Vec<_> = ["spin-1", "spin-2"]
        .into_iter()
        .map(|session| {
            let (limited, noisy) = (limited.clone(), noisy.clone());
            tokio::spawn(async move { limited.run(&noisy, session, "while True: pass").await.status })
        })
        .collect();
    while limited.list(&noisy).await.json()["sessions"].as_array().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sessions: Vec<_> = (0..40).map(|number| format!("noise-{number}")).collect();
    let noise = futures_util::future::join_all(sessions.iter().map(|session| limited.run(&noisy, session, "1"))).await;
    assert!(noise.iter().all(|answer| answer.status == 429 && answer.code() == "RequestRateExceeded"));
    for round in 0..20 {
        let answer = limited.run(&quiet, &format!("quiet-{}", round % 2), "1").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for session in ["spin-1", "spin-2"] {
        let path = format!("/pools/python/session?identifier={session}");
        assert_eq!(limited.call(&noisy, "DELETE", &path, "").await.status, 204);
    }
    for status in futures_util::future::join_all(spinning).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(limited.run(&noisy, "noise-0", "1").await.status, 200, "and has its own again");
}

#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_executions_hold_theirs_until_they_end() {
    let limited = limited("tenant = { concurrent_executions = 1 }").await;
    let (one, other, elsewhere) = (limited.key(Some("t")), limited.key(Some("t")), limited.key(Some("u")));
    let path = "/pools/python/executions?identifier=spin-a";
    let started =
        limited.call(&one, "POST", path, r#"{"code":"while True: pass","executionType":"Asynchronous"}"#).await;
    assert_eq!(started.status, 202, "{}", started.text());
    assert_eq!(limited.run(&other, "another", "1").await.code(), "RequestRateExceeded");
    assert_eq!(limited.run(&elsewhere, "another", "1").await.status, 200);
    limited.call(&one, "DELETE", "/pools/python/session?identifier=spin-a", "").await;
    // The guest yields within a moment.
    let mut status = 429;
    while status == 429 {
        status = limited.run(&other, "another", "1").await.status;
    }
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_a_days_use_have_limits() {
    let limited = limited("key = { sessions = 2, bytes_per_day = 20000 }").await;
    let key = limited.key(None);
    for session in ["mine-1", "mine-2"] {
        assert_eq!(limited.run(&key, session, "1").await.status, 200);
    }
    let refused = limited.run(&key, "mine-3", "1").await;
    assert_eq!(refused.code(), "QuotaExceeded", "{}", refused.text());
    assert_eq!(limited.run(&key, "mine-1", "1").await.status, 200);
    let forked =
        limited.call(&key, "POST", "/pools/python/sessions/mine-1/fork", r#"{"identifiers":["mine-4"]}"#).await;
    assert_eq!(forked.status, 429);
    limited.call(&key, "DELETE", "/pools/python/session?identifier=mine-1", "").await;
    assert_eq!(limited.run(&key, "mine-3", "1").await.status, 200);
    let long = format!("1 # {}", "x".repeat(20_000));
    assert_eq!(limited.run(&key, "mine-3", &long).await.status, 200, "what it has left is not known before");
    let refused = limited.list(&key).await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("QuotaExceeded", Some("86400")));
    limited.clock.advance(Duration::from_secs(86_400));
    assert_eq!(limited.list(&key).await.status, 200);
}

/// The status of an execution, and the code of its refusal.
fn executed(gateway: &Gateway, code: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("{}/executions?identifier=spender", gateway.pool_url("python")));
    let mut answer = request.send_json(json!({ "code": code })).unwrap();
    let body: serde_json::Value = answer.body_mut().read_json().unwrap();
    (answer.status().as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_days_use_survives_a_gateway_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let limits = "[limits.key]\ncpu_seconds_per_day = 1\n[limits.pool]\nbytes_per_day = 1000000\n";
    let settings = format!("{limits}[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1");
    let spend = "import time\nend = time.process_time() + 1.2\nwhile time.process_time() < end: pass";
    let first = Gateway::on_data(&settings, folder.path());
    assert_eq!(executed(&first, spend), (200, String::new()));
    assert_eq!(executed(&first, "1"), (429, "QuotaExceeded".into()));
    // It is written once a second.
    std::thread::sleep(Duration::from_millis(2500));
    first.kill();
    let second = Gateway::on_data(&settings, folder.path());
    assert_eq!(executed(&second, "1"), (429, "QuotaExceeded".into()));
    // A clean end writes what is left, of everybody's.
    drop(second);
    let others = settings.replace("cpu_seconds_per_day = 1", "cpu_seconds_per_day = 100");
    let third = Gateway::on_data(&others, folder.path());
    assert_eq!(executed(&third, &format!("1 #{}", "x".repeat(1_000_000))).0, 200);
    third.terminate();
    third.wait();
    let fourth = Gateway::on_data(&others, folder.path());
    assert_eq!(executed(&fourth, "1"), (429, "QuotaExceeded".into()));
}
