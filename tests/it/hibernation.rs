//! Sessions that go to disk and come back, over a socket.

use std::sync::Arc;
use std::time::Duration;

use sandpool::pool::SnapshotPolicy;
use sandpool::snapshot::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guests;
use crate::support::http::{Running, eventually, gateway_kept, gateway_on, gateway_with_past, seal};

const BREAK: &str = "import os\nos._exit(3)";

fn store() -> (TempDir, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("snapshots"), None, seal()).unwrap();
    (folder, store)
}

async fn state(gateway: &Running, identifier: &str) -> Option<String> {
    let answer = gateway.get(&format!("/pools/python/session?identifier={identifier}")).await;
    (answer.status == 200).then(|| answer.json()["state"].as_str().unwrap().to_owned())
}

fn result(answer: &Value) -> &Value {
    &answer["result"]["executionResult"]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_goes_to_disk_and_its_next_call_wakes_it() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| pool.cooldown_seconds = 1).await;
    gateway.run("sleeper", "x = 41\ng = iter('abc')\nnext(g)\nopen('f.txt', 'w').write('text')").await;
    assert_eq!(state(&gateway, "sleeper").await.as_deref(), Some("Idle"));
    eventually("it hibernates", async || state(&gateway, "sleeper").await.as_deref() == Some("Hibernated")).await;
    assert!(gateway.get("/pools/python/listSessions").await.text().contains("Hibernated"));
    let woken = gateway.run("sleeper", "x + 1, next(g), open('f.txt').read()").await;
    assert_eq!((result(&woken), &woken["sessionCreated"]), (&json!("(42, 'b', 'text')"), &json!(false)));
    assert_eq!(state(&gateway, "sleeper").await.as_deref(), Some("Idle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_session_on_disk_can_be_read_written_and_removed() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |_| ()).await;
    gateway
        .run("sleeper", "y = 7\nopen('old.txt', 'w').write('old')\nopen('big', 'wb').write(bytes(range(256)) * 10_000)")
        .await;
    gateway.hibernate().await;
    let content = gateway.get("/pools/python/files/big/content?identifier=sleeper").await;
    assert_eq!(content.body, (0..=255).collect::<Vec<u8>>().repeat(10_000));
    gateway.hibernate().await;
    assert_eq!(gateway.upload("/pools/python/files?identifier=sleeper", "new.txt", b"new").await.status, 200);
    gateway.hibernate().await;
    assert_eq!(gateway.send("DELETE", "/pools/python/files/old.txt?identifier=sleeper", &[], b"").await.status, 204);
    gateway.hibernate().await;
    assert_eq!(result(&gateway.run("sleeper", "import os\nsorted(os.listdir()), y").await), "(['big', 'new.txt'], 7)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_makes_room_before_it_refuses() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| pool.max_concurrent_sessions = 2).await;
    for number in 0..6 {
        assert_eq!(gateway.run(&format!("room-{number}"), &format!("n = {number}")).await["sessionCreated"], true);
    }
    let states = futures_util::future::join_all((0..6).map(|n| {
        let gateway = &gateway;
        async move { state(gateway, &format!("room-{n}")).await.unwrap() }
    }));
    assert_eq!(states.await.iter().filter(|state| *state == "Hibernated").count(), 4);
    for number in [3, 0, 5, 1] {
        let woken = gateway.run(&format!("room-{number}"), "n").await;
        assert_eq!((result(&woken), &woken["sessionCreated"]), (&json!(number), &json!(false)));
    }
    // Those that run cannot make room.
    let busy = (0..2).map(|n| gateway.run(if n == 0 { "room-0" } else { "room-1" }, "import time\ntime.sleep(2)\nn"));
    let refused = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        gateway.post("/pools/python/executions?identifier=another", r#"{"code": "1"}"#).await.code()
    };
    let (_, code) = tokio::join!(futures_util::future::join_all(busy), refused);
    assert_eq!(code, "SessionPoolFull");
    // A fork makes room for all of its children at once.
    let fork = json!({"identifiers": ["child-1", "child-2"]}).to_string();
    assert_eq!(gateway.post("/pools/python/sessions/room-5/fork", &fork).await.status, 201);
    assert_eq!(result(&gateway.run("child-2", "n").await), &json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_runs_short_puts_idle_sessions_to_disk_and_refuses_nobody() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |_| ()).await;
    for number in 0..3 {
        gateway.run(&format!("large-{number}"), "data = bytes(range(256)) * 40_000").await;
    }
    gateway.gateway.hibernate_above(1);
    eventually("all hibernate", async || {
        gateway.get("/pools/python/listSessions").await.text().matches("Hibernated").count() == 3
    })
    .await;
    assert_eq!(result(&gateway.run("large-1", "len(data), data[1000]").await), "(10240000, 232)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_off_the_disk() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |_| ()).await;
    gateway.run("ended", "x = 1").await;
    gateway.hibernate().await;
    assert_eq!(store.sessions("python").unwrap().len(), 1);
    let ended = gateway.send("DELETE", "/pools/python/session?identifier=ended", &[], b"").await;
    assert_eq!((ended.status, store.sessions("python").unwrap().len()), (204, 0));
    assert_eq!(gateway.run("ended", "'x' in globals()").await["sessionCreated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_too_long_or_takes_too_much_of_the_disk_ends() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| pool.retention.seconds = 1).await;
    gateway.run("old-one", "x = 1").await;
    gateway.hibernate().await;
    eventually("its retention ends", async || state(&gateway, "old-one").await.is_none()).await;
    eventually("it is off the disk", async || store.sessions("python").unwrap().is_empty()).await;
    gateway.shut_down().await;

    let gateway = gateway_kept(&store, |pool| pool.retention.bytes = 1_500_000).await;
    for number in 0..3 {
        gateway.run(&format!("large-{number}"), "import os\ndata = os.urandom(600_000)").await;
        gateway.hibernate().await;
    }
    eventually("the earliest used ends", async || store.sessions("python").unwrap().len() == 2).await;
    assert_eq!(gateway.run("large-0", "1").await["sessionCreated"], true);
    assert_eq!(gateway.run("large-2", "1").await["sessionCreated"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_execution_after_a_wake_can_be_undone() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| pool.snapshot = SnapshotPolicy::OnHibernate).await;
    gateway.run("woken", "x = 1").await;
    gateway.hibernate().await;
    assert_eq!(gateway.run("woken", &format!("x = 2\n{BREAK}")).await["sessionRolledBack"], true);
    assert_eq!(result(&gateway.run("woken", "x").await), &json!(1));
    // From here on there is nothing to go back to.
    assert_eq!(gateway.run("woken", BREAK).await["sessionDiscarded"], true);
    assert_eq!(gateway.run("woken", "'x' in globals()").await["sessionCreated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_with_its_image_and_says_when_that_is_gone() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |_| ()).await;
    gateway.run("python-1", "x = 5").await;
    gateway.shut_down().await;

    // The pool has gone over to another image, and nobody has the old one.
    let other = tokio::task::spawn_blocking(|| guests::image_of("javascript")).await.unwrap();
    let hibernates = |pool: &mut sandpool::pool::PoolSpecification| {
        pool.on_cooldown = sandpool::pool::OnCooldown::Hibernate;
    };
    let gateway = gateway_on(&store, other.clone(), hibernates).await;
    for _ in 0..2 {
        let refused = gateway.post("/pools/python/executions?identifier=python-1", r#"{"code": "x"}"#).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "SessionImageGone"));
        assert!(refused.text().contains("another image"), "{}", refused.text());
        let files = gateway.get("/pools/python/files?identifier=python-1").await;
        assert_eq!((files.status, state(&gateway, "python-1").await.as_deref()), (409, Some("Hibernated")));
    }
    assert_eq!(result(&gateway.run("fresh", "1 + 1").await), &json!(2));
    gateway.shut_down().await;

    // It is in the cache after all.
    let python = tokio::task::spawn_blocking(guests::image).await.unwrap();
    let find = move |identity| Ok(Some(python.clone()).filter(|image| image.identity() == identity));
    let gateway = gateway_with_past(&store, other, Arc::new(find), hibernates).await;
    assert_eq!(result(&gateway.run("python-1", "x + 1").await), &json!(6));
    gateway.hibernate().await;
    assert_eq!(result(&gateway.run("python-1", "x + 2").await), &json!(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_and_hibernation_at_the_same_time_lose_nothing() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| pool.max_concurrent_sessions = 3).await;
    let caller = |number: usize| {
        let gateway = &gateway;
        async move {
            let identifier = format!("busy-{number}");
            for round in 0..15 {
                let answer = gateway.run(&identifier, "n = globals().get('n', 0) + 1\nn").await;
                assert_eq!(result(&answer), &json!(round + 1), "{answer}");
            }
        }
    };
    let sleeper = async {
        for _ in 0..60 {
            for (_, session) in gateway.pool.earliest_used(2) {
                let pool = gateway.pool.clone();
                guests::workers().spawn(async move { pool.hibernate(&session).await }).await.unwrap().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(caller(0), caller(1), caller(2), sleeper);
}

/// Tenant A's marker is in A's snapshot, and nowhere else: neither in what follows on its slot nor in its snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_session_on_disk_is_found_in_another() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| {
        pool.max_concurrent_sessions = 1;
        pool.ready_session_instances = 0;
    })
    .await;
    let leave = "import os\nmarker = os.urandom(32).hex()\nhoard = [marker.encode() * 100 for _ in range(300)]\n\
                 open('secret', 'w').write(marker * 1000)\nmarker";
    let marker = gateway.run("tenant-a", leave).await["result"]["executionResult"]
        .as_str()
        .unwrap()
        .trim_matches('\'')
        .to_owned();
    for round in 0..10 {
        let identifier = format!("tenant-{round}");
        // Every page that the allocator can give, written to, so that all of it is in the snapshot.
        gateway
            .run(
                &identifier,
                "blocks = [bytearray(1 << 18) for _ in range(40)]\nfor b in blocks: b[::4096] = b'x' * 64",
            )
            .await;
        let file = gateway.get(&format!("/pools/python/sessions/{identifier}/export")).await;
        assert!(!holds(&file.body, &marker), "round {round}");
        let own = gateway.run("tenant-a", "f'{marker} {len(hoard)} {len(open(\"secret\").read())}'").await;
        assert_eq!(result(&own), &json!(format!("'{marker} 300 64000'")));
    }
    let own = gateway.get("/pools/python/sessions/tenant-a/export").await;
    assert!(holds(&own.body, &marker), "the search finds what is there");
}

/// Whether an exported session holds a text in its memory or its files.
fn holds(file: &[u8], text: &str) -> bool {
    let file = sandpool::snapshot::file::SnapshotFile::read(file, &seal()).unwrap();
    let chunks: Vec<_> = file.manifest.chunks().collect();
    chunks.iter().any(|id| {
        let (bytes, _) = file.fetch(id).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
