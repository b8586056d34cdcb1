//! Traces, metrics and logs at a collector; and what becomes of a gateway whose collector is not there.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use crate::support::collector::{Collector, text, whole};
use crate::support::gateway::Gateway;

const POOL: &str = "\n[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\n";

fn execute(gateway: &Gateway, session: &str, code: &str, headers: &[(&str, &str)]) -> Value {
    let mut request = ureq::post(format!("{}/executions?identifier={session}", gateway.pool_url("python")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send_json(json!({ "code": code })).unwrap().body_mut().read_json().unwrap()
}

fn one<'a>(spans: &'a [Span], name: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.name == name)
}

#[test]
fn an_execution_is_one_trace_that_goes_on_from_its_callers() {
    let collector = Collector::start();
    let gateway = Gateway::configured(&format!("{}{POOL}durable = true", collector.setting()));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    execute(&gateway, "traced", "sum(range(100_000))", &[("traceparent", parent)]);
    execute(&gateway, "traced", "1/0", &[("traceparent", &parent.replace("4bf9", "5bf9").replace("-01", "-00"))]);
    execute(&gateway, "traced", "1/0", &[]);
    let of_trace =
        |spans: Vec<Span>, first: u8| spans.into_iter().filter(|s| s.trace_id[0] == first).collect::<Vec<_>>();
    let spans = collector.wait_for("the trace", |collector| {
        let spans = of_trace(collector.spans(), 0x4b);
        one(&spans, "POST Execute").is_some().then_some(spans)
    });
    let find = |name| one(&spans, name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    let (request, execution) = (find("POST Execute"), find("execution"));
    assert_eq!(request.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!(request.kind, i32::from(SpanKind::Server));
    assert_eq!(execution.parent_span_id, request.span_id);
    for step in ["lease", "sandbox", "run", "keep"] {
        let step = find(step);
        assert_eq!(step.parent_span_id, execution.span_id, "{}", step.name);
        assert!(step.start_time_unix_nano <= step.end_time_unix_nano);
        assert!(step.start_time_unix_nano + 1_000_000 >= execution.start_time_unix_nano, "{}", step.name);
    }
    assert_eq!(spans.len(), 6, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace_id == request.trace_id));
    assert_eq!(text(&execution.attributes, "sandpool.pool"), Some("python"));
    assert_eq!(text(&execution.attributes, "sandpool.outcome"), Some("finished"));
    assert_eq!(whole(&request.attributes, "http.response.status_code"), Some(200));
    // The third call has a trace of its own, and the second none: its caller did not want it.
    let own = collector.wait_for("the other trace", |collector| {
        let raised = |span: &&Span| text(&span.attributes, "sandpool.outcome") == Some("raised");
        let spans = collector.spans();
        let execution = spans.iter().find(raised)?.clone();
        spans.into_iter().find(|span| span.span_id == execution.parent_span_id)
    });
    assert!(own.parent_span_id.is_empty() && own.name == "POST Execute");
    assert_eq!(of_trace(collector.spans(), 0x5b), []);
    let headers = &collector.sent()[0].headers;
    assert_eq!(
        (headers["x-team"].as_bytes(), headers["content-type"].as_bytes()),
        (&b"a"[..], &b"application/x-protobuf"[..])
    );
}

#[test]
fn metrics_are_those_of_the_page_and_records_come_once() {
    let collector = Collector::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{}{POOL}", collector.setting());
    let gateway = Gateway::on_data(&settings, folder.path());
    execute(&gateway, "exported", "print('written')", &[]);
    let page = ureq::get(format!("{}/metrics", gateway.url())).call().unwrap().body_mut().read_to_string().unwrap();
    let shown: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next().map(str::to_owned)).collect();
    collector.wait_for("all metrics", |collector| {
        let names: BTreeSet<_> = collector.metrics().into_iter().map(|metric| metric.name).collect();
        (names == shown).then_some(())
    });
    assert!(shown.contains("sandpool_spans_lost_total") && shown.contains("PoolReadyPodCount"), "{shown:?}");
    let executed = |collector: &Collector| {
        let calls = collector.logs().into_iter().filter(|log| log.event_name == "SandpoolAuditLogs");
        calls.filter(|log| text(&log.attributes, "OperationName") == Some("Execute")).count()
    };
    collector.wait_for("the audit log", |collector| (executed(collector) == 1).then_some(()));
    gateway.terminate();
    gateway.wait();
    let kinds: BTreeSet<_> = collector.logs().into_iter().map(|log| log.event_name).collect();
    let expected = ["AppEnvSessionLifecycleLogs", "AppEnvSessionPoolEventLogs", "SandpoolAuditLogs", "SandpoolUsage"];
    assert_eq!(kinds, expected.map(str::to_owned).into(), "what code wrote is not exported unless it is named");
    // Another process goes on where the first ended.
    let again = Gateway::on_data(&settings, folder.path());
    execute(&again, "exported", "1", &[]);
    collector.wait_for("the next call", |collector| (executed(collector) >= 2).then_some(()));
    again.terminate();
    again.wait();
    assert_eq!(executed(&collector), 2);
}

#[test]
fn while_the_collector_is_away_executions_go_on_and_later_it_hears_of_them() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let gateway =
        Gateway::configured(&format!("otlp = {{ endpoint = 'http://{address}', interval_seconds = 1 }}{POOL}"));
    execute(&gateway, "away", "1", &[]);
    let told = Instant::now();
    while !gateway.log().contains("telemetry is not exported") {
        assert!(told.elapsed() < Duration::from_secs(30), "{}", gateway.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    execute(&gateway, "away", "2", &[]);
    let collector = Collector::on(&address);
    let heard = |collector: &Collector| {
        let spans = collector.spans().iter().filter(|span| span.name == "run").count();
        let calls =
            collector.logs().iter().filter(|log| text(&log.attributes, "OperationName") == Some("Execute")).count();
        (spans == 2 && calls == 2 && !collector.metrics().is_empty()).then_some(())
    };
    collector.wait_for("what happened meanwhile", heard);
}

#[test]
fn a_collector_that_never_answers_holds_nothing_up() {
    // It accepts connections, in the kernel's queue, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap();
    let gateway =
        Gateway::configured(&format!("otlp = {{ endpoint = 'http://{endpoint}', interval_seconds = 1 }}{POOL}"));
    execute(&gateway, "silent", "1", &[]);
    std::thread::sleep(Duration::from_millis(1500));
    let began = Instant::now();
    for _ in 0..50 {
        execute(&gateway, "silent", "1", &[]);
    }
    // A second each would be the collector's; the machine may be busy.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    gateway.terminate();
    let ended = Instant::now();
    assert!(gateway.wait().success());
    assert!(ended.elapsed() < Duration::from_secs(30), "{:?}", ended.elapsed());
}
