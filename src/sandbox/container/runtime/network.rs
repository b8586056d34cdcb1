//! Sockets made inside a container's network namespace. It has a loopback and nothing else, and this is the only way in:
//! no device, no address, no port of the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::LinkNameSpaceType;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// Connects to `port` of the loopback in `namespace`.
pub(in crate::sandbox::container) async fn connect(namespace: Arc<OwnedFd>, port: u16) -> io::Result<TcpStream> {
    let (answer, answered) = oneshot::channel();
    // A thread that ends with the socket made: it never has to come back from the namespace, and cannot take anything else
    // along. It costs about as much as the connection.
    thread::Builder::new().name("socket".into()).spawn(move || {
        let _ = answer.send(socket(&namespace));
    })?;
    let socket = answered.await.map_err(io::Error::other)??;
    let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    // Small answers must not wait.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// To be called on a thread that ends after it.
fn socket(namespace: &OwnedFd) -> io::Result<TcpSocket> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    Ok(TcpSocket::from_std_stream(StdStream::from(socket)))
}
