//! JavaScript beyond what its corpus of cells can say: limits, interruption, what sessions do not share.

use std::time::{Duration, Instant};

use sandpool::sandbox::{Exit, Limits};
use tokio_util::sync::CancellationToken;

use crate::support::guests::{Guest, LIMITS, Ran, image_of};

async fn guest() -> Guest {
    Guest::on(image_of("javascript")).await
}

async fn within(guest: &mut Guest, code: &str, millis: u64) -> Ran {
    let limits = Limits { wall: Duration::from_millis(millis), ..LIMITS };
    guest.run_within(code, limits, CancellationToken::new()).await
}

#[tokio::test]
async fn a_timeout_raises_in_the_guest_and_the_session_lives() {
    let mut guest = guest().await;
    for code in [
        "x = 0; while (true) x++",
        "x = 1; try { while (true) {} } catch { while (true) {} } finally { while (true) {} }",
        "x = 1; await new Promise(settle => setTimeout(settle, 100000))",
        "x = 1; setInterval(() => x++, 1)",
        "x = 1; const again = () => Promise.resolve().then(again); again()",
        "x = 1; (async () => { while (true) await null })()",
        "x = 1; await (async () => { for (;;) {} })()",
        "x = 1; [1].sort(() => { for (;;) {} }), [2, 1].sort(() => { for (;;) {} })",
        "x = 1; /(a+)+$/.test('a'.repeat(40) + 'b')",
        "x = 1; function* endless() { for (;;) yield 1 } Array.from(endless()).length",
    ] {
        let started = Instant::now();
        let ran = within(&mut guest, code, 200).await;
        assert_eq!((ran.report.exit, ran.report.alive), (Exit::TimedOut, true), "{code}: {ran:?}");
        assert_eq!(ran.error(), Some("InternalError"), "{code}: {ran:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "it was interrupted, not waited for");
        let next = guest.run("x >= 0").await;
        assert_eq!((next.report.exit, next.result()), (Exit::Finished, Some("true")), "{code}: {next:?}");
    }
}

#[tokio::test]
async fn an_interruption_does_not_reach_the_next_cell() {
    let mut guest = guest().await;
    for _ in 0..20 {
        let code = "for (let i = 0; i < 1000; i++) await new Promise(settle => setTimeout(settle, 1))";
        within(&mut guest, code, 20).await;
        let next = guest.run("let sum = 0; for (let i = 0; i < 1000; i++) sum += i; sum").await;
        assert_eq!((next.report.exit, next.result()), (Exit::Finished, Some("499500")), "{next:?}");
    }
}

#[tokio::test]
async fn memory_that_runs_out_is_an_error_and_the_session_lives() {
    let mut guest = guest().await;
    guest.run("const kept = 'here'").await;
    for code in [
        "const list = []; for (;;) list.push(new Array(1000).fill(list.length))",
        "const list = []; for (;;) list.push({ index: list.length })",
        "let text = 'x'; for (;;) text += text",
        "const parts = []; for (;;) parts.push(new Uint8Array(1 << 20))",
        "const map = new Map(); for (let i = 0; ; i++) map.set(i, `value ${i}`)",
        "await (async () => { const list = []; for (;;) list.push(await Promise.resolve([list.length])) })()",
        "new Uint8Array(2 ** 31 - 1)",
    ] {
        let ran = guest.run(&format!("{{ {code} }}")).await;
        assert_eq!((ran.report.exit, ran.report.alive), (Exit::Raised, true), "{code}: {ran:?}");
        assert!(matches!(ran.error(), Some("InternalError" | "RangeError")), "{code}: {ran:?}");
        let next = guest.run("kept").await;
        assert_eq!((next.report.exit, next.result()), (Exit::Finished, Some("'here'")), "{code}: {next:?}");
    }
}

#[tokio::test]
async fn deep_recursion_is_an_error_and_the_session_lives() {
    let mut guest = guest().await;
    for code in [
        "function deeper() { return deeper() + 1 } deeper()",
        "const deeper = (...rest) => deeper(...rest, 1); deeper()",
        "class A { get x() { return this.x } } new A().x",
        "const p = new Proxy({}, { get: (t, k, r) => r[k] }); p.x",
        "const o = { toString() { return `${this}` } }; `${o}`",
        "const o = { valueOf() { return +this } }; +o",
        "const o = { toJSON() { return JSON.stringify(this) } }; JSON.stringify(o)",
        "const f = () => [3, 1, 2].sort(f); f()",
        "const f = () => [1].map(f); f()",
        "const f = () => 'a'.replace('a', f); f()",
        "const f = () => Reflect.apply(f, null, []); f()",
        "const f = () => f.call(); f()",
        "const f = () => Array.from({ length: 1 }, f); f()",
        "let f = () => 1; for (let i = 0; i < 1e5; i++) f = f.bind(null); f()",
        "const f = () => new (class { constructor() { f() } })(); f()",
        "const f = async () => { await f() }; await f()",
        "function* f() { yield* f() } [...f()]",
        "const f = () => eval('f()'); f()",
        "const f = () => new Function('f', 'return f()')(f); f()",
        "eval('('.repeat(100000))",
        "eval('['.repeat(100000))",
        "eval('{'.repeat(100000))",
        "eval('!'.repeat(100000) + '1')",
        "eval('a' + '?1:a'.repeat(0) + '=>a'.repeat(100000))",
        "eval('x'.repeat(1) + '=x'.repeat(100000))",
        "eval('`${'.repeat(100000))",
        "eval('if(1)'.repeat(100000) + ';')",
        "eval('(function(){'.repeat(20000))",
        "JSON.parse('['.repeat(100000))",
        "JSON.parse('{\"a\":'.repeat(100000))",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a)",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; a.flat(Infinity)",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; String(a)",
        "let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x",
        "new RegExp('('.repeat(100000))",
        "new RegExp('(?:'.repeat(50000) + ')'.repeat(50000))",
        "/(?:a|b)*$/.test('ab'.repeat(1000000)), deeper()",
        "let p = Promise.resolve(); for (let i = 0; i < 1e5; i++) p = Promise.resolve(p); throw new RangeError()",
        "let e = new Error('0'); for (let i = 0; i < 1e4; i++) e = new Error('x', { cause: e }); throw e",
        "structuredClone((() => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a })())",
    ] {
        let ran = guest.run(&format!("{{ {code} }}")).await;
        assert!(ran.report.alive, "{code}: {ran:?}");
        let next = guest.run("1 + 1").await;
        assert_eq!((next.report.exit, next.result()), (Exit::Finished, Some("2")), "{code}: {next:?}");
    }
    assert_eq!(guest.run("function deeper() { return deeper() + 1 } deeper()").await.error(), Some("RangeError"));
}

