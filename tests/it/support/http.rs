//! A small HTTP client that checks every answer against the contract, and a gateway to call.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandpool::access::Access;
use sandpool::api::contract::{Seen, check_response};
use sandpool::api::serve::{Connections, serve};
use sandpool::gateway::{Control, Gateway, Opener};
use sandpool::interpreter::{Package, Packages};
use sandpool::pool::{
    Facilities, FindImage, Keeping, NotOpened, OnCooldown, Pool, PoolName, PoolSpecification, PoolStore,
};
use sandpool::records::{Records, RecordsSettings};
use sandpool::sandbox::wasm::Image;
use sandpool::snapshot::Seal;
use sandpool::snapshot::store::Store;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::guests;

/// A gateway with one pool called `python`, on a port of its own. It stops when this is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub gateway: Gateway,
    pub pool: Arc<Pool>,
    pub stop: CancellationToken,
    pub served: tokio::task::JoinHandle<bool>,
    _stops: DropGuard,
    _folder: TempDir,
}

/// A gateway that everybody may call.
pub async fn gateway() -> Running {
    gateway_with(Access::open(), Connections::default(), |_| ()).await
}

/// A gateway with other settings.
pub async fn gateway_with(
    access: Access,
    connections: Connections,
    adjust: impl FnOnce(&mut PoolSpecification),
) -> Running {
    gateway_at(None, access, connections, adjust).await
}

/// A gateway that keeps the pools that are made in this folder. All its pools have the same guest.
pub async fn gateway_at(
    data_dir: Option<&Path>,
    access: Access,
    connections: Connections,
    adjust: impl FnOnce(&mut PoolSpecification),
) -> Running {
    // Making the image runs a runtime of its own.
    let image = tokio::task::spawn_blocking(guests::image).await.expect("an image");
    let records = records();
    let kept = records.1.clone();
    let opener = InMemory { image, records: kept };
    let pool = opener.open(specification(adjust), true).expect("it opens");
    let control = data_dir.map(|folder| {
        let store = PoolStore::open(folder).unwrap();
        Control { store, opener: Box::new(opener), containers: None }
    });
    gateway_of(pool, control, access, connections, records).await
}

/// Opens pools whose sessions do not go to disk.
struct InMemory {
    image: Arc<Image>,
    records: Records,
}

impl Opener for InMemory {
    fn open(&self, specification: PoolSpecification, _: bool) -> Result<Arc<Pool>, NotOpened> {
        Ok(Pool::open(specification, self.image.clone(), packages(), facilities(&self.records)))
    }

    fn clear(&self, _: &PoolName) -> Result<(), NotOpened> {
        Ok(())
    }
}

/// A gateway whose sessions go to `store`, on `image`; it finds no image of the past.
pub async fn gateway_on(store: &Arc<Store>, image: Arc<Image>, adjust: impl FnOnce(&mut PoolSpecification)) -> Running {
    gateway_with_past(store, image, Arc::new(|_| Ok(None)), adjust).await
}

/// The same, with the images of the past that `find` finds.
pub async fn gateway_with_past(
    store: &Arc<Store>,
    image: Arc<Image>,
    find: Arc<FindImage>,
    adjust: impl FnOnce(&mut PoolSpecification),
) -> Running {
    let (keeping, records) = (Keeping::new(store.clone(), find), records());
    let pool = Pool::open_kept(specification(adjust), image, packages(), facilities(&records.1), keeping);
    let pool = pool.expect("the store can be read");
    gateway_of(pool, None, Access::default(), Connections::default(), records).await
}

/// The same on the Python image, with sessions that hibernate.
pub async fn gateway_kept(store: &Arc<Store>, adjust: impl FnOnce(&mut PoolSpecification)) -> Running {
    let image = tokio::task::spawn_blocking(guests::image).await.expect("an image");
    let hibernating = |pool: &mut PoolSpecification| {
        pool.on_cooldown = OnCooldown::Hibernate;
        adjust(pool);
    };
    gateway_on(store, image, hibernating).await
}

