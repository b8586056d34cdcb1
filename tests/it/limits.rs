//! Every limit is reached by a guest, and what is left of the session afterwards is what was promised.

use std::time::{Duration, Instant};

use sandpool::sandbox::{Event, Exit, Limits};
use tokio_util::sync::CancellationToken;

use crate::support::guests::{FILES, Guest, LIMITS, MEMORY_BYTES, Ran, metered_image};

async fn within(guest: &mut Guest, code: &str, limits: Limits) -> Ran {
    guest.run_within(code, limits, CancellationToken::new()).await
}

fn wall(millis: u64) -> Limits {
    Limits { wall: Duration::from_millis(millis), ..LIMITS }
}

#[tokio::test]
async fn a_timeout_raises_in_the_guest_and_the_session_lives() {
    let mut guest = Guest::new().await;
    for code in ["x = 0\nwhile True: x += 1", "sum(i for i in iter(int, 1))", "import time\nx = 7\ntime.sleep(100)"] {
        let started = Instant::now();
        let ran = within(&mut guest, code, wall(300)).await;
        assert_eq!(ran.report.exit, Exit::TimedOut, "{ran:?}");
        assert!(ran.report.alive);
        assert_eq!(ran.error(), Some("KeyboardInterrupt"));
        assert!(started.elapsed() < Duration::from_secs(10), "it was interrupted, not waited for");
        assert_eq!(guest.run("x > 0").await.result(), Some("True"));
    }
}

#[tokio::test]
async fn code_may_clean_up_after_a_timeout() {
    let mut guest = Guest::new().await;
    let code = "try:\n    while True: pass\nexcept KeyboardInterrupt:\n    print('cleaned')\nfinally:\n    done = True";
    let ran = within(&mut guest, code, wall(200)).await;
    assert_eq!((ran.report.exit, ran.report.alive), (Exit::TimedOut, true));
    assert_eq!(ran.stdout(), "cleaned\n");
    assert_eq!(guest.run("done").await.result(), Some("True"));
}

#[tokio::test]
async fn an_interruption_does_not_reach_the_next_cell() {
    let mut guest = Guest::new().await;
    for _ in 0..20 {
        within(&mut guest, "import time\nfor _ in range(1000): time.sleep(0.001)", wall(20)).await;
        let next = guest.run("sum(range(1000))").await;
        assert_eq!(next.report.exit, Exit::Finished, "{next:?}");
        assert_eq!(next.result(), Some("499500"));
    }
}

#[tokio::test]
async fn a_guest_that_does_not_yield_is_trapped() {
    let mut guest = Guest::new().await;
    let code = "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass";
    let ran = within(&mut guest, code, wall(200)).await;
    assert_eq!((ran.report.exit, ran.report.alive), (Exit::TimedOut, false), "{ran:?}");
}

#[tokio::test]
async fn a_long_call_in_c_is_trapped() {
    let mut guest = Guest::new().await;
    let ran = within(&mut guest, "sum(range(10**12))", wall(200)).await;
    assert_eq!((ran.report.exit, ran.report.alive), (Exit::TimedOut, false), "{ran:?}");
}

#[tokio::test]
async fn cpu_time_is_limited_and_sleep_costs_none() {
    let mut guest = Guest::new().await;
    let limits = Limits { cpu: Some(Duration::from_millis(200)), ..LIMITS };
    let ran = within(&mut guest, "y = 1\nwhile True: pass", limits).await;
    assert_eq!((ran.report.exit, ran.report.alive), (Exit::OutOfCpu, true), "{ran:?}");
    assert!(ran.report.usage.cpu >= Duration::from_millis(200));
    let slept = within(&mut guest, "import time\ntime.sleep(0.5)\ny", limits).await;
    assert_eq!((slept.report.exit, slept.result()), (Exit::Finished, Some("1")), "{slept:?}");
    assert!(slept.report.usage.wall >= Duration::from_millis(500));
}

#[tokio::test]
async fn fuel_is_limited_where_it_is_metered() {
    let mut guest = Guest::on(metered_image()).await;
    let limits = Limits { fuel: Some(200_000_000), ..LIMITS };
    let ran = within(&mut guest, "z = 1\nwhile True: pass", limits).await;
    assert_eq!((ran.report.exit, ran.report.alive), (Exit::OutOfFuel, true), "{ran:?}");
    assert!(ran.report.usage.fuel.is_some_and(|fuel| fuel >= 200_000_000));
    let cheap = within(&mut guest, "z", limits).await;
    assert_eq!(cheap.result(), Some("1"));
    assert!(cheap.report.usage.fuel.is_some_and(|fuel| 0 < fuel && fuel < 200_000_000), "{cheap:?}");
}

