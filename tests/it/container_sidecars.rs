//! Several containers in one session.

use serde_json::json;

use crate::container_egress::Outside;
use crate::support::container_pools::PoolGateway;
use crate::support::containers::{runtime, skip};
use crate::support::http::eventually;
use crate::support::images::Recipe;
use crate::support::managed::{GROUP, Managed};

/// A sidecar of the tests' image, with what is given over it.
fn sidecar(folder: &tempfile::TempDir, more: &str) -> String {
    let image = Recipe::app(&["serve", "8081"]).layout(&folder.path().join("beside"));
    format!(
        "termination_grace_seconds = 0\n[[sidecar]]\nname = 'helper'\nimage = '{image}'\n\
         resources = {{ memory_mebibytes = 32 }}\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_its_sidecar_for_itself_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let startup =
        "[[sidecar.probes]]\ntype = 'startup'\nhttp_get = { path = '/ready', port = 8081 }\nperiod_seconds = 1";
    let Some(gateway) = PoolGateway::open(&sidecar(&folder, startup)).await else { return };
    // It has started when the session has: also where it slept while nobody wanted it.
    for identifier in ["one-one", "two-two"] {
        assert_eq!(gateway.get(&format!("/get?8081/write?/mine&identifier={identifier}")).await.0, 200);
    }
    assert_eq!(gateway.get("/get?8081/print?said-beside&identifier=one-one").await.0, 200);
    assert_eq!(gateway.get("/print?said-first&identifier=one-one").await.0, 200);
    let console = async || gateway.json("GET", "/.management/console?identifier=one-one").await.1;
    eventually("what both said", async || {
        let console = console().await;
        let wrote = |text: &str| console["value"].as_array().unwrap().iter().find(|line| line["text"] == text).cloned();
        let (Some(beside), Some(first)) = (wrote("said-beside"), wrote("said-first")) else { return false };
        beside["container"] == "helper" && first["container"].is_null()
    })
    .await;
    gateway.get("/get?8081/exit?3&identifier=one-one").await;
    eventually("the session ends with it", async || gateway.pool.sessions(0, 10).total == 1).await;
    assert_eq!(gateway.get("/get?8081/read?/mine&identifier=one-one").await, (500, String::new()), "a fresh one");
    assert_eq!(gateway.get("/get?8081/read?/mine&identifier=two-two").await, (200, "x".into()), "of another session");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_fails_its_probe_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let liveness = "[[sidecar.probes]]\ntype = 'liveness'\nhttp_get = { path = '/health', port = 8081 }\n\
        period_seconds = 1\nfailure_threshold = 1";
    let Some(gateway) = PoolGateway::open(&sidecar(&folder, liveness)).await else { return };
    let listens = async || gateway.get("/reach?127.0.0.1:8081&identifier=session").await.0 == 200;
    eventually("it listens", listens).await;
    assert_eq!(gateway.get("/write?/mark&identifier=session").await.0, 200);
    assert_eq!(gateway.get("/get?8081/sick&identifier=session").await.0, 200);
    eventually("another session", async || gateway.get("/read?/mark&identifier=session").await.0 == 500).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_goes_out_as_its_session_may() {
    let folder = tempfile::tempdir().unwrap();
    let Some(outside) = Outside::start().await else { return };
    let (ip, port) = (outside.address.ip(), outside.address.port());
    let egress = format!(
        "[egress]\npolicy = 'allow-list'\nallow_private = ['{ip}']\nallow = [{{ host = '{ip}', port = {port} }}]"
    );
    let Some(gateway) = PoolGateway::open(&sidecar(&folder, &egress)).await else { return };
    if !gateway.pool.report().enforced.way_out {
        skip(runtime(), "no ways out");
        return gateway.end().await;
    }
    let listens = async || gateway.get("/reach?127.0.0.1:8081&identifier=session").await.0 == 200;
    eventually("it listens", listens).await;
    let asks = async |address: &str| gateway.get(&format!("/get?8081/ask?{address}&identifier=session")).await;
    assert_eq!(asks(&outside.address.to_string()).await, (200, "pong to ping".into()));
    assert_eq!(asks("10.0.0.1:80").await.0, 500);
    let network = gateway.json("GET", "/.management/network?identifier=session").await.1;
    assert_eq!(network["network"].as_array().unwrap().len(), 2, "{network}");
    let (_, resolver) = gateway.get("/get?8081/read?/etc/resolv.conf&identifier=session").await;
    assert!(resolver.starts_with("nameserver 192.0.0.8"), "{resolver}");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_resource_stand_beside_each_other() {
    let Some(gateway) = Managed::open().await else { return };
    let image = Recipe::app(&["serve"]).layout(&gateway.folder().join("layout"));
    let pool = |sidecar: &str| {
        json!({"location": "here", "properties": {
            "containerType": "CustomContainer",
            "scaleConfiguration": {"maxConcurrentSessions": 2, "readySessionInstances": 1},
            "customContainerTemplate": {
                "containers": [
                    {"name": "main", "image": image, "resources": {"memory": "64Mi"}},
                    {"name": sidecar, "image": image, "args": ["serve", "8081"], "resources": {"memory": "32Mi"}},
                ],
                "ingress": {"targetPort": 8080}},
            "sandpool": {"termination_grace_seconds": 0},
        }})
    };
    let refused = gateway.call("PUT", &format!("{GROUP}/app"), &pool("No Name")).await;
    assert!(
        refused.status == 400 && refused.text().contains("customContainerTemplate/containers"),
        "{}",
        refused.text()
    );
    let made = gateway.call("PUT", &format!("{GROUP}/app"), &pool("helper")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let shown = gateway.pool("app").await;
    let active = &shown["properties"]["templateUpdateStatus"]["activeTemplate"]["containers"];
    assert_eq!((active[1]["name"].as_str(), active[1]["resources"]["memory"].as_str()), (Some("helper"), Some("32Mi")));
    let beside = async || gateway.ask("app", "/reach?127.0.0.1:8081&identifier=session").await.0 == 200;
    eventually("it is reached", beside).await;
    gateway.end().await;
}
