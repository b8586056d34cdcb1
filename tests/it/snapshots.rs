//! Sessions that are captured whole: rolled back when an execution breaks them, and forked.

use sandpool::access::Access;
use sandpool::api::serve::Connections;
use sandpool::pool::SnapshotPolicy;
use serde_json::{Value, json};

use crate::support::guests::Guest;
use crate::support::http::{Running, gateway, gateway_with};

/// Ends the interpreter under the guest's feet.
const BREAK: &str = "import os\nos._exit(3)";

async fn keeping() -> Running {
    gateway_with(Access::open(), Connections::default(), |pool| pool.snapshot = SnapshotPolicy::AfterEach).await
}

async fn fork(gateway: &Running, parent: &str, children: &[&str]) -> (u16, Value) {
    let body = json!({ "identifiers": children }).to_string();
    let answer = gateway.post(&format!("/pools/python/sessions/{parent}/fork"), &body).await;
    (answer.status, answer.json())
}

fn result(answer: &Value) -> &Value {
    &answer["result"]["executionResult"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_session_goes_on_as_it_was_before() {
    let gateway = keeping().await;
    gateway.run("broken", "x = 1\nopen('kept.txt', 'w').write('kept')\ng = iter(range(10))\nnext(g)").await;
    let broken = gateway.run("broken", &format!("x = 2\nopen('lost.txt', 'w').write('lost')\nnext(g)\n{BREAK}")).await;
    assert_eq!((&broken["sessionRolledBack"], &broken["sessionDiscarded"]), (&json!(true), &json!(false)));
    assert_eq!(broken["files"], json!([]));
    assert!(broken["result"]["stderr"].as_str().unwrap().contains("rolled back"), "{broken}");
    let after = gateway.run("broken", "import os\nx, next(g), os.listdir(), open('kept.txt').read()").await;
    assert_eq!(result(&after), "(1, 1, ['kept.txt'], 'kept')");
    assert_eq!(after["sessionCreated"], false);
    let list = gateway.get("/pools/python/files?identifier=broken&api-version=2025-10-02-preview").await.json();
    assert_eq!(list["value"].as_array().unwrap().len(), 1, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_execution_that_breaks_keeps_what_was_uploaded() {
    let gateway = keeping().await;
    gateway.upload("/pools/python/files?identifier=uploaded", "data.csv", b"a,b\n").await;
    assert_eq!(gateway.run("uploaded", BREAK).await["sessionRolledBack"], true);
    assert_eq!(result(&gateway.run("uploaded", "open('data.csv').read()").await), "'a,b\\n'");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_and_code_did_to_files_between_executions_stays() {
    let gateway = keeping().await;
    gateway.run("files", "for n in 'abc': open(n, 'w').write(n)").await;
    // A removal alone is a change as well.
    gateway.run("files", "import os\nos.remove('a')").await;
    gateway.send("DELETE", "/pools/python/files/b?identifier=files", &[], b"").await;
    gateway.upload("/pools/python/files?identifier=files", "d", b"d").await;
    assert_eq!(gateway.run("files", BREAK).await["sessionRolledBack"], true);
    assert_eq!(result(&gateway.run("files", "import os\nsorted(os.listdir())").await), "['c', 'd']");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_snapshots_a_broken_session_is_discarded() {
    let gateway = gateway().await;
    gateway.run("discarded", "x = 1").await;
    let broken = gateway.run("discarded", BREAK).await;
    assert_eq!((&broken["sessionRolledBack"], &broken["sessionDiscarded"]), (&json!(false), &json!(true)));
    assert_eq!(gateway.run("discarded", "'x' in globals()").await["sessionCreated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_begin_as_their_parent_is_and_go_their_own_ways() {
    let gateway = gateway().await;
    let state = "import random\nclass Counter:\n    __slots__ = 'n'\n    def __init__(self): self.n = 7\nc = Counter()\n\
                 def adder(k):\n    return lambda v: v + k\nadd = adder(3)\ng = (i * i for i in range(10))\nnext(g); next(g)\n\
                 f = open('log.txt', 'w+')\nf.write('abc')\nf.flush()";
    gateway.run("parent", state).await;
    let (status, body) = fork(&gateway, "parent", &["child-1", "child-2"]).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["value"][1]["identifier"], "child-2");
    let look = "c.n, add(1), next(g), f.tell(), random.random()";
    let mut seen = Vec::new();
    for identifier in ["child-1", "child-2", "parent"] {
        let answer = gateway.run(identifier, look).await;
        assert_eq!(answer["sessionCreated"], false, "{answer}");
        let text = result(&answer).as_str().unwrap().to_owned();
        assert!(text.starts_with("(7, 4, 4, 3, "), "{text}");
        seen.push(text);
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "clones share randomness: {seen:?}");
    gateway.run("child-1", "c.n = 8\nf.write('child')\nf.close()").await;
    assert_eq!(result(&gateway.run("child-2", "c.n, open('log.txt').read()").await), "(7, 'abc')");
    assert_eq!(result(&gateway.run("parent", "f.write('d')\nf.flush()\nopen('log.txt').read()").await), "'abcd'");
    assert_eq!(result(&gateway.run("child-1", "open('log.txt').read()").await), "'abcchild'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_has_not_run_yet_can_be_given_files_and_be_forked() {
    let gateway = gateway().await;
    gateway.run("grand", "x = 41").await;
    assert_eq!(fork(&gateway, "grand", &["middle"]).await.0, 201);
    gateway.upload("/pools/python/files?identifier=middle", "new.txt", b"new").await;
    assert_eq!(fork(&gateway, "middle", &["young"]).await.0, 201);
    assert_eq!(result(&gateway.run("young", "x + 1, open('new.txt').read()").await), "(42, 'new')");
    assert_eq!(result(&gateway.run("grand", "import os\nos.listdir()").await), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_all_or_nothing() {
    let gateway = gateway().await;
    gateway.run("source", "x = 1").await;
    gateway.run("there", "y = 1").await;
    let code = |(status, body): (u16, Value)| (status, body["error"]["code"].as_str().unwrap_or_default().to_owned());
    assert_eq!(code(fork(&gateway, "nobody", &["child"]).await), (400, "SessionWithIdentifierNotFound".into()));
    assert_eq!(code(fork(&gateway, "source", &["new-1", "there"]).await), (409, "SessionExists".into()));
    let many = ["a-1", "a-2", "a-3", "a-4", "a-5"].map(|name| format!("child-{name}"));
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(fork(&gateway, "source", &many).await), (429, "SessionPoolFull".into()));
    for wrong in [&[][..], &["abc"], &["twice", "twice"]] {
        assert_eq!(fork(&gateway, "source", wrong).await.0, 400, "{wrong:?}");
    }
    assert_eq!(gateway.get("/pools/python/listSessions").await.json()["sessions"].as_array().unwrap().len(), 2);
}

/// Live states that a pickle would lose, each with a cell that makes it and one that goes on from it.
pub const STATES: &[(&str, &str, &str)] = &[
    ("x = 0\ndef bump():\n    global x\n    x += 1\n    return x\nbump()", "bump()", "2"),
    (
        "def outer():\n    n = 0\n    def inner():\n        nonlocal n\n        n += 1\n        return n\n    return inner\nf = outer()\nf()",
        "f()",
        "2",
    ),
    ("def gen():\n    got = yield 1\n    yield got * 2\ng = gen()\nnext(g)", "g.send(21)", "42"),
    ("import itertools\nc = itertools.chain([1, 2], itertools.count(10))\nnext(c), next(c)", "next(c)", "10"),
    (
        "import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.execute('create table t(a)')\ndb.execute('insert into t values (5)')",
        "db.execute('select a from t').fetchone()",
        "(5,)",
    ),
    ("import re\np = re.compile(r'(\\d+)-(?P<n>\\w)')", "p.match('12-x').group('n')", "'x'"),
    ("import weakref\nclass A: pass\na = A()\nw = weakref.ref(a)", "w() is a", "True"),
    ("big = 3 ** 5000", "big % 1000007 == pow(3, 5000, 1000007)", "True"),
    ("import asyncio\nasync def later():\n    await asyncio.sleep(0)\n    return 9\ntask = later()", "await task", "9"),
    ("import array\nnumbers = array.array('d', range(200000))", "sum(numbers)", "19999900000.0"),
    ("import sys\nsys.setrecursionlimit(500)", "sys.getrecursionlimit()", "500"),
    (
        "class P:\n    __slots__ = ('a', '__weakref__')\n    @property\n    def twice(self): return self.a * 2\np = P()\np.a = 4",
        "p.a += 1\np.twice",
        "10",
    ),
    ("f = open('half.txt', 'w+')\nf.write('abcdef')\nf.seek(2)", "f.read(3), f.tell()", "('cde', 5)"),
    (
        "def deep(n):\n    yield n\n    if n: yield from deep(n - 1)\nd = deep(50)\nfor _ in range(25): last = next(d)",
        "last, next(d), sum(d)",
        "(26, 25, 300)",
    ),
    (
        "import functools\n@functools.lru_cache\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(80)",
        "fib.cache_info().currsize, fib(80)",
        "(81, 23416728348467685)",
    ),
    (
        "import decimal, datetime\nt = datetime.timedelta(days=3)\nd = decimal.Decimal('1.10')",
        "t * 2, d + 1",
        "(datetime.timedelta(days=6), Decimal('2.10'))",
    ),
    (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    kept = e",
        "type(kept).__name__, kept.__traceback__.tb_lineno",
        "('ZeroDivisionError', 2)",
    ),
    ("import time\nbefore = time.monotonic()", "time.monotonic() >= before", "True"),
    ("import io\nbuffer = io.StringIO('line 1\\nline 2')\nbuffer.readline()", "buffer.readline()", "'line 2'"),
    (
        "from contextlib import contextmanager\n@contextmanager\ndef m():\n    yield 5\ncm = m()\nv = cm.__enter__()",
        "cm.__exit__(None, None, None), v",
        "(False, 5)",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn live_states_go_on_in_a_fork() {
    let gateway = gateway().await;
    for (number, (make, go_on, expected)) in STATES.iter().enumerate() {
        let (parent, child) = (format!("state-{number}"), format!("forked-{number}"));
        let made = gateway.run(&parent, make).await;
        assert_eq!(made["status"], "Succeeded", "{make}: {made}");
        assert_eq!(fork(&gateway, &parent, &[&child]).await.0, 201);
        for identifier in [&child, &parent] {
            let answer = gateway.run(identifier, go_on).await;
            let result = &answer["result"]["executionResult"];
            let text = result.as_str().map_or_else(|| result.to_string(), str::to_owned);
            assert_eq!(&text, expected, "{make} / {go_on}: {answer}");
            gateway.send("DELETE", &format!("/pools/python/session?identifier={identifier}"), &[], b"").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_and_a_comparison_find_the_same_pages() {
    let mut guest = Guest::new().await;
    let first = guest.sandbox().capture(None);
    assert!(first.is_same_as(&guest.sandbox().capture_by_comparing(None)));
    let code = "data = bytearray(b'x' * 3_000_000)\nwith open('f', 'w') as f: f.write('y')\nopened = open('f')";
    assert_eq!(guest.run(code).await.error(), None);
    let second = guest.sandbox().capture(Some(&first));
    assert!(second.is_same_as(&guest.sandbox().capture_by_comparing(Some(&first))));
    // The text that the array was made from has left its pages, too.
    assert!(second.own_bytes() > 3_000_000 && second.own_bytes() < 8_000_000, "{second:?}");
    assert!(!second.opens_the_same(&first));
    // What did not change since is shared.
    let third = guest.sandbox().capture(Some(&second));
    assert_eq!(third.bytes_beside(&second), 0);
}
