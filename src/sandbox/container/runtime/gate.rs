//! The way out of a container that has one: every connection that it makes, and every question to a name server, is led to
//! sockets of the gateway within the container's own network namespace. The namespace has no device but its loopback, so
//! there is nothing else that a packet could reach: what the rules below do not redirect goes nowhere.
//!
//! Nothing of it shows outside of the namespace, and it ends with it. The container has no capability to change it.

use std::io::{self, Write as _};
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener as StdListener, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::network;
use crate::egress::connections::WayOut;
use crate::sandbox::container::ContainerError;

/// Where connections and questions are led to: above the ports that are given out to whoever asks for none.
const CONNECTIONS_PORT: u16 = 65_301;
const NAMES_PORT: u16 = 65_302;
/// The container's own address, from which its packets come, and its name server: one that stands for no machine (RFC 7600).
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Larger questions are cut, and so malformed; clients of the DNS keep to 512 bytes or little more.
const MAX_QUESTION_BYTES: usize = 1500;

/// Sockets in a container's network namespace.
pub(super) struct Gate {
    connections: StdListener,
    names: StdSocket,
}

impl Gate {
    /// Builds it in `namespace`, with the program `nft`.
    ///
    /// # Errors
    /// Whatever the kernel or nft says; then there may be a part of it, and the namespace must not be used.
    pub(super) async fn build(namespace: Arc<OwnedFd>, nft: PathBuf) -> Result<Self, ContainerError> {
        within(namespace, move || build(&nft)).await
    }

    /// The sockets again, in a `namespace` where an earlier gateway built it: addresses, routes and rules are there.
    ///
    /// # Errors
    /// Also when something in the container has taken a port meanwhile.
    pub(super) async fn reopen(namespace: Arc<OwnedFd>) -> Result<Self, ContainerError> {
        within(namespace, listen).await
    }

    /// Whether one can be built on this machine.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(super) fn probe(nft: &Path) -> Result<(), String> {
        let nft = nft.to_owned();
        let story = move || {
            // SAFETY: what is unshared is the network, not descriptors; and this thread ends after it.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
            build(&nft)
        };
        let built = thread::Builder::new().name("gate".into()).spawn(story).map(thread::JoinHandle::join);
        match built {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) | Err(error) => Err(format!("packets cannot be redirected on this machine: {error}")),
            Ok(Err(_)) => Err("packets cannot be redirected on this machine".into()),
        }
    }

    /// Serves until the handle is dropped, which ends every connection too. To be called on a runtime.
    ///
    /// # Errors
    /// When the runtime does not take the sockets.
    pub(super) fn serve(self, way_out: Arc<WayOut>) -> Result<AbortOnDropHandle<()>, ContainerError> {
        let sockets = || -> io::Result<_> {
            self.connections.set_nonblocking(true)?;
            self.names.set_nonblocking(true)?;
            Ok((TcpListener::from_std(self.connections)?, UdpSocket::from_std(self.names)?))
        };
        let (connections, names) = sockets().map_err(ContainerError::during("opening a container's way out"))?;
        Ok(AbortOnDropHandle::new(tokio::spawn(serve(connections, Arc::new(names), way_out))))
    }
}

