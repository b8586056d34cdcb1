//! Pools of containers that are made through the API: their whole life, on the real runtime.

use std::process::Command;
use std::time::{Duration, Instant};

use sandpool::pool::PoolName;
use serde_json::{Value, json};

use crate::support::containers::{Backend, Traces, installed};
use crate::support::gateway::Gateway;
use crate::support::http::eventually;
use crate::support::images::Recipe;
use crate::support::managed::{GROUP, Managed};
use crate::support::python::Python;
use crate::support::registry::Registry;

/// A pool of the tests' image, with what is given over it.
fn pool(image: &str, args: &[&str], mode: &str) -> Value {
    let container = json!({
        "name": "main", "image": image, "args": args,
        "env": [{"name": "MODE", "value": mode}, {"name": "TOKEN", "secretRef": "token"}],
        "resources": {"cpu": 0.5, "memory": "64Mi"},
    });
    json!({"location": "here", "tags": {"team": "red"}, "properties": {
        "containerType": "CustomContainer",
        "scaleConfiguration": {"maxConcurrentSessions": 4, "readySessionInstances": 1},
        "dynamicPoolConfiguration": {"lifecycleConfiguration": {"lifecycleType": "Timed", "cooldownPeriodInSeconds": 300}},
        "secrets": [{"name": "token", "value": "s3cret-of-the-pool"}],
        "customContainerTemplate": {"containers": [container], "ingress": {"targetPort": 8080}},
        "sandpool": {"termination_grace_seconds": 0},
    }})
}

async fn with_image() -> Option<(Managed, String)> {
    let gateway = Managed::open().await?;
    let image = Recipe::app(&["serve"]).layout(&gateway.folder().join("layout"));
    Some((gateway, image))
}

