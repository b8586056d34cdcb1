//! JavaScript's `fetch`: the same way out as Python's, under the same policy.

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::server::Server;

/// A gateway with a pool of JavaScript that may ask this server.
fn gateway(server: &Server) -> Gateway {
    let port = server.address.port();
    Gateway::configured(&format!(
        "[[pool]]\nname = 'js'\ninterpreter = 'javascript'\n\
         [pool.limits]\ntimeout_seconds = 60\n\
         [pool.egress]\npolicy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         limits = {{ response_bytes = 100000, timeout_seconds = 2 }}\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {port}, methods = ['GET', 'HEAD', 'POST'], \
         headers = {{ Authorization = 'Bearer of-the-gateway' }} }}]"
    ))
}

/// What a cell answers. The session is the same for all of one test.
async fn run(gateway: &Gateway, code: &str, seconds: u32) -> Value {
    let url = format!("{}/executions?identifier=fetching", gateway.pool_url("js"));
    let body = json!({ "code": code, "timeoutInSeconds": seconds });
    let ask = move || ureq::post(url).send_json(body).expect("an answer").body_mut().read_json().expect("JSON");
    tokio::task::spawn_blocking(ask).await.expect("it does not panic")
}

fn printed(answer: &Value) -> &str {
    assert_eq!(answer["status"], "Succeeded", "{answer}");
    answer["result"]["stdout"].as_str().expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_asks_and_is_recorded() {
    let server = Server::start().await;
    let gateway = gateway(&server);
    let code = format!(
        "const base = {:?};\n\
         const hello = await fetch(base + '/hello');\n\
         console.log(hello.status, hello.ok, hello.headers.get('X-Served-By'), hello.headers.getSetCookie().length, await hello.text());\n\
         const echo = await fetch(new Request(base + '/echo', {{ method: 'post', body: JSON.stringify({{ k: 'é' }}) }}));\n\
         console.log(await echo.json());\n\
         const moved = await fetch(`${{base}}/to?/hello`, {{ method: 'POST', body: 'dropped' }});\n\
         console.log(moved.redirected, moved.url === base + '/hello', await moved.text());\n\
         console.log((await fetch(`${{base}}/to?/hello`, {{ redirect: 'manual' }})).status, (await fetch(base + '/missing')).ok);\n\
         const head = await fetch(base + '/hello', {{ method: 'HEAD' }});\n\
         console.log(head.headers.get('content-length'), (await head.bytes()).length);",
        server.url("")
    );
    let answer = run(&gateway, &code, 60).await;
    assert_eq!(printed(&answer), "200 true test 2 hello\n{ k: 'é' }\ntrue true hello\n302 false\n5 0\n");
    let methods: Vec<_> = answer["network"].as_array().unwrap().iter().map(|call| call["method"].clone()).collect();
    assert_eq!(methods, ["GET", "POST", "POST", "GET", "GET", "GET", "HEAD"]);
    let asked = server.asked();
    assert!(asked.iter().all(|one| one.header("authorization") == Some("Bearer of-the-gateway")));
    assert_eq!(asked[1].header("content-type"), Some("text/plain;charset=UTF-8"));
    assert_eq!(asked[3].header("content-type"), None, "a POST that was moved goes on as a GET");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_is_under_the_pools_policy() {
    let (server, other) = (Server::start().await, Server::start().await);
    let gateway = gateway(&server);
    for (target, said) in [
        (other.url("/hello"), "is not in this pool's allow-list"),
        (server.url(&format!("/to?{}", other.url("/hello"))), "is not in this pool's allow-list"),
        (server.url("/huge"), "100000"),
        (server.url("/slow"), "fetch failed"),
        (server.url("/junk"), "fetch failed"),
    ] {
        let code = format!("await fetch({target:?}).then((answer) => answer.status, (error) => `${{error}}`)");
        let answer = run(&gateway, &code, 60).await;
        let text = answer["result"]["executionResult"].to_string();
        assert!(text.contains(said), "{target}: {said}: {answer}");
    }
    assert!(other.asked().is_empty());
    let refused = run(&gateway, &format!("await fetch({:?}, {{ method: 'DELETE' }})", server.url("/hello")), 60).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("does not have DELETE"), "{refused}");
    assert!(server.asked().iter().all(|one| !one.line.starts_with("DELETE")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_ends_a_fetch_and_the_session_lives() {
    let server = Server::start().await;
    let gateway = gateway(&server);
    let code = format!("let x = 41; try {{ await fetch({:?}) }} catch {{ for (;;) {{}} }}", server.url("/slow"));
    let answer = run(&gateway, &code, 1).await;
    assert_ne!(answer["status"], "Succeeded", "{answer}");
    assert_eq!(printed(&run(&gateway, "console.log(x + 1)", 60).await), "42\n");
}
