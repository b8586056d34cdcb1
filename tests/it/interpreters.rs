//! What every interpreter owes the gateway, asked of SQLite, of which the gateway knows nothing; and a pool of each, through
//! the real binary.

use std::time::Duration;

use sandpool::sandbox::{Exit, Limits};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::gateway::Gateway;
use crate::support::guests::{Guest, LIMITS, image_of};

const POOLS: &str = "
[[pool]]
name = 'js'
interpreter = 'javascript'
ready_session_instances = 1
limits = { timeout_seconds = 2 }

[[pool]]
name = 'sql'
interpreter = 'sqlite'
ready_session_instances = 1
";

fn post(url: &str, code: &str) -> Value {
    let answer = ureq::post(url).send_json(json!({ "code": code })).expect("an answer");
    answer.into_body().read_json().expect("it is JSON")
}

fn metadata(gateway: &Gateway, pool: &str) -> Value {
    let answer = ureq::get(format!("{}/metadata", gateway.pool_url(pool))).call().expect("an answer");
    answer.into_body().read_json().expect("it is JSON")
}

#[test]
fn pools_name_their_interpreter() {
    let gateway = Gateway::configured(POOLS);

    let url = format!("{}/executions?identifier=test-1", gateway.pool_url("js"));
    let first =
        post(&url, "const rows = [1, 2, 3].map(n => n ** 2);\nconsole.log(rows);\nrows.reduce((a, b) => a + b)");
    assert_eq!(first["status"], "Succeeded", "{first}");
    assert_eq!(
        (&first["result"]["stdout"], &first["result"]["executionResult"]),
        (&json!("[ 1, 4, 9 ]\n"), &json!(14))
    );
    assert_eq!(post(&url, "rows.length")["result"]["executionResult"], 3);
    assert_eq!(post(&url, "while (true) {}")["status"], "Failed");
    assert_eq!(
        post(&url, "require('fs').writeFileSync('out.txt', `${rows}`); rows.length")["result"]["executionResult"],
        3
    );
    let file = format!("{}/files/out.txt/content?identifier=test-1", gateway.pool_url("js"));
    assert_eq!(ureq::get(file).call().unwrap().into_body().read_to_string().unwrap(), "1,4,9");
    assert_eq!(metadata(&gateway, "js")["runtimes"][0]["name"], "javascript");

    let url = format!("{}/executions?identifier=test-1", gateway.pool_url("sql"));
    post(&url, "create table t (a integer); insert into t values (1), (2);");
    let sum = post(&url, "select sum(a) as total from t");
    assert!(sum["result"]["executionResult"].to_string().contains("total"), "{sum}");
    assert_eq!(metadata(&gateway, "sql")["runtimes"][0]["name"], "sqlite");
}

#[tokio::test]
async fn a_timeout_raises_in_sqlite_and_the_session_lives() {
    let mut guest = Guest::on(image_of("sqlite")).await;
    guest.run("CREATE TABLE kept AS SELECT 42 AS a").await;
    for code in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO kept SELECT i FROM n WHERE i < 0",
    ] {
        let limits = Limits { wall: Duration::from_millis(200), ..LIMITS };
        let ran = guest.run_within(code, limits, CancellationToken::new()).await;
        assert_eq!((ran.report.exit, ran.report.alive), (Exit::TimedOut, true), "{code}: {ran:?}");
        assert_eq!(ran.error(), Some("SQLITE_INTERRUPT"));
        let next = guest.run("SELECT a FROM kept").await;
        assert!(next.result().is_some_and(|table| table.contains("42")), "{next:?}");
    }
}

#[tokio::test]
async fn sqlite_reports_that_memory_runs_out() {
    let mut guest = Guest::on(image_of("sqlite")).await;
    for code in [
        "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) SELECT randomblob(9000000) b FROM n",
        "SELECT replace(hex(zeroblob(10000000)), '0', '0123456789')",
    ] {
        let ran = guest.run(code).await;
        assert_eq!((ran.report.exit, ran.report.alive), (Exit::Raised, true), "{code}: {ran:?}");
        assert_eq!(ran.error(), Some("SQLITE_NOMEM"), "{code}: {ran:?}");
        let next = guest.run("SELECT 42").await;
        assert!(next.result().is_some_and(|table| table.contains("42")), "{next:?}");
    }
}

#[tokio::test]
async fn sqlite_sessions_do_not_share_randomness() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let ran = Guest::on(image_of("sqlite")).await.run("SELECT random() AS r").await;
        seen.insert(ran.result().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}
