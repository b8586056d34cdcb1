//! The way out of a session: what its pool's policy lets through, what it does not, and what of it the guest sees.

use std::time::{Duration, Instant};

use sandpool::access::Access;
use sandpool::api::serve::Connections;
use sandpool::egress::EgressPolicy;
use serde_json::{Value, json};

use crate::support::http::{Running, gateway_with};
use crate::support::server::{Server, own_address};

/// A gateway whose pool has `[pool.egress]` as given.
pub async fn gateway(egress: &str) -> Running {
    let egress: EgressPolicy = toml::from_str(egress).expect("a policy");
    assert_eq!(egress.problems(), []);
    gateway_with(Access::open(), Connections::default(), |pool| pool.egress = egress).await
}

/// A gateway that lets GET, HEAD and POST to this server.
async fn allowing(server: &Server, more: &str) -> Running {
    gateway(&format!("{}\n{more}", rule(server))).await
}

fn rule(server: &Server) -> String {
    let port = server.address.port();
    format!(
        "policy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {port}, methods = ['GET', 'HEAD', 'POST'] }}]"
    )
}

fn stdout(answer: &Value) -> &str {
    answer["result"]["stdout"].as_str().unwrap()
}

/// What the code raised.
fn raised(answer: &Value) -> String {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("nothing was raised: {answer}")).to_owned()
}

fn succeeded(answer: &Value) -> &Value {
    assert_eq!(answer["status"], "Succeeded", "{answer}");
    answer
}

/// Code that asks for a URL with `urllib`, and prints the answer's body.
fn get(url: &str) -> String {
    format!("import urllib.request\nprint(urllib.request.urlopen({url:?}).read()[:100])")
}

#[tokio::test]
async fn a_pool_without_a_network_says_so() {
    let server = Server::start().await;
    let gateway = gateway("").await;
    for code in [
        get(&server.url("/hello")),
        "import http.client\nhttp.client.HTTPSConnection('example.com').request('GET', '/')".into(),
        "import socket\nsocket.create_connection(('8.8.8.8', 53))".into(),
        "import asyncio\nawait asyncio.open_connection('example.com', 80)".into(),
    ] {
        let answer = gateway.run("none", &code).await;
        assert!(raised(&answer).contains("this pool has no network access"), "{answer}");
        assert_eq!(answer["network"][0]["failure"], "refused", "{answer}");
    }
    assert!(server.asked().is_empty());
    assert_eq!(gateway.run("none", "1").await["network"], json!([]));
}

