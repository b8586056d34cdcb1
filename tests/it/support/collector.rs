//! A collector of OTLP on a port of its own, which keeps what it is sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio_util::sync::{CancellationToken, DropGuard};

/// It stops when this is dropped.
pub struct Collector {
    pub address: SocketAddr,
    messages: Arc<Mutex<Vec<Sent>>>,
    _stops: DropGuard,
}

/// A message as it came.
#[derive(Clone)]
pub struct Sent {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Collector {
    pub fn start() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// On this address, which may just have been somebody else's.
    pub fn on(address: &str) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("the port is free");
        listener.set_nonblocking(true).expect("a socket");
        let (address, stop) = (listener.local_addr().expect("it is bound"), CancellationToken::new());
        let (messages, stopped) = (Arc::<Mutex<Vec<Sent>>>::default(), stop.clone());
        let kept = messages.clone();
        // A thread of its own: tests that are not asynchronous use it too.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let keep = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
                    let path = uri.path().to_owned();
                    kept.lock().expect("nothing panics with it").push(Sent { path, headers, body });
                };
                let served = axum::serve(listener, Router::new().fallback(keep)).into_future();
                tokio::select! {
                    _ = served => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self { address, messages, _stops: stop.drop_guard() }
    }

    /// The setting that sends everything here each second.
    pub fn setting(&self) -> String {
        format!("otlp = {{ endpoint = 'http://{}', interval_seconds = 1, headers = {{ x-team = 'a' }} }}", self.address)
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.messages.lock().expect("nothing panics with it").clone()
    }

    fn messages<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let of_path = self.sent().into_iter().filter(|sent| sent.path == path);
        of_path.map(|sent| M::decode(sent.body).expect("a message of OTLP")).collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        let messages: Vec<ExportTraceServiceRequest> = self.messages("/v1/traces");
        let scopes = messages.into_iter().flat_map(|m| m.resource_spans).flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Of the last message.
    pub fn metrics(&self) -> Vec<Metric> {
        let messages: Vec<ExportMetricsServiceRequest> = self.messages("/v1/metrics");
        let last = messages.into_iter().next_back().into_iter().flat_map(|message| message.resource_metrics);
        last.flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics).collect()
    }

    pub fn logs(&self) -> Vec<LogRecord> {
        let messages: Vec<ExportLogsServiceRequest> = self.messages("/v1/logs");
        let scopes = messages.into_iter().flat_map(|m| m.resource_logs).flat_map(|resource| resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records).collect()
    }

    /// Waits until something is there.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            assert!(Instant::now() < end, "{what} never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An attribute that is a text.
pub fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    match attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An attribute that is a whole number.
pub fn whole(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}
