//! What containers cost: `cargo bench --bench containers` as root, with runc; `-- runc crun runsc` for several, one after the other.

#[path = "../tests/it/support/images.rs"]
#[allow(dead_code)]
mod images;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandpool::access::Access;
use sandpool::api::serve::{Connections, serve};
use sandpool::gateway::Gateway;
use sandpool::pool::container::ContainerPool;
use sandpool::records::Records;
use sandpool::sandbox::container::runtime::{OciBackend, OciSettings};
use sandpool::sandbox::container::{
    Container, ContainerBackend, ContainerSpecification, Credentials, InstanceId, Io, Resources,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const COLD: usize = 30;
const ALLOCATIONS: usize = 60;
const REQUESTS: usize = 2000;
const LARGE_BYTES: usize = 64 << 20;

#[tokio::main]
async fn main() {
    let mut engines: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if engines.is_empty() {
        engines.push("runc".into());
    }
    let mut table = Table::default();
    for engine in &engines {
        measure(engine, &mut table).await;
    }
    table.print();
}

async fn measure(engine: &str, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_sandpool").into();
    let settings = OciSettings { runtime: Some(engine.into()), program, ..OciSettings::default() };
    let backend = match OciBackend::open(&settings, folder.path()).await {
        Ok(backend) => Arc::new(backend),
        Err(error) => return println!("{engine} is not measured: {}", error.told()),
    };
    let layout = images::Recipe::app(&["serve"]).layout(&folder.path().join("layout"));
    table.engines.push(format!("{engine} {}", backend.report().version));
    cold(&*backend, &layout, table).await;
    pool(backend, &layout, table).await;
}

/// What was measured: a row a matter, a column an engine.
#[derive(Default)]
struct Table {
    engines: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    fn row(&mut self, what: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        self.cell(what, format!("{:.2} / {:.2} ms", at(0.5), at(0.99)));
    }

    fn cell(&mut self, what: &str, text: String) {
        match self.rows.iter_mut().find(|(known, _)| known == what) {
            Some((_, cells)) => cells.push(text),
            None => self.rows.push((what.to_owned(), vec![text])),
        }
    }

    fn print(&self) {
        println!("| p50 / p99 | {} |\n|---|{}", self.engines.join(" | "), "---|".repeat(self.engines.len()));
        for (what, cells) in &self.rows {
            println!("| {what} | {} |", cells.join(" | "));
        }
    }
}

/// What the processes of a container take, in kibibytes: memory of their own, and their part of what they share.
fn memory_kib(id: &InstanceId) -> u64 {
    let gateways = |root: &str| std::fs::read_dir(format!("{root}/sandpool")).into_iter().flatten().flatten();
    let mut groups = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].into_iter().flat_map(gateways);
    let pids = groups
        .find_map(|group| std::fs::read_to_string(group.path().join(id.as_str()).join("cgroup.procs")).ok())
        .unwrap_or_default();
    let of = |pid: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse::<u64>().ok()
    };
    pids.lines().filter_map(of).sum()
}

async fn cold(backend: &dyn ContainerBackend, layout: &str, table: &mut Table) {
    let image = backend.prepare_image(&layout.parse().unwrap(), &Credentials::Anonymous).await.unwrap();
    let (mut made, mut gone, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..COLD {
        let specification = ContainerSpecification {
            id: InstanceId::random(),
            command: Vec::new(),
            args: Vec::new(),
            environment: Default::default(),
            resources: Resources { cpus: 2.0, memory_bytes: 64 << 20, disk_bytes: 8 << 20, pids: 64 },
            read_only: false,
            way_out: None,
            agent: false,
        };
        let began = Instant::now();
        let container = backend.create(&specification, &image).await.unwrap();
        container.start().await.unwrap();
        while !answers(&*container).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        made.push(began.elapsed());
        memory = memory_kib(container.id());
        let began = Instant::now();
        container.destroy().await.unwrap();
        gone.push(began.elapsed());
    }
    table.row("cold: create, start, first HTTP answer", made);
    table.row("destroy", gone);
    table.cell("memory of one session's processes (PSS)", format!("{:.1} MB", memory as f64 * 1024.0 / 1e6));
}

async fn answers(container: &dyn Container) -> bool {
    match container.connect(8080).await {
        Ok(mut stream) => get(&mut *stream, "/hello").await > 0,
        Err(_) => false,
    }
}

/// Bytes of the answer, its head included.
async fn get(stream: &mut (dyn Io + '_), path: &str) -> usize {
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return 0;
    }
    let mut head = Vec::new();
    let (mut total, mut wanted) = (0, None);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else { return 0 };
        total += read;
        if wanted.is_none() {
            head.extend_from_slice(&buffer[..read]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
                let length =
                    text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
                wanted = Some(end + 4 + length.unwrap_or(0));
            }
        }
        if wanted.is_some_and(|wanted| total >= wanted) {
            return total;
        }
    }
}

