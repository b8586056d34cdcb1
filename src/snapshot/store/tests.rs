//! The store by itself, with chunks that stand for nothing.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::sandbox::wasm::ImageIdentity;
use crate::snapshot::chunk::compress;

fn chunk(text: &str) -> (ChunkId, Vec<u8>) {
    let packed = compress(text.as_bytes()).unwrap();
    (ChunkId::of(&packed), packed)
}

/// A snapshot of `chunks`, of which those in `new` are brought along.
fn snapshot(session: &SessionKey, chunks: &[&str], new: &[&str], history: usize) -> NewSnapshot {
    let manifest = Manifest {
        image: ImageIdentity([1; 32]),
        owner: Owner { pool: "python".into(), identifier: "a session".into(), created_at: OffsetDateTime::UNIX_EPOCH },
        number: chunks.len() as u64,
        taken_at: OffsetDateTime::now_utc(),
        cloned: false,
        guest: None,
        tree: chunks.iter().map(|text| chunk(text).0).collect(),
        pieces: Vec::new(),
    };
    let new: HashMap<_, _> = new.iter().map(|text| chunk(text)).collect();
    NewSnapshot { session: session.clone(), manifest, new, bytes: 7, history }
}

fn count(store: &Store, table: &str) -> i64 {
    let count = |connection: &Connection| {
        Ok(connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    };
    store.read(count).unwrap()
}

fn seal() -> Seal {
    Seal::with_key([3; 32])
}

fn open() -> (tempfile::TempDir, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), None, seal()).unwrap();
    (folder, store)
}

#[tokio::test]
async fn chunks_are_shared_and_go_with_the_last_who_has_them() {
    let (_folder, store) = open();
    let (one, other) = (SessionKey::random(), SessionKey::random());
    store.put(snapshot(&one, &["a", "b", "b"], &["a", "b"], 0)).await.unwrap();
    store.put(snapshot(&other, &["b", "c"], &["b", "c"], 0)).await.unwrap();
    assert_eq!((count(&store, "chunk"), count(&store, "content")), (3, 3));
    // What stays is not brought again; what goes is gone.
    store.put(snapshot(&one, &["b", "d"], &["d"], 0)).await.unwrap();
    assert_eq!((count(&store, "chunk"), count(&store, "content"), count(&store, "snapshot")), (3, 3, 2));
    store.end(&one).await.unwrap();
    assert_eq!((count(&store, "chunk"), count(&store, "session")), (2, 1));
    store
        .load(&other, None, |manifest, chunks| {
            let (text, _) = chunks.fetch(&manifest.tree[1])?;
            assert_eq!(text, b"c");
            Ok::<_, RestoreError>(())
        })
        .unwrap();
    store.end(&other).await.unwrap();
    assert_eq!(["chunk", "content", "session", "snapshot"].map(|table| count(&store, table)), [0; 4]);
}

#[tokio::test]
async fn history_is_as_long_as_it_was_told() {
    let (_folder, store) = open();
    let key = SessionKey::random();
    for n in 1..=5 {
        let chunks = vec!["x"; n];
        store.put(snapshot(&key, &chunks, &["x"], 2)).await.unwrap();
    }
    let listed = store.snapshots(&key).unwrap();
    assert_eq!(listed.iter().map(|snapshot| snapshot.number).collect::<Vec<_>>(), [5, 4, 3]);
    let older = store.load(&key, Some(listed[2].id), |manifest, _| Ok::<_, RestoreError>(manifest.number)).unwrap();
    assert_eq!(older, 3);
    let gone = store.load(&key, Some(SnapshotId(1)), |_, _| Ok::<_, RestoreError>(()));
    assert!(matches!(gone, Err(RestoreError::Store(StoreError::NoSnapshot))));
    let others = store.load(&SessionKey::random(), Some(listed[0].id), |_, _| Ok::<_, RestoreError>(()));
    assert!(others.is_err(), "another session's");
}