fn status<'a>(pool: &'a Value, template: &str) -> &'a Value {
    &pool["properties"]["templateUpdateStatus"][template]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_containers_is_made_changes_and_is_gone() {
    let Some((gateway, image)) = with_image().await else { return };
    let made = gateway.call("PUT", &format!("{GROUP}/App"), &pool(&image, &["serve"], "one")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(!made.text().contains("s3cret-of-the-pool"), "{}", made.text());
    let endpoint = made.json()["properties"]["poolManagementEndpoint"].as_str().unwrap().to_owned();
    assert!(endpoint.ends_with("/subscriptions/s-1/resourceGroups/g-1/sessionPools/app"), "{endpoint}");
    assert_eq!(gateway.ask("app", "/env?TOKEN&identifier=session-1").await, (200, "s3cret-of-the-pool".into()));
    let seen = gateway.pool("app").await;
    assert_eq!(status(&seen, "activeTemplate")["status"]["allocatedCount"], 1, "{seen}");
    assert_eq!(status(&seen, "activeTemplate")["containers"][0]["image"], image.as_str());

    // A change of the template: the session that runs keeps its own, and the next one gets the new.
    let changed = gateway.call("PUT", &format!("{GROUP}/app"), &pool(&image, &["serve"], "two")).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let mut number = 0;
    eventually("new sessions get the new template", async || {
        number += 1;
        let (status, mode) = gateway.ask("app", &format!("/env?MODE&identifier=later-{number}")).await;
        gateway
            .call("POST", &format!("/pools/app/.management/stopSession?identifier=later-{number}"), &json!({}))
            .await;
        assert_eq!(status, 200, "a change refuses nobody");
        mode == "two"
    })
    .await;
    assert_eq!(gateway.ask("app", "/env?MODE&identifier=session-1").await.1, "one");
    assert_eq!(
        gateway.call("POST", "/pools/app/.management/stopSession?identifier=session-1", &json!({})).await.status,
        200
    );
    assert_eq!(gateway.ask("app", "/env?MODE&identifier=session-1").await, (200, "two".into()));
    let sessions = gateway.call("POST", "/pools/app/.management/listSessions", &json!({})).await.json();
    assert_eq!(sessions["count"], 1, "{sessions}");

    let scaled = json!({"properties": {"scaleConfiguration": {"readySessionInstances": 0}}, "tags": {"team": null}});
    assert_eq!(gateway.call("PATCH", &format!("{GROUP}/app"), &scaled).await.status, 200);
    assert_eq!(gateway.ask("app", "/env?TOKEN&identifier=session-2").await.1, "s3cret-of-the-pool", "it was kept");
    for _ in 0..2 {
        assert_eq!(gateway.call("DELETE", &format!("{GROUP}/app"), &Value::Null).await.status, 204);
    }
    assert_eq!(
        gateway.call("GET", "/pools/app/session?identifier=session-1", &Value::Null).await.code(),
        "SessionPoolNotFound"
    );
    gateway.leaves_nothing().await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_containers_are_there_after_a_restart() {
    let Some((gateway, image)) = with_image().await else { return };
    let mut body = pool(&image, &["serve"], "one");
    body["identity"] = json!({"type": "SystemAssigned"});
    body["properties"]["managedIdentitySettings"] = json!([{"identity": "system", "lifecycle": "Main"}]);
    body["properties"]["environmentId"] = json!("any");
    assert_eq!(gateway.call("PUT", &format!("{GROUP}/app"), &body).await.status, 201);
    let before = gateway.pool("app").await;
    let gateway = gateway.restarted().await;
    let after = gateway.pool("app").await;
    for field in
        ["customContainerTemplate", "managedIdentitySettings", "environmentId", "scaleConfiguration", "secrets"]
    {
        assert_eq!(after["properties"][field], before["properties"][field], "{field}");
    }
    assert_eq!(after["properties"]["provisioningState"], "Succeeded");
    assert_eq!(gateway.ask("app", "/env?TOKEN&identifier=session-1").await, (200, "s3cret-of-the-pool".into()));
    // Without containers it is there and does not serve; and it serves again.
    let gateway = gateway.without_containers().await;
    assert_eq!(gateway.pool("app").await["properties"]["provisioningState"], "Failed");
    let refused = gateway.call("PUT", &format!("{GROUP}/other"), &pool(&image, &["serve"], "one")).await;
    assert!(refused.status == 400 && refused.text().contains("apt-get install runc"), "{}", refused.text());
    let gateway = gateway.restarted().await;
    assert_eq!(gateway.ask("app", "/hello?identifier=session-1").await.0, 200);
    // A deletion that was cut off is ended by the next start.
    gateway.store().condemn(&PoolName::new("app").unwrap()).unwrap();
    let gateway = gateway.restarted().await;
    assert_eq!(gateway.call("GET", &format!("{GROUP}/app"), &Value::Null).await.code(), "ResourceNotFound");
    assert_eq!(gateway.store().condemned().unwrap(), []);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_does_not_start_takes_nothing_away() {
    let Some((gateway, image)) = with_image().await else { return };
    gateway.call("PUT", &format!("{GROUP}/app"), &pool(&image, &["serve"], "one")).await;
    assert_eq!(gateway.ask("app", "/env?MODE&identifier=session-1").await, (200, "one".into()));
    gateway.call("PUT", &format!("{GROUP}/app"), &pool(&image, &["exit", "7"], "two")).await;
    eventually("the crash is told", async || {
        let seen = gateway.pool("app").await;
        let desired = status(&seen, "desiredTemplate");
        desired["status"]["crashCount"] != 0 && desired["details"].as_str().is_some_and(|why| why.contains("code 7"))
    })
    .await;
    assert_eq!(gateway.ask("app", "/env?MODE&identifier=session-2").await, (200, "one".into()));
    gateway.call("PUT", &format!("{GROUP}/app"), &pool(&image, &["serve"], "three")).await;
    eventually("the third takes over", async || {
        let seen = gateway.pool("app").await;
        status(&seen, "activeTemplate")["createdTime"] == status(&seen, "desiredTemplate")["createdTime"]
    })
    .await;
    assert_eq!(gateway.ask("app", "/env?MODE&identifier=session-3").await, (200, "three".into()));
    gateway.end().await;
}

/// Who waits for a container of a template that goes gets one of the template that comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_waits_meets_the_new_template() {
    let Some((gateway, image)) = with_image().await else { return };
    let mut slow = pool(&image, &["late", "600"], "slow");
    slow["properties"]["scaleConfiguration"]["readySessionInstances"] = json!(0);
    gateway.call("PUT", &format!("{GROUP}/app"), &slow).await;
    let mut fast = pool(&image, &["serve"], "fast");
    fast["properties"]["scaleConfiguration"]["readySessionInstances"] = json!(0);
    let (answer, ()) = tokio::join!(gateway.ask("app", "/env?MODE&identifier=session-1"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(gateway.call("PUT", &format!("{GROUP}/app"), &fast).await.status, 200);
    });
    assert_eq!(answer, (200, "fast".into()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_or_not_there_is_refused_with_the_reason() {
    let Some(backend) = Backend::open("runc").await else { return };
    let image = Recipe::app(&["serve"]).layout(&backend.folder.path().join("layout"));
    let gateway = Managed::with(backend, Value::Null).await;
    let path = format!("{GROUP}/app");
    let local = gateway.call("PUT", &path, &pool(&image, &["serve"], "one")).await;
    assert_eq!((local.status, local.code().as_str()), (400, "InvalidSessionPoolProperties"));
    let target = &local.json()["error"]["target"];
    assert_eq!(target, "/properties/customContainerTemplate/containers/0/image");
    for (pointer, value) in [
        ("/properties/customContainerTemplate/containers", json!([])),
        ("/properties/customContainerTemplate/containers", json!("x")),
        ("/properties/customContainerTemplate", json!(null)),
        ("/properties/containerType", json!("Shell")),
    ] {
        let mut body = pool("registry.example/app:1", &["serve"], "one");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        let refused = gateway.call("PUT", &path, &body).await;
        assert_eq!(refused.status, 400, "{pointer}: {}", refused.text());
    }
    assert_eq!(gateway.call("GET", &path, &Value::Null).await.code(), "ResourceNotFound", "nothing of it was kept");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_is_pulled_with_the_pools_secret() {
    let Some(registry) = Registry::start() else { return };
    let Some(backend) = Backend::open("runc").await else { return };
    registry.push(&Recipe::app(&["serve"]), "team/app", "1");
    let gateway = Managed::with(backend, json!([format!("{}/team/", registry.address)])).await;
    let mut body = pool(&format!("{}/team/app:1", registry.address), &["serve"], "one");
    let login = json!({"server": registry.address, "username": "alice", "passwordSecretRef": "token"});
    body["properties"]["customContainerTemplate"]["registryCredentials"] = login;
    gateway.call("PUT", &format!("{GROUP}/app"), &body).await;
    eventually("the registry refuses", async || {
        status(&gateway.pool("app").await, "activeTemplate")["status"]["imagePullFailCount"] != 0
    })
    .await;
    let events = gateway.records("pools?pool=app").await;
    let failed = events.iter().find(|event| event["OperationName"] == "ImagePullFailed").expect("an event");
    assert!(!failed["Log"].as_str().unwrap().contains("s3cret"), "{failed}");
    let secret = json!({"properties": {"secrets": [{"name": "token", "value": "s3cret"}]}});
    assert_eq!(gateway.call("PATCH", &format!("{GROUP}/app"), &secret).await.status, 200);
    assert_eq!(gateway.ask("app", "/hello?identifier=session-1").await, (200, "hello".into()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containers_do_is_in_the_records() {
    let Some((gateway, image)) = with_image().await else { return };
    gateway.call("PUT", &format!("{GROUP}/app"), &pool(&image, &["serve"], "one")).await;
    for session in ["talker-1", "leaver-1"] {
        assert_eq!(gateway.ask("app", &format!("/print?of-{session}&identifier={session}")).await.0, 200);
    }
    gateway.ask("app", "/exit?3&identifier=leaver-1").await;
    gateway.call("POST", "/pools/app/.management/stopSession?identifier=talker-1", &json!({})).await;
    let operations = async |query: &str| {
        let rows = gateway.records(query).await;
        rows.iter().map(|row| row["OperationName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(operations("lifecycle?identifier=talker-1").await, ["SessionCreated", "SessionEnded"]);
    let ends = ["SessionCreated", "ContainerExited", "SessionEnded"];
    eventually("the exit is told", async || operations("lifecycle?identifier=leaver-1").await == ends).await;
    let lifecycle = gateway.records("lifecycle?identifier=leaver-1").await;
    assert_eq!(lifecycle[1]["Log"], "it exited with code 3");
    let console = gateway.records("console?identifier=talker-1").await;
    let lines: Vec<_> = console.iter().map(|row| row["Log"].as_str().unwrap()).collect();
    assert_eq!(lines, ["serving on 8080", "of-talker-1"], "what it wrote before it was the session's, and after");
    assert_eq!(console[0]["Stream"], "stdout");
    let usage = gateway.records("usage?pool=app").await;
    assert_eq!(usage.len(), 2, "{usage:?}");
    assert_eq!(usage[0]["Tags"], json!({"team": "red"}));
    assert!(operations("pools?pool=app").await.contains(&"PoolOpened".to_owned()));
    let audit = gateway.records("audit?pool=app").await;
    let asked: Vec<_> = audit.iter().map(|row| row["OperationName"].as_str().unwrap()).collect();
    assert!(asked.contains(&"Forward") && asked.contains(&"StopSession"), "{asked:?}");
    // A container's word for a code is nobody's record.
    assert_eq!(gateway.ask("app", "/lie?x&identifier=talker-1").await.0, 400);
    let audit = gateway.records("audit?pool=app").await;
    assert!(audit.iter().all(|row| row["ErrorCode"] != "made-up"), "{audit:?}");
    let metrics = gateway.call("GET", "/metrics", &Value::Null).await.text();
    assert!(!metrics.contains("made-up"), "{metrics}");

    let pools = gateway.call("GET", "/pools", &Value::Null).await.json();
    let standing = &pools["value"][0];
    assert_eq!((&standing["name"], &standing["interpreter"]), (&json!("app"), &json!("container")), "{standing}");
    assert_eq!((&standing["sessions"]["made"], &standing["sessions"]["ended"]), (&json!(3), &json!(2)));
    let metrics = gateway.call("GET", "/metrics", &Value::Null).await.text();
    assert!(metrics.contains("PoolReadyPodCount{poolName=\"app\"}"), "{metrics}");

    // The kernel's doing, and the pool's own.
    gateway.ask("app", "/eat?512&identifier=eater-1").await;
    eventually("the kill is told", async || {
        let rows = gateway.records("lifecycle?identifier=eater-1").await;
        rows.iter().any(|row| row["Log"].as_str().unwrap().contains("out of memory"))
    })
    .await;
    gateway.call("PUT", &format!("{GROUP}/broken"), &pool(&image, &["exit", "7"], "one")).await;
    eventually("the crash loop is told", async || {
        operations("pools?pool=broken").await.contains(&"ContainersDoNotStart".to_owned())
    })
    .await;
    let events = gateway.records("pools?pool=broken").await;
    let crashed = events.iter().find(|event| event["OperationName"] == "ContainerCrashed").expect("an event");
    assert!(crashed["Log"].as_str().unwrap().contains("exited with code 7"), "{crashed}");
    gateway.end().await;
}

fn sandpool(gateway: &Gateway, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(arguments).env("SANDPOOL_URL", gateway.url()).env_remove("SANDPOOL_KEY");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Settings of the real binary, with the tests' image in `folder`; and the image.
fn settings(folder: &std::path::Path) -> (String, String) {
    let image = Recipe::app(&["serve"]).layout(&folder.join("images/app"));
    let allowed = format!("oci:{}/images/", folder.display());
    let settings = format!(
        "[containers]\nallowed_images = ['{allowed}']\n\
         [[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\n"
    );
    (settings, image)
}

#[test]
fn the_command_line_makes_watches_and_deletes_a_pool_of_containers() {
    if !installed("runc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (settings, image) = settings(folder.path());
    let data = folder.path().join("data");
    let gateway = Gateway::on_data(&settings, &data);
    let secret = folder.path().join("token");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let (secret, env) = (format!("token=@{}", secret.display()), "TOKEN=secretref:token");
    let create = ["pool", "create", "app", "--image", &image, "--target-port", "8080", "--memory", "64Mi"];
    let more = ["--arg", "serve", "--env", "MODE=one", "--env", env, "--secret", &secret, "--ready-sessions", "1"];
    let (ok, endpoint, told) = sandpool(&gateway, &[&create[..], &more[..]].concat());
    assert!(ok && endpoint.ends_with("/sessionPools/app"), "{endpoint} {told}");
    let env_of = |session: &str, name: &str| {
        let url = format!("{}/pools/app/env?{name}&identifier={session}", gateway.url());
        ureq::get(url).call().expect("an answer").body_mut().read_to_string().unwrap()
    };
    assert_eq!((env_of("session-1", "TOKEN"), env_of("session-1", "MODE")), ("s3cret".into(), "one".into()));
    // The ready one was taken; until there is another, somebody may look.
    let end = Instant::now() + Duration::from_secs(20);
    let health = loop {
        let (ok, health, _) = sandpool(&gateway, &["pool", "health", "--pool", "app"]);
        if ok {
            break health;
        }
        assert!(Instant::now() < end, "{health}");
    };
    assert!(health.contains("Containers (runc): they start."), "{health}");
    let (ok, health, _) = sandpool(&gateway, &["pool", "health", "--pool", "python"]);
    assert!(ok, "{health}");
    let (_, listed, _) = sandpool(&gateway, &["pool", "list"]);
    assert!(listed.contains("app") && listed.contains("CustomContainer"), "{listed}");
    assert!(sandpool(&gateway, &["pool", "update", "app", "--env", "MODE=two", "--ready-sessions", "0"]).0);
    assert_eq!((env_of("session-2", "MODE"), env_of("session-2", "TOKEN")), ("two".into(), "s3cret".into()));
    let (_, logs, _) = sandpool(&gateway, &["logs", "--pool", "app", "--session", "session-1"]);
    assert!(logs.contains("serving on 8080"), "{logs}");
    let (_, top, _) = sandpool(&gateway, &["top", "--once"]);
    assert!(top.contains("app"), "{top}");
    let (ok, _, told) = sandpool(&gateway, &["pool", "create", "other", "--image", "oci:/etc", "--target-port", "80"]);
    assert!(!ok && told.contains("allowed_images"), "{told}");
    assert!(sandpool(&gateway, &["pool", "delete", "app"]).0);
    assert!(ureq::get(format!("{}/pools/app/hello?identifier=session-1", gateway.url())).call().is_err());
    gateway.terminate();
    assert!(gateway.wait().success());
    assert!(Traces::of(&data).are_none(), "{:?}", Traces::of(&data));
}

#[test]
fn azure_management_makes_pools_of_containers() {
    if !installed("runc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (settings, image) = settings(folder.path());
    let gateway = Gateway::configured(&settings);
    Python::with("management").run_with("test_containers.py", &gateway, &[("SANDPOOL_IMAGE", &image)]);
}
