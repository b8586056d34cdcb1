//! Who may call a pool of containers, and how much: the same rules as elsewhere, also where everything is forwarded.

use std::time::Duration;

use bytes::Bytes;
use governor::clock::FakeRelativeClock;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use sandpool::access::limits::{Limits, Time};
use sandpool::access::{Access, AccessSettings, Role};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::container_pools::PoolGateway;
use crate::support::keys::key;

struct Guarded {
    gateway: PoolGateway,
    clock: FakeRelativeClock,
    _folder: TempDir,
}

/// None where the machine has no runc.
async fn guarded(limits: &str) -> Option<Guarded> {
    let (folder, clock) = (tempfile::tempdir().unwrap(), FakeRelativeClock::default());
    let limits = Limits::new(toml::from_str(limits).unwrap(), Time::Paused(clock.clone()));
    let access = Access::start(AccessSettings::default(), folder.path()).unwrap().with_limits(limits);
    let gateway = PoolGateway::guarded("termination_grace_seconds = 0", access).await?;
    Some(Guarded { gateway, clock, _folder: folder })
}

/// Status, code of a refusal, and `Retry-After`.
type Told = (u16, String, Option<String>);

impl Guarded {
    fn key(&self, roles: &[Role], pools: &[&str]) -> String {
        key(self.gateway.gateway.access(), roles, pools)
    }

    async fn call(&self, key: Option<&str>, method: &str, path: &str, body: &str) -> Told {
        let mut request = self.gateway.request(method, path);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let answer = self.gateway.send(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await;
        let status = answer.status().as_u16();
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let told: Option<Value> = serde_json::from_slice(&body).ok();
        let code = told.and_then(|told| told["error"]["code"].as_str().map(str::to_owned)).unwrap_or_default();
        (status, code, retry)
    }

    fn sessions(&self) -> usize {
        self.gateway.pool.sessions(0, usize::MAX).total
    }
}

/// Every documented operation of pools of containers, with a path below the pool.
fn operations() -> Vec<(String, String, String)> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/sessions.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/pools/{pool}") else { continue };
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            if operation["tags"][0] == "containers" || path.starts_with("/.management/") {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                found.push((id, method.to_uppercase(), path.replace("{path}", "hello")));
            }
        }
    }
    assert!(found.len() >= 10, "{found:?}");
    found
}

