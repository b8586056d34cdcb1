//! What a caller gets over HTTP: `cargo bench --bench http`. A load generator against the real binary on loopback.
//! `cargo bench --bench http -- access` measures what keys and limits add to a warm execution, `-- tracing` what the export of
//! traces adds.
//!
//! Each figure comes from a fixed number of requests, so that it ends by itself. The generator shares the machine with
//! the gateway, so throughput is what both together reach.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SESSIONS: usize = 10_000;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only check that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if std::env::args().any(|argument| argument == "access") {
        return runtime.block_on(access());
    }
    if std::env::args().any(|argument| argument == "tracing") {
        return runtime.block_on(tracing());
    }
    runtime.block_on(measure());
}

async fn measure() {
    let gateway = Gateway::start();
    let mut client = Client::connect(gateway.address).await;
    if std::env::args().any(|argument| argument == "--records") {
        return records(&gateway).await;
    }
    println!("| what | p50 | p95 | p99 | max |\n|---|---|---|---|---|");
    for round in 0..50 {
        client.execute(&format!("warm-up-{round}"), "print(1)").await;
    }
    settle().await;

    fresh(&mut client, "fresh: print(1), new identifier", "first", 300).await;
    warm(&mut client).await;
    burst(gateway.address).await;
    throughput(gateway.address, "fresh executions per second, 8 connections, sessions stay", "stay", false).await;
    client.delete_all().await;
    settle().await;
    throughput(gateway.address, "fresh executions per second, 8 connections, each session deleted", "go", true).await;
    settle().await;

    // A gateway that has seen nothing yet: freed slots keep some memory for the next session on them.
    drop(gateway);
    let gateway = Gateway::start();
    let mut client = Client::connect(gateway.address).await;
    settle().await;
    let (idle, mut made) = (gateway.private_bytes(), 0);
    println!("| private memory of a gateway with 64 ready sessions | {:.1} MB | | | |", idle as f64 / 1e6);
    for live in [1, 1000, SESSIONS] {
        fill(gateway.address, made..live).await;
        made = live;
        settle().await;
        let private = gateway.private_bytes().saturating_sub(idle);
        println!(
            "| private memory of {live} live sessions, each | {:.3} MB | | | |",
            private as f64 / live as f64 / 1e6
        );
    }
    fresh(&mut client, "fresh, with 10,000 live sessions", "crowded", 300).await;
    scrape(&mut client, "GET /metrics with 10,000 live sessions").await;
}

/// What records cost a warm execution: a gateway that keeps them and one that does not, by turns.
async fn records(kept: &Gateway) {
    let silent = Gateway::configured("[records]\nenabled = false\n");
    println!("| what | p50 | p95 | p99 | max |\n|---|---|---|---|---|");
    let mut times = [Vec::new(), Vec::new()];
    let mut clients = [Client::connect(silent.address).await, Client::connect(kept.address).await];
    for round in 0..20 {
        for (client, times) in clients.iter_mut().zip(&mut times) {
            for count in 0..300 {
                let started = Instant::now();
                client.execute("warm", "print(1)").await;
                // The first of each are for warming up.
                if round > 0 && count > 50 {
                    times.push(started.elapsed());
                }
            }
        }
    }
    let [off, on] = times;
    row("warm: print(1), no records", off);
    row("warm: print(1), with records", on);
}

async fn scrape(client: &mut Client, what: &str) {
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        let answer = client.call("GET", "/metrics", "").await;
        times.push(started.elapsed());
        assert!(answer.contains("PoolExecutingPodCount"), "{answer}");
    }
    row(what, times);
}

/// A warm execution at an open gateway, and at one that asks for a key of its database and has every limit.
async fn access() {
    const LIMITS: &str = "[limits.key]
requests_per_second = 1000000
executions_per_minute = 60000000
concurrent_executions = 100
sessions = 1000
bytes_per_day = 1000000000000
cpu_seconds_per_day = 1000000
[limits.pool]
requests_per_second = 1000000
concurrent_executions = 100
";
    let (open, guarded) = (Gateway::start(), Gateway::configured(LIMITS));
    let key = guarded.make_key();
    let mut clients = [Client::connect(open.address).await, Client::connect(guarded.address).await];
    clients[1].key = Some(key);
    let [open, guarded] = by_turns(clients).await;
    println!("| what | p50 | p95 | p99 | max |\n|---|---|---|---|---|");
    row("warm, open gateway", open);
    row("warm, with a key and limits", guarded);
}

/// A warm execution at a gateway that exports nothing, at one that exports traces, and at one that exports all, to a collector
/// on the same machine.
async fn tracing() {
    let collector = collector();
    let traces = format!("[otlp]\nendpoint = 'http://{collector}'\nmetrics = false\nlogs = []\n");
    let all = format!("[otlp]\nendpoint = 'http://{collector}'\ninterval_seconds = 1\n");
    let gateways = [Gateway::start(), Gateway::configured(&traces), Gateway::configured(&all)];
    let [silent, traced, telling] = &gateways;
    let clients = [
        Client::connect(silent.address).await,
        Client::connect(traced.address).await,
        Client::connect(telling.address).await,
    ];
    let [silent, traced, telling] = by_turns(clients).await;
    println!("| what | p50 | p95 | p99 | max |\n|---|---|---|---|---|");
    row("warm, nothing exported", silent);
    row("warm, traces exported", traced);
    row("warm, traces, metrics and records exported", telling);
}

/// A collector that takes everything, on threads of its own.
fn collector() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || take_messages(stream));
        }
    });
    address
}

