//! Who may call what: every documented route, with no key, a key of another pool, and each role.

use std::collections::BTreeMap;

use sandpool::access::{Access, AccessSettings, Role};
use sandpool::api::serve::Connections;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{Answer, Running, gateway_at};
use crate::support::keys::key;

struct Guarded {
    gateway: Running,
    _folder: TempDir,
}

async fn guarded() -> Guarded {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::start(AccessSettings::default(), folder.path()).unwrap();
    let gateway = gateway_at(Some(folder.path()), access, Connections::default(), |_| ()).await;
    Guarded { gateway, _folder: folder }
}

impl Guarded {
    /// A key, made behind the API.
    fn key(&self, roles: &[Role], pools: &[&str]) -> String {
        key(self.gateway.gateway.access(), roles, pools)
    }

    async fn send(&self, key: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let authorization = key.map(|key| format!("Bearer {key}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        self.gateway.send(method, path, &headers, body.as_bytes()).await
    }
}

/// Every operation of the documents that asks who calls: its id, method and a path.
fn operations() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for document in ["sessions", "management"] {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("openapi/{document}.json"));
        let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            let path = path
                .replace("{pool}", "python")
                .replace("{sessionPoolName}", "python")
                .replace("{name}", "a.txt")
                .replace("{table}", "audit")
                .replace(['{', '}'], "");
            for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
                // A pool of an interpreter has no paths of containers.
                let containers = operation["tags"][0] == "containers";
                if !operation["responses"]["401"].is_null() && path != "/msi/token" && !containers {
                    let id = operation["operationId"].as_str().unwrap().to_owned();
                    found.push((id, method.to_uppercase(), path.clone()));
                }
            }
        }
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

/// Which roles open an operation. An operation that is not here fails the test: say who may call it.
fn allowed(operation: &str) -> &'static [Role] {
    use Role::{Contributor, Executor, Reader};
    match operation {
        "document" | "sessionsDocument" | "managementDocument" => &[Executor, Contributor, Reader],
        "readSession" | "listSessions" | "readMetadata" | "manageReadSession" | "manageListSessions" => {
            &[Executor, Contributor, Reader]
        }
        "readHealth" | "manageHealth" => &[Executor, Contributor, Reader],
        "readPoolRecords" | "sumPoolUsage" => &[Contributor, Reader],
        "endSession" | "manageStopSession" => &[Executor, Contributor],
        "listPoolsBySubscription" | "listPools" | "readPool" => &[Executor, Contributor, Reader],
        "putPool" | "patchPool" | "deletePool" => &[Contributor],
        "fetchMcpServerCredentials" | "rotateMcpServerCredentials" | "regenerateCredentials" => &[Contributor],
        "metrics" => &[Executor, Contributor, Reader],
        "readRecords" | "sumUsage" => &[Contributor, Reader],
        "listKeys" | "createKey" | "readKey" | "revokeKey" | "rotateKey" => &[Contributor],
        _ => &[Executor],
    }
}

