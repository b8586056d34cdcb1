//! The shim itself: one thread, which sleeps until something happens.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions};
use rustix::thread::LinkNameSpaceType;
use time::OffsetDateTime;

use super::frame::{COMMAND_BYTES, Command, Frame, PIECE_BYTES};
use super::kept::Kept;
use crate::sandbox::container::runtime::cgroup::Cgroups;
use crate::sandbox::container::runtime::leftovers;
use crate::sandbox::container::runtime::state::{self, State};
use crate::sandbox::container::{Exit, InstanceId, Isolation, Stream};

/// One whose container never was ready for anybody cannot be adopted: it waits no longer than a gateway needs to come.
const FIRST_CALL: Duration = Duration::from_secs(30);
/// After the container was taken away, its last words may take so long to be heard.
const LAST_WORDS: Duration = Duration::from_secs(2);
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// Somebody asked this process to end.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Makes the container with this folder, says so on standard output (its process, or what went wrong), and stays with it until
/// nothing is left of it.
///
/// # Errors
/// When the container cannot be made.
pub fn run(folder: &Path) -> io::Result<()> {
    // Signals to the gateway's group, and its terminal's, are not for this one.
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // SAFETY: the handler does nothing but store into an atomic.
    unsafe { libc::signal(libc::SIGTERM, terminated as *const () as libc::sighandler_t) };
    match Shim::make(folder) {
        Ok(shim) => {
            tell(&format!("made {}", shim.pid));
            shim.stay();
            Ok(())
        }
        Err(error) => {
            tell(&error.to_string());
            Err(error)
        }
    }
}

extern "C" fn terminated(_: libc::c_int) {
    TERMINATED.store(true, Ordering::Relaxed);
}

/// Says it to whoever started this process, once; that there is no more is told by the end of the stream.
fn tell(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
    if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
        // SAFETY: both are open; nothing else holds the number of the second.
        unsafe { libc::dup2(null.as_raw_fd(), libc::STDOUT_FILENO) };
    }
}

struct Shim {
    folder: PathBuf,
    state: State,
    pid: i32,
    process: OwnedFd,
    /// Is read when any child ends: gVisor has others than the first process, and its commands wait until they are gone.
    children: OwnedFd,
    listener: UnixListener,
    /// By the stream's number; None once it has ended.
    pipes: [Option<io::PipeReader>; 2],
    kept: Kept,
    /// Output up to there is written down.
    recorded: u64,
    exit: Option<Exit>,
    gateway: Option<Gateway>,
    /// Without a gateway: until when one is waited for.
    alone_until: Instant,
    /// The last moment to say something: the container was taken away.
    ending: Option<Instant>,
}

/// A gateway that is connected.
struct Gateway {
    socket: UnixStream,
    /// Bytes of the container's output that it was given, or will be by `out`.
    sent: u64,
    /// By the stream's number: it was told of the end.
    told_ends: [bool; 2],
    told_exit: bool,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    /// The beginning of a command.
    heard: Vec<u8>,
}