/// Until the other side closes.
fn take_messages(stream: std::net::TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// Times of warm executions, one of each client after the other, so that other work on the machine meets all of them.
async fn by_turns<const N: usize>(mut clients: [Client; N]) -> [Vec<Duration>; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..6000 {
        for (client, times) in clients.iter_mut().zip(&mut times) {
            let started = Instant::now();
            client.execute("warm", "print(1)").await;
            // The first ones are not warm.
            if round >= 200 {
                times.push(started.elapsed());
            }
        }
    }
    times
}

/// Lets the ready sandboxes be refilled.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn fresh(client: &mut Client, what: &str, prefix: &str, count: usize) {
    let mut times = Vec::new();
    for index in 0..count {
        let identifier = format!("{prefix}-{index}");
        let started = Instant::now();
        client.execute(&identifier, "print(1)").await;
        times.push(started.elapsed());
        client.delete(&identifier).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    row(what, times);
}

async fn warm(client: &mut Client) {
    let mut times = Vec::new();
    for _ in 0..2000 {
        let started = Instant::now();
        client.execute("warm", "print(1)").await;
        times.push(started.elapsed());
    }
    row("warm: print(1), known identifier", times);
}

/// A hundred new identifiers at once, on connections that are open already.
async fn burst(address: SocketAddr) {
    let mut lasts = Vec::new();
    for round in 0..10 {
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(Client::connect(address).await);
        }
        let started = Instant::now();
        let calls = clients.into_iter().enumerate().map(|(index, mut client)| async move {
            client.execute(&format!("burst-{round}-{index}"), "print(1)").await;
            client
        });
        let clients = futures_util::future::join_all(calls).await;
        lasts.push(started.elapsed());
        for (index, mut client) in clients.into_iter().enumerate() {
            client.delete(&format!("burst-{round}-{index}")).await;
        }
        settle().await;
    }
    row("burst of 100 new identifiers, last answer", lasts);
}

async fn throughput(address: SocketAddr, what: &str, prefix: &str, delete: bool) {
    const TOTAL: usize = 4000;
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let callers = (0..8).map(|_| {
        let next = next.clone();
        async move {
            let mut client = Client::connect(address).await;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= TOTAL {
                    return;
                }
                let identifier = format!("{prefix}-{index}");
                client.execute(&identifier, "print(1)").await;
                if delete {
                    client.delete(&identifier).await;
                }
            }
        }
    });
    futures_util::future::join_all(callers).await;
    let rate = TOTAL as f64 / started.elapsed().as_secs_f64();
    println!("| {what} | {rate:.0}/s | | | |");
}

/// Makes sessions with these numbers.
async fn fill(address: SocketAddr, numbers: std::ops::Range<usize>) {
    let mut client = Client::connect(address).await;
    for index in numbers {
        client.execute(&format!("live-{index}"), "print(1)").await;
    }
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("| {what} | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms |", at(0.5), at(0.95), at(0.99), at(1.0));
}

/// The real binary, ended when dropped.
struct Gateway {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        Self::configured("")
    }

    /// With further settings.
    fn configured(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("sandpool.toml");
        let text = format!(
            "{settings}[[pool]]\nname = 'python'\nedition = 'base'\nmax_concurrent_sessions = {}\n",
            SESSIONS + 400
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(folder.path());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let address =
            line.trim().strip_prefix("listening on http://").expect("the ready line").parse().expect("an address");
        Self { process, address, _folder: folder }
    }

    /// A key that may do everything; known to the gateway when this returns.
    fn make_key(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command.args([
            "key",
            "create",
            "--name",
            "bench",
            "--role",
            "executor",
            "--role",
            "contributor",
            "--all-pools",
        ]);
        command.arg("--url").arg(format!("http://{}", self.address));
        let output = command.output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Memory that is the gateway's alone.
    fn private_bytes(&self) -> u64 {
        let rollup =
            std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id())).expect("Linux has it");
        let kilobytes = |name: &str| -> u64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
            line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
        };
        (kilobytes("Private_Dirty:") + kilobytes("Private_Clean:")) * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One keep-alive connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    key: Option<String>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("TCP has it");
        Self { stream, buffer: Vec::new(), key: None }
    }

    async fn execute(&mut self, identifier: &str, code: &str) {
        let body = serde_json::json!({ "code": code }).to_string();
        let target = format!("/pools/python/executions?api-version=2025-10-02-preview&identifier={identifier}");
        let answer = self.call("POST", &target, &body).await;
        assert!(answer.contains(r#""stdout":"1\n""#), "{answer}");
    }

    async fn delete(&mut self, identifier: &str) {
        self.call("DELETE", &format!("/pools/python/session?identifier={identifier}"), "").await;
    }

    async fn delete_all(&mut self) {
        loop {
            let page = self.call("GET", "/pools/python/listSessions?identifier=none", "").await;
            let body: serde_json::Value =
                serde_json::from_str(page.split_once("\r\n\r\n").expect("a head").1).expect("JSON");
            let sessions = body["sessions"].as_array().expect("a list").clone();
            if sessions.is_empty() {
                return;
            }
            for session in sessions {
                self.delete(session["identifier"].as_str().expect("text")).await;
            }
        }
    }

    async fn call(&mut self, method: &str, target: &str, body: &str) -> String {
        let key = self.key.as_ref().map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: bench\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("the connection is open");
        self.buffer.clear();
        loop {
            if let Some(end) = self.complete() {
                return String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.expect("the connection is open"), 0, "closed");
        }
    }

    /// Length of the answer, once it is all there.
    fn complete(&self) -> Option<usize> {
        let head_end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        let length = head.split_once("content-length:").map_or("0", |(_, rest)| rest.split('\r').next().unwrap_or("0"));
        let end = head_end + length.trim().parse::<usize>().expect("a length");
        (self.buffer.len() >= end).then_some(end)
    }
}
