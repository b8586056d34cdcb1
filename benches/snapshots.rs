//! What it costs that sessions survive: `cargo bench --bench snapshots`. Medians, in process, on the real Python image; the
//! store is in a folder beside the build cache, so that what waits for the disk waits for a real one.
//!
//! `SANDPOOL_BENCH_SESSIONS` says how many sessions hibernate for the last figure (10,000).

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandpool::access::Access;
use sandpool::config;
use sandpool::execution::{Code, Execution, ExecutionRequest, RequestedLimits, Status};
use sandpool::files::BlobStore;
use sandpool::gateway::{Gateway, SessionPool};
use sandpool::interpreter::{self, Cache, Packages, Recipe};
use sandpool::pool::{Facilities, Keeping, OnCooldown, Pool, PoolName, PoolSpecification, SnapshotPolicy};
use sandpool::records::{Records, RecordsSettings};
use sandpool::sandbox::wasm::{self, Engine, EngineSettings, Image, Workers};
use sandpool::session::Identifier;
use sandpool::snapshot::Seal;
use sandpool::snapshot::store::Store;
use tokio_util::sync::CancellationToken;

const MEMORY_MEBIBYTES: u64 = 512;
/// Sessions in memory at once; few, so that most of the many hibernate.
const SESSIONS: usize = 300;
const ROUNDS: usize = 300;

struct Bench {
    image: Arc<Image>,
    packages: Arc<Packages>,
    store: Arc<Store>,
    facilities: Facilities,
}

/// A pool, from inside and from outside.
struct Opened {
    pool: Arc<Pool>,
    sessions: SessionPool,
}

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only check that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let bench = Bench::open();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    println!("| what | p50 | p99 |\n|---|---|---|");
    runtime.block_on(bench.measure());
}

impl Bench {
    fn open() -> Self {
        let cache = Cache::new(config::default_cache_dir());
        let progress = |line: &str| eprintln!("{line}");
        let lock = cache.lock(|| progress("waiting for another build")).expect("the cache can be locked");
        let recipe = Recipe::named("python").expect("there is a recipe");
        let built = interpreter::build(&cache, &recipe, &progress).expect("it can be built");
        let slots = 4 * (SESSIONS as u32 + 100);
        let settings = EngineSettings { slots, memory_bytes: MEMORY_MEBIBYTES << 20, metered: false };
        let image = wasm::image(&Engine::new(settings).expect("an engine"), &built, &progress).expect("an image");
        drop(lock);
        let folder = config::default_cache_dir().join("bench-snapshots");
        let _ = std::fs::remove_dir_all(&folder);
        let seal = Seal::with_key([1; 32]);
        let store = Store::open(&folder, None, seal.clone()).expect("a store");
        let records = Records::open(&folder, &RecordsSettings::default()).expect("records");
        let packages = Arc::new(built.packages().expect("a list of packages"));
        let (blobs, workers) = (BlobStore::new(std::env::temp_dir(), 1 << 20), Workers::start(2).expect("threads"));
        Self { image, packages, store, facilities: Facilities { blobs, workers, records, seal } }
    }

    fn pool(&self, name: &str, adjust: impl FnOnce(&mut PoolSpecification)) -> Opened {
        let mut specification = PoolSpecification::named(PoolName::new(name).expect("a name"));
        specification.max_concurrent_sessions = SESSIONS;
        specification.ready_session_instances = 8;
        specification.limits.memory_mebibytes = MEMORY_MEBIBYTES;
        adjust(&mut specification);
        let name = specification.name.clone();
        let keeping = Keeping::new(self.store.clone(), Arc::new(|_| Ok(None)));
        let (image, packages, facilities) = (self.image.clone(), self.packages.clone(), self.facilities.clone());
        let pool = Pool::open_kept(specification, image, packages, facilities, keeping).expect("a pool");
        let gateway = Gateway::new(vec![pool.clone()], Access::open(), self.facilities.records.clone());
        Opened { pool, sessions: gateway.pool(&name).expect("it was just opened") }
    }

