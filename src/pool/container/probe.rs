//! Probes: questions to a container whose answers say whether it has started and whether it lives, with Kubernetes'
//! meaning and defaults.

use std::time::Duration;

use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

use crate::sandbox::container::Container;

/// A probe's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    #[serde(rename = "type")]
    pub kind: ProbeKind,
    #[serde(default)]
    pub http_get: Option<HttpGet>,
    #[serde(default)]
    pub tcp_socket: Option<TcpSocket>,
    #[serde(default)]
    pub initial_delay_seconds: u64,
    #[serde(default = "defaults::period_seconds")]
    pub period_seconds: u64,
    #[serde(default = "defaults::timeout_seconds")]
    pub timeout_seconds: u64,
    /// Failures in a row that make it failed.
    #[serde(default = "defaults::failure_threshold")]
    pub failure_threshold: u32,
    /// As the schema has it: 1, since neither kind knows another.
    #[serde(default = "defaults::success_threshold")]
    pub success_threshold: u32,
    /// Between SIGTERM and SIGKILL when it has failed. None: the pool's.
    #[serde(default)]
    pub termination_grace_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// Until it succeeds the container gets no session, and no liveness probe.
    Startup,
    /// When it fails the container is replaced.
    Liveness,
}

/// Fine with any status from 200 to 399.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    pub port: u16,
    #[serde(default = "defaults::path")]
    pub path: String,
    #[serde(default)]
    pub headers: Vec<Header>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// Fine with any connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpSocket {
    pub port: u16,
}

mod defaults {
    pub const fn period_seconds() -> u64 {
        10
    }
    pub const fn timeout_seconds() -> u64 {
        1
    }
    pub const fn failure_threshold() -> u32 {
        3
    }
    pub const fn success_threshold() -> u32 {
        1
    }
    pub fn path() -> String {
        "/".into()
    }
}

/// Without a startup probe a container has started when its port takes connections: asked soon and often at first, so that
/// a quick one is ready soon, and for 240 seconds in all, as the hosted service does.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_secs(1);
const LOOK_FOR: Duration = Duration::from_secs(240);
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