impl Shim {
    fn make(folder: &Path) -> io::Result<Self> {
        let state = State::read(folder)?;
        let id = name(folder)?;
        // The mount namespace of the thread that started this is only for making the container in.
        let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotFound)?;
        let outside = fs::File::open(format!("/proc/{}/ns/mnt", parent.as_raw_nonzero()))?;
        std::env::set_current_dir(state::folder(folder))?;
        // By a short path: that of a socket may not be long.
        let listener = UnixListener::bind(super::SOCKET)?;
        listener.set_nonblocking(true)?;
        std::env::set_current_dir("/")?;
        let ((stdout, out), (stderr, err)) = (io::pipe()?, io::pipe()?);
        let made = state.runtime.create(&id, folder, out, err);
        let pid = made.map_err(|error| io::Error::other(error.told()))?;
        rustix::thread::move_into_link_name_space(outside.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let process = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
        let process = rustix::process::pidfd_open(process, PidfdFlags::NONBLOCK)?;
        for pipe in [&stdout, &stderr] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            state,
            pid,
            process,
            children: children()?,
            listener,
            pipes: [Some(stdout), Some(stderr)],
            kept: Kept::default(),
            recorded: 0,
            exit: None,
            gateway: None,
            alone_until: Instant::now() + FIRST_CALL,
            ending: None,
        })
    }

    fn stay(mut self) {
        // Those that ended before anybody was told of them.
        self.reap();
        loop {
            if let Some(end) = self.ending {
                let silent = self.gateway.as_ref().is_none_or(|gateway| gateway.out.is_empty());
                let told = self.exit.is_some() && self.pipes.iter().all(Option::is_none) && silent;
                if told || Instant::now() >= end {
                    return;
                }
            } else if TERMINATED.load(Ordering::Relaxed)
                || (self.gateway.is_none() && Instant::now() >= self.alone_until)
            {
                return self.take_away();
            }
            self.wait();
            self.reap();
            self.read();
            self.meet();
            self.speak();
            self.listen();
        }
    }

    /// Sleeps until something happens, or it is time.
    fn wait(&self) {
        let until = match (&self.ending, &self.gateway) {
            (Some(end), _) => Some(*end),
            (None, None) => Some(self.alone_until),
            (None, Some(_)) => None,
        };
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let mut wanted: Vec<(BorrowedFd<'_>, PollFlags)> =
            vec![(self.listener.as_fd(), PollFlags::IN), (self.children.as_fd(), PollFlags::IN)];
        if self.exit.is_none() {
            wanted.push((self.process.as_fd(), PollFlags::IN));
        }
        if self.has_room() {
            wanted.extend(self.pipes.iter().flatten().map(|pipe| (pipe.as_fd(), PollFlags::IN)));
        }
        if let Some(gateway) = &self.gateway {
            let more = if gateway.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            wanted.push((gateway.socket.as_fd(), PollFlags::IN | more));
        }
        let mut wanted: Vec<_> = wanted.iter().map(|(fd, flags)| PollFd::new(fd, *flags)).collect();
        // A signal interrupts it, which is looked at next.
        let _ = poll(&mut wanted, timeout.as_ref());
    }

    /// Whether the container may write: without a gateway it always may, and what is too much goes.
    fn has_room(&self) -> bool {
        self.gateway.as_ref().is_none_or(|gateway| self.kept.has_room(gateway.sent))
    }

    /// Takes the ends of children, of which the container's first process is one.
    fn reap(&mut self) {
        // First: who ends from now on is told of again.
        while rustix::io::read(&self.children, &mut [0; size_of::<libc::signalfd_siginfo>()]).is_ok() {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == self.pid => {
                    let out_of_memory = Cgroups::of_this_machine().ran_out_of_memory(&self.state.cgroup);
                    let user_kernel = self.state.runtime.isolation() == Isolation::UserKernel;
                    self.exit = Some(match status.exit_status() {
                        // Its kernel ends by itself, whatever ended its guest.
                        Some(number) if user_kernel => Exit::of_number(number.into(), out_of_memory),
                        code => Exit { code, signal: status.terminating_signal(), out_of_memory },
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    // There is no child, so the container is none of them any more.
                    self.exit.get_or_insert_default();
                    return;
                }
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; PIECE_BYTES];
        for stream in STREAMS {
            while self.has_room()
                && let Some(pipe) = &mut self.pipes[stream as usize]
            {
                match pipe.read(&mut buffer) {
                    Ok(0) => self.pipes[stream as usize] = None,
                    Ok(read) => {
                        let sent = self.gateway.as_ref().map(|gateway| gateway.sent);
                        self.kept.add(stream, now(), &buffer[..read], sent);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => self.pipes[stream as usize] = None,
                }
                if self.gateway.is_none() {
                    // Others want a turn while one writes without end.
                    break;
                }
            }
        }
    }

    /// A gateway comes; it takes the place of one that was here.
    fn meet(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else { return };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let pid = if self.exit.is_none() { self.pid } else { 0 };
        self.gateway = Some(Gateway {
            socket,
            sent: 0,
            told_ends: [false; 2],
            told_exit: false,
            out: Frame::hello(pid, self.recorded),
            heard: Vec::new(),
        });
    }

    /// Gives the gateway what it does not have, as far as it takes it.
    fn speak(&mut self) {
        while let Some(gateway) = &mut self.gateway {
            if gateway.out.is_empty() {
                gateway.out = match self.kept.after(gateway.sent) {
                    // The end first: whoever waits for it waits for nothing else.
                    _ if self.exit.is_some() && !gateway.told_exit => {
                        gateway.told_exit = true;
                        Frame::exit(self.exit.unwrap_or_default())
                    }
                    Some(piece) => {
                        gateway.sent = piece.end();
                        Frame::output(piece)
                    }
                    None => {
                        let ended = |stream: &Stream| self.pipes[*stream as usize].is_none();
                        let told = gateway.told_ends;
                        let Some(stream) = STREAMS.into_iter().find(|s| ended(s) && !told[*s as usize]) else { return };
                        gateway.told_ends[stream as usize] = true;
                        Frame::end(stream)
                    }
                };
            }
            match gateway.socket.write(&gateway.out) {
                Ok(written) => drop(gateway.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.left_alone(),
            }
        }
    }

    fn listen(&mut self) {
        let mut buffer = [0; 64 * COMMAND_BYTES];
        while let Some(gateway) = &mut self.gateway {
            match gateway.socket.read(&mut buffer) {
                Ok(read @ 1..) => gateway.heard.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => return self.left_alone(),
            }
            let mut heard = std::mem::take(&mut gateway.heard);
            while let Some((command, _)) = heard.split_first_chunk() {
                match Command::read(*command) {
                    Some(Command::Recorded(position)) => self.recorded = position.min(self.kept.end()),
                    Some(Command::End) => self.ending = Some(Instant::now() + LAST_WORDS),
                    None => {}
                }
                heard.drain(..COMMAND_BYTES);
            }
            if let Some(gateway) = &mut self.gateway {
                gateway.heard = heard;
            }
        }
    }

    /// The gateway has gone: from now on it is waited for.
    fn left_alone(&mut self) {
        self.gateway = None;
        if self.ending.is_some() {
            self.ending = Some(Instant::now());
            return;
        }
        let now = Instant::now();
        self.alone_until = match self.note() {
            Some((longest, ends_at)) => {
                let left = ends_at.map_or(longest, |at| {
                    Duration::from_millis(u64::try_from(at.saturating_sub(now_millis())).unwrap_or_default())
                });
                now + left.min(longest)
            }
            None => now + FIRST_CALL,
        };
    }

    /// How long the session may be left alone, and when it ends by itself, in milliseconds since 1970; as its first container
    /// has it written. None: it never was ready for anybody, or is over.
    fn note(&self) -> Option<(Duration, Option<i64>)> {
        let own = State::read(&self.folder).ok()?;
        let state = match &own.beside {
            Some(first) => State::read(&self.folder.parent()?.join(first.as_str())).ok()?,
            None => own,
        };
        Some((Duration::from_secs(state.unattended_seconds), state.note?.ends_at))
    }

    /// Nobody came back: nothing is to be left.
    fn take_away(self) {
        let Ok(id) = name(&self.folder) else { return };
        // Nobody is here to hear of a failure; the next gateway finds what is left, if anything is.
        let _ = leftovers::take_away(&Cgroups::of_this_machine(), &self.state.cgroup, &self.state.runtime, &id);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A descriptor that tells of children that end. Nothing is started after it, which would inherit that the signal is held back.
fn children() -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a value of the set, which the calls fill and read; the new descriptor is nobody else's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

fn name(folder: &Path) -> io::Result<InstanceId> {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.and_then(InstanceId::parse).ok_or_else(|| io::Error::other("the folder is no container's"))
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

fn now_millis() -> i64 {
    now() / 1_000_000
}
