//! How fast the interpreters themselves are: `cargo bench --bench programs [-- python|javascript]`.
//!
//! Runs every program of `benches/programs/` in a sandbox and under a native interpreter of the same version, in turn, and
//! prints the ratio of the medians. `$SANDPOOL_NATIVE_PYTHON` (else `python3.13`) and `$SANDPOOL_NATIVE_QJS` (else `qjs`) name
//! the native ones. Build them with `-O3`, without profile-guided or link-time optimisation, to compare like with like.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sandpool::config;
use sandpool::files::{BlobStore, Tree};
use sandpool::interpreter::{self, Cache, Recipe};
use sandpool::sandbox::limits::FileLimits;
use sandpool::sandbox::wasm::{self, Engine, EngineSettings, WasmSandbox};
use sandpool::sandbox::{Event, Limits, Output};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 7;
const LIMITS: Limits = Limits { wall: Duration::from_secs(600), cpu: None, fuel: None, output_bytes: 1 << 20 };
const FILES: FileLimits = FileLimits { total_bytes: 1 << 30, file_bytes: 1 << 30, count: 10_000 };

struct Language {
    interpreter: &'static str,
    extension: &'static str,
    /// The native interpreter: the variable that names it, its usual name, and how it is given code.
    variable: &'static str,
    native: &'static str,
    arguments: &'static [&'static str],
    /// Times one call of `work()`, in milliseconds, and prints what it gave.
    time_it: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        interpreter: "python",
        extension: "py",
        variable: "SANDPOOL_NATIVE_PYTHON",
        native: "python3.13",
        arguments: &["-I", "-c"],
        time_it: "\nimport time\n_begin = time.perf_counter()\n_gave = work()\nprint((time.perf_counter() - _begin) * 1e3, _gave)\n",
    },
    Language {
        interpreter: "javascript",
        extension: "js",
        variable: "SANDPOOL_NATIVE_QJS",
        native: "qjs",
        arguments: &["-e"],
        time_it: "\nvar begin = performance.now(), gave = work();\nconsole.log(String(performance.now() - begin), String(gave));\n",
    },
];

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for language in LANGUAGES {
        let asked: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        if asked.is_empty() || asked.iter().any(|name| name == language.interpreter) {
            compare(&language, &runtime);
        }
    }
}

fn compare(language: &Language, runtime: &tokio::runtime::Runtime) {
    let native = std::env::var(language.variable).unwrap_or_else(|_| language.native.into());
    let mut programs: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/programs"))
        .expect("the programs are there")
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|p| p.extension().is_some_and(|e| e == language.extension)))
        .collect();
    programs.sort();
    let mut guest = runtime.block_on(guest(language.interpreter));
    println!("| {} program | sandbox | native | ratio |\n|---|---|---|---|", language.interpreter);
    let mut ratios = Vec::new();
    for program in programs {
        let name = program.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let code = std::fs::read_to_string(&program).expect("it can be read") + language.time_it;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (ours, gave) = runtime.block_on(run(&mut guest, &code));
            let (theirs, expected) = run_native(&native, language.arguments, &code);
            assert_eq!(gave, expected, "{name} gives the same in both");
            inside.push(ours);
            outside.push(theirs);
        }
        let (ours, theirs) = (median(inside), median(outside));
        ratios.push(ours / theirs);
        println!("| {name} | {ours:.1} ms | {theirs:.1} ms | {:.2} |", ours / theirs);
    }
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    println!("| geometric mean | | | {mean:.2} |");
}

async fn guest(interpreter: &str) -> WasmSandbox {
    let cache = Cache::new(config::default_cache_dir());
    let progress = |line: &str| eprintln!("{line}");
    let recipe = Recipe::named(interpreter).expect("there is a recipe");
    let (built, _lock) = {
        let lock = cache.lock(|| progress("waiting for another build")).expect("the cache can be locked");
        (interpreter::build(&cache, &recipe, &progress).expect("it can be built"), lock)
    };
    let engine = Engine::new(EngineSettings { slots: 4, memory_bytes: 1 << 30, metered: false }).expect("an engine");
    let image = wasm::image(&engine, &built, &progress).expect("an image");
    let tree = Tree::new(image.base().clone(), FILES, BlobStore::new(std::env::temp_dir(), u64::MAX));
    let mut sandbox = WasmSandbox::new(image, tree, 1 << 30).await.expect("a sandbox");
    sandbox.prepare().await.expect("it can be prepared");
    sandbox
}

async fn run(guest: &mut WasmSandbox, code: &str) -> (f64, String) {
    let output = Arc::new(Output::new(LIMITS.output_bytes));
    guest.run(code, LIMITS, output.clone(), CancellationToken::new()).await;
    let (events, _) = output.take();
    match &events[..] {
        [Event::Stdout { text }] => parse(text),
        other => panic!("the program failed: {other:?}"),
    }
}

fn run_native(program: &str, arguments: &[&str], code: &str) -> (f64, String) {
    let output = Command::new(program).args(arguments).arg(code).output().expect("the native interpreter starts");
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> (f64, String) {
    let (time, gave) = text.trim().split_once(' ').expect("two words");
    (time.parse().expect("a number"), gave.to_owned())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