fn packages() -> Arc<Packages> {
    let runtime = Package { name: "python".into(), version: "3".into() };
    Arc::new(Packages { runtime, packages: Vec::new() })
}

fn specification(adjust: impl FnOnce(&mut PoolSpecification)) -> PoolSpecification {
    let mut specification = PoolSpecification::named(PoolName::new("python").unwrap());
    specification.max_concurrent_sessions = 6;
    specification.ready_session_instances = 1;
    specification.limits.memory_mebibytes = 256;
    adjust(&mut specification);
    specification
}

/// The key that snapshots are sealed with.
pub fn seal() -> Seal {
    Seal::with_key([7; 32])
}

fn facilities(records: &Records) -> Facilities {
    let (blobs, workers) = (guests::blobs(), guests::workers().clone());
    Facilities { blobs, workers, records: records.clone(), seal: seal() }
}

fn records() -> (TempDir, Records) {
    let folder = tempfile::tempdir().expect("a folder");
    let records = Records::open(folder.path(), &RecordsSettings::default()).expect("records");
    (folder, records)
}

async fn gateway_of(
    pool: Arc<Pool>,
    control: Option<Control>,
    access: Access,
    connections: Connections,
    (folder, records): (TempDir, Records),
) -> Running {
    let configured = vec![pool.clone()];
    let gateway = match control {
        None => Gateway::new(configured, access, records),
        Some(control) => Gateway::with_control(configured, Vec::new(), access, records, control).unwrap(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let served = tokio::spawn(serve(listener, gateway.clone(), connections, stopped));
    Running { address, gateway, pool, stop: stop.clone(), served, _stops: stop.drop_guard(), _folder: folder }
}

/// An answer, checked.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The error's code, which the header repeats.
    pub fn code(&self) -> String {
        let code = self.json()["error"]["code"].as_str().expect("an error has a code").to_owned();
        assert_eq!(self.header("x-ms-error-code"), Some(code.as_str()));
        code
    }
}

impl Running {
    /// Puts all idle sessions to disk now.
    pub async fn hibernate(&self) {
        for (_, session) in self.pool.earliest_used(usize::MAX) {
            let pool = self.pool.clone();
            let gone = guests::workers().spawn(async move { pool.hibernate(&session).await }).await;
            assert!(gone.expect("no panic").expect("the disk takes it"), "it is idle");
        }
    }

    /// Ends it as a SIGTERM does.
    pub async fn shut_down(self) {
        self.gateway.drain(Duration::from_secs(10)).await;
        self.stop.cancel();
        self.served.await.expect("it served");
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one request on a connection of its own.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{length}{extra}\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        // A refusal may come before the body has been taken.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        checked(method, path, &bytes)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Runs code in the flat shape.
    pub async fn run(&self, identifier: &str, code: &str) -> Value {
        let body = serde_json::json!({ "code": code }).to_string();
        let answer = self.post(&format!("/pools/python/executions?identifier={identifier}"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Uploads one file, as `requests` writes it.
    pub async fn upload(&self, path: &str, filename: &str, content: &[u8]) -> Answer {
        let body = multipart(&[(&format!("name=\"file\"; filename=\"{filename}\""), content)]);
        self.send("POST", path, &[("content-type", "multipart/form-data; boundary=xyz")], &body).await
    }
}

/// A multipart body with boundary `xyz`; each part is what follows `form-data;` and its content.
pub fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        body.extend_from_slice(b"--xyz\r\nContent-Type: application/octet-stream\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(disposition.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

/// Parses an answer that has a length, and checks it against the contract.
pub fn checked(method: &str, path: &str, bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {method} {path}: {bytes:?}"));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let seen = Seen { method, path: path.split('?').next().unwrap(), status, headers: &headers, body: &body };
    check_response(seen).unwrap_or_else(|problem| panic!("{problem}\n{head}\n{}", String::from_utf8_lossy(&body)));
    Answer { status, headers, body }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