fn allowed(operation: &str) -> &'static [Role] {
    use Role::{Contributor, Executor, Reader};
    match operation {
        "manageReadSession" | "manageListSessions" | "manageHealth" => &[Executor, Contributor, Reader],
        "manageStopSession" => &[Executor, Contributor],
        "manageConsole" | "manageNetwork" => &[Contributor, Reader],
        forwarded if forwarded.starts_with("forward") => &[Executor],
        other => panic!("say who may call {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_a_pool_of_containers_asks_for_a_key_of_it_and_its_role() {
    let Some(guarded) = guarded("").await else { return };
    let other = guarded.key(&[Role::Executor, Role::Contributor, Role::Reader], &["other"]);
    let keys = [Role::Executor, Role::Contributor, Role::Reader].map(|role| (role, guarded.key(&[role], &["app"])));
    for (id, method, path) in operations() {
        let path = format!("{path}?identifier=somebody");
        for key in [None, Some("static-token"), Some("a.b.c")] {
            assert_eq!(guarded.call(key, &method, &path, "").await.0, 401, "{id} {key:?}");
        }
        assert_eq!(guarded.call(Some(&other), &method, &path, "").await.0, 403, "{id}");
        assert_eq!(guarded.sessions(), 0, "{id}: nothing was done");
        for (role, key) in &keys {
            let told = guarded.call(Some(key), &method, &path, "").await;
            assert_eq!(matches!(told.0, 401 | 403), !allowed(&id).contains(role), "{id} {role:?}: {told:?}");
        }
        guarded.gateway.pool.end_session(&sandpool::session::Identifier::new("somebody").unwrap());
    }
    guarded.gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_containers_count_for_their_pool_and_their_caller() {
    let limits = "pool = { requests_per_second = 1, request_burst = 6 }\nkey = { sessions = 1 }";
    let Some(guarded) = guarded(limits).await else { return };
    let (one, two) = (guarded.key(&[Role::Executor], &["*"]), guarded.key(&[Role::Executor], &["app"]));
    assert_eq!(guarded.call(Some(&one), "GET", "/hello?identifier=mine-1", "").await.0, 200);
    let refused = guarded.call(Some(&one), "GET", "/hello?identifier=mine-2", "").await;
    assert_eq!((refused.0, refused.1.as_str(), guarded.sessions()), (429, "QuotaExceeded", 1));
    assert_eq!(guarded.call(Some(&two), "GET", "/hello?identifier=other-1", "").await.0, 200);
    let metrics = guarded.gateway.gateway.metrics().text();
    assert!(metrics.contains("PoolExecutingPodCount{poolName=\"app\"} 2\n"), "{metrics}");
    // Whoever may not enter uses nothing of the pool's.
    let stranger = guarded.key(&[Role::Executor], &["other"]);
    assert_eq!(guarded.call(Some(&stranger), "GET", "/hello?identifier=mine-1", "").await.0, 403);
    let mut let_in = 0;
    for _ in 0..10 {
        let told = guarded.call(Some(&one), "GET", "/hello?identifier=mine-1", "").await;
        let_in += usize::from(told.0 == 200);
        assert!(told.0 == 200 || (told.1 == "RequestRateExceeded" && told.2.as_deref() == Some("1")), "{told:?}");
    }
    assert_eq!(let_in, 3, "six at once, three of them before");
    guarded.clock.advance(Duration::from_secs(1));
    let stop = guarded.call(Some(&one), "POST", "/.management/stopSession?identifier=mine-1", "").await;
    assert_eq!(stop.0, 200);
    guarded.clock.advance(Duration::from_secs(1));
    assert_eq!(guarded.call(Some(&one), "GET", "/hello?identifier=mine-2", "").await.0, 200, "the first is gone");
    guarded.gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_pass_through_count_whatever_way_they_take() {
    let Some(guarded) = guarded("key = { bytes_per_day = 250000 }").await else { return };
    let key = || guarded.key(&[Role::Executor], &["app"]);
    let id = "identifier=session";
    // An answer, a body, and a connection that became something else: twice 200,000 bytes. Up to 65,535 of each are told only
    // when it is over, which may be after its caller has the last byte.
    let (answers, bodies, upgraded) = (key(), key(), key());
    for expected in [200, 200, 429] {
        assert_eq!(guarded.call(Some(&answers), "GET", &format!("/big?200000&{id}"), "").await.0, expected);
    }
    let long = "x".repeat(100_000);
    for expected in [200, 200, 429] {
        assert_eq!(
            guarded.call(Some(&bodies), "POST", &format!("/echo?{id}"), &long).await.0,
            expected,
            "there and back"
        );
    }
    for expected in [101, 101, 429] {
        let request = guarded
            .gateway
            .request("GET", &format!("/upgrade?{id}"))
            .header("authorization", format!("Bearer {upgraded}"))
            .header("connection", "Upgrade")
            .header("upgrade", "echo")
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = guarded.gateway.send(request).await;
        assert_eq!(answer.status().as_u16(), expected);
        if expected == 101 {
            let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            for _ in 0..100 {
                stream.write_all(&[7; 1000]).await.unwrap();
                stream.read_exact(&mut [0; 1000]).await.unwrap();
            }
        }
    }
    guarded.clock.advance(Duration::from_secs(86_400));
    assert_eq!(guarded.call(Some(&answers), "GET", &format!("/hello?{id}"), "").await.0, 200);
    guarded.gateway.end().await;
}
