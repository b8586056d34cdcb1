//! Connections: accept, serve, drain.
//!
//! A client that goes away is noticed while its request runs, and hyper then drops the handler's future; everything
//! that must end with the caller hangs on that. A client that closes only its sending half counts as gone: from here
//! the two look alike, and a guest must not run on for nobody.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::audit::Origin;
use super::stream::Impatient;
pub use super::tls::{Door, Secrets, TlsError, TlsSettings};
use crate::gateway::Gateway;

/// What connections may use.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Connections at a time; further ones wait in the system's queue.
    pub most: usize,
    /// Time for a request's headers, and for the pause between two requests on one connection.
    pub header_timeout: Duration,
    /// Bytes of a request's line and headers.
    pub header_bytes: usize,
    /// Time in which a client must take something of its answer.
    pub write_timeout: Duration,
    /// Time for requests under way to end once the server stops.
    pub grace: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: 10_000,
            // Longer than the 60 s for which common clients and proxies keep an idle connection.
            header_timeout: Duration::from_secs(75),
            header_bytes: 32 * 1024,
            write_timeout: Duration::from_secs(60),
            // Executions have ended by then (`Gateway::drain`): what is left is answers on their way out.
            grace: Duration::from_secs(10),
        }
    }
}

/// Serves the API on `listener` until `stop` completes; then closes idle connections, lets running requests end for
/// `connections.grace`, and returns. True when all of them ended.
pub async fn serve(
    door: impl Into<Door>,
    gateway: Gateway,
    connections: Connections,
    stop: impl Future<Output = ()>,
) -> bool {
    let Door { listener, tls } = door.into();
    let server = Server {
        router: super::router(gateway),
        tls,
        connections,
        places: Arc::new(Semaphore::new(connections.most)),
        drain: CancellationToken::new(),
        open: TaskTracker::new(),
    };
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            (stream, peer, place) = server.next(&listener) => {
                drop(server.open.spawn(server.clone().connection(stream, peer, place)));
            }
        }
    }
    // Who connects now is refused by the system, rather than waiting in its queue.
    drop(listener);
    server.drain.cancel();
    server.open.close();
    timeout(connections.grace, server.open.wait()).await.is_ok()
}

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
}

#[derive(Clone)]
struct Server {
    router: Router,
    tls: Option<TlsAcceptor>,
    connections: Connections,
    places: Arc<Semaphore>,
    drain: CancellationToken,
    open: TaskTracker,
}

impl Server {
    /// The next connection, once there is a place for it.
    async fn next(&self, listener: &TcpListener) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: it gets better only by waiting.
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
        // Small answers must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let stream = Impatient::new(stream, self.connections.write_timeout);
        let Some(tls) = &self.tls else {
            return self.talk(stream, Peer { address: peer, secure: false }).await;
        };
        // As patient with a handshake as with headers; a drain does not wait for it.
        let handshake = tokio::select! {
            handshake = timeout(self.connections.header_timeout, tls.accept(stream)) => handshake,
            () = self.drain.cancelled() => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.talk(stream, Peer { address: peer, secure: true }).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let router = self.router.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Origin(peer.address.ip()));
            // A router is always ready.
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.connections.header_timeout)
            .max_buf_size(self.connections.header_bytes)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
            // Containers may answer by switching protocols.
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
