//! What a live session is, through the disk: written down, dropped, read back, and gone on with.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sandpool::snapshot::store::Store;
use serde_json::Value;

use crate::snapshots::STATES;
use crate::support::http::{Running, gateway_kept, seal};

async fn kept(folder: &tempfile::TempDir) -> Running {
    gateway_kept(&Store::open(folder.path(), None, seal()).unwrap(), |pool| pool.max_concurrent_sessions = 100).await
}

fn shown(answer: &Value) -> String {
    let result = &answer["result"]["executionResult"];
    result.as_str().map_or_else(|| result.to_string(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_states_go_on_after_they_were_on_disk_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), None, seal()).unwrap();
    let gateway = gateway_kept(&store, |pool| pool.max_concurrent_sessions = 100).await;
    for (number, (make, ..)) in STATES.iter().enumerate() {
        let made = gateway.run(&format!("state-{number}"), make).await;
        assert_eq!(made["status"], "Succeeded", "{make}: {made}");
    }
    // Another gateway altogether, which knows nothing but what is on disk.
    gateway.shut_down().await;
    let gateway = gateway_kept(&store, |pool| pool.max_concurrent_sessions = 100).await;
    for (number, (make, go_on, expected)) in STATES.iter().enumerate() {
        let answer = gateway.run(&format!("state-{number}"), go_on).await;
        assert_eq!(answer["sessionCreated"], false, "{make}");
        assert_eq!(&shown(&answer), expected, "{make} / {go_on}: {answer}");
    }
}

/// One line of a program: each works on what others left, whatever that is.
fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..1000i64).prop_map(|n| format!("total = total * 31 + {n}")),
        (0..50usize).prop_map(|n| format!("items.append(items[{n} % len(items)] + str(total % 7))")),
        (1..20usize).prop_map(|n| format!("table[total % {n}] = [len(items), items[-1]]")),
        (1..9usize).prop_map(|n| format!("counters.append(itertools.count(total % 100, {n}))")),
        Just("total += sum(next(c) for c in counters)".to_owned()),
        (1..40usize).prop_map(|n| format!("g = (i * i + total % 3 for i in range({n}))\nnext(g)")),
        Just("total += next(g, 5)".to_owned()),
        (0..30usize).prop_map(|n| format!("with open('f{n}', 'a') as f: f.write(items[-1] + '\\n')")),
        (0..30usize).prop_map(|n| format!("total += len(open('f{n}').read()) if os.path.exists('f{n}') else 1")),
        (1..60usize).prop_map(|n| format!("blob = blob[-50_000:] + bytes([total % 251]) * {n} * 100")),
        Just("total += hash(blob[-100:] == blob[:100]) + len(blob)".to_owned()),
        (2..9usize).prop_map(|n| format!("add = (lambda k, f: lambda v: f(v) + k)({n}, add)")),
        Just("total = add(total) % (10 ** 12)".to_owned()),
        // Seeded by the program: what it draws goes on where it was.
        Just("total += random.randrange(1000)".to_owned()),
        (0..30usize).prop_map(|n| format!("os.rename('f{n}', 'f0') if os.path.exists('f{n}') else None")),
        Just("tree = {'left': tree, 'depth': (tree or {'depth': 0})['depth'] + 1}".to_owned()),
    ]
}

const BEGIN: &str = "import itertools, os, random\nrandom.seed(7)\ntotal, items, table, counters, blob, tree = 1, ['a'], {}, [], b'', None\n\
                     g = iter(range(3))\nadd = lambda v: v";
const END: &str = "deep = 0\nwhile tree: tree, deep = tree['left'], deep + 1\n\
                   (total, items, sorted(table.items()), [next(c) for c in counters], list(g), len(blob), deep, \
                   sorted((n, open(n).read()) for n in os.listdir()))";

/// Random programs, split at a random point: the output is that of the uninterrupted run.
#[test]
fn programs_that_were_on_disk_in_between_end_as_those_that_were_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let gateway = runtime.block_on(kept(&folder));
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let programs = (prop::collection::vec(statement(), 2..25), any::<prop::sample::Index>());
    let serial = std::cell::Cell::new(0);
    let tested = runner.run(&programs, |(program, split)| {
        let number = serial.replace(serial.get() + 1);
        let (whole, cut) = (format!("whole-{number}"), format!("cut-{number}"));
        let (first, second) = program.split_at(split.index(program.len()));
        let join = |lines: &[String]| lines.join("\n");
        let (uninterrupted, interrupted) = runtime.block_on(async {
            gateway.run(&whole, &format!("{BEGIN}\n{}", join(&program))).await;
            let uninterrupted = shown(&gateway.run(&whole, END).await);
            gateway.run(&cut, &format!("{BEGIN}\n{}", join(first))).await;
            gateway.hibernate().await;
            gateway.run(&cut, &join(second)).await;
            gateway.hibernate().await;
            (uninterrupted, shown(&gateway.run(&cut, END).await))
        });
        prop_assert!(uninterrupted.starts_with('('), "{uninterrupted}");
        prop_assert_eq!(uninterrupted, interrupted);
        runtime.block_on(async {
            for identifier in [&whole, &cut] {
                gateway.send("DELETE", &format!("/pools/python/session?identifier={identifier}"), &[], b"").await;
            }
        });
        Ok(())
    });
    tested.unwrap();
    runtime.shutdown_background();
}
