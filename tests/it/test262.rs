//! The JavaScript interpreter against the core language part of test262, in the form in which SpiderMonkey carries it (`js/src/tests/test262` of its
//! sources, which distributions package as `mozjs`). Not run by itself: no package registry has the suite for its own sake.
//!
//! ```sh
//! SANDPOOL_TEST262=FOLDER cargo test --release --test it -- --ignored --nocapture test262
//! ```
//!
//! Every test gets a session of its own: a cell with the harness, and one with the test. What passed is compared with
//! `interpreters/javascript/guest/tests/test262.json`: fewer is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use futures_util::future::join_all;
use sandpool::sandbox::Limits;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::guests::{Guest, LIMITS, image_of};

/// Sessions at once.
const AT_ONCE: usize = 32;
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interpreters/javascript/guest/tests/test262.json");

/// What the harness expects of its host.
const PRELUDE: &str = "
globalThis.reportCompare = (expected, actual) => { print(expected === actual ? 'test262: done' : `test262: ${actual}`) };
globalThis.reportFailure = failure => { print(`test262: ${failure}`) };
globalThis.createIsHTMLDDA = () => undefined;
globalThis.detachArrayBuffer = buffer => { buffer.transfer() };
globalThis.evaluate = text => (0, eval)(text);
globalThis.gc = globalThis.clearKeptObjects = () => {};
";

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    passed: u32,
    failed: u32,
    /// Modules, and what needs several realms or agents.
    skipped: u32,
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SANDPOOL_TEST262, and some minutes"]
async fn as_much_of_test262_passes_as_before() {
    let root = PathBuf::from(env::var_os("SANDPOOL_TEST262").expect("SANDPOOL_TEST262 names the folder"));
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut tests = Vec::new();
    collect(&root.join("language"), &mut tests);
    for some in tests.chunks(AT_ONCE) {
        let outcomes = join_all(some.iter().map(|test| run(&root, test))).await;
        for (test, outcome) in some.iter().zip(outcomes) {
            let below = test.strip_prefix(&root).unwrap();
            let folder: PathBuf = below.parent().unwrap().components().take(2).collect();
            let count = counts.entry(folder.display().to_string()).or_default();
            match outcome {
                Outcome::Passed => count.passed += 1,
                Outcome::Skipped => count.skipped += 1,
                Outcome::Failed(why) => {
                    count.failed += 1;
                    println!("{}: {why}", below.display());
                }
            }
        }
    }
    let before: BTreeMap<String, Count> = serde_json::from_slice(&fs::read(RECORD).unwrap()).unwrap();
    println!("{}", serde_json::to_string_pretty(&counts).unwrap());
    let sum = |of: fn(&Count) -> u32| counts.values().map(of).sum::<u32>();
    println!("{} passed, {} failed, {} skipped", sum(|c| c.passed), sum(|c| c.failed), sum(|c| c.skipped));
    for (folder, count) in before {
        let now = counts.get(&folder).copied().unwrap_or_default();
        assert!(now.passed >= count.passed, "{folder}: {now:?}, before {count:?}");
    }
}

fn collect(folder: &Path, tests: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap().to_str().unwrap();
        if entry.is_dir() {
            collect(&entry, tests);
        } else if name.ends_with(".js") && !matches!(name, "shell.js" | "browser.js") && !name.contains("_FIXTURE") {
            tests.push(entry);
        }
    }
}

/// The `shell.js` of each folder down to the test's: they have the harness's files that its tests include.
fn harness(root: &Path, test: &Path) -> String {
    let mut text = PRELUDE.to_owned();
    let mut folder = root.to_owned();
    for part in test.parent().unwrap().strip_prefix(root).unwrap() {
        text += &fs::read_to_string(folder.join("shell.js")).unwrap_or_default();
        folder.push(part);
    }
    text += &fs::read_to_string(folder.join("shell.js")).unwrap_or_default();
    text + &fixtures(&folder)
}

/// Writes the modules that the tests of a folder import to where a cell's imports start from.
fn fixtures(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let content = fs::read_to_string(&path).ok().filter(|_| name.contains("_FIXTURE"))?;
        Some(format!("\nrequire('fs').writeFileSync({}, {});", json!(name), json!(content)))
    };
    entries.filter_map(of).collect()
}

/// The error that a test is to raise, from the comment that describes it.
fn negative(source: &str) -> Option<&str> {
    let described = source.split_once("/*---")?.1.split_once("---*/")?.0;
    described.split_once("\nnegative:")?.1.split_once("type:")?.1.split_whitespace().next()
}

async fn run(root: &Path, test: &Path) -> Outcome {
    // A few tests are no UTF-8, on purpose or not.
    let source = String::from_utf8_lossy(&fs::read(test).unwrap()).into_owned();
    let first = source.lines().next().unwrap_or_default();
    let directive = if first.contains("|reftest|") { first } else { "" };
    let needs = ["createRealm", "$262.agent", "IsHTMLDDA", "AbstractModuleSource"];
    if directive.contains(" module") || directive.contains(" skip") || needs.iter().any(|need| source.contains(need)) {
        return Outcome::Skipped;
    }
    let wanted = negative(&source);
    let mut guest = Guest::on(image_of("javascript")).await;
    let prepared = guest.run(&harness(root, test)).await;
    if let Some(error) = prepared.error() {
        return Outcome::Failed(format!("harness: {error}"));
    }
    let limits = Limits { wall: Duration::from_secs(20), ..LIMITS };
    let ran = guest.run_within(&source, limits, CancellationToken::new()).await;
    match (ran.error(), wanted) {
        (Some(error), Some(wanted)) if error == wanted => Outcome::Passed,
        (None, None) if ran.stdout().contains("test262: done") => Outcome::Passed,
        _ => {
            let error = ran.events.iter().find(|event| matches!(event, sandpool::sandbox::Event::Error(_)));
            Outcome::Failed(format!("{:?} {error:?} {:.200}", ran.report.exit, ran.stdout()))
        }
    }
}