impl Probe {
    pub(super) fn problems(&self) -> Vec<String> {
        let within = |setting, value: u64, min: u64, max: u64| {
            (!(min..=max).contains(&value)).then(|| format!("{setting} is {value}; it must be from {min} to {max}"))
        };
        let mut problems: Vec<_> = [
            within("initial_delay_seconds", self.initial_delay_seconds, 0, 3600),
            within("period_seconds", self.period_seconds, 1, 3600),
            within("timeout_seconds", self.timeout_seconds, 1, 3600),
            within("failure_threshold", self.failure_threshold.into(), 1, 1000),
            within("success_threshold", self.success_threshold.into(), 1, 1),
            within("termination_grace_seconds", self.termination_grace_seconds.unwrap_or(0), 0, 3600),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (&self.http_get, &self.tcp_socket) {
            (Some(get), None) => {
                if !get.path.starts_with('/') || get.path.parse::<hyper::Uri>().is_err() {
                    problems.push(format!("{:?} is no path", get.path));
                }
                let sound = |header: &Header| {
                    header.name.parse::<HeaderName>().is_ok() && header.value.parse::<HeaderValue>().is_ok()
                };
                problems.extend(get.headers.iter().filter(|h| !sound(h)).map(|h| format!("{:?} is no header", h.name)));
            }
            (None, Some(_)) => {}
            _ => problems.push("needs http_get or tcp_socket, and not both".into()),
        }
        problems
    }

    /// How long a container that failed it has to end; None: as long as any other.
    pub(super) fn grace(&self) -> Option<Duration> {
        self.termination_grace_seconds.map(Duration::from_secs)
    }

    fn period(&self) -> Duration {
        Duration::from_secs(self.period_seconds)
    }

    /// Asks once; an error says what was wrong, in a few words.
    async fn ask(&self, container: &dyn Container) -> Result<(), String> {
        let asked = async {
            match (&self.http_get, self.tcp_socket) {
                (Some(get), _) => ask_http(container, get).await,
                (None, Some(socket)) => connect(container, socket.port).await,
                (None, None) => Err("it asks nothing".into()),
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(self.timeout_seconds), asked).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", self.timeout_seconds)))
    }

    /// Asks until it fails for good; gives the last failure.
    pub(super) async fn until_failed(&self, container: &dyn Container) -> String {
        let mut failures = Failures::new(self.failure_threshold);
        tokio::time::sleep(Duration::from_secs(self.initial_delay_seconds)).await;
        loop {
            let asked = self.ask(container).await;
            if failures.after(asked.is_ok())
                && let Err(problem) = asked
            {
                return problem;
            }
            tokio::time::sleep(self.period()).await;
        }
    }

    /// Asks until it succeeds.
    async fn until_succeeded(&self, container: &dyn Container) -> Result<(), String> {
        let mut failures = Failures::new(self.failure_threshold);
        tokio::time::sleep(Duration::from_secs(self.initial_delay_seconds)).await;
        loop {
            match self.ask(container).await {
                Ok(()) => return Ok(()),
                Err(problem) if failures.after(false) => return Err(problem),
                Err(_) => tokio::time::sleep(self.period()).await,
            }
        }
    }
}

/// Waits until a container has started, by its startup probe or, without one, by its port.
pub(super) async fn started(container: &dyn Container, startup: Option<&Probe>, port: u16) -> Result<(), String> {
    if let Some(probe) = startup {
        return probe.until_succeeded(container).await;
    }
    let end = tokio::time::Instant::now() + LOOK_FOR;
    let mut pause = FIRST_LOOK;
    loop {
        let looked = tokio::time::timeout(LOOK_TIMEOUT, connect(container, port)).await;
        if let Ok(Ok(())) = looked {
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            return Err(format!("nothing listens on its port {port} after {} s", LOOK_FOR.as_secs()));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

async fn connect(container: &dyn Container, port: u16) -> Result<(), String> {
    container.connect(port).await.map(drop).map_err(|error| error.kind().to_string())
}

async fn ask_http(container: &dyn Container, get: &HttpGet) -> Result<(), String> {
    let stream = container.connect(get.port).await.map_err(|error| error.kind().to_string())?;
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let mut request = Request::new(Empty::<bytes::Bytes>::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = get.path.parse().map_err(|_| "its path is none".to_owned())?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    for header in &get.headers {
        if let (Ok(name), Ok(value)) = (header.name.parse::<HeaderName>(), header.value.parse()) {
            headers.insert(name, value);
        }
    }
    let asked = async {
        let response = sender.send_request(request).await.map_err(told)?;
        let status = response.status().as_u16();
        // The status is the answer; the body may be endless.
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("status {status}")) }
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // What came before the connection's end is told now.
        _ = connection => asked.await,
    }
}

/// Counts failures in a row.
struct Failures {
    threshold: u32,
    in_a_row: u32,
}

impl Failures {
    fn new(threshold: u32) -> Self {
        Self { threshold, in_a_row: 0 }
    }

    /// Whether the probe has failed, after one more answer.
    fn after(&mut self, success: bool) -> bool {
        self.in_a_row = if success { 0 } else { self.in_a_row + 1 };
        self.in_a_row >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_count() {
        let mut failures = Failures::new(3);
        for (success, failed) in [
            (false, false),
            (false, false),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
            (false, true),
        ] {
            assert_eq!(failures.after(success), failed);
        }
        assert!(Failures::new(1).after(false));
    }

    #[test]
    fn defaults_are_kubernetes_own() {
        let probe: Probe = toml::from_str("type = 'liveness'\nhttp_get = { port = 8080 }").unwrap();
        assert_eq!((probe.period_seconds, probe.timeout_seconds, probe.failure_threshold), (10, 1, 3));
        assert_eq!((probe.initial_delay_seconds, probe.http_get.as_ref().unwrap().path.as_str()), (0, "/"));
        assert_eq!(probe.problems(), Vec::<String>::new());
    }

    #[test]
    fn a_probe_asks_one_thing() {
        for text in [
            "type = 'liveness'",
            "type = 'startup'\nhttp_get = { port = 1 }\ntcp_socket = { port = 1 }",
            "type = 'startup'\nhttp_get = { port = 1, path = 'x' }",
            "type = 'startup'\ntcp_socket = { port = 1 }\nsuccess_threshold = 2",
            "type = 'startup'\ntcp_socket = { port = 1 }\nfailure_threshold = 0",
            "type = 'startup'\nhttp_get = { port = 1, headers = [{ name = 'a b', value = 'x' }] }",
        ] {
            assert!(!toml::from_str::<Probe>(text).unwrap().problems().is_empty(), "{text}");
        }
    }
}