#[tokio::test]
async fn allowed_requests_arrive_and_are_recorded() {
    let server = Server::start().await;
    let gateway = allowing(&server, "").await;
    let code = format!(
        "import http.client, urllib.request, json\n\
         answer = urllib.request.urlopen({:?})\n\
         print(answer.status, answer.read(), answer.headers['x-served-by'], answer.headers.get_all('set-cookie'))\n\
         print(urllib.request.urlopen({:?}, data=b'posted').read())\n\
         c = http.client.HTTPConnection('127.0.0.1', {})\n\
         c.request('POST', '/echo', iter([b'in ', b'chunks']), {{'X-A': 'é'}})\n\
         print(c.getresponse().read())\n\
         c.request('HEAD', '/hello')\n\
         head = c.getresponse()\n\
         print(head.headers['content-length'], head.read())\n\
         try:\n    urllib.request.urlopen({:?})\nexcept urllib.error.HTTPError as error:\n    print(error.code, error.read())",
        server.url("/hello"),
        server.url("/echo"),
        server.address.port(),
        server.url("/missing?secret"),
    );
    let answer = gateway.run("allowed", &code).await;
    let expected = "200 b'hello' test ['a=1', 'b=2']\nb'posted'\nb'in chunks'\n5 b''\n404 b'not here'\n";
    assert_eq!(stdout(succeeded(&answer)), expected);
    let calls = answer["network"].as_array().unwrap();
    assert_eq!(calls.len(), 5);
    let call = json!({"host": "127.0.0.1", "port": server.address.port(), "method": "POST", "status": 200,
                      "bytesSent": 6, "bytesReceived": 6});
    assert_eq!(calls[1], call);
    assert_eq!(calls[4]["status"], 404);
    assert!(!answer["network"].to_string().contains("secret"), "paths and queries are not recorded");
    let asked = server.asked();
    assert_eq!(asked[0].header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(asked[2].header("x-a"), Some("\u{fffd}"), "one byte, as http.client writes it");
}

#[tokio::test]
async fn the_gateways_own_machine_is_reached_only_where_it_is_named() {
    let Some(ip) = own_address() else {
        eprintln!("skipped: this machine has no address but its loopback");
        return;
    };
    let server = Server::start_on(ip).await;
    for (listed, reached) in [("[]", false), ("['0.0.0.0/0', '::/0']", false), (&*format!("['{ip}']"), true)] {
        let gateway = gateway(&format!("policy = 'enabled'\nallow_private = {listed}")).await;
        let answer = gateway.run("own-machine", &get(&server.url("/hello"))).await;
        assert_eq!(answer["status"] == "Succeeded", reached, "{listed}: {answer}");
        assert_eq!(server.asked().len(), usize::from(reached), "{listed}");
        if !reached {
            assert!(raised(&answer).contains("the gateway's own"), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_no_rule_names_is_refused() {
    let server = Server::start().await;
    let port = server.address.port();
    let gateway = gateway(&format!(
        "policy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {port}, path = '/public' }}]"
    ))
    .await;
    for (code, said) in [
        (get(&server.url("/hello")), "this path of"),
        (get(&server.url("/public/../hello")), "this path of"),
        (get(&server.url("/public/%2e%2e/hello")), "this path of"),
        (get(&server.url("/public/..%2fhello")), "this path of"),
        (
            format!("import urllib.request as u\nu.urlopen({:?}, data=b'x')", server.url("/public")),
            "does not have POST",
        ),
        (get("http://127.0.0.1:1/public"), "is not in this pool's allow-list"),
        (get(&format!("http://localhost:{port}/public")), "is not in this pool's allow-list"),
        (get(&format!("https://127.0.0.1:{port}/public")), "is not in this pool's allow-list"),
        (get("http://127.0.0.1.example.com/public"), "is not in this pool's allow-list"),
    ] {
        let answer = gateway.run("rules", &code).await;
        assert!(raised(&answer).contains(said), "{said}: {answer}");
        assert_eq!(answer["network"][0]["failure"], "refused", "{answer}");
    }
    assert!(server.asked().is_empty());
    assert_eq!(stdout(&gateway.run("rules", "print(1)").await), "1\n", "the session lives");
}

#[tokio::test]
async fn a_redirect_is_checked_like_any_request() {
    let (server, other) = (Server::start().await, Server::start().await);
    let gateway = allowing(&server, "").await;
    let inside = gateway.run("redirect", &get(&server.url(&format!("/to?{}", server.url("/hello"))))).await;
    assert_eq!(stdout(succeeded(&inside)), "b'hello'\n");
    assert_eq!(inside["network"].as_array().unwrap().len(), 2);
    for target in [other.url("/hello"), "http://169.254.169.254/latest".into(), "file:///etc/passwd".into()] {
        let outside = gateway.run("redirect", &get(&server.url(&format!("/to?{target}")))).await;
        assert_eq!(outside["status"], "Failed", "{outside}");
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let server = Server::start().await;
    let port = server.address.port();
    let gateway = gateway("policy = 'enabled'").await;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "127.0.0.1.",
    ];
    for host in hosts {
        let answer = gateway.run("private", &get(&format!("http://{host}:{port}/hello"))).await;
        assert!(raised(&answer).contains("private"), "{host}: {answer}");
        assert_eq!(answer["network"].as_array().unwrap().last().unwrap()["failure"], "refused", "{answer}");
    }
    for host in ["169.254.169.254", "168.63.129.16", "10.0.0.1", "[fd00:ec2::254]"] {
        let answer = gateway.run("private", &get(&format!("http://{host}/"))).await;
        assert!(raised(&answer).contains("private"), "{host}: {answer}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn credentials_are_the_hosts_and_the_guest_never_sees_them() {
    let server = Server::start().await;
    let port = server.address.port();
    let gateway = gateway(&format!(
        "policy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {port}, methods = ['GET', 'POST'], \
         headers = {{ Authorization = 'Bearer s3cret', X-Key = 'k3y' }} }}]"
    ))
    .await;
    let code = format!(
        "import urllib.request, gc, _sandpool, json\n\
         request = urllib.request.Request({:?}, b'body', {{'authorization': 'mine', 'X-KEY': 'mine', 'X-Own': 'own'}})\n\
         answer = urllib.request.urlopen(request)\n\
         print(request.headers, answer.read(), dict(answer.headers))\n\
         head = json.dumps({{'method': 'GET', 'url': {:?}}}).encode()\n\
         print(_sandpool.http(head, b''))\n\
         try:\n    urllib.request.urlopen(urllib.request.Request({:?}, method='TRACE'))\nexcept OSError as e: print(e)",
        server.url("/echo"),
        server.url("/hello"),
        server.url("/hello"),
    );
    let answer = gateway.run("secrets", &code).await;
    succeeded(&answer);
    assert!(!answer.to_string().contains("s3cret") && !answer.to_string().contains("k3y"), "{answer}");
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "a TRACE would tell them");
    for request in &asked {
        let of =
            |name: &str| request.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!((of("authorization"), of("x-key")), (vec!["Bearer s3cret"], vec!["k3y"]));
    }
    assert_eq!(asked[0].header("x-own"), Some("own"));
}

#[tokio::test]
async fn answers_and_requests_have_a_largest_size_and_executions_a_number_of_them() {
    let server = Server::start().await;
    let limits = "limits = { requests = 3, request_bytes = 1000, response_bytes = 100000 }";
    let gateway = allowing(&server, limits).await;
    let huge = gateway.run("limits", &get(&server.url("/huge"))).await;
    assert!(raised(&huge).contains("more than 100000 bytes"), "{huge}");
    assert_eq!(huge["network"][0]["failure"], "limit");
    let posted = format!("import urllib.request\nurllib.request.urlopen({:?}, data=bytes(1001))", server.url("/echo"));
    let posted = gateway.run("limits", &posted).await;
    assert!(raised(&posted).contains("more than 1000 bytes"), "{posted}");
    let many = format!(
        "import urllib.request\nfor n in range(5): print(n, urllib.request.urlopen({:?}).status)",
        server.url("/hello")
    );
    for _ in 0..2 {
        let many = gateway.run("limits", &many).await;
        assert_eq!(stdout(&many), "0 200\n1 200\n2 200\n", "{many}");
        assert!(raised(&many).contains("make 3 requests"), "{many}");
    }
}

#[tokio::test]
async fn the_record_is_capped() {
    let server = Server::start().await;
    let gateway = allowing(&server, "limits = { requests = 200 }").await;
    let code = "import socket\nfor n in range(130):\n    assert socket.socket().connect_ex(('example.com', 80)) != 0";
    let answer = gateway.run("record", code).await;
    assert_eq!(succeeded(&answer)["network"].as_array().unwrap().len(), 100);
    assert_eq!(answer["networkOmitted"], 30);
}

#[tokio::test]
async fn a_slow_server_keeps_neither_the_session_nor_others() {
    let server = Server::start().await;
    let gateway = allowing(&server, "").await;
    gateway.run("slow", "kept = 42").await;
    let timed = format!("import urllib.request\nurllib.request.urlopen({:?}, timeout=0.3)", server.url("/slow"));
    let timed = gateway.run("slow", &timed).await;
    assert!(raised(&timed).starts_with("TimeoutError"), "{timed}");
    assert_eq!(timed["network"][0]["failure"], "timeout");

    let started = Instant::now();
    let body = json!({"code": get(&server.url("/slow")), "timeoutInSeconds": 2}).to_string();
    // More than there are guest threads: a session that waits holds none.
    let waiting = ["slow", "wait1", "wait2", "wait3"].map(|identifier| {
        let (gateway, body) = (&gateway, &body);
        async move { gateway.post(&format!("/pools/python/executions?identifier={identifier}"), body).await.json() }
    });
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = gateway.run("busy", "print(sum(range(1000)))").await;
        assert_eq!(stdout(&answer), "499500\n");
        assert!(started.elapsed() < Duration::from_secs(2), "it did not wait for the others");
    };
    let [a, b, c, d] = waiting;
    let (a, b, c, d, ()) = tokio::join!(a, b, c, d, meanwhile);
    for answer in [a, b, c, d] {
        assert_eq!(answer["error"]["code"], "ExecutionTimedOut", "{answer}");
        assert_eq!(answer["sessionDiscarded"], false);
        assert_eq!(answer["rawResult"]["error_name"], "KeyboardInterrupt", "{answer}");
        assert_eq!(answer["network"][0]["failure"], "interrupted", "{answer}");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(stdout(&gateway.run("slow", "print(kept)").await), "42\n");
    assert_eq!(stdout(&gateway.run("slow", &get(&server.url("/hello"))).await), "b'hello'\n");
}

#[tokio::test]
async fn nonsense_from_a_guest_is_refused() {
    let server = Server::start().await;
    let gateway = allowing(&server, "").await;
    let url = server.url("/hello");
    let code = format!(
        "import _sandpool, json\n\
         def ask(head, body=b''):\n\
         \x20   head = head if isinstance(head, bytes) else json.dumps(head).encode()\n\
         \x20   head, body = _sandpool.http(head, body)\n\
         \x20   return json.loads(head).get('error', {{}}).get('kind') or json.loads(head)['status']\n\
         url = {url:?}\n\
         heads = [b'', b'[]', b'{{', b'\\xff', b'{{}}', b'[' * 100000, {{'method': 'GET', 'url': 1}},\n\
         \x20   {{'method': 'GET', 'url': 'x'}}, {{'method': 'GET', 'url': url + '\\r\\nX: y'}},\n\
         \x20   {{'method': 'GET', 'url': url, 'headers': [['A', 'b\\r\\nC: d']]}},\n\
         \x20   {{'method': 'GET', 'url': url, 'headers': [['A\\nB', 'c']]}},\n\
         \x20   {{'method': 'GET', 'url': url, 'headers': [['A', 'b']] * 1000}},\n\
         \x20   {{'method': 'GET', 'url': url, 'timeout_ms': -1}},\n\
         \x20   {{'method': 'GET', 'url': url + 'x' * 300000}}]\n\
         print({{ask(head) for head in heads}})\n\
         print(ask({{'method': 'GET\\r\\n', 'url': url}}), ask({{'method': 'CONNECT', 'url': url}}), ask({{'method': 'GET', 'url': 'file:///x'}}))\n\
         framing = [[n, 'evil.example'] for n in ('Host', 'Transfer-Encoding', 'Connection', 'Upgrade', 'Content-Length')]\n\
         print(ask({{'method': 'POST', 'url': url, 'headers': framing}}, b'body'), ask({{'method': 'GET', 'url': url, 'timeout_ms': 10 ** 19}}))"
    );
    let answer = gateway.run("hostile", &code).await;
    assert_eq!(stdout(succeeded(&answer)), "{'invalid'}\nrefused refused refused\n200 200\n");
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].body.as_slice(), asked[0].header("content-length")), (&b"body"[..], Some("4")));
    let evil = |value: &str| value.contains("evil");
    assert!(!asked[0].headers.iter().any(|(_, value)| evil(value)), "{asked:?}");
}

#[tokio::test]
async fn other_protocols_say_that_there_is_only_http() {
    let server = Server::start().await;
    let gateway = allowing(&server, "").await;
    let port = server.address.port();
    for code in [
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)".into(),
        "import socket\nsocket.socket().bind(('', 80))".into(),
        "import socket\nsocket.create_server(('', 80))".into(),
        format!("import smtplib\nsmtplib.SMTP('127.0.0.1', {port})"),
        format!("import socket\ns = socket.create_connection(('127.0.0.1', {port}))\ns.sendall(b'\\x16\\x03\\x01')"),
        format!("import socket\ns = socket.create_connection(('127.0.0.1', {port}))\ns.sendall(b'PING\\r\\n')"),
        format!("import asyncio\nawait asyncio.start_server(None, port={port})"),
    ] {
        let answer = gateway.run("sockets", &code).await;
        assert!(raised(&answer).contains("only HTTP and HTTPS"), "{code}: {answer}");
    }
    let junk = gateway.run("sockets", &get(&server.url("/junk"))).await;
    assert!(raised(&junk).contains("HTTP"), "{junk}");
    assert_eq!(junk["network"][0]["failure"], "protocol");
    let lookup = gateway.run("sockets", "import socket\nsocket.gethostbyname('example.com')").await;
    assert!(raised(&lookup).contains("names are not resolved"), "{lookup}");
}
