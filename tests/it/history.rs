//! A session's moments, over a socket: listed, gone back to, branched from, carried away and brought back.

use std::sync::Arc;

use sandpool::snapshot::store::Store;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::http::{Answer, Running, gateway, gateway_kept, seal};

fn store() -> (TempDir, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), None, seal()).unwrap();
    (folder, store)
}

fn result(answer: &Value) -> &Value {
    &answer["result"]["executionResult"]
}

async fn post(gateway: &Running, path: &str, body: &Value) -> Answer {
    gateway.post(&format!("/pools/python/sessions/{path}"), &body.to_string()).await
}

async fn import(gateway: &Running, identifier: &str, file: &[u8]) -> Answer {
    let path = format!("/pools/python/sessions/{identifier}/import");
    gateway.send("POST", &path, &[("content-type", "application/octet-stream")], file).await
}

async fn snapshots(gateway: &Running, identifier: &str) -> Vec<Value> {
    let list = gateway.get(&format!("/pools/python/sessions/{identifier}/snapshots")).await.json();
    list["value"].as_array().unwrap_or_else(|| panic!("{list}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_pool_keeps_as_many_moments_as_it_was_told() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| (pool.durable, pool.history) = (true, 3)).await;
    for n in 1..=6 {
        assert_eq!(gateway.run("writer", &format!("n = {n}\nopen('n', 'w').write('{n}')")).await["sessionKept"], true);
    }
    let listed = snapshots(&gateway, "writer").await;
    let executions: Vec<_> = listed.iter().map(|snapshot| snapshot["executions"].as_u64().unwrap()).collect();
    assert_eq!(executions, [6, 5, 4, 3]);
    assert!(listed[0]["sizeInBytes"].as_u64().unwrap() < 200_000, "{listed:?}");

    // A branch at one of them, and the session itself set back to it.
    let id = &listed[2]["id"];
    let forked = post(&gateway, "writer/fork", &json!({"identifiers": ["branch"], "snapshot": id})).await;
    assert_eq!(forked.status, 201, "{}", forked.text());
    assert_eq!(result(&gateway.run("branch", "n, open('n').read()").await), "(4, '4')");
    assert_eq!(result(&gateway.run("writer", "n").await), &json!(6));
    let restored = post(&gateway, &format!("writer/snapshots/{id}/restore"), &json!(null)).await;
    // The seventh execution has pushed the oldest out; this one is there still.
    assert_eq!(restored.status, 200, "{}", restored.text());
    assert_eq!(result(&gateway.run("writer", "n, open('n').read()").await), "(4, '4')");
    // What was gone back to is what is on disk.
    gateway.shut_down().await;
    let gateway = gateway_kept(&store, |pool| pool.durable = true).await;
    assert_eq!(result(&gateway.run("writer", "n").await), &json!(4));
    assert_eq!(result(&gateway.run("branch", "n").await), &json!(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_can_be_taken_and_gone_back_to_by_hand() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |pool| pool.history = 2).await;
    gateway.run("session", "x = 1").await;
    let taken = post(&gateway, "session/snapshots", &json!(null)).await;
    assert_eq!((taken.status, &taken.json()["executions"]), (201, &json!(1)), "{}", taken.text());
    gateway.run("session", "x = 2\ng = (i for i in range(9))\nnext(g)").await;
    let restore = format!("session/snapshots/{}/restore", taken.json()["id"]);
    for _ in 0..2 {
        assert_eq!(post(&gateway, &restore, &json!(null)).await.status, 200);
        assert_eq!(result(&gateway.run("session", "x, 'g' in globals()").await), "(1, False)");
    }
    gateway.hibernate().await;
    assert_eq!(post(&gateway, &restore, &json!(null)).await.status, 200, "asleep as well");
    assert_eq!(result(&gateway.run("session", "x").await), &json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told() {
    let (_folder, store) = store();
    let kept = gateway_kept(&store, |_| ()).await;
    kept.run("there", "x = 1").await;
    kept.run("other", "x = 1").await;
    kept.hibernate().await;
    let others = snapshots(&kept, "other").await[0]["id"].clone();
    for (path, status, code) in [
        ("nobody/snapshots".to_owned(), 400, "SessionWithIdentifierNotFound"),
        ("there/snapshots/999/restore".into(), 404, "SnapshotNotFound"),
        // Another session's is none of this one's.
        (format!("there/snapshots/{others}/restore"), 404, "SnapshotNotFound"),
        ("there/snapshots/x/restore".into(), 404, "SnapshotNotFound"),
        ("there/snapshots/-1/restore".into(), 404, "SnapshotNotFound"),
        ("there/snapshots/99999999999999999999/restore".into(), 404, "SnapshotNotFound"),
    ] {
        let answer = post(&kept, &path, &json!(null)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    let fork = json!({"identifiers": ["child"], "snapshot": others});
    assert_eq!(post(&kept, "there/fork", &fork).await.code(), "SnapshotNotFound");
    let export = kept.get("/pools/python/sessions/there/export?snapshot=nonsense").await;
    assert_eq!((export.status, kept.get("/pools/python/sessions/nobody/export").await.status), (400, 400));
    let plain = gateway().await;
    plain.run("there", "x = 1").await;
    assert_eq!(post(&plain, "there/snapshots", &json!(null)).await.code(), "SnapshotsNotKept");
    assert_eq!(plain.get("/pools/python/sessions/there/snapshots").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_session_goes_on_where_it_is_brought() {
    // Without a store: neither end needs one.
    let (here, there) = (gateway().await, gateway().await);
    let make = "import random\nf = open('log', 'w+')\nf.write('abc')\ng = (i for i in range(9))\nnext(g)\nopen('big', 'wb').write(b'z' * 3_000_000)";
    here.run("traveller", make).await;
    let file = here.get("/pools/python/sessions/traveller/export").await;
    assert_eq!((file.status, file.header("content-type")), (200, Some("application/octet-stream")));
    assert!(file.body.len() < 200_000, "{} bytes", file.body.len());
    let mut drawn = Vec::new();
    for identifier in ["arrived-1", "arrived-2"] {
        assert_eq!(import(&there, identifier, &file.body).await.status, 201);
        let answer = there.run(identifier, "next(g), f.tell(), len(open('big').read()), random.random()").await;
        let text = result(&answer).as_str().unwrap().to_owned();
        assert!(text.starts_with("(1, 3, 3000000, "), "{text}");
        drawn.push(text);
    }
    assert_ne!(drawn[0], drawn[1], "both have the same randomness");
    assert_eq!(import(&there, "arrived-1", &file.body).await.code(), "SessionExists");
    assert_eq!(import(&there, "abc", &file.body).await.code(), "InvalidLengthOfSessionIdentifier");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_touched_is_refused() {
    let gateway = gateway().await;
    gateway.run("source", "x = 1\nopen('f', 'w').write('content')").await;
    let file = gateway.get("/pools/python/sessions/source/export").await.body;
    let refused = async |bytes: &[u8], what: &str| {
        let answer = import(&gateway, "victim", bytes).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "SnapshotInvalid"), "{what}: {}", answer.text());
    };
    for at in (0..file.len()).step_by(file.len() / 60) {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        refused(&flipped, &format!("byte {at}")).await;
        refused(&file[..at], &format!("cut at {at}")).await;
    }
    refused(b"", "nothing").await;
    refused(&[file.as_slice(), b"x"].concat(), "more").await;
    refused(&vec![0; 1 << 20], "zeros").await;
    let sessions = gateway.get("/pools/python/listSessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "none was made");
}

/// Also when it sleeps before it has run anything, and its own state is still its parent's.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_never_draws_what_its_parent_draws_and_a_session_that_slept_goes_on() {
    let (_folder, store) = store();
    let gateway = gateway_kept(&store, |_| ()).await;
    gateway.run("parent", "import random\nrandom.seed(7)\nrandom.random()").await;
    let forked = post(&gateway, "parent/fork", &json!({"identifiers": ["child"]})).await;
    assert_eq!(forked.status, 201, "{}", forked.text());
    gateway.hibernate().await;
    let expected = {
        gateway.run("reference", "import random\nrandom.seed(7)\nrandom.random()").await;
        gateway.run("reference", "random.random()").await
    };
    let (parent, child) =
        (gateway.run("parent", "random.random()").await, gateway.run("child", "random.random()").await);
    assert_eq!(result(&parent), result(&expected));
    assert_ne!(result(&child), result(&expected));
}

/// Whoever can compute a checksum cannot make a snapshot: neither one of their own, nor another's theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_gateway_with_the_key_wrote_is_refused() {
    let gateway = gateway().await;
    gateway.run("source", "x = 1").await;
    let file = gateway.get("/pools/python/sessions/source/export").await.body;
    let at = file.windows(6).position(|bytes| bytes == b"python").expect("the pool is named in it");
    let mut forged = file.clone();
    forged[at..at + 6].copy_from_slice(b"others");
    let body = forged.len() - 32;
    let checksum: [u8; 32] = Sha256::digest(&forged[..body]).into();
    forged[body..].copy_from_slice(&checksum);
    let answer = import(&gateway, "victim", &forged).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "SnapshotInvalid"), "{}", answer.text());
    assert!(answer.text().contains("sealed with another key"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_pool_or_of_more_than_a_pool_allows_is_refused() {
    let (_folder, store) = store();
    let python = gateway().await;
    python.run("source", "data = bytes(100_000_000)\nopen('f', 'wb').write(b'x' * 100_000)").await;
    let file = python.get("/pools/python/sessions/source/export").await.body;
    for (what, small) in [
        ("memory", gateway_kept(&store, |pool| pool.limits.memory_mebibytes = 100).await),
        (
            "files",
            gateway_kept(&store, |pool| {
                (pool.limits.files_bytes, pool.limits.file_bytes, pool.limits.upload_bytes) = (90_000, 90_000, 90_000);
            })
            .await,
        ),
    ] {
        let answer = import(&small, "victim", &file).await;
        assert!(matches!(answer.code().as_str(), "SnapshotInvalid" | "RequestBodyTooLarge"), "{}", answer.text());
        assert!(answer.text().contains(what) || answer.status == 413, "{}", answer.text());
    }
    let other = gateway_kept(&store, |pool| pool.name = sandpool::pool::PoolName::new("other").unwrap()).await;
    let path = "/pools/other/sessions/victim/import";
    let answer = other.send("POST", path, &[("content-type", "application/octet-stream")], &file).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "SnapshotInvalid"), "{}", answer.text());
    assert!(answer.text().contains("another pool"), "{}", answer.text());
}
