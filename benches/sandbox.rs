//! What a sandbox costs in process: `cargo bench --bench sandbox`.

mod support;

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sandpool::interpreter::Recipe;
use tokio::runtime::Runtime;

use support::{bare, image, ready, run};

/// What each interpreter prints a number with.
const CELLS: [(&str, &str); 2] = [("python", "print(1)"), ("javascript", "console.log(1)")];

fn sandboxes(c: &mut Criterion) {
    for (interpreter, cell) in CELLS {
        sandbox(c, interpreter, cell);
    }
}

fn sandbox(c: &mut Criterion, interpreter: &str, cell: &str) {
    let runtime = Runtime::new().expect("a runtime");
    let (image, _) = image(&Recipe::named(interpreter).expect("there is a recipe"), 300);
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
