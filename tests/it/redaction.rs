//! A canary in code, output, names of files and identifiers is in no record, metric, trace or log, but what was printed is in the
//! console log of its own pool.

use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::gateway::Gateway;

const POOLS: &str = "
log = 'trace'
keys = ['canary-key-of-the-gateway']
[[pool]]
name = 'python'
edition = 'base'
ready_session_instances = 1
snapshot = 'after-each'
[[pool]]
name = 'other'
edition = 'base'
ready_session_instances = 1
";

struct Caller<'a>(&'a Gateway);

impl Caller<'_> {
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let url = format!("{}{path}", self.0.url());
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        request = request.header("authorization", "Bearer canary-key-of-the-gateway");
        request = request.header("tracestate", "canary=canary").header("x-request-id", "canary-request");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build().into();
        let mut answer = agent.run(request.body(body.to_vec()).unwrap()).unwrap();
        answer.body_mut().read_to_string().unwrap()
    }

    fn execute(&self, pool: &str, code: &str) -> Value {
        let path = format!("/pools/{pool}/executions?identifier=canary-identifier");
        let body = json!({ "code": code }).to_string();
        serde_json::from_str(&self.call("POST", &path, &[], body.as_bytes())).unwrap()
    }

    fn lines(&self, path: &str) -> String {
        self.call("GET", path, &[("accept", "application/x-ndjson")], b"")
    }
}

#[test]
fn canaries_are_seen_in_the_console_of_their_pool_alone() {
    let collector = Collector::start();
    let gateway = Gateway::configured(&format!("{}{POOLS}", collector.setting()));
    let caller = Caller(&gateway);
    let code = "# canary-code\nimport sys\nprint('canary-output')\nprint('canary-error', file=sys.stderr)\n\
                open('canary-file.txt', 'w').write('canary-content')\n'canary-result'";
    assert!(caller.execute("python", code).to_string().contains("canary-result"));
    caller.execute("python", "raise ValueError('canary-exception')");
    caller.execute("python", "import os; os._exit(3)  # canary-code");
    caller.execute("python", "syntax canary-code");
    caller.execute("other", "x = 'canary-code'");
    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"canary-upload.txt\"\r\n\r\ncanary-content\r\n--x--\r\n";
    let form_type = [("content-type", "multipart/form-data; boundary=x")];
    let id = "identifier=canary-identifier";
    caller.call("POST", &format!("/pools/python/files?{id}"), &form_type, form.as_bytes());
    for (method, path) in [
        ("GET", "files/canary-file.txt"),
        ("GET", "files/canary-upload.txt/content"),
        ("GET", "files/canary-missing.txt"),
        ("DELETE", "files/canary-upload.txt"),
        ("GET", "executions/canary-execution"),
        ("GET", "canary-route"),
        ("CANARY", "session"),
    ] {
        caller.call(method, &format!("/pools/python/{path}?{id}"), &[], b"");
    }
    caller.call("GET", &format!("/pools/canary-pool/session?{id}"), &[], b"");
    caller.call("POST", &format!("/pools/python/executions?{id}"), &[], b"{\"code\": canary-code");
    let forked = br#"{"identifiers": ["canary-child"]}"#;
    caller.call("POST", "/pools/python/sessions/canary-identifier/fork", &[], forked);
    caller.call("DELETE", "/pools/python/session?identifier=canary-child", &[], b"");

    let console = caller.lines("/pools/python/records/console");
    for printed in ["canary-output", "canary-error", "canary-exception"] {
        assert!(console.contains(printed), "{printed}: {console}");
    }
    for hidden in ["canary-identifier", "canary-content", "canary-result", "canary-file", "canary-child"] {
        assert!(!console.contains(hidden), "{hidden}: {console}");
    }
    assert_eq!(caller.lines("/pools/other/records/console"), "");
    for table in ["lifecycle", "pools", "audit", "usage"] {
        let lines = caller.lines(&format!("/records/{table}"));
        assert!(!lines.is_empty() && !lines.contains("canary"), "{table}: {lines}");
    }
    let metrics = caller.call("GET", "/metrics", &[], b"");
    assert!(metrics.contains("sandpool_") && !metrics.contains("canary"), "{metrics}");
    gateway.terminate();
    gateway.wait();
    let exported = collector.sent();
    for sent in &exported {
        let text = String::from_utf8_lossy(&sent.body).to_lowercase();
        assert!(!text.contains("canary"), "{}: {text}", sent.path);
    }
    let executions = collector.spans().iter().filter(|span| span.name == "execution").count();
    assert!(executions >= 5 && !collector.logs().is_empty() && !collector.metrics().is_empty());
    let log = gateway.log();
    let told: Vec<_> = log.lines().filter(|line| line.to_lowercase().contains("canary")).collect();
    assert!(told.is_empty(), "{told:#?}");
    // It was a trace that was looked at: one tree of spans an execution.
    let plain = plain(&log);
    for span in [
        "request{method=\"POST\" operation=\"Execute\" pool=\"python\"",
        ":execution{pool=\"python\"}:lease",
        ":execution{pool=\"python\"}:run",
    ] {
        assert!(plain.contains(span), "{span}: {plain}");
    }
}

/// Without the colours of a terminal.
fn plain(log: &str) -> String {
    let mut parts = log.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part.split_once('m').map_or("", |(_, text)| text)).collect::<String>()
}