#[tokio::test]
async fn what_cannot_be_written_changes_nothing_and_hinders_nobody() {
    let (_folder, store) = open();
    let (key, ended, other) = (SessionKey::random(), SessionKey::random(), SessionKey::random());
    store.put(snapshot(&key, &["a"], &["a"], 0)).await.unwrap();
    ended.ended.store(true, Ordering::SeqCst);
    // At the same time, so that they meet in one transaction.
    let (missing, late, good) = tokio::join!(
        store.put(snapshot(&key, &["a", "never written"], &[], 0)),
        store.put(snapshot(&ended, &["b"], &["b"], 0)),
        store.put(snapshot(&other, &["c"], &["c"], 0)),
    );
    assert!(matches!(missing, Err(StoreError::NoChunk)), "{missing:?}");
    assert!(matches!(late, Err(StoreError::Ended)), "{late:?}");
    good.unwrap();
    assert_eq!((count(&store, "snapshot"), count(&store, "chunk")), (2, 2));
    assert_eq!(store.snapshots(&key).unwrap()[0].number, 1, "what was there is there");
}

#[tokio::test]
async fn a_full_store_refuses_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Some(1 << 20), seal()).unwrap();
    let (large, small) = (SessionKey::random(), SessionKey::random());
    let mut filled = snapshot(&large, &[], &[], 0);
    let bytes = vec![7; 2 << 20];
    filled.manifest.tree = vec![ChunkId::of(&bytes)];
    filled.new = HashMap::from([(ChunkId::of(&bytes), bytes)]);
    assert!(matches!(store.put(filled).await, Err(StoreError::Full)));
    store.put(snapshot(&small, &["a"], &["a"], 0)).await.unwrap();
    assert_eq!((count(&store, "session"), count(&store, "content")), (1, 1));
}

#[tokio::test]
async fn it_is_there_after_it_was_closed_and_nobody_else_may_have_it() {
    let (folder, store) = open();
    let path = folder.path().join("store");
    let (first, second) = (SessionKey::random(), SessionKey::random());
    store.put(snapshot(&first, &["a"], &["a"], 0)).await.unwrap();
    // The same identifier, later.
    let mut later = snapshot(&second, &["b"], &["b"], 0);
    later.manifest.owner.created_at = OffsetDateTime::now_utc();
    store.put(later).await.unwrap();
    assert!(matches!(Store::open(&path, None, seal()), Err(StoreError::Taken(_))));
    for entry in path.read_dir().unwrap().chain(folder.path().read_dir().unwrap()) {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let open = entry.metadata().unwrap().permissions().mode() & 0o077;
        assert!(open == 0 || name == "lock", "{name:?} can be read by others");
    }
    drop(store);
    let store = Store::open(&path, None, seal()).unwrap();
    let sessions = store.sessions("python").unwrap();
    assert_eq!(sessions.len(), 1, "the later one stays");
    assert_eq!((sessions[0].key.key, sessions[0].owner.identifier.as_str()), (second.key, "a session"));
    assert!(store.sessions("other").unwrap().is_empty());
}

#[tokio::test]
async fn what_changed_on_the_disk_is_noticed() {
    let (folder, store) = open();
    let key = SessionKey::random();
    let text: String = (0..2000).map(|n| format!("{n} ")).collect();
    store.put(snapshot(&key, &[&text], &[&text], 0)).await.unwrap();
    drop(store);
    let connection = Connection::open(folder.path().join("store/snapshots.db")).unwrap();
    let damage = |table: &str, column: &str, at: usize| {
        let query = format!("SELECT {column} FROM {table}");
        let mut bytes: Vec<u8> = connection.query_row(&query, [], |row| row.get(0)).unwrap();
        bytes[at] ^= 1;
        connection.execute(&format!("UPDATE {table} SET {column} = ?1"), [bytes]).unwrap();
    };
    let load = || {
        let store = Store::open(&folder.path().join("store"), None, seal()).unwrap();
        store.load(&key, None, |manifest, chunks| chunks.fetch(&manifest.tree[0]))
    };
    load().unwrap();
    for (table, column) in [("content", "bytes"), ("snapshot", "manifest")] {
        damage(table, column, 40);
        assert!(matches!(load(), Err(RestoreError::Checksum | RestoreError::Seal)), "{table}");
        damage(table, column, 40);
        load().unwrap();
    }
}
