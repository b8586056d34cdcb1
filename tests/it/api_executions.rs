//! Running code over a socket, in both generations.

use serde_json::json;

use crate::support::http::{eventually, gateway, gateway_with};

#[tokio::test(flavor = "multi_thread")]
async fn the_old_route_answers_with_every_key() {
    let gateway = gateway().await;
    let body = r#"{"properties":{"codeInputType":"inline","executionType":"synchronous","code":"print('hi')\n6*7","timeoutInSeconds":100}}"#;
    let answer = gateway
        .post("/pools/python/code/execute?identifier=user%201/%C3%A9&api-version=2024-02-02-preview", body)
        .await;
    assert_eq!(answer.status, 200);
    let properties = &answer.json()["properties"];
    assert_eq!(properties["status"], "Success");
    assert_eq!(properties["stdout"], "hi\n");
    assert_eq!(properties["result"], 42);
    assert_eq!(properties["executionResult"], 42);
    assert!(answer.header("operation-id").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_takes_both_shapes_under_both_prefixes() {
    let gateway = gateway().await;
    for prefix in [
        "/pools/python",
        "/subscriptions/s/resourceGroups/g/sessionPools/python",
        "//Subscriptions/s/resourcegroups/g/sessionpools/Python/",
    ] {
        for route in ["code/execute", "executions", "execute/"] {
            for body in [r#"{"code":"print(1)"}"#, r#"{"properties":{"code":"print(1)"}}"#] {
                let answer = gateway.post(&format!("{prefix}/{route}?identifier=shapes"), body).await;
                assert_eq!(answer.status, 200, "{prefix} {route} {body}: {}", answer.text());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_lives_as_long_as_the_session() {
    let gateway = gateway().await;
    assert_eq!(gateway.run("state", "x = 20").await["sessionCreated"], true);
    let second = gateway.run("state", "x + 1").await;
    assert_eq!((&second["result"]["executionResult"], &second["sessionCreated"]), (&json!(21), &json!(false)));
    let ended = gateway.send("DELETE", "/pools/python/session?identifier=state", &[], b"").await;
    assert_eq!((ended.status, ended.body.len()), (204, 0));
    assert_eq!(gateway.run("state", "x + 1").await["rawResult"]["error_name"], "NameError");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_code_is_an_answer() {
    let gateway = gateway().await;
    let answer = gateway.run("fails", "import sys\nprint('before', file=sys.stderr)\n1/0").await;
    assert_eq!(answer["status"], "Failed");
    let stderr = answer["result"]["stderr"].as_str().unwrap();
    assert!(stderr.starts_with("before\n") && stderr.contains("ZeroDivisionError"), "{stderr}");
    assert_eq!(answer["rawResult"]["error_message"], "division by zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_an_answer_and_the_session_stays() {
    let gateway = gateway().await;
    gateway.run("slow", "kept = 1").await;
    let answer = gateway
        .post("/pools/python/executions?identifier=slow", r#"{"code":"while True: pass","timeoutInSeconds":1}"#)
        .await
        .json();
    assert_eq!(answer["status"], "Failed");
    let stderr = answer["result"]["stderr"].as_str().unwrap();
    assert!(stderr.ends_with("Request timed out waiting for code execution to complete"), "{stderr}");
    assert_eq!(gateway.run("slow", "kept").await["result"]["executionResult"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_execution_is_polled_where_the_answer_says() {
    let gateway = gateway().await;
    let path = "/pools/python/executions?identifier=a%20b/c&api-version=2025-02-02-preview";
    let body = r#"{"code":"print('done')","executionType":"Asynchronous"}"#.as_bytes();
    let taken = gateway.send("POST", path, &[("operation-id", "mine-1")], body).await;
    assert_eq!((taken.status, taken.header("operation-id")), (202, Some("mine-1")));
    let location = taken.header("operation-location").unwrap();
    let poll = location.strip_prefix(&format!("http://{}", gateway.address)).expect("the location is absolute");
    assert!(poll.contains("/executions/mine-1?api-version=2025-02-02-preview&identifier=a%20b%2Fc"), "{poll}");
    eventually("the end of the execution", async || gateway.get(poll).await.json()["status"] == "Succeeded").await;
    assert_eq!(gateway.get(poll).await.json()["result"]["stdout"], "done\n");
    assert_eq!(gateway.get("/pools/python/executions/other?identifier=a%20b/c").await.code(), "ExecutionNotFound");
    assert_eq!(gateway.get("/pools/python/executions/mine-1?identifier=another").await.code(), "ExecutionNotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_is_needed_and_has_a_length() {
    let gateway = gateway().await;
    let body = r#"{"code":"1"}"#;
    assert_eq!(gateway.post("/pools/python/executions", body).await.code(), "SessionIdentifierMissing");
    assert_eq!(
        gateway.post("/pools/python/executions?identifier=abc", body).await.code(),
        "InvalidLengthOfSessionIdentifier"
    );
    let inside = gateway.post("/pools/python/executions", r#"{"code":"1","identifier":"in the body"}"#).await;
    assert_eq!(inside.json()["identifier"], "in the body");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_contract_is_pointed_at() {
    let gateway = gateway().await;
    let path = "/pools/python/code/execute?identifier=contract";
    for (body, code, target) in [
        ("", "SessionRequestValidationFailed", None),
        ("{}", "SessionPropertiesMissing", None),
        (r#"{"properties":{"code":5}}"#, "SessionRequestValidationFailed", Some("/properties/code")),
        (r#"{"code":"1","timeoutInSeconds":221}"#, "SessionRequestValidationFailed", None),
    ] {
        let answer = gateway.post(path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
        assert_eq!(answer.json()["error"]["target"].as_str(), target, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_beyond_the_limit_is_refused() {
    let gateway = gateway_with(Default::default(), Default::default(), |pool| pool.limits.code_bytes = 1000).await;
    let long = format!(r#"{{"code":"{}"}}"#, "#".repeat(1001));
    let answer = gateway.post("/pools/python/executions?identifier=long", &long).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "RequestBodyTooLarge"));
    let endless = format!(r#"{{"code":"{}"}}"#, "#".repeat(5 << 20));
    assert_eq!(gateway.post("/pools/python/executions?identifier=long", &endless).await.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_says_when_to_come_again() {
    let gateway = gateway_with(Default::default(), Default::default(), |pool| pool.max_concurrent_sessions = 1).await;
    gateway.run("first", "1").await;
    let answer = gateway.post("/pools/python/executions?identifier=second", r#"{"code":"1"}"#).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "SessionPoolFull"));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}
