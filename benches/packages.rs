//! What a session costs that has numpy and pandas imported: `cargo bench --bench packages`. In process, on the full edition.

mod support;

use std::sync::Arc;
use std::time::Instant;

use sandpool::interpreter::Recipe;
use sandpool::sandbox::wasm::Image;

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
    let (image, built) = support::image(&recipe, ROUNDS as u32 + 1);
    let bytes = |file| std::fs::metadata(file).expect("it was just built").len() as f64 / 1e6;
    println!("module {:.1} MB, base layer {:.1} MB", bytes(built.module()), bytes(built.base()));
    println!("| fresh session | p50 | p95 | private memory |\n|---|---|---|---|");
    for (name, cell) in CELLS {
        fresh(&image, name, cell);
    }
}

/// Runs a cell in ready sessions, which all stay until the last one has run.
fn fresh(image: &Arc<Image>, name: &str, cell: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut first = support::ready(image).await;
        support::run(&mut first, cell).await;
        let (before, mut held, mut times) = (private_bytes(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut sandbox = support::ready(image).await;
            let started = Instant::now();
            support::run(&mut sandbox, cell).await;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            held.push(sandbox);
        }
        let memory = private_bytes().saturating_sub(before) as f64 / ROUNDS as f64 / 1e6;
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} ms | {:.2} ms | {memory:.2} MB |", times[ROUNDS / 2], times[ROUNDS * 95 / 100]);
    });
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
