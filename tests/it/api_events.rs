//! An execution as server-sent events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::http::{Running, checked, eventually, gateway, gateway_with};

/// Asks for events over HTTP/1.0, whose bodies are not cut into chunks.
async fn follow(gateway: &Running, route: &str, code: &str) -> TcpStream {
    let mut stream = gateway.connect().await;
    let body = json!({ "code": code }).to_string();
    let head = format!(
        "POST /pools/python/{route} HTTP/1.0\r\nhost: x\r\naccept: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The events of a whole stream, checked against the contract.
async fn events(gateway: &Running, route: &str, code: &str) -> Vec<(String, Value)> {
    let mut bytes = Vec::new();
    follow(gateway, route, code).await.read_to_end(&mut bytes).await.unwrap();
    let answer = checked("POST", &format!("/pools/python/{route}"), &bytes);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{}", answer.text());
    assert!(answer.header("operation-id").is_some());
    answer.text().split_terminator("\n\n").map(event).collect()
}

fn event(text: &str) -> (String, Value) {
    let (name, data) = text.split_once('\n').unwrap_or_else(|| panic!("no event: {text}"));
    let data = data.strip_prefix("data: ").unwrap();
    (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_their_order_and_done_comes_last() {
    let gateway = gateway().await;
    let code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n\
                from IPython.display import display, HTML, clear_output\n\
                shown = display(HTML('<b>1</b>'), display_id='d')\nshown.update(HTML('<b>2</b>'))\nclear_output()\n\
                open('made.txt', 'w').write('x')\n6*7";
    for route in ["executions?identifier=events-1", "code/execute?identifier=events-2"] {
        let events = events(&gateway, route, code).await;
        let expected = ["stdout", "stderr", "display", "update_display", "clear_output", "result", "done"];
        assert_eq!(names(&events), expected);
        assert_eq!(events[0].1["text"], "out\n");
        assert_eq!(events[2].1["data"]["text/html"], "<b>1</b>");
        assert_eq!(events[3].1["display_id"], "d");
        assert_eq!(events[5].1["data"]["text/plain"], "42");
        let done = &events[6].1;
        assert_eq!((&done["status"], &done["sessionCreated"]), (&json!("Succeeded"), &json!(true)));
        assert_eq!(done["files"][0]["name"], "made.txt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_arrives_while_the_code_runs() {
    let gateway = gateway().await;
    let code = "import time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.3)";
    let began = Instant::now();
    let mut stream = follow(&gateway, "executions?identifier=slowly", code).await;
    let (mut text, mut first) = (String::new(), None);
    let mut room = [0; 4096];
    loop {
        let read = stream.read(&mut room).await.unwrap();
        if read == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&room[..read]).unwrap());
        if first.is_none() && text.contains("event: stdout") {
            first = Some(began.elapsed());
        }
    }
    assert!(text.contains("event: done"));
    // The sleeps alone take longer: the first line did not wait for the last.
    assert!(first.unwrap() + Duration::from_millis(500) < began.elapsed(), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_printed_in_a_loop_are_gathered() {
    let gateway = gateway().await;
    let events = events(&gateway, "executions?identifier=gather", "for i in range(5000): print(i, flush=True)").await;
    let text: String = events.iter().filter_map(|(_, data)| data["text"].as_str()).collect();
    assert_eq!(text.lines().count(), 5000);
    assert!(events.len() < 200, "{} events", events.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_and_a_timeout_are_told() {
    let gateway = gateway_with(Default::default(), Default::default(), |pool| pool.limits.timeout_seconds = 1).await;
    let raised = events(&gateway, "executions?identifier=raises", "1/0").await;
    assert_eq!(names(&raised), ["error", "done"]);
    assert_eq!(raised[0].1["name"], "ZeroDivisionError");
    assert_eq!((&raised[1].1["status"], &raised[1].1["error"]["code"]), (&json!("Failed"), &json!("ExecutionRaised")));
    let late = events(&gateway, "executions?identifier=raises", "while True: pass").await;
    assert_eq!(late.last().unwrap().1["error"]["code"], "ExecutionTimedOut");
    assert_eq!(late.last().unwrap().1["sessionDiscarded"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_interrupts_the_code() {
    let gateway = gateway().await;
    gateway.run("left", "kept = 1").await;
    let mut stream = follow(&gateway, "executions?identifier=left", "print('on', flush=True)\nwhile True: pass").await;
    let mut room = [0; 4096];
    while !String::from_utf8_lossy(&room).contains("event: stdout") {
        assert!(stream.read(&mut room).await.unwrap() > 0);
    }
    drop(stream);
    // It waits for its turn behind the interrupted one.
    eventually("the interruption", async || gateway.run("left", "kept").await["result"]["executionResult"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_begin_is_an_ordinary_failure() {
    let gateway = gateway_with(Default::default(), Default::default(), |pool| pool.max_concurrent_sessions = 1).await;
    gateway.run("only-one", "1").await;
    let mut bytes = Vec::new();
    follow(&gateway, "executions?identifier=another", "1").await.read_to_end(&mut bytes).await.unwrap();
    let answer = checked("POST", "/pools/python/executions", &bytes);
    assert_eq!((answer.status, answer.header("content-type")), (429, Some("application/json")));
}
