//! Sockets made inside a container's network namespace. It has a loopback and nothing else, and this is the only way in:
//! no device, no address, no port of the machine.

use std::ffi::{CStr, c_char, c_ulong};
use std::fs;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::LinkNameSpaceType;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::sandbox::container::ContainerError;

/// The least port that needs no capability.
const UNPRIVILEGED_PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

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

/// Does for `namespace` what most runtimes do, and gVisor's does not: its loopback is up, and every port may be listened on.
pub(super) async fn prepare(namespace: Arc<OwnedFd>) -> Result<(), ContainerError> {
    let (answer, answered) = oneshot::channel();
    // As above.
    let story = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        raise_loopback(StdSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.as_fd())?;
        // It is that of whoever opens it.
        fs::write(UNPRIVILEGED_PORTS, "0")
    };
    let spawned = thread::Builder::new().name("network".into()).spawn(move || drop(answer.send(story())));
    spawned.map_err(ContainerError::during("starting a thread"))?;
    let prepared = answered.await.map_err(ContainerError::during("preparing a container's network"))?;
    prepared.map_err(ContainerError::during("preparing a container's network"))
}

/// Sets the loopback of the socket's network namespace up.
pub(super) fn raise_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut up = request(c"lo");
    up.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    control(socket, libc::SIOCSIFFLAGS, &raw mut up)
}

/// A request about the device `name`.
pub(super) fn request(name: &CStr) -> libc::ifreq {
    // SAFETY: all zeros is a value of it.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as c_char;
    }
    request
}

/// To be called with what the request wants.
pub(super) fn control<T>(socket: BorrowedFd<'_>, what: c_ulong, argument: *mut T) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the callers give what the request wants, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), what, argument) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
