//! Connections: who goes away, who is slow, who may come in, and how the server stops.

use std::time::Duration;

use sandpool::access::Access;
use sandpool::api::serve::Connections;
use sandpool::session::Identifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http::{Running, eventually, gateway, gateway_with};

const ENDLESS: &str = r#"{"code":"while True: pass"}"#;

async fn start_endless(gateway: &Running, identifier: &str) -> tokio::net::TcpStream {
    let mut stream = gateway.connect().await;
    let head = format!(
        "POST /pools/python/executions?identifier={identifier} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{ENDLESS}",
        ENDLESS.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the start of the execution", async || is_running(gateway, identifier)).await;
    stream
}

fn is_running(gateway: &Running, identifier: &str) -> bool {
    let pool = gateway.gateway.pool(&sandpool::pool::PoolName::new("python").unwrap()).unwrap();
    pool.session(&Identifier::new(identifier).unwrap())
        .is_some_and(|session| session.state == sandpool::session::SessionState::Running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_interrupts_its_execution_and_keeps_its_session() {
    let gateway = gateway().await;
    gateway.run("gone", "kept = 1").await;
    drop(start_endless(&gateway, "gone").await);
    eventually("the interruption", async || !is_running(&gateway, "gone")).await;
    assert_eq!(gateway.run("gone", "kept").await["result"]["executionResult"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_sending_half_counts_as_gone() {
    let gateway = gateway().await;
    let mut stream = start_endless(&gateway, "half").await;
    stream.shutdown().await.unwrap();
    eventually("the interruption", async || !is_running(&gateway, "half")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_only_their_holders_come_in() {
    let access = Access::with_keys(&["key-1".into(), "key-2".into()]);
    let gateway = gateway_with(access, Connections::default(), |_| ()).await;
    for (path, headers, status) in [
        ("/livez", &[][..], 200),
        ("/readyz", &[], 200),
        ("/pools/python/listSessions", &[], 401),
        ("/no/such/path", &[], 401),
        ("/pools/python/listSessions", &[("authorization", "Bearer key-3")], 401),
        ("/pools/python/listSessions", &[("authorization", "Bearer key-2")], 200),
        ("/openapi.json", &[("authorization", "bearer key-1")], 200),
    ] {
        assert_eq!(gateway.send("GET", path, headers, b"").await.status, status, "{path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_pools_and_methods_are_told_apart() {
    let gateway = gateway().await;
    assert_eq!(gateway.get("/nothing").await.code(), "RouteNotFound");
    assert_eq!(gateway.get("/pools/other/listSessions").await.code(), "SessionPoolNotFound");
    assert_eq!(gateway.get("/pools/..%2F/listSessions").await.code(), "SessionPoolNotFound");
    let put = gateway.send("PUT", "/pools/python/files", &[], b"").await;
    assert_eq!((put.code().as_str(), put.header("allow")), ("MethodNotAllowed", Some("GET, HEAD, POST")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_is_a_get_without_its_body() {
    let gateway = gateway().await;
    let answer = gateway.send("HEAD", "/livez", &[], b"").await;
    assert_eq!((answer.status, answer.body.len(), answer.header("content-length")), (200, 0, Some("18")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_ends_its_headers_is_closed() {
    let connections = Connections { header_timeout: Duration::from_millis(100), ..Connections::default() };
    let gateway = gateway_with(Access::open(), connections, |_| ()).await;
    let mut stream = gateway.connect().await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
    assert!(read.is_ok(), "the connection is still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_beyond_the_limit_are_refused() {
    let gateway = gateway().await;
    let mut stream = gateway.connect().await;
    let long = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_most_wait_their_turn() {
    let gateway = gateway_with(Access::open(), Connections { most: 1, ..Connections::default() }, |_| ()).await;
    let first = gateway.connect().await;
    let second = gateway.get("/livez");
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut second).await.is_err());
    drop(first);
    assert_eq!(second.await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_closes_idle_connections_and_lets_requests_end() {
    let mut gateway = gateway().await;
    let mut idle = gateway.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    let mut busy = gateway.connect().await;
    let body = r#"{"code":"import time; time.sleep(1); print('done')"}"#;
    let head = format!(
        "POST /pools/python/executions?identifier=busy HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    eventually("the start", async || is_running(&gateway, "busy")).await;
    gateway.stop.cancel();
    assert_eq!(idle.read(&mut [0; 1024]).await.unwrap(), 0);
    let mut answer = Vec::new();
    busy.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("done"));
    assert!((&mut gateway.served).await.unwrap(), "every request ended");
}
