//! What goes to a container and comes back: everything, as it is, while it comes.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::HeaderMap;
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::container_pools::PoolGateway;
use crate::support::http::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_arrives_as_it_was_sent_but_for_what_is_the_gateways() {
    let Some(gateway) = PoolGateway::open("").await else { return };
    let request = gateway
        .request("PUT", "/request/../request/?x=1&identifier=session&api-version=2025-10-02-preview&y=%20")
        .header("authorization", "Bearer secret")
        .header("x-ms-apikey", "secret")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-mine", "kept")
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    let response = gateway.send(request).await;
    assert_eq!(response.status(), 404, "the app knows no such path, and says so itself");
    let request = gateway
        .request("PUT", "/request?x=1&identifier=session&y=%20")
        .header("authorization", "Bearer secret")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-mine", "kept")
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    let text = gateway.send(request).await.into_body().collect().await.unwrap().to_bytes();
    let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
    assert!(head.starts_with("put /request?x=1&y=%20 http/1.1\r\n"), "{head}");
    assert!(head.contains("x-mine: kept\r\n") && head.contains("content-length: 4\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", gateway.address)), "{head}");
    assert!(!head.contains("secret") && !head.contains("x-hop") && !head.contains("identifier"), "{head}");
    for status in [201, 404, 418, 503] {
        let (answered, text) = gateway.get(&format!("/status?{status}&identifier=session")).await;
        let expected = if status == 404 { 404 } else { 200 };
        assert!([expected, status].contains(&answered), "{status}: {answered} {text}");
    }
    let (status, body) = gateway.get("/big?5000000&identifier=session").await;
    assert_eq!((status, body.len()), (200, 5_000_000));
    assert_eq!(gateway.refusal("GET", "/hello").await, (400, "SessionIdentifierMissing".into()));
    assert_eq!(gateway.refusal("GET", "/hello?identifier=x").await, (400, "InvalidLengthOfSessionIdentifier".into()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_with_their_trailers() {
    let Some(gateway) = PoolGateway::open("").await else { return };
    let (frames, mut queue) = mpsc::channel::<Frame<Bytes>>(1);
    let stream =
        futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx).map(|frame| frame.map(Ok::<_, Infallible>)));
    let body = StreamBody::new(stream);
    let request = gateway.request("POST", "/echo?identifier=session").header("te", "trailers").body(body).unwrap();
    frames.send(Frame::data(Bytes::from_static(b"first"))).await.unwrap();
    let mut answer = gateway.send(request).await.into_body();
    // The first piece is back before the second is sent.
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    frames.send(Frame::data(Bytes::from_static(b"second"))).await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "second");
    frames.send(Frame::trailers(HeaderMap::new())).await.unwrap();
    drop(frames);
    let rest = answer.collect().await.unwrap();
    let sum: u64 = b"firstsecond".iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(rest.trailers().expect("trailers")["x-sum"], sum.to_string().as_str());
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_one_by_one() {
    let Some(gateway) = PoolGateway::open("").await else { return };
    let request = gateway.request("GET", "/events?identifier=session").body(Empty::<Bytes>::new()).unwrap();
    let response = gateway.send(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.extend(frame.unwrap().into_data().ok());
    }
    assert_eq!(pieces, ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"]);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_become_something_else_and_ends_with_its_session() {
    let Some(gateway) = PoolGateway::open("termination_grace_seconds = 0").await else { return };
    let request = gateway
        .request("GET", "/upgrade?identifier=session")
        .header("connection", "Upgrade")
        .header("upgrade", "echo")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = gateway.send(request).await;
    assert_eq!((response.status().as_u16(), &response.headers()["upgrade"]), (101, &"echo".parse().unwrap()));
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    for text in ["ping", "pong"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
    let (_, session) = gateway.json("POST", "/.management/getSession?identifier=session").await;
    assert_eq!(session["identifier"], "session", "it is in use");
    assert_eq!(gateway.ask("POST", "/.management/stopSession?identifier=session").await.0, 200);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"", "the connection ended with the session");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_cuts_its_answers_at_once() {
    let Some(gateway) = PoolGateway::open("").await else { return };
    let request = gateway.request("GET", "/die?identifier=session").body(Empty::<Bytes>::new()).unwrap();
    let response = gateway.send(request).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err(), "half an answer is no answer");
    // Its kernel still takes connections for a moment, which come to nothing.
    eventually("a fresh container answers", async || gateway.get("/hello?identifier=session").await.0 == 200).await;
    assert_eq!(gateway.refusal("GET", "/exit?1&identifier=session").await, (502, "SessionContainerFailed".into()));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_session_cuts_a_request_that_hangs() {
    let Some(gateway) = PoolGateway::open("termination_grace_seconds = 0").await else { return };
    let hanging = async { gateway.refusal("GET", "/hang?identifier=session").await };
    let stopping = async {
        eventually("it hangs", async || {
            gateway.pool.instance(&sandpool::session::Identifier::new("session").unwrap()).is_some()
        })
        .await;
        eventually("stopped", async || {
            gateway.ask("POST", "/.management/stopSession?identifier=session").await.0 == 200
        })
        .await;
    };
    let (answer, ()) = tokio::join!(hanging, stopping);
    assert_eq!(answer, (502, "SessionContainerFailed".into()));
    gateway.end().await;
}