async fn pool(backend: Arc<OciBackend>, layout: &str, table: &mut Table) {
    let text = format!(
        "name = 'app'\nimage = '{layout}'\ntarget_port = 8080\nready_session_instances = 4\nmax_concurrent_sessions = 100\n\
         resources = {{ cpu = 2.0, memory_mebibytes = 128 }}\ntermination_grace_seconds = 0"
    );
    let pool = ContainerPool::open(toml::from_str(&text).unwrap(), backend, &Records::off());
    let gateway = Gateway::new(Vec::new(), Access::open(), Records::off());
    gateway.add_container_pool(pool.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, gateway.clone(), Connections::default(), stop.clone().cancelled_owned()));
    allocations(&pool, address, table).await;
    forwarding(&pool, address, table).await;
    stop.cancel();
    gateway.drain(Duration::from_secs(1)).await;
}

async fn allocations(pool: &ContainerPool, address: SocketAddr, table: &mut Table) {
    let (mut first, mut refilled) = (Vec::new(), Vec::new());
    for number in 0..ALLOCATIONS {
        let began = Instant::now();
        while pool.standing().ready < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        refilled.push(began.elapsed());
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(get(&mut stream, &format!("/pools/app/hello?identifier=session-{number}")).await > 0);
        first.push(began.elapsed());
    }
    table.row("new identifier, a ready container, to the end of the answer", first);
    table.row("until the ready ones are full again", refilled.split_off(1));
}

async fn forwarding(pool: &ContainerPool, address: SocketAddr, table: &mut Table) {
    let identifier = sandpool::session::Identifier::new("session-0").unwrap();
    let instance = pool.instance(&identifier).unwrap();
    let (mut direct, mut forwarded) = (Vec::new(), Vec::new());
    let mut within = instance.container().connect(8080).await.unwrap();
    let mut outside = TcpStream::connect(address).await.unwrap();
    for _ in 0..REQUESTS {
        let began = Instant::now();
        assert!(get(&mut *within, "/hello").await > 0);
        direct.push(began.elapsed());
        let began = Instant::now();
        assert!(get(&mut outside, "/pools/app/hello?identifier=session-0").await > 0);
        forwarded.push(began.elapsed());
    }
    table.row("a request straight to the container, kept connection", direct);
    table.row("the same through the gateway", forwarded);
    let rate = |elapsed: Duration| LARGE_BYTES as f64 / 1e6 / elapsed.as_secs_f64();
    let large = format!("/big?{LARGE_BYTES}");
    let (mut straight, mut through) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let began = Instant::now();
        assert!(get(&mut *within, &large).await > LARGE_BYTES);
        straight = straight.min(began.elapsed());
        let began = Instant::now();
        assert!(get(&mut outside, &format!("/pools/app{large}&identifier=session-0")).await > LARGE_BYTES);
        through = through.min(began.elapsed());
    }
    let rates = format!("{:.0} / {:.0} MB/s", rate(straight), rate(through));
    table.cell("64 MiB straight / through the gateway, best of 3", rates);
}
