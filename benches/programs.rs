//! How fast the interpreters themselves are: `cargo bench --bench programs [-- python|packages|javascript]`.
//!
//! Runs every program of `benches/programs/` in a sandbox and under a native interpreter of the same version, in turn, and
//! prints the ratio of the medians. `$SANDPOOL_NATIVE_PYTHON` (else `python3.13`) and `$SANDPOOL_NATIVE_QJS` (else `qjs`) name
//! the native ones. Build them with `-O3`, without profile-guided or link-time optimisation, to compare like with like. For
//! `packages` the native Python has numpy and pandas of the versions that the full edition has (`python3.13 -m venv`, pip).

mod support;

use std::process::Command;

use sandpool::interpreter::Recipe;

const ROUNDS: usize = 7;

struct Language {
    /// The folder of its programs, and the argument that chooses it.
    name: &'static str,
    recipe: fn() -> Recipe,
    /// The native interpreter: the variable that names it, its usual name, and how it is given code.
    variable: &'static str,
    native: &'static str,
    arguments: &'static [&'static str],
    /// Times one call of `work()`, in milliseconds, and prints what it gave.
    time_it: &'static str,
}

const PYTHON: Language = Language {
    name: "python",
    recipe: || Recipe::named("python").expect("there is a recipe"),
    variable: "SANDPOOL_NATIVE_PYTHON",
    native: "python3.13",
    arguments: &["-I", "-c"],
    time_it: "\nimport time\n_begin = time.perf_counter()\n_gave = work()\nprint((time.perf_counter() - _begin) * 1e3, _gave)\n",
};

const LANGUAGES: [Language; 3] = [
    PYTHON,
    Language {
        name: "packages",
        recipe: || Recipe::editions("python").expect("there is a recipe").pop().expect("it has an edition"),
        ..PYTHON
    },
    Language {
        name: "javascript",
        recipe: || Recipe::named("javascript").expect("there is a recipe"),
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
        if asked.is_empty() || asked.iter().any(|name| name == language.name) {
            compare(&language, &runtime);
        }
    }
}

fn compare(language: &Language, runtime: &tokio::runtime::Runtime) {
    let native = std::env::var(language.variable).unwrap_or_else(|_| language.native.into());
    let folder = format!("{}/benches/programs/{}", env!("CARGO_MANIFEST_DIR"), language.name);
    let folder = std::fs::read_dir(folder).expect("the programs are there");
    let mut programs: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    programs.sort();
    let (image, _) = support::image(&(language.recipe)(), 4);
    let mut guest = runtime.block_on(support::ready(&image));
    println!("| {} program | sandbox | native | ratio |\n|---|---|---|---|", language.name);
    let mut ratios = Vec::new();
    for program in programs {
        let name = program.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let code = std::fs::read_to_string(&program).expect("it can be read") + language.time_it;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (ours, gave) = parse(&runtime.block_on(support::run(&mut guest, &code)));
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
