//! What happens is recorded, and can be read.

use sandpool::access::Access;
use sandpool::snapshot::store::Store;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::http::{Answer, Running, gateway, gateway_kept, gateway_with, seal};

async fn rows(gateway: &Running, query: &str) -> Vec<Value> {
    let answer = gateway.get(&format!("/records/{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["value"].as_array().unwrap().clone()
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The columns of the hosted service's log tables.
const DOCUMENTED: [&str; 15] = [
    "TimeGenerated",
    "SessionPoolName",
    "PodName",
    "NodeName",
    "Location",
    "Level",
    "Log",
    "OperationName",
    "TenantId",
    "SourceSystem",
    "Type",
    "_ResourceId",
    "_SubscriptionId",
    "_BilledSize",
    "_IsBillable",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_console_has_every_line_of_an_execution() {
    let gateway = gateway().await;
    let code = "import sys\nprint('one\\ntwo')\nprint('bad', file=sys.stderr)\nfrom IPython.display import clear_output\n\
                clear_output()\n1/0";
    gateway.run("console-1", code).await;
    let rows = rows(&gateway, "console?order=oldest&identifier=console-1").await;
    let seen: Vec<_> = rows.iter().map(|row| (row["Stream"].as_str().unwrap(), row["Log"].as_str().unwrap())).collect();
    assert_eq!(seen[..3], [("stdout", "one"), ("stdout", "two"), ("stderr", "bad")]);
    assert!(seen.iter().any(|(_, log)| log.contains("ZeroDivisionError")), "{seen:?}");
    for name in DOCUMENTED {
        assert!(rows[0].get(name).is_some(), "{name} is missing");
    }
    assert_eq!(rows[0]["Type"], "AppEnvSessionConsoleLogs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_may_keep_no_console() {
    let gateway = gateway_with(Access::open(), Default::default(), |pool| pool.console_log = false).await;
    gateway.run("silent-1", "print('x')").await;
    assert!(rows(&gateway, "console").await.is_empty());
    assert_eq!(rows(&gateway, "usage").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_session_is_told_from_its_making_to_its_end() {
    let gateway = gateway().await;
    gateway.run("life-1", "x = 1").await;
    gateway.post("/pools/python/sessions/life-1/fork", r#"{"identifiers":["life-2"]}"#).await;
    gateway.send("DELETE", "/pools/python/session?identifier=life-1", &[], b"").await;
    // Its guest is broken, and there is nothing to roll back to.
    gateway.run("life-3", "import os; os._exit(3)").await;
    let seen = async |identifier: &str| {
        let rows = rows(&gateway, &format!("lifecycle?order=oldest&identifier={identifier}")).await;
        rows.iter().map(|row| row["OperationName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen("life-1").await, ["SessionCreated", "SessionEnded"]);
    assert_eq!(seen("life-2").await, ["SessionForked"]);
    assert_eq!(seen("life-3").await, ["SessionCreated", "SessionEnded"]);
    let broken = rows(&gateway, "lifecycle?identifier=life-3").await;
    assert_eq!(broken[0]["Level"], "Warning", "{broken:?}");
    let pools = rows(&gateway, "pools").await;
    assert!(pools.iter().any(|row| row["OperationName"] == "PoolOpened"), "{pools:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sleep_waking_and_going_back_are_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), None, seal()).unwrap();
    let gateway = gateway_kept(&store, |pool| pool.history = 2).await;
    gateway.run("sleeper", "x = 1").await;
    gateway.run("awake", "x = 1").await;
    let session = "/pools/python/sessions/sleeper";
    let taken = gateway.post(&format!("{session}/snapshots"), "null").await.json();
    gateway.hibernate().await;
    let metrics = gateway.get("/metrics").await.text();
    for told in ["PoolExecutingPodCount", "sandpool_sessions_memory_bytes", "sandpool_sessions_woken_total"] {
        assert!(metrics.contains(&format!("{told}{{poolName=\"python\"}} 0\n")), "{told}: {metrics}");
    }
    assert!(metrics.contains("sandpool_sessions_hibernated{poolName=\"python\"} 2\n"), "{metrics}");
    gateway.run("sleeper", "x").await;
    let restored = gateway.post(&format!("{session}/snapshots/{}/restore", taken["id"]), "null").await;
    assert_eq!(restored.status, 200, "{}", restored.text());
    let rows = rows(&gateway, "lifecycle?order=oldest&identifier=sleeper").await;
    let seen: Vec<_> = rows.iter().map(|row| row["OperationName"].as_str().unwrap()).collect();
    assert_eq!(seen, ["SessionCreated", "SessionHibernated", "SessionWoken", "SessionRestored"]);
    let metrics = gateway.get("/metrics").await.text();
    for told in [
        "sandpool_sessions_hibernated_total{poolName=\"python\"} 2",
        "sandpool_sessions_woken_total{poolName=\"python\"} 1",
    ] {
        assert!(metrics.contains(told), "{told}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_told_by_execution_and_session_and_summed_up_by_tag() {
    let tagged = |pool: &mut sandpool::pool::PoolSpecification| {
        pool.tags = [("team".to_owned(), "research".to_owned())].into();
    };
    let gateway = gateway_with(Access::open(), Default::default(), tagged).await;
    gateway.run("usage-1", "print(sum(range(100000)))").await;
    gateway.run("usage-1", "1/0").await;
    gateway.send("DELETE", "/pools/python/session?identifier=usage-1", &[], b"").await;
    let rows = rows(&gateway, "usage?order=oldest&identifier=usage-1").await;
    let [first, second, session] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((&first["Outcome"], &second["Outcome"]), (&json!("finished"), &json!("raised")));
    assert!(first["CpuSeconds"].as_f64().unwrap() > 0.0 && first["MemoryByteSeconds"].as_u64().unwrap() > 0);
    assert_eq!((&first["InputBytes"], &first["Tags"]["team"]), (&json!(25), &json!("research")));
    assert!(first["OutputBytes"].as_u64().unwrap() >= 11, "{first}");
    let (held, idle) = (session["AllocatedSeconds"].as_f64().unwrap(), session["IdleSeconds"].as_f64().unwrap());
    assert!(idle > 0.0 && idle < held, "{session}");

    let sums = gateway.get("/records/usage/sums?by=tag:team").await.json();
    let [sum] = &sums["value"].as_array().unwrap()[..] else { panic!("{sums}") };
    assert_eq!((&sum["group"], &sum["executions"], &sum["sessions"]), (&json!("research"), &json!(2), &json!(1)));
    let none = gateway.get("/pools/python/records/usage/sums?by=tag:nobody's").await.json();
    assert_eq!(none["value"][0]["group"], Value::Null);
    for by in ["caller", "day", "pool"] {
        assert_eq!(gateway.get(&format!("/records/usage/sums?by={by}")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_who_asked_what_and_how_it_ended() {
    let key = "a-key-of-16-characters";
    let access = Access::with_keys(&[key.into()]);
    let gateway = gateway_with(access, Default::default(), |_| ()).await;
    let bearer = format!("Bearer {key}");
    let with_key = [("authorization", bearer.as_str())];
    gateway.send("GET", "/pools/python/session?identifier=audit-1", &[], b"").await;
    gateway.send("POST", "/pools/python/executions?identifier=audit-1", &with_key, br#"{"code":"1"}"#).await;
    gateway.send("GET", "/pools/python/session?identifier=other", &with_key, b"").await;
    gateway.send("GET", "/livez", &[], b"").await;
    let rows = gateway.send("GET", "/records/audit?order=oldest", &with_key, b"").await.json();
    let rows = rows["value"].as_array().unwrap();
    let seen: Vec<_> =
        rows.iter().map(|row| (row["OperationName"].as_str().unwrap(), row["StatusCode"].as_u64().unwrap())).collect();
    assert_eq!(seen, [("ReadSession", 401), ("Execute", 200), ("ReadSession", 400)]);
    assert_eq!(rows[2]["ErrorCode"], "SessionWithIdentifierNotFound");
    assert_eq!((&rows[1]["CallerIpAddress"], &rows[1]["SessionPoolName"]), (&json!("127.0.0.1"), &json!("python")));
    assert_ne!(rows[0]["Caller"], rows[1]["Caller"]);
    assert!(!rows[1]["Caller"].as_str().unwrap().contains(key));
    assert_eq!(rows[0]["PodName"], rows[1]["PodName"]);
    assert_ne!(rows[1]["PodName"], rows[2]["PodName"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_one_another_and_lines_come_at_once() {
    let gateway = gateway().await;
    gateway.run("pages-1", "for i in range(25): print(i)").await;
    for order in ["newest", "oldest"] {
        let (mut query, mut seen) = (format!("?top=10&order={order}"), Vec::new());
        loop {
            let page = gateway.get(&format!("/pools/python/records/console{query}")).await.json();
            let logs = page["value"].as_array().unwrap().iter().map(|row| row["Log"].as_str().unwrap().to_owned());
            seen.extend(logs);
            match page["nextLink"].as_str() {
                Some(next) => query = next.to_owned(),
                None => break,
            }
        }
        let mut expected: Vec<_> = (0..25).map(|i| i.to_string()).collect();
        if order == "newest" {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
    let accept = [("accept", "application/x-ndjson")];
    let all = chunked(&gateway, "/records/console?order=oldest", &accept).await;
    assert_eq!(lines(&all).len(), 25);
    assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
}

/// An answer without a length: over HTTP/1.0, whose bodies are not cut into chunks.
async fn chunked(gateway: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = gateway.connect().await;
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: x\r\n{extra}\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    crate::support::http::checked("GET", path, &bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_and_what_makes_no_sense_is_refused() {
    let gateway = gateway().await;
    gateway.run("filter-1", "print('a')").await;
    gateway.run("filter-2", "print('b')").await;
    let all = rows(&gateway, "console?order=oldest").await;
    let pseudonym = all[0]["PodName"].as_str().unwrap();
    assert_eq!(rows(&gateway, &format!("console?session={pseudonym}")).await, all[..1]);
    let execution = all[1]["ExecutionId"].as_str().unwrap();
    assert_eq!(rows(&gateway, &format!("console?execution={execution}")).await, all[1..]);
    assert!(rows(&gateway, "console?until=2001-01-01T00:00:00Z").await.is_empty());
    assert!(rows(&gateway, "console?since=2101-01-01T00:00:00Z").await.is_empty());
    assert!(rows(&gateway, "console?pool=another").await.is_empty());
    assert!(rows(&gateway, "pools?identifier=filter-1").await.is_empty());
    assert!(rows(&gateway, "audit?operation=Execute'%20OR%201=1").await.is_empty());
    assert_eq!(rows(&gateway, "audit?operation=Execute").await.len(), 2);
    for wrong in [
        "top=0",
        "top=1001",
        "top=x",
        "cursor=-1",
        "order=up",
        "since=yesterday",
        "session=xyz",
        "identifier=abcd&session=xyz",
        "identifier=a",
    ] {
        assert_eq!(gateway.get(&format!("/records/console?{wrong}")).await.status, 400, "{wrong}");
    }
    for wrong in ["by=tag:", "by=everything", "by=tag:a%22b", "by=tag:a%00"] {
        assert_eq!(gateway.get(&format!("/records/usage/sums?{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(gateway.get("/records/secrets").await.status, 404);
    assert_eq!(gateway.post("/records/audit", "{}").await.status, 405);
}

const POOL: &str = "
[[pool]]
name = 'python'
edition = 'base'
ready_session_instances = 1
";

fn get(url: &str) -> Value {
    ureq::get(url).call().unwrap().body_mut().read_json().unwrap()
}

fn execute(gateway: &Gateway, identifier: &str, code: &str) {
    let url = format!("{}/executions?identifier={identifier}", gateway.pool_url("python"));
    ureq::post(&url).send_json(json!({ "code": code })).unwrap();
}

#[test]
fn what_was_committed_survives_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let first = Gateway::on_data(POOL, data.path());
    for round in 0..20 {
        execute(&first, "survivor", &format!("print('line {round}')"));
    }
    // Reading commits what was recorded before.
    assert_eq!(get(&format!("{}/records/usage", first.url()))["value"].as_array().unwrap().len(), 20);
    execute(&first, "survivor", "print('perhaps')");
    first.kill();
    let second = Gateway::on_data(POOL, data.path());
    // The key stayed: the same identifier is found by the same pseudonym.
    let console = get(&format!("{}/records/console?identifier=survivor&order=oldest", second.url()));
    let console = console["value"].as_array().unwrap();
    assert!((20..=21).contains(&console.len()), "{console:?}");
    for (round, row) in console[..20].iter().enumerate() {
        assert_eq!(row["Log"], format!("line {round}"));
    }
}

#[test]
fn a_drained_gateway_has_written_everything() {
    let data = tempfile::tempdir().unwrap();
    let first = Gateway::on_data(POOL, data.path());
    execute(&first, "drained", "print('last words')");
    first.terminate();
    assert!(first.wait().success());
    let second = Gateway::on_data(POOL, data.path());
    let console = get(&format!("{}/records/console", second.url()));
    assert_eq!(console["value"][0]["Log"], "last words");
    let ended = get(&format!("{}/records/lifecycle?operation=SessionEnded", second.url()));
    assert!(ended["value"][0]["Log"].as_str().unwrap().contains("pool closed"), "{ended}");
}

#[test]
fn a_gateway_may_keep_nothing() {
    let gateway = Gateway::configured(&format!("[records]\nenabled = false\n{POOL}"));
    execute(&gateway, "forgotten", "print('x')");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(format!("{}/records/console", gateway.url())).call().unwrap();
    assert_eq!(answer.status(), 404);
    let error: Value = answer.body_mut().read_json().unwrap();
    assert_eq!(error["error"]["code"], "RecordsNotKept");
    let metrics = ureq::get(format!("{}/metrics", gateway.url())).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(
        metrics.contains("sandpool_execution_seconds_count{outcome=\"finished\",poolName=\"python\"} 1"),
        "{metrics}"
    );
}