#[tokio::test]
async fn sessions_do_not_share_randomness() {
    let mut seen = std::collections::BTreeSet::new();
    let code = "[Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint32Array(2)).join()].join('\\n')";
    for _ in 0..4 {
        let ran = guest().await.run(code).await;
        seen.extend(ran.result().unwrap().split("\\n").map(str::to_owned));
    }
    assert_eq!(seen.len(), 12, "{seen:?}");
}

#[tokio::test]
async fn sessions_do_not_share_globals() {
    let mut one = guest().await;
    one.run("Array.prototype.last = function () { return this.at(-1) }; globalThis.shared = 1").await;
    assert_eq!(one.run("[1, 2].last()").await.result(), Some("2"));
    assert_eq!(guest().await.run("typeof [].last + typeof shared").await.result(), Some("'undefinedundefined'"));
}

#[tokio::test]
async fn a_sleeping_cell_lets_others_run() {
    let mut sleepers = Vec::new();
    for _ in 0..8 {
        sleepers.push(guest().await);
    }
    let started = Instant::now();
    let naps = sleepers.iter_mut().map(|guest| guest.run("await new Promise(settle => setTimeout(settle, 300)); 1"));
    for ran in futures_util::future::join_all(naps).await {
        assert_eq!(ran.result(), Some("1"));
    }
    assert!(started.elapsed() < Duration::from_millis(1500), "they slept at once, though there are two guest threads");
}
