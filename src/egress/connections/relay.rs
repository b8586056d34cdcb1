//! One connection, from the container to where it was going and back.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::WayOut;
use crate::egress::FailureKind;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 16 << 10;

/// A connection that a container made, whether or not it was let out. Nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The name that the address was granted under, otherwise the address.
    pub host: String,
    pub port: u16,
    pub end: ConnectionEnd,
    /// Out of the container.
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// It was carried until both sides had ended it, or one broke it off.
    Closed,
    Failed(FailureKind),
}

impl ConnectionEnd {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed(kind) => kind.as_str(),
        }
    }
}

/// Bytes that were carried.
#[derive(Default)]
struct Carried {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Carried {
    fn both(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// Records a connection when it ends, also by the end of its container.
struct Ending<'a> {
    way_out: &'a WayOut,
    carried: Carried,
    host: String,
    port: u16,
    end: ConnectionEnd,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let (sent_bytes, received_bytes) = self.carried.both();
        let host = std::mem::take(&mut self.host);
        self.way_out.ended(Connection { host, port: self.port, end: self.end, sent_bytes, received_bytes });
    }
}

impl WayOut {
    /// Carries a connection that was going to `to`. One that may not go there is reset.
    pub async fn relay(&self, inside: TcpStream, to: SocketAddr) {
        let names = self.grants.names(to.ip(), Instant::now());
        // The name that lets it out, of those that share the address.
        let name = names.iter().find(|name| self.policy.lets_out(to, std::slice::from_ref(name))).or(names.first());
        let host = name.map_or_else(|| to.ip().to_string(), |name| name.to_string());
        let end = ConnectionEnd::Closed;
        let mut ending = Ending { way_out: self, carried: Carried::default(), host, port: to.port(), end };
        let place = self.connections.try_acquire();
        let dialled = match (self.policy.lets_out(to, &names), &place) {
            (false, _) => Err(FailureKind::Refused),
            (true, Err(_)) => Err(FailureKind::Limit),
            (true, Ok(_)) => match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await {
                Ok(Ok(outside)) => Ok(outside),
                Ok(Err(_)) => Err(FailureKind::Connect),
                Err(_) => Err(FailureKind::Timeout),
            },
        };
        match dialled {
            Ok(outside) => {
                if !self.carry(inside, outside, &ending.carried).await {
                    ending.end = ConnectionEnd::Failed(FailureKind::Timeout);
                }
            }
            Err(kind) => {
                ending.end = ConnectionEnd::Failed(kind);
                reset(&inside);
            }
        }
    }

    /// False when it was cut, since nothing went over it.
    async fn carry(&self, inside: TcpStream, outside: TcpStream, carried: &Carried) -> bool {
        // What small messages are for must not wait.
        let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
        let ((from_inside, to_inside), (from_outside, to_outside)) = (inside.into_split(), outside.into_split());
        let out = self.pump(from_inside, to_outside, &carried.sent);
        let back = self.pump(from_outside, to_inside, &carried.received);
        let idle = async {
            loop {
                let before = carried.both();
                tokio::time::sleep(self.policy.idle()).await;
                if carried.both() == before {
                    return;
                }
            }
        };
        tokio::select! {
            // One side that breaks off ends both; one that has said all leaves the other to speak.
            _ = async { tokio::try_join!(out, back) } => true,
            () = idle => false,
        }
    }

    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, carried: &AtomicU64) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..read]).await?;
            carried.fetch_add(read as u64, Ordering::Relaxed);
            self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}

/// Whoever made the connection learns at once that it went nowhere.
fn reset(stream: &TcpStream) {
    // If this fails the connection is closed instead, and its maker finds an end where it expects an answer.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}
