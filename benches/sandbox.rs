//! What a sandbox costs in process: `cargo bench --bench sandbox`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sandpool::config;
use sandpool::files::{BlobStore, Tree};
use sandpool::interpreter::{self, Cache, Recipe};
use sandpool::sandbox::limits::FileLimits;
use sandpool::sandbox::wasm::{self, Engine, EngineSettings, Image, WasmSandbox};
use sandpool::sandbox::{Exit, Limits, Output};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What each interpreter prints a number with.
const CELLS: [(&str, &str); 2] = [("python", "print(1)"), ("javascript", "console.log(1)")];
const MEMORY_BYTES: u64 = 1 << 30;
const FILES: FileLimits = FileLimits { total_bytes: 1 << 30, file_bytes: 1 << 30, count: 10_000 };
const LIMITS: Limits = Limits { wall: Duration::from_secs(60), cpu: None, fuel: None, output_bytes: 1 << 20 };

fn image(interpreter: &str) -> Arc<Image> {
    let cache = Cache::new(config::default_cache_dir());
    let progress = |line: &str| eprintln!("{line}");
    let _lock = cache.lock(|| progress("waiting for another build")).expect("the cache can be locked");
    let recipe = Recipe::named(interpreter).expect("there is a recipe");
    let built = interpreter::build(&cache, &recipe, &progress).expect("it can be built");
    let engine =
        Engine::new(EngineSettings { slots: 300, memory_bytes: MEMORY_BYTES, metered: false }).expect("an engine");
    wasm::image(&engine, &built, &progress).expect("an image")
}

async fn bare(image: &Arc<Image>) -> WasmSandbox {
    let blobs = BlobStore::new(std::env::temp_dir(), u64::MAX);
    let tree = Tree::new(image.base().clone(), FILES, blobs);
    WasmSandbox::new(image.clone(), tree, MEMORY_BYTES).await.expect("a sandbox")
}

async fn ready(image: &Arc<Image>) -> WasmSandbox {
    let mut sandbox = bare(image).await;
    sandbox.prepare().await.expect("it can be prepared");
    sandbox
}

async fn run(sandbox: &mut WasmSandbox, cell: &str) {
    let output = Arc::new(Output::new(LIMITS.output_bytes));
    let report = sandbox.run(cell, LIMITS, output.clone(), CancellationToken::new()).await;
    assert_eq!(report.exit, Exit::Finished);
    assert_eq!(output.take().0.len(), 1);
}

fn sandboxes(c: &mut Criterion) {
    for (interpreter, cell) in CELLS {
        sandbox(c, interpreter, cell);
    }
}

fn sandbox(c: &mut Criterion, interpreter: &str, cell: &str) {
    let runtime = Runtime::new().expect("a runtime");
    let image = image(interpreter);
    let mut group = c.benchmark_group(interpreter);
    group.bench_function("instantiate", |b| {
        b.iter_batched(|| (), |()| runtime.block_on(bare(&image)), BatchSize::PerIteration);
    });
    group.bench_function("prepare", |b| {
        b.iter_custom(|rounds| {
            timed(rounds, || runtime.block_on(bare(&image)), |s| runtime.block_on(s.prepare()).expect("prepared"))
        });
    });
    group.bench_function("cold: instantiate, reseed, print 1", |b| {
        b.iter_custom(|rounds| {
            timed(
                rounds,
                || (),
                |_| {
                    runtime.block_on(async {
                        let mut sandbox = bare(&image).await;
                        sandbox.reseed().await.expect("it can be reseeded");
                        run(&mut sandbox, cell).await
                    });
                },
            )
        });
    });
    group.bench_function("fresh: print 1 in a ready session", |b| {
        b.iter_custom(|rounds| timed(rounds, || runtime.block_on(ready(&image)), |s| runtime.block_on(run(s, cell))));
    });
    let mut warm = runtime.block_on(ready(&image));
    group.bench_function("warm: print 1 again", |b| b.iter(|| runtime.block_on(run(&mut warm, cell))));
    group.finish();
}

/// Times `work` alone; neither making its input nor dropping it.
fn timed<T, R>(rounds: u64, mut make: impl FnMut() -> T, mut work: impl FnMut(&mut T) -> R) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        let mut input = make();
        let started = Instant::now();
        let output = work(&mut input);
        total += started.elapsed();
        drop((input, output));
    }
    total
}

criterion_group!(benches, sandboxes);
criterion_main!(benches);
