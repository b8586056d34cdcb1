//! What a session costs that has numpy and pandas imported: `cargo bench --bench packages`. In process, on the full edition.

mod support;

use std::sync::Arc;
use std::time::Instant;

use sandpool::interpreter::Recipe;
use sandpool::sandbox::wasm::{Image, WasmSandbox};

const ROUNDS: usize = 50;

const CELLS: [(&str, &str); 4] = [
    ("print(1)", "print(1)"),
    ("np.arange(10).sum()", "import numpy as np\nprint(np.arange(10).sum())"),
    (
        "groupby over 1,000 rows",
        "import numpy as np, pandas as pd\n\
         t = pd.DataFrame({'k': np.arange(1000) % 7, 'v': np.arange(1000.0)})\nprint(t.groupby('k').mean())",
    ),
    (
        "a plot, as PNG",
        "import matplotlib.pyplot as plt\nf, a = plt.subplots()\na.plot([1, 3, 2])\nf.savefig('/tmp/a.png')\nplt.close(f)\nprint(1)",
    ),
];

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only check that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let recipe = Recipe::editions("python").expect("there is a recipe").pop().expect("it has an edition");
    // More than are held: slots of a stripe are not given to others.
    let (image, built) = support::image(&recipe, 4 * ROUNDS as u32);
    let bytes = |file| std::fs::metadata(file).expect("it was just built").len() as f64 / 1e6;
    println!("module {:.1} MB, base layer {:.1} MB", bytes(built.module()), bytes(built.base()));
    println!(
        "| cell | fresh, p50 / p95 | fresh, more at a time, p50 / p95 | again, p50 | private memory |\n|---|---|---|---|---|"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, cell) in CELLS {
        runtime.block_on(fresh(&image, name, cell));
    }
}

/// Runs a cell in ready sessions: each gone before the next, then in as many that all stay, and again in those.
async fn fresh(image: &Arc<Image>, name: &str, cell: &str) {
    let (mut alone, mut among, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut sandbox = support::ready(image).await;
        alone.push(timed(&mut sandbox, cell).await);
    }
    let (before, mut held) = (private_bytes(), Vec::new());
    for _ in 0..ROUNDS {
        let mut sandbox = support::ready(image).await;
        among.push(timed(&mut sandbox, cell).await);
        held.push(sandbox);
    }
    let memory = private_bytes().saturating_sub(before) as f64 / ROUNDS as f64 / 1e6;
    for sandbox in &mut held {
        again.push(timed(sandbox, cell).await);
    }
    let [alone, among, again] = [alone, among, again].map(|mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        (times[ROUNDS / 2], times[ROUNDS * 95 / 100])
    });
    println!(
        "| {name} | {:.2} / {:.2} ms | {:.2} / {:.2} ms | {:.2} ms | {memory:.2} MB |",
        alone.0, alone.1, among.0, among.1, again.0
    );
}

/// Milliseconds of one execution.
async fn timed(sandbox: &mut WasmSandbox, cell: &str) -> f64 {
    let started = Instant::now();
    support::run(sandbox, cell).await;
    started.elapsed().as_secs_f64() * 1e3
}

/// Memory that is this process's alone.
fn private_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux has it");
    let kilobytes = |name: &str| -> u64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    };
    (kilobytes("Private_Dirty:") + kilobytes("Private_Clean:")) * 1024
}
