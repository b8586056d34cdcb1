//! The gateway's end: starting a shim, connecting to one, hearing what it tells.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::frame::{Command, Frame, HEAD_BYTES, MAX_BYTES};
use crate::sandbox::container::runtime::state;
use crate::sandbox::container::{Console, ContainerError, Exit, Stream};

/// A shim answers at once; one that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// More of what it says at its start is not read.
const MAX_TOLD_BYTES: u64 = 64 * 1024;

/// A connection to a shim, for telling it something.
pub(in crate::sandbox::container::runtime) struct Link {
    socket: StdStream,
    shim: OwnedFd,
}

/// The other half, for hearing from it, and what it said first.
pub(in crate::sandbox::container::runtime) struct Arrived {
    socket: StdStream,
    /// The container's first process; None: it has ended.
    pub pid: Option<i32>,
    recorded: u64,
}

/// Starts a shim, which makes the container with this folder. `program` is this program's own file. Blocks.
pub(in crate::sandbox::container::runtime) fn launch(
    program: &Path,
    folder: &Path,
) -> Result<(Link, Arrived), ContainerError> {
    let doing = "creating a container";
    let mut command = Process::new(program);
    // Nothing of the gateway's goes along: neither its environment, which may hold secrets, nor its standard error, which
    // somebody may wait for the end of.
    command.arg0("sandpool").arg(super::COMMAND).arg(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(ContainerError::during("starting a container's shim"))?;
    let mut told = String::new();
    if let Some(stdout) = child.stdout.take() {
        // Its word counts, not how its stream ended.
        let _ = stdout.take(MAX_TOLD_BYTES).read_to_string(&mut told);
    }
    if !told.starts_with("made ") {
        let _ = child.kill();
        let _ = child.wait();
        let told = if told.is_empty() { "its shim ended without a word".to_owned() } else { told };
        return Err(ContainerError::new(doing, told));
    }
    Link::open(folder).map_err(|error| {
        let _ = child.kill();
        let _ = child.wait();
        ContainerError::new("connecting to a container's shim", error)
    })
}

impl Link {
    /// Connects to the shim of the container with this folder, and hears its first words. Blocks.
    pub(in crate::sandbox::container::runtime) fn open(folder: &Path) -> io::Result<(Self, Arrived)> {
        // By a short path: that of a socket may not be long.
        let state = fs::File::open(state::folder(folder))?;
        let mut socket = StdStream::connect(format!("/proc/self/fd/{}/{}", state.as_raw_fd(), super::SOCKET))?;
        let peer = rustix::net::sockopt::socket_peercred(&socket)?;
        let shim = rustix::process::pidfd_open(peer.pid, PidfdFlags::NONBLOCK)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut head = [0; HEAD_BYTES];
        socket.read_exact(&mut head)?;
        let (kind, length) = Frame::head(head).ok_or(io::ErrorKind::InvalidData)?;
        let mut content = vec![0; length];
        socket.read_exact(&mut content)?;
        let Some(Frame::Hello { pid, recorded }) = Frame::read(kind, &content) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        socket.set_nonblocking(true)?;
        let pid = Some(pid).filter(|pid| *pid > 0);
        Ok((Self { socket: socket.try_clone()?, shim }, Arrived { socket, pid, recorded }))
    }

    /// Tells it that output is written down up to there. It is told again later if that does not reach it.
    pub(in crate::sandbox::container::runtime) fn recorded(&self, position: u64) {
        let _ = (&self.socket).write_all(&Command::Recorded(position).bytes());
    }

    /// Has it end, once its container has been taken away. Blocks until it has; what it had to say is in the socket then.
    pub(in crate::sandbox::container::runtime) fn end(&self) {
        let _ = (&self.socket).write_all(&Command::End.bytes());
        let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        let mut ended = [PollFd::new(&self.shim, PollFlags::IN)];
        if !matches!(poll(&mut ended, Some(&patience)), Ok(1..)) {
            let _ = rustix::process::pidfd_send_signal(&self.shim, Signal::KILL);
            let _ = poll(&mut ended, Some(&patience));
        }
        // It is our child unless an earlier gateway started it.
        let _ =
            rustix::process::waitid(WaitId::PidFd(self.shim.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

impl Arrived {
    /// Hears the shim until it ends: what the container writes goes to `console`, its end to `ended`. A shim that ends before its
    /// container leaves the end untold, and `ended` is dropped.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub(in crate::sandbox::container::runtime) fn hear(
        self,
        console: Console,
        ended: watch::Sender<Option<Exit>>,
    ) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let mut socket = UnixStream::from_std(self.socket)?;
        let recorded = self.recorded;
        Ok(async move {
            let mut position = None;
            while let Some(frame) = next(&mut socket).await {
                match frame {
                    Frame::Output { stream, at, start, bytes } => {
                        let before = position.unwrap_or(recorded);
                        if start > before {
                            cut(&console, stream, at, start - before, start);
                        }
                        let end = start + bytes.len() as u64;
                        console.push_at(moment(at), stream, &bytes, end, end <= recorded);
                        position = Some(end.max(recorded));
                    }
                    Frame::End(stream) => console.end(stream),
                    Frame::Exit(exit) => drop(ended.send_replace(Some(exit))),
                    Frame::Hello { .. } => break,
                }
            }
            console.close();
        })
    }
}

async fn next(socket: &mut UnixStream) -> Option<Frame> {
    let mut head = [0; HEAD_BYTES];
    socket.read_exact(&mut head).await.ok()?;
    let (kind, length) = Frame::head(head)?;
    debug_assert!(length <= MAX_BYTES);
    let mut content = vec![0; length];
    socket.read_exact(&mut content).await.ok()?;
    Frame::read(kind, &content)
}

/// Says how much is missing, in the place of it.
fn cut(console: &Console, stream: Stream, at: i64, bytes: u64, position: u64) {
    let text = format!("[{bytes} bytes are not here: there was more than is kept while no gateway ran]\n");
    console.push_at(moment(at), stream, text.as_bytes(), position, false);
}

fn moment(nanoseconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
