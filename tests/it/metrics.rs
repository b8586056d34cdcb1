//! `GET /metrics`, `/pools` and `/pools/{pool}/health`: what is counted is what happened.

use serde_json::json;

use crate::support::http::{Running, eventually, gateway, gateway_with};

async fn metrics(gateway: &Running) -> String {
    let answer = gateway.get("/metrics").await;
    assert_eq!(
        (answer.status, answer.header("content-type").map(|kind| kind.starts_with("text/plain"))),
        (200, Some(true))
    );
    answer.text()
}

/// The value of a series, as it stands in the text.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_sessions_and_refusals_are_counted() {
    let gateway = gateway_with(Default::default(), Default::default(), |pool| pool.max_concurrent_sessions = 2).await;
    gateway.run("counted-1", "1").await;
    gateway.run("counted-1", "1/0").await;
    gateway.run("counted-2", "1").await;
    let full = gateway.post("/pools/python/executions?identifier=counted-3", r#"{"code":"1"}"#).await;
    assert_eq!(full.status, 429);
    let before = metrics(&gateway).await;
    let expected = [
        ("PoolExecutingPodCount{poolName=\"python\"}", 2.0),
        ("sandpool_execution_seconds_count{outcome=\"finished\",poolName=\"python\"}", 2.0),
        ("sandpool_execution_seconds_count{outcome=\"raised\",poolName=\"python\"}", 1.0),
        ("sandpool_allocation_seconds_count{session=\"new\",poolName=\"python\"}", 2.0),
        ("sandpool_allocation_seconds_count{session=\"live\",poolName=\"python\"}", 1.0),
        ("sandpool_rejections_total{reason=\"SessionPoolFull\",poolName=\"python\"}", 1.0),
        ("sandpool_queue_depth{poolName=\"python\"}", 0.0),
        ("sandpool_records_lost_total", 0.0),
    ];
    for (series, expected) in expected {
        assert_eq!(value(&before, series), Some(expected), "{series}\n{before}");
    }
    assert!(value(&before, "process_resident_memory_bytes").unwrap() > 1e6);
    gateway.send("DELETE", "/pools/python/session?identifier=counted-2", &[], b"").await;
    let after = metrics(&gateway).await;
    assert_eq!(value(&after, "PoolExecutingPodCount{poolName=\"python\"}"), Some(1.0));
    assert_eq!(value(&after, "sandpool_sessions_ended_total{why=\"stopped\",poolName=\"python\"}"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_sandboxes_and_running_code_are_seen() {
    let gateway = gateway().await;
    let ready = "PoolReadyPodCount{poolName=\"python\"}";
    eventually("a ready sandbox", async || value(&metrics(&gateway).await, ready) == Some(1.0)).await;
    let running = gateway.gateway.clone();
    let code = json!({"code": "import time\ntime.sleep(30)", "executionType": "Asynchronous"}).to_string();
    gateway.post("/pools/python/executions?identifier=sleeper", &code).await;
    let series = "sandpool_sessions_running{poolName=\"python\"}";
    eventually("running code", async || value(&metrics(&gateway).await, series) == Some(1.0)).await;
    let standing = gateway.get("/pools/python/health").await.json();
    assert_eq!((&standing["sessions"]["running"], &standing["sessions"]["overdue"]), (&json!(1), &json!(0)));
    let pools = gateway.get("/pools").await.json();
    assert_eq!(pools["value"][0]["name"], "python");
    let sleeper = sandpool::session::Identifier::new("sleeper").unwrap();
    for pool in running.pools() {
        assert!(pool.end_session(&sleeper).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_label_is_a_callers_word() {
    let gateway = gateway().await;
    gateway.run("canary-identifier", "1").await;
    gateway.get("/pools/canary-pool/session?identifier=canary-identifier").await;
    gateway.send("GET", "/pools/python/files/canary-file?identifier=canary-identifier", &[], b"").await;
    gateway.send("CANARY", "/pools/python/session", &[], b"").await;
    let metrics = metrics(&gateway).await;
    assert!(!metrics.to_lowercase().contains("canary"), "{metrics}");
}
