//! A gateway with containers whose pools are made through the API, on a port of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandpool::access::Access;
use sandpool::api::serve::{Connections, serve};
use sandpool::gateway::{Containers, Control, Gateway, Opener};
use sandpool::pool::{NotOpened, Pool, PoolName, PoolSpecification, PoolStore};
use sandpool::records::{Records, RecordsSettings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::containers::{Backend, Traces};
use super::http::{Answer, checked, eventually};

pub const GROUP: &str = "/subscriptions/s-1/resourceGroups/g-1/providers/Microsoft.App/sessionPools";

/// It stops when [`Managed::end`] is called, or [`Managed::restarted`].
pub struct Managed {
    pub address: SocketAddr,
    pub gateway: Gateway,
    backend: Backend,
    allowed: Value,
    _stops: DropGuard,
}

/// There are no interpreters.
struct Nothing;

impl Opener for Nothing {
    fn open(&self, _: PoolSpecification, _: bool) -> Result<Arc<Pool>, NotOpened> {
        Err(NotOpened::Unavailable("there are no interpreters".into()))
    }

    fn clear(&self, _: &PoolName) -> Result<(), NotOpened> {
        Ok(())
    }
}

impl Managed {
    /// Pools may run the images in the gateway's folder. None where the machine has no runc.
    pub async fn open() -> Option<Self> {
        let backend = Backend::open("runc").await?;
        let allowed = json!([format!("oci:{}/", backend.folder.path().display())]);
        Some(Self::with(backend, allowed).await)
    }

    /// The same with other images allowed, as `allowed_images` says it.
    pub async fn with(backend: Backend, allowed: Value) -> Self {
        Self::on(backend, allowed, true).await
    }

    async fn on(backend: Backend, allowed: Value, runs_containers: bool) -> Self {
        let folder = backend.folder.path().join("data");
        let store = PoolStore::open(&folder).unwrap();
        let records = Records::open(&folder, &RecordsSettings::default()).unwrap();
        let allowed_images = serde_json::from_value(allowed.clone()).unwrap();
        let containers = Containers::new(backend.backend.clone(), allowed_images, false);
        let containers = runs_containers.then_some(containers);
        let control = Control { store, opener: Box::new(Nothing), containers };
        let open = || Gateway::with_control(Vec::new(), Vec::new(), Access::open(), records, control).unwrap();
        let gateway = tokio::task::block_in_place(open);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, gateway.clone(), Connections::default(), stop.clone().cancelled_owned()));
        Self { address, gateway, backend, allowed, _stops: stop.drop_guard() }
    }

    /// Where images may lie.
    pub fn folder(&self) -> &Path {
        self.backend.folder.path()
    }

    /// Another gateway on the same data.
    pub async fn restarted(self) -> Self {
        self.again(true).await
    }

    /// The same, whose operator does not want containers any more.
    pub async fn without_containers(self) -> Self {
        self.again(false).await
    }

    async fn again(self, runs_containers: bool) -> Self {
        self.gateway.drain(Duration::from_secs(1)).await;
        let Self { gateway, backend, allowed, .. } = self;
        drop(gateway);
        Self::on(backend, allowed, runs_containers).await
    }

    /// The pools as they are kept.
    pub fn store(&self) -> PoolStore {
        PoolStore::open(&self.folder().join("data")).unwrap()
    }

    /// Drains it, and looks that nothing is left.
    pub async fn end(self) {
        self.gateway.drain(Duration::from_secs(1)).await;
        self.leaves_nothing().await;
    }

    /// Waits until no container is left.
    pub async fn leaves_nothing(&self) {
        let folder = self.folder().to_owned();
        eventually("nothing left behind", async || Traces::of(&folder).are_none()).await;
    }

    /// A call of the gateway's own, checked against the contract.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        checked(method, path, &self.bytes(method, path, body).await)
    }

    /// What a pool's container answers: status and body.
    pub async fn ask(&self, pool: &str, path: &str) -> (u16, String) {
        let bytes = self.bytes("GET", &format!("/pools/{pool}{path}"), &Value::Null).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn bytes(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// The resource of a pool.
    pub async fn pool(&self, name: &str) -> Value {
        self.call("GET", &format!("{GROUP}/{name}"), &Value::Null).await.json()
    }

    /// Rows of the records, the oldest first.
    pub async fn records(&self, query: &str) -> Vec<Value> {
        let mark = if query.contains('?') { '&' } else { '?' };
        let answer = self.call("GET", &format!("/records/{query}{mark}order=oldest"), &Value::Null).await;
        answer.json()["value"].as_array().unwrap().clone()
    }
}