async fn serve(connections: TcpListener, names: Arc<UdpSocket>, way_out: Arc<WayOut>) {
    let mut under_way = JoinSet::new();
    let mut question = vec![0; MAX_QUESTION_BYTES];
    loop {
        tokio::select! {
            accepted = connections.accept() => match accepted {
                Ok((stream, _)) => {
                    let way_out = way_out.clone();
                    under_way.spawn(async move {
                        // One whose destination nobody knows goes nowhere.
                        if let Ok(to) = original_destination(&stream) {
                            way_out.relay(stream, to.into()).await;
                        }
                    });
                }
                // No more descriptors, for the moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            asked = names.recv_from(&mut question) => if let Ok((length, from)) = asked {
                let (way_out, names, question) = (way_out.clone(), names.clone(), question[..length].to_vec());
                under_way.spawn(async move { reply(&way_out, &names, &question, from).await });
            },
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn reply(way_out: &WayOut, names: &UdpSocket, question: &[u8], from: SocketAddr) {
    if let Some(answer) = way_out.answer(question).await {
        // Whoever asked may be gone.
        let _ = names.send_to(&answer, from).await;
    }
}

/// Where a redirected connection was going. Of one that was made to our port itself it is that port, which is let out
/// nowhere.
fn original_destination(stream: &TcpStream) -> io::Result<SocketAddrV4> {
    // SAFETY: all zeros is a value of it.
    let mut address: libc::sockaddr_in = unsafe { zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&address)).expect("it is small");
    // SAFETY: the descriptor is open, and both pointers are to values that outlive the call, the first as long as is told.
    let got = unsafe {
        let to = (&raw mut address).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_IP, libc::SO_ORIGINAL_DST, to, &raw mut length)
    };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(SocketAddrV4::new(u32::from_be(address.sin_addr.s_addr).into(), u16::from_be(address.sin_port)))
}

/// Does `story` in the namespace.
async fn within(
    namespace: Arc<OwnedFd>,
    story: impl FnOnce() -> io::Result<Gate> + Send + 'static,
) -> Result<Gate, ContainerError> {
    let (answer, answered) = oneshot::channel();
    // A thread that ends after it, as in `network.rs`. nft is started by it, and so within the namespace.
    let story = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        story()
    };
    let spawned = thread::Builder::new().name("gate".into()).spawn(move || drop(answer.send(story())));
    spawned.map_err(ContainerError::during("starting a thread"))?;
    let built = answered.await.map_err(ContainerError::during("building a container's way out"))?;
    built.map_err(ContainerError::during("building a container's way out"))
}

/// To be called in the namespace, on a thread that ends after it.
fn build(nft: &Path) -> io::Result<Gate> {
    route()?;
    // They are there before any process of the container is, so that none of them can have the ports.
    let gate = listen()?;
    load(nft)?;
    Ok(gate)
}

/// The same.
fn listen() -> io::Result<Gate> {
    let connections = StdListener::bind((Ipv4Addr::LOCALHOST, CONNECTIONS_PORT))?;
    let names = StdSocket::bind((Ipv4Addr::LOCALHOST, NAMES_PORT))?;
    Ok(Gate { connections, names })
}

/// Gives packets to anywhere a way, which is the loopback, and an address to come from. IPv6 gets neither.
fn route() -> io::Result<()> {
    let socket = StdSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    network::raise_loopback(socket.as_fd())?;
    let mut address = network::request(c"lo:out");
    address.ifr_ifru.ifru_addr = internet(ADDRESS);
    network::control(socket.as_fd(), libc::SIOCSIFADDR, &raw mut address)?;
    address.ifr_ifru.ifru_netmask = internet(Ipv4Addr::BROADCAST);
    network::control(socket.as_fd(), libc::SIOCSIFNETMASK, &raw mut address)?;
    // SAFETY: all zeros is a value of it.
    let mut route: libc::rtentry = unsafe { zeroed() };
    route.rt_dst = internet(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = internet(Ipv4Addr::UNSPECIFIED);
    route.rt_flags = libc::RTF_UP;
    route.rt_dev = c"lo".as_ptr().cast_mut();
    network::control(socket.as_fd(), libc::SIOCADDRT, &raw mut route)
}

/// An IPv4 address where the kernel wants one of any kind.
fn internet(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all zeros is a value of it.
    let mut own: libc::sockaddr_in = unsafe { zeroed() };
    own.sin_family = libc::AF_INET as libc::sa_family_t;
    own.sin_addr.s_addr = u32::from(address).to_be();
    // SAFETY: both are plain numbers, and of the same size.
    unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(own) }
}

/// Its own loopback stays as it is, answers find their way back, and everything else is led to us or refused at once: who
/// waits for a packet that was dropped waits long.
fn rules() -> String {
    format!(
        "table inet sandpool {{
            chain redirected {{
                type nat hook output priority -100; policy accept;
                ip daddr 127.0.0.0/8 return
                meta nfproto ipv4 meta l4proto tcp redirect to :{CONNECTIONS_PORT}
                meta nfproto ipv4 udp dport 53 redirect to :{NAMES_PORT}
            }}
            chain closed {{
                type filter hook output priority 0; policy drop;
                ip daddr 127.0.0.0/8 accept
                ip6 daddr ::1 accept
                ct direction reply accept
                reject with icmpx type admin-prohibited
            }}
        }}"
    )
}

fn load(nft: &Path) -> io::Result<()> {
    let mut command = Command::new(nft);
    command.env_clear().args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(rules().as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned();
        return Err(io::Error::other(format!("nft ended with {}, and said: {said}", output.status)));
    }
    written.unwrap_or(Ok(()))
}