    async fn measure(&self) {
        let plain = self.pool("plain", |_| ());
        let each = self.pool("each", |pool| pool.snapshot = SnapshotPolicy::AfterEach);
        let durable = self.pool("durable", |pool| pool.durable = true);
        for (what, opened) in [("never", &plain), ("after-each", &each), ("durable", &durable)] {
            opened.run("warm", "x = 1").await;
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let started = Instant::now();
                opened.run("warm", "print(1)").await;
                times.push(started.elapsed());
            }
            row(&format!("warm print(1), {what}"), times);
        }
        let sleepy = self.pool("sleepy", |pool| pool.on_cooldown = OnCooldown::Hibernate);
        for (what, code, rounds) in [
            ("small", "def f(x): return x + 1\ny = f(1)", 200),
            ("10 MB of its own", "import os\ndata = os.urandom(10_000_000)", 20),
            ("100 MB of its own", "import os\ndata = os.urandom(100_000_000)", 5),
        ] {
            self.sleep_and_wake(&sleepy, what, code, rounds).await;
        }
        self.plain_files();
        self.fork(&plain).await;
        let many = std::env::var("SANDPOOL_BENCH_SESSIONS").ok().and_then(|many| many.parse().ok()).unwrap_or(10_000);
        self.many(&sleepy, many).await;
    }

    async fn sleep_and_wake(&self, opened: &Opened, what: &str, code: &str, rounds: usize) {
        let (mut captured, mut asleep, mut awake, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let name = &format!("sleeper-{round}");
            opened.run(name, code).await;
            let started = Instant::now();
            opened.sessions.fork(&identifier(name), &[identifier("capture")], None).await.expect("it can be forked");
            captured.push(started.elapsed());
            opened.sessions.end_session(&identifier("capture")).await.expect("the disk works");
            let started = Instant::now();
            assert_eq!(opened.hibernate_all().await, 1);
            asleep.push(started.elapsed());
            bytes.push(opened.sessions.snapshots(&identifier(name)).await.expect("it is on disk")[0].bytes);
            let started = Instant::now();
            opened.run(name, "print(1)").await;
            awake.push(started.elapsed());
            opened.sessions.end_session(&identifier(name)).await.expect("the disk works");
        }
        row(&format!("snapshot in memory, {what}"), captured);
        row(&format!("hibernate (on disk), {what}"), asleep);
        row(&format!("wake and first answer, {what}"), awake);
        bytes.sort_unstable();
        println!("| bytes on disk, {what} | {} | |", bytes[bytes.len() / 2]);
    }

    /// What the disk and the memory would take by themselves.
    fn plain_files(&self) {
        let path = config::default_cache_dir().join("bench-snapshots/plain");
        let data = vec![7_u8; 100_000_000];
        let (mut written, mut read) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let started = Instant::now();
            let mut file = File::create(&path).expect("a file");
            file.write_all(&data).and_then(|()| file.sync_all()).expect("the disk has room");
            written.push(started.elapsed());
            let started = Instant::now();
            assert_eq!(std::fs::read(&path).expect("it was just written").len(), data.len());
            read.push(started.elapsed());
            std::fs::remove_file(&path).expect("it is there");
        }
        row("for comparison: write 100 MB to a file, and to the disk", written);
        row("for comparison: read 100 MB of a file that is in memory", read);
    }

    async fn fork(&self, opened: &Opened) {
        opened.run("parent", "import os\ndata = os.urandom(10_000_000)").await;
        let children: Vec<_> = (0..100).map(|n| identifier(&format!("child-{n}"))).collect();
        let mut times = Vec::new();
        for _ in 0..10 {
            let started = Instant::now();
            opened.sessions.fork(&identifier("parent"), &children, None).await.expect("they fit");
            times.push(started.elapsed());
            for child in &children {
                opened.sessions.end_session(child).await.expect("the disk works");
            }
        }
        row("fork of one session into 100, 10 MB of its own", times);
    }

    /// As many sessions as there is no room for in memory, called at random.
    async fn many(&self, opened: &Opened, many: usize) {
        let before = self.bytes();
        for n in 0..many {
            opened.run(&format!("many-{n}"), &format!("n = {n}\ndef f(): return n")).await;
        }
        opened.hibernate_all().await;
        println!("| database, each of {many} small sessions | {} bytes | |", (self.bytes() - before) / many as u64);
        let (mut times, mut at) = (Vec::new(), 1);
        for _ in 0..2000.min(many) {
            // Any generator does: no two calls in a row are neighbours.
            at = (at * 48_271) % 2_147_483_647;
            let n = at % many;
            let started = Instant::now();
            opened.run(&format!("many-{n}"), "f()").await;
            times.push(started.elapsed());
            if times.len() % (SESSIONS / 2) == 0 {
                // Outside of what is measured: a call that must make room first waits for the disk.
                opened.hibernate_all().await;
            }
        }
        row(&format!("{many} hibernated sessions, one woken at random, first answer"), times);
    }

    fn bytes(&self) -> u64 {
        let folder = config::default_cache_dir().join("bench-snapshots");
        std::fs::metadata(folder.join("snapshots.db")).map_or(0, |file| file.len())
    }
}

impl Opened {
    async fn run(&self, name: &str, code: &str) -> Execution {
        let request = ExecutionRequest {
            identifier: identifier(name),
            code: Code(code.into()),
            timeout: None,
            id: None,
            limits: RequestedLimits::default(),
            followed: false,
            caller: None,
            permit: None,
        };
        let execution = self
            .sessions
            .launch(request)
            .expect("it is let in")
            .execute(CancellationToken::new())
            .await
            .expect("it runs");
        let Status::Done(outcome) = &execution.status else { panic!("it is over") };
        assert!(outcome.succeeded(), "{outcome:?}");
        execution
    }

    /// Puts all idle sessions to disk, as a shutdown does; how many.
    async fn hibernate_all(&self) -> usize {
        let idle = self.pool.earliest_used(usize::MAX);
        let tasks: Vec<_> = idle
            .into_iter()
            .map(|(_, session)| {
                let pool = self.pool.clone();
                self.pool.workers().spawn(async move { pool.hibernate(&session).await.expect("the disk takes it") })
            })
            .collect();
        let mut gone = 0;
        for task in tasks {
            gone += usize::from(task.await.expect("no panic"));
        }
        gone
    }
}

fn identifier(name: &str) -> Identifier {
    Identifier::new(name).expect("an identifier")
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("| {what} | {:.2} ms | {:.2} ms |", at(0.5), at(0.99));
}
