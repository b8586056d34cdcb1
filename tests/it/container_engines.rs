//! Pools of containers that an engine runs (Docker): what stands above the seam does not know the difference.

use sandpool::sandbox::container::ImageFiles;
use serde_json::json;

use crate::support::container_pools::PoolGateway;
use crate::support::containers::{Backend, gateway_name};
use crate::support::engines;
use crate::support::http::eventually;
use crate::support::images::Recipe;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_allocated_forwarded_to_told_of_and_stopped() {
    let settings = "ready_session_instances = 1\nmax_concurrent_sessions = 2\ntermination_grace_seconds = 0";
    let Some(gateway) = PoolGateway::on("docker", settings).await else { return };
    assert_eq!(gateway.ask("POST", "/write?/mine&identifier=one-one").await.0, 200);
    assert_eq!(gateway.get("/read?/mine&identifier=one-one").await, (200, "x".into()));
    assert_eq!(gateway.get("/read?/mine&identifier=two-two").await.0, 500, "another container has no such file");
    assert_eq!(gateway.refusal("GET", "/hello?identifier=three").await, (429, "SessionPoolFull".into()));
    assert_eq!(gateway.get("/print?a%20line&identifier=one-one").await.0, 200);
    let console = async || {
        let (_, console) = gateway.json("GET", "/.management/console?identifier=one-one").await;
        let lines = console["value"].as_array().unwrap().clone();
        lines.iter().any(|line| line["text"] == "a%20line" && line["stream"] == "stdout")
    };
    eventually("its line is there", console).await;
    let (_, health) = gateway.json("GET", "/.management/health").await;
    assert_eq!((&health["inUse"], &health["backend"]["engine"]), (&json!(2), &json!("docker")), "{health}");
    assert_eq!(gateway.ask("POST", "/.management/stopSession?identifier=one-one").await.0, 200);
    assert_eq!(gateway.get("/read?/mine&identifier=three").await.0, 500, "a fresh container");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liveness_failure_and_an_exit_replace_the_container() {
    let settings = "ready_session_instances = 0\nmax_concurrent_sessions = 4\ntermination_grace_seconds = 0\n\
        [[probes]]\ntype = 'liveness'\nhttp_get = { path = '/health', port = 8080 }\nperiod_seconds = 1\n\
        failure_threshold = 2";
    let Some(gateway) = PoolGateway::on("docker", settings).await else { return };
    assert_eq!(gateway.ask("POST", "/write?/mark&identifier=well").await.0, 200);
    assert_eq!(gateway.get("/sick?identifier=well").await.0, 200);
    let fresh = async || gateway.get("/read?/mark&identifier=well").await.0 == 500;
    eventually("the sick container is replaced", fresh).await;
    assert_eq!(gateway.refusal("GET", "/exit?3&identifier=well").await, (502, "SessionContainerFailed".into()));
    assert_eq!(gateway.get("/health?identifier=well").await, (200, "well".into()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_and_one_that_crashes_are_told() {
    let Some(backend) = Backend::open("docker").await else { return };
    let gateway = PoolGateway::with(backend, "127.0.0.1:1/nothing:1", "").await;
    let failed = async || gateway.pool.standing().last_failure.is_some_and(|why| why.contains("127.0.0.1:1/nothing:1"));
    eventually("the registry's silence is told", failed).await;
    assert!(gateway.pool.standing().image_failures > 0);
    gateway.end().await;
    let Some(gateway) = PoolGateway::on("docker", "args = ['exit', '7']").await else { return };
    let failed = async || gateway.pool.standing().last_failure.is_some_and(|why| why.contains("exited with code 7"));
    eventually("the exit is told", failed).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_cannot_limit_is_refused_unless_the_operator_allows_it() {
    let Some(engine) = engines::engine("docker") else { return };
    let strict = async || Backend::of_engine("docker", engine, false).await;
    let backend = strict().await;
    let report = backend.backend.report();
    if report.enforced.disk {
        return eprintln!("skipped: docker: its storage limits what is written");
    }
    assert!(report.warnings.iter().any(|warning| warning.contains("read_only")), "{:?}", report.warnings);
    let image = Recipe::app(&["serve"]).layout(&backend.folder.path().join("layout"));
    let gateway = PoolGateway::with(backend, &image, "").await;
    let told = async || gateway.pool.standing().last_failure.is_some_and(|why| why.contains("read_only"));
    eventually("it is refused", told).await;
    gateway.end().await;
    let backend = strict().await;
    let image = Recipe::app(&["serve"]).layout(&backend.folder.path().join("layout"));
    let gateway = PoolGateway::with(backend, &image, "read_only = true").await;
    assert_eq!(gateway.get("/hello?identifier=session").await, (200, "hello".into()));
    gateway.end().await;
}

/// An image may ask an engine for volumes on its disk, commands of its own beside the session's, and more.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_asks_of_the_engine_is_not_heeded() {
    let Some(backend) = Backend::open("docker").await else { return };
    let Some(engine) = engines::engine("docker") else { return };
    let mut recipe = Recipe::app(&["serve"]);
    recipe.config["Volumes"] = json!({"/data": {}, "/more": {}});
    recipe.config["Healthcheck"] = json!({"Test": ["CMD", "/app", "print"], "Interval": 1_000_000_000});
    recipe.config["StopSignal"] = json!("SIGCONT");
    recipe.config["Labels"] = json!({"sandpool.gateway": "another"});
    let image = backend.prepare(&recipe).await;
    assert!(matches!(&image.files, ImageFiles::Engine(name) if name.starts_with("sha256:")));
    let container = backend.create(&image, |s| s.read_only = true).await;
    container.start().await.unwrap();
    crate::support::containers::listening(&*container).await;
    let client = engine.client().negotiate_version().await.unwrap();
    let volumes = client.list_volumes(None::<bollard::query_parameters::ListVolumesOptions>).await.unwrap();
    assert_eq!(volumes.volumes.unwrap_or_default().len(), 0, "nothing lies on the engine's disk");
    let name = format!("sandpool-{}", container.id());
    let found = client.inspect_container(&name, None).await.unwrap();
    assert!(found.state.unwrap().health.is_none_or(|health| health.log.unwrap_or_default().is_empty()));
    let labels = found.config.unwrap().labels.unwrap();
    assert_eq!(labels["sandpool.gateway"], gateway_name(backend.folder.path()));
    let mounts = found.mounts.unwrap();
    assert!(!mounts.is_empty() && mounts.iter().all(|mount| mount.source.as_deref().unwrap_or_default().is_empty()));
    let exit = container.stop(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(exit.signal, Some(libc::SIGKILL));
    container.destroy().await.unwrap();
}