#[tokio::test]
async fn memory_is_limited_by_a_memory_error() {
    let mut guest = Guest::new().await;
    for code in ["kept = 1\nb = bytearray(1 << 30)", "hoard = []\nwhile True: hoard.append(bytearray(1 << 20))"] {
        let ran = guest.run(code).await;
        assert_eq!((ran.report.exit, ran.report.alive), (Exit::OutOfMemory, true), "{ran:?}");
        assert_eq!(ran.error(), Some("MemoryError"));
        assert!(ran.report.usage.memory_bytes <= MEMORY_BYTES);
    }
    assert_eq!(guest.run("del hoard\nkept").await.result(), Some("1"));
    assert_eq!(guest.run("len(bytearray(50 << 20))").await.result(), Some("52428800"));
}

#[tokio::test]
async fn output_is_cut_and_counted() {
    let mut guest = Guest::new().await;
    let limits = Limits { output_bytes: 1000, ..LIMITS };
    let ran = within(&mut guest, "for i in range(1000): print('x' * 99)\nw = 5", limits).await;
    assert_eq!(ran.report.exit, Exit::Finished, "a cut output is no failure");
    assert_eq!(ran.stdout().len(), 1000);
    assert_eq!(ran.dropped_bytes, 99_000);
    assert_eq!(ran.report.usage.output_bytes, 100_000);
    let failed = within(&mut guest, "print('x' * 5000)\n1/0", limits).await;
    assert_eq!(failed.error(), Some("ZeroDivisionError"), "an error is told beyond the limit");
}

#[tokio::test]
async fn file_bytes_are_limited() {
    let mut guest = Guest::new().await;
    let code = "f = open('big', 'wb')\nn = 0\nwhile True:\n    n += f.write(bytes(1 << 16))\n    f.flush()";
    let ran = guest.run(code).await;
    assert_eq!(ran.error(), Some("OSError"), "{ran:?}");
    let written = guest.run("n").await;
    let bytes: u64 = written.result().expect("a number").parse().expect("a number");
    assert!(bytes <= FILES.file_bytes && bytes > FILES.file_bytes / 2, "{bytes}");
    let all = guest.run("f.close()\nfor i in range(9): open(f'f{i}', 'wb').write(bytes(1 << 20))").await;
    assert_eq!(all.error(), Some("OSError"), "{all:?}");
    assert!(guest.tree().usage().bytes <= FILES.total_bytes);
    let freed = guest.run("import os\nos.remove('big')\nopen('small', 'w').write('fits')").await;
    assert_eq!(freed.result(), Some("4"), "{freed:?}");
}

#[tokio::test]
async fn file_count_is_limited() {
    let mut guest = Guest::new().await;
    let ran = guest.run("for i in range(10_000): open(f'f{i}', 'w').close()").await;
    assert_eq!(ran.error(), Some("OSError"), "{ran:?}");
    assert!(guest.tree().usage().count <= FILES.count);
    assert_eq!(guest.run("import os\nos.remove('f0')\nopen('g', 'w').close()\n1").await.result(), Some("1"));
}

#[tokio::test]
async fn a_stop_interrupts_at_once() {
    for code in ["while True: pass", "import time\ntime.sleep(100)"] {
        let mut guest = Guest::new().await;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stopping.cancel();
        });
        let started = Instant::now();
        let ran = guest.run_within(code, LIMITS, stop).await;
        assert_eq!((ran.report.exit, ran.report.alive), (Exit::Stopped, true), "{ran:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_guest_that_ends_its_interpreter_ends_its_session() {
    let mut guest = Guest::new().await;
    let ran = guest.run("import os\nos._exit(3)").await;
    assert_eq!((ran.report.exit, ran.report.alive), (Exit::Trapped, false));
    assert!(ran.events.iter().any(|e| matches!(e, Event::Error(error) if error.value == "3")), "{ran:?}");
}

#[tokio::test]
async fn endless_recursion_is_an_error_of_the_code() {
    let mut guest = Guest::new().await;
    let python = guest.run("q = 2\ndef f(): return f()\nf()").await;
    assert_eq!((python.error(), python.report.alive), (Some("RecursionError"), true), "{python:?}");
    let in_c = guest.run("x = []\nfor _ in range(200_000): x = [x]\nrepr(x)").await;
    assert_eq!((in_c.error(), in_c.report.alive), (Some("RecursionError"), true), "{in_c:?}");
    assert_eq!(guest.run("q").await.result(), Some("2"));
}