fn is_of_a_pool(path: &str) -> bool {
    path.starts_with("/pools/") || path.contains("/sessionPools/")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_a_key_and_takes_no_other() {
    let guarded = guarded().await;
    guarded.key(&[Role::Executor], &["python"]);
    let unknown = sandpool::access::key::Key::random().reveal();
    for (_, method, path) in operations() {
        for key in [None, Some("static-token"), Some(&*unknown), Some("a.b.c")] {
            let answer = guarded.send(key, &method, &path, "").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "Unauthorized"), "{method} {path} {key:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_role() {
    let guarded = guarded().await;
    let keys = [Role::Executor, Role::Contributor, Role::Reader].map(|role| (role, guarded.key(&[role], &["python"])));
    let everywhere = [Role::Executor, Role::Contributor, Role::Reader].map(|role| (role, guarded.key(&[role], &["*"])));
    for (id, method, path) in operations() {
        // What shows all pools at once asks for a key of all of them.
        let of_all = ["metrics", "readRecords", "sumUsage"].contains(&id.as_str());
        for (_, key) in keys.iter().filter(|_| of_all) {
            assert_eq!(guarded.send(Some(key), &method, &path, "").await.status, 403, "{id}");
        }
        for (role, key) in if of_all { &everywhere } else { &keys } {
            let answer = guarded.send(Some(key), &method, &format!("{path}?identifier=somebody"), "").await;
            let refused = matches!(answer.status, 401 | 403);
            assert_eq!(refused, !allowed(&id).contains(role), "{id} {role:?}: {}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_pool_learns_nothing_of_this_one() {
    let guarded = guarded().await;
    let owner = guarded.key(&[Role::Executor], &["python"]);
    let ran =
        guarded.send(Some(&owner), "POST", "/pools/python/executions?identifier=private", r#"{"code":"1"}"#).await;
    assert_eq!(ran.status, 200, "{}", ran.text());
    let other = guarded.key(&[Role::Executor, Role::Contributor, Role::Reader], &["other"]);
    for (_, method, path) in operations().into_iter().filter(|(_, _, path)| is_of_a_pool(path)) {
        // A pool that is there, one that is not, a session that is there, one that is not: all the same.
        let nowhere = path.replace("/python", "/nowhere");
        let mut told = BTreeMap::new();
        for path in [&path, &nowhere] {
            for session in ["private", "nobody"] {
                let answer = guarded.send(Some(&other), &method, &format!("{path}?identifier={session}"), "").await;
                let error = answer.json()["error"].clone();
                told.insert((answer.status, error["code"].to_string(), error["message"].to_string()), ());
            }
        }
        assert_eq!(told.len(), 1, "{method} {path}: {told:?}");
        assert_eq!(told.first_key_value().unwrap().0.0, 403, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_used_rotated_and_revoked() {
    let guarded = guarded().await;
    // Open until there is a key.
    let made = guarded
        .send(None, "POST", "/keys", r#"{"name":"first","roles":["executor","contributor","reader"],"pools":["*"]}"#)
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let admin = made.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(guarded.send(None, "GET", "/keys", "").await.status, 401);

    let body = r#"{"name":"ci","roles":["executor"],"pools":["Python"],"tenant":"t1","expiresInSeconds":3600}"#;
    let made = guarded.send(Some(&admin), "POST", "/keys", body).await.json();
    let (id, key) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
    let run = async |key: &str| {
        guarded.send(Some(key), "POST", "/pools/python/executions?identifier=with-key", r#"{"code":"1"}"#).await.status
    };
    assert_eq!(run(&key).await, 200);
    let shown = guarded.send(Some(&admin), "GET", &format!("/keys/{id}"), "").await;
    assert!(!shown.text().contains(&key[30..]), "{}", shown.text());
    assert_eq!((&shown.json()["pools"], &shown.json()["active"]), (&json!(["python"]), &json!(true)));

    let rotated = guarded.send(Some(&admin), "POST", &format!("/keys/{id}/rotate"), r#"{"overlapSeconds":600}"#).await;
    let young = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_eq!((run(&key).await, run(&young).await), (200, 200));
    assert_eq!(guarded.send(Some(&admin), "DELETE", &format!("/keys/{id}"), "").await.status, 204);
    assert_eq!((run(&key).await, run(&young).await), (401, 200));
    let again = guarded.send(Some(&admin), "POST", &format!("/keys/{id}/rotate"), "").await;
    assert_eq!((again.status, again.code().as_str()), (409, "KeyNotActive"));
    let listed = guarded.send(Some(&admin), "GET", "/keys", "").await.json();
    assert_eq!(listed["value"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_out_more_than_they_have() {
    let guarded = guarded().await;
    let own = guarded.key(&[Role::Contributor], &["python"]);
    let all = guarded.key(&[Role::Contributor, Role::Executor], &["*"]);
    for (body, status) in [
        (r#"{"name":"a","roles":["contributor"],"pools":["python"]}"#, 201),
        (r#"{"name":"a","roles":["reader"],"pools":["python"]}"#, 201),
        (r#"{"name":"a","roles":["executor"],"pools":["python"]}"#, 403),
        (r#"{"name":"a","roles":["contributor"],"pools":["other"]}"#, 403),
        (r#"{"name":"a","roles":["contributor"],"pools":["*"]}"#, 403),
    ] {
        assert_eq!(guarded.send(Some(&own), "POST", "/keys", body).await.status, status, "{body}");
    }
    let id = &all[9..25];
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/rotate")] {
        let answer = guarded.send(Some(&own), method, &format!("/keys/{id}{path}"), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "KeyNotFound"), "{method} {path}");
    }
    assert_eq!(guarded.send(Some(&own), "GET", "/keys", "").await.json()["value"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_about_keys_is_refused() {
    let guarded = guarded().await;
    let key = guarded.key(&[Role::Contributor, Role::Executor], &["*"]);
    let long = format!(r#"{{"name":"{}","roles":["executor"],"pools":["a"]}}"#, "x".repeat(129));
    let huge = format!(r#"{{"name":"a","roles":["executor"],"pools":["a"],"more":"{}"}}"#, "x".repeat(200_000));
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        (r#"{"name":"a","roles":[],"pools":["a"]}"#, 400),
        (r#"{"name":"a","roles":["owner"],"pools":["a"]}"#, 400),
        (r#"{"name":"a","roles":["executor"],"pools":[]}"#, 400),
        (r#"{"name":"a","roles":["executor"],"pools":["*","a"]}"#, 400),
        (r#"{"name":"a","roles":["executor"],"pools":["a b"]}"#, 400),
        (r#"{"name":"a\nb","roles":["executor"],"pools":["a"]}"#, 400),
        (r#"{"name":"a","roles":["executor"],"pools":["a"],"expiresInSeconds":0}"#, 400),
        (r#"{"name":"a","roles":["executor"],"pools":["a"],"expiresInSeconds":9223372036854775807}"#, 400),
        (&long, 400),
        (&huge, 413),
    ] {
        let answer = guarded.send(Some(&key), "POST", "/keys", body).await;
        assert_eq!(answer.status, status, "{} {}", &body[..body.len().min(90)], answer.text());
    }
    for id in ["x", "0123456789abcdeg", "0123456789abcdef", "%00", &"a".repeat(5000)] {
        assert_eq!(guarded.send(Some(&key), "GET", &format!("/keys/{id}"), "").await.status, 404, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_made_at_once_are_all_there() {
    let guarded = guarded().await;
    let key = guarded.key(&[Role::Contributor, Role::Executor], &["*"]);
    let body = r#"{"name":"a","roles":["executor"],"pools":["a"]}"#;
    let made = futures_util::future::join_all((0..20).map(|_| guarded.send(Some(&key), "POST", "/keys", body))).await;
    assert!(made.iter().all(|answer| answer.status == 201));
    assert_eq!(guarded.send(Some(&key), "GET", "/keys", "").await.json()["value"].as_array().unwrap().len(), 21);
}
