//! A gateway with one pool of containers, `app`, on a port of its own; and a client that looks closely.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sandpool::access::Access;
use sandpool::api::contract::{Seen, check_response};
use sandpool::api::serve::{Connections, serve};
use sandpool::gateway::Gateway;
use sandpool::pool::container::{ContainerPool, ContainerPoolSpecification};
use sandpool::records::Records;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::containers::{Backend, runtime};
use super::http::eventually;
use super::images::Recipe;

/// It stops when [`PoolGateway::end`] is called.
pub struct PoolGateway {
    pub address: SocketAddr,
    pub gateway: Gateway,
    pub pool: Arc<ContainerPool>,
    backend: Backend,
    _stops: DropGuard,
}

impl PoolGateway {
    /// With the tests' own image as `serve`, 8080, and further settings. None where the machine has no runtime.
    pub async fn open(settings: &str) -> Option<Self> {
        Self::of(&Recipe::app(&["serve"]), settings).await
    }

    /// The same as [`PoolGateway::open`], with that engine.
    pub async fn on(engine: &'static str, settings: &str) -> Option<Self> {
        let backend = Backend::open(engine).await?;
        let reference = Recipe::app(&["serve"]).layout(&backend.folder.path().join("layout"));
        Some(Self::with(backend, &reference, settings).await)
    }

    pub async fn of(recipe: &Recipe, settings: &str) -> Option<Self> {
        let backend = Backend::open(runtime()).await?;
        let reference = recipe.layout(&backend.folder.path().join("layout"));
        Some(Self::with(backend, &reference, settings).await)
    }

    /// The same as [`PoolGateway::open`], for those whom `access` lets in.
    pub async fn guarded(settings: &str, access: Access) -> Option<Self> {
        let backend = Backend::open(runtime()).await?;
        let reference = Recipe::app(&["serve"]).layout(&backend.folder.path().join("layout"));
        Some(Self::with_access(backend, &reference, settings, access).await)
    }

    pub async fn with(backend: Backend, image: &str, settings: &str) -> Self {
        Self::with_access(backend, image, settings, Access::open()).await
    }

    async fn with_access(backend: Backend, image: &str, settings: &str, access: Access) -> Self {
        let text = format!(
            "name = 'app'\nimage = '{image}'\ntarget_port = 8080\nresources = {{ memory_mebibytes = 64 }}\n{settings}"
        );
        Self::specified(backend, &text, access, &Records::off()).await
    }

    /// A pool as it stands in a configuration file.
    pub async fn specified(backend: Backend, text: &str, access: Access, records: &Records) -> Self {
        let specification: ContainerPoolSpecification = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(specification.problems(), []);
        let pool = ContainerPool::open(specification, backend.backend.clone(), records);
        let gateway = Gateway::new(Vec::new(), access, records.clone());
        gateway.add_container_pool(pool.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, gateway.clone(), Connections::default(), stop.clone().cancelled_owned()));
        Self { address, gateway, pool, backend, _stops: stop.drop_guard() }
    }

    /// Drains the gateway, and looks that nothing is left.
    pub async fn end(self) {
        let leftovers = self.backend.leftovers();
        self.gateway.drain(std::time::Duration::from_secs(1)).await;
        drop((self.pool, self.gateway));
        eventually("nothing left behind", async || leftovers.are_none().await).await;
    }

    /// Sends a request to `/pools/app` and a path.
    pub async fn send<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.expect("the gateway answers")
    }

    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        let path = format!("/pools/app{path}");
        Request::builder().method(method).uri(path).header("host", self.address.to_string())
    }

    /// Status and body.
    pub async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let request = self.request(method, path).body(Full::new(Bytes::new())).unwrap();
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.to_string(), value.to_str().expect("text").to_owned())
        };
        let headers: Vec<_> = response.headers().iter().map(header).collect();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        if path.starts_with("/.management/") {
            let path = format!("/pools/app{}", path.split('?').next().unwrap());
            let seen = Seen { method, path: &path, status, headers: &headers, body: &body };
            check_response(seen).unwrap_or_else(|problem| panic!("{problem}"));
        }
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path).await
    }

    /// An answer of the gateway's own, in JSON.
    pub async fn json(&self, method: &str, path: &str) -> (u16, Value) {
        let (status, text) = self.ask(method, path).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// The code of a refusal.
    pub async fn refusal(&self, method: &str, path: &str) -> (u16, String) {
        let (status, body) = self.json(method, path).await;
        (status, body["error"]["code"].as_str().expect("a code").to_owned())
    }
}
